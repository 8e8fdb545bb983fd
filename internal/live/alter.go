package live

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
)

// AlterStatements returns the ALTER VSCHEMA statements that make a keyspace's VSchema the target, in an order in which
// vtgate takes them. Some changes have no statement, which is an error.
func AlterStatements(keyspace string, live, target *vschemapb.Keyspace) ([]string, error) {
	a := alter{keyspace: keyspace}
	creates := slices.DeleteFunc(slices.Sorted(maps.Keys(target.Vindexes)), func(name string) bool { return live.Vindexes[name] != nil })
	if live.Sharded != target.Sharded && (live.Sharded || len(live.Vindexes) > 0 || len(creates) == 0) {
		return nil, errors.New("ALTER VSCHEMA cannot say whether a keyspace is sharded, but with its first vindex: give --vtctld")
	}
	for _, name := range creates { // none of Temporal's has parameters
		a.add("CREATE VINDEX %s USING %s", a.name(name), quote(target.Vindexes[name].Type))
	}
	for _, name := range slices.Sorted(maps.Keys(target.Tables)) {
		if err := a.table(name, live.Tables[name], target.Tables[name], target.Sharded); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(live.Tables)) {
		if _, ok := target.Tables[name]; !ok {
			a.add("DROP TABLE %s", a.name(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(live.Vindexes)) {
		if _, ok := target.Vindexes[name]; !ok {
			a.add("DROP VINDEX %s", a.name(name))
		}
	}
	return a.statements, nil
}

// alter collects statements.
type alter struct {
	keyspace   string
	statements []string
}

func (a *alter) add(format string, arguments ...any) {
	a.statements = append(a.statements, "ALTER VSCHEMA "+fmt.Sprintf(format, arguments...))
}

// name is that of a table or vindex with its keyspace.
func (a *alter) name(name string) string { return quote(a.keyspace, name) }

// table adds what a table needs.
func (a *alter) table(name string, live, target *vschemapb.Table, sharded bool) error {
	have, want := live.CloneVT(), target.CloneVT()
	if have == nil {
		have = &vschemapb.Table{}
	}
	if have.AutoIncrement != nil && want.AutoIncrement == nil {
		a.add("ON %s DROP AUTO_INCREMENT", a.name(name))
		have.AutoIncrement = nil
	}
	switch {
	case !sharded && live == nil:
		a.add("ADD TABLE %s", a.name(name))
	case sharded && !sameVindexes(have.ColumnVindexes, want.ColumnVindexes):
		a.vindexes(name, have.ColumnVindexes, want.ColumnVindexes)
	}
	have.ColumnVindexes, want.ColumnVindexes = nil, nil
	if !proto.Equal(have, want) {
		return fmt.Errorf("ALTER VSCHEMA cannot make table %s an ordinary one: give --vtctld", name)
	}
	return nil
}

// vindexes changes those of a table. The first one counts, and a new one comes last; so all have to go from the first that
// differs. A table leaves the VSchema with its last vindex, and with all else that is said of it there, which vtgate may
// not have shown: so the new ones come first, unless one has a name that is still taken.
func (a *alter) vindexes(table string, have, want []*vschemapb.ColumnVindex) {
	for len(have) > 0 && len(want) > 0 && compare.SameVindex(have[0], want[0]) {
		have, want = have[1:], want[1:]
	}
	var adds, drops alter
	for _, vindex := range want {
		adds.add("ON %s ADD VINDEX %s (%s)", a.name(table), quote(vindex.Name), quoteList(vindexColumns(vindex)))
	}
	taken := false
	for _, vindex := range have {
		drops.add("ON %s DROP VINDEX %s", a.name(table), quote(vindex.Name))
		taken = taken || slices.ContainsFunc(want, func(w *vschemapb.ColumnVindex) bool { return w.Name == vindex.Name })
	}
	first, then := adds, drops
	if taken {
		first, then = drops, adds
	}
	a.statements = slices.Concat(a.statements, first.statements, then.statements)
}

func sameVindexes(a, b []*vschemapb.ColumnVindex) bool {
	return slices.EqualFunc(a, b, compare.SameVindex)
}

// vindexColumns are the columns of a vindex, of which there are two ways to write one.
func vindexColumns(vindex *vschemapb.ColumnVindex) []string {
	if vindex.Column != "" {
		return []string{vindex.Column}
	}
	return vindex.Columns
}

// quote joins the parts of a name.
func quote(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = sqlparser.String(sqlparser.NewIdentifierCS(part))
	}
	return strings.Join(quoted, ".")
}

func quoteList(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ", ")
}
