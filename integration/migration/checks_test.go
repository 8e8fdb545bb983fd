//go:build migratechecks

// `make test-migrate` runs these tests, which take 10 minutes and are not among those of `make test`.

package migration

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/migrate"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// bed is a Vitess with empty keyspaces, and an attached MySQL server with upstream's tables.
type bed struct {
	*fullcluster.Cluster
	mysql       *fullcluster.MySQL
	vttablet    *fullcluster.Process // of the MySQL server
	migration   *migrate.Migration
	addr, admin string // of the MySQL server
}

func startBed(t *testing.T) *bed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := fullcluster.Start(ctx, fullcluster.Config{
		Keyspaces: []fullcluster.Keyspace{
			{Keyspace: cluster.Keyspace{Name: testbed.Main, Shards: 2}},
			{Keyspace: cluster.Keyspace{Name: testbed.Global, Shards: 1}},
			{Keyspace: cluster.Keyspace{Name: testbed.Visibility, Shards: 1}},
		},
		Log: testLog{t},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	b := &bed{Cluster: c}
	b.mysql = mysqlBeside(t, ctx, c)
	b.addr, b.admin = b.mysql.Addr()
	require.NoError(t, testbed.RecordVersion(sqlplugin.DbKindMain, upstreamConfig(b.addr, "temporal", database)))
	b.vttablet = attach(t, ctx, c, c, b.mysql)

	vtgate, err := plugin.NewConnector(&config.SQL{ConnectAddr: c.VTGateAddrs()[0], ConnectProtocol: "tcp", User: "temporal"}, resolver.NewNoopResolver())
	require.NoError(t, err)
	connected, err := live.Open(ctx, vtgate, c.VTCtldAddr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = connected.Close() })
	b.migration, err = migrate.New(migrate.Config{
		Vitess: connected, Profile: vschema.ProfileNamespace, Sources: []string{legacy},
		Keyspaces: map[vschema.Role]string{vschema.Main: testbed.Main, vschema.Global: testbed.Global, vschema.Visibility: testbed.Visibility},
	})
	require.NoError(t, err)
	return b
}

// sql executes statements on the MySQL server.
func (b *bed) sql(t *testing.T, statements ...string) {
	t.Helper()
	execIn(t, b.addr, b.admin, database, statements...)
}

// inspect returns what the checks before a command find, by check; or one of them, without the one that takes its time.
func (b *bed) inspect(t *testing.T, command migrate.Command, only ...string) map[string]migrate.Finding {
	t.Helper()
	found := map[string]migrate.Finding{}
	var skip []string
	if len(only) > 0 && only[0] != "old-names" {
		skip = []string{"old-names"}
	}
	options := migrate.CheckOptions{VTGateHTTP: []string{b.VTGateHTTP(0)}, Watch: 3 * time.Second, MaxLag: 5 * time.Second}
	require.NoError(t, b.migration.Inspect(t.Context(), command, skip, options, func(f migrate.Finding) { found[f.Check] = f }))
	return found
}

// fault is a set-up that a check has to find.
type fault struct {
	name, check string
	says        string // in a problem
	make, mend  func(t *testing.T)
}

// requireFinds lets each fault happen, one after the other. Before and after it, its check finds nothing.
func (b *bed) requireFinds(t *testing.T, command migrate.Command, faults []fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.check+": "+f.name, func(t *testing.T) {
			require.Empty(t, b.inspect(t, command, f.check)[f.check].Problems)
			f.make(t)
			problems := b.inspect(t, command, f.check)[f.check].Problems
			require.NotEmpty(t, problems)
			require.Contains(t, strings.Join(problems, "\n"), f.says)
			f.mend(t)
			eventually(t, func() bool { return len(b.inspect(t, command, f.check)[f.check].Problems) == 0 })
		})
	}
}

// statements are what makes and mends a fault on the MySQL server.
func (b *bed) statements(name, check, says, make, mend string) fault {
	return fault{name, check, says, func(t *testing.T) { b.sql(t, make) }, func(t *testing.T) { b.sql(t, mend) }}
}

func TestChecks(t *testing.T) {
	b := startBed(t)

	t.Run("buffered-events: upstream's unique key", func(t *testing.T) {
		finding := b.inspect(t, migrate.Start, "buffered-events")["buffered-events"]
		require.Len(t, finding.Problems, 1)
		require.Contains(t, finding.Fix, replaceUniqueKey)
		_, err := tool(t, b, "migrate", "start", "--source", legacy)
		require.ErrorContains(t, err, "nothing was changed: these checks stand before migrate start: buffered-events")
		b.sql(t, replaceUniqueKey)
		for name, finding := range b.inspect(t, migrate.Start) {
			require.Empty(t, finding.Problems, name)
		}
	})

	user := "'vitess'@'%'"
	rights := func(right, on string) fault {
		return b.statements("without "+right, "rights", right, "REVOKE "+right+" ON "+on+" FROM "+user, "GRANT "+right+" ON "+on+" TO "+user)
	}
	b.requireFinds(t, migrate.Start, []fault{
		b.statements("row image", "binlog", "binlog_row_image is MINIMAL", "SET GLOBAL binlog_row_image = 'MINIMAL'", "SET GLOBAL binlog_row_image = 'FULL'"),
		b.statements("GTIDs", "binlog", "gtid_mode is ON_PERMISSIVE", "SET GLOBAL gtid_mode = 'ON_PERMISSIVE'", "SET GLOBAL gtid_mode = 'ON'"),
		b.statements("an hour", "retention", "3600", "SET GLOBAL binlog_expire_logs_seconds = 3600", "SET GLOBAL binlog_expire_logs_seconds = 604800"),
		rights("INSERT", database+".*"), rights("UPDATE", database+".*"), rights("DELETE", database+".*"), rights("LOCK TABLES", database+".*"),
		rights("REPLICATION CLIENT", "*.*"), rights("REPLICATION SLAVE", "*.*"),
		b.statements("a user like root", "privileged-user", "may change system variables", "GRANT SUPER ON *.* TO "+user, "REVOKE SUPER ON *.* FROM "+user),
		b.statements("another version's column", "columns", "table shards", "ALTER TABLE shards ADD COLUMN later INT", "ALTER TABLE shards DROP COLUMN later"),
		b.statements("another version recorded", "columns", "1.0", "UPDATE schema_version SET curr_version = '1.0'", "UPDATE schema_version SET curr_version = '"+schema.MainVersion+"'"),
		{
			"a primary that is down", "tablets", testbed.Main + "/80- has no serving primary",
			func(t *testing.T) {
				require.NoError(t, b.VTTablet(testbed.Main, "80-", 0).Kill())
				eventually(t, func() bool { return len(b.inspect(t, migrate.Start, "tablets")["tablets"].Problems) > 0 })
			},
			func(t *testing.T) { require.NoError(t, b.VTTablet(testbed.Main, "80-", 0).Restart(t.Context())) },
		},
	})

	t.Run("tables: those that are not Temporal's stay", func(t *testing.T) {
		b.sql(t, "CREATE TABLE left_over (id INT PRIMARY KEY)")
		finding := b.inspect(t, migrate.Start, "tables")["tables"]
		require.Empty(t, finding.Problems)
		require.Equal(t, []string{legacy + ": left_over stay"}, finding.Notes)
		b.sql(t, "DROP TABLE left_over")
		require.Empty(t, b.inspect(t, migrate.Start, "tables")["tables"].Notes)
	})

	t.Run("a table that is not there", func(t *testing.T) {
		b.sql(t, "RENAME TABLE timer_tasks TO gone")
		_, err := tool(t, b, "migrate", "plan", "--source", legacy)
		require.ErrorContains(t, err, "legacy lack timer_tasks")
		b.sql(t, "RENAME TABLE gone TO timer_tasks")
	})

	_, err := tool(t, b, "setup-schema")
	require.NoError(t, err)
	onTarget := func(name, says, make, mend string) fault {
		return fault{
			name, "targets", says,
			func(t *testing.T) { onShard(t, b, testbed.Main, "80-", make) },
			func(t *testing.T) { onShard(t, b, testbed.Main, "80-", mend) },
		}
	}
	b.requireFinds(t, migrate.Start, []fault{
		onTarget("rows", "rows in shards", "INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (1, 1, '', '')", "DELETE FROM shards"),
		onTarget("another table", "not as setup-schema makes them", "ALTER TABLE shards DROP COLUMN data_encoding", "ALTER TABLE shards ADD COLUMN data_encoding VARCHAR(16) NOT NULL"),
	})

	run(t, b, "start", "--source", legacy)
	w := startWriter(t, b)
	require.Contains(t, run(t, b, "status", "--watch"), "following")
	for name, finding := range b.inspect(t, migrate.Switch) {
		if name != "vdiff" {
			require.Empty(t, finding.Problems, name)
		}
	}

	t.Run("vdiff", func(t *testing.T) {
		problems := func() string { return strings.Join(b.inspect(t, migrate.Switch, "vdiff")["vdiff"].Problems, "\n") }
		require.Contains(t, problems(), "not compared yet")
		onShard(t, b, testbed.Main, "80-", "INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (7, 1, '', '')")
		out, err := tool(t, b, "migrate", "verify")
		require.ErrorContains(t, err, "not equal: legacy → temporal (shards: of ")
		require.Contains(t, out, "0 are only in legacy, 1 only in temporal")
		require.Contains(t, problems(), "shards: of ")
		_, err = tool(t, b, "migrate", "switch", "--vtgate-http", vtgates(b), "--skip", "old-names")
		require.ErrorContains(t, err, "these checks stand before migrate switch: vdiff")
		onShard(t, b, testbed.Main, "80-", "DELETE FROM shards WHERE shard_id = 7")
		_, err = b.VTCtl(t.Context(), "VDiff", "--workflow", mainWorkflow, "--target-keyspace", testbed.Main, "create", "--wait", "--wait-update-interval", "1s", "--tables", "shards")
		require.NoError(t, err)
		require.Contains(t, problems(), "only 2 of 52 tables were compared")
		onShard(t, b, testbed.Main, "80-", "INSERT INTO buffered_events (id, shard_id, namespace_id, workflow_id, run_id, data, data_encoding) VALUES (1, 7, 'n', 'w', 'r', '', '')")
		require.Contains(t, problems(), " 1 should not be there", "which VDiff does not compare")
		onShard(t, b, testbed.Main, "80-", "DELETE FROM buffered_events")
	})

	direct := open(t, b.addr, "temporal", database)
	direct.SetMaxOpenConns(1)
	direct.SetMaxIdleConns(0)
	var hold func() // ends what holds something
	usingNames := func(statement, keyspace string) func(*testing.T) {
		return func(t *testing.T) {
			db := open(t, b.VTGateAddrs()[0], "temporal", keyspace)
			ctx, cancel := context.WithCancel(t.Context())
			hold = cancel
			go func() {
				for ctx.Err() == nil {
					_, _ = db.ExecContext(ctx, statement)
					time.Sleep(50 * time.Millisecond)
				}
			}()
		}
	}
	end := func(*testing.T) { hold() }
	b.requireFinds(t, migrate.Switch, []fault{
		{
			"a stopped stream", "streams", "stopped",
			func(t *testing.T) { b.workflow(t, "stop") },
			func(t *testing.T) { b.workflow(t, "start") },
		},
		{
			"a stream that cannot write", "streams", "Duplicate entry",
			func(t *testing.T) {
				onShard(t, b, testbed.Main, "80-", "INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding) VALUES (1, '2020-01-01', 1, '', '')")
				b.sql(t, "INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding) VALUES (1, '2020-01-01', 1, 'x', '')")
				eventually(t, func() bool { return len(b.inspect(t, migrate.Switch, "streams")["streams"].Problems) > 0 })
			},
			func(t *testing.T) {
				onShard(t, b, testbed.Main, "80-", "DELETE FROM timer_tasks")
				b.workflow(t, "start")
			},
		},
		{
			"streams behind", "lag", "more than --max-lag 5s",
			func(t *testing.T) {
				locked := open(t, mysqlAddr(b, testbed.Main, "80-"), "vt_dba_tcp", "vt_"+testbed.Main)
				session, err := locked.Conn(t.Context())
				require.NoError(t, err)
				_, err = session.ExecContext(t.Context(), "LOCK TABLES shards READ")
				require.NoError(t, err)
				hold = func() { _, _ = session.ExecContext(context.Background(), "UNLOCK TABLES") }
				eventually(t, func() bool { return len(b.inspect(t, migrate.Switch, "lag")["lag"].Problems) > 0 })
			}, end,
		},
		{
			"an old transaction", "transactions", "has a transaction open for",
			func(t *testing.T) {
				tx, err := open(t, b.addr, b.admin, database).Begin()
				require.NoError(t, err)
				_, err = tx.Exec("UPDATE shards SET range_id = range_id WHERE shard_id = 5000 OR shard_id = 5001")
				require.NoError(t, err)
				hold = func() { _ = tx.Rollback() }
				eventually(t, func() bool { return len(b.inspect(t, migrate.Switch, "transactions")["transactions"].Problems) > 0 })
			}, end,
		},
		{
			"a direct writer", "connections", "user temporal from",
			func(t *testing.T) {
				session, err := direct.Conn(t.Context())
				require.NoError(t, err)
				hold = func() { _ = session.Close() }
			}, end,
		},
		b.statements("unseen connections", "connections", "GRANT PROCESS", "REVOKE PROCESS ON *.* FROM "+user, "GRANT PROCESS ON *.* TO "+user),
		{
			"a server with the source's name", "old-names", "a statement of keyspace \"\"",
			usingNames("SELECT shard_id FROM shards WHERE shard_id = 1", legacy), end,
		},
		b.statements("tasks of a subqueue", "range-hash", "1 subqueues in tasks_v2",
			"INSERT INTO tasks_v2 (range_hash, task_queue_id, pass, task_id, data, data_encoding) VALUES (1, 0x0102030405060708090a0b0c0d0e0f10717501, 1, 1, '', '')", "DELETE FROM tasks_v2"),
	})

	t.Run("buffering", func(t *testing.T) {
		out, err := tool(t, b, "migrate", "switch", "--skip", "old-names")
		require.ErrorContains(t, err, "buffering")
		require.Contains(t, out, "only the vtgates' status pages tell")
	})

	t.Run("final-names", func(t *testing.T) {
		require.NotEmpty(t, b.inspect(t, migrate.Cancel, "final-names")["final-names"].Problems) // the writer's
		_, err := tool(t, b, "migrate", "cancel", "--vtgate-http", vtgates(b))
		require.ErrorContains(t, err, "these checks stand before migrate cancel: final-names")
	})

	t.Run("names of checks", func(t *testing.T) {
		_, err := tool(t, b, "migrate", "switch", "--skip", "nothing")
		require.ErrorContains(t, err, `there is no check "nothing"`)
		_, err = tool(t, b, "migrate", "switch", "--skip", "range-hash")
		require.ErrorContains(t, err, "cannot be skipped")
	})

	t.Run("a transaction that stays open makes the switch give up", func(t *testing.T) {
		tx, err := open(t, b.addr, b.admin, database).Begin()
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE shards SET range_id = range_id WHERE shard_id = 5000")
		require.NoError(t, err)
		_ = w.longestWait()
		_, err = tool(t, b, "migrate", "switch", "--vtgate-http", vtgates(b), "--skip", "transactions,vdiff,old-names")
		require.ErrorContains(t, err, "the switch was given up: the traffic is on the source, and writes go on")
		w.goesOn(t)
		t.Logf("a write waited %v", w.longestWait())
		require.NoError(t, tx.Rollback())
	})

	switched := func(t *testing.T, step ...string) {
		t.Helper()
		_ = w.longestWait()
		run(t, b, step[0], step[1:]...)
		w.goesOn(t)
		t.Logf("%s: a write waited %v", step, w.longestWait())
	}
	t.Run("there", func(t *testing.T) {
		switched(t, "switch", "--skip", "vdiff")
		run(t, b, "verify")
	})
	t.Run("a reverse that is given up leaves a way back", func(t *testing.T) {
		tx, err := open(t, mysqlAddr(b, testbed.Main, "-80"), "vt_dba_tcp", "vt_"+testbed.Main).Begin()
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE shards SET range_id = range_id WHERE shard_id = 5000")
		require.NoError(t, err)
		_, err = tool(t, b, "migrate", "reverse", "--vtgate-http", vtgates(b), "--skip", "transactions,connections,old-names")
		require.ErrorContains(t, err, "the switch was given up: the traffic is on the target, and writes go on")
		w.goesOn(t)
		require.Contains(t, run(t, b, "status"), "a reverse that was given up has deleted a workflow (Vitess issue 14276)")
		require.Len(t, states(t, b), moves)
		_, err = tool(t, b, "migrate", "complete", "--vtgate-http", vtgates(b), "--skip", "connections,old-names")
		require.ErrorContains(t, err, "run migrate reverse and migrate switch again before")
		_, err = tool(t, b, "migrate", "cancel", "--vtgate-http", vtgates(b), "--skip", "final-names")
		require.ErrorContains(t, err, "writes are not on the source")
		require.NoError(t, tx.Rollback())
	})
	t.Run("back", func(t *testing.T) {
		switched(t, "reverse")
		for _, state := range states(t, b) {
			require.Equal(t, migrate.Following, state.Phase, state.Move)
		}
		require.Len(t, states(t, b), moves)
	})
	t.Run("a start that was interrupted is no start", func(t *testing.T) {
		// As if it had not come so far.
		_, err := b.VTCtl(t.Context(), "Workflow", "--keyspace", testbed.Visibility, "delete", "--workflow", "from_"+legacy+"_to_"+testbed.Visibility, "--keep-data", "--keep-routing-rules")
		require.NoError(t, err)
		require.Contains(t, run(t, b, "status"), "migrate start, which begins what has not begun")
		_, err = tool(t, b, "migrate", "switch", "--vtgate-http", vtgates(b), "--skip", "old-names,transactions,connections,vdiff")
		require.ErrorContains(t, err, "these checks stand before migrate switch: streams")
		execVisibility := func(statement string) { onShard(t, b, testbed.Visibility, "0", statement) }
		for _, table := range []string{"executions_visibility", "custom_search_attributes", "chasm_search_attributes"} {
			execVisibility("DELETE FROM " + table)
		}
		_, err = tool(t, b, "migrate", "start")
		require.ErrorContains(t, err, "give --source")
		run(t, b, "start", "--source", legacy, "--watch")
		require.Len(t, states(t, b), moves)
	})

	t.Run("interruptions", func(t *testing.T) { interrupt(t, b, w) })

	w.stop(t)
	t.Run("cancel leaves what setup-schema leaves", func(t *testing.T) {
		run(t, b, "cancel", "--skip", "final-names")
		for name, finding := range b.inspect(t, migrate.Start) {
			require.Empty(t, finding.Problems, name)
		}
		var rows int
		require.NoError(t, open(t, b.VTGateAddrs()[0], "temporal", testbed.Global).QueryRow("SELECT COUNT(*) FROM namespace_metadata").Scan(&rows))
		require.Equal(t, 1, rows)
	})
}

// moves is how many there are: one for each keyspace.
const moves = 3

// mainWorkflow is that of the main keyspace.
const mainWorkflow = "from_" + legacy + "_to_" + testbed.Main

// workflow has vtctldclient do something with the main workflow.
func (b *bed) workflow(t *testing.T, what string) {
	t.Helper()
	_, err := b.VTCtl(t.Context(), "MoveTables", "--workflow", mainWorkflow, "--target-keyspace", testbed.Main, what)
	require.NoError(t, err)
}

// interrupt kills something at a random moment of each step, and runs the step again until it succeeds.
func interrupt(t *testing.T, b *bed, w *writer) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	restarted := func(p *fullcluster.Process) func(*testing.T) {
		return func(t *testing.T) {
			require.NoError(t, p.Kill())
			require.NoError(t, p.Restart(t.Context()))
		}
	}
	for i, interruption := range []struct {
		name string
		kill func(*testing.T) // nil for the tool itself
	}{
		{"the tool", nil}, {"the tool", nil}, {"the tool", nil}, {"the tool", nil},
		{"vtctld", restarted(b.VTCtld())}, {"vtctld", restarted(b.VTCtld())},
		{"the vttablet of a target's primary", restarted(b.VTTablet(testbed.Main, "80-", 0))},
		{"the source's vttablet", restarted(b.vttablet)},
	} {
		step := []string{"switch", "reverse"}[i%2]
		t.Run(fmt.Sprintf("%s, in %s", interruption.name, step), func(t *testing.T) {
			commandLine := []string{"migrate", step, "--vtgate-http", vtgates(b), "--skip", "old-names,transactions,connections,vdiff"}
			command := toolProcess(t, b, commandLine...)
			var out bytes.Buffer
			command.Stdout, command.Stderr = &out, &out
			require.NoError(t, command.Start())
			time.Sleep(time.Duration(random.Int64N(int64(4 * time.Second))))
			if interruption.kill == nil {
				_ = command.Process.Kill() // unless it has ended
				_ = command.Wait()
			} else {
				interruption.kill(t)
				_ = command.Wait()
			}
			t.Logf("interrupted:\n%s", out.String())
			tool(t, b, "migrate", "status")
			eventually(t, func() bool {
				if interruption.name == "vtctld" {
					deleteLocks(t, b)
				}
				_, err := tool(t, b, commandLine...)
				return err == nil
			})
			require.Len(t, states(t, b), moves)
			for _, state := range states(t, b) {
				require.Equal(t, map[string]migrate.Side{"switch": migrate.Target, "reverse": migrate.Source}[step], state.Traffic, state.Move)
			}
			w.goesOn(t)
		})
	}
}

// deleteLocks does what migrate status says of locks that a vtctld has left behind.
func deleteLocks(t *testing.T, b *bed) {
	t.Helper()
	for _, state := range states(t, b) {
		for _, lock := range state.Locks {
			path, _, _ := strings.Cut(lock, ": ")
			key := "/vitess/global" + strings.TrimPrefix(path, "/global")
			t.Logf("deleting %s: %s", key, lock)
			body := fmt.Sprintf(`{"key": %q}`, base64.StdEncoding.EncodeToString([]byte(key)))
			response, err := http.Post("http://"+b.EtcdAddr()+"/v3/kv/deleterange", "application/json", strings.NewReader(body))
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
		}
	}
}

func mysqlAddr(on vitess, keyspace, shard string) string {
	_, addr, _ := on.MySQL(keyspace, shard, 0)
	return addr
}
