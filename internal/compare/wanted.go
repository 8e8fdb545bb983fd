package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"vitess.io/vitess/go/json2"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Wanted returns the VSchema that a keyspace should have. A function, if not empty, divides history shards and task
// queues in place of reverse_bits; it has no meaning for other roles than [vschema.Main]. An error names the role,
// profile or function that cannot be.
func Wanted(role vschema.Role, profile vschema.Profile, function string) (*vschemapb.Keyspace, error) {
	keyspace, err := vschema.Load(role, profile)
	if err != nil {
		return nil, err
	}
	if function != "" {
		if err := checkFunction(function); err != nil {
			return nil, err
		}
		if role == vschema.Main {
			keyspace = keyspace.WithFunction(function)
		}
	}
	data, err := json.Marshal(keyspace)
	if err != nil {
		return nil, err
	}
	wanted := &vschemapb.Keyspace{}
	if err := json2.UnmarshalPB(data, wanted); err != nil {
		return nil, fmt.Errorf("VSchema of keyspace role %q: %w", role, err)
	}
	return wanted, nil
}

// WantedOf returns the VSchema that a keyspace with these roles should have; see [Wanted]. It is unsharded if one of them
// has tables that exist once per cluster.
func WantedOf(roles []vschema.Role, profile vschema.Profile, function string) (*vschemapb.Keyspace, error) {
	all := &vschemapb.Keyspace{Sharded: true, Vindexes: map[string]*vschemapb.Vindex{}, Tables: map[string]*vschemapb.Table{}}
	for _, role := range roles {
		wanted, err := Wanted(role, profile, function)
		if err != nil {
			return nil, err
		}
		all.Sharded = all.Sharded && wanted.Sharded
		maps.Copy(all.Vindexes, wanted.Vindexes)
		maps.Copy(all.Tables, wanted.Tables)
	}
	if !all.Sharded {
		all.Vindexes = nil
		for name := range all.Tables {
			all.Tables[name] = &vschemapb.Table{}
		}
	}
	return all, nil
}

// checkFunction refuses what does not take a number to one Vitess shard by itself: without a lookup table and without
// parameters.
func checkFunction(function string) error {
	vindex, err := vindexes.CreateVindex(function, function, nil)
	if err != nil {
		return fmt.Errorf("vindex function %q: %w", function, err)
	}
	if _, ok := vindex.(vindexes.Hashing); !ok || !vindex.IsUnique() || vindex.NeedsVCursor() {
		return fmt.Errorf("vindex function %q does not take a number to one Vitess shard by itself: take reverse_bits, xxhash or hash", function)
	}
	return nil
}

// KeepFunctions returns the wanted VSchema with the vindex functions of the live one: for each sharding column the
// function that the live tables have there, if they agree. Rows stay where they are then, and a table that is missing
// joins those of the same column.
func KeepFunctions(wanted, live *vschemapb.Keyspace) *vschemapb.Keyspace {
	byColumn := make(map[string][]*vschemapb.Vindex)
	for name, table := range wanted.Tables {
		column := columns(primary(table))
		if have := primary(live.Tables[name]); len(column) > 0 && slices.Equal(columns(have), column) {
			byColumn[column[0]] = append(byColumn[column[0]], live.Vindexes[have.Name])
		}
	}
	kept := wanted.CloneVT()
	for _, table := range kept.Tables {
		column := columns(primary(table))
		if len(column) == 0 {
			continue
		}
		found := byColumn[column[0]]
		if len(found) == 0 || slices.ContainsFunc(found, func(v *vschemapb.Vindex) bool { return Function(v) != Function(found[0]) }) {
			continue
		}
		table.ColumnVindexes[0].Name = addVindex(kept, primary(table).Name, found[0])
	}
	return kept
}
