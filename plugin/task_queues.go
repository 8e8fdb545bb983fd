package plugin

import (
	"context"
	"database/sql"
	"slices"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/plugin/taskqueue"
)

// The tasks of all subqueues of a task queue are where its subqueue 0 is, see package taskqueue.

// InsertIntoTasks is upstream's, with the range hash of subqueue 0.
func (s store) InsertIntoTasks(ctx context.Context, rows []sqlplugin.TasksRow) (sql.Result, error) {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].RangeHash = taskqueue.RangeHash(rows[i].TaskQueueID)
	}
	return s.TableCRUD.InsertIntoTasks(ctx, rows)
}

// SelectFromTasks is upstream's, with the range hash of subqueue 0.
func (s store) SelectFromTasks(ctx context.Context, filter sqlplugin.TasksFilter) ([]sqlplugin.TasksRow, error) {
	filter.RangeHash = taskqueue.RangeHash(filter.TaskQueueID)
	return s.TableCRUD.SelectFromTasks(ctx, filter)
}

// DeleteFromTasks is upstream's, with the range hash of subqueue 0.
func (s store) DeleteFromTasks(ctx context.Context, filter sqlplugin.TasksFilter) (sql.Result, error) {
	filter.RangeHash = taskqueue.RangeHash(filter.TaskQueueID)
	return s.TableCRUD.DeleteFromTasks(ctx, filter)
}

// InsertIntoTasksV2 is upstream's, with the range hash of subqueue 0.
func (s store) InsertIntoTasksV2(ctx context.Context, rows []sqlplugin.TasksRowV2) (sql.Result, error) {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].RangeHash = taskqueue.RangeHash(rows[i].TaskQueueID)
	}
	return s.TableCRUD.InsertIntoTasksV2(ctx, rows)
}

// SelectFromTasksV2 is upstream's, with the range hash of subqueue 0.
func (s store) SelectFromTasksV2(ctx context.Context, filter sqlplugin.TasksFilterV2) ([]sqlplugin.TasksRowV2, error) {
	filter.RangeHash = taskqueue.RangeHash(filter.TaskQueueID)
	return s.TableCRUD.SelectFromTasksV2(ctx, filter)
}

// DeleteFromTasksV2 is upstream's, with the range hash of subqueue 0.
func (s store) DeleteFromTasksV2(ctx context.Context, filter sqlplugin.TasksFilterV2) (sql.Result, error) {
	filter.RangeHash = taskqueue.RangeHash(filter.TaskQueueID)
	return s.TableCRUD.DeleteFromTasksV2(ctx, filter)
}
