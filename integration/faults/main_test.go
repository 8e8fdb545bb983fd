package faults

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

const (
	startTimeout = 3 * time.Minute
	waitTimeout  = time.Minute
	pollInterval = 10 * time.Millisecond

	firstVitessShard, secondVitessShard = "-80", "80-"
)

// start brings up a Vitess with two Vitess shards for the time of a test.
func start(t *testing.T, cfg fullcluster.Config) *fullcluster.Testbed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cfg.Log = testLog{t}
	bed, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{Cluster: cfg})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bed.Stop()) })
	return bed
}

// testLog writes lines to the log of a test.
type testLog struct{ t *testing.T }

var _ io.Writer = testLog{}

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("%s", line)
	return len(line), nil
}

// open opens a main store for the time of a test.
func open(t *testing.T, cfg *config.SQL) sqlplugin.DB {
	t.Helper()
	db, err := persistencesql.NewSQLDB(sqlplugin.DbKindMain, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// vitessShard returns the Vitess shard of a history shard: reverse_bits puts odd ones into the upper half.
func vitessShard(historyShard int32) string {
	if historyShard%2 == 0 {
		return firstVitessShard
	}
	return secondVitessShard
}

// createHistoryShards writes the rows of so many history shards behind one.
func createHistoryShards(t *testing.T, db sqlplugin.DB, behind, count int32) {
	t.Helper()
	for historyShard := behind + 1; historyShard <= behind+count; historyShard++ {
		_, err := db.InsertIntoShards(t.Context(), &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: 1, Data: []byte("data"), DataEncoding: "Proto3"})
		require.NoError(t, err)
	}
}

// addTask is a transaction that locks, and writes a task.
func addTask(ctx context.Context, db sqlplugin.DB, historyShard int32, taskID int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tx, err := db.BeginTx(ctx)
	if err != nil {
		return err
	}
	_, err = tx.ReadLockShards(ctx, sqlplugin.ShardsFilter{ShardID: historyShard})
	if err == nil {
		_, err = tx.InsertIntoTransferTasks(ctx, []sqlplugin.TransferTasksRow{{ShardID: historyShard, TaskID: taskID, Data: []byte("data"), DataEncoding: "Proto3"}})
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// tasks returns the tasks of a history shard.
func tasks(t *testing.T, db sqlplugin.DB, historyShard int32) map[int64]bool {
	t.Helper()
	rows, err := db.RangeSelectFromTransferTasks(t.Context(), sqlplugin.TransferTasksRangeFilter{
		ShardID: historyShard, InclusiveMinTaskID: 0, ExclusiveMaxTaskID: 1 << 60, PageSize: 1 << 20,
	})
	require.NoError(t, err)
	found := map[int64]bool{}
	for _, row := range rows {
		found[row.TaskID] = true
	}
	return found
}

// safeToRetry is what Temporal's persistence clients take for worth another try, as far as it is certain.
func safeToRetry(err error) bool {
	var classified *outcome.Error
	return errors.As(err, &classified) && classified.SafeToRetry()
}
