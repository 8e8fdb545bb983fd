package conn

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// sessionRows are rows that are read from a session. Outside of a transaction it is given back with them.
type sessionRows struct {
	driver.Rows
	conn *conn
	// packet that they are in; nil once they are closed.
	packet *packet
}

// reader returns a packet for a query: that of the query before, if its rows are closed, as database/sql sees to.
func (c *conn) reader() *packet {
	if c.reads.rows.packet != nil {
		return &packet{}
	}
	return &c.reads
}

// reading returns the rows of a packet, as their reader gets them.
func (p *packet) reading(c *conn) *sessionRows {
	p.rows.conn, p.rows.packet = c, p
	return &p.rows
}

// Next returns the errors of a result as those of its packet.
func (r *sessionRows) Next(values []driver.Value) error {
	err := r.Rows.Next(values)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return r.failed(err)
}

func (r *sessionRows) Close() error {
	if r.packet == nil {
		return nil
	}
	err := r.Rows.Close()
	if err != nil {
		err = r.failed(err)
	}
	if r.conn.transaction == nil {
		r.conn.giveBack()
	}
	*r.packet = packet{rows: sessionRows{Rows: noRows{}}}
	return err
}

func (r *sessionRows) failed(err error) error {
	err = r.conn.explain(outcome.Of(err, r.packet.holds), r.packet)
	if t := r.conn.transaction; t != nil && t.err == nil {
		t.err = err
	}
	return err
}

// pagedRows are the rows of all pages of a query, without the key columns at the end.
type pagedRows struct {
	ctx  context.Context
	conn *conn
	plan *router.Plan
	// args of the caller.
	args []driver.NamedValue

	rows    driver.Rows
	columns []string
	// row is where the driver puts a row with its key. Its bytes are the driver's until the next call.
	row []driver.Value
	// read counts the rows of the current page.
	read int
	// next holds the arguments of the next page, once the current one is full.
	next []driver.NamedValue
}

func newPagedRows(ctx context.Context, c *conn, plan *router.Plan, args []driver.NamedValue, rows driver.Rows) *pagedRows {
	columns := rows.Columns()
	return &pagedRows{
		ctx: ctx, conn: c, plan: plan, args: args, rows: rows,
		columns: columns[:len(columns)-len(plan.Page.KeyText)],
		row:     make([]driver.Value, len(columns)),
	}
}

func (r *pagedRows) Columns() []string { return r.columns }

func (r *pagedRows) Close() error { return r.rows.Close() }

// Next returns the next row, of the next page where the current one is full and read.
func (r *pagedRows) Next(values []driver.Value) error {
	err := r.rows.Next(r.row)
	if errors.Is(err, io.EOF) && r.next != nil {
		if err := r.turn(); err != nil {
			return err
		}
		err = r.rows.Next(r.row)
	}
	if err != nil {
		return err
	}
	r.read++
	if r.read == r.plan.Page.Rows {
		r.next = r.argsAfter(r.row[len(r.columns):])
	}
	copy(values, r.row)
	return nil
}

// argsAfter returns the arguments of the page that follows a key.
func (r *pagedRows) argsAfter(key []driver.Value) []driver.NamedValue {
	args := append(make([]driver.NamedValue, 0, len(r.args)+len(key)), r.args...)
	for i, value := range key {
		if data, ok := value.([]byte); ok {
			// The driver returns text as bytes, and sends bytes as a binary string, which compares otherwise.
			if value = bytes.Clone(data); r.plan.Page.KeyText[i] {
				value = string(data)
			}
		}
		args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: value})
	}
	return args
}

// turn asks for the next page.
func (r *pagedRows) turn() error {
	if err := r.rows.Close(); err != nil {
		return err
	}
	c := r.conn
	p := c.reader()
	*p = single(r.plan, &r.plan.Page.Next, r.next, outcome.Repeatable)
	if c.transaction != nil {
		p.holds, p.group = outcome.Uncommitted, c.transaction.group
	} else {
		p.group = c.connector.pool.Group(r.ctx, r.plan, r.next)
	}
	if _, err := c.query(r.ctx, p); err != nil {
		r.rows = noRows{}
		if c.transaction != nil {
			c.transaction.err = err
		}
		return err
	}
	r.rows, r.read, r.next = p.reading(c), 0, nil
	return nil
}

// noRows stands for rows that are closed already.
type noRows struct{}

func (noRows) Columns() []string         { return nil }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }
