package conn

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"slices"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// A transaction is pipelined: BEGIN travels with its first statement, and a write whose result nobody needs yet waits
// and travels with the next statement that cannot wait, or with COMMIT. Which may wait is in router's waits.go.
//
// The server executes the statements of a packet in order and stops at the first that fails; the transaction then
// stays open until ROLLBACK. So a packet that fails leaves nothing behind once it is rolled back, and the errors of
// one that ends with COMMIT mean that COMMIT was not reached, unless they are the loss of the connection.
//
// One that is not pipelined is the same, but that nothing waits: BEGIN and COMMIT are packets of their own.

// Causes of sending, as metrics name them.
const (
	causeRead   = "read"   // a SELECT
	causeWrite  = "write"  // a write that may not wait
	causeCount  = "count"  // a row count that was not promised
	causeSize   = "size"   // a packet is full
	causeChunk  = "chunk"  // a DELETE with a row limit
	causeCommit = "commit" // COMMIT
	causeSet    = "batch"  // a ReadSet, which is no transaction
	causeAlone  = "alone"  // a statement outside of a transaction
)

// writesAtOnce is for how many waiting writes memory is taken at once. An update of a workflow has about 8.
const writesAtOnce = 8

// transaction is the state of a conn between BEGIN and COMMIT or ROLLBACK.
type transaction struct {
	conn *conn
	// ctx is that of BeginTx, for what has no other: COMMIT, and row counts.
	ctx       context.Context
	pipelined bool
	// group of the sessions, from the first statement that has one.
	group string
	// workload of its statements, for metrics.
	workload router.Workload

	// What waits: the writes that are not sent yet, with their size (see sizeOf), and room for more.
	waiting []*write
	size    int
	writes  []write
	// What is known: the rows that this transaction has found and locked FOR UPDATE, few as they are; see appendKey.
	locked []string
	// ahead is the row that a look-ahead has locked and read, nil if there is none; see ahead.go.
	ahead *aheadRow
	// checks are the locks that the caller was told before the server has them, and owners what it is to be remembered of
	// the owners of rows; see owners.go.
	checks []*write
	owners []owner
	// err is set once the transaction cannot be committed any more.
	err error

	// What was sent: BEGIN, and how much, for metrics.
	begun               bool
	statements, packets int
}

var _ driver.Tx = (*transaction)(nil)

// txState is what the server has of a transaction.
type txState int

const (
	// txUnsent: nothing, not even BEGIN.
	txUnsent txState = iota
	// txOpen: BEGIN, on the session of the connection.
	txOpen
	// txFailed: nothing that can be committed.
	txFailed
)

func (t *transaction) state() txState {
	switch {
	case t.err != nil:
		return txFailed
	case t.begun:
		return txOpen
	default:
		return txUnsent
	}
}

// exec executes a statement in the transaction, now or later.
func (t *transaction) exec(ctx context.Context, plan *router.Plan, args []driver.NamedValue) (driver.Result, error) {
	bound, size, err := t.admit(ctx, plan, args)
	if err != nil {
		return nil, err
	}
	t.disown(plan, args)
	t.changes(plan, args)
	if t.waits(plan) {
		return t.wait(plan, args, bound, size), nil
	}
	if plan.Insert && len(t.waiting) > 0 {
		return t.execInsert(ctx, plan, bound)
	}
	affected, err := t.send(ctx, causeWrite, plan, bound)
	if err != nil {
		return nil, err
	}
	rest, err := t.finishChunks(ctx, plan, bound, affected)
	return driver.RowsAffected(affected + rest), err
}

func (t *transaction) waits(plan *router.Plan) bool { return t.pipelined && plan.Waits }

// wait keeps a write until it travels with another statement.
func (t *transaction) wait(plan *router.Plan, args, bound []driver.NamedValue, size int) *write {
	if len(t.writes) == cap(t.writes) {
		t.writes = make([]write, 0, writesAtOnce) // those before stay where they are
	}
	t.writes = append(t.writes, write{
		transaction: t, plan: plan, args: t.conn.scratch.keep(bound), size: size, promised: t.promise(plan, args),
	})
	w := &t.writes[len(t.writes)-1]
	t.waiting = append(t.waiting, w)
	t.size += size
	return w
}

// admit returns the values of a statement's placeholders and its size. It sends what has to be sent before: what waits,
// if the statement must not travel with it because of its size, or because it does not wait, so that the DELETEs have to
// be complete; and BEGIN, if nothing waits.
func (t *transaction) admit(ctx context.Context, plan *router.Plan, args []driver.NamedValue) ([]driver.NamedValue, int, error) {
	if t.err != nil {
		return nil, 0, t.err
	}
	bound := bind(&plan.Statement, args)
	if len(bound) != plan.Statement.Placeholders {
		// In a packet, another statement would take the difference. The error is as from the driver.
		p := single(plan, &plan.Statement, nil, outcome.Uncommitted)
		return nil, 0, t.conn.explain(outcome.Of(driver.ErrSkip, outcome.Uncommitted), &p)
	}
	if t.group == "" {
		t.group = t.conn.connector.pool.Group(ctx, plan, args)
	}
	t.workload = cmp.Or(t.workload, plan.Workload)
	size := sizeOf(&plan.Statement, bound)
	t.statements++
	switch {
	case !t.pipelined && t.state() == txUnsent:
		_, err := t.send(ctx, causeWrite, nil, nil)
		return bound, size, err
	case len(t.waiting) > 0 && t.size+size > maxPacket:
		return bound, size, t.flush(ctx, causeSize)
	case !t.waits(plan):
		return bound, size, t.completeDeletes(ctx)
	}
	return bound, size, nil
}

// flush sends what waits.
func (t *transaction) flush(ctx context.Context, cause string) error {
	if t.err != nil {
		return t.err
	}
	if err := t.completeDeletes(ctx); err != nil || len(t.waiting) == 0 {
		return err
	}
	_, err := t.send(ctx, cause, nil, nil)
	return err
}

// completeDeletes sends the DELETEs with a row limit that wait, and repeats them until they are complete. The writes
// behind one that are to the same table go on waiting. Those to other tables may overtake it: their rows have nothing
// to do with each other.
func (t *transaction) completeDeletes(ctx context.Context) error {
	for slices.ContainsFunc(t.waiting, func(w *write) bool { return w.plan.Chunk > 0 }) {
		var behind []*write
		waiting := t.take()
		deleted := map[string]bool{}
		for _, w := range waiting {
			if deleted[w.plan.Table] {
				behind = append(behind, w)
				continue
			}
			deleted[w.plan.Table] = w.plan.Chunk > 0
			t.waiting = append(t.waiting, w)
		}
		deletes := t.waiting
		if _, err := t.send(ctx, causeChunk, nil, nil); err != nil {
			return err
		}
		for _, w := range deletes {
			rest, err := t.finishChunks(ctx, w.plan, w.args, w.affected)
			if err != nil {
				return err
			}
			w.affected += rest
		}
		t.waiting = behind
		for _, w := range behind {
			t.size += w.size
		}
	}
	return nil
}

// send sends what waits and, if given, a last statement that returns no rows. It returns the row count of the latter.
func (t *transaction) send(ctx context.Context, cause string, last *router.Plan, args []driver.NamedValue) (int64, error) {
	p := t.join(t.take(), false, last, args)
	t.sending(&p, cause)
	result, err := t.conn.exec(ctx, &p)
	if err != nil {
		return 0, t.fail(err, &p)
	}
	t.begun = true
	affected, err := p.arrive(result)
	if err != nil {
		return 0, t.broken(err, &p)
	}
	return affected, nil
}

// query sends what waits and a SELECT, and returns its rows.
func (t *transaction) query(ctx context.Context, plan *router.Plan, args []driver.NamedValue) (driver.Rows, error) {
	if value, ok := t.knows(ctx, plan, args); ok {
		return t.tell(ctx, plan, args, value)
	}
	if rows := t.lookedAhead(plan, args); rows != nil {
		return rows, nil
	}
	bound, _, err := t.admit(ctx, plan, args)
	if err != nil {
		return nil, err
	}
	var rows driver.Rows
	if look := t.looksAhead(plan); look != nil {
		rows, err = t.lookAhead(ctx, look, args, bound)
	} else {
		rows, err = t.queryPacket(ctx, causeRead, plan, bound)
	}
	if err != nil {
		return nil, err
	}
	if plan.Locks && plan.Key != nil || plan.Check != nil {
		rows = &lockedRows{Rows: rows, transaction: t, plan: plan, args: args}
	}
	return t.conn.complete(ctx, plan, args, rows), nil
}

// execInsert sends what waits and an INSERT whose duplicate key upstream interprets. The error of the INSERT is told
// from those of what waits by a result between them.
func (t *transaction) execInsert(ctx context.Context, plan *router.Plan, args []driver.NamedValue) (driver.Result, error) {
	rows, err := t.queryPacket(ctx, causeWrite, plan, args)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(plan.Rows), rows.Close()
}

// queryPacket sends what waits and a last statement. It returns the rows of a SELECT, and no rows of an INSERT.
func (t *transaction) queryPacket(ctx context.Context, cause string, plan *router.Plan, args []driver.NamedValue) (driver.Rows, error) {
	p := t.conn.reader()
	*p = t.join(t.take(), true, plan, args)
	t.sending(p, cause)
	rows, err := t.conn.query(ctx, p)
	if err != nil { // of the first statement that is not BEGIN
		return nil, t.fail(err, p)
	}
	t.begun = true
	behind, met, broken := p.arriveRows(rows)
	if met == nil && broken == nil {
		return p.reading(t.conn), nil
	}
	_ = rows.Close()
	if broken != nil {
		return nil, t.broken(broken, p)
	}
	// What was executed before has nothing to do with the error.
	if p.writes = p.writes[behind:]; len(p.writes) > 0 {
		p.writes, p.last = p.writes[:1], nil
	}
	return nil, t.fail(t.conn.explain(outcome.Of(met, p.holds), p), p)
}

// finishChunks repeats a DELETE whose last execution affected that many rows until one reaches fewer than its limit, and
// returns the rows of the repetitions.
func (t *transaction) finishChunks(ctx context.Context, plan *router.Plan, args []driver.NamedValue, affected int64) (int64, error) {
	total := int64(0)
	for plan.Chunk > 0 && affected == int64(plan.Chunk) {
		var err error
		if affected, err = t.send(ctx, causeChunk, plan, args); err != nil {
			t.err = err // a part of the rows is deleted
			return 0, err
		}
		total += affected
	}
	return total, nil
}

// begin starts a transaction, in the packet of its first statement.
const begin = "begin"

// commit ends it, in the packet of what waits at the end.
var commit = router.Pass("commit")

func (t *transaction) take() []*write {
	writes := t.waiting
	t.waiting, t.size = nil, 0
	return writes
}

func (t *transaction) sending(p *packet, cause string) {
	p.cause = cause
	t.packets++
	t.conn.connector.observer.sending(cause)
}

// errDuplicateEntry is MySQL's ER_DUP_ENTRY.
const errDuplicateEntry = 1062

// fail takes note of the error of a packet, and returns what its caller should see. The transaction goes on only after the
// duplicate key of a statement that nobody had been told was done: after some other answers vtgate has rolled it back, and
// would take what follows for statements outside of one (ScatterConn, where the code is ABORTED or RESOURCE_EXHAUSTED). The
// error of a packet with what waited never is a bare duplicate key: upstream would take it for that of its last statement.
func (t *transaction) fail(err error, p *packet) error {
	var answer *mysql.MySQLError
	bare, waited := errors.As(err, &answer), len(p.writes) > 0
	switch {
	case bare && answer.Number == router.ErrCheck && slices.ContainsFunc(p.writes, (*write).isCheck):
		err = t.disowned(p)
	case bare && waited:
		err = &outcome.Error{Class: outcome.Refused, Doing: p.doing(), Place: t.group, Holds: p.holds, Cause: err}
	}
	if !bare || waited || answer.Number != errDuplicateEntry || t.conn.session == nil {
		t.err = err
	}
	t.begun = true // the server may have got as far
	return err
}

// broken ends a transaction in which a promise was broken, as the answer to a packet says.
func (t *transaction) broken(err error, p *packet) error {
	t.err = t.conn.explain(&outcome.Error{Class: outcome.Defect, Committed: p.holds == outcome.Committing, Holds: p.holds, Cause: err}, p)
	return t.err
}

// Commit sends what waits, and COMMIT with it. If it fails otherwise than by the loss of the connection, nothing is
// left behind.
func (t *transaction) Commit() error {
	err := t.err
	if err == nil {
		err = t.completeDeletes(t.ctx)
	}
	if err == nil && (t.state() == txOpen || len(t.waiting) > 0) {
		_, err = t.send(t.ctx, causeCommit, commit, nil)
	}
	t.end(err == nil)
	return err
}

// Rollback drops what waits, and sends ROLLBACK if the server knows of the transaction.
func (t *transaction) Rollback() error {
	if t.err == nil {
		t.err = errors.New("the transaction was rolled back")
	}
	t.end(false)
	return nil
}

// end rolls the transaction back unless it is committed, and gives the session back.
func (t *transaction) end(committed bool) {
	if !committed && t.conn.session != nil {
		t.conn.rollback()
	}
	t.conn.giveBack()
	t.conn.transaction = nil
	t.remember(committed)
	t.conn.scratch.release()
	t.conn.connector.observer.transaction(t.statements, t.packets)
}

// lockedRows tells the transaction once a locking SELECT has found its row, and whose that is.
type lockedRows struct {
	driver.Rows
	transaction *transaction
	plan        *router.Plan
	args        []driver.NamedValue
	told        bool
}

func (r *lockedRows) Next(values []driver.Value) error {
	err := r.Rows.Next(values)
	if err != nil || r.told {
		return err
	}
	r.told = true
	name := string(appendKey(nil, r.plan, r.args))
	if r.plan.Locks {
		r.transaction.locked = append(r.transaction.locked, name)
	}
	if r.plan.Check != nil {
		if value, err := number(values[r.plan.Owner]); err == nil {
			r.transaction.owners = append(r.transaction.owners, owner{row: name, value: value})
		}
	}
	return nil
}
