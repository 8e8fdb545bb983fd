package conn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
)

var (
	errFailover = &mysql.MySQLError{Number: 1105, Message: "no healthy tablet available for 'temporal.-80.primary'"}
	errDeadlock = &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock; try restarting transaction"}
	errThrottle = &mysql.MySQLError{Number: 1041, Message: "Transaction throttled"}
	errLost     = &mysql.MySQLError{Number: 2013, Message: "code = Canceled desc = EOF"}
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
		class Class
		want  []string
	}{
		{"not executed", errFailover, "", retried},
		{"not committed", errDeadlock, "", retried},
		{"overloaded", errThrottle, Overloaded, []string{first, "rollback"}},
		{"ambiguous", errLost, Ambiguous, []string{first, "rollback"}},
		{"defect", errScatter, Defect, []string{first, "rollback"}},
		{"refused", errDuplicate, Refused, []string{first, "rollback"}},
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
				require.Equal(t, test.class, classify(err))
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
	require.Equal(t, NotExecuted, classify(tx.Commit()))
	require.Equal(t, []string{"begin; select shards", "insert timer_info_maps; commit", "rollback"}, server.packets)
	require.Empty(t, capture.Snapshot()["vitess_retries"])
}

func TestARetryEndsWithTheCallersDeadline(t *testing.T) {
	server := &packetServer{answer: failing("select shards", errFailover)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := db.QueryContext(ctx, selectShard, 1)
	require.Equal(t, NotExecuted, classify(err))
	require.ErrorContains(t, err, "no healthy tablet", "the cause, not the deadline")
	require.Greater(t, len(server.packets), 1)
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
			require.Equal(t, 1, server.closed)
		})
	}
	t.Run("where transactions are not pipelined", func(t *testing.T) {
		server := &packetServer{answer: failingOnce(begin, driver.ErrBadConn), breaks: func(string) bool { return true }}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		tx, err := db.BeginTx(context.Background(), &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.Equal(t, []string{begin, begin, "commit"}, server.packets)
	})
	t.Run("but not again and again", func(t *testing.T) {
		server := &packetServer{answer: failing(begin, mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		tx, err := db.Begin()
		require.NoError(t, err)
		require.Equal(t, Ambiguous, classify(tx.QueryRow(selectShard, 1).Scan(new(int))))
		require.Len(t, server.packets, 2)
	})
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
			require.Equal(t, Ambiguous, classify(err))
			require.False(t, errors.Is(err, mysql.ErrInvalidConn), "bare, upstream would replace the pool")
			require.Equal(t, test.want, server.packets)
		})
	}
	t.Run("of a transaction that is not pipelined", func(t *testing.T) {
		server := &packetServer{answer: failing("commit", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		tx, err := db.BeginTx(context.Background(), &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		require.Equal(t, Ambiguous, classify(tx.Commit()))
		require.Equal(t, []string{begin, "commit"}, server.packets)
	})
	t.Run("outside of a transaction", func(t *testing.T) {
		server := &packetServer{answer: failing("insert timer_info_maps", mysql.ErrInvalidConn), breaks: func(string) bool { return true }}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		_, err := db.Exec(upsertTimer, 1, "a")
		require.Equal(t, Ambiguous, classify(err))
		require.Len(t, server.packets, 1)
	})
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
			require.Equal(t, NotExecuted, classify(tx.Commit()))
			if plainMySQL {
				require.Equal(t, 1, server.closed)
			} else {
				require.Zero(t, server.closed)
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
	require.Error(t, tx.Rollback())
	require.Equal(t, 1, server.closed)
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
			require.ErrorIs(t, end(ctx, p), context.Canceled)
			_ = tx.Rollback() // of which database/sql may have been faster
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
