package plugin

import (
	"context"
	"database/sql"
	"slices"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// The calls for tasks are upstream's, but for the place of those of subqueues; see subqueue_tasks.go.

// InsertIntoTasks is upstream's, with the place that the option says.
func (s store) InsertIntoTasks(ctx context.Context, rows []sqlplugin.TasksRow) (sql.Result, error) {
	rows = slices.Clone(rows)
	var taken taskKeys
	for i := range rows {
		at := placesOf(rows[i].RangeHash, rows[i].TaskQueueID)
		rows[i].RangeHash = s.subqueueTasks.writes(at)
		if s.subqueueTasks.readsBoth() && !at.one() {
			taken = append(taken, at.other(rows[i].RangeHash), rows[i].TaskQueueID, rows[i].TaskID)
		}
	}
	result, err := s.TableCRUD.InsertIntoTasks(ctx, rows)
	if err != nil || taken == nil {
		return result, err
	}
	return result, s.refuse(ctx, tasksV1, taken)
}

// SelectFromTasks is upstream's, of the places that the option says.
func (s store) SelectFromTasks(ctx context.Context, filter sqlplugin.TasksFilter) ([]sqlplugin.TasksRow, error) {
	at := placesOf(filter.RangeHash, filter.TaskQueueID)
	if !s.subqueueTasks.readsBoth() || at.one() {
		filter.RangeHash = s.subqueueTasks.writes(at)
		return s.TableCRUD.SelectFromTasks(ctx, filter)
	}
	from := bound{"task_id >= ?", []any{*filter.InclusiveMinTaskID}}
	if filter.ExclusiveMaxTaskID != nil {
		from = bound{"task_id >= ? AND task_id < ?", []any{*filter.InclusiveMinTaskID, *filter.ExclusiveMaxTaskID}}
	}
	tasks, err := s.selectBoth(ctx, tasksV1, at, filter.TaskQueueID, from, filter.PageSize)
	if err != nil {
		return nil, err
	}
	var rows []sqlplugin.TasksRow
	for _, t := range tasks {
		rows = append(rows, sqlplugin.TasksRow{TaskID: t.TaskID, Data: t.Data, DataEncoding: t.DataEncoding})
	}
	return rows, nil
}

// DeleteFromTasks is upstream's, of the places that the option says.
func (s store) DeleteFromTasks(ctx context.Context, filter sqlplugin.TasksFilter) (sql.Result, error) {
	at := placesOf(filter.RangeHash, filter.TaskQueueID)
	incomplete := filter.ExclusiveMaxTaskID == nil || filter.Limit == nil || *filter.Limit == 0 // which upstream refuses
	if !s.subqueueTasks.readsBoth() || at.one() || incomplete {
		filter.RangeHash = s.subqueueTasks.writes(at)
		return s.TableCRUD.DeleteFromTasks(ctx, filter)
	}
	return s.deleteBoth(ctx, tasksV1, at, filter.TaskQueueID, bound{"task_id < ?", []any{*filter.ExclusiveMaxTaskID}}, *filter.Limit)
}

// InsertIntoTasksV2 is upstream's, with the place that the option says.
func (s store) InsertIntoTasksV2(ctx context.Context, rows []sqlplugin.TasksRowV2) (sql.Result, error) {
	rows = slices.Clone(rows)
	var taken taskKeys
	for i := range rows {
		at := placesOf(rows[i].RangeHash, rows[i].TaskQueueID)
		rows[i].RangeHash = s.subqueueTasks.writes(at)
		if s.subqueueTasks.readsBoth() && !at.one() {
			taken = append(taken, at.other(rows[i].RangeHash), rows[i].TaskQueueID, rows[i].TaskPass, rows[i].TaskID)
		}
	}
	result, err := s.TableCRUD.InsertIntoTasksV2(ctx, rows)
	if err != nil || taken == nil {
		return result, err
	}
	return result, s.refuse(ctx, tasksV2, taken)
}

// SelectFromTasksV2 is upstream's, of the places that the option says.
func (s store) SelectFromTasksV2(ctx context.Context, filter sqlplugin.TasksFilterV2) ([]sqlplugin.TasksRowV2, error) {
	at := placesOf(filter.RangeHash, filter.TaskQueueID)
	if !s.subqueueTasks.readsBoth() || at.one() || filter.InclusiveMinLevel == nil { // which upstream refuses
		filter.RangeHash = s.subqueueTasks.writes(at)
		return s.TableCRUD.SelectFromTasksV2(ctx, filter)
	}
	level := filter.InclusiveMinLevel
	tasks, err := s.selectBoth(ctx, tasksV2, at, filter.TaskQueueID, bound{"(pass, task_id) >= (?, ?)", []any{level.TaskPass, level.TaskID}}, filter.PageSize)
	if err != nil {
		return nil, err
	}
	var rows []sqlplugin.TasksRowV2
	for _, t := range tasks {
		// Upstream does not read the pass.
		rows = append(rows, sqlplugin.TasksRowV2{FairLevel: sqlplugin.FairLevel{TaskID: t.TaskID}, Data: t.Data, DataEncoding: t.DataEncoding})
	}
	return rows, nil
}

// DeleteFromTasksV2 is upstream's, of the places that the option says.
func (s store) DeleteFromTasksV2(ctx context.Context, filter sqlplugin.TasksFilterV2) (sql.Result, error) {
	at := placesOf(filter.RangeHash, filter.TaskQueueID)
	incomplete := filter.ExclusiveMaxLevel == nil || filter.Limit == nil || *filter.Limit == 0 // which upstream refuses
	if !s.subqueueTasks.readsBoth() || at.one() || incomplete {
		filter.RangeHash = s.subqueueTasks.writes(at)
		return s.TableCRUD.DeleteFromTasksV2(ctx, filter)
	}
	level := filter.ExclusiveMaxLevel
	// Not as a comparison of rows, for which MySQL would read all tasks of the subqueue: with two places they are not in the
	// order of an index, by which upstream's statement stops early.
	below := bound{"(pass < ? OR pass = ? AND task_id < ?)", []any{level.TaskPass, level.TaskPass, level.TaskID}}
	return s.deleteBoth(ctx, tasksV2, at, filter.TaskQueueID, below, *filter.Limit)
}
