package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := New()
	app.Writer, app.ErrWriter = &out, &out
	err := app.Run(append([]string{"temporal-vitess-tool"}, arguments...))
	return out.String(), err
}

func TestSetupSchemaEmitsEachKeyspace(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	out, err := run(t, "--keyspace", "prod", "--visibility-profile", "spread", "setup-schema", "--emit", folder)
	require.NoError(t, err)
	require.Contains(t, out, filepath.Join(folder, "prod.sql")+": ")

	parser, err := sqlparser.New(sqlparser.Options{})
	require.NoError(t, err)
	for name, want := range map[string]struct {
		role    vschema.Role
		records string // the version, with its history
	}{
		"prod":            {vschema.Main, ""},
		"prod_global":     {vschema.Global, "'prod', UTC_TIMESTAMP(6), '" + schema.MainVersion + "'"},
		"prod_visibility": {vschema.Visibility, "'prod_visibility', UTC_TIMESTAMP(6), '" + schema.VisibilityVersion + "'"},
	} {
		placement, err := vschema.JSON(want.role, vschema.ProfileSpread)
		require.NoError(t, err)
		written, err := os.ReadFile(filepath.Join(folder, name+".vschema.json"))
		require.NoError(t, err)
		require.Equal(t, string(placement), string(written))

		written, err = os.ReadFile(filepath.Join(folder, name+".sql"))
		require.NoError(t, err)
		require.Contains(t, string(written), want.records)
		pieces, err := parser.SplitStatementToPieces(string(written))
		require.NoError(t, err)
		keyspace, err := schema.Load(want.role)
		require.NoError(t, err)
		statements := len(keyspace.Statements)
		if want.records != "" {
			statements += 2
		}
		require.Len(t, pieces, statements, name)
	}
}

func TestSetupSchemaRefusesWhatCannotBe(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"--visibility-profile", "mixed", "setup-schema", "--emit", t.TempDir()}, "profiles are [namespace spread]"},
		{[]string{"--tls-ca-file", "ca.pem", "setup-schema", "--emit", t.TempDir()}, "--tls-ca-file is of no use without --tls"},
		{[]string{"--password", "a", "--password-command", "echo b", "setup-schema", "--emit", t.TempDir()}, "exclude each other"},
		{[]string{"--connect-attributes", "a=1&a=2", "setup-schema", "--emit", t.TempDir()}, "a is given 2 times"},
		{[]string{"setup-schema", "--emit", t.TempDir(), "more"}, `takes no arguments, but got "more"`},
	} {
		_, err := run(t, test.arguments...)
		require.ErrorContains(t, err, test.says)
	}
}

func TestScriptsForUpstreamsToolAreToldWhatToDo(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"create"}, "create-database: this tool makes no keyspaces"},
		{[]string{"--database", "temporal", "create-database", "--defaultdb", "mysql"}, "create-database: this tool makes no keyspaces"},
		{[]string{"drop-database", "--force"}, "drop-database: this tool drops nothing"},
		{[]string{"--plugin", "postgres12", "setup-schema"}, `--plugin is "postgres12", but this tool is for Vitess and MySQL`},
		{[]string{"setup-schema", "-v", "0.0"}, "--version: setup-schema sets up the newest version at once"},
		{[]string{"setup-schema", "-f", "schema.sql"}, "--schema-file: the tool has the schema in it"},
		{[]string{"setup-schema", "--disable-versioning"}, "--disable-versioning: a server starts on tables with a version only"},
		{[]string{"setup-schema", "--overwrite"}, "--overwrite: this tool drops no tables"},
		{[]string{"update-schema", "--schema-name", "mysql/v8/temporal/versioned"}, "--schema-name: the tool has the schema in it: give --store main or visibility"},
		{[]string{"update-schema", "-d", "schema/mysql/v8/temporal/versioned"}, "--schema-dir: the tool has the schema in it"},
		{[]string{"migrate-everything"}, `there is no command "migrate-everything"`},
	} {
		_, err := run(t, test.arguments...)
		require.ErrorContains(t, err, test.says)
	}
	_, err := run(t, "--plugin", "mysql8", "--db", "prod", "setup-schema", "--emit", t.TempDir())
	require.NoError(t, err)

	var said bytes.Buffer
	require.Equal(t, 1, Run(t.Context(), []string{"temporal-vitess-tool", "create"}, &said))
	require.Equal(t, 0, Run(t.Context(), []string{"temporal-vitess-tool", "--quiet", "create"}, &said))
	require.Equal(t, 2, strings.Count(said.String(), "temporal-vitess-tool: create-database: "))
}

func TestEndpointsMayBeIPv6(t *testing.T) {
	for _, endpoint := range []string{"::1", "[::1]"} {
		app := New()
		var found *target
		app.Commands[0].Action = func(c *cli.Context) (err error) {
			found, err = newTarget(c)
			return err
		}
		require.NoError(t, app.Run([]string{"temporal-vitess-tool", "--ep", endpoint, "--vtctld", endpoint + ":15999", app.Commands[0].Name}))
		require.Equal(t, "[::1]:3306", found.vtgate.ConnectAddr)
		require.Equal(t, "[::1]:15999", found.vtctld)
	}
}
