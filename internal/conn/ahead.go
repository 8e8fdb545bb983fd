package conn

import (
	"bytes"
	"context"
	"database/sql/driver"
	"slices"

	"go.temporal.io/server/common/log/tag"

	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// An update of a workflow locks the row of its current execution, which names the run, and then that of the run. Both are one
// statement here, a join, which answers the second when it comes for that run: the row is locked since, and nobody else has
// changed it. If it comes for another run, or if this transaction has written to the row, it is sent.

// aheadRow is a row that was locked and read before the caller asked.
type aheadRow struct {
	look *router.LookAhead
	// name as appendKey gives it.
	name   string
	values []driver.Value
}

// looksAhead returns the statement that locks the next row as well, nil if there is none.
func (t *transaction) looksAhead(plan *router.Plan) *router.LookAhead {
	if c := t.conn.connector; !plan.Ahead || !t.pipelined || !c.cfg.Pipelining.Has(LookAhead) {
		return nil
	}
	look, err := t.conn.connector.cfg.Router.LookAhead(plan)
	if err != nil {
		t.conn.connector.observer.logger.Warn("The current run of a workflow takes a round trip of its own to be locked: it cannot be locked together with the row that names it", tag.Error(err))
	}
	return look
}

// lookAhead sends what waits and a look-ahead, and returns the rows of its first SELECT.
func (t *transaction) lookAhead(ctx context.Context, look *router.LookAhead, args, bound []driver.NamedValue) (driver.Rows, error) {
	rows, err := t.queryPacket(ctx, causeRead, look.Plan, bound)
	if err != nil {
		return nil, err
	}
	return &aheadRows{Rows: rows, transaction: t, look: look, args: args, row: make([]driver.Value, len(rows.Columns()))}, nil
}

// aheadRows are the rows of a look-ahead's first SELECT.
type aheadRows struct {
	driver.Rows
	transaction *transaction
	look        *router.LookAhead
	// args of the first SELECT.
	args []driver.NamedValue
	row  []driver.Value
}

func (r *aheadRows) Columns() []string { return r.Rows.Columns()[:r.look.First] }

func (r *aheadRows) Next(values []driver.Value) error {
	if err := r.Rows.Next(r.row); err != nil {
		return err
	}
	copy(values, r.row[:r.look.First])
	r.transaction.ahead = nil
	run := r.row[len(r.row)-1]
	if run == nil { // there is none, which nobody keeps from coming
		return nil
	}
	name := []byte(r.look.Next.Table)
	for _, index := range r.look.Key {
		if index < 0 {
			name = appendValue(name, run)
		} else {
			name = appendValue(name, r.args[index].Value)
		}
	}
	found := &aheadRow{look: r.look, name: string(name), values: slices.Clone(r.row[r.look.First : len(r.row)-1])}
	for i, value := range found.values {
		if data, ok := value.([]byte); ok { // which are the driver's until the next call
			found.values[i] = bytes.Clone(data)
		}
	}
	r.transaction.ahead = found
	return nil
}

// lookedAhead returns the row of a SELECT if a look-ahead has it, nil if not.
func (t *transaction) lookedAhead(plan *router.Plan, args []driver.NamedValue) driver.Rows {
	if t.ahead == nil || t.err != nil || plan.Statement.SQL != t.ahead.look.Next.Statement.SQL || !keyed(plan, args) {
		return nil
	}
	if name := appendKey(t.conn.scratch.key[:0], plan, args); string(name) != t.ahead.name {
		return nil
	}
	t.statements++
	t.locked = append(t.locked, t.ahead.name)
	return &heldRows{columns: t.ahead.look.Second, rows: [][]driver.Value{t.ahead.values}}
}

// changes forgets the row of a look-ahead if a statement may write to it.
func (t *transaction) changes(plan *router.Plan, args []driver.NamedValue) {
	if t.ahead == nil || plan.Table != t.ahead.look.Next.Table && plan.Table != "" {
		return
	}
	if plan.Key == nil || !keyed(plan, args) || string(appendKey(nil, plan, args)) == t.ahead.name {
		t.ahead = nil
	}
}
