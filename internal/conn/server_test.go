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
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/metrics/metricstest"

	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// packetServer answers the packets of pipelined transactions as MySQL and vtgate do: statement by statement, up to the
// first error. Like go-sql-driver, its connections return an error that comes after rows only with NextResultSet.
type packetServer struct {
	// answer returns the row count of a statement, as shorten names it, or its error. Nil: 1 row each.
	answer func(statement string) (int64, error)
	// breaks: the error of that statement also loses the connection.
	breaks func(statement string) bool
	// breaksRows: the connection is lost behind the first row of each result.
	breaksRows bool
	// plainMySQL has no transaction_mode.
	plainMySQL bool
	// takesOne: it does not take several statements at once.
	takesOne bool
	// rangeID is what locks and reads of shards return, and what a check is to be equal to; nil for 1. checksNothing: it says so
	// to any check.
	rangeID       *int64
	checksNothing bool
	// aheadOf is the run of the row that a look-ahead finds, nil if it finds none.
	aheadOf []byte
	// packets that the server got, without those that set up sessions.
	packets []string
	// args of each packet.
	args [][]driver.NamedValue
	// connections and closed count those opened and closed.
	connections int
	closed      atomic.Int32
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
	case strings.HasPrefix(packet, "set transaction_"):
		if s.plainMySQL {
			return nil, &mysql.MySQLError{Number: 1193}
		}
		return []result{{}}, nil
	case strings.HasPrefix(packet, "create temporary table"):
		return []result{{affected: 1}, {affected: 1}, {}}, nil
	case strings.HasPrefix(packet, "select 1; select") && s.takesOne:
		return nil, &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax near '; select'"}
	case strings.HasPrefix(packet, "select 1; select"):
		one := result{rows: [][]driver.Value{{int64(1)}}}
		return []result{one, one}, nil
	}
	statements := strings.Split(packet, "; ")
	placeholders := 0
	checked := map[int]driver.NamedValue{}
	columns := map[int]int{}
	for i := range statements {
		if strings.Contains(statements[i], "pow(") {
			checked[i] = args[placeholders]
		}
		if list, _, ok := strings.Cut(statements[i], " left join "); ok {
			list, _, _ = strings.Cut(list, " from ")
			columns[i] = strings.Count(list, ",") + 1
		}
		placeholders += strings.Count(statements[i], "?")
		statements[i] = shorten(statements[i])
	}
	packet = strings.Join(statements, "; ")
	s.packets = append(s.packets, packet)
	s.args = append(s.args, copied(args))
	affected := int64(-1)
	for i, statement := range statements {
		if tables, ok := strings.CutPrefix(statement, "union "); ok {
			union, err := s.union(statement, strings.Fields(tables))
			if err != nil {
				return results, err
			}
			results = append(results, union)
			continue
		}
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
		if value, ok := checked[i]; ok && !s.checksNothing && (affected == 0 || value.Value != s.currentRange()) {
			return results, errChecked
		}
		if !slices.Contains([]string{"select", "lock", "check"}, strings.Fields(statement)[0]) {
			results = append(results, result{affected: affected})
			continue
		}
		rows := [][]driver.Value{}
		for range affected {
			row := slices.Repeat([]driver.Value{s.currentRange()}, max(columns[i], 1))
			if columns[i] > 0 && s.aheadOf != nil {
				row[len(row)-1] = s.aheadOf
			} else if columns[i] > 0 {
				row[len(row)-1] = nil
			}
			rows = append(rows, row)
		}
		results = append(results, result{rows: rows, columns: columns[i]})
	}
	return results, nil
}

// errChecked is MySQL's answer to a check that does not hold.
var errChecked = &mysql.MySQLError{Number: 1690, Message: "DOUBLE value is out of range in 'pow(1e300,1e300)'"}

// currentRange returns the range ID of the rows of shards.
func (s *packetServer) currentRange() int64 {
	if s.rangeID == nil {
		return 1
	}
	return *s.rangeID
}

// union returns the rows of SELECTs of some tables, of one column each, behind the number of the SELECT.
func (s *packetServer) union(statement string, tables []string) (result, error) {
	union := result{rows: [][]driver.Value{}, columns: 2}
	if s.answer == nil {
		return union, nil
	}
	if _, err := s.answer(statement); err != nil {
		return union, err
	}
	for part, table := range tables {
		count, err := s.answer("select " + table)
		if err != nil {
			return union, err
		}
		for range count {
			union.rows = append(union.rows, []driver.Value{int64(part), int64(1)})
		}
	}
	return union, nil
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

// shorten names a statement by its verb and table; a SELECT that locks is "lock", one that checks an
// owner is "check", and a UNION has several tables.
func shorten(statement string) string {
	if strings.Contains(statement, " union all ") {
		return "union " + strings.Join(slices.Collect(func(yield func(string) bool) {
			for _, match := range regexp.MustCompile(`from temporal\.(\w+)`).FindAllStringSubmatch(statement, -1) {
				yield(match[1])
			}
		}), " ")
	}
	match := regexp.MustCompile(`(?s)^(\w+) /\*.*?\*/ .*?(?:into |from |^)?temporal\.(\w+)`).FindStringSubmatch(statement)
	if match == nil {
		return statement
	}
	verb := match[1]
	switch {
	case strings.Contains(statement, "pow("):
		verb = "check"
	case verb == "select" && (strings.Contains(statement, "for update") || strings.Contains(statement, "for share") || strings.Contains(statement, "share mode")):
		verb = "lock"
	}
	if strings.Contains(statement, " left join ") {
		return verb + " " + match[2] + " and run"
	}
	return verb + " " + match[2]
}

// result of a statement: rows, or nil and a row count.
type result struct {
	rows     [][]driver.Value
	affected int64
	// columns of the rows, 0 for one.
	columns int
}

// counts is a mysql.Result.
type counts []int64

func (c counts) LastInsertId() (int64, error) { return 0, nil }
func (c counts) RowsAffected() (int64, error) { return c[len(c)-1], nil }
func (c counts) AllRowsAffected() []int64     { return c }
func (c counts) AllLastInsertIds() []int64    { return make([]int64, len(c)) }

// resultSets are the rows of a packet's statements.
type resultSets struct {
	rest    []result
	rows    [][]driver.Value
	columns int
	// err comes after the last result.
	err error
	// lose is called behind the rows, if it is set.
	lose func() error
}

func (r *resultSets) Columns() []string { return slices.Repeat([]string{"column"}, max(r.columns, 1)) }
func (r *resultSets) Close() error      { return nil }

func (r *resultSets) Next(values []driver.Value) error {
	if len(r.rows) == 0 && r.lose != nil {
		return r.lose()
	}
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
			r.rows, r.columns = next.rows, next.columns
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
	if c.server.breaksRows && !strings.HasPrefix(packet, "select 1;") {
		sets.lose = func() error { c.lost = true; return mysql.ErrInvalidConn }
	}
	if err := sets.NextResultSet(); err != nil && err != io.EOF {
		return nil, err
	}
	return sets, nil
}

func (c *packetConn) Prepare(string) (driver.Stmt, error) {
	panic("nothing is prepared on the server")
}
func (c *packetConn) Begin() (driver.Tx, error) { panic("BEGIN is a statement") }
func (c *packetConn) Close() error {
	if !c.closed {
		c.closed, c.lost = true, true
		c.server.closed.Add(1)
	}
	return nil
}
func (c *packetConn) Ping(context.Context) error         { return nil }
func (c *packetConn) ResetSession(context.Context) error { return nil }
func (c *packetConn) IsValid() bool                      { return !c.lost }

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
	return openConnector(t, Config{
		Base: server, Router: r, RejectUnknown: true, Pipelining: AllPipelining, Logger: logger, Metrics: handler,
	}), capture
}

// openPlain returns a pool of one connection to the server, with pipelining off.
func openPlain(t *testing.T, server driver.Connector) *sql.DB { return openWays(t, server, 0) }

// openWays returns a pool of one connection to the server, with some ways of pipelining.
func openWays(t *testing.T, server driver.Connector, ways Pipelining) *sql.DB {
	r, err := router.New(router.Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"}, MaxRows: 10,
	})
	require.NoError(t, err)
	return openConnector(t, Config{Base: server, Router: r, Pipelining: ways, Logger: log.NewNoopLogger(), Metrics: metrics.NoopMetricsHandler})
}

// openConnector returns a DB over a pool of one session, which is open.
func openConnector(t *testing.T, cfg Config) *sql.DB {
	cfg.MaxIdle = 1
	connector, err := NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_ = db.Ping()
	return db
}
