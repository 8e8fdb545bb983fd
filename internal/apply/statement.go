package apply

import (
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/schemadiff"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
)

// table is a table as one Vitess shard has it, or as a statement leaves it; nil where there is none.
type table = *schemadiff.CreateTableEntity

// newTable returns a table in the form in which mysqld returns it.
func newTable(env *schemadiff.Environment, create *sqlparser.CreateTable) (table, error) {
	for _, column := range create.TableSpec.Columns {
		options := column.Type.Options
		if number, ok := options.Default.(*sqlparser.Literal); ok && number.Type == sqlparser.IntVal {
			options.Default, options.DefaultLiteral = sqlparser.NewStrLiteral(number.Val), true
		}
		if options.KeyOpt == sqlparser.ColKeyUnique || options.KeyOpt == sqlparser.ColKeyUniqueKey {
			options.KeyOpt = sqlparser.ColKeyNone
			create.TableSpec.Indexes = append(create.TableSpec.Indexes, &sqlparser.IndexDefinition{
				Info:    &sqlparser.IndexInfo{Type: sqlparser.IndexTypeUnique, Name: column.Name},
				Columns: []*sqlparser.IndexColumn{{Column: column.Name}},
			})
		}
	}
	return schemadiff.NewCreateTableEntity(env, create)
}

// understood returns an error if this package cannot tell whether a statement has been applied.
func understood(statement schema.Statement) error {
	switch parsed := statement.Parsed.(type) {
	case *sqlparser.CreateTable, *sqlparser.DropTable:
		return nil
	case *sqlparser.Insert:
		_, err := insertedRow(parsed)
		return err
	case *sqlparser.AlterTable:
		for _, clause := range parsed.AlterOptions {
			if _, err := lacks(nil, clause, nil); err != nil {
				return err
			}
		}
		return nil
	default:
		return unknown(parsed)
	}
}

// unknown is the error for what this package has to learn first.
func unknown(part sqlparser.SQLNode) error {
	return fmt.Errorf("temporal-vitess-tool does not know how to see whether %q has been applied", sqlparser.String(part))
}

// lacking returns the SQL that gives a table what a statement gives it and it does not have yet: "" if nothing, the
// statement's own text if it has none of it. MySQL applies an ALTER TABLE as a whole, but other tools may have applied
// parts of it. later are the clauses that follow in the same step.
func lacking(t table, statement schema.Statement, later []sqlparser.AlterOption) (string, error) {
	switch parsed := statement.Parsed.(type) {
	case *sqlparser.CreateTable:
		if t != nil {
			return "", nil
		}
		return statement.Text, nil
	case *sqlparser.DropTable:
		if t == nil {
			return "", nil
		}
		return statement.Text, nil
	case *sqlparser.AlterTable:
		if t == nil {
			return "", fmt.Errorf("there is no table %s, which %q changes: was the schema version recorded for another keyspace?", statement.Table, statement.Text)
		}
		var missing []sqlparser.AlterOption
		for i, clause := range parsed.AlterOptions {
			is, err := lacks(t, clause, append(slices.Clone(parsed.AlterOptions[i+1:]), later...))
			if err != nil {
				return "", err
			}
			if is {
				missing = append(missing, clause)
			}
		}
		switch len(missing) {
		case 0:
			return "", nil
		case len(parsed.AlterOptions):
			return statement.Text, nil
		}
		part := sqlparser.Clone(parsed)
		part.AlterOptions = missing
		return sqlparser.String(part), nil
	default:
		return "", unknown(parsed)
	}
}

// lacks tells whether a clause of an ALTER TABLE has to be applied to a table.
//
// A step may drop a column and add another of the same name, as main 1.16 and visibility 1.6 do. The column is dropped
// already once it is as the later clause makes it: dropping it again would lose what was written meanwhile.
func lacks(t table, clause sqlparser.AlterOption, later []sqlparser.AlterOption) (bool, error) {
	switch clause := clause.(type) {
	case *sqlparser.AddColumns:
		if len(clause.Columns) != 1 {
			return false, unknown(clause)
		}
		return column(t, clause.Columns[0].Name) == nil, nil
	case *sqlparser.DropColumn:
		found := column(t, clause.Name.Name)
		if again := added(later, clause.Name.Name); found != nil && again != nil {
			return !sameColumn(t, found, again), nil
		}
		return found != nil, nil
	case *sqlparser.ModifyColumn:
		if clause.First || clause.After != nil {
			return false, unknown(clause)
		}
		found := column(t, clause.NewColDefinition.Name)
		return found == nil || !sameColumn(t, found, clause.NewColDefinition), nil
	case *sqlparser.AlterColumn:
		if clause.DropDefault || clause.DefaultVal == nil || clause.Invisible != nil {
			return false, unknown(clause)
		}
		found := column(t, clause.Column.Name)
		if found == nil {
			return true, nil
		}
		want := sqlparser.Clone(found)
		want.Type.Options.Default, want.Type.Options.DefaultLiteral = clause.DefaultVal, clause.DefaultLiteral
		return !sameColumn(t, found, want), nil
	case *sqlparser.AddIndexDefinition:
		return index(t, clause.IndexDefinition.Info.Name) == nil, nil
	case *sqlparser.DropKey:
		if clause.Type != sqlparser.NormalKeyType {
			return false, unknown(clause)
		}
		found := index(t, clause.Name)
		if found == nil {
			return false, nil
		}
		return !rebuilt(t, found, later), nil
	default:
		return false, unknown(clause)
	}
}

// rebuilt tells whether an index is one that a later clause adds, on columns as later clauses make them.
func rebuilt(t table, found *sqlparser.IndexDefinition, later []sqlparser.AlterOption) bool {
	again := slices.ContainsFunc(later, func(clause sqlparser.AlterOption) bool {
		add, ok := clause.(*sqlparser.AddIndexDefinition)
		return ok && add.IndexDefinition.Info.Name.Equal(found.Info.Name) && len(add.IndexDefinition.Columns) == len(found.Columns)
	})
	if !again {
		return false
	}
	for _, part := range found.Columns {
		if want := added(later, part.Column); want != nil {
			have := column(t, part.Column)
			if have == nil || !sameColumn(t, have, want) {
				return false
			}
		}
	}
	return true
}

// added returns the column that one of the clauses adds.
func added(clauses []sqlparser.AlterOption, name sqlparser.IdentifierCI) *sqlparser.ColumnDefinition {
	for _, clause := range clauses {
		if add, ok := clause.(*sqlparser.AddColumns); ok && add.Columns[0].Name.Equal(name) {
			return add.Columns[0]
		}
	}
	return nil
}

func column(t table, name sqlparser.IdentifierCI) *sqlparser.ColumnDefinition {
	if t == nil {
		return nil
	}
	for _, column := range t.TableSpec.Columns {
		if column.Name.Equal(name) {
			return column
		}
	}
	return nil
}

func index(t table, name sqlparser.IdentifierCI) *sqlparser.IndexDefinition {
	if t == nil {
		return nil
	}
	for _, index := range t.TableSpec.Indexes {
		if index.Info.Name.Equal(name) {
			return index
		}
	}
	return nil
}

// sameColumn compares definitions of a column in a table. The expression of a generated column does not count: mysqld
// returns it in another form, and upstream never changes one in place.
func sameColumn(t table, a, b *sqlparser.ColumnDefinition) bool {
	return normalColumn(t, a) == normalColumn(t, b)
}

func normalColumn(t table, column *sqlparser.ColumnDefinition) string {
	column = sqlparser.Clone(column)
	markKeyColumn(t, column)
	if column.Type.Options.As != nil {
		column.Type.Options.As = sqlparser.NewIntLiteral("0")
		column.Type.Options.Storage = sqlparser.VirtualStorage
	}
	alone, err := newTable(t.Env, &sqlparser.CreateTable{
		Table:       t.Table,
		FullyParsed: true,
		TableSpec: &sqlparser.TableSpec{
			Columns: []*sqlparser.ColumnDefinition{column},
			Options: sqlparser.Clone(t.TableSpec).Options,
		},
	})
	if err != nil {
		panic(err) // only a statement that is not fully parsed fails
	}
	return strings.ToLower(sqlparser.CanonicalString(alone.TableSpec.Columns[0]))
}

// markKeyColumn makes a column NOT NULL, said or not, where it is one of the primary key, as MySQL does.
func markKeyColumn(t table, column *sqlparser.ColumnDefinition) {
	for _, key := range t.TableSpec.Indexes {
		if key.Info.Type == sqlparser.IndexTypePrimary && slices.ContainsFunc(key.Columns, func(part *sqlparser.IndexColumn) bool { return part.Column.Equal(column.Name) }) {
			column.Type.Options.Null = new(bool)
		}
	}
}

// insertedRow returns the values of an INSERT of one row, by column.
func insertedRow(insert *sqlparser.Insert) (map[string]sqlparser.Expr, error) {
	values, ok := insert.Rows.(sqlparser.Values)
	if !ok || len(values) != 1 || len(values[0]) != len(insert.Columns) {
		return nil, fmt.Errorf("%q: temporal-vitess-tool knows only the INSERT of one row that names its columns", sqlparser.String(insert))
	}
	row := map[string]sqlparser.Expr{}
	for i, name := range insert.Columns {
		row[name.Lowered()] = values[0][i]
	}
	return row, nil
}
