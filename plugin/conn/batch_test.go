package conn

import (
	"context"
	"database/sql"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
)

const (
	selectRun        = "SELECT data FROM executions WHERE shard_id = ? AND run_id = ? LIMIT 5"
	selectRunTimers  = "SELECT data FROM timer_info_maps WHERE shard_id = ? AND run_id = ? LIMIT 5"
	selectRunSignals = "SELECT data FROM signal_info_maps WHERE shard_id = ? AND run_id = ? LIMIT 5"
)

// found returns the number of rows of a query.
func found(t *testing.T, ctx context.Context, db *sql.DB, query string, args ...any) int {
	t.Helper()
	rows, err := db.QueryContext(ctx, query, args...)
	require.NoError(t, err)
	defer rows.Close()
	count := 0
	for rows.Next() {
		count++
	}
	require.NoError(t, rows.Err())
	return count
}

func TestABatchIsOnePacket(t *testing.T) {
	server := &packetServer{answer: func(statement string) (int64, error) {
		return map[string]int64{"select executions": 1, "select timer_info_maps": 3}[statement], nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx := context.Background()
	run := []byte("run")
	batch := &Batch{}
	for _, query := range []string{selectRunTimers, selectRunSignals} {
		require.Zero(t, found(t, batch.Note(ctx), db, query, 1, run))
	}
	require.Empty(t, server.packets)

	require.Equal(t, 1, found(t, batch.Lead(ctx), db, selectRun, 1, run))
	require.Equal(t, []string{"select executions; select timer_info_maps; select signal_info_maps"}, server.packets)
	require.Len(t, server.args[0], 6)

	// In another order.
	require.Equal(t, 0, found(t, batch.Follow(ctx), db, selectRunSignals, 1, run))
	require.Equal(t, 3, found(t, batch.Follow(ctx), db, selectRunTimers, 1, run))
	require.Len(t, server.packets, 1)

	// What came is there once.
	require.Equal(t, 3, found(t, batch.Follow(ctx), db, selectRunTimers, 1, run))
	require.Equal(t, "select timer_info_maps", server.packets[1])
}

func TestAQueryWithOtherValuesIsNotAnsweredByABatch(t *testing.T) {
	for _, args := range [][]any{{2, []byte("run")}, {1, []byte("nur")}, {1, "run"}, {1, []byte(nil)}, {1, []byte{}}} {
		server := &packetServer{}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		ctx := context.Background()
		batch := &Batch{}
		found(t, batch.Note(ctx), db, selectRunTimers, 1, []byte("run"))
		found(t, batch.Lead(ctx), db, selectRun, 1, []byte("run"))
		found(t, batch.Follow(ctx), db, selectRunTimers, args...)
		require.Equal(t, []string{"select executions; select timer_info_maps", "select timer_info_maps"}, server.packets)
	}
}

func TestAQueryOfABatchMeetsItsOwnError(t *testing.T) {
	refused := &mysql.MySQLError{Number: 1146, Message: "no such table"}
	server := &packetServer{answer: failing("select timer_info_maps", refused)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx := context.Background()
	batch := &Batch{}
	for _, query := range []string{selectRunTimers, selectRunSignals} {
		found(t, batch.Note(ctx), db, query, 1, "run")
	}
	require.Equal(t, 1, found(t, batch.Lead(ctx), db, selectRun, 1, "run"))
	_, err := db.QueryContext(batch.Follow(ctx), selectRunTimers, 1, "run")
	require.ErrorIs(t, err, refused)
	require.Equal(t, 1, found(t, batch.Follow(ctx), db, selectRunSignals, 1, "run"), "what comes behind the error goes alone")
	require.Equal(t, []string{
		"select executions; select timer_info_maps; select signal_info_maps",
		"select timer_info_maps",
		"select signal_info_maps",
	}, server.packets)
}

func TestABatchIsSentAgainLikeAQuery(t *testing.T) {
	failures := 2
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement == "select executions" && failures > 0 {
			failures--
			return 0, &mysql.MySQLError{Number: 1105, Message: "no healthy tablet available"}
		}
		return 1, nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx := context.Background()
	batch := &Batch{}
	found(t, batch.Note(ctx), db, selectRunTimers, 1, "run")
	require.Equal(t, 1, found(t, batch.Lead(ctx), db, selectRun, 1, "run"))
	require.Equal(t, 1, found(t, batch.Follow(ctx), db, selectRunTimers, 1, "run"))
	require.Len(t, server.packets, 3)
}

func TestABatchDoesNotReachIntoATransaction(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx := context.Background()
	batch := &Batch{}
	tx, err := db.Begin()
	require.NoError(t, err)
	rows, err := tx.QueryContext(batch.Note(ctx), selectRunTimers, 1, "run")
	require.NoError(t, err)
	require.True(t, rows.Next())
	require.NoError(t, rows.Close())
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"begin; select timer_info_maps", "commit"}, server.packets)
}
