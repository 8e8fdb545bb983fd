package conn

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// pagedRows are the rows of all pages of a query, without the key columns at the end.
type pagedRows struct {
	ctx  context.Context
	conn *conn
	page *router.Page
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

func newPagedRows(ctx context.Context, c *conn, page *router.Page, args []driver.NamedValue, rows driver.Rows) *pagedRows {
	columns := rows.Columns()
	return &pagedRows{
		ctx: ctx, conn: c, page: page, args: args, rows: rows,
		columns: columns[:len(columns)-len(page.KeyText)],
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
	if r.read == r.page.Rows {
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
			if value = bytes.Clone(data); r.page.KeyText[i] {
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
	rows, err := r.conn.query(r.ctx, &r.page.Next, r.next)
	if err != nil {
		r.rows = noRows{}
		return err
	}
	r.rows, r.read, r.next = rows, 0, nil
	return nil
}

// noRows stands for rows that are closed already.
type noRows struct{}

func (noRows) Columns() []string         { return nil }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }
