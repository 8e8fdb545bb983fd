package conn

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// Batch lets queries travel together that a caller issues one after the other, outside of a transaction: those that are
// known to follow are noted first, go with the one that leads, and find their rows here when they are issued. It is safe
// for concurrent use.
//
// Where a query cannot travel with the leading one, because pipelining is off or a query before it failed, it goes on its
// own when it is issued.
type Batch struct {
	mutex     sync.Mutex
	followers []*follower
}

// follower is a query that is known to follow.
type follower struct {
	query string
	args  []driver.NamedValue
	plan  *router.Plan
	// rows are nil until they have come.
	rows *heldRows
}

type batchRole int

const (
	noted batchRole = iota
	leads
	follows
)

// batchKey is the key of a batchUse in a context.
type batchKey struct{}

type batchUse struct {
	batch *Batch
	role  batchRole
}

// Note returns a context under which queries are noted for the batch. They return no rows.
func (b *Batch) Note(ctx context.Context) context.Context { return b.context(ctx, noted) }

// Lead returns a context for the query that takes with it what was noted.
func (b *Batch) Lead(ctx context.Context) context.Context { return b.context(ctx, leads) }

// Follow returns a context under which a query returns the rows that have come for it, once.
func (b *Batch) Follow(ctx context.Context) context.Context { return b.context(ctx, follows) }

func (b *Batch) context(ctx context.Context, role batchRole) context.Context {
	return context.WithValue(ctx, batchKey{}, batchUse{b, role})
}

// query returns the rows of a query of the batch; handled is false if it has to go on its own.
func (b *Batch) query(ctx context.Context, role batchRole, c *conn, query string, args []driver.NamedValue) (rows driver.Rows, handled bool, err error) {
	if c.transaction != nil || c.plain || c.connector.cfg.Router == nil {
		return nil, false, nil
	}
	switch role {
	case noted:
		b.note(c, query, args)
		return noRows{}, true, nil
	case leads:
		if !c.connector.pipelines(driver.TxOptions{}) {
			return nil, false, nil
		}
		rows, err = b.lead(ctx, c, query, args)
		return rows, true, err
	default:
		follower := b.take(query, args)
		if follower == nil {
			return nil, false, nil
		}
		c.connector.observer.planned(follower.plan, query)
		c.sends(follower.plan) // its further pages, if there are any
		return c.complete(ctx, follower.plan, args, follower.rows), true, nil
	}
}

// note takes a query into the batch if it can travel with others.
func (b *Batch) note(c *conn, query string, args []driver.NamedValue) {
	plan := c.connector.cfg.Router.Plan(query)
	if plan.Route == router.Unknown || len(bind(&plan.Statement, args)) != plan.Statement.Placeholders {
		return
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.followers = append(b.followers, &follower{query: query, args: args, plan: plan})
}

// lead sends a query with all that was noted, and returns its rows. The rows of the others stay here.
func (b *Batch) lead(ctx context.Context, c *conn, query string, args []driver.NamedValue) (driver.Rows, error) {
	plan, err := c.plan(query)
	if err != nil {
		return nil, err
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	first := single(&plan.Statement, args)
	texts, values := []string{first.sql}, slices.Clone(first.args)
	c.sends(plan)
	if len(values) == plan.Statement.Placeholders {
		for _, f := range b.followers {
			texts = append(texts, f.plan.Statement.SQL)
			values = append(values, bind(&f.plan.Statement, f.args)...)
			c.scratch.plans = append(c.scratch.plans, f.plan)
		}
	}
	for i := range values {
		values[i].Ordinal = i + 1
	}
	c.connector.observer.sending(causeBatch)
	rows, err := c.queryPacket(ctx, packet{strings.Join(texts, separator), values}, replay{fresh: true})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	held, err := hold(rows)
	if err != nil {
		return nil, c.explain(err, query)
	}
	for _, f := range b.followers[:len(texts)-1] {
		results, ok := rows.(driver.RowsNextResultSet)
		if !ok || results.NextResultSet() != nil {
			break // the query will meet its error itself
		}
		if f.rows, err = hold(rows); err != nil {
			break
		}
	}
	return c.complete(ctx, plan, args, held), nil
}

// take removes the query from the batch, and returns it if its rows have come.
func (b *Batch) take(query string, args []driver.NamedValue) *follower {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	index := slices.IndexFunc(b.followers, func(f *follower) bool {
		return f.query == query && slices.EqualFunc(f.args, args, sameValue)
	})
	if index < 0 {
		return nil
	}
	taken := b.followers[index]
	b.followers = slices.Delete(b.followers, index, index+1)
	if taken.rows == nil {
		return nil
	}
	return taken
}

// sameValue tells nil bytes, which are NULL, from none.
func sameValue(a, b driver.NamedValue) bool { return reflect.DeepEqual(a.Value, b.Value) }

// heldRows are rows that were read before they were asked for.
type heldRows struct {
	columns []string
	rows    [][]driver.Value
}

// hold reads all rows of a result.
func hold(rows driver.Rows) (*heldRows, error) {
	held := &heldRows{columns: rows.Columns()}
	for {
		row := make([]driver.Value, len(held.columns))
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return held, nil
		}
		if err != nil {
			return nil, err
		}
		for i, value := range row {
			if data, ok := value.([]byte); ok { // which are the driver's until the next call
				row[i] = bytes.Clone(data)
			}
		}
		held.rows = append(held.rows, row)
	}
}

func (r *heldRows) Columns() []string { return r.columns }

func (r *heldRows) Close() error { return nil }

func (r *heldRows) Next(values []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(values, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}
