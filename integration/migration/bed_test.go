package migration

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/migrate"
)

const (
	startTimeout = 3 * time.Minute

	// legacy is the keyspace to move from.
	legacy = "legacy"
	// database is that of a MySQL server, which is to be attached.
	database = "temporal_old"
)

// testLog writes lines to the log of a test.
type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimRight(line, "\n"))
	return len(line), nil
}

// vitess is a running Vitess, with or without the tables of Temporal's keyspaces.
type vitess interface {
	VTGateAddrs() []string
	VTCtldAddr() string
	VTGateHTTP(i int) string
	MySQL(keyspace, shard string, index int) (network, addr, user string)
}

// arguments are temporal-vitess-tool's for a cluster.
func arguments(t *testing.T, on vitess, more ...string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(on.VTGateAddrs()[0])
	require.NoError(t, err)
	return append([]string{
		"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", "temporal", "--vtctld", on.VTCtldAddr(),
		"--keyspace", testbed.Main, "--global-keyspace", testbed.Global, "--visibility-keyspace", testbed.Visibility,
	}, more...)
}

// tool runs temporal-vitess-tool on a cluster, and returns what it prints.
func tool(t *testing.T, on vitess, more ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	began := time.Now()
	err := app.RunContext(t.Context(), arguments(t, on, more...))
	t.Logf("$ temporal-vitess-tool %s   (%.1f s)\n%s", strings.Join(more, " "), time.Since(began).Seconds(), out.String())
	if err != nil {
		t.Logf("error: %v", err)
	}
	return out.String(), err
}

// run runs a step of the migration, which has to succeed. Those that look at vtgates get all of them.
func run(t *testing.T, on vitess, step string, more ...string) string {
	t.Helper()
	switch step {
	case "switch", "reverse", "complete", "cancel":
		more = append(more, "--vtgate-http", vtgates(on))
	}
	out, err := tool(t, on, append([]string{"migrate", step}, more...)...)
	require.NoError(t, err)
	return out
}

func vtgates(on vitess) string {
	var all []string
	for i := range on.VTGateAddrs() {
		all = append(all, on.VTGateHTTP(i))
	}
	return strings.Join(all, ",")
}

// onShard executes statements on the mysqld of a Vitess shard.
func onShard(t *testing.T, on vitess, keyspace, shard string, statements ...string) {
	t.Helper()
	_, addr, user := on.MySQL(keyspace, shard, 0)
	execIn(t, addr, user, "vt_"+keyspace, statements...)
}

// execIn executes statements in a database.
func execIn(t *testing.T, addr, user, database string, statements ...string) {
	t.Helper()
	db, err := cluster.Open(user, addr, database)
	require.NoError(t, err)
	defer db.Close() // or migrate finds somebody connected to the source
	for _, statement := range statements {
		_, err = db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// mysqlBeside is a MySQL server without Vitess that has upstream's tables in a database.
func mysqlBeside(t *testing.T, ctx context.Context, c *fullcluster.Cluster) *fullcluster.MySQL {
	t.Helper()
	server, err := c.StartMySQL(ctx)
	require.NoError(t, err)
	addr, user := server.Addr()
	execIn(t, addr, user, "", "CREATE DATABASE "+database+" CHARACTER SET utf8mb4", "CREATE USER 'temporal'@'%'", "GRANT ALL ON "+database+".* TO 'temporal'@'%'")
	execIn(t, addr, user, database, upstreamTables(t)...)
	return server
}

// attach lets a MySQL server serve its database as the keyspace legacy: as migrate attach says.
func attach(t *testing.T, ctx context.Context, on vitess, c *fullcluster.Cluster, server *fullcluster.MySQL) *fullcluster.Process {
	t.Helper()
	addr, admin := server.Addr()
	command := []string{"attach", "--source", legacy, "--mysql", addr, "--database", database}
	run(t, on, command[0], command[1:]...)
	out := run(t, on, command[0], append(command[1:], "--output", "json")...)
	var needed migrate.Attached
	require.NoError(t, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &needed))
	require.False(t, needed.Serving)
	const password = "secret"
	for _, statement := range needed.SQL {
		execIn(t, addr, admin, "", strings.ReplaceAll(statement, "PASSWORD", password))
	}
	credentials, err := c.WriteFile("credentials.json", []byte(strings.ReplaceAll(needed.Credentials, "PASSWORD", password)))
	require.NoError(t, err)
	for i, flag := range needed.Flags {
		needed.Flags[i] = strings.ReplaceAll(flag, "CREDENTIALS", credentials)
	}
	vttablet, err := c.StartUnmanaged(ctx, legacy, needed.Flags...)
	require.NoError(t, err)
	require.Contains(t, run(t, on, command[0], command[1:]...), "keyspace legacy serves database "+database)
	return vttablet
}

// eventually returns when something holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "never")
	}
}
