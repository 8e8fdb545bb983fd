package conn

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/metrics/metricstest"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// packetServer answers the packets of pipelined transactions as MySQL and vtgate do: statement by statement, up to the
// first error. Like go-sql-driver, its connections return an error that comes after rows only with NextResultSet.
type packetServer struct {
	// answer returns the row count of a statement, as shorten names it, or its error. Nil: 1 row each.
	answer func(statement string) (int64, error)
	// breaks: the error of that statement also loses the connection.
	breaks func(statement string) bool
	// plainMySQL has no transaction_mode.
	plainMySQL bool
	// packets that the server got, without those that set up sessions.
	packets []string
	// args of each packet.
	args [][]driver.NamedValue
	// connections and closed count those opened and closed.
	connections, closed int
}

func (s *packetServer) Connect(context.Context) (driver.Conn, error) {
	s.connections++
	return &packetConn{server: s}, nil
}

func (s *packetServer) Driver() driver.Driver { return mysql.MySQLDriver{} }

// run returns the results of a packet up to its first error.
func (s *packetServer) run(c *packetConn, packet string, args []driver.NamedValue) (results []result, err error) {
	switch {
	case c.lost:
		return nil, driver.ErrBadConn
	case strings.HasPrefix(packet, "set transaction_mode"):
		if s.plainMySQL {
			return nil, &mysql.MySQLError{Number: errUnknownSystemVariable}
		}
		return []result{{}}, nil
	}
	statements := strings.Split(packet, "; ")
	for i := range statements {
		statements[i] = shorten(statements[i])
	}
	packet = strings.Join(statements, "; ")
	if packet != "select 1; select 1" { // that is part of setting up a session
		s.packets = append(s.packets, packet)
		s.args = append(s.args, copied(args))
	}
	affected := int64(-1)
	for _, statement := range statements {
		if statement == rowCount {
			results = append(results, result{rows: [][]driver.Value{{affected}}})
			continue
		}
		affected = 1
		if s.answer != nil {
			var err error
			if affected, err = s.answer(statement); err != nil {
				c.lost = s.breaks != nil && s.breaks(statement)
				return results, err
			}
		}
		if !strings.HasPrefix(statement, "select") && !strings.HasPrefix(statement, "lock") {
			results = append(results, result{affected: affected})
			continue
		}
		rows := [][]driver.Value{}
		for range affected {
			rows = append(rows, []driver.Value{int64(1)})
		}
		results = append(results, result{rows: rows})
	}
	return results, nil
}

// copied are values as a server gets them: whose memory is the caller's again.
func copied(args []driver.NamedValue) []driver.NamedValue {
	args = slices.Clone(args)
	for i := range args {
		if data, ok := args[i].Value.([]byte); ok {
			args[i].Value = bytes.Clone(data)
		}
	}
	return args
}

// shorten names a statement by its verb and table; a SELECT that locks is "lock".
func shorten(statement string) string {
	match := regexp.MustCompile(`(?s)^(\w+) /\*.*?\*/ .*?(?:into |from |^)?temporal\.(\w+)`).FindStringSubmatch(statement)
	if match == nil {
		return statement
	}
	verb := match[1]
	if verb == "select" && strings.Contains(statement, "for update") {
		verb = "lock"
	}
	return verb + " " + match[2]
}

// result of a statement: rows, or nil and a row count.
type result struct {
	rows     [][]driver.Value
	affected int64
}

// counts is a mysql.Result.
type counts []int64

func (c counts) LastInsertId() (int64, error) { return 0, nil }
func (c counts) RowsAffected() (int64, error) { return c[len(c)-1], nil }
func (c counts) AllRowsAffected() []int64     { return c }
func (c counts) AllLastInsertIds() []int64    { return make([]int64, len(c)) }

// resultSets are the rows of a packet's statements.
type resultSets struct {
	rest []result
	rows [][]driver.Value
	// err comes after the last result.
	err error
}

func (r *resultSets) Columns() []string { return []string{"column"} }
func (r *resultSets) Close() error      { return nil }

func (r *resultSets) Next(values []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(values, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

func (r *resultSets) HasNextResultSet() bool { return len(r.rest) > 0 || r.err != nil }

func (r *resultSets) NextResultSet() error {
	for len(r.rest) > 0 {
		next := r.rest[0]
		r.rest = r.rest[1:]
		if next.rows != nil {
			r.rows = next.rows
			return nil
		}
	}
	if r.err != nil {
		return r.err
	}
	return io.EOF
}

type packetConn struct {
	server *packetServer
	lost   bool
	closed bool
}

func (c *packetConn) ExecContext(ctx context.Context, packet string, args []driver.NamedValue) (driver.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	results, err := c.server.run(c, packet, args)
	if err != nil {
		return nil, err
	}
	var all counts
	for _, r := range results {
		all = append(all, r.affected)
	}
	return all, nil
}

func (c *packetConn) QueryContext(ctx context.Context, packet string, args []driver.NamedValue) (driver.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	results, err := c.server.run(c, packet, args)
	sets := &resultSets{rest: results, err: err}
	if err := sets.NextResultSet(); err != nil && err != io.EOF {
		return nil, err
	}
	return sets, nil
}

func (c *packetConn) Prepare(string) (driver.Stmt, error) {
	panic("nothing is prepared on the server")
}
func (c *packetConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}
func (c *packetConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	_, err := c.ExecContext(ctx, begin, nil)
	return plainTx{c}, err
}
func (c *packetConn) Close() error {
	if !c.closed {
		c.closed, c.lost = true, true
		c.server.closed++
	}
	return nil
}
func (c *packetConn) Ping(context.Context) error                     { return nil }
func (c *packetConn) ResetSession(context.Context) error             { return nil }
func (c *packetConn) IsValid() bool                                  { return !c.lost }
func (c *packetConn) CheckNamedValue(value *driver.NamedValue) error { return nil }

type plainTx struct{ conn *packetConn }

func (t plainTx) Commit() error {
	_, err := t.conn.ExecContext(context.Background(), "commit", nil)
	return err
}

func (t plainTx) Rollback() error {
	_, err := t.conn.ExecContext(context.Background(), "rollback", nil)
	return err
}

// singleServer does not take several statements at once.
type singleServer struct{ packetServer }

func (s *singleServer) Connect(context.Context) (driver.Conn, error) {
	s.answer = func(statement string) (int64, error) {
		if statement == "select 1" {
			return 0, &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax near '; select 1'"}
		}
		return 1, nil
	}
	return s.packetServer.Connect(context.Background())
}

// warnings remembers what is logged.
type warnings struct {
	log.Logger
	warned, errors []string // errors with their tags
}

func (w *warnings) Warn(message string, _ ...tag.Tag) { w.warned = append(w.warned, message) }
func (w *warnings) Error(message string, tags ...tag.Tag) {
	for _, tag := range tags {
		message += fmt.Sprintf(" %s=%v", tag.Key(), tag.Value())
	}
	w.errors = append(w.errors, message)
}

// openPipelined returns a pool of one connection to the server, whose DELETEs go in chunks of 10 rows.
func openPipelined(t *testing.T, server driver.Connector, logger log.Logger) (*sql.DB, *metricstest.Capture) {
	r, err := router.New(router.Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"}, MaxRows: 10,
	})
	require.NoError(t, err)
	handler := metricstest.NewCaptureHandler()
	capture := handler.StartCapture()
	db := sql.OpenDB(NewConnector(Config{
		Base: server, Router: r, RejectUnknown: true, Pipelining: true, Logger: logger, Metrics: handler,
	}))
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db, capture
}
