package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
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

// expectedStructure reads the tables of a keyspace with these roles off the statements that create them.
func expectedStructure(roles ...vschema.Role) (structure, error) {
	expected := structure{}
	for _, role := range roles {
		keyspace, err := schema.Load(role)
		if err != nil {
			return nil, err
		}
		for _, text := range keyspace.Statements {
			parsed, err := schema.Parse(text)
			if err != nil {
				return nil, err
			}
			switch parsed := parsed.(type) {
			case *sqlparser.CreateTable:
				expected[parsed.Table.Name.String()] = describe(parsed.TableSpec)
			case *sqlparser.AlterTable: // CREATE INDEX, to the parser
				for _, option := range parsed.AlterOptions {
					if added, ok := option.(*sqlparser.AddIndexDefinition); ok {
						expected[parsed.Table.Name.String()].addKey(added.IndexDefinition)
					}
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
	err := live.EachRow(ctx, session, columnsQuery, nil, func() error {
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
	err = live.EachRow(ctx, session, keysQuery, nil, func() error {
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
