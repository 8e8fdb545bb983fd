package conn

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics/metricstest"

	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// scriptedServer stands for a server whose answers a test chooses; what a real one answers is shown in the folder
// integration.
type scriptedServer struct {
	// answer returns what the server says to the statement with that number, and may fail.
	exec  func(call int, query string, args []driver.NamedValue) (driver.Result, error)
	query func(call int, query string, args []driver.NamedValue) (driver.Rows, error)
	calls []string
}

func (s *scriptedServer) Connect(context.Context) (driver.Conn, error) {
	return &scriptedConn{server: s}, nil
}
func (s *scriptedServer) Driver() driver.Driver { return mysql.MySQLDriver{} }

// setUp is how many statements set a session up.
const setUp = 2

// statements returns what the server got after the session was set up.
func (s *scriptedServer) statements() []string { return s.calls[setUp:] }

type scriptedConn struct {
	server *scriptedServer
	closed bool
}

func (c *scriptedConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.server.calls = append(c.server.calls, query)
	if c.server.exec == nil {
		return driver.RowsAffected(0), nil
	}
	return c.server.exec(len(c.server.calls)-1, query, args)
}

func (c *scriptedConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.server.calls = append(c.server.calls, query)
	return c.server.query(len(c.server.calls)-1, query, args)
}

func (c *scriptedConn) Prepare(string) (driver.Stmt, error) {
	panic("nothing is prepared on the server")
}
func (c *scriptedConn) Begin() (driver.Tx, error)          { panic("BEGIN is a statement") }
func (c *scriptedConn) Close() error                       { c.closed = true; return nil }
func (c *scriptedConn) Ping(context.Context) error         { return nil }
func (c *scriptedConn) ResetSession(context.Context) error { return nil }
func (c *scriptedConn) IsValid() bool                      { return !c.closed }

func open(t *testing.T, server *scriptedServer, reject bool, maxRows int) (*sql.DB, *metricstest.Capture) {
	r, err := router.New(router.Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"}, MaxRows: maxRows,
	})
	require.NoError(t, err)
	handler := metricstest.NewCaptureHandler()
	capture := handler.StartCapture()
	db := openConnector(t, Config{Base: server, Router: r, RejectUnknown: reject, Logger: log.NewNoopLogger(), Metrics: handler})
	return db, capture
}

const deleteRange = "DELETE FROM transfer_tasks WHERE shard_id = ? AND task_id < ?"

func TestADeleteInChunksReturnsTheRowsOfAll(t *testing.T) {
	for _, test := range []struct {
		name   string
		chunks []int64
		total  int64
	}{
		{"fewer rows than a chunk", []int64{3}, 3},
		{"no rows", []int64{0}, 0},
		{"a full chunk, then nothing", []int64{10, 0}, 10},
		{"several", []int64{10, 10, 4}, 24},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &scriptedServer{exec: func(call int, _ string, _ []driver.NamedValue) (driver.Result, error) {
				if call < setUp {
					return driver.RowsAffected(0), nil
				}
				return driver.RowsAffected(test.chunks[call-setUp]), nil
			}}
			db, _ := open(t, server, false, 10)
			result, err := db.Exec(deleteRange, 1, 2)
			require.NoError(t, err)
			affected, err := result.RowsAffected()
			require.NoError(t, err)
			require.Equal(t, test.total, affected)
			require.Len(t, server.statements(), len(test.chunks))
		})
	}
}

func TestADeleteGoesOnWhereAStaleConnectionWasReplaced(t *testing.T) {
	server := &scriptedServer{exec: func(call int, _ string, _ []driver.NamedValue) (driver.Result, error) {
		switch call {
		case setUp: // the first chunk
			return driver.RowsAffected(10), nil
		case setUp + 1:
			return nil, driver.ErrBadConn
		case 2*setUp + 2: // after the new session was set up
			return driver.RowsAffected(4), nil
		default:
			return driver.RowsAffected(0), nil
		}
	}}
	db, _ := open(t, server, false, 10)
	result, err := db.Exec(deleteRange, 1, 2)
	require.NoError(t, err)
	affected, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 14, affected)
	require.Len(t, server.calls, 2*setUp+3)
}

// keys is a table with one column, read as the server would.
type keys struct {
	all []string
	// reused is overwritten by each call of Next, as the buffer of a real connection is.
	reused []byte
	limit  int
	fail   error
}

func (k *keys) Columns() []string { return []string{"data", "timer_id"} }
func (k *keys) Close() error      { return nil }
func (k *keys) Next(values []driver.Value) error {
	copy(k.reused, strings.Repeat("~", len(k.reused)))
	if len(k.all) == 0 || k.limit == 0 {
		return cmp.Or(k.fail, io.EOF)
	}
	k.reused = append(k.reused[:0], k.all[0]...)
	values[0], values[1] = k.reused, k.reused
	k.all, k.limit = k.all[1:], k.limit-1
	return nil
}

const selectTimers = "SELECT data FROM timer_info_maps WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ?"

func TestRowsInPagesAreAllOfThem(t *testing.T) {
	for _, rows := range []int{0, 1, 3, 4, 8, 9} {
		var all []string
		for i := range rows {
			all = append(all, string(rune('a'+i)))
		}
		server := &scriptedServer{query: func(_ int, _ string, args []driver.NamedValue) (driver.Rows, error) {
			rest := all
			if len(args) == 5 { // the key comes last, as text
				rest = all[slices.Index(all, args[4].Value.(string))+1:]
			}
			return &keys{all: rest, limit: 4}, nil
		}}
		db, _ := open(t, server, false, 4)
		result, err := db.Query(selectTimers, 1, "n", "w", "r")
		require.NoError(t, err)
		columns, err := result.Columns()
		require.NoError(t, err)
		require.Equal(t, []string{"data"}, columns, "the key column is not the caller's")
		var got []string
		for result.Next() {
			var value string
			require.NoError(t, result.Scan(&value))
			got = append(got, value)
		}
		require.NoError(t, result.Err())
		require.Equal(t, all, got)
		require.Len(t, server.statements(), rows/4+1)
	}
}

func TestAPageThatFailsIsAnError(t *testing.T) {
	server := &scriptedServer{query: func(call int, _ string, _ []driver.NamedValue) (driver.Rows, error) {
		if call > setUp {
			return nil, &mysql.MySQLError{Number: 1146, Message: "no such table"}
		}
		return &keys{all: []string{"a", "b"}, limit: 2}, nil
	}}
	db, _ := open(t, server, false, 2)
	rows, err := db.Query(selectTimers, 1, "n", "w", "r")
	require.NoError(t, err)
	require.True(t, rows.Next())
	require.True(t, rows.Next())
	require.False(t, rows.Next())
	require.ErrorContains(t, rows.Err(), "no such table")
	require.NoError(t, rows.Close())
}

func TestUnknownStatements(t *testing.T) {
	const query = "DELETE FROM shards"
	t.Run("are sent and counted", func(t *testing.T) {
		server := &scriptedServer{}
		db, capture := open(t, server, false, 10)
		_, err := db.Exec(query)
		require.NoError(t, err)
		require.Equal(t, []string{query}, server.statements())
		counted := capture.Snapshot()["vitess_statements"]
		require.Len(t, counted, 1)
		require.Equal(t, "unknown", counted[0].Tags["route"])
	})
	t.Run("are refused where the configuration says so", func(t *testing.T) {
		server := &scriptedServer{}
		db, _ := open(t, server, true, 10)
		_, err := db.Exec(query)
		require.ErrorContains(t, err, "cannot be routed to one Vitess shard: it does not say which shard_id")
		_, err = db.Query(query)
		require.ErrorContains(t, err, "cannot be routed")
		require.Empty(t, server.statements())
	})
}

func TestPreparedStatementsAreTextToTheServer(t *testing.T) {
	server := &scriptedServer{query: func(int, string, []driver.NamedValue) (driver.Rows, error) {
		return noRows{}, nil
	}}
	db, _ := open(t, server, false, 10)
	prepared, err := db.Prepare("SELECT data FROM shards WHERE shard_id = ?")
	require.NoError(t, err)
	require.Empty(t, server.statements(), "preparing sends nothing")
	rows, err := prepared.Query(1)
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	_, err = prepared.Exec(1)
	require.NoError(t, err)
	require.NoError(t, prepared.Close())
	require.Len(t, server.statements(), 2)
}

func TestLiteralsWithQuestionMarksTakeTheirPlace(t *testing.T) {
	var got []any
	server := &scriptedServer{query: func(_ int, _ string, args []driver.NamedValue) (driver.Rows, error) {
		for _, arg := range args {
			got = append(got, arg.Value)
		}
		return noRows{}, nil
	}}
	db, _ := open(t, server, false, 10)
	rows, err := db.Query("SELECT data FROM shards WHERE data_encoding = 'a?b' AND shard_id = ?", int64(7))
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	require.Equal(t, []any{"a?b", int64(7)}, got)
}

func TestValuesThatDoNotFitAreExplained(t *testing.T) {
	server := &scriptedServer{query: func(int, string, []driver.NamedValue) (driver.Rows, error) { return nil, driver.ErrSkip }}
	db, _ := open(t, server, false, 10)
	_, err := db.Query("SELECT data FROM shards WHERE shard_id = ?", 1)
	require.ErrorContains(t, err, "maxAllowedPacket")
}
