package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// A transaction is pipelined: BEGIN travels with its first statement, and a write whose result nobody needs yet waits
// and travels with the next statement that cannot wait, or with COMMIT. Which may wait is in router's waits.go.
//
// The server executes the statements of a packet in order and stops at the first that fails; the transaction then
// stays open until ROLLBACK. So a packet that fails leaves nothing behind once it is rolled back, and the errors of
// one that ends with COMMIT mean that COMMIT was not reached, unless they are the loss of the connection.

// Causes of sending, as metrics name them.
const (
	causeRead   = "read"   // a SELECT
	causeWrite  = "write"  // a write that may not wait
	causeCount  = "count"  // a row count that was not promised
	causeSize   = "size"   // a packet is full
	causeChunk  = "chunk"  // a DELETE with a row limit
	causeCommit = "commit" // COMMIT
	causeBatch  = "batch"  // a Batch, which is no transaction
)

// writesAtOnce is for how many waiting writes memory is taken at once. An update of a workflow has about 8.
const writesAtOnce = 8

// transaction is the state of a conn between BEGIN and COMMIT or ROLLBACK.
type transaction struct {
	conn *conn
	// ctx is that of BeginTx, for what has no other: COMMIT, and row counts.
	ctx context.Context
	// begun is set once the server has got BEGIN.
	begun   bool
	waiting []*write
	// writes is room for those that wait.
	writes []write
	// size of what waits, see sizeOf.
	size int
	// locked has the rows that this transaction has found and locked FOR UPDATE, few as they are; see appendKey.
	locked []string
	// failed is set once the transaction cannot be committed any more.
	failed error
	// counted for metrics.
	statements, packets int
}

var _ driver.Tx = (*transaction)(nil)

// exec executes a statement in the transaction, now or later.
func (t *transaction) exec(ctx context.Context, plan *router.Plan, args []driver.NamedValue) (driver.Result, error) {
	bound, size, err := t.admit(ctx, plan, args)
	if err != nil {
		return nil, err
	}
	if plan.Waits {
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

// admit returns the values of a statement's placeholders and its size. It sends what waits if the statement must not
// travel with it: because of its size, or because it does not wait, so that the DELETEs have to be complete.
func (t *transaction) admit(ctx context.Context, plan *router.Plan, args []driver.NamedValue) ([]driver.NamedValue, int, error) {
	if t.failed != nil {
		return nil, 0, t.failed
	}
	bound := bind(&plan.Statement, args)
	if len(bound) != plan.Statement.Placeholders {
		// In a packet, another statement would take the difference. The error is as from the driver.
		return nil, 0, t.conn.explain(driver.ErrSkip, plan.Statement.SQL)
	}
	size := sizeOf(&plan.Statement, bound)
	t.statements++
	if len(t.waiting) > 0 && t.size+size > maxPacket {
		return bound, size, t.flush(ctx, causeSize)
	}
	if !plan.Waits {
		return bound, size, t.completeDeletes(ctx)
	}
	return bound, size, nil
}

// flush sends what waits.
func (t *transaction) flush(ctx context.Context, cause string) error {
	if t.failed != nil {
		return t.failed
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
	writes := t.take()
	first := 0
	if !t.begun {
		first = 1
	}
	p, statements := t.join(writes, "", last, args)
	t.sending(cause)
	result, err := t.conn.execPacket(ctx, p, replay{transaction: true, fresh: !t.begun, commits: cause == causeCommit})
	if err != nil {
		return 0, t.fail(err, writes, last)
	}
	t.begun = true
	var counts []int64
	if all, ok := result.(mysql.Result); ok {
		counts = all.AllRowsAffected()
	}
	if len(counts) != statements {
		return 0, t.defect(fmt.Errorf("%d statements were sent together, but the server answered %d", statements, len(counts)))
	}
	for i, w := range writes {
		if err := w.arrive(counts[first+i]); err != nil {
			return 0, t.defect(err)
		}
	}
	return counts[len(counts)-1], nil
}

// query sends what waits and a SELECT, and returns its rows.
func (t *transaction) query(ctx context.Context, plan *router.Plan, args []driver.NamedValue) (driver.Rows, error) {
	bound, _, err := t.admit(ctx, plan, args)
	if err != nil {
		return nil, err
	}
	rows, err := t.queryPacket(ctx, causeRead, plan, bound)
	if err != nil {
		return nil, err
	}
	if plan.Locks && plan.Key != nil {
		return &lockedRows{Rows: rows, transaction: t, plan: plan, args: args}, nil
	}
	return rows, nil
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

// rowCount is put behind each waiting write in a packet that ends with a SELECT or INSERT. Its result is the row count
// of the statement before it, which the driver does not tell otherwise, and shows that this one succeeded. Vtgate
// answers it itself.
const rowCount = "select row_count()"

// queryPacket sends what waits and a last statement. It returns the rows of a SELECT, and no rows of an INSERT.
func (t *transaction) queryPacket(ctx context.Context, cause string, plan *router.Plan, args []driver.NamedValue) (driver.Rows, error) {
	writes := t.take()
	p, _ := t.join(writes, rowCount, plan, args)
	t.sending(cause)
	rows, err := t.conn.queryPacket(ctx, p, replay{transaction: true, fresh: !t.begun})
	if err != nil { // of the first statement that is not BEGIN
		return nil, t.fail(err, writes[:min(1, len(writes))], nil)
	}
	t.begun = true
	if len(writes) == 0 {
		return rows, nil
	}
	results, ok := rows.(driver.RowsNextResultSet)
	if !ok {
		_ = rows.Close()
		return nil, t.defect(errors.New("the driver's rows have no further results"))
	}
	for i, w := range writes {
		affected, err := readCount(rows)
		if err != nil {
			_ = rows.Close()
			return nil, t.fail(t.conn.explain(err, rowCount), writes[i:i+1], nil)
		}
		if err := w.arrive(affected); err != nil {
			_ = rows.Close()
			return nil, t.defect(err)
		}
		err = results.NextResultSet()
		last := i == len(writes)-1
		switch {
		case err == nil:
		case last && errors.Is(err, io.EOF) && plan.Insert:
			return rows, nil
		case last: // the last statement's own error; what waited has been executed
			_ = rows.Close()
			return nil, t.fail(t.conn.explain(err, plan.Statement.SQL), nil, nil)
		default:
			_ = rows.Close()
			next := writes[i+1]
			return nil, t.fail(t.conn.explain(err, next.plan.Statement.SQL), []*write{next}, nil)
		}
	}
	return rows, nil
}

func readCount(rows driver.Rows) (int64, error) {
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return 0, err
	}
	switch value := row[0].(type) {
	case int64:
		return value, nil
	case []byte:
		return strconv.ParseInt(string(value), 10, 64)
	default:
		return 0, fmt.Errorf("%s returned a %T", rowCount, value)
	}
}

// finishChunks repeats a DELETE whose last execution affected that many rows until one reaches fewer than its limit, and
// returns the rows of the repetitions.
func (t *transaction) finishChunks(ctx context.Context, plan *router.Plan, args []driver.NamedValue, affected int64) (int64, error) {
	total := int64(0)
	for plan.Chunk > 0 && affected == int64(plan.Chunk) {
		var err error
		if affected, err = t.send(ctx, causeChunk, plan, args); err != nil {
			t.failed = err // a part of the rows is deleted
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

func (t *transaction) sending(cause string) {
	t.packets++
	t.conn.connector.observer.sending(cause)
}

// fail takes note of the error of a packet, and returns what its caller should see. The transaction goes on, as without
// pipelining, only where the server refused a statement that nobody had been told was done: the server may have rolled
// it back, and would take what follows for statements outside of one. The error of a packet with what waited never is a
// bare duplicate key: upstream would take it for that of its last statement.
func (t *transaction) fail(err error, writes []*write, last *router.Plan) error {
	t.begun = true // the server may have got as far as BEGIN
	if len(writes) == 0 {
		if classify(err) != Refused {
			t.failed = err
		}
		return err
	}
	var statements []string
	for _, w := range writes {
		statements = append(statements, w.plan.Statement.SQL)
	}
	if last != nil {
		statements = append(statements, last.Statement.SQL)
	}
	t.failed = &Error{Class: classify(err), Text: fmt.Sprintf("%v (met by one of these statements: %s)", err, strings.Join(statements, "; "))}
	return t.failed
}

// defect ends a transaction whose promises were broken.
func (t *transaction) defect(err error) error {
	t.failed = err
	t.conn.connector.observer.failed(Defect)
	t.conn.connector.observer.defect(err, t.conn.scratch.plans)
	return err
}

// Commit sends what waits, and COMMIT with it. If it fails otherwise than by the loss of the connection, nothing is
// left behind.
func (t *transaction) Commit() error {
	defer t.end()
	err := t.failed
	if err == nil {
		err = t.completeDeletes(t.ctx)
	}
	if err != nil {
		return errors.Join(err, t.rollback())
	}
	if !t.begun && len(t.waiting) == 0 {
		return nil
	}
	_, err = t.send(t.ctx, causeCommit, commit, nil)
	switch {
	case err == nil:
		return nil
	case t.conn.IsValid():
		// An error before COMMIT leaves the transaction open, and database/sql takes it for ended.
		return errors.Join(err, t.rollback())
	case classify(err) == Canceled:
		return &Error{Class: Ambiguous, Text: fmt.Sprintf("the caller's context ended during COMMIT: %v", err)}
	default:
		return err
	}
}

// Rollback drops what waits, and sends ROLLBACK if the server knows of the transaction.
func (t *transaction) Rollback() error {
	defer t.end()
	return t.rollback()
}

func (t *transaction) rollback() error {
	t.waiting = nil
	if !t.begun {
		return nil
	}
	return t.conn.rollback(t.ctx)
}

func (t *transaction) end() {
	t.conn.transaction = nil
	t.conn.scratch.release()
	t.conn.connector.observer.transaction(t.statements, t.packets)
}

// lockedRows tells the transaction once a locking SELECT has found its row.
type lockedRows struct {
	driver.Rows
	transaction *transaction
	plan        *router.Plan
	args        []driver.NamedValue
	told        bool
}

func (r *lockedRows) Next(values []driver.Value) error {
	err := r.Rows.Next(values)
	if err == nil && !r.told {
		r.told = true
		r.transaction.locked = append(r.transaction.locked, string(appendKey(nil, r.plan, r.args)))
	}
	return err
}
