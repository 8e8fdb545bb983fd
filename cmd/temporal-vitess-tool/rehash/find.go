package rehash

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
)

// listPage is how many task queues and subqueues are listed at once.
const listPage = 1000

// subqueue is a subqueue with tasks at another place than the one that they move to.
type subqueue struct {
	table       table
	rangeHash   uint32
	taskQueueID []byte
	rows        int64
	highestID   int64 // of its tasks
}

// find returns the subqueues with tasks at another place than the one that they move to, in all tables.
func (r *Rehash) find(ctx context.Context) ([]subqueue, error) {
	var found []subqueue
	for _, table := range tables {
		list := func(session *sql.Conn) error {
			misplaced, err := r.listMisplaced(ctx, session, table)
			found = append(found, misplaced...)
			return err
		}
		for _, vitessShard := range r.vitessShards {
			if err := r.on(ctx, vitessShard, list); err != nil {
				return nil, fmt.Errorf("list the task queues in %s: %w", table.in(r.cfg.Keyspace), err)
			}
		}
	}
	for i, s := range found {
		if err := r.cfg.DB.QueryRowContext(ctx, s.table.count(r.cfg.Keyspace), s.rangeHash, s.taskQueueID).Scan(&found[i].rows, &found[i].highestID); err != nil {
			return nil, fmt.Errorf("count the tasks of %s: %w", s, err)
		}
	}
	return found, nil
}

func (r *Rehash) listMisplaced(ctx context.Context, session *sql.Conn, table table) ([]subqueue, error) {
	var misplaced []subqueue
	last := subqueue{table: table, taskQueueID: []byte{}}
	for {
		listed := 0
		err := live.EachRow(ctx, session, table.list(), []any{last.rangeHash, last.rangeHash, last.taskQueueID, listPage}, func() error {
			listed++
			if last.rangeHash != r.rangeHash(last.taskQueueID) {
				misplaced = append(misplaced, last)
			}
			return nil
		}, &last.rangeHash, &last.taskQueueID)
		if err != nil {
			return nil, err
		}
		if listed < listPage {
			return misplaced, nil
		}
	}
}

// place tells the subqueue and where its tasks are from all others.
func (s subqueue) place() string {
	return fmt.Sprintf("%s %d %x", s.table.name, s.rangeHash, s.taskQueueID)
}

// String names the subqueue for errors.
func (s subqueue) String() string {
	id, ok := taskqueue.Parse(s.taskQueueID)
	if !ok {
		return fmt.Sprintf("task queue ID %x in %s", s.taskQueueID, s.table.name)
	}
	return fmt.Sprintf("%s task queue %q of namespace %s, subqueue %d in %s", id.Type, id.Name, id.NamespaceID, id.Subqueue, s.table.name)
}
