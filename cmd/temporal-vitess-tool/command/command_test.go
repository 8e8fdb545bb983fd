package command

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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
		{[]string{"--global-keyspace", "temporal", "setup-schema", "--emit", t.TempDir()}, `two keyspaces are named "temporal"`},
		{[]string{"--tls-ca-file", "ca.pem", "setup-schema", "--emit", t.TempDir()}, "--tls-ca-file is of no use without --tls"},
		{[]string{"--password", "a", "--password-command", "echo b", "setup-schema", "--emit", t.TempDir()}, "exclude each other"},
		{[]string{"--connect-attributes", "a=1&a=2", "setup-schema", "--emit", t.TempDir()}, "a is given 2 times"},
		{[]string{"setup-schema", "--emit", t.TempDir(), "more"}, `takes no arguments, but got "more"`},
	} {
		_, err := run(t, test.arguments...)
		require.ErrorContains(t, err, test.says)
	}
}
