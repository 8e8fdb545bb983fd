package schema

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	upstreamschema "go.temporal.io/server/schema"
	mysqlschema "go.temporal.io/server/schema/mysql/v8"
	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Versions of upstream's schema that the statements of this package yield.
const (
	MainVersion       = mysqlschema.Version
	VisibilityVersion = mysqlschema.VisibilityVersion
)

// Table describes a table as far as routing needs it.
type Table struct {
	Name string
	Role vschema.Role
	// Columns in the order of the CREATE TABLE statement.
	Columns []Column
	// Keys holds the columns of each unique key in key order, the primary key first; there always is one.
	Keys [][]string
}

// Column describes a column as far as routing needs it.
type Column struct {
	Name    string
	NotNull bool
	// Text columns compare by their collation, others by value.
	Text bool
}

// PrimaryKey returns the columns of the primary key in key order.
func (t Table) PrimaryKey() []string { return t.Keys[0] }

// Column returns the column of that name.
func (t Table) Column(name string) (Column, bool) {
	index := slices.IndexFunc(t.Columns, func(c Column) bool { return strings.EqualFold(c.Name, name) })
	if index < 0 {
		return Column{}, false
	}
	return t.Columns[index], true
}

// Keyspace is the schema of one keyspace.
type Keyspace struct {
	// Tables in the order of upstream's schema file, the tables of schema versions last.
	Tables []Table
	// Statements creates the tables and indexes, then inserts the rows that upstream's schema starts with.
	Statements []string
}

// versionTables are created by upstream's AdminDB.CreateSchemaVersionTables and stand in no schema file, so they are
// repeated from common/persistence/sql/sqlplugin/mysql/admin.go; a test compares them with what upstream executes.
// The visibility store has its own, since it may live in another Vitess cluster.
const versionTables = `
CREATE TABLE IF NOT EXISTS schema_version(version_partition INT not null, ` +
	`db_name VARCHAR(255) not null, ` +
	`creation_time DATETIME(6), ` +
	`curr_version VARCHAR(64), ` +
	`min_compatible_version VARCHAR(64), ` +
	`PRIMARY KEY (version_partition, db_name));
CREATE TABLE IF NOT EXISTS schema_update_history(` +
	`version_partition INT not null, ` +
	`year int not null, ` +
	`month int not null, ` +
	`update_time DATETIME(6) not null, ` +
	`description VARCHAR(255), ` +
	`manifest_md5 VARCHAR(64), ` +
	`new_version VARCHAR(64), ` +
	`old_version VARCHAR(64), ` +
	`PRIMARY KEY (version_partition, year, month, update_time));
`

// differences from upstream's tables, by name; the package documentation gives the reasons.
var differences = map[string]func(*sqlparser.TableSpec){
	"buffered_events": func(spec *sqlparser.TableSpec) {
		for _, column := range spec.Columns {
			if column.Name.EqualString("id") {
				column.Type.Options.KeyOpt = sqlparser.ColKeyNone
			}
		}
		spec.Indexes = append(spec.Indexes, &sqlparser.IndexDefinition{
			Info:    &sqlparser.IndexInfo{Type: sqlparser.IndexTypeDefault, Name: sqlparser.NewIdentifierCI("id")},
			Columns: []*sqlparser.IndexColumn{{Column: sqlparser.NewIdentifierCI("id")}},
		})
	},
}

var load = sync.OnceValues(func() (map[vschema.Role]Keyspace, error) {
	main, err := fs.ReadFile(upstreamschema.Assets(), "mysql/v8/temporal/schema.sql")
	if err != nil {
		return nil, err
	}
	visibility, err := fs.ReadFile(upstreamschema.Assets(), "mysql/v8/visibility/schema.sql")
	if err != nil {
		return nil, err
	}
	keyspaces := map[vschema.Role]Keyspace{}
	if err := split(keyspaces, string(main)+versionTables, vschema.Main, vschema.Global); err != nil {
		return nil, err
	}
	if err := split(keyspaces, string(visibility)+versionTables, vschema.Visibility); err != nil {
		return nil, err
	}
	return keyspaces, nil
})

// Load returns the schema of the keyspace with that role. It fails if upstream's schema has a statement or a table
// whose place is not known.
func Load(role vschema.Role) (Keyspace, error) {
	keyspaces, err := load()
	if err != nil {
		return Keyspace{}, err
	}
	return keyspaces[role], nil
}

var columnCheck = regexp.MustCompile(`\s+CHECK \([^()]*\)`)

// split divides the statements of a schema file over the keyspaces of the given roles.
func split(into map[vschema.Role]Keyspace, file string, roles ...vschema.Role) error {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return err
	}
	places := map[string]vschema.Role{}
	for _, role := range roles {
		keyspace, err := vschema.Load(role, vschema.ProfileNamespace)
		if err != nil {
			return err
		}
		for table := range keyspace.Tables {
			places[table] = role
		}
	}
	pieces, err := parser.SplitStatementToPieces(file)
	if err != nil {
		return fmt.Errorf("upstream's schema: %w", err)
	}
	inserts := map[vschema.Role][]string{}
	for _, piece := range pieces {
		// Vitess' parser has no column constraints; vtgate passes such a statement through as it stands.
		statement, err := parser.ParseStrictDDL(columnCheck.ReplaceAllString(piece, ""))
		if err != nil {
			return fmt.Errorf("upstream's schema: %q: %w", piece, err)
		}
		table, err := statementTable(statement)
		if err != nil {
			return fmt.Errorf("upstream's schema: %q: %w", piece, err)
		}
		piece = strings.TrimSpace(piece)
		role, ok := places[table]
		if !ok {
			return fmt.Errorf("upstream's schema has a table %s that no VSchema knows: give it a place in the JSON files of package vschema", table)
		}
		keyspace := into[role]
		switch statement := statement.(type) {
		case *sqlparser.CreateTable:
			if change, ok := differences[table]; ok {
				change(statement.TableSpec)
				piece = sqlparser.String(statement)
			}
			keyspace.Tables = append(keyspace.Tables, describe(table, role, statement.TableSpec))
			keyspace.Statements = append(keyspace.Statements, piece)
		case *sqlparser.Insert:
			inserts[role] = append(inserts[role], piece)
		default:
			keyspace.Statements = append(keyspace.Statements, piece)
		}
		into[role] = keyspace
	}
	for role, statements := range inserts {
		keyspace := into[role]
		keyspace.Statements = append(keyspace.Statements, statements...)
		into[role] = keyspace
	}
	return nil
}

func statementTable(statement sqlparser.Statement) (string, error) {
	switch statement := statement.(type) {
	case sqlparser.DDLStatement: // CREATE TABLE, and CREATE INDEX, which is an ALTER TABLE to the parser
		return statement.GetTable().Name.String(), nil
	case *sqlparser.Insert:
		table, err := statement.Table.TableName()
		return table.Name.String(), err
	default:
		return "", fmt.Errorf("a %T is neither a table, an index nor an insert", statement)
	}
}

func describe(name string, role vschema.Role, spec *sqlparser.TableSpec) Table {
	table := Table{Name: name, Role: role, Keys: make([][]string, 1)}
	for _, column := range spec.Columns {
		options := column.Type.Options
		table.Columns = append(table.Columns, Column{
			Name:    column.Name.String(),
			NotNull: options.Null != nil && !*options.Null,
			Text:    sqltypes.IsText(column.Type.SQLType()),
		})
		if options.KeyOpt == sqlparser.ColKeyUnique || options.KeyOpt == sqlparser.ColKeyUniqueKey {
			table.Keys = append(table.Keys, []string{column.Name.String()})
		}
	}
	for _, index := range spec.Indexes {
		if index.Info.Type == sqlparser.IndexTypePrimary {
			for _, column := range index.Columns {
				table.Keys[0] = append(table.Keys[0], column.Column.String())
			}
		}
	}
	return table
}

// Version returns the statement that records the version of the schema that this package yields, for the database that
// a store names (databaseName). It goes to the keyspace with the store's schema_version: [vschema.Global] for the main
// store. A Temporal server asks for it at its start.
func Version(role vschema.Role, databaseName string) string {
	version := MainVersion
	if role == vschema.Visibility {
		version = VisibilityVersion
	}
	return fmt.Sprintf("INSERT INTO schema_version (version_partition, db_name, creation_time, curr_version, min_compatible_version) "+
		"VALUES (0, '%s', UTC_TIMESTAMP(6), '%s', '%[2]s')", strings.ReplaceAll(databaseName, "'", "''"), version)
}
