package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// baseConn is what go-sql-driver's connections implement.
type baseConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

// conn plans the statements of a connection. Like every driver.Conn it is used by one goroutine at a time.
type conn struct {
	// baseConn is replaced where a connection turns out to be stale, see send.go.
	baseConn
	connector *Connector
	// transaction that is open and pipelined, if any.
	transaction *transaction
	// plain is set while a transaction is open that is not pipelined.
	plain   bool
	scratch scratch
}

var _ baseConn = (*conn)(nil)

// plan returns the plan of a statement, after it was counted.
func (c *conn) plan(query string) (*router.Plan, error) {
	if c.connector.cfg.Router == nil {
		return router.Pass(query), nil
	}
	plan := c.connector.cfg.Router.Plan(query)
	c.connector.observer.planned(plan, query)
	if plan.Route == router.Unknown && c.connector.cfg.RejectUnknown {
		return nil, fmt.Errorf("the statement cannot be routed to one Vitess shard: %w (statement: %s)", plan.Unknown, query)
	}
	return plan, nil
}

// ExecContext executes a statement. In a pipelined transaction it may wait. A DELETE in chunks returns the number of
// rows of all of them.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	plan, err := c.plan(query)
	if err != nil {
		return nil, err
	}
	if c.transaction != nil {
		return c.transaction.exec(ctx, plan, args)
	}
	c.sends(plan)
	total := int64(0)
	for {
		result, err := c.execPacket(ctx, single(&plan.Statement, args), replay{fresh: !c.plain, commits: true})
		if err != nil || plan.Chunk == 0 {
			return result, err
		}
		affected, err := result.RowsAffected()
		total += affected
		if err != nil || affected < int64(plan.Chunk) {
			return driver.RowsAffected(total), err
		}
	}
}

// QueryContext executes a query. Rows that come in pages are read from the connection as the caller goes on.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if use, ok := ctx.Value(batchKey{}).(batchUse); ok {
		if rows, handled, err := use.batch.query(ctx, use.role, c, query, args); handled {
			return rows, err
		}
	}
	plan, err := c.plan(query)
	if err != nil {
		return nil, err
	}
	var rows driver.Rows
	if c.transaction != nil {
		rows, err = c.transaction.query(ctx, plan, args)
	} else {
		c.sends(plan)
		rows, err = c.query(ctx, &plan.Statement, args)
	}
	if err != nil {
		return nil, err
	}
	return c.complete(ctx, plan, args, rows), nil
}

// sends notes the plan of a packet of one statement.
func (c *conn) sends(plan *router.Plan) { c.scratch.plans = append(c.scratch.plans[:0], plan) }

// complete returns the rows of a query with those of further pages, if it has any.
func (c *conn) complete(ctx context.Context, plan *router.Plan, args []driver.NamedValue, rows driver.Rows) driver.Rows {
	if plan.Page == nil {
		return rows
	}
	return newPagedRows(ctx, c, plan.Page, args, rows)
}

// query executes a query without what waits.
func (c *conn) query(ctx context.Context, statement *router.Statement, args []driver.NamedValue) (driver.Rows, error) {
	return c.queryPacket(ctx, single(statement, args), replay{fresh: c.transaction == nil && !c.plain})
}

// BeginTx starts a transaction; if it is pipelined nothing is sent yet.
func (c *conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if c.connector.pipelines(options) {
		c.transaction = &transaction{conn: c, ctx: ctx}
		return c.transaction, nil
	}
	tx, err := c.baseConn.BeginTx(ctx, options)
	if errors.Is(err, driver.ErrBadConn) {
		return nil, err // database/sql takes another connection
	}
	if err != nil {
		return nil, c.explain(err, begin)
	}
	c.plain = true
	return &plainTransaction{Tx: tx, conn: c}, nil
}

// Begin is not called by database/sql, which prefers BeginTx.
func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

// plainTransaction is a transaction whose statements go one by one.
type plainTransaction struct {
	driver.Tx
	conn *conn
}

func (t *plainTransaction) Commit() error {
	t.conn.plain = false
	return t.conn.explain(t.Tx.Commit(), "commit")
}

func (t *plainTransaction) Rollback() error {
	t.conn.plain = false
	return t.conn.explain(t.Tx.Rollback(), "rollback")
}

// Prepare returns a statement that is prepared on the client only.
func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return &stmt{conn: c, query: query}, nil
}

// PrepareContext is [conn.Prepare]: nothing goes to the server.
func (c *conn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	return c.Prepare(query)
}

// stmt is a statement that goes to the server as text each time.
type stmt struct {
	conn  *conn
	query string
}

var (
	_ driver.StmtExecContext   = (*stmt)(nil)
	_ driver.StmtQueryContext  = (*stmt)(nil)
	_ driver.NamedValueChecker = (*stmt)(nil)
)

func (s *stmt) Close() error { return nil }

// NumInput leaves counting the placeholders to the connection.
func (s *stmt) NumInput() int { return -1 }

func (s *stmt) CheckNamedValue(value *driver.NamedValue) error { return s.conn.CheckNamedValue(value) }

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// Exec is not called by database/sql, which prefers ExecContext.
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, errors.ErrUnsupported }

// Query is not called by database/sql, which prefers QueryContext.
func (s *stmt) Query([]driver.Value) (driver.Rows, error) { return nil, errors.ErrUnsupported }
