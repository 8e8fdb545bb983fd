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

	"github.com/temporal-vitess/temporal-vitess/vschema"
	"github.com/temporal-vitess/temporal-vitess/vschema/balance"
	"github.com/temporal-vitess/temporal-vitess/vschema/compare"
)

func checkVSchema(ctx context.Context, e *examination, seen *observations) error {
	for _, role := range vschema.Roles() {
		keyspace := e.Keyspaces[role]
		if !e.skipUnlessThere(role, seen) {
			continue
		}
		served, err := e.vitess.VSchema(ctx, keyspace)
		if err != nil {
			return err
		}
		wanted, err := compare.Wanted(role, e.Profile, "")
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
				own.fail("%s: %s", keyspace, difference)
			case difference.Unknown():
				own.warn("%s: %s", keyspace, difference)
			default:
				own.fail("%s: %s", keyspace, difference)
			}
		}
		if wanted.Sharded {
			if err := checkVindexes(ctx, keyspace, role, wanted, served, own); err != nil {
				return err
			}
		}
		own.good("%s: its %d tables have their vindexes", keyspace, len(wanted.Tables))
		*seen.list = append(*seen.list, *own.list...)
	}
	if !e.vitess.SeesWholeVSchema() {
		seen.skip("vtgate shows no sequences and no table types: give --vtctld")
	}
	return nil
}

// checkVindexes tries each table's vindex on a value of its sharding column.
func checkVindexes(ctx context.Context, keyspace string, role vschema.Role, wanted, served *vschemapb.Keyspace, seen *observations) error {
	expected, err := expectedStructure(role)
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
			seen.fail("%s: vindex %s does not suit %s.%s: %v", keyspace, compare.Function(definition), name, column, err)
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
	if !e.skipUnlessThere(vschema.Main, seen) {
		return nil
	}
	vitessShards := e.vitessShards[vschema.Main]
	if len(vitessShards) == 1 {
		seen.pass("one Vitess shard has all history shards")
		return nil
	}
	historyShards, err := e.historyShards(ctx, seen)
	if err != nil || historyShards == 0 {
		return err
	}
	served, err := e.vitess.VSchema(ctx, e.Keyspaces[vschema.Main])
	if err != nil {
		return err
	}
	vindex, err := balance.OfHistoryShards(served)
	if err != nil {
		seen.fail("%s: %v", e.Keyspaces[vschema.Main], err)
		return nil
	}
	shards, err := balance.Named(vitessShards...)
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
		spread.Function, historyShards, len(vitessShards), spread.FullestOverMean())
	return nil
}
