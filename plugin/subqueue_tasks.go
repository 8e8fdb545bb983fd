package plugin

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	mysqlplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"

	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
)

// The tasks of all subqueues of a task queue are where its subqueue 0 is, see package taskqueue. Upstream's plugin has them
// elsewhere. On a cluster that it has written they go from one place to the other while servers run, by steps of which
// each two neighbours may run side by side:
//
//   - Who reads one place only takes a subqueue for empty that has tasks at the other, and lets the ack level pass them. So
//     all hosts read both before the first one writes to the other place, and until nothing is left at the first.
//   - Reading both, a store has to look like one place: a read is one statement, and so one snapshot, in which a task that
//     moves is once; a delete takes the lowest tasks of both; a key is taken that either place has.
//
// Both places have to be on one Vitess shard for that: an unsharded keyspace, or a MySQL database.

// SubqueueTasks says where a store has the tasks of subqueues other than 0. The values are the steps from upstream's plugin
// to this one, in their order.
type SubqueueTasks string

const (
	// SubqueueTasksUpstream are at upstream's place.
	SubqueueTasksUpstream SubqueueTasks = "upstream"
	// SubqueueTasksUpstreamReadBoth are written to upstream's place, and read and deleted at both.
	SubqueueTasksUpstreamReadBoth SubqueueTasks = "upstream-read-both"
	// SubqueueTasksVitessReadBoth are written to this plugin's place, and read and deleted at both.
	SubqueueTasksVitessReadBoth SubqueueTasks = "vitess-read-both"
	// SubqueueTasksVitess are at this plugin's place, the default.
	SubqueueTasksVitess SubqueueTasks = "vitess"
)

var allSubqueueTasks = []SubqueueTasks{
	SubqueueTasksUpstream, SubqueueTasksUpstreamReadBoth, SubqueueTasksVitessReadBoth, SubqueueTasksVitess,
}

func (s SubqueueTasks) readsBoth() bool {
	return s == SubqueueTasksUpstreamReadBoth || s == SubqueueTasksVitessReadBoth
}

func (s SubqueueTasks) writes(at places) uint32 {
	if s == SubqueueTasksUpstream || s == SubqueueTasksUpstreamReadBoth {
		return at.upstream
	}
	return at.vitess
}

// places are the range hashes of a subqueue's tasks in upstream's plugin and in this one. For subqueue 0 they are the same.
type places struct{ upstream, vitess uint32 }

// placesOf returns the places of a task queue or subqueue of which upstream has said its own.
func placesOf(upstream uint32, taskQueueID []byte) places {
	return places{upstream: upstream, vitess: taskqueue.RangeHash(taskQueueID)}
}

func (p places) one() bool { return p.upstream == p.vitess }

func (p places) other(than uint32) uint32 {
	if than == p.upstream {
		return p.vitess
	}
	return p.upstream
}

// taskTable is one of upstream's two tables of tasks.
type taskTable struct {
	name string
	// key are the columns of the primary key after range_hash and task_queue_id.
	key []string
}

var (
	tasksV1 = taskTable{"tasks", []string{"task_id"}}
	tasksV2 = taskTable{"tasks_v2", []string{"pass", "task_id"}}
)

// bound is a condition on the key of tasks.
type bound struct {
	condition string
	arguments []any
}

// placedTask is a task with its place. One of table tasks has no pass.
type placedTask struct {
	Pass, TaskID int64
	Data         []byte
	DataEncoding string
	Upstream     bool
	// Twin reports, of one at upstream's place, whether this plugin's has a task with the same key.
	Twin bool
}

// selectBoth reads tasks of both places in the order of their keys, as if they were in one.
//
// Two tasks with one key are an error. None of these stores writes the second. A server that reads one place only does,
// if the task queue was deleted and created again, so that its task IDs started over. Matching would take the two for one,
// and lose the other.
func (s store) selectBoth(ctx context.Context, table taskTable, at places, taskQueueID []byte, from bound, limit *int) ([]placedTask, error) {
	key := strings.Join(table.key, ", ")
	twins := make([]string, len(table.key))
	for i, column := range table.key {
		twins[i] = fmt.Sprintf("twins.%s = %s.%[1]s", column, table.name)
	}
	limited, limits := "", []any(nil)
	if limit != nil {
		limited, limits = " LIMIT ?", []any{*limit}
	}
	query := strings.Join([]string{
		"(SELECT ", key, ", data, data_encoding, 1 AS upstream,",
		" EXISTS (SELECT 1 FROM ", table.name, " AS twins WHERE twins.range_hash = ? AND twins.task_queue_id = ? AND ", strings.Join(twins, " AND "), ") AS twin",
		" FROM ", table.name, " WHERE range_hash = ? AND task_queue_id = ? AND ", from.condition, " ORDER BY ", key, limited, ")",
		" UNION ALL (SELECT ", key, ", data, data_encoding, 0 AS upstream, 0 AS twin",
		" FROM ", table.name, " WHERE range_hash = ? AND task_queue_id = ? AND ", from.condition, " ORDER BY ", key, limited, ")",
		// With upstream's first, a page never ends between two twins of which it would show the one that does not know.
		" ORDER BY ", key, ", upstream DESC", limited,
	}, "")
	arguments := []any{at.vitess, taskQueueID}
	for _, place := range []uint32{at.upstream, at.vitess} {
		arguments = append(append(append(arguments, place, taskQueueID), from.arguments...), limits...)
	}
	var tasks []placedTask
	if err := s.statements.SelectContext(ctx, &tasks, query, append(arguments, limits...)...); err != nil {
		return nil, err
	}
	atUpstreams := int64(0)
	for _, t := range tasks {
		if t.Twin {
			return nil, fmt.Errorf("%s: two tasks of task queue %x have ID %d, one at the place of upstream's plugin (range_hash %d) and one at that of this plugin (%d): "+
				"with %s: %s the newer one is delivered, and rehash-task-queues tells how to go on", table.name, taskQueueID, t.TaskID, at.upstream, at.vitess, optionSubqueueTasks, SubqueueTasksVitess)
		}
		if t.Upstream {
			atUpstreams++
		}
	}
	s.tasksRead.upstream.Record(atUpstreams)
	s.tasksRead.vitess.Record(int64(len(tasks)) - atUpstreams)
	return tasks, nil
}

// deleteBoth deletes the lowest tasks below a bound, whatever their place.
func (s store) deleteBoth(ctx context.Context, table taskTable, at places, taskQueueID []byte, below bound, limit int) (sql.Result, error) {
	query := strings.Join([]string{
		"DELETE FROM ", table.name, " WHERE range_hash IN (?, ?) AND task_queue_id = ? AND ", below.condition,
		" ORDER BY ", strings.Join(table.key, ", "), " LIMIT ?",
	}, "")
	arguments := append([]any{at.upstream, at.vitess, taskQueueID}, below.arguments...)
	return s.statements.ExecContext(ctx, query, append(arguments, limit)...)
}

// taskKeys are full primary keys of tasks, one after the other.
type taskKeys []any

// refuse returns MySQL's error of a duplicate key if there is a task with one of some keys. The insert at the other place
// comes before: whoever moves such a task waits for it, or it for them.
func (s store) refuse(ctx context.Context, table taskTable, keys taskKeys) error {
	columns := append([]string{"range_hash", "task_queue_id"}, table.key...)
	row := "(" + strings.Repeat("?, ", len(columns)-1) + "?)"
	query := "SELECT task_id FROM " + table.name + " WHERE (" + strings.Join(columns, ", ") + ") IN (" + strings.Repeat(row+", ", len(keys)/len(columns)-1) + row + ") LIMIT 1"
	var found []int64
	if err := s.statements.SelectContext(ctx, &found, query, keys...); err != nil || len(found) == 0 {
		return err
	}
	return &mysql.MySQLError{Number: mysqlplugin.ErrDupEntryCode, Message: fmt.Sprintf("Duplicate entry for key '%s.PRIMARY': task ID %d", table.name, found[0])}
}

// verifyTimeout bounds what a server asks at its start.
const verifyTimeout = 10 * time.Second

// verifySubqueueTasks returns an error if upstream's place may be on another Vitess shard than the task queue. It asks
// vtgate where the tables are, as routing rules may say otherwise than the store's keyspace.
func (d *db) verifySubqueueTasks() error {
	if d.kind != sqlplugin.DbKindMain {
		return nil
	}
	d.logger.Info("Where the tasks of subqueues are", tag.String(optionSubqueueTasks, string(d.subqueueTasks)))
	if connector := d.connector.Load(); d.subqueueTasks == SubqueueTasksVitess || connector == nil || connector.PlainMySQL() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	for _, table := range []taskTable{tasksV1, tasksV2} {
		var answer []string
		query := fmt.Sprintf("vexplain plan select 1 from `%s`.%s where range_hash = 0", d.DbName(), table.name)
		if err := d.statements.SelectContext(ctx, &answer, query); err != nil {
			return fmt.Errorf("main store: which keyspace has table %s: %w", table.name, met(err))
		}
		var plan struct {
			Keyspace struct {
				Name    string
				Sharded bool
			}
		}
		if err := json.Unmarshal([]byte(strings.Join(answer, "\n")), &plan); err != nil || plan.Keyspace.Name == "" {
			return fmt.Errorf("main store: which keyspace has table %s: vtgate's answer to %s is not known: %s", table.name, query, answer)
		}
		if plan.Keyspace.Sharded {
			return fmt.Errorf("connectAttributes: %s is %s, but table %s is in keyspace %s, which is sharded: at upstream's place the subqueues of a task queue would be on several Vitess shards. "+
				"Leave the option out; if upstream's plugin has written tasks there, see rehash-task-queues", optionSubqueueTasks, d.subqueueTasks, table.name, plan.Keyspace.Name)
		}
	}
	return nil
}

// tasksRead counts tasks that are read from both places, by place.
type tasksRead struct{ upstream, vitess metrics.CounterIface }

func newTasksRead(handler metrics.Handler) tasksRead {
	of := func(place SubqueueTasks) metrics.CounterIface {
		return handler.WithTags(metrics.StringTag("place", string(place))).Counter("vitess_subqueue_tasks_read")
	}
	return tasksRead{upstream: of(SubqueueTasksUpstream), vitess: of(SubqueueTasksVitess)}
}
