package conn

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
)

const (
	lockCurrent   = "SELECT state FROM current_executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? FOR UPDATE"
	updateCurrent = "UPDATE current_executions SET run_id = ? WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ?"
)

// lockingRun has the statements of an update of a workflow.
type lockingRun struct {
	pipelined
	run []byte
}

func (l lockingRun) lockCurrent(found bool) {
	l.Helper()
	rows, err := l.tx.Query(lockCurrent, 1, []byte("namespace"), "workflow")
	require.NoError(l, err)
	columns, err := rows.Columns()
	require.NoError(l, err)
	require.Len(l, columns, 1)
	require.Equal(l, found, rows.Next())
	if found {
		require.NoError(l, rows.Scan(new(int)))
	}
	require.False(l, rows.Next())
	require.NoError(l, rows.Err())
}

func (l lockingRun) lockRun(run string) int {
	return l.query(lockExecution, 1, []byte("namespace"), "workflow", []byte(run))
}

func (l lockingRun) updateRun(run string) sql.Result {
	return l.exec(updateExecution, 2, 1, []byte("namespace"), "workflow", []byte(run))
}

func TestALockOfACurrentExecutionTakesItsRunAlong(t *testing.T) {
	const look = "begin; lock current_executions and run"
	for name, test := range map[string]struct {
		do      func(l lockingRun)
		packets []string
	}{
		"an update": {func(l lockingRun) {
			l.lockCurrent(true)
			require.Equal(l, int64(1), l.affected(l.exec(updateCurrent, 1, 1, []byte("namespace"), "workflow")))
			require.Equal(l, 1, l.lockRun("run"))
			require.Equal(l, int64(1), l.affected(l.updateRun("run")), "the row is known to be locked")
		}, []string{look, "update current_executions; update executions; commit"}},
		"another run": {func(l lockingRun) {
			l.lockCurrent(true)
			l.lockRun("other")
			l.updateRun("other")
			l.lockRun("run")
			l.updateRun("run")
		}, []string{look, "lock executions", "update executions; update executions; commit"}},
		"another workflow": {func(l lockingRun) {
			l.lockCurrent(true)
			l.query(lockExecution, 1, []byte("namespace"), "other", []byte("run"))
		}, []string{look, "lock executions", "commit"}},
		"another statement": {func(l lockingRun) {
			l.lockCurrent(true)
			l.query("SELECT state FROM executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ? FOR UPDATE",
				1, []byte("namespace"), "workflow", []byte("run"))
		}, []string{look, "lock executions", "commit"}},
		"twice": {func(l lockingRun) {
			l.lockCurrent(true)
			l.lockRun("run")
			l.lockRun("run")
		}, []string{look, "commit"}},
		"after the transaction has written to it": {func(l lockingRun) {
			l.lockCurrent(true)
			l.lockRun("run")
			l.updateRun("run")
			l.lockRun("run")
		}, []string{look, "update executions; select row_count(); lock executions", "commit"}},
		"after an INSERT into the table": {func(l lockingRun) {
			l.lockCurrent(true)
			l.exec(insertExecution, 1, []byte("namespace"), "workflow", []byte("run"))
			l.lockRun("run")
		}, []string{look, "insert executions", "lock executions", "commit"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := &packetServer{aheadOf: []byte("run")}
			db := openAhead(t, server)
			tx, err := db.Begin()
			require.NoError(t, err)
			test.do(lockingRun{pipelined{t, tx}, server.aheadOf})
			require.NoError(t, tx.Commit())
			require.Equal(t, test.packets, server.packets)
		})
	}
}

// openAhead returns a DB that has seen the lock of a run.
func openAhead(t *testing.T, server *packetServer) *sql.DB {
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	l := lockingRun{pipelined: pipelined{t, tx}}
	l.lockCurrent(true)
	l.lockRun("run")
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"begin; lock current_executions", "lock executions", "commit"}, server.packets)
	server.packets = nil
	return db
}

func TestARunThatIsNotThereIsAskedFor(t *testing.T) {
	server := &packetServer{}
	db := openAhead(t, server)
	tx, err := db.Begin()
	require.NoError(t, err)
	l := lockingRun{pipelined: pipelined{t, tx}}
	l.lockCurrent(true)
	l.lockRun("run")
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"begin; lock current_executions and run", "lock executions", "commit"}, server.packets)
}

func TestACurrentExecutionThatIsNotThere(t *testing.T) {
	server := &packetServer{aheadOf: []byte("run")}
	db := openAhead(t, server)
	server.answer = func(statement string) (int64, error) {
		if statement == "lock current_executions and run" {
			return 0, nil
		}
		return 1, nil
	}
	tx, err := db.Begin()
	require.NoError(t, err)
	l := lockingRun{pipelined: pipelined{t, tx}}
	l.lockCurrent(false)
	l.lockRun("run")
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"begin; lock current_executions and run", "lock executions", "commit"}, server.packets)
}

// A look-ahead is of its transaction.
func TestTheNextTransactionLooksForItself(t *testing.T) {
	server := &packetServer{aheadOf: []byte("run")}
	db := openAhead(t, server)
	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		tx, err := db.Begin()
		require.NoError(t, err)
		lockingRun{pipelined: pipelined{t, tx}}.lockCurrent(true)
		require.NoError(t, end(tx))
		server.packets = nil
		tx, err = db.Begin()
		require.NoError(t, err)
		lockingRun{pipelined: pipelined{t, tx}}.lockRun("run")
		require.NoError(t, tx.Commit())
		require.Equal(t, []string{"begin; lock executions", "commit"}, server.packets)
	}
}

func TestWithoutLookAheadEachLockIsAskedFor(t *testing.T) {
	server := &packetServer{aheadOf: []byte("run")}
	db := openWays(t, server, AllPipelining&^LookAhead)
	for range 2 {
		server.packets = nil
		tx, err := db.Begin()
		require.NoError(t, err)
		l := lockingRun{pipelined: pipelined{t, tx}}
		l.lockCurrent(true)
		l.lockRun("run")
		require.NoError(t, tx.Commit())
		require.Equal(t, []string{"begin; lock current_executions", "lock executions", "commit"}, server.packets)
	}
}
