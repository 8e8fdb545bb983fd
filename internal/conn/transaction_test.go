package conn

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

const (
	lockExecution   = "SELECT next_event_id FROM executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ? FOR UPDATE"
	updateExecution = "UPDATE executions SET next_event_id = ? WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ?"
	insertExecution = "INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id) VALUES (?, ?, ?, ?)"
	insertTwoTasks  = "INSERT INTO transfer_tasks (shard_id, task_id) VALUES (?, ?), (?, ?)"
	upsertTimer     = "INSERT INTO timer_info_maps (shard_id, timer_id) VALUES (?, ?) ON DUPLICATE KEY UPDATE data = VALUES(data)"
	upsertNode      = "INSERT INTO history_node (shard_id, node_id, data) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE data = VALUES(data)"
	deleteTimers    = "DELETE FROM timer_info_maps WHERE shard_id = ? AND run_id = ?"
	deleteSignals   = "DELETE FROM signal_info_maps WHERE shard_id = ? AND run_id = ?"
	selectShard     = "SELECT range_id FROM shards WHERE shard_id = ?"
	upsertShard     = "INSERT INTO shards (shard_id, data) VALUES (?, ?) ON DUPLICATE KEY UPDATE data = VALUES(data)"
	updateShard     = "UPDATE shards SET range_id = ? WHERE shard_id = ?"
)

// pipelined is a transaction whose statements have to succeed.
type pipelined struct {
	*testing.T
	tx *sql.Tx
}

func (p pipelined) exec(query string, args ...any) sql.Result {
	p.Helper()
	result, err := p.tx.Exec(query, args...)
	require.NoError(p, err)
	return result
}

func (p pipelined) query(query string, args ...any) int {
	p.Helper()
	rows, err := p.tx.Query(query, args...)
	require.NoError(p, err)
	found := 0
	for rows.Next() {
		found++
	}
	require.NoError(p, rows.Err())
	return found
}

func (p pipelined) affected(result sql.Result) int64 {
	p.Helper()
	affected, err := result.RowsAffected()
	require.NoError(p, err)
	return affected
}

func TestPackets(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(p pipelined)
		want []string
	}{
		{"nothing is sent for a transaction without statements",
			func(p pipelined) {}, nil},
		{"writes wait for COMMIT",
			func(p pipelined) {
				p.exec(insertTwoTasks, 1, 1, 1, 2)
				p.exec(upsertTimer, 1, "a")
			},
			[]string{"begin; insert transfer_tasks; insert timer_info_maps; commit"}},
		{"writes travel with the next read, each with its row count",
			func(p pipelined) {
				p.exec(insertTwoTasks, 1, 1, 1, 2)
				p.exec(upsertTimer, 1, "a")
				p.exec(upsertTimer, 1, "b")
				require.Equal(p, 1, p.query(selectShard, 1))
			},
			[]string{"begin; insert transfer_tasks; select row_count(); insert timer_info_maps; select row_count(); insert timer_info_maps; select row_count(); select shards", "commit"}},
		{"a read sends BEGIN with it",
			func(p pipelined) { p.query(selectShard, 1) },
			[]string{"begin; select shards", "commit"}},
		{"an INSERT whose duplicate key is interpreted does not wait",
			func(p pipelined) { require.EqualValues(p, 1, p.affected(p.exec(insertExecution, 1, "n", "w", "r"))) },
			[]string{"begin; insert executions", "commit"}},
		{"and takes along what waits, before it",
			func(p pipelined) {
				p.exec(upsertTimer, 1, "a")
				require.EqualValues(p, 1, p.affected(p.exec(insertExecution, 1, "n", "w", "r")))
				p.exec(upsertTimer, 1, "b")
			},
			[]string{"begin; insert timer_info_maps; select row_count(); insert executions", "insert timer_info_maps; commit"}},
		{"an upsert that may not wait has the server's row count",
			func(p pipelined) {
				p.exec(upsertTimer, 1, "a")
				require.EqualValues(p, 2, p.affected(p.exec(upsertShard, 1, "data")))
			},
			[]string{"begin; insert timer_info_maps; insert shards", "commit"}},
		{"the row count of a plain INSERT is promised",
			func(p pipelined) { require.EqualValues(p, 2, p.affected(p.exec(insertTwoTasks, 1, 1, 1, 2))) },
			[]string{"begin; insert transfer_tasks; commit"}},
		{"the row count of an UPDATE of a locked row is promised",
			func(p pipelined) {
				p.query(lockExecution, 1, "n", "w", "r")
				require.EqualValues(p, 1, p.affected(p.exec(updateExecution, 7, 1, "n", "w", "r")))
			},
			[]string{"begin; lock executions", "update executions; commit"}},
		{"the row count of an UPDATE of another row is asked for",
			func(p pipelined) {
				p.query(lockExecution, 1, "n", "w", "r")
				require.EqualValues(p, 1, p.affected(p.exec(updateExecution, 7, 1, "n", "w", "other")))
			},
			[]string{"begin; lock executions", "update executions", "commit"}},
		{"the row count of a write without promise is asked for, once",
			func(p pipelined) {
				result := p.exec(upsertTimer, 1, "a")
				require.EqualValues(p, 1, p.affected(result))
				require.EqualValues(p, 1, p.affected(result))
			},
			[]string{"begin; insert timer_info_maps", "commit"}},
		{"the row count of a write without promise is known after the next read",
			func(p pipelined) {
				result := p.exec(upsertTimer, 1, "a")
				p.exec(upsertTimer, 1, "b")
				p.query(selectShard, 1)
				require.EqualValues(p, 1, p.affected(result))
			},
			[]string{"begin; insert timer_info_maps; select row_count(); insert timer_info_maps; select row_count(); select shards", "commit"}},
		{"an upsert of a node is promised 1 row",
			func(p pipelined) { require.EqualValues(p, 1, p.affected(p.exec(upsertNode, 1, 1, "data"))) },
			[]string{"begin; insert history_node; commit"}},
		{"a DELETE of few rows is complete before COMMIT",
			func(p pipelined) { p.exec(deleteTimers, 1, "r") },
			[]string{"begin; delete timer_info_maps", "commit"}},
		{"DELETEs of several tables travel together",
			func(p pipelined) {
				p.exec(deleteTimers, 1, "r")
				p.exec(deleteSignals, 1, "r")
			},
			[]string{"begin; delete timer_info_maps; delete signal_info_maps", "commit"}},
		{"a DELETE is complete before its table is written again, and other tables do not wait for that",
			func(p pipelined) {
				p.exec(insertTwoTasks, 1, 1, 1, 2)
				p.exec(deleteTimers, 1, "r")
				p.exec(upsertTimer, 1, "a")
				p.exec(deleteSignals, 1, "r")
				p.exec(upsertTimer, 1, "b")
			},
			[]string{
				"begin; insert transfer_tasks; delete timer_info_maps; delete signal_info_maps",
				"insert timer_info_maps; insert timer_info_maps; commit",
			}},
		{"of two DELETEs of a table the second comes after what was between them",
			func(p pipelined) {
				p.exec(deleteTimers, 1, "r")
				p.exec(upsertTimer, 1, "a")
				p.exec(deleteTimers, 1, "r")
				p.exec(upsertTimer, 1, "b")
			},
			[]string{
				"begin; delete timer_info_maps", "insert timer_info_maps; delete timer_info_maps", "insert timer_info_maps; commit",
			}},
		{"what waits behind a DELETE travels with the next read",
			func(p pipelined) {
				p.exec(deleteTimers, 1, "r")
				p.exec(upsertTimer, 1, "a")
				p.query(selectShard, 1)
			},
			[]string{"begin; delete timer_info_maps", "insert timer_info_maps; select row_count(); select shards", "commit"}},
		{"a DELETE is complete before a read",
			func(p pipelined) {
				p.exec(deleteTimers, 1, "r")
				p.query(selectShard, 1)
			},
			[]string{"begin; delete timer_info_maps", "select shards", "commit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &packetServer{answer: func(statement string) (int64, error) {
				if statement == "insert transfer_tasks" || statement == "insert shards" {
					return 2, nil
				}
				return 1, nil
			}}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			test.do(pipelined{t, tx})
			require.NoError(t, tx.Commit())
			require.Equal(t, test.want, server.packets)
		})
	}
}

func TestRollbackSendsNothingThatWaits(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	waits := p.exec(upsertTimer, 1, "a")
	require.NoError(t, tx.Rollback())
	require.Empty(t, server.packets, "the server knows of no transaction")
	_, err = waits.RowsAffected()
	require.ErrorContains(t, err, "rolled back")

	tx, err = db.Begin()
	require.NoError(t, err)
	p = pipelined{t, tx}
	p.query(selectShard, 1)
	p.exec(upsertTimer, 1, "a")
	require.NoError(t, tx.Rollback())
	require.Equal(t, []string{"begin; select shards", "rollback"}, server.packets)
}

var errDuplicate = &mysql.MySQLError{Number: 1062, Message: "Duplicate entry 'VT12001-no healthy tablet available' for key 'PRIMARY'"}

// failing answers a statement with an error, and others with 1 row.
func failing(statement string, err error) func(string) (int64, error) {
	return func(got string) (int64, error) {
		if got == statement {
			return 0, err
		}
		return 1, nil
	}
}

func TestTheDuplicateKeyThatIsInterpretedIsBare(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		server := &packetServer{answer: failing("insert executions", errDuplicate)}
		db, _ := openPipelined(t, server, log.NewNoopLogger())
		tx, err := db.Begin()
		require.NoError(t, err)
		if waiting {
			pipelined{t, tx}.exec(upsertTimer, 1, "a")
		}
		_, err = tx.Exec(insertExecution, 1, "n", "w", "r")
		require.Same(t, errDuplicate, err, "upstream compares the type without unwrapping")
		require.NoError(t, tx.Rollback())
		require.Equal(t, "rollback", server.packets[1])
		require.Len(t, server.packets, 2)
	}
}

func TestTheErrorOfAWaitingWriteIsNotThatOfTheStatementBehindIt(t *testing.T) {
	for _, test := range []struct {
		name string
		next func(tx *sql.Tx) error
	}{
		{"INSERT", func(tx *sql.Tx) error { _, err := tx.Exec(insertExecution, 1, "n", "w", "r"); return err }},
		{"SELECT", func(tx *sql.Tx) error { return tx.QueryRow(selectShard, 1).Scan(new(int)) }},
		{"a write that may not wait", func(tx *sql.Tx) error {
			_, err := tx.Exec("DELETE FROM shards WHERE shard_id = ?", 1)
			return err
		}},
		{"COMMIT", func(tx *sql.Tx) error { return tx.Commit() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &packetServer{answer: failing("insert timer_info_maps", errDuplicate)}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			p := pipelined{t, tx}
			p.exec(upsertNode, 1, 1, "data") // promised, so that its row count comes before the error
			p.exec(upsertTimer, 1, "a")
			err = test.next(tx)
			var classified *outcome.Error
			require.ErrorAs(t, err, &classified)
			require.Equal(t, outcome.Refused, classified.Class)
			require.ErrorContains(t, err, "Duplicate entry")
			require.ErrorContains(t, err, "timer_info_maps")
			var bare *mysql.MySQLError
			require.NotErrorAs(t, err, &bare)

			if test.name == "COMMIT" {
				require.Equal(t, "rollback", server.packets[len(server.packets)-1])
				return
			}
			sent := len(server.packets)
			_, err = tx.Exec(upsertTimer, 1, "b")
			require.ErrorAs(t, err, &classified, "the transaction has failed")
			require.Error(t, tx.Commit())
			require.Equal(t, []string{"rollback"}, server.packets[sent:])
		})
	}
}

func TestABrokenPromiseFailsTheTransaction(t *testing.T) {
	for _, test := range []struct {
		name string
		next func(tx *sql.Tx) error
	}{
		{"with the next read", func(tx *sql.Tx) error { return tx.QueryRow(selectShard, 1).Scan(new(int)) }},
		{"with the next INSERT", func(tx *sql.Tx) error { _, err := tx.Exec(insertExecution, 1, "n", "w", "r"); return err }},
		{"with COMMIT", func(tx *sql.Tx) error { return tx.Commit() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &packetServer{answer: func(statement string) (int64, error) {
				if statement == "update executions" {
					return 0, nil
				}
				return 1, nil
			}}
			logged := &warnings{Logger: log.NewNoopLogger()}
			db, capture := openPipelined(t, server, logged)
			tx, err := db.Begin()
			require.NoError(t, err)
			p := pipelined{t, tx}
			p.query(lockExecution, 1, "n", "w", "r")
			p.exec(updateExecution, 7, 1, "n", "w", "r")
			err = test.next(tx)
			var classified *outcome.Error
			require.ErrorAs(t, err, &classified)
			require.Equal(t, outcome.Defect, classified.Class)
			require.ErrorContains(t, err, "affected 0 rows instead of 1")
			require.Equal(t, test.name == "with COMMIT", classified.Committed, err)
			require.Equal(t, test.name == "with COMMIT", classified.MayBeApplied(), err)
			require.Len(t, logged.errors, 1)
			counted := capture.Snapshot()["vitess_errors"]
			require.Len(t, counted, 1)
			require.Equal(t, string(outcome.Defect), counted[0].Tags["class"])
			require.Contains(t, logged.errors[0], "affected 0 rows instead of 1")
			require.Contains(t, logged.errors[0], "routes=[temporal.executions single by shard_id")
			if test.name != "with COMMIT" {
				require.Error(t, tx.Commit())
				require.Equal(t, "rollback", server.packets[len(server.packets)-1])
			}
		})
	}
}

func TestAnUpsertThatUpdatesKeepsItsPromise(t *testing.T) {
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement == "insert history_node" {
			return 2, nil
		}
		return 1, nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	result := pipelined{t, tx}.exec(upsertNode, 1, 1, "data")
	require.NoError(t, tx.Commit())
	require.EqualValues(t, 2, pipelined{t, tx}.affected(result), "the server's count, once it is known")
}

func TestADeleteInChunksInATransaction(t *testing.T) {
	rows := int64(24)
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement != "delete timer_info_maps" {
			return 1, nil
		}
		chunk := min(rows, 10)
		rows -= chunk
		return chunk, nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	deleted := p.exec(deleteTimers, 1, "r")
	p.exec(upsertTimer, 1, "a")
	require.NoError(t, tx.Commit())
	require.EqualValues(t, 24, p.affected(deleted))
	require.Equal(t, []string{
		"begin; delete timer_info_maps", "delete timer_info_maps", "delete timer_info_maps", "insert timer_info_maps; commit",
	}, server.packets)
}

func TestADeleteInChunksThatFailsHalfwayIsNotCommitted(t *testing.T) {
	chunks := 0
	server := &packetServer{answer: func(statement string) (int64, error) {
		if statement != "delete timer_info_maps" {
			return 1, nil
		}
		if chunks++; chunks == 2 {
			return 0, &mysql.MySQLError{Number: 1205, Message: "Lock wait timeout exceeded; try restarting transaction"}
		}
		return 10, nil
	}}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.exec(deleteTimers, 1, "r")
	require.ErrorContains(t, tx.Commit(), "Lock wait timeout")
	require.Equal(t, []string{"begin; delete timer_info_maps", "delete timer_info_maps", "rollback"}, server.packets)
}

func TestPacketsAreBounded(t *testing.T) {
	server := &packetServer{}
	db, capture := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	third := strings.Repeat("x", maxPacket/3)
	for node := range 4 {
		p.exec(upsertNode, 1, node, third)
	}
	p.exec(upsertNode, 1, 5, strings.Repeat("x", maxPacket+1))
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{
		"begin; insert history_node; insert history_node",
		"insert history_node; insert history_node",
		"insert history_node; commit",
	}, server.packets)
	var causes []string
	for _, packet := range capture.Snapshot()["vitess_packets"] {
		causes = append(causes, packet.Tags["cause"])
	}
	require.Equal(t, []string{causeSize, causeSize, causeCommit}, causes)
}

func TestWithoutMultiStatementsTransactionsGoStatementByStatement(t *testing.T) {
	server := &packetServer{takesOne: true}
	logged := &warnings{Logger: log.NewNoopLogger()}
	db, _ := openPipelined(t, server, logged)
	db.SetMaxIdleConns(-1) // each transaction on a connection of its own
	for range 2 {
		tx, err := db.Begin()
		require.NoError(t, err)
		p := pipelined{t, tx}
		require.EqualValues(t, 1, p.affected(p.exec(upsertTimer, 1, "a")))
		p.exec(updateShard, 1, 1)
		require.NoError(t, tx.Commit())
	}
	want := []string{"begin", "insert timer_info_maps", "update shards", "commit"}
	require.Equal(t, slices.Concat(want, want), server.packets)
	require.Len(t, logged.warned, 1)
}

func TestTheErrorOfAReadBehindWhatWaitedIsItsOwn(t *testing.T) {
	refused := &mysql.MySQLError{Number: 1146, Message: "Table 'shards' doesn't exist"}
	server := &packetServer{answer: failing("select shards", refused)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.exec(upsertTimer, 1, "a")
	require.Same(t, refused, tx.QueryRow(selectShard, 1).Scan(new(int)))
	require.NoError(t, tx.Rollback())

	// Bare, upstream would replace the pool because of the error of one Vitess shard.
	server.answer = failing("select shards", &mysql.MySQLError{Number: 1836, Message: "Running in read-only mode"})
	tx, err = db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.exec(upsertTimer, 1, "a")
	var classified *outcome.Error
	require.ErrorAs(t, tx.QueryRow(selectShard, 1).Scan(new(int)), &classified)
	require.Equal(t, outcome.NotExecuted, classified.Class)
}

func TestATransactionThatTheServerRolledBackIsNotContinued(t *testing.T) {
	server := &packetServer{answer: failing("select shards", &mysql.MySQLError{Number: 1213, Message: "Deadlock found"})}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	p.query(lockExecution, 1, "n", "w", "r")
	require.Error(t, tx.QueryRow(selectShard, 1).Scan(new(int)))
	_, err = tx.Exec(updateExecution, 7, 1, "n", "w", "r")
	require.ErrorContains(t, err, "Deadlock", "the statement would be committed by itself")
	require.ErrorContains(t, tx.Commit(), "Deadlock")
	require.Equal(t, []string{"begin; lock executions", "select shards", "rollback"}, server.packets)
}

func TestACallerThatEndsDuringCommitIsTold(t *testing.T) {
	server := &packetServer{
		answer: failing("commit", context.Canceled), // what go-sql-driver says after it has closed the connection
		breaks: func(string) bool { return true },
	}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	for _, waiting := range []bool{false, true} {
		tx, err := db.Begin()
		require.NoError(t, err)
		p := pipelined{t, tx}
		p.query(selectShard, 1)
		if waiting {
			p.exec(upsertTimer, 1, "a")
		}
		var classified *outcome.Error
		err = tx.Commit()
		require.ErrorAs(t, err, &classified)
		require.Equal(t, outcome.Ambiguous, classified.Class)
		require.False(t, errors.Is(err, context.Canceled))
	}
}

func TestValuesDoNotMoveToTheNextStatement(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	p.exec(upsertTimer, 1, "a")
	for _, args := range [][]any{{2}, {2, "b", "c"}, {}} {
		_, err = tx.Exec(upsertTimer, args...)
		require.ErrorContains(t, err, "have as many as placeholders")
	}
	p.exec(upsertNode, 3, 4, []byte("d"))
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"begin; insert timer_info_maps; insert history_node; commit"}, server.packets)
	var values []driver.Value
	for _, arg := range server.args[0] {
		values = append(values, arg.Value)
	}
	require.Equal(t, []driver.Value{int64(1), "a", int64(3), int64(4), []byte("d")}, values)
}

// A caller may reuse the bytes that it has given for a statement, whether they are few or many.
func TestWaitingWritesKeepTheirValues(t *testing.T) {
	server := &packetServer{}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	for range 2 { // the second transaction uses the memory of the first
		tx, err := db.Begin()
		require.NoError(t, err)
		p := pipelined{t, tx}
		var want []driver.Value
		sizes := []int{0, 1, 100, 2 * scratchBytes}
		sizes = append(sizes, slices.Repeat([]int{scratchBytes / 8, scratchBytes / 9}, 10)...)
		for i, size := range sizes {
			data := bytes.Repeat([]byte{byte('a' + i)}, size)
			want = append(want, bytes.Clone(data))
			p.exec(upsertNode, 1, i, data)
			clear(data)
		}
		p.exec(upsertNode, 1, len(sizes), []byte(nil))
		want = append(want, []byte(nil))
		require.NoError(t, tx.Commit())
		values := server.args[len(server.args)-1]
		require.Len(t, values, 3*len(want))
		for i, value := range values {
			require.Equal(t, i+1, value.Ordinal)
		}
		for i := range want {
			require.True(t, reflect.DeepEqual(want[i], values[3*i+2].Value), "value %d", i) // too long to print
		}
	}
}

// What a transaction has lost it must not be continued without.
func TestATransactionWhoseRowsFailIsNotContinued(t *testing.T) {
	for name, query := range map[string]string{
		"in a result":   "SELECT data FROM shards WHERE shard_id = ?",
		"between pages": selectTimers,
	} {
		t.Run(name, func(t *testing.T) {
			pages := 0
			server := &packetServer{answer: func(statement string) (int64, error) {
				if statement != "select timer_info_maps" {
					return 1, nil
				}
				if pages++; pages == 2 {
					return 0, mysql.ErrInvalidConn
				}
				return 10, nil // as many as are read at once
			}, breaks: func(string) bool { return true }, breaksRows: name == "in a result"}
			db, _ := openPipelined(t, server, log.NewNoopLogger())
			tx, err := db.Begin()
			require.NoError(t, err)
			args := []any{1, "n", "w", "r"}
			if name == "in a result" {
				args = args[:1]
			}
			rows, err := tx.Query(query, args...)
			require.NoError(t, err)
			for rows.Next() {
			}
			require.Equal(t, outcome.NotCommitted, outcome.ClassOf(rows.Err()))
			sent := len(server.packets)
			_, err = tx.Exec(updateShard, 1, 1)
			require.Error(t, err, "it would be committed alone")
			require.Error(t, tx.Commit())
			require.Len(t, server.packets, sent)
		})
	}
}

func TestACommitThatIsRefusedIsRolledBack(t *testing.T) {
	server := &packetServer{answer: failing("commit", errDuplicate)}
	db, _ := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.query(selectShard, 1)
	require.Error(t, tx.Commit())
	require.Equal(t, []string{"begin; select shards", "commit", "rollback"}, server.packets)
}
