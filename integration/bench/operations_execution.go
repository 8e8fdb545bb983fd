package main

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/persistence"
)

var executionOperations = []operation{
	{Name: "create workflow", Busy: true, setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(context.Context) (call, error) {
			w, err := c.newExecution()
			if err != nil {
				return nil, err
			}
			request := w.createRequest()
			return func(ctx context.Context) error {
				_, err := c.measured.executions.CreateWorkflowExecution(ctx, request)
				return err
			}, nil
		}, nil
	}},
	{Name: "update workflow", Busy: true, setUp: onExecution(func(c *caller, w *execution) (call, error) {
		request := w.update(running, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		return func(ctx context.Context) error {
			_, err := c.measured.executions.UpdateWorkflowExecution(ctx, request)
			return err
		}, nil
	})},
	{Name: "continue as new", setUp: onExecution(func(c *caller, w *execution) (call, error) {
		request := w.update(completed, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW)
		if err := w.startRun(); err != nil {
			return nil, err
		}
		request.NewWorkflowEvents = w.events(startEvents())
		request.NewWorkflowSnapshot = w.snapshot(running, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
		return func(ctx context.Context) error {
			_, err := c.measured.executions.UpdateWorkflowExecution(ctx, request)
			return err
		}, nil
	})},
	{Name: "conflict-resolve workflow", setUp: onExecution(func(c *caller, w *execution) (call, error) {
		events := w.events(updateEvents())
		request := &persistence.ConflictResolveWorkflowExecutionRequest{
			ShardID:               c.historyShard,
			RangeID:               c.rangeID,
			Mode:                  persistence.ConflictResolveWorkflowModeUpdateCurrent,
			ArchetypeID:           archetype,
			ResetWorkflowSnapshot: *w.fullSnapshot(),
			ResetWorkflowEvents:   events,
		}
		return func(ctx context.Context) error {
			_, err := c.measured.executions.ConflictResolveWorkflowExecution(ctx, request)
			return err
		}, nil
	})},
	{Name: "set workflow", setUp: onExecution(func(c *caller, w *execution) (call, error) {
		request := &persistence.SetWorkflowExecutionRequest{
			ShardID: c.historyShard, RangeID: c.rangeID, ArchetypeID: archetype, SetWorkflowSnapshot: *w.fullSnapshot(),
		}
		return func(ctx context.Context) error {
			_, err := c.measured.executions.SetWorkflowExecution(ctx, request)
			return err
		}, nil
	})},
	{Name: "get workflow", Busy: true, setUp: onExecution(func(c *caller, w *execution) (call, error) {
		return func(ctx context.Context) error {
			_, err := c.measured.executions.GetWorkflowExecution(ctx, &persistence.GetWorkflowExecutionRequest{
				ShardID: c.historyShard, NamespaceID: w.key.NamespaceID, WorkflowID: w.key.WorkflowID, RunID: w.key.RunID, ArchetypeID: archetype,
			})
			return err
		}, nil
	})},
	{Name: "delete workflow", setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(ctx context.Context) (call, error) {
			w, err := c.newExecution()
			if err != nil {
				return nil, err
			}
			if err := w.create(ctx, c.direct); err != nil {
				return nil, err
			}
			return func(ctx context.Context) error {
				return c.measured.executions.DeleteWorkflowExecution(ctx, &persistence.DeleteWorkflowExecutionRequest{
					ShardID: c.historyShard, NamespaceID: w.key.NamespaceID, WorkflowID: w.key.WorkflowID, RunID: w.key.RunID, ArchetypeID: archetype,
				})
			}, nil
		}, nil
	}},
	{Name: "add 3 history tasks", setUp: onExecution(func(c *caller, w *execution) (call, error) {
		request := &persistence.AddHistoryTasksRequest{
			ShardID: c.historyShard, RangeID: c.rangeID, NamespaceID: w.key.NamespaceID, WorkflowID: w.key.WorkflowID, ArchetypeID: archetype,
			Tasks: w.tasks(),
		}
		return func(ctx context.Context) error { return c.measured.executions.AddHistoryTasks(ctx, request) }, nil
	})},
	{Name: "update history shard", setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(context.Context) (call, error) {
			request := &persistence.UpdateShardRequest{
				ShardInfo:       &persistencespb.ShardInfo{ShardId: c.historyShard, RangeId: c.rangeID, UpdateTime: now()},
				PreviousRangeID: c.rangeID,
			}
			return func(ctx context.Context) error { return c.measured.shards.UpdateShard(ctx, request) }, nil
		}, nil
	}},
}

// onExecution sets up a workflow that all calls of a caller work on.
func onExecution(prepareCall func(*caller, *execution) (call, error)) func(context.Context, *caller) (prepare, error) {
	return func(ctx context.Context, c *caller) (prepare, error) {
		w, err := c.newExecution()
		if err != nil {
			return nil, err
		}
		if err := w.create(ctx, c.direct); err != nil {
			return nil, err
		}
		return func(context.Context) (call, error) { return prepareCall(c, w) }, nil
	}
}
