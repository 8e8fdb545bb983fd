package vschema

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
)

// Role says what a keyspace holds, whatever its name is.
type Role string

const (
	// Main holds history, executions and matching. It is sharded.
	Main Role = "temporal"
	// Global holds what exists once per cluster. It is unsharded.
	Global Role = "temporal_global"
	// Visibility holds the visibility store. It is sharded.
	Visibility Role = "temporal_visibility"
)

// Roles lists every role in a fixed order.
func Roles() []Role { return []Role{Main, Global, Visibility} }

// RolesIn returns the roles of a keyspace among those that keyspaces names, in a fixed order: several where a set-up has
// fewer keyspaces than roles.
func RolesIn(keyspaces map[Role]string, name string) []Role {
	return slices.DeleteFunc(Roles(), func(role Role) bool { return keyspaces[role] != name })
}

// Profile selects the sharding column of the visibility keyspace. It has no meaning for the other keyspaces.
type Profile string

const (
	// ProfileNamespace shards visibility by namespace_id: every list, count and write of a namespace goes to one
	// Vitess shard. It is the default.
	ProfileNamespace Profile = "namespace"
	// ProfileSpread shards visibility by run_id, for clusters in which one namespace holds nearly everything: writes
	// and gets go to one Vitess shard, lists and counts ask all of them.
	ProfileSpread Profile = "spread"
)

// Profiles lists every profile in a fixed order.
func Profiles() []Profile { return []Profile{ProfileNamespace, ProfileSpread} }

//go:embed *.json
var files embed.FS

// Keyspace is the part of Vitess' vschema.Keyspace that is in use here, with its JSON field names
// (https://vitess.io/docs/reference/features/vschema/).
type Keyspace struct {
	Sharded  bool              `json:"sharded"`
	Vindexes map[string]Vindex `json:"vindexes"`
	Tables   map[string]Table  `json:"tables"`
}

// Vindex is a function from a column's value to a keyspace ID.
type Vindex struct {
	Type string `json:"type"`
}

// Table is a table of a keyspace. Tables of an unsharded keyspace have no vindex.
type Table struct {
	ColumnVindexes []ColumnVindex `json:"column_vindexes"`
}

// ColumnVindex ties a column to the vindex of that name.
type ColumnVindex struct {
	Column string `json:"column"`
	Name   string `json:"name"`
}

// ShardingColumn returns the column of the primary vindex, or "" for a table of an unsharded keyspace.
func (t Table) ShardingColumn() string {
	if len(t.ColumnVindexes) == 0 {
		return ""
	}
	return t.ColumnVindexes[0].Column
}

// JSON returns the VSchema of a keyspace as vtctldclient ApplyVSchema takes it. The profile matters for [Visibility]
// only. It returns an error for a role or profile that does not exist.
func JSON(role Role, profile Profile) ([]byte, error) {
	name := string(role)
	if role == Visibility {
		name += "_" + string(profile)
	}
	data, err := files.ReadFile(name + ".json")
	if err != nil {
		return nil, fmt.Errorf("no VSchema for keyspace role %q with profile %q: roles are %v, profiles are %v", role, profile, Roles(), Profiles())
	}
	return data, nil
}

// Load returns the VSchema of a keyspace in Go types. See [JSON].
func Load(role Role, profile Profile) (*Keyspace, error) {
	data, err := JSON(role, profile)
	if err != nil {
		return nil, err
	}
	var keyspace Keyspace
	if err := json.Unmarshal(data, &keyspace); err != nil {
		return nil, fmt.Errorf("VSchema of keyspace role %q: %w", role, err)
	}
	return &keyspace, nil
}

// WithFunction returns a copy of a keyspace that has another vindex function wherever this one has reverse_bits: on
// history shard ids and the hashes of task queues.
func (k *Keyspace) WithFunction(function string) *Keyspace {
	const replaced = "reverse_bits"
	changed := &Keyspace{Sharded: k.Sharded, Vindexes: map[string]Vindex{}, Tables: map[string]Table{}}
	for name, vindex := range k.Vindexes {
		if name != replaced {
			changed.Vindexes[name] = vindex
		}
	}
	for name, table := range k.Tables {
		table.ColumnVindexes = slices.Clone(table.ColumnVindexes)
		for i, vindex := range table.ColumnVindexes {
			if vindex.Name == replaced {
				table.ColumnVindexes[i].Name = function
				changed.Vindexes[function] = Vindex{Type: function}
			}
		}
		changed.Tables[name] = table
	}
	return changed
}
