package doctor

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// observeStructures reads the tables of all places, once for all checks.
func (e *examination) observeStructures(ctx context.Context) {
	if e.structures != nil {
		return
	}
	var mu sync.Mutex
	e.structures, e.unread = map[string]structure{}, newObservations()
	e.onEach(ctx, e.homes, e.unread, func(ctx context.Context, p place, session *sql.Conn, _ *observations) error {
		observed, err := observeStructure(ctx, session)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		e.structures[p.String()] = observed
		return nil
	})
}

// eachStructure calls do with what each place should have, and what it has.
func (e *examination) eachStructure(ctx context.Context, seen *observations, do func(h *home, expected, observed structure, seen *observations)) error {
	e.observeStructures(ctx)
	*seen.list = append(*seen.list, *e.unread.list...)
	for _, h := range e.homes {
		expected, err := expectedStructure(h.roles...)
		if err != nil {
			return err
		}
		for _, p := range h.places {
			if observed, ok := e.structures[p.String()]; ok {
				do(h, expected, observed, seen.at(p.String()))
			}
		}
	}
	return nil
}

// compareStructures is eachStructure where there are any of Temporal's tables.
func (e *examination) compareStructures(ctx context.Context, seen *observations, compare func(h *home, expected, observed structure, seen *observations)) error {
	return e.eachStructure(ctx, seen, func(h *home, expected, observed structure, seen *observations) {
		if observed.empty(expected) {
			seen.skip("has none of Temporal's tables: see %s", tables)
		} else {
			compare(h, expected, observed, seen)
		}
	})
}

// empty reports whether no table is there that should be.
func (observed structure) empty(expected structure) bool {
	for name := range expected {
		if observed[name] != nil {
			return false
		}
	}
	return true
}

// eachTable calls do with the tables that should be there and are, in the order of their names.
func eachTable(expected, observed structure, do func(name string, expected, observed *table)) {
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		if observed[name] != nil {
			do(name, expected[name], observed[name])
		}
	}
}

func checkTables(ctx context.Context, e *examination, seen *observations) error {
	homes := map[string]*home{}
	for _, role := range vschema.Roles() {
		keyspace, err := schema.Load(role)
		if err != nil {
			return err
		}
		for _, table := range keyspace.Tables {
			if _, ok := homes[table.Name]; !ok {
				homes[table.Name] = e.home(role)
			}
		}
	}
	count, filled := 0, false
	counted := map[*home]bool{}
	err := e.eachStructure(ctx, seen, func(h *home, expected, observed structure, seen *observations) {
		if observed.empty(expected) {
			seen.fail("has none of Temporal's tables")
			return
		}
		filled = true
		if !counted[h] {
			counted[h] = true
			count += len(expected)
		}
		for _, name := range slices.Sorted(maps.Keys(expected)) {
			if observed[name] == nil {
				seen.fail("table %s is missing", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(observed)) {
			if home, ours := homes[name]; ours && expected[name] == nil {
				seen.warn("table %s belongs in keyspace %s", name, home.name)
			}
		}
	})
	if !filled {
		seen.advise(setUp)
	}
	seen.good(count, "tables are where they belong, on every Vitess shard")
	return err
}

func checkColumns(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(_ *home, expected, observed structure, seen *observations) {
		eachTable(expected, observed, func(name string, expected, observed *table) {
			for _, column := range slices.Sorted(maps.Keys(expected.columns)) {
				want := expected.columns[column]
				count++
				have, ok := observed.columns[column]
				switch {
				case !ok:
					seen.fail("%s.%s is missing", name, column)
				case have.dataType != want.dataType:
					seen.fail("%s.%s is %s, and should be %s", name, column, have.dataType, want.dataType)
				case have.nullable != want.nullable:
					seen.fail("%s.%s is %s, and should be %s", name, column, nullability(have), nullability(want))
				}
			}
			for _, column := range slices.Sorted(maps.Keys(observed.columns)) {
				if _, ok := expected.columns[column]; !ok {
					seen.warn("%s.%s is not in the schema of this version", name, column)
				}
			}
		})
	})
	seen.good(count, "columns have their names, types and nullability")
	return err
}

func nullability(c column) string {
	if c.nullable {
		return "NULL"
	}
	return "NOT NULL"
}

// bufferedEvents is the one table whose keys are not upstream's, and upstreamKey its primary key there. Package schema says
// why.
const bufferedEvents = "buffered_events"

var upstreamKey = []string{"shard_id", "namespace_id", "workflow_id", "run_id", "id"}

func checkKeys(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(h *home, expected, observed structure, seen *observations) {
		eachTable(expected, observed, func(name string, expected, observed *table) {
			if name == bufferedEvents && slices.ContainsFunc(observed.keys, func(have index) bool {
				return have.name == primaryKey && slices.Equal(have.columns, upstreamKey)
			}) {
				count++
				if h.sharded() {
					seen.warn("%s has upstream's primary key, with which Reshard and MoveTables do not copy it unless called with --defer-secondary-keys=false: update-schema replaces it", name)
				}
				return
			}
			for _, want := range expected.keys {
				count++
				of := slices.IndexFunc(observed.keys, func(have index) bool {
					return (have.name == primaryKey) == (want.name == primaryKey) && slices.Equal(have.columns, want.columns)
				})
				switch {
				case of < 0:
					seen.fail("%s has no %s %s", name, describeKey(want), parts(want))
				case want.unique && !observed.keys[of].unique:
					seen.fail("%s %s of %s is not unique", observed.keys[of].name, parts(want), name)
				}
			}
		})
	})
	seen.good(count, "keys are there")
	return err
}

func describeKey(i index) string {
	switch {
	case i.name == primaryKey:
		return "primary key"
	case i.unique:
		return "unique key " + i.name
	default:
		return "index " + i.name
	}
}

func parts(i index) string { return "(" + strings.Join(i.columns, ", ") + ")" }

// checkUniqueKeys looks for what one Vitess shard alone cannot hold true.
func checkUniqueKeys(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(h *home, expected, observed structure, seen *observations) {
		if !h.sharded() {
			return
		}
		eachTable(expected, observed, func(name string, expected, observed *table) {
			shardingColumn := h.placement.Tables[name].ShardingColumn()
			for _, have := range observed.keys {
				if !have.unique {
					continue
				}
				count++
				if !slices.Contains(have.columns, shardingColumn) {
					seen.fail("unique key %s of %s is on %s, without the sharding column %s", have.name, name, parts(have), shardingColumn)
				}
			}
			for _, column := range slices.Sorted(maps.Keys(observed.columns)) {
				have := observed.columns[column]
				want, ok := expected.columns[column]
				switch {
				case have.autoIncrement && !want.autoIncrement:
					seen.fail("%s.%s is AUTO_INCREMENT, which each Vitess shard counts for itself", name, column)
				case ok && want.autoIncrement && !have.autoIncrement:
					seen.fail("%s.%s is not AUTO_INCREMENT, but inserts give it no value", name, column)
				}
			}
		})
	})
	seen.good(count, "unique keys of sharded tables hold the sharding column")
	if len(*seen.list) == 0 {
		seen.pass("there are no sharded tables")
	}
	return err
}

// defaultCollation is MySQL's for utf8mb4, the character set that upstream's tools create databases with.
const defaultCollation = "utf8mb4_0900_ai_ci"

func checkCollation(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(_ *home, expected, observed structure, seen *observations) {
		eachTable(expected, observed, func(name string, expected, observed *table) {
			for _, column := range slices.Sorted(maps.Keys(expected.columns)) {
				want := expected.columns[column]
				have, ok := observed.columns[column]
				if !ok || !want.text || !have.text {
					continue
				}
				count++
				if have.collation == defaultCollation {
					continue
				}
				status := Fail
				if strings.HasPrefix(have.collation, "utf8mb4_") {
					status = Warn
				}
				seen.add(status, "%s.%s has collation %s, and should have %s", name, column, have.collation, defaultCollation)
			}
		})
	})
	seen.good(count, "text columns have their collation")
	return err
}
