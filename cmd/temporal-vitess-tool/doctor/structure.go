package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// structure is the tables of one keyspace or Vitess shard, by name.
type structure map[string]*table

// table is a table as information_schema describes it. Names of columns and keys are in lower case.
type table struct {
	columns map[string]column
	keys    []index
}

type column struct {
	dataType      string // as in "varchar(255)" or "int unsigned"
	nullable      bool
	autoIncrement bool
	text          bool
	collation     string // of an observed text column; the schema leaves it to the database
}

type index struct {
	name   string // primaryKey for that; others are of no matter
	unique bool
	// columns in key order, with an expression written as expressionPart.
	columns []string
}

// expressionPart stands for an expression in a key: MySQL writes it in other words than the schema.
const expressionPart = "(expression)"

const primaryKey = "primary"

// expectedStructure reads the tables of a keyspace off the statements that create them.
func expectedStructure(role vschema.Role) (structure, error) {
	keyspace, err := schema.Load(role)
	if err != nil {
		return nil, err
	}
	expected := structure{}
	for _, text := range keyspace.Statements {
		statement, err := schema.Place(text, role)
		if err != nil {
			return nil, err
		}
		switch parsed := statement.Parsed.(type) {
		case *sqlparser.CreateTable:
			expected[statement.Table] = describe(parsed.TableSpec)
		case *sqlparser.AlterTable: // CREATE INDEX, to the parser
			for _, option := range parsed.AlterOptions {
				if added, ok := option.(*sqlparser.AddIndexDefinition); ok {
					expected[statement.Table].addKey(added.IndexDefinition)
				}
			}
		}
	}
	return expected, nil
}

func describe(spec *sqlparser.TableSpec) *table {
	t := &table{columns: map[string]column{}}
	for _, definition := range spec.Columns {
		name, options := definition.Name.Lowered(), definition.Type.Options
		t.columns[name] = column{
			dataType:      typeName(definition.Type),
			nullable:      options.Null == nil || *options.Null,
			autoIncrement: options.Autoincrement,
			text:          isText(definition.Type.Type),
		}
		if options.KeyOpt == sqlparser.ColKeyUnique || options.KeyOpt == sqlparser.ColKeyUniqueKey {
			t.keys = append(t.keys, index{name: name, unique: true, columns: []string{name}})
		}
	}
	for _, definition := range spec.Indexes {
		t.addKey(definition)
	}
	return t
}

func (t *table) addKey(definition *sqlparser.IndexDefinition) {
	added := index{name: definition.Info.Name.Lowered(), unique: definition.Info.IsUnique()}
	for _, part := range definition.Columns {
		name := part.Column.Lowered()
		if part.Expression != nil {
			name = expressionPart
		}
		added.columns = append(added.columns, name)
	}
	switch {
	case definition.Info.Type == sqlparser.IndexTypePrimary:
		added.name = primaryKey
		for _, column := range added.columns { // part of a primary key is never NULL
			changed := t.columns[column]
			changed.nullable = false
			t.columns[column] = changed
		}
	case added.name == "": // MySQL gives it a name
		added.name = added.columns[0]
	}
	t.keys = append(t.keys, added)
}

// typeName writes a type as information_schema's column_type does.
func typeName(columnType *sqlparser.ColumnType) string {
	name := strings.ToLower(columnType.Type)
	switch name {
	case "bool", "boolean":
		return "tinyint(1)"
	case "integer":
		name = "int"
	}
	switch {
	case columnType.Length != nil && columnType.Scale != nil:
		name += fmt.Sprintf("(%d,%d)", *columnType.Length, *columnType.Scale)
	case columnType.Length != nil:
		name += "(" + strconv.Itoa(*columnType.Length) + ")"
	}
	if columnType.Unsigned {
		name += " unsigned"
	}
	return withoutDisplayWidth(name)
}

var displayWidth = regexp.MustCompile(`^((?:small|medium|big)?int)\(\d+\)`)

// withoutDisplayWidth is for MySQL before 8.0.19, which gives integers a width: int(11).
func withoutDisplayWidth(dataType string) string {
	return displayWidth.ReplaceAllString(dataType, "$1")
}

func isText(dataType string) bool {
	dataType = strings.ToLower(dataType)
	return strings.HasSuffix(dataType, "char") || strings.HasSuffix(dataType, "text")
}

const (
	columnsQuery = `SELECT table_name, column_name, column_type, is_nullable, extra, COALESCE(collation_name, '')
		FROM information_schema.columns WHERE table_schema = DATABASE()`
	keysQuery = `SELECT table_name, index_name, non_unique, COALESCE(column_name, '')
		FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY table_name, index_name, seq_in_index`
)

// observeStructure reads the tables that the mysqld of one Vitess shard has.
func observeStructure(ctx context.Context, session *sql.Conn) (structure, error) {
	observed := structure{}
	of := func(name string) *table {
		if observed[name] == nil {
			observed[name] = &table{columns: map[string]column{}}
		}
		return observed[name]
	}
	var tableName, name, dataType, nullable, extra, collation string
	err := scan(ctx, session, columnsQuery, func() error {
		of(tableName).columns[strings.ToLower(name)] = column{
			dataType:      withoutDisplayWidth(dataType),
			nullable:      nullable == "YES",
			autoIncrement: strings.Contains(extra, "auto_increment"),
			collation:     collation,
			text:          collation != "",
		}
		return nil
	}, &tableName, &name, &dataType, &nullable, &extra, &collation)
	if err != nil {
		return nil, err
	}
	var part string
	var notUnique bool
	err = scan(ctx, session, keysQuery, func() error {
		part = strings.ToLower(part)
		if part == "" {
			part = expressionPart
		}
		t := of(tableName)
		name = strings.ToLower(name)
		if last := len(t.keys) - 1; last >= 0 && t.keys[last].name == name {
			t.keys[last].columns = append(t.keys[last].columns, part)
		} else {
			t.keys = append(t.keys, index{name: name, unique: !notUnique, columns: []string{part}})
		}
		return nil
	}, &tableName, &name, &notUnique, &part)
	return observed, err
}

// queryer is a session or a pool of them.
type queryer interface {
	QueryContext(ctx context.Context, query string, arguments ...any) (*sql.Rows, error)
}

// scan calls row after it has read each row of a query into the targets.
func scan(ctx context.Context, on queryer, query string, row func() error, targets ...any) error {
	rows, err := on.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		if err := row(); err != nil {
			return err
		}
	}
	return rows.Err()
}
