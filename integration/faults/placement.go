package faults

import (
	"context"
	"fmt"

	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/key"
	querypb "vitess.io/vitess/go/vt/proto/query"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// placement says where a VSchema puts rows, by Vitess' own vindexes.
type placement struct{ keyspace *vschema.Keyspace }

var mainPlacement = mustPlacement(vschema.Main)

func mustPlacement(role vschema.Role) placement {
	keyspace, err := vschema.Load(role, vschema.ProfileNamespace)
	if err != nil {
		panic(err) // it is embedded
	}
	return placement{keyspace}
}

// vitessShard returns which of the Vitess shards, by name, has the rows of a table with a value of its sharding column, as
// MySQL sends it in text.
func (p placement) vitessShard(table string, names []string, value []byte) (string, error) {
	if len(p.keyspace.Tables[table].ColumnVindexes) == 0 {
		return "", fmt.Errorf("table %s has no vindex", table)
	}
	name := p.keyspace.Tables[table].ColumnVindexes[0].Name
	vindex, err := vindexes.CreateVindex(p.keyspace.Vindexes[name].Type, name, nil)
	if err != nil {
		return "", err
	}
	kind := querypb.Type_VARBINARY
	if p.keyspace.Vindexes[name].Type == "reverse_bits" {
		kind = querypb.Type_INT64
	}
	destinations, err := vindexes.Map(context.Background(), vindex, nil, [][]sqltypes.Value{{sqltypes.MakeTrusted(kind, value)}})
	if err != nil {
		return "", fmt.Errorf("table %s, value %q: %w", table, value, err)
	}
	id, ok := destinations[0].(key.DestinationKeyspaceID)
	if !ok {
		return "", fmt.Errorf("table %s, value %q: vindex %s maps it to %v", table, value, name, destinations[0])
	}
	for _, name := range names {
		ranges, err := key.ParseShardingSpec(name)
		if err != nil {
			return "", err
		}
		if key.KeyRangeContains(ranges[0], id) {
			return name, nil
		}
	}
	return "", fmt.Errorf("table %s, value %q: none of the Vitess shards %v has keyspace ID %x", table, value, names, []byte(id))
}
