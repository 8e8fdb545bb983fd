package rehash

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
)

// batchTimeout bounds a batch, which a cancelled context does not interrupt.
const batchTimeout = time.Minute

// batch are consecutive tasks of a subqueue at the old place. Each is in moved or in kept.
type batch struct {
	moved []task // or to move
	kept  []task // another task has its level at the new place
	// absent are those of moved that are not at the new place yet.
	absent []task
	last   level
}

// move moves the tasks of a subqueue, the first ones first, and returns which it kept. It calls done after each batch.
func (r *Rehash) move(ctx context.Context, s subqueue, done func(batch)) (keptTasks, error) {
	kept := keptTasks{subqueue: s}
	last, deliverable := beforeAll, false
	for {
		if err := ctx.Err(); err != nil {
			return kept, err
		}
		if !r.cfg.ServersReadBoth {
			if err := r.checkStopped(ctx); err != nil {
				return kept, err
			}
		}
		b, err := r.moveBatch(context.WithoutCancel(ctx), s, last, deliverable)
		for attempt := 1; again(err) && attempt < maxAttempts; attempt++ {
			b, err = r.moveBatch(context.WithoutCancel(ctx), s, last, deliverable)
		}
		if err != nil {
			return kept, fmt.Errorf("move tasks of %s: %w", s, err)
		}
		if len(b.moved)+len(b.kept) == 0 {
			return kept, nil
		}
		last = b.last
		deliverable = deliverable || len(b.moved) > 0
		kept.add(b.kept)
		done(b)
	}
}

// moveBatch moves the tasks that follow a level, unless the new place has other ones of the same level.
//
// The comparison holds although it is in no transaction with the rest, which two Vitess shards cannot have: the insert
// fails if a task has come to the new place since, and the delete takes only rows that are still as they were compared.
func (r *Rehash) moveBatch(ctx context.Context, s subqueue, last level, deliverable bool) (batch, error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	b, err := r.readBatch(ctx, s, last)
	if err != nil || len(b.moved) == 0 {
		return b, err
	}
	// Servers that read both places have not let an ack level pass a task.
	if !deliverable && !r.cfg.ServersReadBoth {
		if err := r.makeDeliverable(ctx, s, b.moved[0]); err != nil {
			return b, err
		}
	}
	if len(r.vitessShards) == 1 {
		return b, r.replace(ctx, s, b)
	}
	// The places may be on two Vitess shards, which no transaction makes one. So this order.
	if err := r.insert(ctx, r.cfg.DB, s, b); err != nil {
		return b, err
	}
	_, err = r.remove(ctx, r.cfg.DB, s, b)
	return b, err
}

// replace moves tasks in one transaction, if all are still there. It waits for who writes to the task queue, and they wait
// for it. The delete is first, so that it waits for who deletes the tasks before it has locks that these could wait for.
func (r *Rehash) replace(ctx context.Context, s subqueue, b batch) (err error) {
	tx, err := r.cfg.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // of which err is the cause
		}
	}()
	zero := taskqueue.SubqueueZero(s.taskQueueID)
	err = tx.QueryRowContext(ctx, s.table.lock(r.cfg.Keyspace), taskqueue.RangeHash(zero), zero).Scan(new(int64))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	removed, err := r.remove(ctx, tx, s, b)
	if err != nil {
		return err
	}
	if removed != int64(len(b.moved)) {
		return errChanged
	}
	if err := r.insert(ctx, tx, s, b); err != nil {
		return err
	}
	return tx.Commit()
}

// errChanged is the error of a batch whose tasks were done, or are others, by the time that they were to move.
var errChanged = errors.New("tasks change all the time")

// maxAttempts is how often a batch is tried.
const maxAttempts = 10

// again reports whether a batch has met others at work, and is worth another attempt.
func again(err error) bool {
	return errors.Is(err, errChanged) || live.Refused(err, live.ErrnoDeadlock, live.ErrnoLockWait)
}

// readBatch reads the tasks that follow a level, and compares them with the new place.
func (r *Rehash) readBatch(ctx context.Context, s subqueue, last level) (batch, error) {
	var b batch
	statement, arguments := s.table.next(r.cfg.Keyspace, s.rangeHash, s.taskQueueID, last, r.cfg.BatchSize)
	tasks, err := r.read(ctx, s.table, statement, arguments)
	if err != nil || len(tasks) == 0 {
		return b, err
	}
	b.last = tasks[len(tasks)-1].level
	statement, arguments = s.table.sameLevels(r.cfg.Keyspace, r.rangeHash(s.taskQueueID), s.taskQueueID, tasks)
	found, err := r.read(ctx, s.table, statement, arguments)
	if err != nil {
		return b, err
	}
	there := map[level]task{}
	for _, other := range found {
		there[other.level] = other
	}
	for _, task := range tasks {
		other, taken := there[task.level]
		switch {
		case !taken:
			b.absent = append(b.absent, task)
			b.moved = append(b.moved, task)
		case task.same(other): // a run ended between insert and delete
			b.moved = append(b.moved, task)
		default:
			b.kept = append(b.kept, task)
		}
	}
	return b, nil
}

func (r *Rehash) read(ctx context.Context, t table, statement string, arguments []any) ([]task, error) {
	var tasks []task
	var row task
	err := live.EachRow(ctx, r.cfg.DB, statement, arguments, func() error {
		tasks = append(tasks, row)
		return nil
	}, t.scan(&row)...)
	return tasks, err
}

// execer is a pool or a transaction.
type execer interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

// insert inserts tasks at the new place, as far as they are not there.
func (r *Rehash) insert(ctx context.Context, db execer, s subqueue, b batch) error {
	if len(b.absent) == 0 {
		return nil
	}
	statement, arguments := s.table.insert(r.cfg.Keyspace, r.rangeHash(s.taskQueueID), s.taskQueueID, b.absent)
	_, err := db.ExecContext(ctx, statement, arguments...)
	return err
}

// remove deletes tasks at the old place, and returns how many were there.
func (r *Rehash) remove(ctx context.Context, db execer, s subqueue, b batch) (int64, error) {
	statement, arguments := s.table.remove(r.cfg.Keyspace, s.rangeHash, s.taskQueueID, b.moved)
	result, err := db.ExecContext(ctx, statement, arguments...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
