package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/key"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/internal/balance"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func checkVSchema(ctx context.Context, e *examination, seen *observations) error {
	for _, h := range e.homes {
		if !e.skipUnlessExists(h, seen) {
			continue
		}
		served, err := e.vitess.VSchema(ctx, h.name)
		if err != nil {
			return err
		}
		wanted, err := e.wantedVSchema(h)
		if err != nil {
			return err
		}
		// Which function divides a column is the operator's choice, as long as it is one for all tables.
		wanted = compare.KeepFunctions(wanted, served)
		own := newObservations()
		for _, difference := range compare.Compare(served, wanted) {
			switch {
			case difference.Kind == compare.UnknownTable && !wanted.Sharded && !e.vitess.SeesWholeVSchema():
				// vtgate shows the tables that exist there, not those of the VSchema
			case difference.Kind == compare.UnknownSequence:
				own.fail("%s: %s", h.name, difference)
			case difference.Unknown():
				own.warn("%s: %s", h.name, difference)
			default:
				own.fail("%s: %s", h.name, difference)
			}
		}
		if wanted.Sharded {
			if err := checkVindexes(ctx, h, wanted, served, own); err != nil {
				return err
			}
		}
		if len(*own.list) == 0 {
			own.pass("%s: its %d tables have their vindexes", h.name, len(wanted.Tables))
		}
		*seen.list = append(*seen.list, *own.list...)
	}
	if !e.vitess.SeesWholeVSchema() {
		seen.skip("vtgate shows no sequences and no table types: give --vtctld")
	}
	return nil
}

// wantedVSchema is that of all roles of a keyspace.
func (e *examination) wantedVSchema(h *home) (*vschemapb.Keyspace, error) {
	all := &vschemapb.Keyspace{Sharded: h.sharded(), Vindexes: map[string]*vschemapb.Vindex{}, Tables: map[string]*vschemapb.Table{}}
	for _, role := range h.roles {
		wanted, err := compare.Wanted(role, e.Profile, "")
		if err != nil {
			return nil, err
		}
		if h.sharded() {
			maps.Copy(all.Vindexes, wanted.Vindexes)
			maps.Copy(all.Tables, wanted.Tables)
			continue
		}
		for name := range wanted.Tables {
			all.Tables[name] = &vschemapb.Table{}
		}
	}
	return all, nil
}

// checkVindexes tries each table's vindex on a value of its sharding column.
func checkVindexes(ctx context.Context, h *home, wanted, served *vschemapb.Keyspace, seen *observations) error {
	expected, err := expectedStructure(h.roles...)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(wanted.Tables)) {
		column := wanted.Tables[name].ColumnVindexes[0].Column
		table := served.Tables[name]
		if len(table.GetColumnVindexes()) == 0 {
			continue // compare has said so
		}
		definition := served.Vindexes[table.ColumnVindexes[0].Name]
		if err := mapsToOne(ctx, definition, sample(expected[name].columns[column])); err != nil {
			seen.fail("%s: vindex %s does not suit %s.%s: %v", h.name, compare.Function(definition), name, column, err)
		}
	}
	return nil
}

// mapsToOne returns an error unless a vindex takes the value to one keyspace ID, by itself.
func mapsToOne(ctx context.Context, definition *vschemapb.Vindex, value sqltypes.Value) error {
	vindex, err := vindexes.CreateVindex(definition.GetType(), definition.GetType(), definition.GetParams())
	if err != nil {
		return err
	}
	if vindex.NeedsVCursor() {
		return errors.New("it looks up a table")
	}
	destinations, err := vindexes.Map(ctx, vindex, nil, [][]sqltypes.Value{{value}})
	if err != nil {
		return err
	}
	if _, ok := destinations[0].(key.DestinationKeyspaceID); !ok {
		return fmt.Errorf("it takes %s to %s", value, destinations[0])
	}
	return nil
}

// sample is a value that a sharding column may have: a number, or a namespace's or run's UUID as bytes or text.
func sample(c column) sqltypes.Value {
	id := uuid.New()
	switch {
	case c.text:
		return sqltypes.NewVarChar(id.String())
	case c.dataType == "binary(16)":
		return sqltypes.NewVarBinary(string(id[:]))
	default:
		return sqltypes.NewInt64(1)
	}
}

// spreadsBadly is how many times the mean the fullest Vitess shard may have.
const spreadsBadly = 1.1

func checkBalance(ctx context.Context, e *examination, seen *observations) error {
	h := e.home(vschema.Main)
	if !e.skipUnlessExists(h, seen) {
		return nil
	}
	if len(h.vitessShards) == 1 {
		seen.pass("one Vitess shard has all history shards")
		return nil
	}
	historyShards, err := e.historyShards(ctx, seen)
	if err != nil || historyShards == 0 {
		return err
	}
	served, err := e.vitess.VSchema(ctx, h.name)
	if err != nil {
		return err
	}
	vindex, err := balance.OfHistoryShards(served)
	if err != nil {
		seen.fail("%s: %v", h.name, err)
		return nil
	}
	shards, err := balance.Named(h.vitessShards...)
	if err != nil {
		return err
	}
	spread, err := balance.Compute(vindex, historyShards, shards)
	if err != nil {
		return err
	}
	status := Pass
	if spread.FullestOverMean() >= spreadsBadly {
		status = Warn
	}
	seen.add(status, "%s spreads %d history shards over %d Vitess shards, the fullest has %.2f times the mean",
		spread.Function, historyShards, len(h.vitessShards), spread.FullestOverMean())
	return nil
}
