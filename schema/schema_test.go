package schema

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	upstreamschema "go.temporal.io/server/schema"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func loadAll(t *testing.T) map[vschema.Role]Keyspace {
	all := map[vschema.Role]Keyspace{}
	for _, role := range vschema.Roles() {
		keyspace, err := Load(role)
		require.NoError(t, err)
		all[role] = keyspace
	}
	return all
}

// The split parses with Vitess' parser; this counts with a regular expression, so that neither can lose a table.
func TestEveryTableOfUpstreamHasItsPlace(t *testing.T) {
	createTable := regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)
	for file, roles := range map[string][]vschema.Role{
		"mysql/v8/temporal/schema.sql":   {vschema.Main, vschema.Global},
		"mysql/v8/visibility/schema.sql": {vschema.Visibility},
	} {
		text, err := fs.ReadFile(upstreamschema.Assets(), file)
		require.NoError(t, err)
		want := []string{"schema_update_history", "schema_version"}
		for _, match := range createTable.FindAllStringSubmatch(string(text), -1) {
			want = append(want, match[1])
		}
		var got []string
		for _, role := range roles {
			for _, table := range loadAll(t)[role].Tables {
				got = append(got, table.Name)
				require.Equal(t, role, table.Role)
			}
		}
		require.ElementsMatch(t, want, got, file)
	}
}

func TestEveryColumnOfUpstreamIsKnown(t *testing.T) {
	// A column of upstream's files is a line that starts with a name and a type.
	column := regexp.MustCompile(`(?m)^\s+(\w+)\s+(?:INT|BIGINT|SMALLINT|TINYINT|BINARY|VARBINARY|VARCHAR|CHAR|MEDIUMBLOB|BLOB|TEXT|JSON|DATETIME|TIMESTAMP|BOOLEAN|DECIMAL)\b`)
	count := 0
	for _, file := range []string{"mysql/v8/temporal/schema.sql", "mysql/v8/visibility/schema.sql"} {
		text, err := fs.ReadFile(upstreamschema.Assets(), file)
		require.NoError(t, err)
		count += len(column.FindAllString(string(text), -1))
	}
	const versionTableColumns = 5 + 8
	want := count + 2*versionTableColumns // in the global and the visibility keyspace
	for _, keyspace := range loadAll(t) {
		for _, table := range keyspace.Tables {
			want -= len(table.Columns)
		}
	}
	require.Zero(t, want, "columns that upstream's files have and the split lost")
}

func TestStatementsOfTheSplitAreUpstreamsButForTheDifferences(t *testing.T) {
	normalise := func(statement string) string {
		statement = regexp.MustCompile(`--.*`).ReplaceAllString(statement, "")
		return strings.ToLower(strings.Join(strings.Fields(statement), " "))
	}
	upstream := ""
	for _, file := range []string{"mysql/v8/temporal/schema.sql", "mysql/v8/visibility/schema.sql"} {
		text, err := fs.ReadFile(upstreamschema.Assets(), file)
		require.NoError(t, err)
		upstream += normalise(string(text)) + " "
	}
	for _, keyspace := range loadAll(t) {
		for _, statement := range keyspace.Statements {
			if strings.Contains(statement, "schema_version") || strings.Contains(statement, "schema_update_history") ||
				strings.Contains(statement, "create table buffered_events") {
				continue
			}
			require.Contains(t, upstream, normalise(statement)+";")
		}
	}
}

func TestBufferedEventsCountWithoutBeingUnique(t *testing.T) {
	main := loadAll(t)[vschema.Main]
	index := slices.IndexFunc(main.Statements, func(s string) bool { return strings.Contains(s, "buffered_events") })
	require.Contains(t, main.Statements[index], "id BIGINT not null auto_increment,")
	require.Contains(t, main.Statements[index], "primary key (id, shard_id)", "Reshard copies tables with their primary key only")
	require.Contains(t, main.Statements[index], "key id (shard_id, namespace_id, workflow_id, run_id, id)")
	require.NotContains(t, strings.ToLower(main.Statements[index]), "unique")
}

func TestRowsComeAfterTables(t *testing.T) {
	global := loadAll(t)[vschema.Global]
	require.Contains(t, global.Statements[len(global.Statements)-1], "INSERT INTO namespace_metadata")
}

func TestATableWithoutAPlaceIsAnErrorThatSaysWhereToPutIt(t *testing.T) {
	err := split(map[vschema.Role]Keyspace{}, "CREATE TABLE shiny_new (id INT NOT NULL, PRIMARY KEY (id));", vschema.Main, vschema.Global)
	require.ErrorContains(t, err, "a table shiny_new that no VSchema knows: give it a place in the JSON files of package vschema")
}

func TestTablesAreDescribed(t *testing.T) {
	main := loadAll(t)[vschema.Main]
	index := slices.IndexFunc(main.Tables, func(table Table) bool { return table.Name == "timer_info_maps" })
	table := main.Tables[index]
	require.Equal(t, []string{"shard_id", "namespace_id", "workflow_id", "run_id", "timer_id"}, table.PrimaryKey())
	for name, want := range map[string]Column{
		"timer_id":      {Name: "timer_id", NotNull: true, Text: true, Type: "varchar(255)"},
		"NAMESPACE_ID":  {Name: "namespace_id", NotNull: true, Type: "binary(16)"},
		"data_encoding": {Name: "data_encoding", Text: true, Type: "varchar(16)"},
	} {
		got, ok := table.Column(name)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := table.Column("elsewhere")
	require.False(t, ok)

	global := loadAll(t)[vschema.Global]
	require.Equal(t, [][]string{{"partition_id", "id"}, {"name"}}, global.Tables[0].Keys)
}
