package rehash

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// generation is one of upstream's two stores for tasks, each with tables of its own.
type generation struct {
	table string
	fair  bool
}

var generations = []generation{{"tasks", false}, {"tasks_v2", true}}

// manager opens upstream's task manager over a plugin.
func (g generation) manager(t *testing.T, cfg *config.SQL) persistence.TaskManager {
	t.Helper()
	factory := persistencesql.NewFactory(*cfg, resolver.NewNoopResolver(), "", log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	t.Cleanup(factory.Close)
	open := factory.NewTaskStore
	if g.fair {
		open = factory.NewFairTaskStore
	}
	store, err := open()
	require.NoError(t, err)
	return persistence.NewTaskManager(store, serialization.NewSerializer())
}

// pass is that of all tasks.
func (g generation) pass() int64 {
	if g.fair {
		return 3
	}
	return 0
}

// taskQueue is a task queue with tasks in its subqueues.
type taskQueue struct {
	generation
	info *persistencespb.TaskQueueInfo
	// workflow begins the workflow IDs of its tasks.
	workflow string
}

const (
	rangeID = 7
	// firstID is the ID of the first task in each subqueue.
	firstID = 1_000
)

// newTaskQueue creates a task queue with some subqueues.
func newTaskQueue(t *testing.T, manager persistence.TaskManager, g generation, name string, subqueues int) taskQueue {
	t.Helper()
	queue := taskQueue{generation: g, workflow: "workflow", info: &persistencespb.TaskQueueInfo{
		NamespaceId: uuid.NewString(), Name: name, TaskType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, Kind: enumspb.TASK_QUEUE_KIND_NORMAL,
		LastUpdateTime: timestamppb.Now(),
	}}
	for range subqueues {
		queue.info.Subqueues = append(queue.info.Subqueues, &persistencespb.SubqueueInfo{})
	}
	_, err := manager.CreateTaskQueue(t.Context(), &persistence.CreateTaskQueueRequest{RangeID: rangeID, TaskQueueInfo: queue.info})
	require.NoError(t, err)
	return queue
}

// recreate deletes the task queue, as the scavenger does, and creates it again. Its tasks remain.
func (q taskQueue) recreate(t *testing.T, manager persistence.TaskManager) taskQueue {
	t.Helper()
	require.NoError(t, manager.DeleteTaskQueue(t.Context(), &persistence.DeleteTaskQueueRequest{RangeID: rangeID, TaskQueue: &persistence.TaskQueueKey{
		NamespaceID: q.info.NamespaceId, TaskQueueName: q.info.Name, TaskQueueType: q.info.TaskType,
	}}))
	_, err := manager.CreateTaskQueue(t.Context(), &persistence.CreateTaskQueueRequest{RangeID: rangeID, TaskQueueInfo: q.info})
	require.NoError(t, err)
	q.workflow = "newer"
	return q
}

// write writes tasks with consecutive IDs into a subqueue. The same tasks are the same rows, but for the range hash.
func (q taskQueue) write(t *testing.T, manager persistence.TaskManager, subqueue int, from int64, count int) {
	t.Helper()
	request := &persistence.CreateTasksRequest{TaskQueueInfo: &persistence.PersistedTaskQueueInfo{Data: q.info, RangeID: rangeID}}
	for i := range int64(count) {
		request.Tasks = append(request.Tasks, &persistencespb.AllocatedTaskInfo{
			TaskPass: q.pass(), TaskId: from + i,
			Data: &persistencespb.TaskInfo{NamespaceId: q.info.NamespaceId, WorkflowId: fmt.Sprintf("%s-%d-%d", q.workflow, subqueue, from+i), CreateTime: q.info.LastUpdateTime},
		})
		request.Subqueues = append(request.Subqueues, subqueue)
	}
	_, err := manager.CreateTasks(t.Context(), request)
	require.NoError(t, err)
}

// read returns the workflow IDs of the tasks of a subqueue.
func (q taskQueue) read(t *testing.T, manager persistence.TaskManager, subqueue int) []string {
	t.Helper()
	workflows, err := q.tryRead(t, manager, subqueue)
	require.NoError(t, err)
	return workflows
}

func (q taskQueue) tryRead(t *testing.T, manager persistence.TaskManager, subqueue int) ([]string, error) {
	// In one page: upstream's page tokens of fair tasks lack the pass.
	response, err := manager.GetTasks(t.Context(), &persistence.GetTasksRequest{
		NamespaceID: q.info.NamespaceId, TaskQueue: q.info.Name, TaskType: q.info.TaskType, Subqueue: subqueue,
		InclusiveMinPass: min(1, q.pass()), ExclusiveMaxTaskID: math.MaxInt64, PageSize: 10_000,
	})
	if err != nil {
		return nil, err
	}
	workflows := []string{}
	for _, task := range response.Tasks {
		workflows = append(workflows, task.Data.WorkflowId)
	}
	return workflows, nil
}

// metadata returns the row of the task queue.
func (q taskQueue) metadata(t *testing.T, manager persistence.TaskManager) *persistence.GetTaskQueueResponse {
	t.Helper()
	response, err := manager.GetTaskQueue(t.Context(), &persistence.GetTaskQueueRequest{
		NamespaceID: q.info.NamespaceId, TaskQueue: q.info.Name, TaskType: q.info.TaskType,
	})
	require.NoError(t, err)
	return response
}

// complete deletes the tasks of a subqueue up to an ID.
func (q taskQueue) complete(t *testing.T, manager persistence.TaskManager, subqueue int, last int64) {
	t.Helper()
	_, err := manager.CompleteTasksLessThan(t.Context(), &persistence.CompleteTasksLessThanRequest{
		NamespaceID: q.info.NamespaceId, TaskQueueName: q.info.Name, TaskType: q.info.TaskType, Subqueue: subqueue,
		ExclusiveMaxPass: q.pass(), ExclusiveMaxTaskID: last + 1, Limit: 10_000,
	})
	require.NoError(t, err)
}

// requireTasks requires that the plugin reads as many tasks of a subqueue, from firstID on, each once.
func (q taskQueue) requireTasks(t *testing.T, manager persistence.TaskManager, subqueue, count int) {
	t.Helper()
	want := []string{}
	for i := range count {
		want = append(want, fmt.Sprintf("%s-%d-%d", q.workflow, subqueue, firstID+i))
	}
	require.Equal(t, want, q.read(t, manager, subqueue), "%s, task queue %q, subqueue %d", q.table, q.info.Name, subqueue)
}
