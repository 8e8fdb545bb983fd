package rehash

import (
	"bytes"
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

// level is where a task is in its subqueue.
type level struct{ pass, id int64 } // pass is 0 in tasks

// beforeAll is below all tasks, which have no negative numbers.
var beforeAll = level{-1, -1}

// task is a row, without the range_hash and the task_queue_id.
type task struct {
	level
	data     []byte
	encoding string
}

// same says whether two rows differ in nothing but the range_hash.
func (t task) same(other task) bool {
	return t.level == other.level && t.encoding == other.encoding && bytes.Equal(t.data, other.data)
}

// key are the columns that tell the tasks of a subqueue apart, in the order of the primary key.
func (t table) key() []string {
	if t.fair {
		return []string{"pass", "task_id"}
	}
	return []string{"task_id"}
}

// keyOf are the values of a task's key columns.
func (t table) keyOf(at level) []any {
	if t.fair {
		return []any{at.pass, at.id}
	}
	return []any{at.id}
}

// columns are all but range_hash and task_queue_id.
func (t table) columns() []string { return append(t.key(), "data", "data_encoding") }

// values are those of a task's columns.
func (t table) values(row task) []any { return append(t.keyOf(row.level), row.data, row.encoding) }

// scan are the destinations of a task's columns.
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

// count returns the statement that counts the tasks of a subqueue and reads their highest ID. Its arguments are range hash and task queue ID.
func (t table) count(keyspace string) string {
	return "SELECT COUNT(*), COALESCE(MAX(task_id), 0) FROM " + t.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ?"
}

// lock returns the statement that locks the row with the range ID of a task queue, as upstream's writers do. Its arguments
// are range hash and task queue ID of subqueue 0.
func (t table) lock(keyspace string) string {
	queues := table{name: "task_queues"}
	if t.fair {
		queues.name = "task_queues_v2"
	}
	return "SELECT range_id FROM " + queues.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ? FOR UPDATE"
}

// next returns the statement that reads the tasks of a subqueue that follow one, the first ones first, and its arguments.
func (t table) next(keyspace string, rangeHash uint32, taskQueueID []byte, last level, count int) (string, []any) {
	arguments := []any{rangeHash, taskQueueID}
	after := "task_id > ?"
	if t.fair {
		after = "(pass > ? OR (pass = ? AND task_id > ?))"
		arguments = append(arguments, last.pass)
	}
	arguments = append(arguments, t.keyOf(last)...)
	return "SELECT " + commas(t.columns()) + " FROM " + t.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ? AND " + after +
		" ORDER BY " + commas(t.key()) + " LIMIT ?", append(arguments, count)
}

// sameLevels returns the statement that reads those tasks that have the levels of others, and its arguments.
func (t table) sameLevels(keyspace string, rangeHash uint32, taskQueueID []byte, tasks []task) (string, []any) {
	arguments := []any{rangeHash, taskQueueID}
	for _, task := range tasks {
		arguments = append(arguments, t.keyOf(task.level)...)
	}
	return "SELECT " + commas(t.columns()) + " FROM " + t.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ? AND " +
		within(t.key(), len(tasks)), arguments
}

// insert returns the statement that inserts tasks into a subqueue, and its arguments. It fails if one is there.
func (t table) insert(keyspace string, rangeHash uint32, taskQueueID []byte, tasks []task) (string, []any) {
	columns := slices.Concat([]string{"range_hash", "task_queue_id"}, t.columns())
	var arguments []any
	for _, task := range tasks {
		arguments = append(arguments, rangeHash, taskQueueID)
		arguments = append(arguments, t.values(task)...)
	}
	return "INSERT INTO " + t.in(keyspace) + " (" + commas(columns) + ") VALUES " + repeat(placeholders(len(columns)), len(tasks)), arguments
}

// remove returns the statement that deletes tasks of a subqueue, and its arguments. It names all their columns, so that
// it deletes nothing that the program has not read.
func (t table) remove(keyspace string, rangeHash uint32, taskQueueID []byte, tasks []task) (string, []any) {
	arguments := []any{rangeHash, taskQueueID}
	for _, task := range tasks {
		arguments = append(arguments, t.values(task)...)
	}
	return "DELETE FROM " + t.in(keyspace) + " WHERE range_hash = ? AND task_queue_id = ? AND " + within(t.columns(), len(tasks)), arguments
}

func (t table) in(keyspace string) string {
	return fmt.Sprintf("`%s`.%s", keyspace, t.name)
}

// within is the condition that columns have the values of one of some rows.
func within(columns []string, rows int) string {
	return "(" + commas(columns) + ") IN (" + repeat(placeholders(len(columns)), rows) + ")"
}

func commas(names []string) string { return strings.Join(names, ", ") }

func placeholders(count int) string { return "(" + repeat("?", count) + ")" }

func repeat(text string, count int) string {
	return strings.TrimSuffix(strings.Repeat(text+", ", count), ", ")
}
