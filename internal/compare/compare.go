// Package compare sets the live VSchema of a keyspace against the one that Temporal needs: what differs, and the VSchema
// that has what is missing without losing what else is there.
//
// What counts is where a row goes: columns and function of each table's primary vindex. The names of vindexes do not
// matter.
package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
)

// Kind is what is different.
type Kind string

// The kinds of differences. Those that start with Unknown are about what Temporal has no use for.
const (
	// NotSharded is a keyspace that should be sharded.
	NotSharded Kind = "not sharded"
	// Sharded is a keyspace that should not be sharded.
	Sharded Kind = "sharded"
	// MissingTable is a table that vtgate does not know.
	MissingTable Kind = "missing table"
	// WrongColumn is a table that another column divides.
	WrongColumn Kind = "wrong sharding column"
	// WrongFunction is a table that another vindex function divides.
	WrongFunction Kind = "wrong vindex function"
	// WrongType is a sequence or reference table that should be an ordinary one.
	WrongType Kind = "wrong table type"
	// NotServed is something that the topology has and vtgate does not plan with, or the other way round; see [Served].
	NotServed Kind = "not served by vtgate as the topology has it"
	// UnknownTable is a table that is not Temporal's, or no longer.
	UnknownTable Kind = "unknown table"
	// UnknownVindex is a further vindex of one of Temporal's tables or, without a table, one that no table uses.
	UnknownVindex Kind = "unknown vindex"
	// UnknownSequence is a column of one of Temporal's tables whose values come from a sequence.
	UnknownSequence Kind = "unknown sequence"
)

// Difference is one thing in which a live VSchema is not the wanted one.
type Difference struct {
	Kind Kind `json:"kind"`
	// Table is empty where the keyspace is concerned, or a vindex.
	Table string `json:"table,omitempty"`
	// Live and Wanted are what the VSchemas have, such as "reverse_bits(shard_id)". Wanted is empty for what is unknown,
	// and Live for what is missing.
	Live   string `json:"live,omitempty"`
	Wanted string `json:"wanted,omitempty"`
}

// Lines are differences for the reader, one line for tables that differ alike.
func Lines(differences []Difference) []string {
	tables := make(map[Difference][]string)
	var order []Difference
	for _, d := range differences {
		alike := d
		alike.Table = ""
		if tables[alike] == nil {
			order = append(order, alike)
		}
		tables[alike] = append(tables[alike], d.Table)
	}
	lines := make([]string, len(order))
	for i, d := range order {
		d.Table = strings.Join(tables[d], ", ")
		lines[i] = d.String()
	}
	return lines
}

// String is the difference in a line.
func (d Difference) String() string {
	parts := []string{string(d.Kind)}
	if d.Live != "" {
		parts = append(parts, "has "+d.Live)
	}
	if d.Wanted != "" {
		parts = append(parts, "wants "+d.Wanted)
	}
	line := strings.Join(parts, ", ")
	if d.Table != "" {
		line += ": " + d.Table
	}
	return line
}

// Unknown reports whether the difference is something that Temporal has no use for and that does it no harm by
// itself.
func (d Difference) Unknown() bool {
	return d.Kind == UnknownTable || d.Kind == UnknownVindex || d.Kind == UnknownSequence
}

// MovesRows reports whether to mend the difference sends vtgate elsewhere for the rows of a table. Rows that are there
// already would be lost to it.
func (d Difference) MovesRows() bool {
	return d.Kind == WrongColumn || d.Kind == WrongFunction || d.Kind == WrongType
}

// Compare returns what is different in the live VSchema, in a fixed order: the keyspace, Temporal's tables by name, then
// what is unknown.
func Compare(live, wanted *vschemapb.Keyspace) []Difference {
	var known, unknown []Difference
	switch {
	case wanted.Sharded && !live.Sharded:
		known = append(known, Difference{Kind: NotSharded, Live: sharding(live), Wanted: "a sharded one"})
	case live.Sharded && !wanted.Sharded:
		known = append(known, Difference{Kind: Sharded, Live: sharding(live), Wanted: "an unsharded one"})
	}
	for _, name := range slices.Sorted(maps.Keys(wanted.Tables)) {
		wants := describe(wanted, primary(wanted.Tables[name]))
		table, ok := live.Tables[name]
		if !ok {
			known = append(known, Difference{Kind: MissingTable, Table: name, Wanted: wants})
			continue
		}
		if d, ok := compareTable(live, wanted, name); ok {
			known = append(known, d)
		}
		if wanted.Sharded {
			for _, vindex := range further(table) {
				unknown = append(unknown, Difference{Kind: UnknownVindex, Table: name, Live: describe(live, vindex)})
			}
		}
		if from := table.AutoIncrement; from != nil {
			unknown = append(unknown, Difference{Kind: UnknownSequence, Table: name, Live: from.Column + " from " + from.Sequence})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(live.Tables)) {
		if _, ok := wanted.Tables[name]; !ok {
			unknown = append(unknown, Difference{Kind: UnknownTable, Table: name, Live: describeTable(live, live.Tables[name])})
		}
	}
	for _, name := range unused(live) {
		if _, ok := wanted.Vindexes[name]; !ok {
			unknown = append(unknown, Difference{Kind: UnknownVindex, Live: name + ", which no table uses"})
		}
	}
	return append(known, unknown...)
}

// Served returns in what the VSchema that vtgate shows is not the one of the topology, in a fixed order. What vtgate does
// not show counts as served: sequences, types of tables, column lists; and in an unsharded keyspace, of which it shows the
// tables that exist as well, those that the topology does not have.
func Served(served, topology *vschemapb.Keyspace) []Difference {
	if served.Sharded != topology.Sharded {
		return []Difference{{Kind: NotServed, Live: sharding(served), Wanted: sharding(topology)}}
	}
	var differences []Difference
	names := maps.Clone(topology.Vindexes)
	if names == nil {
		names = map[string]*vschemapb.Vindex{}
	}
	maps.Copy(names, served.Vindexes)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		has, wants := describeVindex(served, name), describeVindex(topology, name)
		if has != wants {
			differences = append(differences, Difference{Kind: NotServed, Live: has, Wanted: wants})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(topology.Tables)) {
		table, ok := served.Tables[name]
		switch wants := topology.Tables[name]; {
		case !ok:
			differences = append(differences, Difference{Kind: NotServed, Table: name, Wanted: describe(topology, primary(wants))})
		case topology.Sharded && !slices.EqualFunc(table.ColumnVindexes, wants.ColumnVindexes, SameVindex):
			differences = append(differences, Difference{Kind: NotServed, Table: name, Live: describe(served, primary(table)), Wanted: describe(topology, primary(wants))})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(served.Tables)) {
		if _, ok := topology.Tables[name]; !ok && topology.Sharded {
			differences = append(differences, Difference{Kind: NotServed, Table: name, Live: describe(served, primary(served.Tables[name])), Wanted: "no such table"})
		}
	}
	return differences
}

// SameVindex reports whether two vindexes of a table have the same name and columns.
func SameVindex(a, b *vschemapb.ColumnVindex) bool {
	return a.Name == b.Name && slices.Equal(columns(a), columns(b))
}

// sharding is for the reader whether a VSchema is sharded.
func sharding(keyspace *vschemapb.Keyspace) string {
	if keyspace.Sharded {
		return "a sharded VSchema"
	}
	return "an unsharded VSchema"
}

// describeVindex is a vindex of a keyspace for the reader.
func describeVindex(keyspace *vschemapb.Keyspace, name string) string {
	vindex, ok := keyspace.Vindexes[name]
	if !ok {
		return "no vindex " + name
	}
	return strings.TrimSpace(fmt.Sprintf("vindex %s using %s %s", name, Function(vindex), vindex.Owner))
}

// compareTable looks at where the rows of a table are that both have.
func compareTable(live, wanted *vschemapb.Keyspace, name string) (Difference, bool) {
	table := live.Tables[name]
	have, want := primary(table), primary(wanted.Tables[name])
	d := Difference{Table: name, Live: describeTable(live, table), Wanted: describe(wanted, want)}
	switch {
	case table.Type != "":
		d.Kind = WrongType
	case !live.Sharded || !wanted.Sharded:
		return d, false // the VSchema of an unsharded keyspace does not divide rows
	case !slices.Equal(columns(have), columns(want)):
		d.Kind = WrongColumn
	case Function(live.Vindexes[have.GetName()]) != Function(wanted.Vindexes[want.GetName()]):
		d.Kind = WrongFunction
	default:
		return d, false
	}
	return d, true
}

// Function is the function of a vindex with its parameters, such as "reverse_bits" or "cfc(hash=md5, offset=16)".
func Function(vindex *vschemapb.Vindex) string {
	var params []string
	for _, name := range slices.Sorted(maps.Keys(vindex.GetParams())) {
		params = append(params, name+"="+vindex.Params[name])
	}
	if params == nil {
		return vindex.GetType()
	}
	return vindex.GetType() + "(" + strings.Join(params, ", ") + ")"
}

// primary is the vindex that divides the rows of a table, nil if none does.
func primary(table *vschemapb.Table) *vschemapb.ColumnVindex {
	if len(table.GetColumnVindexes()) == 0 {
		return nil
	}
	return table.ColumnVindexes[0]
}

// further are the other vindexes of a table.
func further(table *vschemapb.Table) []*vschemapb.ColumnVindex {
	if len(table.ColumnVindexes) == 0 {
		return nil
	}
	return table.ColumnVindexes[1:]
}

// columns are those of a vindex, however they are written.
func columns(vindex *vschemapb.ColumnVindex) []string {
	if vindex.GetColumn() != "" {
		return []string{vindex.Column}
	}
	return vindex.GetColumns()
}

// describe is a table's vindex for the reader: function and columns.
func describe(keyspace *vschemapb.Keyspace, vindex *vschemapb.ColumnVindex) string {
	if vindex == nil {
		return ""
	}
	return fmt.Sprintf("%s(%s)", Function(keyspace.Vindexes[vindex.Name]), strings.Join(columns(vindex), ", "))
}

func describeTable(keyspace *vschemapb.Keyspace, table *vschemapb.Table) string {
	switch {
	case table.Type != "":
		return "a " + table.Type + " table"
	case table.Pinned != "":
		return "pinned to keyspace ID " + table.Pinned
	case len(table.ColumnVindexes) == 0 && keyspace.Sharded:
		return "no vindex"
	default:
		return describe(keyspace, primary(table))
	}
}

// unused are the vindexes that no table has, in order.
func unused(keyspace *vschemapb.Keyspace) []string {
	names := make(map[string]bool)
	for name := range keyspace.Vindexes {
		names[name] = true
	}
	for _, table := range keyspace.Tables {
		for _, vindex := range table.ColumnVindexes {
			delete(names, vindex.Name)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Primary returns the columns and the function of the vindex that divides the rows of a table, several columns with
// ", " between them; "" and nil if none does.
func Primary(keyspace *vschemapb.Keyspace, table string) (string, *vschemapb.Vindex) {
	vindex := primary(keyspace.Tables[table])
	return strings.Join(columns(vindex), ", "), keyspace.Vindexes[vindex.GetName()]
}
