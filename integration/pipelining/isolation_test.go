package pipelining

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// isolationCallers work on a history shard each, half of them on each Vitess shard. They are more than there are
// connections, and have Temporal's patience.
const (
	isolationCallers     = 64
	isolationConnections = 20
	isolationPatience    = 10 * time.Second
	isolationOperations  = 20 // of each caller on the healthy Vitess shard
)

// addTask is a transaction that writes and reads.
func addTask(ctx context.Context, db sqlplugin.DB, historyShard int32, taskID int64) error {
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

func TestAVitessShardThatFailsDoesNotDisturbOthers(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name string
		// fail makes the lower Vitess shard fail until the function that it returns is called.
		fail func(t *testing.T) (repair func())
		// failsUpstream is set where operations on the other Vitess shard fail with upstream's plugin.
		failsUpstream bool
	}{
		{name: "it is read-only", failsUpstream: true, fail: func(t *testing.T) func() {
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
			if !ours && !test.failsUpstream {
				continue
			}
			t.Run(test.name+", "+subject.name, func(t *testing.T) {
				handler := metricstest.NewCaptureHandler()
				capture := handler.StartCapture()
				cfg := *subject.cfg
				cfg.MaxConns, cfg.MaxIdleConns = isolationConnections, isolationConnections
				db := openStore(t, sqlplugin.DbKindMain, &cfg, handler)
				first := firstTask()
				historyShard := func(caller int) int32 { return lowerHistoryShard + int32(caller) }
				isHealthy := func(caller int) bool { return historyShard(caller)%2 == upperHistoryShard%2 }
				for caller := range isolationCallers {
					_, err := db.InsertIntoShards(ctx, &sqlplugin.ShardsRow{ShardID: historyShard(caller), RangeID: 1, Data: []byte("data"), DataEncoding: "Proto3"})
					if !db.IsDupEntryError(err) {
						require.NoError(t, err)
					}
				}
				before := len(capture.Snapshot()["vitess_errors"]) // history shards that were there already
				repair := sync.OnceFunc(test.fail(t))
				defer repair()

				until, stop := context.WithCancel(ctx)
				defer stop()
				var failing, healthy sync.WaitGroup
				var done, failed atomic.Int64
				errs := make([]error, isolationCallers)
				for caller := range isolationCallers {
					add := func(ctx context.Context, id int) error {
						limited, cancel := context.WithTimeout(ctx, isolationPatience)
						defer cancel()
						return addTask(limited, db, historyShard(caller), first+int64(id))
					}
					if !isHealthy(caller) {
						failing.Go(func() {
							for until.Err() == nil {
								if add(until, 0) == nil {
									done.Add(1)
								}
							}
						})
						continue
					}
					healthy.Go(func() {
						for i := range isolationOperations {
							if err := add(ctx, i); err != nil {
								errs[caller] = err
								failed.Add(1)
							}
						}
					})
				}
				healthy.Wait()
				stop()
				failing.Wait()
				t.Logf("%d of %d operations on the other Vitess shard failed; the pool was opened %d times",
					failed.Load(), isolationCallers/2*isolationOperations, len(capture.Snapshot()[refreshes]))
				if !ours {
					require.Positive(t, failed.Load())
					return
				}
				require.Zero(t, failed.Load(), "%v", errors.Join(errs...))
				require.Zero(t, done.Load(), "the Vitess shard did not fail")
				for caller := range isolationCallers {
					if isHealthy(caller) {
						require.Len(t, transferTasks(t, historyShard(caller), first), isolationOperations)
					}
				}
				require.Len(t, capture.Snapshot()[refreshes], 1, "the pool was replaced")
				failures := capture.Snapshot()["vitess_errors"][before:]
				require.NotEmpty(t, failures)
				for _, counted := range append(failures, capture.Snapshot()["vitess_retries"]...) {
					require.Equal(t, database(lowerHistoryShard), "vt_"+counted.Tags["keyspace"]+"_"+counted.Tags["vitess_shard"], "%v", counted.Tags)
				}

				repair()
				require.Eventually(t, func() bool { return addTask(ctx, db, lowerHistoryShard, first) == nil }, waitTimeout, pollInterval)
				require.Len(t, capture.Snapshot()[refreshes], 1, "the pool was replaced")
			})
		}
	}
}
