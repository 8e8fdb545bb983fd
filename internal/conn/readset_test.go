package conn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"

	"github.com/temporal-vitess/temporal-vitess/internal/router"
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

const (
	runUnion  = "union executions timer_info_maps signal_info_maps"
	runPacket = "select executions; select timer_info_maps; select signal_info_maps"
)

// runSet is the context of a set of queries, and the statement that they are.
func runSet() (context.Context, string) {
	return NewReadSet(NewQueries([]string{selectRun, selectRunTimers, selectRunSignals})).Context(context.Background()), runUnion
}

func TestAReadSetIsOneStatement(t *testing.T) {
	server := &packetServer{answer: func(statement string) (int64, error) {
		return map[string]int64{"select executions": 1, "select timer_info_maps": 3}[statement], nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, packet := runSet()
	run := []byte("run")
	require.Equal(t, 1, found(t, ctx, db, selectRun, 1, run))
	require.Equal(t, []string{packet}, server.packets)
	require.Len(t, server.args[0], 6)
	require.Equal(t, run, server.args[0][5].Value)

	// In another order.
	require.Equal(t, 0, found(t, ctx, db, selectRunSignals, 1, run))
	require.Equal(t, 3, found(t, ctx, db, selectRunTimers, 1, run))
	require.Len(t, server.packets, 1)

	// What came is there once.
	require.Equal(t, 3, found(t, ctx, db, selectRunTimers, 1, run))
	require.Equal(t, "select timer_info_maps", server.packets[1])
}

// Two sets of the same queries, one after the other.
func TestAReadSetThatTheServerDoesNotTakeAsOneStatementIsOnePacket(t *testing.T) {
	refused := &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax"}
	for name, test := range map[string]struct {
		// refuses says whether the server refuses the union of the first set, and of the second.
		refuses [2]bool
		packets []string
		warned  int
	}{
		"never":                        {[2]bool{false, false}, []string{runUnion, runUnion}, 0},
		"from the first on":            {[2]bool{true, true}, []string{runUnion, runPacket, runPacket}, 1},
		"only that of large workflows": {[2]bool{false, true}, []string{runUnion, runUnion, runPacket}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			set := 0
			server := &packetServer{answer: func(statement string) (int64, error) {
				if statement == runUnion && test.refuses[set] {
					return 0, refused
				}
				return 2, nil
			}}
			logger := &warnings{Logger: log.NewNoopLogger()}
			db, _ := openPipelined(t, server, logger)
			queries := NewQueries([]string{selectRun, selectRunTimers, selectRunSignals})
			for set = range 2 {
				ctx := NewReadSet(queries).Context(context.Background())
				for _, query := range []string{selectRun, selectRunTimers, selectRunSignals} {
					require.Equal(t, 2, found(t, ctx, db, query, 1, "run"))
				}
			}
			require.Equal(t, test.packets, server.packets)
			require.Len(t, logger.warned, test.warned)
		})
	}
}

func TestRowsThatMayNotBeAllAreAskedForOnTheirOwn(t *testing.T) {
	server := &packetServer{answer: func(statement string) (int64, error) {
		return map[string]int64{"select executions": 1, "select timer_info_maps": 4, "select signal_info_maps": 5}[statement], nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger()) // of at most 10 rows a statement, as many as there are
	ctx, union := runSet()
	require.Equal(t, 1, found(t, ctx, db, selectRun, 1, "run"))
	require.Equal(t, 4, found(t, ctx, db, selectRunTimers, 1, "run"))
	require.Equal(t, 5, found(t, ctx, db, selectRunSignals, 1, "run"))
	require.Equal(t, []string{union, "select signal_info_maps"}, server.packets)
}

func TestRowsOfAReadSetThatAreNotInOrderAreAnError(t *testing.T) {
	union := &router.Union{Rows: 10, Parts: make([]router.UnionPart, 2)}
	for _, numbers := range [][]driver.Value{{int64(1), int64(0)}, {int64(2)}, {int64(-1)}, {nil}} {
		rows := &resultSets{columns: 2}
		for _, number := range numbers {
			rows.rows = append(rows.rows, []driver.Value{number, int64(1)})
		}
		_, err := split(rows, union)
		require.ErrorContains(t, err, "not in their order")
	}
}

func TestAQueryWithOtherValuesIsNotAnsweredByAReadSet(t *testing.T) {
	for _, args := range [][]any{{2, []byte("run")}, {1, []byte("nur")}, {1, "run"}, {1, []byte(nil)}, {1, []byte{}}} {
		server := &packetServer{}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		ctx, packet := runSet()
		found(t, ctx, db, selectRun, 1, []byte("run"))
		found(t, ctx, db, selectRunTimers, args...)
		require.Equal(t, []string{packet, "select timer_info_maps"}, server.packets)
	}
}

func TestAQueryThatIsNotInTheReadSetGoesAlone(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, packet := runSet()
	found(t, ctx, db, selectShard, 1)
	found(t, ctx, db, selectRunTimers, 1, "run")
	found(t, ctx, db, selectRun, 1, "run")
	require.Equal(t, []string{"select shards", "select timer_info_maps", packet}, server.packets)
}

func TestAQueryOfAReadSetMeetsItsOwnError(t *testing.T) {
	refused := &mysql.MySQLError{Number: 1146, Message: "no such table"}
	server := &packetServer{answer: failing("select timer_info_maps", refused)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, union := runSet()
	require.Equal(t, 1, found(t, ctx, db, selectRun, 1, "run"))
	_, err := db.QueryContext(ctx, selectRunTimers, 1, "run")
	require.ErrorIs(t, err, refused)
	require.Equal(t, 1, found(t, ctx, db, selectRunSignals, 1, "run"), "what comes behind the error goes alone")
	require.Equal(t, []string{union, runPacket, "select timer_info_maps", "select signal_info_maps"}, server.packets)
}

func TestAReadSetIsSentAgainLikeAQuery(t *testing.T) {
	failures := 2
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement == "select executions" && failures > 0 {
			failures--
			return 0, errFailover
		}
		return 1, nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, packet := runSet()
	require.Equal(t, 1, found(t, ctx, db, selectRun, 1, "run"))
	require.Equal(t, 1, found(t, ctx, db, selectRunTimers, 1, "run"))
	require.Equal(t, []string{packet, packet, packet}, server.packets)
}

func TestAReadSetThatFailsMayBeTriedAgain(t *testing.T) {
	refused := &mysql.MySQLError{Number: 1146, Message: "no such table"}
	failures := 2 // of the union, and of the packet
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement == "select executions" && failures > 0 {
			failures--
			return 0, refused
		}
		return 1, nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, union := runSet()
	_, err := db.QueryContext(ctx, selectRun, 1, "run")
	require.ErrorIs(t, err, refused)
	require.Equal(t, 1, found(t, ctx, db, selectRun, 1, "run"))
	require.Equal(t, []string{union, runPacket, runPacket}, server.packets)
}

func TestAReadSetDoesNotReachIntoATransaction(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, _ := runSet()
	tx, err := db.Begin()
	require.NoError(t, err)
	rows, err := tx.QueryContext(ctx, selectRun, 1, "run")
	require.NoError(t, err)
	require.True(t, rows.Next())
	require.NoError(t, rows.Close())
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"begin; select executions", "commit"}, server.packets)
}

func TestQueriesAreNotedOnce(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	note := func(args ...any) ([]string, bool) {
		return NoteQueries(func(ctx context.Context) {
			require.Zero(t, found(t, ctx, db, selectRun, 1, "run"))
			require.Zero(t, found(t, ctx, db, selectRunTimers, args...))
		})
	}
	queries, same := note(1, "run")
	require.True(t, same)
	require.Equal(t, []string{selectRun, selectRunTimers}, queries)
	_, same = note("run", 1)
	require.False(t, same)
	require.Empty(t, server.packets)
}
