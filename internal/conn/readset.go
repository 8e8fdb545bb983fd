package conn

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.temporal.io/server/common/log/tag"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// Queries are texts that a caller is known to issue one after the other, outside of a transaction and with the same
// arguments; see [ReadSet]. They are safe for concurrent use.
type Queries struct {
	texts []string
	// union is all of them as one statement, nil if they cannot be one; prepared by the first that needs it.
	union   *router.Union
	prepare sync.Once
	// worked is set once the server has taken the union, refused once it has not before.
	worked, refused atomic.Bool
}

// NewQueries returns queries as upstream writes them; [NoteQueries] finds them.
func NewQueries(texts []string) *Queries { return &Queries{texts: texts} }

// ReadSet is what one call of [Queries] reads. The first query brings the rows of all, in one statement or else in one packet,
// and the others find them here when they are issued under the set's context, once. What does not come so, because
// pipelining is off or a query before it failed, is asked for when it is issued. It is safe for concurrent use.
type ReadSet struct {
	queries *Queries
	mutex   sync.Mutex
	args    []driver.NamedValue
	// held has the rows of each query, nil if they have not come or are taken.
	held []*heldRows
}

// NewReadSet returns a set of queries.
func NewReadSet(queries *Queries) *ReadSet {
	return &ReadSet{queries: queries, held: make([]*heldRows, len(queries.texts))}
}

type (
	readSetKey struct{}
	noteKey    struct{}
)

// Context returns a context for the queries of the set.
func (s *ReadSet) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, readSetKey{}, s)
}

// NoteQueries returns the queries that do issues under its context, outside of a transaction: they are not sent, and
// return no rows. All have the same arguments, or it returns false.
func NoteQueries(do func(ctx context.Context)) (queries []string, same bool) {
	var args []driver.NamedValue
	same = true
	do(context.WithValue(context.Background(), noteKey{}, func(query string, given []driver.NamedValue) {
		same = same && (queries == nil || slices.EqualFunc(args, given, sameValue))
		queries, args = append(queries, query), given
	}))
	return queries, same
}

// query returns the rows of a query of the set; handled is false if it has to go on its own.
func (s *ReadSet) query(ctx context.Context, c *conn, query string, plan *router.Plan, args []driver.NamedValue) (rows driver.Rows, handled bool, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	index := slices.Index(s.queries.texts, query)
	switch {
	case index < 0:
		return nil, false, nil
	case index == 0 && s.args == nil && c.connector.pipelines(Packets):
		held, err := s.bring(ctx, c, plan, args)
		return held, err == nil, err
	}
	held := s.held[index]
	if held == nil || !slices.EqualFunc(s.args, args, sameValue) {
		return nil, false, nil
	}
	s.held[index] = nil
	return c.complete(ctx, plan, args, held), true, nil
}

// bring asks for the rows of all queries, and returns those of the first.
func (s *ReadSet) bring(ctx context.Context, c *conn, plan *router.Plan, args []driver.NamedValue) (driver.Rows, error) {
	if placeholders := plan.Statement.Placeholders; len(bind(&plan.Statement, args)) != placeholders {
		p := single(plan, &plan.Statement, args, outcome.Repeatable)
		return nil, c.explain(outcome.Of(driver.ErrSkip, outcome.Repeatable), &p)
	}
	done, err := s.bringUnion(ctx, c, args)
	if !done && err == nil {
		err = s.bringPacket(ctx, c, plan, args)
	}
	if err != nil {
		return nil, err
	}
	s.args = slices.Clone(args)
	first := s.held[0]
	s.held[0] = nil
	return c.complete(ctx, plan, args, first), nil
}

// bringUnion asks for all rows with one statement. It is not done if there is none, or if the server refuses it or the first
// query's rows are not complete: rows of more bytes than vtgate takes at once may be fewer in several answers.
func (s *ReadSet) bringUnion(ctx context.Context, c *conn, args []driver.NamedValue) (done bool, err error) {
	union := s.queries.prepared(c.connector)
	if union == nil {
		return false, nil
	}
	p := single(union.Plan, &union.Plan.Statement, args, outcome.Repeatable)
	p.group, p.cause = c.connector.pool.Group(ctx, union.Plan, args), causeSet
	c.connector.observer.sending(causeSet)
	rows, err := c.query(ctx, &p)
	var held []*heldRows
	if err == nil {
		held, err = split(rows, union)
		_ = rows.Close()
		c.giveBack()
		if err != nil {
			err = c.explain(outcome.Of(err, p.holds), &p)
		}
	}
	switch class := outcome.ClassOf(err); {
	case class == outcome.Refused || class == outcome.Defect:
		if !s.queries.worked.Load() && !s.queries.refused.Swap(true) {
			c.connector.observer.logger.Warn("A workflow is read with several statements in a packet: the server does not take them as one", tag.Error(err))
		}
		return false, nil
	case err != nil:
		return false, err
	}
	s.queries.worked.Store(true)
	if held[0] == nil {
		return false, nil
	}
	s.held = held
	return true, nil
}

// prepared returns the statement for all rows, nil if there is none.
func (q *Queries) prepared(c *Connector) *router.Union {
	q.prepare.Do(func() {
		var err error
		if q.union, err = c.cfg.Router.Union(q.texts); err != nil {
			c.observer.logger.Warn("A workflow is read with several statements in a packet: they cannot be one", tag.Error(err))
		}
	})
	if q.refused.Load() || !c.pipelines(Reads) {
		return nil
	}
	return q.union
}

// split returns the rows of each part of a union, nil where they may not be complete.
func split(rows driver.Rows, union *router.Union) ([]*heldRows, error) {
	held := make([]*heldRows, len(union.Parts))
	for i, part := range union.Parts {
		held[i] = &heldRows{columns: part.Columns}
	}
	all, err := hold(rows)
	if err != nil {
		return nil, err
	}
	part := int64(0)
	for _, row := range all.rows {
		// MySQL returns the rows of one SELECT after the other, each in its order.
		next, err := number(row[0])
		if err != nil || next < part || next >= int64(len(held)) {
			return nil, fmt.Errorf("the rows of %d SELECTs are not in their order: one of number %v follows number %d", len(held), row[0], part)
		}
		part = next
		values := make([]driver.Value, len(union.Parts[part].Positions))
		for column, position := range union.Parts[part].Positions {
			values[column] = row[position]
		}
		held[part].rows = append(held[part].rows, values)
	}
	if len(all.rows) >= union.Rows {
		clear(held[part:])
	}
	return held, nil
}

// bringPacket asks for all rows with a packet of all queries.
func (s *ReadSet) bringPacket(ctx context.Context, c *conn, plan *router.Plan, args []driver.NamedValue) error {
	p := single(plan, &plan.Statement, args, outcome.Repeatable)
	texts, values := []string{p.sql}, slices.Clone(p.args)
	for _, query := range s.queries.texts[1:] {
		next := c.connector.cfg.Router.Plan(query)
		bound := bind(&next.Statement, args)
		if next.Route != plan.Route || len(bound) != next.Statement.Placeholders {
			break
		}
		c.connector.observer.planned(next, query)
		texts, values = append(texts, next.Statement.SQL), append(values, bound...)
	}
	for i := range values {
		values[i].Ordinal = i + 1
	}
	p.sql, p.args, p.group = strings.Join(texts, separator), values, c.connector.pool.Group(ctx, plan, args)
	p.cause = causeSet
	c.connector.observer.sending(causeSet)
	rows, err := c.query(ctx, &p)
	if err != nil {
		return err
	}
	defer c.giveBack()
	defer rows.Close()
	for i := range texts {
		if results, ok := rows.(driver.RowsNextResultSet); i > 0 && (!ok || results.NextResultSet() != nil) {
			break // the query will meet its error itself
		}
		if s.held[i], err = hold(rows); err != nil && i == 0 {
			return c.explain(outcome.Of(err, p.holds), &p)
		}
	}
	return nil
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
