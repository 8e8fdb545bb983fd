package rehash

import (
	"fmt"
	"slices"
	"strings"
)

// table is one of upstream's two tables of tasks.
type table struct {
	name string
	// fair says that the table is tasks_v2, of task queues with fairness, which orders tasks by pass and ID.
	fair bool
}

var tables = []table{{name: "tasks"}, {name: "tasks_v2", fair: true}}

// task is a row, without the range_hash and the task_queue_id.
type task struct {
	pass, id int64 // pass is 0 in tasks
	data     []byte
	encoding string
}

// key are the columns that tell the tasks of a subqueue apart, in the order of the primary key.
func (t table) key() []string {
	if t.fair {
		return []string{"pass", "task_id"}
	}
	return []string{"task_id"}
}

// keyOf are the values of a task's key columns.
func (t table) keyOf(row task) []any {
	if t.fair {
		return []any{row.pass, row.id}
	}
	return []any{row.id}
}

// scan are the destinations of the key columns, data and data_encoding.
func (t table) scan(row *task) []any {
	rest := []any{&row.id, &row.data, &row.encoding}
	if t.fair {
		return append([]any{&row.pass}, rest...)
	}
	return rest
}

// list returns the statement that lists task queues and subqueues that have tasks, in pages. Its arguments are the range
// hash, again, and the task queue ID after which a page starts, and the size of the page.
//
// MySQL jumps from one to the next in the primary key, and reads none of the tasks between.
func (t table) list() string {
	return "SELECT DISTINCT range_hash, task_queue_id FROM " + t.name +
		" WHERE range_hash > ? OR (range_hash = ? AND task_queue_id > ?) ORDER BY range_hash, task_queue_id LIMIT ?"
}

// count returns the statement that counts the tasks of a subqueue. Its arguments are range hash and task queue ID.
func (t table) count(keyspace string) string {
	return "SELECT COUNT(*) FROM " + t.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ?"
}

// first returns the statement that reads the first tasks of a subqueue. Its arguments are range hash, task queue ID and
// how many tasks.
func (t table) first(keyspace string) string {
	key := strings.Join(t.key(), ", ")
	return "SELECT " + key + ", data, data_encoding FROM " + t.in(keyspace) +
		" WHERE range_hash = ? AND task_queue_id = ? ORDER BY " + key + " LIMIT ?"
}

// insert returns the statement that inserts tasks of a subqueue, and its arguments. Tasks that are there remain as they
// are.
func (t table) insert(keyspace string, rangeHash uint32, taskQueueID []byte, tasks []task) (string, []any) {
	columns := slices.Concat([]string{"range_hash", "task_queue_id"}, t.key(), []string{"data", "data_encoding"})
	row := placeholders(len(columns))
	var arguments []any
	for _, task := range tasks {
		arguments = append(arguments, rangeHash, taskQueueID)
		arguments = append(arguments, t.keyOf(task)...)
		arguments = append(arguments, task.data, task.encoding)
	}
	// Not INSERT IGNORE, which hides more than duplicates.
	return "INSERT INTO " + t.in(keyspace) + " (" + strings.Join(columns, ", ") + ") VALUES " + repeat(row, len(tasks)) +
		" ON DUPLICATE KEY UPDATE task_id = task_id", arguments
}

// remove returns the statement that deletes tasks of a subqueue, and its arguments. It names each, so that it deletes
// nothing that the program has not read.
func (t table) remove(keyspace string, rangeHash uint32, taskQueueID []byte, tasks []task) (string, []any) {
	arguments := []any{rangeHash, taskQueueID}
	for _, task := range tasks {
		arguments = append(arguments, t.keyOf(task)...)
	}
	return "DELETE FROM " + t.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ? AND (" + strings.Join(t.key(), ", ") +
		") IN (" + repeat(placeholders(len(t.key())), len(tasks)) + ")", arguments
}

func (t table) in(keyspace string) string {
	return fmt.Sprintf("`%s`.%s", keyspace, t.name)
}

func placeholders(count int) string { return "(" + repeat("?", count) + ")" }

func repeat(text string, count int) string {
	return strings.TrimSuffix(strings.Repeat(text+", ", count), ", ")
}
