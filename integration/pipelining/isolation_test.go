package pipelining

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/metrics/metricstest"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
)

// refreshes is upstream's count of how often it has opened the pool.
var refreshes = metrics.PersistenceSessionRefreshAttempts.Name()

func TestAVitessShardThatFailsDoesNotDisturbOthers(t *testing.T) {
	const (
		callers    = 4
		operations = 100
	)
	ctx := context.Background()
	// addTask is a transaction that writes and reads.
	addTask := func(ctx context.Context, db sqlplugin.DB, historyShard int32, taskID int64) error {
		tx, err := db.BeginTx(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.InsertIntoTransferTasks(ctx, transferTask(historyShard, taskID)); err != nil {
			_ = tx.Rollback()
			return err
		}
		if _, err := tx.ReadLockShards(ctx, sqlplugin.ShardsFilter{ShardID: historyShard}); err != nil {
			_ = tx.Rollback()
			return err
		}
		return tx.Commit()
	}

	for _, test := range []struct {
		name string
		// fail makes the lower Vitess shard fail until the function that it returns is called.
		fail func(t *testing.T) (repair func())
		// disturbsUpstream is set where upstream's plugin fails operations on the other Vitess shard.
		disturbsUpstream bool
	}{
		{name: "it is read-only", disturbsUpstream: true, fail: func(t *testing.T) func() {
			mysqld := openMySQL(t)
			_, err := mysqld.Exec(fmt.Sprintf("CREATE TRIGGER `%s`.read_only BEFORE INSERT ON `%[1]s`.transfer_tasks FOR EACH ROW "+
				"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1836, MESSAGE_TEXT = 'Running in read-only mode'", database(lowerHistoryShard)))
			require.NoError(t, err)
			return func() {
				_, err := mysqld.Exec(fmt.Sprintf("DROP TRIGGER `%s`.read_only", database(lowerHistoryShard)))
				require.NoError(t, err)
			}
		}},
		{name: "it lacks a table", fail: func(t *testing.T) func() {
			mysqld := openMySQL(t)
			rename := func(from, to string) {
				_, err := mysqld.Exec(fmt.Sprintf("RENAME TABLE `%s`.%s TO `%s`.%s", database(lowerHistoryShard), from, database(lowerHistoryShard), to))
				require.NoError(t, err)
			}
			rename("shards", "shards_away")
			return func() { rename("shards_away", "shards") }
		}},
		{name: "it answers nothing", fail: func(t *testing.T) func() {
			blocker, err := openMySQL(t).Conn(ctx)
			require.NoError(t, err)
			_, err = blocker.ExecContext(ctx, fmt.Sprintf("LOCK TABLES `%s`.shards WRITE", database(lowerHistoryShard)))
			require.NoError(t, err)
			return func() {
				_, err := blocker.ExecContext(ctx, "UNLOCK TABLES")
				require.NoError(t, err)
				require.NoError(t, blocker.Close())
			}
		}},
	} {
		upstream := *bed.MainConfig()
		upstream.PluginName, upstream.ConnectAttributes = mysql.PluginName, map[string]string{"transaction_mode": "'single'"}
		for _, subject := range []struct {
			name string
			cfg  *config.SQL
		}{
			{"pipelining on", with(bed.MainConfig(), "vitess_pipelining", "on")},
			{"pipelining off", with(bed.MainConfig(), "vitess_pipelining", "off")},
			{"upstream's plugin", &upstream},
		} {
			ours := subject.cfg != &upstream
			if !ours && !test.disturbsUpstream {
				continue
			}
			t.Run(test.name+", "+subject.name, func(t *testing.T) {
				handler := metricstest.NewCaptureHandler()
				capture := handler.StartCapture()
				db := openStore(t, sqlplugin.DbKindMain, subject.cfg, handler)
				for _, historyShard := range []int32{lowerHistoryShard, upperHistoryShard} {
					_, err := db.InsertIntoShards(ctx, &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: 1, Data: []byte("data"), DataEncoding: "Proto3"})
					if !db.IsDupEntryError(err) {
						require.NoError(t, err)
					}
				}
				lower, upper := firstTask(), firstTask()
				repair := sync.OnceFunc(test.fail(t))
				defer repair()

				// The callers of the failing Vitess shard give up soon, so that connections come and go in the pool.
				stop := make(chan struct{})
				var failing, healthy sync.WaitGroup
				failures := make([]int, callers)
				for caller := range callers {
					failing.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
							}
							limited, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
							if addTask(limited, db, lowerHistoryShard, lower) != nil {
								failures[caller]++
							}
							cancel()
						}
					})
				}
				errs := make([]error, callers*operations)
				for caller := range callers {
					healthy.Go(func() {
						for i := range operations {
							id := caller*operations + i
							errs[id] = addTask(ctx, db, upperHistoryShard, upper+int64(id))
						}
					})
				}
				healthy.Wait()
				close(stop)
				failing.Wait()
				failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
				t.Logf("%d of %d operations on the other Vitess shard failed; the pool was opened %d times",
					len(failed), callers*operations, len(capture.Snapshot()[refreshes]))
				if !ours {
					require.NotEmpty(t, failed)
					return
				}
				require.Empty(t, failed)
				require.Len(t, transferTasks(t, upperHistoryShard, upper), callers*operations)
				for _, count := range failures {
					require.Positive(t, count, "the other Vitess shard did not fail")
				}
				require.Len(t, capture.Snapshot()[refreshes], 1, "the pool was replaced")

				repair()
				require.Eventually(t, func() bool { return addTask(ctx, db, lowerHistoryShard, lower) == nil }, waitTimeout, pollInterval)
				require.Len(t, capture.Snapshot()[refreshes], 1, "the pool was replaced")
			})
		}
	}
}
