package conn

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

const (
	shareShard     = "SELECT range_id FROM shards WHERE shard_id = ? LOCK IN SHARE MODE"
	lockShard      = "SELECT range_id FROM shards WHERE shard_id = ? FOR UPDATE"
	lockTaskQueue  = "SELECT range_id FROM task_queues WHERE range_hash = ? AND task_queue_id = ? FOR UPDATE"
	insertTransfer = "INSERT INTO transfer_tasks (shard_id, task_id) VALUES (?, ?)"
	insertTask     = "INSERT INTO tasks (range_hash, task_queue_id, task_id) VALUES (?, ?, ?)"
	checkedPacket  = "begin; check shards; insert transfer_tasks; commit"
	askedPacket    = "begin; lock shards"
	uncheckedRests = "insert transfer_tasks; commit"
)

// owned locks a history shard, as upstream does, adds tasks if it is the caller's, and commits. It returns what it was told.
func owned(db *sql.DB, lock string) (rangeID int64, err error) {
	tx, err := db.Begin()
	if err != nil {
		return 0, err
	}
	if err = tx.QueryRow(lock, 1).Scan(&rangeID); err == nil {
		_, err = tx.Exec(insertTransfer, 1, 1)
	}
	if err != nil {
		return rangeID, errors.Join(err, tx.Rollback())
	}
	return rangeID, tx.Commit()
}

// openOwned returns a DB that knows the range ID of a history shard, and that its server checks it.
func openOwned(t *testing.T, server *packetServer) *sql.DB {
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	for range 2 {
		_, err := owned(db, shareShard)
		require.NoError(t, err)
	}
	require.Equal(t, []string{askedPacket, uncheckedRests, "check shards", checkedPacket}, server.packets)
	server.packets = nil
	return db
}

func TestALockWhoseAnswerIsKnownWaits(t *testing.T) {
	for _, lock := range []string{shareShard, lockShard} {
		server := &packetServer{}
		db := openOwned(t, server)
		rangeID, err := owned(db, lock)
		require.NoError(t, err)
		require.Equal(t, int64(1), rangeID)
		require.Equal(t, []string{checkedPacket}, server.packets)
	}
}

func TestAnotherRowIsNotKnown(t *testing.T) {
	server := &packetServer{}
	db := openOwned(t, server)
	tx, err := db.Begin()
	require.NoError(t, err)
	require.Equal(t, 1, pipelined{t, tx}.query(shareShard, 2))
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{askedPacket, "commit"}, server.packets)
}

func TestALockThatWaitsTravelsWithAnyPacket(t *testing.T) {
	for name, test := range map[string]struct {
		do      func(p pipelined)
		packets []string
	}{
		"a read":             {func(p pipelined) { p.query(lockExecution, 1, 1, 1, 1) }, []string{"begin; check shards; lock executions", "commit"}},
		"an INSERT":          {func(p pipelined) { p.exec(insertExecution, 1, 1, 1, 1) }, []string{"begin; check shards; insert executions", "commit"}},
		"a row count":        {func(p pipelined) { p.affected(p.exec(deleteTimers, 1, 1)) }, []string{"begin; check shards; delete timer_info_maps", "commit"}},
		"a write that waits": {func(p pipelined) { p.exec(upsertTimer, 1, "a") }, []string{"begin; check shards; insert timer_info_maps; commit"}},
		"only COMMIT":        {func(p pipelined) {}, []string{"begin; check shards; commit"}},
		"a write before": {func(p pipelined) {
			p.exec(upsertTimer, 1, "a")
			p.query(shareShard, 1)
			p.query(lockExecution, 1, 1, 1, 1)
		}, []string{"begin; check shards; insert timer_info_maps; select row_count(); check shards; lock executions", "commit"}},
		"an UPDATE of the row": {func(p pipelined) {
			p.query(lockShard, 1)
			require.Equal(p, int64(1), p.affected(p.exec(updateShard, 1, 1)))
		},
			[]string{"begin; check shards; check shards; update shards; commit"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := &packetServer{}
			db := openOwned(t, server)
			tx, err := db.Begin()
			require.NoError(t, err)
			p := pipelined{t, tx}
			require.Equal(t, 1, p.query(shareShard, 1))
			test.do(p)
			require.NoError(t, tx.Commit())
			require.Equal(t, test.packets, server.packets)
		})
	}
}

// What is behind a check that does not hold is not done, and the next transaction asks.
func TestARowThatHasAnotherOwner(t *testing.T) {
	for name, test := range map[string]struct {
		do func(tx *sql.Tx) error
		// whole is whether what waits has gone with it.
		packet string
	}{
		"at COMMIT": {func(tx *sql.Tx) error { return tx.Commit() }, "begin; check shards; insert transfer_tasks; commit"},
		"at a read": {func(tx *sql.Tx) error { return tx.QueryRow(lockExecution, 1, 1, 1, 1).Scan(new(int)) },
			"begin; check shards; insert transfer_tasks; select row_count(); lock executions"},
		"at an INSERT whose duplicate key is interpreted": {func(tx *sql.Tx) error { _, err := tx.Exec(insertExecution, 1, 1, 1, 1); return err },
			"begin; check shards; insert transfer_tasks; select row_count(); insert executions"},
	} {
		t.Run(name, func(t *testing.T) {
			rangeID := int64(1)
			server := &packetServer{rangeID: &rangeID}
			db := openOwned(t, server)
			rangeID = 2
			tx, err := db.Begin()
			require.NoError(t, err)
			var told int64
			require.NoError(t, tx.QueryRow(shareShard, 1).Scan(&told))
			require.Equal(t, int64(1), told)
			pipelined{t, tx}.exec(insertTransfer, 1, 1)
			err = test.do(tx)
			var met *outcome.Error
			require.ErrorAs(t, err, &met)
			require.Equal(t, outcome.NotCommitted, met.Class)
			require.ErrorContains(t, err, "another range ID")
			require.Error(t, tx.Commit(), "it is not committed after all")
			require.Equal(t, []string{test.packet, "rollback"}, server.packets)

			server.packets = nil
			told, err = owned(db, shareShard)
			require.NoError(t, err)
			require.Equal(t, int64(2), told)
			require.Equal(t, []string{askedPacket, uncheckedRests}, server.packets)
		})
	}
}

func TestARowThatIsGone(t *testing.T) {
	server := &packetServer{}
	db := openOwned(t, server)
	server.answer = func(statement string) (int64, error) {
		if statement == "check shards" || statement == "lock shards" {
			return 0, nil
		}
		return 1, nil
	}
	_, err := owned(db, shareShard)
	require.ErrorContains(t, err, "another range ID")
	_, err = owned(db, shareShard)
	require.ErrorIs(t, err, sql.ErrNoRows)
}

// A caller that has another range ID than it is told goes back without a word to the server.
func TestAnAnswerThatTheCallerDidNotExpectIsNotGivenTwice(t *testing.T) {
	server := &packetServer{}
	db := openOwned(t, server)
	tx, err := db.Begin()
	require.NoError(t, err)
	require.Equal(t, 1, pipelined{t, tx}.query(shareShard, 1))
	require.NoError(t, tx.Rollback())
	require.Empty(t, server.packets)
	_, err = owned(db, shareShard)
	require.NoError(t, err)
	require.Equal(t, []string{askedPacket, uncheckedRests}, server.packets)
}

func TestWhatIsKnownOfAnOwnerFollowsTheWrites(t *testing.T) {
	lost := &mysql.MySQLError{Number: 2013, Message: "Lost connection"}
	for name, test := range map[string]struct {
		do func(t *testing.T, db *sql.DB, server *packetServer)
		// known is the answer without asking, 0 if the server is asked.
		known int64
	}{
		"an UPDATE": {func(t *testing.T, db *sql.DB, server *packetServer) {
			require.NoError(t, renew(db, 2))
		}, 2},
		"an UPDATE that is rolled back": {func(t *testing.T, db *sql.DB, server *packetServer) {
			tx, err := db.Begin()
			require.NoError(t, err)
			pipelined{t, tx}.exec(updateShard, 2, 1)
			require.NoError(t, tx.Rollback())
		}, 0},
		"an UPDATE whose COMMIT nobody knows of": {func(t *testing.T, db *sql.DB, server *packetServer) {
			server.answer = failing("commit", lost)
			require.Error(t, renew(db, 2))
			server.answer = nil
		}, 0},
		"an UPDATE outside of a transaction": {func(t *testing.T, db *sql.DB, server *packetServer) {
			_, err := db.Exec(updateShard, 2, 1)
			require.NoError(t, err)
		}, 0},
		"a read of the same": {func(t *testing.T, db *sql.DB, server *packetServer) {
			require.Equal(t, 1, found(t, context.Background(), db, selectShard, 1))
		}, 1},
		"a read of another": {func(t *testing.T, db *sql.DB, server *packetServer) {
			*server.rangeID = 7
			require.Equal(t, 1, found(t, context.Background(), db, selectShard, 1))
		}, 0},
		"a read of another history shard": {func(t *testing.T, db *sql.DB, server *packetServer) {
			*server.rangeID = 7
			require.Equal(t, 1, found(t, context.Background(), db, selectShard, 2))
			*server.rangeID = 1
		}, 1},
		"a write to another table": {func(t *testing.T, db *sql.DB, server *packetServer) {
			_, err := db.Exec(updateExecution, 1, 1, 1, 1, 1)
			require.NoError(t, err)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			rangeID := int64(1)
			server := &packetServer{rangeID: &rangeID}
			db := openOwned(t, server)
			test.do(t, db, server)
			if test.known != 0 {
				rangeID = test.known
			}
			server.packets = nil
			told, err := owned(db, shareShard)
			require.NoError(t, err)
			require.Equal(t, rangeID, told)
			if test.known != 0 {
				require.Equal(t, []string{checkedPacket}, server.packets)
			} else {
				require.Equal(t, []string{askedPacket, uncheckedRests}, server.packets)
			}
		})
	}
}

func TestAnOwnerOfBeforeIsNotRemembered(t *testing.T) {
	known, err := newOwners()
	require.NoError(t, err)
	for value, want := range map[int64]int64{5: 5, 4: 5, 6: 6} {
		known.remove("row")
		known.set("row", 5)
		known.set("row", value)
		got, ok := known.of([]byte("row"))
		require.True(t, ok)
		require.Equal(t, want, got)
	}
}

// renew gives a history shard another range ID.
func renew(db *sql.DB, rangeID int64) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if err := tx.QueryRow(lockShard, 1).Scan(new(int64)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.Exec(updateShard, rangeID, 1); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func TestTooFewValuesAreTheDriversToRefuse(t *testing.T) {
	server := &packetServer{}
	db := openOwned(t, server)
	_, _ = db.Exec(updateShard, 1)
	_ = db.QueryRow(selectShard).Scan(new(int))
	tx, err := db.Begin()
	require.NoError(t, err)
	for _, query := range []string{updateShard, shareShard, lockShard} {
		_, err := tx.Query(query)
		require.Error(t, err, query)
	}
	require.NoError(t, tx.Rollback())
}

func TestTasksAreCreatedInOneRoundTrip(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	create := func() {
		tx, err := db.Begin()
		require.NoError(t, err)
		p := pipelined{t, tx}
		p.exec(insertTask, 1, []byte("queue"), 1)
		require.Equal(t, 1, p.query(lockTaskQueue, 1, []byte("queue")))
		require.NoError(t, tx.Commit())
	}
	create()
	create()
	server.packets = nil
	create()
	require.Equal(t, []string{"begin; insert tasks; check task_queues; commit"}, server.packets)
}

func TestLocksAreAskedForWhereTheyCannotBeChecked(t *testing.T) {
	t.Run("by the server", func(t *testing.T) {
		server := &packetServer{checksNothing: true}
		logger := &warnings{Logger: log.NewNoopLogger()}
		db, _ := openPipelined(t, server, logger)
		for range 3 {
			_, err := owned(db, shareShard)
			require.NoError(t, err)
		}
		require.Equal(t, []string{askedPacket, uncheckedRests, "check shards", askedPacket, uncheckedRests, askedPacket, uncheckedRests}, server.packets)
		require.Len(t, logger.warned, 1)
	})
	t.Run("now", func(t *testing.T) {
		server := &packetServer{answer: failing("check shards", &mysql.MySQLError{Number: 1317, Message: "Query execution was interrupted"})}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		for range 2 {
			_, err := owned(db, shareShard)
			require.NoError(t, err)
		}
		require.Equal(t, askedPacket, server.packets[len(server.packets)-2])
		server.answer, server.packets = nil, nil
		for range 2 {
			_, err := owned(db, shareShard)
			require.NoError(t, err)
		}
		require.Equal(t, []string{"check shards", checkedPacket, checkedPacket}, server.packets)
	})
	t.Run("by option", func(t *testing.T) {
		server := &packetServer{}
		db := openWays(t, server, AllPipelining&^Locks)
		for range 2 {
			_, err := owned(db, shareShard)
			require.NoError(t, err)
		}
		require.Equal(t, []string{askedPacket, uncheckedRests, askedPacket, uncheckedRests}, server.packets)
	})
}
