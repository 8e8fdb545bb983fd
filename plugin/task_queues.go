package plugin

import (
	"context"
	"database/sql"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/dgryski/go-farm"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// A task queue has subqueues (for priorities and fairness), whose tasks upstream stores under a hash of their own,
// while the row with the range ID that guards all of them is that of subqueue 0. On Vitess they are in different
// places, so a batch of tasks would be a transaction over several Vitess shards. Here all subqueues of a task queue
// share the range hash of its subqueue 0, by which Vitess places the rows. The task_queue_id still tells them apart.

// The format of a task queue's id, from upstream's taskQueueId (common/persistence/sql/task_util.go): the namespace's
// UUID, the name, and a byte for the type; for a subqueue other than 0, the type's high bit is set and the number of
// the subqueue follows as a varint.
const (
	namespaceIDLength = 16
	subqueueMark      = 0x80
)

// rangeHash returns the range hash for the tasks of a task queue's subqueue: upstream's hash of subqueue 0.
func rangeHash(taskQueueID []byte) uint32 {
	return farm.Fingerprint32(subqueueZero(taskQueueID))
}

// subqueueZero returns the id of subqueue 0 of a task queue.
//
// The name is UTF-8, so it decides where the rest starts. The byte of a marked type (0x80 to 0xBF, as there are fewer
// than 64 types) can only continue a character. Without a subqueue all before the last byte is the name; with one, it
// is the name and a byte that continues nothing, which is not UTF-8. For the same reason one length of the varint at
// most leaves a valid name.
func subqueueZero(id []byte) []byte {
	end := len(id) - 1
	if end < namespaceIDLength || utf8.Valid(id[namespaceIDLength:end]) {
		return id
	}
	// Bytes of a varint have their high bit set, but for the last.
	for position := end - 1; position >= namespaceIDLength && id[position]&subqueueMark != 0 && end-position <= binary.MaxVarintLen64; position-- {
		if utf8.Valid(id[namespaceIDLength:position]) {
			return append(slices.Clone(id[:position]), id[position]&^subqueueMark)
		}
	}
	return id
}

// InsertIntoTasks is upstream's, with the range hash of subqueue 0.
func (s store) InsertIntoTasks(ctx context.Context, rows []sqlplugin.TasksRow) (sql.Result, error) {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].RangeHash = rangeHash(rows[i].TaskQueueID)
	}
	return s.TableCRUD.InsertIntoTasks(ctx, rows)
}

// SelectFromTasks is upstream's, with the range hash of subqueue 0.
func (s store) SelectFromTasks(ctx context.Context, filter sqlplugin.TasksFilter) ([]sqlplugin.TasksRow, error) {
	filter.RangeHash = rangeHash(filter.TaskQueueID)
	return s.TableCRUD.SelectFromTasks(ctx, filter)
}

// DeleteFromTasks is upstream's, with the range hash of subqueue 0.
func (s store) DeleteFromTasks(ctx context.Context, filter sqlplugin.TasksFilter) (sql.Result, error) {
	filter.RangeHash = rangeHash(filter.TaskQueueID)
	return s.TableCRUD.DeleteFromTasks(ctx, filter)
}

// InsertIntoTasksV2 is upstream's, with the range hash of subqueue 0.
func (s store) InsertIntoTasksV2(ctx context.Context, rows []sqlplugin.TasksRowV2) (sql.Result, error) {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].RangeHash = rangeHash(rows[i].TaskQueueID)
	}
	return s.TableCRUD.InsertIntoTasksV2(ctx, rows)
}

// SelectFromTasksV2 is upstream's, with the range hash of subqueue 0.
func (s store) SelectFromTasksV2(ctx context.Context, filter sqlplugin.TasksFilterV2) ([]sqlplugin.TasksRowV2, error) {
	filter.RangeHash = rangeHash(filter.TaskQueueID)
	return s.TableCRUD.SelectFromTasksV2(ctx, filter)
}

// DeleteFromTasksV2 is upstream's, with the range hash of subqueue 0.
func (s store) DeleteFromTasksV2(ctx context.Context, filter sqlplugin.TasksFilterV2) (sql.Result, error) {
	filter.RangeHash = rangeHash(filter.TaskQueueID)
	return s.TableCRUD.DeleteFromTasksV2(ctx, filter)
}
