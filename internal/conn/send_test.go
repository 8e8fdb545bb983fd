package conn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

var (
	errFailover = &mysql.MySQLError{Number: 1105, Message: "no healthy tablet available for 'temporal.-80.primary'"}
	errDeadlock = &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock; try restarting transaction"}
	errThrottle = &mysql.MySQLError{Number: 1041, Message: "Transaction throttled"}
	errLost     = &mysql.MySQLError{Number: 2013, Message: "code = outcome.Canceled desc = EOF"}
	errScatter  = &mysql.MySQLError{Number: 1235, Message: "VT12001: unsupported: cross-shard"}
)

// failingOnce answers the first execution of a statement with an error.
func failingOnce(statement string, err error) func(string) (int64, error) {
	return func(got string) (int64, error) {
		if got == statement && err != nil {
			once := err
			err = nil
			return 0, once
		}
		return 1, nil
	}
}

func TestThePacketThatBeginsATransactionIsRetriedByClass(t *testing.T) {
	const first = "begin; insert timer_info_maps; select row_count(); select shards"
	retried := []string{first, "rollback", first, "commit"}
	for _, test := range []struct {
		name string
		err  error
		// class of the error that the caller sees; "" if the retry helped.
		class outcome.Class
		want  []string
	}{
		{"not executed", errFailover, "", retried},
		{"not committed", errDeadlock, "", retried},
		{"overloaded", errThrottle, outcome.Overloaded, []string{first, "rollback"}},
		{"lost, but COMMIT was not sent", errLost, "", retried},
		{"unknown", &mysql.MySQLError{Number: 1105, Message: "what nobody has seen"}, outcome.Unknown, []string{first, "rollback"}},
		{"defect", errScatter, outcome.Defect, []string{first, "rollback"}},
		{"refused", errDuplicate, outcome.Refused, []string{first, "rollback"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &packetServer{answer: failingOnce("insert timer_info_maps", test.err)}
			db, capture := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			pipelined{t, tx}.exec(upsertTimer, 1, "a")
			err = tx.QueryRow(selectShard, 1).Scan(new(int))
			retries := capture.Snapshot()["vitess_retries"]
			if test.class == "" {
				require.NoError(t, err)
				require.NoError(t, tx.Commit())
				require.Len(t, retries, 1)
			} else {
				require.Equal(t, test.class, outcome.ClassOf(err))
				require.NoError(t, tx.Rollback())
				require.Empty(t, retries)
			}
			require.Equal(t, test.want, server.packets)
			require.Equal(t, 1, server.connections)
		})
	}
}

func TestAWholeTransactionInOnePacketIsRetried(t *testing.T) {
	server := &packetServer{answer: failingOnce("commit", errFailover)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.exec(upsertTimer, 1, "a")
	require.NoError(t, tx.Commit())
	const whole = "begin; insert timer_info_maps; commit"
	require.Equal(t, []string{whole, "rollback", whole}, server.packets)
}

func TestNothingIsRetriedAfterSomethingWasApplied(t *testing.T) {
	server := &packetServer{}
	db, capture := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	p.query(selectShard, 1)
	p.exec(upsertTimer, 1, "a")
	server.answer = failingOnce("insert timer_info_maps", errFailover)
	require.Equal(t, outcome.NotExecuted, outcome.ClassOf(tx.Commit()))
	require.Equal(t, []string{"begin; select shards", "insert timer_info_maps; commit", "rollback"}, server.packets)
	require.Empty(t, capture.Snapshot()["vitess_retries"])
}

func TestARetryEndsWithTheCallersDeadline(t *testing.T) {
	server := &packetServer{answer: failing("select shards", errFailover)}
	logged := &warnings{Logger: log.NewNoopLogger()}
	db, capture := openPipelined(t, server, logged)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := db.QueryContext(ctx, selectShard, 1)
	require.True(t, err == context.DeadlineExceeded, "upstream asks by ==, not %v", err)
	require.Greater(t, len(server.packets), 1)
	require.Equal(t, "not_executed", capture.Snapshot()["vitess_errors"][0].Tags["class"], "the cause")
	require.Len(t, logged.warned, 1)
}

func TestWhatTookTooLongIsNotDoneAgain(t *testing.T) {
	server := &packetServer{answer: failing("select shards", &mysql.MySQLError{Number: 3024, Message: "Query execution was interrupted, maximum statement execution time exceeded"})}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	_, err := db.Query(selectShard, 1)
	require.Equal(t, outcome.NotExecuted, outcome.ClassOf(err))
	require.Len(t, server.packets, 1)
}

// What is left of a read that failed must not pass for a transaction that has begun.
func TestATransactionBeginsAfterAReadThatFailed(t *testing.T) {
	overloaded := &mysql.MySQLError{Number: 1203, Message: "target: temporal.-80.primary: connection pool waiter cap reached"}
	for name, read := range map[string]func(db *sql.DB) error{
		"one": func(db *sql.DB) error { _, err := db.Query(selectShard, 1); return err },
		"of a set": func(db *sql.DB) error {
			ctx, _ := runSet()
			_, err := db.QueryContext(ctx, selectRun, 1, "run")
			return err
		},
		"of a further page": func(db *sql.DB) error {
			rows, err := db.Query(selectTimers, 1, "n", "w", "r")
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return rows.Err()
		},
		"a write": func(db *sql.DB) error { _, err := db.Exec(updateShard, 1, 1); return err },
	} {
		for _, open := range []func(*testing.T, *packetServer) *sql.DB{
			func(t *testing.T, server *packetServer) *sql.DB {
				db, _ := openPipelined(t, server, log.NewNoopLogger())
				return db
			},
			func(t *testing.T, server *packetServer) *sql.DB { return openPlain(t, server) },
		} {
			t.Run(name, func(t *testing.T) {
				pages := 0
				server := &packetServer{answer: func(statement string) (int64, error) {
					if pages++; statement == "select timer_info_maps" && pages == 1 {
						return 10, nil
					}
					return 0, overloaded
				}}
				db := open(t, server)
				require.Equal(t, outcome.Overloaded, outcome.ClassOf(errOf(read(db))))
				server.answer, server.packets = nil, nil
				tx, err := db.Begin()
				require.NoError(t, err)
				pipelined{t, tx}.query(selectShard, 1)
				require.NoError(t, tx.Rollback())
				require.Equal(t, "begin", strings.Split(server.packets[0], ";")[0])
				require.Equal(t, "rollback", server.packets[len(server.packets)-1])
			})
		}
	}
}

// errOf takes an error outside of a transaction, where vtgate may have tried before, for what it says.
func errOf(err error) error {
	var classified *outcome.Error
	if errors.As(err, &classified) && classified.Holds == outcome.Autocommit && classified.Class == outcome.Ambiguous {
		return outcome.Of(classified.Cause, outcome.Uncommitted)
	}
	return err
}

func TestAStaleConnectionIsReplaced(t *testing.T) {
	for name, err := range map[string]error{"nothing was sent": driver.ErrBadConn, "no answer came": mysql.ErrInvalidConn} {
		t.Run(name, func(t *testing.T) {
			server := &packetServer{answer: failingOnce(begin, err), breaks: func(string) bool { return true }}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			pipelined{t, tx}.query(selectShard, 1)
			require.NoError(t, tx.Commit())
			require.Equal(t, []string{"begin; select shards", "begin; select shards", "commit"}, server.packets)
			require.Equal(t, 2, server.connections)
			waitForClosed(t, server, 1)
		})
	}
	t.Run("where transactions are not pipelined", func(t *testing.T) {
		server := &packetServer{answer: failingOnce(begin, driver.ErrBadConn), breaks: func(string) bool { return true }}
		tx, err := openPlain(t, server).Begin()
		require.NoError(t, err)
		pipelined{t, tx}.query(selectShard, 1)
		require.NoError(t, tx.Commit())
		require.Equal(t, []string{begin, begin, "select shards", "commit"}, server.packets)
	})
	t.Run("at once a few times, then after a pause, as long as the caller waits", func(t *testing.T) {
		server := &packetServer{answer: failing(begin, mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		db, capture := openPipelined(t, server, log.NewNoopLogger())
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.ErrorIs(t, tx.QueryRowContext(ctx, selectShard, 1).Scan(new(int)), context.DeadlineExceeded)
		require.Greater(t, len(server.packets), maxReplaced+1)
		require.GreaterOrEqual(t, len(capture.Snapshot()["vitess_retries"]), len(server.packets)-1)
	})
}

// waitForClosed returns once that many connections are closed, which the pool does in the background.
func waitForClosed(t *testing.T, server *packetServer, want int32) {
	t.Helper()
	require.Eventually(t, func() bool { return server.closed.Load() == want }, 10*time.Second, time.Millisecond)
}

func TestALostCommitIsAmbiguousAndNotSentAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		read bool // before COMMIT, so that this has a packet of its own
		want []string
	}{
		{"in the packet of the whole transaction", false, []string{"begin; insert timer_info_maps; commit"}},
		{"in the last packet", true, []string{"begin; select shards", "insert timer_info_maps; commit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &packetServer{answer: failing("commit", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			p := pipelined{t, tx}
			if test.read {
				p.query(selectShard, 1)
			}
			p.exec(upsertTimer, 1, "a")
			err = tx.Commit()
			require.Equal(t, outcome.Ambiguous, outcome.ClassOf(err))
			require.False(t, errors.Is(err, mysql.ErrInvalidConn), "bare, upstream would replace the pool")
			require.Equal(t, test.want, server.packets)
		})
	}
	t.Run("of a transaction that is not pipelined", func(t *testing.T) {
		server := &packetServer{answer: failing("commit", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		tx, err := openPlain(t, server).Begin()
		require.NoError(t, err)
		pipelined{t, tx}.query(selectShard, 1)
		require.Equal(t, outcome.Ambiguous, outcome.ClassOf(tx.Commit()))
		require.Equal(t, []string{begin, "select shards", "commit"}, server.packets)
	})
	t.Run("outside of a transaction", func(t *testing.T) {
		server := &packetServer{answer: failing("insert transfer_tasks", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		_, err := db.Exec(insertTwoTasks, 1, 1, 1, 2)
		require.Equal(t, outcome.Ambiguous, outcome.ClassOf(err))
		require.Len(t, server.packets, 1)
	})
	t.Run("but an upsert outside of a transaction can be done twice", func(t *testing.T) {
		server := &packetServer{answer: failingOnce("insert timer_info_maps", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		_, err := db.Exec(upsertTimer, 1, "a")
		require.NoError(t, err)
		require.Len(t, server.packets, 2)
	})
	for name, test := range map[string]struct {
		inserted, assigned any
		packets            int
	}{
		"as can one that assigns what it inserts":       {[]byte("a"), []byte("a"), 2},
		"but none that assigns what it does not":        {[]byte("a"), []byte("b"), 1},
		"nor something that is not even of its type":    {[]byte("a"), "a", 1},
		"as can one that assigns the number it inserts": {int64(1), int64(1), 2},
		"or JSON": {json.RawMessage("{}"), json.RawMessage("{}"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			server := &packetServer{answer: failingOnce("insert history_node", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			_, err := db.Exec("INSERT INTO history_node (shard_id, node_id, data) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE data = ?", 1, 2, test.inserted, test.assigned)
			require.Len(t, server.packets, test.packets)
			require.Equal(t, test.packets == 2, err == nil)
		})
	}
}

func TestAReadOnlyServerCostsItsConnectionsButAReadOnlyVitessShardDoesNot(t *testing.T) {
	for _, plainMySQL := range []bool{true, false} {
		for _, number := range []uint16{1290, 1792, 1836} {
			server := &packetServer{
				plainMySQL: plainMySQL,
				answer:     failing("insert timer_info_maps", &mysql.MySQLError{Number: number, Message: "read-only"}),
			}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			p := pipelined{t, tx}
			p.query(selectShard, 1)
			p.exec(upsertTimer, 1, "a")
			require.Equal(t, outcome.NotExecuted, outcome.ClassOf(tx.Commit()))
			if plainMySQL {
				waitForClosed(t, server, 1)
			} else {
				require.NoError(t, db.Ping())
				require.Equal(t, 1, server.connections)
			}
		}
	}
}

func TestATransactionThatCannotBeRolledBackCostsItsConnection(t *testing.T) {
	server := &packetServer{answer: failing("rollback", errFailover)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.query(selectShard, 1)
	require.NoError(t, tx.Rollback(), "the end of the connection has the same effect")
	waitForClosed(t, server, 1)
}

func TestWhatWaitsIsNotSentWithAnEndedContext(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, p pipelined) error{
		"a read": func(ctx context.Context, p pipelined) error {
			return p.tx.QueryRowContext(ctx, selectShard, 1).Scan(new(int))
		},
		"COMMIT": func(_ context.Context, p pipelined) error { return p.tx.Commit() },
	} {
		t.Run(name, func(t *testing.T) {
			server := &packetServer{}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			ctx, cancel := context.WithCancel(context.Background())
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			p := pipelined{t, tx}
			p.exec(upsertTimer, 1, "a")
			cancel()
			if err := end(ctx, p); !errors.Is(err, sql.ErrTxDone) { // database/sql may have been faster with a ROLLBACK
				require.ErrorIs(t, err, context.Canceled)
			}
			_ = tx.Rollback()
			require.NoError(t, db.Ping(), "the only connection is free again")
			require.Empty(t, server.packets)
		})
	}
}

func TestTheAnswerOfTheServerIsNotMaskedByTheEndOfTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement != "insert timer_info_maps" {
			return 1, nil
		}
		cancel() // while the server answers
		return 0, errDuplicate
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	_, err := db.ExecContext(ctx, upsertTimer, 1, "a")
	require.ErrorIs(t, err, errDuplicate)
}
