package conn

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/internal/session"
)

// conn plans the statements of a connection. Like every driver.Conn it is used by one goroutine at a time.
type conn struct {
	connector *Connector
	// session that it has; nil between statements, and until a transaction sends its first packet.
	session *session.Session
	// transaction that is open, if any.
	transaction *transaction
	scratch     scratch
	// reads is the packet of the last query, for the next: see reader.
	reads packet
}

var (
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
)

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
	c.connector.owners.forget(plan, args)
	p := single(plan, &plan.Statement, args, outcome.Autocommit)
	if plan.Upsert && assigned(plan, args) {
		p.holds = outcome.Repeatable
	}
	p.group = c.connector.pool.Group(ctx, plan, args)
	total := int64(0)
	for {
		result, err := c.exec(ctx, &p)
		c.giveBack()
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

// assigned reports whether an upsert assigns the values that it inserts.
func assigned(plan *router.Plan, args []driver.NamedValue) bool {
	for _, pair := range plan.Assigned {
		if max(pair[0], pair[1]) >= len(args) {
			return false // which the driver refuses
		}
		if !sameValue(args[pair[0]], args[pair[1]]) {
			return false
		}
	}
	return true
}

// QueryContext executes a query. Rows are read from the session as the caller goes on, and those that come in pages from
// one page after the other.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if note, ok := ctx.Value(noteKey{}).(func(string, []driver.NamedValue)); ok {
		note(query, args)
		return noRows{}, nil
	}
	plan, err := c.plan(query)
	if err != nil {
		return nil, err
	}
	if c.transaction != nil {
		return c.transaction.query(ctx, plan, args)
	}
	if set, ok := ctx.Value(readSetKey{}).(*ReadSet); ok {
		if rows, handled, err := set.query(ctx, c, query, plan, args); handled || err != nil {
			return rows, err
		}
	}
	p := c.reader()
	*p = single(plan, &plan.Statement, args, outcome.Repeatable)
	if plan.Keyspace == "" && !isRead(query) {
		p.holds = outcome.Autocommit
	}
	p.group = c.connector.pool.Group(ctx, plan, args)
	if _, err := c.query(ctx, p); err != nil {
		return nil, err
	}
	return c.connector.owners.reading(plan, args, c.complete(ctx, plan, args, p.reading(c))), nil
}

// isRead reports whether a statement that the router does not know changes nothing.
func isRead(query string) bool {
	verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	return slices.Contains([]string{"select", "show", "explain", "vexplain", "describe"}, strings.ToLower(verb))
}

// complete returns the rows of a query with those of further pages, if it has any.
func (c *conn) complete(ctx context.Context, plan *router.Plan, args []driver.NamedValue, rows driver.Rows) driver.Rows {
	if plan.Page == nil {
		return rows
	}
	return newPagedRows(ctx, c, plan, args, rows)
}

// BeginTx starts a transaction; nothing is sent yet.
func (c *conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if options != (driver.TxOptions{}) {
		return nil, errors.New("transactions are those of the session: an isolation level belongs into connectAttributes (transaction_isolation), and none is read-only")
	}
	c.giveBack() // it has none; a transaction begins on one of its own
	c.transaction = &transaction{conn: c, ctx: ctx, pipelined: c.connector.pipelines(Packets)}
	return c.transaction, nil
}

// Begin is not called by database/sql, which prefers BeginTx.
func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

// Ping returns an error if the server cannot be reached now.
func (c *conn) Ping(ctx context.Context) error {
	s, err := c.connector.pool.Take(ctx, "")
	if err != nil {
		return err
	}
	defer c.connector.pool.Give(s)
	return outcome.Of(s.Ping(ctx), outcome.Repeatable)
}

// Close gives back what the connection still has.
func (c *conn) Close() error {
	if c.transaction != nil {
		_ = c.transaction.Rollback()
	}
	c.giveBack()
	return nil
}

// CheckNamedValue converts a value as go-sql-driver does (its CheckNamedValue needs a connection).
func (c *conn) CheckNamedValue(value *driver.NamedValue) (err error) {
	switch value.Value.(type) {
	case uint64, json.RawMessage: // which the driver takes, and the standard library does not
		return nil
	}
	value.Value, err = driver.DefaultParameterConverter.ConvertValue(value.Value)
	return err
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
