package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// sideBySide is how many Vitess shards are asked at once.
const sideBySide = 8

// onEach calls do with a session on each Vitess shard of each keyspace that exists, several at once.
func (e *examination) onEach(ctx context.Context, seen *observations, do func(ctx context.Context, role vschema.Role, vitessShard string, session *sql.Conn, seen *observations) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	var each []*observations // in the order of the Vitess shards
	for _, role := range vschema.Roles() {
		keyspace := e.Keyspaces[role]
		e.skipUnlessThere(role, seen)
		for _, vitessShard := range e.vitessShards[role] {
			own := newObservations().at(keyspace + "/" + vitessShard)
			each = append(each, own)
			group.Go(func() error {
				return e.vitess.On(groupCtx, keyspace, vitessShard, func(session *sql.Conn) error {
					if err := do(groupCtx, role, vitessShard, session, own); err != nil {
						return fmt.Errorf("Vitess shard %s: %w", own.where, err)
					}
					return nil
				})
			})
		}
	}
	err := group.Wait()
	for _, own := range each {
		*seen.list = append(*seen.list, *own.list...)
	}
	return err
}

// skipUnlessThere reports whether there are Vitess shards of a keyspace to look at, and adds which ones there are not.
func (e *examination) skipUnlessThere(role vschema.Role, seen *observations) bool {
	for _, vitessShard := range e.unserved[role] {
		seen.at(e.Keyspaces[role]+"/"+vitessShard).skip("no primary serves: see %s", keyspaces)
	}
	if len(e.vitessShards[role]) == 0 {
		seen.skip("keyspace %s cannot be looked at: see %s", e.Keyspaces[role], keyspaces)
		return false
	}
	return true
}

// observeStructures reads the tables of all Vitess shards, once for all checks.
func (e *examination) observeStructures(ctx context.Context) error {
	if e.structures != nil {
		return nil
	}
	var mu sync.Mutex
	structures := map[vschema.Role]map[string]structure{}
	for _, role := range vschema.Roles() {
		structures[role] = map[string]structure{}
	}
	err := e.onEach(ctx, newObservations(), func(ctx context.Context, role vschema.Role, vitessShard string, session *sql.Conn, _ *observations) error {
		observed, err := observeStructure(ctx, session)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		structures[role][vitessShard] = observed
		return nil
	})
	if err == nil {
		e.structures = structures
	}
	return err
}

// compareStructures calls compare with what each Vitess shard of each keyspace should have, and what it has.
func (e *examination) compareStructures(ctx context.Context, seen *observations, compare func(role vschema.Role, expected, observed structure, seen *observations)) error {
	if err := e.observeStructures(ctx); err != nil {
		return err
	}
	for _, role := range vschema.Roles() {
		if !e.skipUnlessThere(role, seen) {
			continue
		}
		expected, err := expectedStructure(role)
		if err != nil {
			return err
		}
		for _, vitessShard := range e.vitessShards[role] {
			compare(role, expected, e.structures[role][vitessShard], seen.at(e.Keyspaces[role]+"/"+vitessShard))
		}
	}
	return nil
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
	homes := map[string]vschema.Role{}
	count := 0
	for _, role := range vschema.Roles() {
		keyspace, err := schema.Load(role)
		if err != nil {
			return err
		}
		for _, table := range keyspace.Tables {
			if _, ok := homes[table.Name]; !ok {
				homes[table.Name] = role
			}
			count++
		}
	}
	err := e.compareStructures(ctx, seen, func(role vschema.Role, expected, observed structure, seen *observations) {
		for _, name := range slices.Sorted(maps.Keys(expected)) {
			if observed[name] == nil {
				seen.fail("table %s is missing", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(observed)) {
			home, ours := homes[name]
			if ours && expected[name] == nil {
				seen.warn("table %s belongs in keyspace %s", name, e.Keyspaces[home])
			}
		}
	})
	seen.good("%d tables are where they belong, on every Vitess shard", count)
	return err
}

func checkColumns(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(_ vschema.Role, expected, observed structure, seen *observations) {
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
	seen.good("%d columns have their names, types and nullability", count)
	return err
}

func nullability(c column) string {
	if c.nullable {
		return "NULL"
	}
	return "NOT NULL"
}

func checkKeys(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(_ vschema.Role, expected, observed structure, seen *observations) {
		eachTable(expected, observed, func(name string, expected, observed *table) {
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
	seen.good("%d keys are there", count)
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
	err := e.compareStructures(ctx, seen, func(role vschema.Role, expected, observed structure, seen *observations) {
		if !e.placements[role].Sharded {
			return
		}
		eachTable(expected, observed, func(name string, expected, observed *table) {
			shardingColumn := e.placements[role].Tables[name].ShardingColumn()
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
	seen.good("%d unique keys of sharded tables hold the sharding column", count)
	return err
}

// defaultCollation is MySQL's for utf8mb4, the character set that upstream's tools create databases with.
const defaultCollation = "utf8mb4_0900_ai_ci"

func checkCollation(ctx context.Context, e *examination, seen *observations) error {
	count := 0
	err := e.compareStructures(ctx, seen, func(_ vschema.Role, expected, observed structure, seen *observations) {
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
	seen.good("%d text columns have their collation", count)
	return err
}
