package main

import (
	"context"

	"github.com/google/uuid"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/persistence"
)

var matchingOperations = []operation{
	{Name: "create 1 task", setUp: createTasks(1)},
	{Name: "create 10 tasks", Busy: true, setUp: createTasks(10)},
	{Name: "get 10 tasks", setUp: func(ctx context.Context, c *caller) (prepare, error) {
		first, err := c.addTasks(ctx, 10)
		if err != nil {
			return nil, err
		}
		request := &persistence.GetTasksRequest{
			NamespaceID:        c.namespaceID,
			TaskQueue:          c.taskQueue.Name,
			TaskType:           c.taskQueue.TaskType,
			InclusiveMinTaskID: first,
			ExclusiveMaxTaskID: c.lastID + 1,
			PageSize:           10,
		}
		return func(context.Context) (call, error) {
			return func(ctx context.Context) error {
				_, err := c.measured.tasks.GetTasks(ctx, request)
				return err
			}, nil
		}, nil
	}},
	{Name: "complete 10 tasks", setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(ctx context.Context) (call, error) {
			if _, err := c.addTasks(ctx, 10); err != nil {
				return nil, err
			}
			request := &persistence.CompleteTasksLessThanRequest{
				NamespaceID:        c.namespaceID,
				TaskQueueName:      c.taskQueue.Name,
				TaskType:           c.taskQueue.TaskType,
				ExclusiveMaxTaskID: c.lastID + 1,
				Limit:              10,
			}
			return func(ctx context.Context) error {
				_, err := c.measured.tasks.CompleteTasksLessThan(ctx, request)
				return err
			}, nil
		}, nil
	}},
	{Name: "update task queue", setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(context.Context) (call, error) {
			request := &persistence.UpdateTaskQueueRequest{RangeID: c.rangeID, PrevRangeID: c.rangeID, TaskQueueInfo: c.taskQueue}
			return func(ctx context.Context) error {
				_, err := c.measured.tasks.UpdateTaskQueue(ctx, request)
				return err
			}, nil
		}, nil
	}},
}

func createTasks(count int) func(context.Context, *caller) (prepare, error) {
	return func(_ context.Context, c *caller) (prepare, error) {
		return func(context.Context) (call, error) {
			request := c.createTasksRequest(count)
			return func(ctx context.Context) error {
				_, err := c.measured.tasks.CreateTasks(ctx, request)
				return err
			}, nil
		}, nil
	}
}

// addTasks adds tasks to the caller's task queue, and returns the ID of the first. That of the last is c.lastID.
func (c *caller) addTasks(ctx context.Context, count int) (first int64, err error) {
	request := c.createTasksRequest(count)
	_, err = c.direct.tasks.CreateTasks(ctx, request)
	return request.Tasks[0].TaskId, err
}

func (c *caller) createTasksRequest(count int) *persistence.CreateTasksRequest {
	request := &persistence.CreateTasksRequest{
		TaskQueueInfo: &persistence.PersistedTaskQueueInfo{Data: c.taskQueue, RangeID: c.rangeID},
	}
	for range count {
		request.Tasks = append(request.Tasks, &persistencespb.AllocatedTaskInfo{
			TaskId: c.nextID(),
			Data: &persistencespb.TaskInfo{
				NamespaceId: c.namespaceID, WorkflowId: uuid.NewString(), RunId: uuid.NewString(), ScheduledEventId: activityID, CreateTime: now(),
			},
		})
	}
	return request
}
