package apply

import (
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/schemadiff"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// newest returns what a new keyspace has at the newest version: its tables, and the statements of its rows.
func newest(env *schemadiff.Environment, role vschema.Role) (tables map[string]table, inserts []schema.Statement, err error) {
	keyspace, err := schema.Load(role)
	if err != nil {
		return nil, nil, err
	}
	s := &shard{tables: map[string]table{}, rows: map[string]bool{}}
	for _, text := range keyspace.Statements {
		parsed, err := schema.Parse(text)
		if err != nil {
			return nil, nil, err
		}
		if insert, ok := parsed.(*sqlparser.Insert); ok {
			table, err := insert.Table.TableName()
			if err != nil {
				return nil, nil, err
			}
			inserts = append(inserts, schema.Statement{Text: text, Role: role, Table: table.Name.String(), Parsed: insert})
		} else if err := s.apply(env, text); err != nil {
			return nil, nil, err
		}
	}
	return s.tables, inserts, nil
}

// apply does to the tables in memory what mysqld does with a statement.
func (s *shard) apply(env *schemadiff.Environment, text string) error {
	statement, err := schema.Parse(text)
	if err != nil {
		return err
	}
	switch statement := statement.(type) {
	case *sqlparser.Insert:
		s.rows[text] = true
	case *sqlparser.DropTable:
		delete(s.tables, statement.FromTables[0].Name.String())
	case *sqlparser.CreateTable:
		if s.tables[statement.Table.Name.String()], err = newTable(env, statement); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
	case *sqlparser.AlterTable:
		before := s.tables[statement.Table.Name.String()]
		for _, clause := range statement.AlterOptions {
			if modify, ok := clause.(*sqlparser.ModifyColumn); ok {
				markKeyColumn(before, modify.NewColDefinition)
			}
		}
		after, err := before.Apply(schemadiff.EntityDiffByStatement(statement))
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		if s.tables[before.Name()], err = newTable(env, after.(table).CreateTable); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
	}
	return nil
}

// withOwn returns the table of a new set-up with what an operator has added to it: columns, each after the one that it
// follows now, indexes, and types that hold more.
func withOwn(want, have table) table {
	want = want.Clone().(table)
	spec := want.TableSpec
	for i, own := range have.TableSpec.Columns {
		if wanted := column(want, own.Name); wanted != nil {
			if holdsMore(own.Type, wanted.Type) {
				wanted.Type.Type, wanted.Type.Length, wanted.Type.Scale = own.Type.Type, own.Type.Length, own.Type.Scale
			}
			continue
		}
		at := 0
		if i > 0 {
			at = 1 + slices.Index(spec.Columns, column(want, have.TableSpec.Columns[i-1].Name))
		}
		spec.Columns = slices.Insert(spec.Columns, at, sqlparser.Clone(own))
	}
	for _, own := range have.TableSpec.Indexes {
		if index(want, own.Info.Name) == nil {
			spec.Indexes = append(spec.Indexes, sqlparser.Clone(own))
		}
	}
	return want
}

// widening lists types of which each holds what those before it hold.
var widening = [][]string{
	{"tinyint", "smallint", "mediumint", "int", "bigint"},
	{"tinyblob", "blob", "mediumblob", "longblob"},
	{"tinytext", "text", "mediumtext", "longtext"},
}

// holdsMore tells whether a holds all values of b, and more.
func holdsMore(a, b *sqlparser.ColumnType) bool {
	from, to := strings.ToLower(b.Type), strings.ToLower(a.Type)
	if from == to {
		return a.Length != nil && b.Length != nil && *a.Length > *b.Length
	}
	return slices.ContainsFunc(widening, func(types []string) bool {
		narrow := slices.Index(types, from)
		return narrow >= 0 && slices.Contains(types[narrow:], to)
	})
}

// differing returns the ALTER TABLE statements that make a table what it is in a new keyspace, nil if it is so already;
// with keepColumns those that make its indexes so.
//
// Not compared are the options of the table, such as its collation, which comes from the operator's database; CHECK
// constraints of columns, which Vitess' parser does not have; and the expressions of generated columns and functional
// indexes, since mysqld returns them in another form. Upstream has not changed any of these in place.
func differing(have, want table, keepColumns bool) ([]string, error) {
	want = want.Clone().(table)
	want.TableSpec.Options = sqlparser.Clone(have.TableSpec).Options
	want.TableSpec.Constraints = sqlparser.Clone(have.TableSpec).Constraints
	if keepColumns {
		want.TableSpec.Columns = sqlparser.Clone(have.TableSpec).Columns
	}
	for _, wanted := range want.TableSpec.Columns {
		if found := column(have, wanted.Name); found != nil && found.Type.Options.As != nil && wanted.Type.Options.As != nil {
			wanted.Type.Options.As = found.Type.Options.As
			wanted.Type.Options.Storage = found.Type.Options.Storage
		}
	}
	for _, wanted := range want.TableSpec.Indexes {
		found := index(have, wanted.Info.Name)
		if found == nil || len(found.Columns) != len(wanted.Columns) {
			continue
		}
		for i, part := range wanted.Columns {
			if part.Expression != nil && found.Columns[i].Expression != nil {
				part.Expression = found.Columns[i].Expression
			}
		}
	}
	diff, err := have.Diff(want, schemadiff.EmptyDiffHints())
	if err != nil {
		return nil, fmt.Errorf("compare table %s with that of a new set-up: %w", have.Name(), err)
	}
	var statements []string
	for _, one := range schemadiff.AllSubsequent(diff) {
		if text := one.CanonicalStatementString(); text != "" {
			statements = append(statements, strings.TrimSpace(text))
		}
	}
	return statements, nil
}
