package pipelining

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

const (
	startTimeout = 5 * time.Minute
	waitTimeout  = time.Minute
	pollInterval = 10 * time.Millisecond
)

// bed is the Vitess of all tests, with two Vitess shards.
var bed *testbed.Testbed

func TestMain(m *testing.M) {
	os.Exit(testAll(m))
}

func testAll(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	if bed, err = testbed.Start(ctx, 2, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := bed.CheckRoutes(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := bed.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// History shards of either Vitess shard: reverse_bits puts odd ones into the upper half.
const (
	lowerHistoryShard = 2
	upperHistoryShard = 3
)

// database returns the mysqld database of a history shard's Vitess shard.
func database(historyShard int32) string {
	if historyShard%2 == 0 {
		return "vt_" + testbed.Main + "_-80"
	}
	return "vt_" + testbed.Main + "_80-"
}

// with returns a configuration with another connectAttribute.
func with(cfg *config.SQL, attribute, value string) *config.SQL {
	changed := *cfg
	changed.ConnectAttributes = map[string]string{}
	maps.Copy(changed.ConnectAttributes, cfg.ConnectAttributes)
	changed.ConnectAttributes[attribute] = value
	return &changed
}

// openStore opens a store, for the time of a test.
func openStore(t *testing.T, kind sqlplugin.DbKind, cfg *config.SQL, handler metrics.Handler) sqlplugin.DB {
	t.Helper()
	db, err := persistencesql.NewSQLDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), handler)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// openMain opens the main store through the plugin, with a pool of that many connections.
func openMain(t *testing.T, connections int) sqlplugin.DB {
	t.Helper()
	cfg := *bed.MainConfig()
	cfg.MaxConns, cfg.MaxIdleConns = connections, connections
	return openStore(t, sqlplugin.DbKindMain, &cfg, metrics.NoopMetricsHandler)
}

// openMySQL connects to the mysqld below Vitess.
func openMySQL(t *testing.T) *sql.DB {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = bed.MySQL()
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// begin starts a transaction.
func begin(t *testing.T, ctx context.Context, db sqlplugin.DB) sqlplugin.Tx {
	t.Helper()
	tx, err := db.BeginTx(ctx)
	require.NoError(t, err)
	return tx
}

// class returns the class of an error of the plugin, "" if it has none.
func class(t *testing.T, err error) outcome.Class {
	t.Helper()
	require.Error(t, err)
	var classified *outcome.Error
	require.ErrorAs(t, err, &classified)
	return classified.Class
}

// transferTask is the smallest write that waits.
func transferTask(historyShard int32, taskID int64) []sqlplugin.TransferTasksRow {
	return []sqlplugin.TransferTasksRow{{ShardID: historyShard, TaskID: taskID, Data: []byte("data"), DataEncoding: "Proto3"}}
}

// transferTasks returns the ids of the transfer tasks of a history shard from a first id on.
func transferTasks(t *testing.T, historyShard int32, first int64) []int64 {
	t.Helper()
	rows, err := openMySQL(t).Query(fmt.Sprintf("SELECT task_id FROM `%s`.transfer_tasks WHERE shard_id = ? AND task_id >= ? AND task_id < ? + 1000 ORDER BY task_id", database(historyShard)),
		historyShard, first, first)
	require.NoError(t, err)
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

var lastTask int64

// firstTask returns the first of 1000 task ids that no other test uses.
func firstTask() int64 {
	lastTask += 1000
	return lastTask
}

// executionKey is that of a workflow execution that no other test uses.
func executionKey(historyShard int32) sqlplugin.ExecutionsFilter {
	return sqlplugin.ExecutionsFilter{
		ShardID: historyShard, NamespaceID: primitives.NewUUID(), WorkflowID: "workflow", RunID: primitives.NewUUID(),
	}
}

func execution(key sqlplugin.ExecutionsFilter, data []byte) *sqlplugin.ExecutionsRow {
	return &sqlplugin.ExecutionsRow{
		ShardID: key.ShardID, NamespaceID: key.NamespaceID, WorkflowID: key.WorkflowID, RunID: key.RunID,
		Data: data, DataEncoding: "Proto3", State: []byte("state"), StateEncoding: "Proto3",
	}
}

// lockElsewhere locks a workflow execution's row with another connection until the returned function is called.
func lockElsewhere(t *testing.T, db sqlplugin.DB, key sqlplugin.ExecutionsFilter) (unlock func()) {
	t.Helper()
	tx := begin(t, context.Background(), db)
	_, _, err := tx.WriteLockExecutions(context.Background(), key)
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback()) }
}

// waitForBlocked returns when a statement of the Vitess shard of a history shard waits for a row lock.
func waitForBlocked(t *testing.T, mysqld *sql.DB, historyShard int32) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting int
		require.NoError(t, mysqld.QueryRow(
			"SELECT COUNT(*) FROM performance_schema.data_lock_waits w JOIN performance_schema.data_locks l "+
				"ON l.engine_lock_id = w.requesting_engine_lock_id WHERE l.object_schema = ?", database(historyShard)).Scan(&waiting))
		return waiting > 0
	}, waitTimeout, pollInterval)
}

// openTransactions counts the transactions that hold row locks in the Vitess shard of a history shard.
func openTransactions(t *testing.T, mysqld *sql.DB, historyShard int32) int {
	t.Helper()
	var count int
	require.NoError(t, mysqld.QueryRow(
		"SELECT COUNT(DISTINCT engine_transaction_id) FROM performance_schema.data_locks WHERE object_schema = ?", database(historyShard)).Scan(&count))
	return count
}
