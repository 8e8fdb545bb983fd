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

// VisibilityVersionName is the name of the visibility store's version in the schema_version of a database that holds both
// stores. Servers ask there for both versions under the name of the database, which is that of the main store's: one
// row cannot be both.
func VisibilityVersionName(database string) string { return database + "/visibility" }

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
	// Type is the SQL type without options, as in varbinary(60).
	Type string
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
		columns := func(names ...string) (columns []*sqlparser.IndexColumn) {
			for _, name := range names {
				columns = append(columns, &sqlparser.IndexColumn{Column: sqlparser.NewIdentifierCI(name)})
			}
			return columns
		}
		// The index has the name of upstream's UNIQUE one, so that update-schema replaces that.
		spec.Indexes = []*sqlparser.IndexDefinition{
			{
				Info:    &sqlparser.IndexInfo{Type: sqlparser.IndexTypePrimary, Name: sqlparser.NewIdentifierCI("PRIMARY")},
				Columns: columns("id", "shard_id"),
			},
			{
				Info:    &sqlparser.IndexInfo{Type: sqlparser.IndexTypeDefault, Name: sqlparser.NewIdentifierCI("id")},
				Columns: columns("shard_id", "namespace_id", "workflow_id", "run_id", "id"),
			},
		}
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

// retired are tables that upstream's versioned schema creates and drops again, so that no VSchema has them, with their
// place while they live.
var retired = map[string]vschema.Role{
	"cluster_metadata":                         vschema.Global,
	"nexus_incoming_services":                  vschema.Global,
	"nexus_incoming_services_partition_status": vschema.Global,
	"tiered_storage_tasks":                     vschema.Main,
}

var columnCheck = regexp.MustCompile(`\s+CHECK \([^()]*\)`)

// Statement is a statement of upstream's schema files, with its place.
type Statement struct {
	// Text is upstream's, but for the differences.
	Text  string
	Role  vschema.Role
	Table string
	// Parsed is the text as Vitess' parser reads it, without CHECK constraints of columns, which the parser does not
	// know. vtgate passes such a statement through as it stands.
	Parsed sqlparser.Statement
}

// Parse parses a statement of a schema file; see Statement.Parsed.
func Parse(text string) (sqlparser.Statement, error) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return nil, err
	}
	return parser.ParseStrictDDL(columnCheck.ReplaceAllString(text, ""))
}

// Place finds the keyspace of a statement from upstream's schema files, among those with the given roles. It fails if
// the statement or the place of its table is not known.
func Place(text string, roles ...vschema.Role) (Statement, error) {
	parsed, err := Parse(text)
	if err != nil {
		return Statement{}, fmt.Errorf("upstream's schema: %q: %w", text, err)
	}
	statement := Statement{Text: strings.TrimRight(strings.TrimSpace(text), ";"), Parsed: parsed}
	if statement.Table, err = statementTable(statement.Parsed); err != nil {
		return Statement{}, fmt.Errorf("upstream's schema: %q: %w", text, err)
	}
	if statement.Role, err = place(statement.Table, roles); err != nil {
		return Statement{}, err
	}
	if create, ok := statement.Parsed.(*sqlparser.CreateTable); ok {
		if change, ok := differences[statement.Table]; ok {
			change(create.TableSpec)
			statement.Text = sqlparser.String(create)
		}
	}
	return statement, nil
}

func place(table string, roles []vschema.Role) (vschema.Role, error) {
	for _, role := range roles {
		keyspace, err := vschema.Load(role, vschema.ProfileNamespace)
		if err != nil {
			return "", err
		}
		if _, ok := keyspace.Tables[table]; ok || retired[table] == role {
			return role, nil
		}
	}
	return "", fmt.Errorf("upstream's schema has a table %s that no VSchema knows: give it a place in the JSON files of package vschema", table)
}

// Holds tells whether a table of upstream's has, or once had, its place in the keyspace with that role.
func Holds(role vschema.Role, table string) bool {
	_, err := place(table, []vschema.Role{role})
	return err == nil
}

// split divides the statements of a schema file over the keyspaces of the given roles.
func split(into map[vschema.Role]Keyspace, file string, roles ...vschema.Role) error {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return err
	}
	pieces, err := parser.SplitStatementToPieces(file)
	if err != nil {
		return fmt.Errorf("upstream's schema: %w", err)
	}
	inserts := map[vschema.Role][]string{}
	for _, piece := range pieces {
		statement, err := Place(piece, roles...)
		if err != nil {
			return err
		}
		keyspace := into[statement.Role]
		switch parsed := statement.Parsed.(type) {
		case *sqlparser.CreateTable:
			keyspace.Tables = append(keyspace.Tables, describe(statement.Table, statement.Role, parsed.TableSpec))
			keyspace.Statements = append(keyspace.Statements, statement.Text)
		case *sqlparser.Insert:
			inserts[statement.Role] = append(inserts[statement.Role], statement.Text)
		default:
			keyspace.Statements = append(keyspace.Statements, statement.Text)
		}
		into[statement.Role] = keyspace
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
	case *sqlparser.DropTable:
		if len(statement.FromTables) != 1 {
			return "", fmt.Errorf("drops %d tables at once", len(statement.FromTables))
		}
		return statement.FromTables[0].Name.String(), nil
	case sqlparser.DDLStatement: // CREATE TABLE, and CREATE INDEX, which is an ALTER TABLE to the parser
		return statement.GetTable().Name.String(), nil
	case *sqlparser.Insert:
		table, err := statement.Table.TableName()
		return table.Name.String(), err
	default:
		return "", fmt.Errorf("a %T is neither a table, an index nor an insert", statement)
	}
}

func typeOf(column *sqlparser.ColumnType) string {
	bare := sqlparser.ColumnType{Type: column.Type, Length: column.Length, Unsigned: column.Unsigned, Scale: column.Scale}
	return strings.ToLower(sqlparser.String(&bare))
}

func describe(name string, role vschema.Role, spec *sqlparser.TableSpec) Table {
	table := Table{Name: name, Role: role, Keys: make([][]string, 1)}
	for _, column := range spec.Columns {
		options := column.Type.Options
		table.Columns = append(table.Columns, Column{
			Name:    column.Name.String(),
			NotNull: options.Null != nil && !*options.Null,
			Text:    sqltypes.IsText(column.Type.SQLType()),
			Type:    typeOf(column.Type),
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
