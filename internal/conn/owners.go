package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.temporal.io/server/common/log/tag"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// Most transactions begin by locking a row to find out whether it still is the caller's: its range ID has to be the one that the
// caller has. What this process has read or written last is known, so the caller is told that, and the lock waits and travels
// with what follows. The server compares the range ID as it takes the lock, and the packet ends there if it is another one, or
// if there is no row: nothing behind it is done, COMMIT included. So what is known may be wrong without harm; it is forgotten
// then, and the caller's next attempt asks.

// maxOwners is how many rows the process remembers, those it needed last.
const maxOwners = 1 << 15

// owner is what a row's owner column holds.
type owner struct {
	// row as appendKey names it.
	row   string
	value int64
	// written by the transaction, and not read.
	written bool
}

// owners are the owner columns as this process has read them under a lock, or written them, last. It is safe for concurrent
// use.
type owners struct {
	mutex  sync.Mutex
	values *simplelru.LRU[string, int64]
	// refuses is whether the server was found to refuse a check that does not hold: 0 if it was not asked.
	refuses atomic.Int32
	asking  sync.Mutex
}

const (
	checksRefused = iota + 1
	checksPassed
)

func newOwners() (*owners, error) {
	values, err := simplelru.NewLRU[string, int64](maxOwners, nil)
	return &owners{values: values}, err
}

func (o *owners) of(row []byte) (int64, bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.values.Get(string(row))
}

// set remembers a value. Range IDs grow, so a smaller one is of before: of a transaction that ended sooner than it is told of.
func (o *owners) set(row string, value int64) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if known, ok := o.values.Peek(row); !ok || value > known {
		o.values.Add(row, value)
	}
}

func (o *owners) remove(row string) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.values.Remove(row)
}

// forget forgets the row that a statement writes outside of a transaction.
func (o *owners) forget(plan *router.Plan, args []driver.NamedValue) {
	if plan.Owner >= 0 && keyed(plan, args) {
		o.remove(string(appendKey(nil, plan, args)))
	}
}

// reading returns the rows of a statement. What they say of an owner is not remembered, since it is that of a moment: but where
// it is another than the known one, as after the row was somebody else's, or where there is no row, that is forgotten.
func (o *owners) reading(plan *router.Plan, args []driver.NamedValue, rows driver.Rows) driver.Rows {
	if plan.Owner < 0 || !keyed(plan, args) {
		return rows
	}
	return &ownerRows{Rows: rows, owners: o, plan: plan, row: string(appendKey(nil, plan, args))}
}

type ownerRows struct {
	driver.Rows
	owners *owners
	plan   *router.Plan
	row    string
	found  bool
}

func (r *ownerRows) Next(values []driver.Value) error {
	err := r.Rows.Next(values)
	if errors.Is(err, io.EOF) && !r.found {
		r.owners.remove(r.row)
	}
	if err != nil {
		return err
	}
	r.found = true
	if known, ok := r.owners.of([]byte(r.row)); ok {
		if value, err := number(values[r.plan.Owner]); err != nil || value != known {
			r.owners.remove(r.row)
		}
	}
	return nil
}

// keyed reports whether the arguments of a statement's key are there.
func keyed(plan *router.Plan, args []driver.NamedValue) bool {
	return !slices.ContainsFunc(plan.Key, func(index int) bool { return index >= len(args) })
}

// knows returns the answer to a SELECT that locks a row, if it is known and the server can check it.
func (t *transaction) knows(ctx context.Context, plan *router.Plan, args []driver.NamedValue) (int64, bool) {
	c := t.conn.connector
	if plan.Check == nil || !t.pipelined || t.err != nil || !c.cfg.Pipelining.Has(Locks) || !keyed(plan, args) {
		return 0, false
	}
	row := appendKey(t.conn.scratch.key[:0], plan, args)
	t.conn.scratch.key = row
	value, ok := c.owners.of(row)
	if !ok || !t.checked(ctx, plan, args) {
		return 0, false
	}
	return value, true
}

// checked reports whether the server refuses a check that does not hold. It is asked once, with a range ID that no row has.
func (t *transaction) checked(ctx context.Context, plan *router.Plan, args []driver.NamedValue) bool {
	c := t.conn.connector
	if state := c.owners.refuses.Load(); state != 0 {
		return state == checksRefused
	}
	// A second session must not be waited for with one in hand.
	if t.conn.session != nil || !c.owners.asking.TryLock() {
		return false
	}
	defer c.owners.asking.Unlock()
	asking := &conn{connector: c}
	defer asking.giveBack()
	p := single(plan.Check, &plan.Check.Statement, withOwner(args, -1), outcome.Repeatable)
	p.group = c.pool.Group(ctx, plan, args)
	err := asking.try(ctx, &p, false) // its error is the answer, and no failure to be counted
	if err != nil {
		asking.over(err)
		err = outcome.Of(err, p.holds)
	}
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	switch {
	case ok && answer.Number == router.ErrCheck:
		c.owners.refuses.Store(checksRefused)
		return true
	case err == nil || ok:
		c.owners.refuses.Store(checksPassed)
		c.observer.logger.Warn("The lock of a history shard or task queue takes a round trip of its own: the server does not check a range ID as it takes the lock", tag.Error(err))
	}
	return false // an error that says nothing of it: the next transaction asks
}

// withOwner returns the arguments of a Check.
func withOwner(args []driver.NamedValue, value int64) []driver.NamedValue {
	return append(args[:len(args):len(args)], driver.NamedValue{Ordinal: len(args) + 1, Value: value})
}

// tell returns what is known as the row of a SELECT that locks it, which waits.
func (t *transaction) tell(ctx context.Context, plan *router.Plan, args []driver.NamedValue, value int64) (driver.Rows, error) {
	args = withOwner(args, value)
	bound, size, err := t.admit(ctx, plan.Check, args)
	if err != nil {
		return nil, err
	}
	w := t.wait(plan.Check, args, bound, size)
	w.check = string(appendKey(nil, plan, args))
	t.checks = append(t.checks, w)
	if plan.Locks {
		t.locked = append(t.locked, w.check)
	}
	return &heldRows{columns: []string{"owner"}, rows: [][]driver.Value{{value}}}, nil
}

// disown takes note of a row that a statement gives another owner.
func (t *transaction) disown(plan *router.Plan, args []driver.NamedValue) {
	if plan.Owner < 0 || plan.Owner >= len(args) || !keyed(plan, args) {
		return
	}
	if value, ok := args[plan.Owner].Value.(int64); ok {
		t.owners = append(t.owners, owner{row: string(appendKey(nil, plan, args)), value: value, written: true})
	}
}

// remember keeps what the transaction has found out, once it has ended.
func (t *transaction) remember(committed bool) {
	known := t.conn.connector.owners
	for _, o := range t.owners {
		switch {
		case committed:
			known.set(o.row, o.value)
		case o.written: // COMMIT may have been done
			known.remove(o.row)
		}
	}
	for _, w := range t.checks {
		if !w.done { // the caller may have found that it is not what it expects, or the server that it is another
			known.remove(w.check)
		}
	}
}

func (w *write) isCheck() bool { return w.check != "" }

// disowned is the error of a check that did not hold. The transaction has done nothing that is left.
func (t *transaction) disowned(p *packet) error {
	return &outcome.Error{
		Class: outcome.NotCommitted, Doing: p.doing(), Place: t.group, Holds: p.holds,
		Cause: errors.New("a history shard or task queue has another range ID than this process had read or written last"),
	}
}
