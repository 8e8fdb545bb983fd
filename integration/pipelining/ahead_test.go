package pipelining

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"
)

// The lock of a current execution locks its run's row as well, and answers upstream's statement for it.
func TestALookAheadLocksTheRun(t *testing.T) {
	ctx := context.Background()
	mysqld := openMySQL(t)
	for name, archetype := range map[string]chasm.ArchetypeID{"a workflow": chasm.WorkflowArchetypeID, "another archetype": 77} {
		t.Run(name, func(t *testing.T) {
			proxy, cfg := startProxy(t, bed.MainConfig())
			db, other := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler), openMain(t, 1)
			key := executionKey(upperHistoryShard)
			row := execution(key, []byte("data"))
			row.DBRecordVersion, row.NextEventID = 3, 30
			_, err := db.InsertIntoExecutions(ctx, row)
			require.NoError(t, err)
			second := key
			second.RunID = primitives.NewUUID()
			secondRow := execution(second, []byte("data"))
			secondRow.DBRecordVersion, secondRow.NextEventID = 4, 40
			_, err = db.InsertIntoExecutions(ctx, secondRow)
			require.NoError(t, err)
			current := &sqlplugin.CurrentExecutionsRow{
				ShardID: key.ShardID, NamespaceID: key.NamespaceID, WorkflowID: key.WorkflowID, RunID: key.RunID, ArchetypeID: archetype,
				CreateRequestID: "request", State: 1, Status: 1, Data: []byte("data"), DataEncoding: "Proto3",
			}
			_, err = db.InsertIntoCurrentExecutions(ctx, current)
			require.NoError(t, err)
			filter := sqlplugin.CurrentExecutionsFilter{ShardID: key.ShardID, NamespaceID: key.NamespaceID, WorkflowID: key.WorkflowID, ArchetypeID: archetype}
			update := func(run sqlplugin.ExecutionsFilter) (sqlplugin.Tx, []int64) {
				tx := begin(t, ctx, db)
				got, err := tx.LockCurrentExecutions(ctx, filter)
				require.NoError(t, err)
				require.Equal(t, key.RunID, got.RunID)
				require.Equal(t, "request", got.CreateRequestID)
				version, next, err := tx.WriteLockExecutions(ctx, run)
				require.NoError(t, err)
				return tx, []int64{version, next}
			}
			tx, _ := update(key) // it learns what follows
			require.NoError(t, tx.Rollback())

			var got []int64
			require.Equal(t, 1, proxy.count(func() { tx, got = update(key) }))
			require.Equal(t, []int64{3, 30}, got)
			theirs := make(chan []int64)
			go func() {
				tx, err := other.BeginTx(ctx)
				require.NoError(t, err)
				version, next, err := tx.WriteLockExecutions(ctx, key)
				require.NoError(t, err)
				require.NoError(t, tx.Rollback())
				theirs <- []int64{version, next}
			}()
			waitForBlocked(t, mysqld, key.ShardID)
			changed := *row
			changed.DBRecordVersion, changed.NextEventID = 5, 50
			result, err := tx.UpdateExecutions(ctx, &changed)
			require.NoError(t, err)
			affected, err := result.RowsAffected()
			require.NoError(t, err)
			require.Equal(t, int64(1), affected)
			require.Equal(t, 1, proxy.count(func() { require.NoError(t, tx.Commit()) }))
			require.Equal(t, []int64{5, 50}, <-theirs)

			tx, got = update(key)
			require.Equal(t, []int64{5, 50}, got)
			require.NoError(t, tx.Rollback())
			require.Equal(t, 3, proxy.count(func() {
				tx, got = update(second)
				require.NoError(t, tx.Rollback())
			}), "of another run")
			require.Equal(t, []int64{4, 40}, got)
		})
	}
}
