package fullcluster

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

const startTimeout = 3 * time.Minute

// startAndWait is set in the environment of the process that TestNothingIsLeftWhenTheStartingProcessIsKilled kills.
const startAndWait = "FULLCLUSTER_TEST_START_AND_WAIT"

// small is a keyspace of one Vitess shard.
var small = Keyspace{Keyspace: cluster.Keyspace{
	Name:   "small",
	Shards: 1,
	DDL:    []string{"CREATE TABLE t (id INT NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES (1)"},
}}

func TestMain(m *testing.M) {
	if os.Getenv(startAndWait) == "" {
		os.Exit(m.Run())
	}
	c, err := Start(context.Background(), Config{Keyspaces: []Keyspace{small}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	report := started{Ports: c.usedPorts()}
	for _, p := range c.Processes() {
		report.PIDs = append(report.PIDs, p.PID())
	}
	json.NewEncoder(os.Stdout).Encode(report)
	select {}
}

// started is what that process says.
type started struct {
	PIDs  []int
	Ports []string
}

func TestPartsFailAndComeBack(t *testing.T) {
	temp := reachableTempDir(t)
	c := startTemporalForTest(t, Temporal{Cluster: Config{VTGates: 2}})
	processes := c.Processes()
	require.Len(t, processes, 2+2*5+2) // etcd, vtctld; 5 tablets; vtgates

	var vtgates []*sql.DB
	for _, addr := range c.VTGateAddrs() {
		vtgates = append(vtgates, openForTest(t, "root", addr, testbed.Main))
	}

	t.Run("what is written through one vtgate is read through another, on both Vitess shards", func(t *testing.T) {
		for id := 1; id <= 8; id++ {
			require.NoError(t, insertShard(t.Context(), vtgates[0], id))
			rangeID, err := readShard(t.Context(), vtgates[1], id)
			require.NoError(t, err)
			assert.Equal(t, 100+id, rangeID)
		}
		for _, shard := range []string{"-80", "80-"} {
			assert.Equal(t, 4, queryForTest[int](t, directly(t, c, testbed.Main, shard), "SELECT COUNT(*) FROM shards"))
		}
	})

	t.Run("mysqld has the isolation that operators set", func(t *testing.T) {
		assert.Equal(t, "READ-COMMITTED", queryForTest[string](t, directly(t, c, testbed.Main, "-80"), "SELECT @@global.transaction_isolation"))
	})

	// reverse_bits: odd ids are in the upper half.
	const onFirst, onSecond = 2, 1

	t.Run("without the vttablet of one Vitess shard the other serves", func(t *testing.T) {
		vttablet := c.VTTablet(testbed.Main, "-80", 0)
		require.NoError(t, vttablet.Kill())
		assert.False(t, vttablet.Alive())
		assert.ErrorIs(t, vttablet.Kill(), os.ErrProcessDone)
		for _, vtgate := range vtgates {
			_, err := readShard(t.Context(), vtgate, onSecond)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := readShard(ctx, vtgates[0], onFirst)
		require.Error(t, err)
		require.Error(t, c.serves(t.Context(), c.vtgates[0]))

		require.NoError(t, vttablet.Restart(t.Context()))
		require.NoError(t, c.WaitServing(t.Context()))
		for _, vtgate := range vtgates {
			_, err := readShard(t.Context(), vtgate, onFirst)
			require.NoError(t, err)
		}
	})

	t.Run("a stopped mysqld answers when it continues", func(t *testing.T) {
		mysqld := c.MySQLd(testbed.Main, "-80", 0)
		require.NoError(t, mysqld.Stop())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := readShard(ctx, vtgates[0], onFirst)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, mysqld.Continue())
		_, err = readShard(t.Context(), vtgates[0], onFirst)
		require.NoError(t, err)
	})

	t.Run("a vtgate that is terminated ends the connections outside of transactions first", func(t *testing.T) {
		idle, err := vtgates[0].Conn(t.Context())
		require.NoError(t, err)
		defer idle.Close()
		require.NoError(t, c.VTGate(0).Terminate())
		// Before it has the signal it serves, and may do so again and again.
		var last error
		require.Eventually(t, func() bool {
			_, last = idle.ExecContext(t.Context(), fmt.Sprintf("UPDATE shards SET range_id = range_id WHERE shard_id = %d", onSecond))
			return last != nil
		}, 30*time.Second, time.Millisecond)
		var shutdown *mysql.MySQLError
		if errors.As(last, &shutdown) {
			assert.EqualValues(t, 1053, shutdown.Number, last)
		} else {
			assert.True(t, errors.Is(last, mysql.ErrInvalidConn) || errors.Is(last, driver.ErrBadConn), last)
		}
		require.NoError(t, c.VTGate(0).Wait(t.Context()))
		_, err = readShard(t.Context(), vtgates[1], onFirst)
		require.NoError(t, err)
	})

	t.Run("a store works with one of two vtgates", func(t *testing.T) {
		require.False(t, c.VTGate(0).Alive())
		db, err := persistencesql.NewSQLDB(sqlplugin.DbKindMain, c.MainConfig(), resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
		require.NoError(t, err)
		defer db.Close()
		row, err := db.SelectFromShards(t.Context(), sqlplugin.ShardsFilter{ShardID: onFirst})
		require.NoError(t, err)
		assert.EqualValues(t, 100+onFirst, row.RangeID)

		require.NoError(t, c.VTGate(0).Restart(t.Context()))
		require.NoError(t, c.WaitServing(t.Context()))
		_, err = readShard(t.Context(), vtgates[0], onFirst)
		require.NoError(t, err)
	})

	t.Run("nothing is left", func(t *testing.T) {
		require.Len(t, entries(t, temp), 1)
		var pids []int
		for _, p := range processes {
			require.True(t, p.Alive(), p.Name())
			require.NoError(t, syscall.Kill(p.PID(), 0), p.Name())
			pids = append(pids, p.PID())
		}
		ports := c.usedPorts()
		require.NoError(t, c.Stop())
		assertNothingLeft(t, temp, pids, ports)
		require.NoError(t, c.Stop(), "a second Stop")
	})
}

func TestReplicasTakeOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	replicated := small
	replicated.Replicas = 2
	c, err := Start(ctx, Config{
		Keyspaces:            []Keyspace{replicated},
		VTOrc:                true,
		TransactionIsolation: "REPEATABLE-READ",
		MySQLSettings:        []string{"innodb_lock_wait_timeout = 7"},
		Log:                  testLog{t},
	})
	require.NoError(t, err)
	stopAfterTest(t, c)
	vtgate := openForTest(t, "root", c.VTGateAddrs()[0], small.Name)
	insert := func(id int) error {
		_, err := vtgate.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO t VALUES (%d)", id))
		return err
	}

	_, addr, user := c.MySQL(small.Name, "0", 0)
	primary := openForTest(t, user, addr, "vt_small")
	assert.Equal(t, "REPEATABLE-READ", queryForTest[string](t, primary, "SELECT @@global.transaction_isolation"))
	assert.Equal(t, 7, queryForTest[int](t, primary, "SELECT @@global.innodb_lock_wait_timeout"))
	assert.Equal(t, 2, queryForTest[int](t, primary, "SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Rpl_semi_sync_source_clients'"))

	require.NoError(t, c.PlannedReparent(t.Context(), small.Name, "0", 1))
	now, err := c.Primary(t.Context(), small.Name, "0")
	require.NoError(t, err)
	assert.Equal(t, 1, now.Index)
	require.NoError(t, insert(2))

	require.NoError(t, now.MySQLd().Kill())
	before := now
	require.NoError(t, poll(ctx, func(ctx context.Context) error {
		now, err = c.Primary(ctx, small.Name, "0")
		if err == nil && now == before {
			err = errors.New("vtorc has not elected another primary")
		}
		return err
	}))
	// While vtorc works, or until vtgate knows, a write may fail; which is not what this test is about.
	require.NoError(t, poll(ctx, func(context.Context) error { return insert(3) }))
	require.NoError(t, before.MySQLd().Restart(ctx))
	require.NoError(t, c.WaitServing(ctx))
	requireRows := func(tablet *Tablet, want int) {
		t.Helper()
		_, addr, user := tablet.MySQL()
		replica := openForTest(t, user, addr, "vt_small")
		require.NoError(t, poll(ctx, func(ctx context.Context) error {
			if rows := queryForTest[int](t, replica, "SELECT COUNT(*) FROM t"); rows != want {
				return fmt.Errorf("%d rows on %s", rows, tablet.Alias)
			}
			return nil
		}))
	}
	requireRows(before, 3)

	require.NoError(t, c.Backup(ctx, before))
	require.NoError(t, insert(4))
	requireRows(before, 4)
	added, err := c.AddReplica(ctx, small.Name, "0")
	require.NoError(t, err)
	requireRows(added, 4)
	require.NoError(t, c.Restore(ctx, before))
	requireRows(before, 4)
}

func TestNothingIsLeftWhenTheStartingProcessIsKilled(t *testing.T) {
	temp := reachableTempDir(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), startAndWait+"=1")
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	var c started
	require.NoError(t, json.Unmarshal([]byte(line), &c), line)
	require.Len(t, entries(t, temp), 1)
	for _, pid := range c.PIDs {
		require.NoError(t, syscall.Kill(pid, 0))
	}

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	require.Eventually(t, func() bool { return len(entries(t, temp)) == 0 }, time.Minute, 50*time.Millisecond)
	assertNothingLeft(t, temp, c.PIDs, c.Ports)
}

func TestAProxyOfTheCallersStandsBeforeAVTTablet(t *testing.T) {
	reachableTempDir(t)
	var proxy *wire.Proxy
	c, err := Start(t.Context(), Config{Keyspaces: []Keyspace{small}, VTTabletProxy: func(addr, server string) (err error) {
		proxy, err = wire.ListenOn(addr, server)
		return err
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(c.Stop(), proxy.Close())) }()
	vtgate := openForTest(t, "root", c.VTGateAddrs()[0], small.Name)
	read := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var id int
		return vtgate.QueryRowContext(ctx, "SELECT id FROM t").Scan(&id)
	}
	require.NoError(t, read())
	proxy.SetDelay(time.Minute)
	require.ErrorIs(t, read(), context.DeadlineExceeded)
}

func TestStartFailsWithTheCauseAndLeavesNothingBehind(t *testing.T) {
	broken := small
	broken.DDL = []string{"CREATE TABEL t (id INT)"}
	for name, test := range map[string]struct {
		config Config
		cause  string
	}{
		"a statement that does not parse": {Config{Keyspaces: []Keyspace{broken}}, "Vitess shard small/0: statement 1 of 1: "},
		"a flag that vttablet lacks":      {Config{Keyspaces: []Keyspace{small}, VTTabletFlags: []string{"--no-such-flag"}}, "unknown flag: --no-such-flag"},
		"a setting that mysqld lacks":     {Config{Keyspaces: []Keyspace{small}, MySQLSettings: []string{"no_such_setting = 1"}}, "unknown variable 'no_such_setting=1'"},
		"no keyspace":                     {Config{}, "no keyspace given"},
		"two things before a vttablet": {
			Config{Keyspaces: []Keyspace{small}, Networks: true, VTTabletProxy: func(_, _ string) error { return nil }},
			"Networks and VTTabletProxy are given",
		},
	} {
		t.Run(name, func(t *testing.T) {
			temp := reachableTempDir(t)
			_, err := Start(t.Context(), test.config)
			require.ErrorContains(t, err, test.cause)
			assert.Empty(t, entries(t, temp))
		})
	}

	t.Run("a context that ends", func(t *testing.T) {
		temp := reachableTempDir(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Start(ctx, Config{Keyspaces: []Keyspace{small}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Empty(t, entries(t, temp))
	})
}

func insertShard(ctx context.Context, db *sql.DB, id int) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf("INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (%d, %d, '', '')", id, 100+id))
	return err
}

func readShard(ctx context.Context, db *sql.DB, id int) (rangeID int, err error) {
	err = db.QueryRowContext(ctx, fmt.Sprintf("SELECT range_id FROM shards WHERE shard_id = %d", id)).Scan(&rangeID)
	return rangeID, err
}

func startTemporalForTest(t *testing.T, temporal Temporal) *Testbed {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	temporal.Cluster.Log = testLog{t}
	c, err := StartTemporal(ctx, temporal)
	require.NoError(t, err)
	stopAfterTest(t, c.Cluster)
	return c
}

func stopAfterTest(t *testing.T, c *Cluster) {
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range c.Processes() {
				t.Logf("end of the log of %s:\n%s", p.Name(), tail(p.Log()))
			}
		}
		assert.NoError(t, c.Stop())
	})
}

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(line), "\n"))
	return len(line), nil
}

func directly(t *testing.T, c *Testbed, keyspace, shard string) *sql.DB {
	_, addr, user := c.MySQL(keyspace, shard, 0)
	return openForTest(t, user, addr, "vt_"+keyspace)
}

func openForTest(t *testing.T, user, addr, database string) *sql.DB {
	db, err := cluster.Open(user, addr, database)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func queryForTest[T any](t *testing.T, db *sql.DB, query string) T {
	var value T
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&value), query)
	return value
}

// reachableTempDir makes clusters of this test put their folder into an empty one. It is not t.TempDir, whose long path a
// unix socket does not take, and which is closed to the user nobody.
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

func (c *Cluster) usedPorts() []string {
	ports := []string{c.etcdAddr, c.vtctldAddr}
	for _, tablet := range c.Tablets() {
		ports = append(ports, tablet.httpAddr, tablet.grpcAddr, address(tablet.mysqlPort))
	}
	for _, g := range c.vtgates {
		ports = append(ports, g.addr, g.httpAddr, g.grpcAddr)
	}
	return ports
}

func assertNothingLeft(t *testing.T, temp string, pids []int, ports []string) {
	assert.Empty(t, entries(t, temp))
	for _, pid := range pids {
		assert.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "process %d", pid)
	}
	for _, port := range ports {
		listener, err := net.Listen("tcp", port)
		if assert.NoError(t, err) {
			listener.Close()
		}
	}
}
