package pipelining

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

// requireUsable checks that the only connection of a store is not in a transaction, and that one on it works.
func requireUsable(t *testing.T, db sqlplugin.DB, historyShard int32) {
	t.Helper()
	ctx := context.Background()
	first := firstTask()
	// Outside of a transaction: were one open, nobody else would see the row.
	_, err := db.InsertIntoTransferTasks(ctx, transferTask(historyShard, first))
	require.NoError(t, err)
	require.Equal(t, []int64{first}, transferTasks(t, historyShard, first))
	tx := begin(t, ctx, db)
	_, err = tx.InsertIntoTransferTasks(ctx, transferTask(historyShard, first+1))
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.Equal(t, []int64{first, first + 1}, transferTasks(t, historyShard, first))
	require.Eventually(t, func() bool { return openTransactions(t, openMySQL(t), historyShard) == 0 }, waitTimeout, pollInterval,
		"a transaction holds row locks")
}

func TestAnErrorInTheMiddleOfAPacketLeavesNothingBehind(t *testing.T) {
	ctx := context.Background()
	for _, historyShard := range []int32{lowerHistoryShard, upperHistoryShard} {
		for name, send := range map[string]func(tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error{
			"COMMIT": func(tx sqlplugin.Tx, _ sqlplugin.ExecutionsFilter) error { return tx.Commit() },
			"a read": func(tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error {
				_, err := tx.SelectFromExecutions(ctx, key)
				return err
			},
			"an INSERT whose duplicate key is interpreted": func(tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error {
				_, err := tx.InsertIntoExecutions(ctx, execution(key, []byte("data")))
				return err
			},
			"a row count": func(tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error {
				result, err := tx.DeleteFromExecutions(ctx, key)
				require.NoError(t, err)
				_, err = result.RowsAffected()
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s, history shard %d", name, historyShard), func(t *testing.T) {
				db := openMain(t, 1)
				first := firstTask()
				_, err := db.InsertIntoTransferTasks(ctx, transferTask(historyShard, first+1))
				require.NoError(t, err)
				tx := begin(t, ctx, db)
				for task := range int64(3) { // the second is there already
					_, err := tx.InsertIntoTransferTasks(ctx, transferTask(historyShard, first+task))
					require.NoError(t, err)
				}
				err = send(tx, executionKey(historyShard))
				require.Equal(t, outcome.Refused, class(t, err))
				require.ErrorContains(t, err, "Duplicate entry")
				require.False(t, db.IsDupEntryError(err))
				_ = tx.Rollback()
				require.Equal(t, []int64{first + 1}, transferTasks(t, historyShard, first))
				requireUsable(t, db, historyShard)
			})
		}
	}
}

func TestTheDuplicateKeyThatUpstreamInterprets(t *testing.T) {
	ctx := context.Background()
	db := openMain(t, 1)
	key := executionKey(upperHistoryShard)
	key.WorkflowID = "VT12001 no healthy tablet available" // an error's text in a value is no error
	_, err := db.InsertIntoExecutions(ctx, execution(key, []byte("data")))
	require.NoError(t, err)
	first := firstTask()
	tx := begin(t, ctx, db)
	_, err = tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
	require.NoError(t, err)
	_, err = tx.InsertIntoExecutions(ctx, execution(key, []byte("data")))
	require.True(t, db.IsDupEntryError(err), "%v", err)
	require.NoError(t, tx.Rollback())
	require.Empty(t, transferTasks(t, upperHistoryShard, first))
	requireUsable(t, db, upperHistoryShard)
}

func TestTheCallersContextEnds(t *testing.T) {
	t.Run("while writes wait", func(t *testing.T) {
		db := openMain(t, 1)
		ctx, cancel := context.WithCancel(context.Background())
		first := firstTask()
		tx := begin(t, ctx, db)
		_, err := tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
		require.NoError(t, err)
		cancel()
		require.ErrorIs(t, tx.Commit(), context.Canceled)
		_ = tx.Rollback()
		require.Empty(t, transferTasks(t, upperHistoryShard, first))
		requireUsable(t, db, upperHistoryShard)
	})

	mysqld := openMySQL(t)
	// The packet stops at a row that another transaction has locked.
	for name, send := range map[string]func(ctx context.Context, tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error{
		"while a packet is in flight": func(ctx context.Context, tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error {
			_, _, err := tx.WriteLockExecutions(ctx, key)
			return err
		},
		"during COMMIT": func(ctx context.Context, tx sqlplugin.Tx, key sqlplugin.ExecutionsFilter) error {
			_, err := tx.UpdateExecutions(ctx, execution(key, []byte("changed")))
			require.NoError(t, err)
			return tx.Commit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, other := openMain(t, 1), openMain(t, 1)
			key := executionKey(upperHistoryShard)
			_, err := db.InsertIntoExecutions(context.Background(), execution(key, []byte("before")))
			require.NoError(t, err)
			unlock := lockElsewhere(t, other, key)
			ctx, cancel := context.WithCancel(context.Background())
			first := firstTask()
			tx := begin(t, ctx, db)
			_, err = tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
			require.NoError(t, err)
			ended := make(chan error)
			go func() { ended <- send(ctx, tx, key) }()
			waitForBlocked(t, mysqld, upperHistoryShard)
			cancel()
			err = <-ended
			if name == "during COMMIT" {
				require.Equal(t, outcome.Ambiguous, class(t, err))
			} else {
				require.ErrorContains(t, err, context.Canceled.Error())
			}
			_ = tx.Rollback()
			unlock()
			requireUsable(t, db, upperHistoryShard)
			if name != "during COMMIT" {
				require.Empty(t, transferTasks(t, upperHistoryShard, first))
			}
		})
	}
}

func TestTheConnectionIsLost(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct {
		name  string
		where cut
		// applied: the transaction was committed.
		applied bool
	}{
		{"before COMMIT reaches the server", before, false},
		{"while the server has COMMIT", during, true},
		{"after the server has committed", after, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy, cfg := startProxy(t, bed.MainConfig())
			cfg.MaxConns, cfg.MaxIdleConns = 1, 1
			db := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler)
			for _, read := range []bool{true, false} { // whether COMMIT travels in a packet that is not the first
				key, first := executionKey(upperHistoryShard), firstTask()
				tx := begin(t, ctx, db)
				if read {
					_, err := tx.SelectFromExecutions(ctx, key)
					require.ErrorIs(t, err, sql.ErrNoRows)
				}
				_, err := tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
				require.NoError(t, err)
				proxy.cutAt("commit", test.where)
				require.Equal(t, outcome.Ambiguous, class(t, tx.Commit()))
				var want []int64
				if test.applied {
					want = []int64{first}
				}
				require.Eventually(t, func() bool {
					return fmt.Sprint(want) == fmt.Sprint(transferTasks(t, upperHistoryShard, first))
				}, waitTimeout, pollInterval)
				requireUsable(t, db, upperHistoryShard)
			}
		})
	}

	t.Run("in the middle of a transaction", func(t *testing.T) {
		proxy, cfg := startProxy(t, bed.MainConfig())
		cfg.MaxConns, cfg.MaxIdleConns = 1, 1
		db := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler)
		key, first := executionKey(upperHistoryShard), firstTask()
		tx := begin(t, ctx, db)
		_, err := tx.SelectFromExecutions(ctx, key)
		require.ErrorIs(t, err, sql.ErrNoRows)
		_, err = tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
		require.NoError(t, err)
		proxy.cutAll()
		_, err = tx.SelectFromExecutions(ctx, key)
		var classified *outcome.Error
		require.ErrorAs(t, err, &classified)
		_ = tx.Rollback()
		require.Empty(t, transferTasks(t, upperHistoryShard, first))
		requireUsable(t, db, upperHistoryShard)
	})

	t.Run("in the first packet of a transaction, which is sent again", func(t *testing.T) {
		for _, where := range []cut{before, after} {
			proxy, cfg := startProxy(t, bed.MainConfig())
			cfg.MaxConns, cfg.MaxIdleConns = 1, 1
			db := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler)
			key, first := executionKey(upperHistoryShard), firstTask()
			tx := begin(t, ctx, db)
			_, err := tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
			require.NoError(t, err)
			proxy.cutAt("begin", where)
			_, err = tx.SelectFromExecutions(ctx, key)
			require.ErrorIs(t, err, sql.ErrNoRows)
			require.NoError(t, tx.Commit())
			require.Equal(t, []int64{first}, transferTasks(t, upperHistoryShard, first))
			requireUsable(t, db, upperHistoryShard)
		}
	})

	t.Run("while it is idle", func(t *testing.T) {
		proxy, cfg := startProxy(t, bed.MainConfig())
		db := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler)
		var open []sqlplugin.Tx // a pool of several connections
		for range 5 {
			tx := begin(t, ctx, db)
			_, err := tx.SelectFromExecutions(ctx, executionKey(upperHistoryShard))
			require.ErrorIs(t, err, sql.ErrNoRows)
			open = append(open, tx)
		}
		for _, tx := range open {
			require.NoError(t, tx.Rollback())
		}
		proxy.cutAll()
		first := firstTask()
		for task := range int64(10) {
			tx := begin(t, ctx, db)
			_, err := tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first+task))
			require.NoError(t, err)
			_, err = tx.SelectFromExecutions(ctx, executionKey(upperHistoryShard))
			require.ErrorIs(t, err, sql.ErrNoRows)
			require.NoError(t, tx.Commit())
		}
		require.Len(t, transferTasks(t, upperHistoryShard, first), 10)
	})
}

func TestTwoUpdatesOfOneRowTakeTurns(t *testing.T) {
	ctx := context.Background()
	db := openMain(t, 2)
	mysqld := openMySQL(t)
	key := executionKey(lowerHistoryShard)
	row := execution(key, []byte("data"))
	row.DBRecordVersion = 1
	_, err := db.InsertIntoExecutions(ctx, row)
	require.NoError(t, err)

	// update is what upstream does: lock, compare the version, write.
	errCondition := errors.New("the version is another")
	update := func(locked func()) error {
		tx, err := db.BeginTx(ctx)
		if err != nil {
			return err
		}
		version, _, err := tx.WriteLockExecutions(ctx, key)
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
		locked()
		if version != 1 {
			return errors.Join(errCondition, tx.Rollback())
		}
		changed := *row
		changed.DBRecordVersion = 2
		if _, err := tx.UpdateExecutions(ctx, &changed); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	}
	second := make(chan error)
	require.NoError(t, update(func() {
		go func() { second <- update(func() {}) }()
		waitForBlocked(t, mysqld, lowerHistoryShard)
	}))
	require.ErrorIs(t, <-second, errCondition)
}

func TestOfTwoTransactionsInADeadlockOneIsCommitted(t *testing.T) {
	ctx := context.Background()
	db := openMain(t, 3)
	keys := []sqlplugin.ExecutionsFilter{executionKey(lowerHistoryShard), executionKey(lowerHistoryShard)}
	for _, key := range keys {
		_, err := db.InsertIntoExecutions(ctx, execution(key, []byte("data")))
		require.NoError(t, err)
	}
	first := firstTask()
	txs := []sqlplugin.Tx{begin(t, ctx, db), begin(t, ctx, db)}
	for i, tx := range txs {
		_, _, err := tx.WriteLockExecutions(ctx, keys[i])
		require.NoError(t, err)
		_, err = tx.InsertIntoTransferTasks(ctx, transferTask(lowerHistoryShard, first+int64(10*i)))
		require.NoError(t, err)
	}
	errs := make([]error, len(txs))
	var both sync.WaitGroup
	for i, tx := range txs {
		both.Go(func() {
			_, _, err := tx.WriteLockExecutions(ctx, keys[1-i])
			if err != nil {
				errs[i] = err
				_ = tx.Rollback()
				return
			}
			errs[i] = tx.Commit()
		})
	}
	both.Wait()
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	require.NoError(t, errs[winner])
	require.Equal(t, outcome.NotCommitted, class(t, errs[1-winner]))
	require.Equal(t, []int64{first + int64(10*winner)}, transferTasks(t, lowerHistoryShard, first))
}
