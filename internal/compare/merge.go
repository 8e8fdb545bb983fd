package compare

import (
	"maps"
	"slices"

	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
)

// Merge returns the live VSchema with what is missing or wrong in it as wanted. What is unknown stays.
func Merge(live, wanted *vschemapb.Keyspace) *vschemapb.Keyspace {
	merged := live.CloneVT()
	merged.Sharded = wanted.Sharded
	if merged.Vindexes == nil {
		merged.Vindexes = make(map[string]*vschemapb.Vindex)
	}
	if merged.Tables == nil {
		merged.Tables = make(map[string]*vschemapb.Table)
	}
	for name, wants := range wanted.Tables {
		table, ok := merged.Tables[name]
		if !ok {
			table = &vschemapb.Table{}
			merged.Tables[name] = table
		} else if _, different := compareTable(live, wanted, name); !different && live.Sharded == wanted.Sharded {
			continue
		}
		table.Type, table.Pinned, table.Source = "", "", ""
		if want := primary(wants); want != nil {
			vindex := &vschemapb.ColumnVindex{
				Column: want.Column,
				Name:   addVindex(merged, want.Name, wanted.Vindexes[want.Name]),
			}
			table.ColumnVindexes = append([]*vschemapb.ColumnVindex{vindex}, further(table)...)
		}
	}
	return merged
}

// addVindex returns the name under which a keyspace has a vindex, after it has added it if need be: under the given name,
// unless that is another function's.
func addVindex(keyspace *vschemapb.Keyspace, name string, vindex *vschemapb.Vindex) string {
	names := append([]string{name}, slices.Sorted(maps.Keys(keyspace.Vindexes))...)
	for _, has := range names {
		if Function(keyspace.Vindexes[has]) == Function(vindex) {
			return has
		}
	}
	for keyspace.Vindexes[name] != nil {
		name = "temporal_" + name
	}
	keyspace.Vindexes[name] = vindex
	return name
}

// DropUnknown returns a VSchema without what [Compare] calls unknown.
func DropUnknown(live, wanted *vschemapb.Keyspace) *vschemapb.Keyspace {
	left := live.CloneVT()
	for name, table := range left.Tables {
		if _, ok := wanted.Tables[name]; !ok {
			delete(left.Tables, name)
			continue
		}
		table.AutoIncrement = nil
		if wanted.Sharded {
			table.ColumnVindexes = slices.Clip(table.ColumnVindexes[:min(1, len(table.ColumnVindexes))])
		}
	}
	for _, name := range unused(left) {
		if _, ok := wanted.Vindexes[name]; !ok {
			delete(left.Vindexes, name)
		}
	}
	return left
}
