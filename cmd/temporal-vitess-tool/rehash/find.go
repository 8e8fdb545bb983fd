package rehash

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/temporal-vitess/temporal-vitess/plugin/taskqueue"
)

// listPage is how many task queues and subqueues are listed at once.
const listPage = 1000

// subqueue is a subqueue with tasks at another place than the plugin's.
type subqueue struct {
	table       table
	rangeHash   uint32
	taskQueueID []byte
	rows        int64
}

// find returns the subqueues with tasks that have another range hash than the plugin's, in all tables.
func (r *Rehash) find(ctx context.Context) ([]subqueue, error) {
	var found []subqueue
	for _, table := range tables {
		list := func(session *sql.Conn) error {
			misplaced, err := listMisplaced(ctx, session, table)
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
		if err := r.cfg.DB.QueryRowContext(ctx, s.table.count(r.cfg.Keyspace), s.rangeHash, s.taskQueueID).Scan(&found[i].rows); err != nil {
			return nil, fmt.Errorf("count the tasks of %s: %w", s, err)
		}
	}
	return found, nil
}

func listMisplaced(ctx context.Context, session *sql.Conn, table table) ([]subqueue, error) {
	var misplaced []subqueue
	last := subqueue{table: table, taskQueueID: []byte{}}
	for {
		rows, err := session.QueryContext(ctx, table.list(), last.rangeHash, last.rangeHash, last.taskQueueID, listPage)
		if err != nil {
			return nil, err
		}
		listed := 0
		for rows.Next() {
			listed++
			last = subqueue{table: table}
			if err := rows.Scan(&last.rangeHash, &last.taskQueueID); err != nil {
				rows.Close()
				return nil, err
			}
			if last.rangeHash != taskqueue.RangeHash(last.taskQueueID) {
				misplaced = append(misplaced, last)
			}
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if listed < listPage {
			return misplaced, nil
		}
	}
}

// String names the subqueue for errors.
func (s subqueue) String() string {
	id, ok := taskqueue.Parse(s.taskQueueID)
	if !ok {
		return fmt.Sprintf("task queue ID %x in %s", s.taskQueueID, s.table.name)
	}
	return fmt.Sprintf("%s task queue %q of namespace %s, subqueue %d in %s", id.Type, id.Name, id.NamespaceID, id.Subqueue, s.table.name)
}
