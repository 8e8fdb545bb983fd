package cluster

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	shardedVSchema = `{
		"sharded": true,
		"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
		"tables": {"executions": {"column_vindexes": [{"column": "shard_id", "name": "reverse_bits"}]}}
	}`
	startTimeout = 2 * time.Minute
)

var keyspaces = []Keyspace{
	{
		Name:    "history",
		Shards:  2,
		VSchema: []byte(shardedVSchema),
		DDL: []string{`CREATE TABLE executions (
			shard_id INT NOT NULL PRIMARY KEY,
			data JSON NOT NULL,
			state VARCHAR(20) GENERATED ALWAYS AS (data->>'$.state') STORED,
			INDEX by_status ((CAST(data->>'$.status' AS SIGNED)))
		)`},
	},
	{
		Name:   "global",
		Shards: 1,
		DDL: []string{
			"CREATE TABLE namespace_metadata (partition_id INT NOT NULL PRIMARY KEY, notification_version BIGINT NOT NULL)",
			"INSERT INTO namespace_metadata (partition_id, notification_version) VALUES (54321, 1)",
		},
	},
}

// startAndWait is set in the environment of the process that TestNothingIsLeftWhenTheStartingProcessIsKilled kills.
const startAndWait = "CLUSTER_TEST_START_AND_WAIT"

func TestMain(m *testing.M) {
	if os.Getenv(startAndWait) == "" {
		os.Exit(m.Run())
	}
	c, err := Start(context.Background(), Config{Keyspaces: keyspaces[1:]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.ports.VTGate, c.ports.HTTP, c.ports.MySQL)
	select {}
}

func TestRowsAreOnTheirVitessShardsAndCommitsAreCounted(t *testing.T) {
	ctx := t.Context()
	c := startForTest(t, keyspaces)
	before, err := c.Vars(ctx)
	require.NoError(t, err)

	history := openForTest(t, "root", c.VTGateAddr(), "history")
	for shardID := 1; shardID <= 8; shardID++ {
		tx, err := history.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO executions (shard_id, data) VALUES (%d, '{"state": "Running", "status": 1}')`, shardID))
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
	}

	assert.Equal(t, "Running", queryForTest[string](t, history, "SELECT state FROM executions WHERE shard_id = 7"))
	global := openForTest(t, "root", c.VTGateAddr(), "global")
	assert.Equal(t, 1, queryForTest[int](t, global, "SELECT notification_version FROM namespace_metadata"))
	_, err = history.ExecContext(ctx, "SELECT state FROM executions")
	require.ErrorContains(t, err, "no-scatter")

	_, addr, user := c.MySQL()
	server := openForTest(t, user, addr, "")
	for _, database := range []string{"vt_history_-80", "vt_history_80-"} {
		assert.Equal(t, 4, queryForTest[int](t, server, "SELECT COUNT(*) FROM `"+database+"`.executions"))
	}
	assert.Equal(t, 1, queryForTest[int](t, server, "SELECT COUNT(*) FROM vt_global_0.namespace_metadata"))

	after, err := c.Vars(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 8, after.SingleCommits-before.SingleCommits)
	assert.Zero(t, after.MultiCommits)
	assert.Zero(t, after.ReservedConnections)
	assert.EqualValues(t, 8, after.Executions["INSERT.MultiShard"]-before.Executions["INSERT.MultiShard"])

	plans, err := c.QueryPlans(ctx)
	require.NoError(t, err)
	byType := map[string]QueryPlan{}
	for _, plan := range plans {
		byType[plan.QueryType+" "+strings.Join(plan.TablesUsed, ",")] = plan
	}
	insert := byType["INSERT history.executions"]
	assert.EqualValues(t, 8, insert.ExecCount)
	assert.EqualValues(t, 8, insert.ShardQueries)
	assert.Equal(t, "Passthrough", byType["SELECT history.executions"].Type)

	t.Run("a transaction over two Vitess shards counts as Multi", func(t *testing.T) {
		tx, err := history.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, `INSERT INTO executions (shard_id, data) VALUES (100, '{}'), (101, '{}')`)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		vars, err := c.Vars(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 1, vars.MultiCommits)
	})

	t.Run("a session with a temporary table counts as reserved", func(t *testing.T) {
		_, err = global.ExecContext(ctx, "CREATE TEMPORARY TABLE mine (id INT)")
		require.NoError(t, err)
		vars, err := c.Vars(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 1, vars.ReservedConnections)
	})

	t.Run("a plain database beside Vitess", func(t *testing.T) {
		require.NoError(t, c.CreateDatabase(ctx, "baseline", keyspaces[1].DDL))
		db := openForTest(t, user, addr, "baseline")
		assert.Equal(t, 1, queryForTest[int](t, db, "SELECT notification_version FROM namespace_metadata"))
		require.ErrorContains(t, c.CreateDatabase(ctx, "broken", []string{"CREATE TABEL t (id INT)"}), "database broken: statement 1 of 1: ")
	})
}

func TestStopLeavesNothingBehind(t *testing.T) {
	temp := reachableTempDir(t)
	c := startForTest(t, keyspaces[1:])
	folders := entries(t, temp)
	require.Len(t, folders, 1)
	require.NotEmpty(t, processesIn(t, folders[0]))

	require.NoError(t, c.Stop())
	assertNothingLeft(t, temp, folders[0], c.ports)
	require.NoError(t, c.Stop(), "a second Stop")
}

func TestNothingIsLeftWhenTheStartingProcessIsKilled(t *testing.T) {
	temp := reachableTempDir(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), startAndWait+"=1")
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	var ports listening
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	_, err = fmt.Sscanln(line, &ports.VTGate, &ports.HTTP, &ports.MySQL)
	require.NoError(t, err, line)
	folders := entries(t, temp)
	require.Len(t, folders, 1)
	require.NotEmpty(t, processesIn(t, folders[0]))

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	require.Eventually(t, func() bool {
		_, err := os.Stat(folders[0])
		return os.IsNotExist(err)
	}, time.Minute, 50*time.Millisecond)
	assertNothingLeft(t, temp, folders[0], ports)
}

func TestStartFailsWithTheCauseAndLeavesNothingBehind(t *testing.T) {
	for name, test := range map[string]struct {
		keyspace Keyspace
		cause    string
	}{
		"a statement that does not parse": {
			Keyspace{Name: "global", Shards: 1, DDL: []string{"CREATE TABEL t (id INT)"}},
			"Vitess shard global/0: statement 1 of 1: ",
		},
		"a VSchema that is not JSON": {
			Keyspace{Name: "global", Shards: 1, VSchema: []byte("sharded: true")},
			"keyspace global: its VSchema is not JSON",
		},
		"no Vitess shard": {
			Keyspace{Name: "global"},
			"keyspace global: 0 Vitess shards",
		},
	} {
		t.Run(name, func(t *testing.T) {
			temp := reachableTempDir(t)
			_, err := Start(t.Context(), Config{Keyspaces: []Keyspace{test.keyspace}})
			require.ErrorContains(t, err, test.cause)
			assert.Empty(t, entries(t, temp))
		})
	}

	t.Run("a context that ends", func(t *testing.T) {
		temp := reachableTempDir(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Start(ctx, Config{Keyspaces: keyspaces})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Empty(t, entries(t, temp))
	})
}

func TestMissingProgramsAreNamed(t *testing.T) {
	checkout := t.TempDir()
	t.Chdir(checkout)
	_, err := Start(t.Context(), Config{Keyspaces: keyspaces})
	require.ErrorContains(t, err, "no go.mod")

	require.NoError(t, os.WriteFile("go.mod", nil, 0o644))
	_, err = Start(t.Context(), Config{Keyspaces: keyspaces})
	require.ErrorContains(t, err, "run `make tools` in "+checkout)
	require.ErrorContains(t, err, filepath.Join(".tools", "bin", "vttestserver"))
}

func startForTest(t *testing.T, keyspaces []Keyspace) *Cluster {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	start := time.Now()
	c, err := Start(ctx, Config{Keyspaces: keyspaces})
	require.NoError(t, err)
	t.Logf("started in %.1f s", time.Since(start).Seconds())
	t.Cleanup(func() { assert.NoError(t, c.Stop()) })
	return c
}

func openForTest(t *testing.T, user, addr, database string) *sql.DB {
	db, err := Open(user, addr, database)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func queryForTest[T any](t *testing.T, db *sql.DB, query string) T {
	var value T
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&value), query)
	return value
}

// reachableTempDir makes clusters of this test, and of processes it starts, put their folder into an empty one. It is
// not t.TempDir, whose long path a unix socket does not take, and which is closed to the user nobody.
func reachableTempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "vt")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777))
	t.Setenv("TMPDIR", dir)
	return dir
}

func entries(t *testing.T, dir string) []string {
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	return found
}

func assertNothingLeft(t *testing.T, temp, folder string, ports listening) {
	assert.Empty(t, entries(t, temp))
	assert.Empty(t, processesIn(t, folder))
	for _, port := range []int{ports.VTGate, ports.HTTP, ports.MySQL} {
		listener, err := net.Listen("tcp", address(port))
		if assert.NoError(t, err) {
			listener.Close()
		}
	}
}

// processesIn lists the processes that have the folder in their command line: all of a cluster's do.
func processesIn(t *testing.T, folder string) []string {
	output, err := exec.CommandContext(t.Context(), "ps", "-A", "-o", "pid=,args=").Output()
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, folder) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
