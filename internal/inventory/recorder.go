package inventory

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/persistence/serialization"
	"vitess.io/vitess/go/vt/sqlparser"
)

// recorder stands where the MySQL driver stands in a server: a [driver.Connector] whose connections answer every
// statement at once, and remember it. Tables are empty to reads but for contents, and writes affect as many rows as they
// name. The connections implement what those of go-sql-driver/mysql do, so that the plugin can wrap them.
type recorder struct {
	parser *sqlparser.Parser
	// contents is a table's only row by column. It is not written to.
	contents map[string]map[string]driver.Value

	mu           sync.Mutex
	statements   []Statement
	transactions int
}

// newRecorder returns a recorder of a cluster whose server has started before: it has metadata, and more history shards
// than the one that statements are driven for.
func newRecorder() (*recorder, error) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return nil, err
	}
	metadata, err := serialization.NewSerializer().SerializeClusterMetadata(&persistencespb.ClusterMetadata{HistoryShardCount: historyShardID + 1})
	if err != nil {
		return nil, err
	}
	return &recorder{parser: parser, contents: map[string]map[string]driver.Value{
		"cluster_metadata_info": {"data": metadata.Data, "data_encoding": metadata.EncodingType.String(), "version": int64(1)},
	}}, nil
}

// Statement is one statement as it would go over the wire.
type Statement struct {
	// SQL has ? placeholders for Args.
	SQL  string
	Args []driver.Value
	// Transaction numbers the transaction that the statement ran in, 0 for none.
	Transaction int
	// Callers are the lines of [UpstreamPackage] on the stack, as [CallSite] names them.
	Callers []string
}

// ReadsOrWrites reports whether the statement reads or writes rows: DDL goes to all Vitess shards, as it must.
func (s Statement) ReadsOrWrites() bool {
	switch sqlparser.Preview(s.SQL) {
	case sqlparser.StmtSelect, sqlparser.StmtInsert, sqlparser.StmtUpdate, sqlparser.StmtDelete, sqlparser.StmtReplace:
		return true
	default:
		return false
	}
}

// UpstreamPackage is the plugin of upstream whose statements these are.
const UpstreamPackage = "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"

// CallSite names a line of upstream's source.
func CallSite(file string, line int) string { return fmt.Sprintf("%s:%d", filepath.Base(file), line) }

// take returns what was recorded since the last call.
func (r *recorder) take() []Statement {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.statements
	r.statements = nil
	return taken
}

func (r *recorder) Connect(context.Context) (driver.Conn, error) {
	return &recordingConn{recorder: r}, nil
}

func (r *recorder) Driver() driver.Driver { return recordingDriver{} }

// recordingDriver exists because database/sql asks a connector for its driver; nothing opens a connection by DSN.
type recordingDriver struct{}

func (recordingDriver) Open(string) (driver.Conn, error) { return nil, driver.ErrSkip }

type recordingConn struct {
	recorder    *recorder
	transaction int
}

var (
	_ driver.ExecerContext     = (*recordingConn)(nil)
	_ driver.QueryerContext    = (*recordingConn)(nil)
	_ driver.ConnBeginTx       = (*recordingConn)(nil)
	_ driver.Pinger            = (*recordingConn)(nil)
	_ driver.SessionResetter   = (*recordingConn)(nil)
	_ driver.Validator         = (*recordingConn)(nil)
	_ driver.NamedValueChecker = (*recordingConn)(nil)
)

func (c *recordingConn) record(query string, args []driver.NamedValue) {
	if sqlparser.Preview(query) == sqlparser.StmtSet || strings.HasPrefix(query, "select @@") {
		return // sets up the session
	}
	values := make([]driver.Value, len(args))
	for i, arg := range args {
		values[i] = arg.Value
	}
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	c.recorder.statements = append(c.recorder.statements, Statement{
		SQL:         query,
		Args:        values,
		Transaction: c.transaction,
		Callers:     upstreamCallers(),
	})
}

// upstreamCallers names the lines of upstream's mysql package that led here.
func upstreamCallers() []string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var callers []string
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, UpstreamPackage+".") {
			callers = append(callers, CallSite(frame.File, frame.Line))
		}
		if !more {
			return callers
		}
	}
}

func (c *recordingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	switch sqlparser.Preview(query) {
	case sqlparser.StmtBegin: // as the plugin begins and ends transactions
		_, err := c.BeginTx(ctx, driver.TxOptions{})
		return driver.RowsAffected(0), err
	case sqlparser.StmtCommit, sqlparser.StmtRollback:
		return driver.RowsAffected(0), c.Commit()
	}
	c.record(query, args)
	return driver.RowsAffected(c.recorder.affectedRows(query)), nil
}

func (c *recordingConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.record(query, args)
	return c.recorder.answer(query), nil
}

// Prepare does not happen: database/sql prepares only for those who ask for it.
func (c *recordingConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }

func (c *recordingConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	c.recorder.transactions++
	c.transaction = c.recorder.transactions
	return c, nil
}

func (c *recordingConn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *recordingConn) Commit() error   { c.transaction = 0; return nil }
func (c *recordingConn) Rollback() error { c.transaction = 0; return nil }

func (c *recordingConn) Close() error                       { return nil }
func (c *recordingConn) Ping(context.Context) error         { return nil }
func (c *recordingConn) ResetSession(context.Context) error { return nil }
func (c *recordingConn) IsValid() bool                      { return true }

func (c *recordingConn) CheckNamedValue(value *driver.NamedValue) (err error) {
	value.Value, err = driver.DefaultParameterConverter.ConvertValue(value.Value)
	return err
}

// recordedRows is the answer to a read.
type recordedRows struct {
	columns []string
	rows    [][]driver.Value
}

// answer is what a server says about the recorder's contents. An aggregate without GROUP BY has a row whatever the
// table holds, and there is one table, so that whoever asks for the tables goes on.
func (r *recorder) answer(query string) *recordedRows {
	parsed, err := r.parser.Parse(query)
	if err != nil {
		return &recordedRows{}
	}
	if _, ok := parsed.(*sqlparser.Show); ok {
		return &recordedRows{columns: []string{"table"}, rows: [][]driver.Value{{"shards"}}}
	}
	selected, ok := parsed.(*sqlparser.Select)
	if !ok {
		return &recordedRows{}
	}
	if selected.GroupBy == nil && selected.GetColumnCount() == 1 && sqlparser.ContainsAggregation(selected.SelectExprs) {
		var value driver.Value // MAX of nothing is NULL
		if strings.HasPrefix(sqlparser.String(selected.SelectExprs), "count(") {
			value = int64(0)
		}
		return &recordedRows{columns: []string{"aggregate"}, rows: [][]driver.Value{{value}}}
	}
	var content map[string]driver.Value
	if table, ok := selected.From[0].(*sqlparser.AliasedTableExpr); ok {
		name, _ := table.TableName()
		content = r.contents[name.Name.String()]
	}
	rows := &recordedRows{}
	var row []driver.Value
	for _, expr := range selected.GetColumns() {
		column := sqlparser.String(expr)
		if aliased, ok := expr.(*sqlparser.AliasedExpr); ok {
			column = aliased.ColumnName()
		}
		rows.columns = append(rows.columns, column)
		row = append(row, content[column])
	}
	if content != nil {
		rows.rows = [][]driver.Value{row}
	}
	return rows
}

func (r *recordedRows) Columns() []string { return r.columns }
func (r *recordedRows) Close() error      { return nil }

func (r *recordedRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

// affectedRows is what a server reports for a plain INSERT of new rows; every other write affects one row.
func (r *recorder) affectedRows(query string) int64 {
	parsed, err := r.parser.Parse(query)
	if err != nil {
		return 1
	}
	if insert, ok := parsed.(*sqlparser.Insert); ok {
		if rows, ok := insert.Rows.(sqlparser.Values); ok {
			return int64(len(rows))
		}
	}
	return 1
}
