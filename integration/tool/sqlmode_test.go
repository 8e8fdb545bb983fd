package tool

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// TestSQLModeOfTheServer has a mysqld that reads and writes SQL in another way, below Vitess and without it.
func TestSQLModeOfTheServer(t *testing.T) {
	setUp(t)
	const set = "ansi"
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	var keyspaces []cluster.Keyspace
	for _, role := range vschema.Roles() {
		keyspaces = append(keyspaces, cluster.Keyspace{Name: names(set)[role], Shards: shards(role)})
	}
	ansi, err := cluster.Start(ctx, cluster.Config{Keyspaces: keyspaces})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, ansi.Stop()) })
	_, addr, user := ansi.MySQL()
	mysqld := open(t, addr, user, "")
	mysqld.SetMaxOpenConns(1)
	_, err = mysqld.ExecContext(ctx, "SET GLOBAL sql_mode = 'ANSI,STRICT_TRANS_TABLES'")
	require.NoError(t, err)
	// The vttablets' connections have the mode that was.
	ids, err := live.Column(ctx, mysqld, "SELECT id FROM information_schema.processlist WHERE user LIKE 'vt\\_%' AND id <> CONNECTION_ID()")
	require.NoError(t, err)
	for _, id := range ids {
		_, _ = mysqld.ExecContext(ctx, "KILL "+id) // which may have gone by itself
	}
	modes, err := live.Column(ctx, open(t, ansi.VTGateAddr(), "tool", set+":-80"), "SELECT variable_value FROM performance_schema.session_variables WHERE variable_name = 'sql_mode'")
	require.NoError(t, err)
	require.Contains(t, modes[0], "ANSI_QUOTES")
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	plain := []string{"--endpoint", host, "--port", port, "--user", user, "--global-keyspace", set, "--visibility-keyspace", set}
	require.NoError(t, ansi.CreateDatabase(ctx, set, nil))

	for name, flags := range map[string][]string{"Vitess": nil, "MySQL": plain} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"setup-schema", "setup-schema", "update-schema"} {
				out, err := toolAt(t, ansi, set, append(flags, command)...)
				require.NoError(t, err, out)
			}
			out, err := toolAt(t, ansi, set, append(flags, "update-schema", "--dry-run")...)
			require.NoError(t, err)
			require.Equal(t, "main: nothing to do\nvisibility: nothing to do\n", out)
		})
	}
	for _, role := range vschema.Roles() {
		want := structure(t, databases(names(fresh)[role], role)[0])
		for _, database := range databases(names(set)[role], role) {
			require.Equal(t, want, structureAt(t, ansi, database), database)
		}
	}
}
