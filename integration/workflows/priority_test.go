package workflows

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	persistencespb "go.temporal.io/server/api/persistence/v1"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// fairTaskQueue is where fairness is on, and so the tables tasks_v2 and task_queues_v2 in use.
const fairTaskQueue = "fair"

// TestPriorities fills task queues before there is a worker. Each priority has a subqueue of its own, in one place with
// the others.
func TestPriorities(t *testing.T) {
	t.Parallel()
	const priorities, perPriority, fairnessKeys = 5, 8, 3
	for taskQueue, table := range map[string]string{"priority": "tasks", fairTaskQueue: "tasks_v2"} {
		t.Run(taskQueue, func(t *testing.T) {
			t.Parallel()
			namespace := string(profiles[0])
			target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: taskQueue}
			var runs []client.WorkflowRun
			priorityOf := map[string]int32{}
			for number := range priorities * perPriority {
				id, priority := fmt.Sprintf("%s-%d", taskQueue, number), number%priorities+1
				priorityOf[id] = int32(priority)
				run, err := target.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
					ID:        id,
					TaskQueue: taskQueue,
					Priority: temporal.Priority{
						PriorityKey:    priority,
						FairnessKey:    fmt.Sprintf("tenant-%d", number%fairnessKeys),
						FairnessWeight: 1 + float32(number%fairnessKeys),
					},
				}, "activities")
				require.NoError(t, err)
				runs = append(runs, run)
			}
			eventually(t, func(collect *attempt) {
				assert.Equal(collect, priorityOf, backlog(t.Context(), collect, table, taskQueue))
				described, err := target.WorkflowService().DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{
					Namespace:     namespace,
					TaskQueue:     &taskqueuepb.TaskQueue{Name: taskQueue},
					TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
					ReportStats:   true,
				})
				require.NoError(collect, err)
				for priority := int32(1); priority <= priorities; priority++ {
					// Upstream counts a task twice that was added again because the first answer was late (service/matching/db.go).
					assert.GreaterOrEqual(collect, described.StatsByPriorityKey[priority].GetApproximateBacklogCount(), int64(perPriority), "priority %d", priority)
				}
			})

			startKindsWorker(t, target)
			for _, run := range runs {
				require.NoError(t, run.Get(t.Context(), nil))
			}
			require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
				{Type: "activities", Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: len(runs),
			}))
		})
	}
}

// backlog returns the workflows of a task queue that have tasks in a table, with the priority of these. A workflow's ID
// begins with the task queue.
func backlog(ctx context.Context, t require.TestingT, table, taskQueue string) map[string]int32 {
	rows, err := mysqld.QueryContext(ctx, fmt.Sprintf("SELECT data FROM `vt_temporal_-80`.%[1]s UNION ALL SELECT data FROM `vt_temporal_80-`.%[1]s", table))
	require.NoError(t, err)
	defer rows.Close()
	priorityOf := map[string]int32{}
	for rows.Next() {
		var data []byte
		require.NoError(t, rows.Scan(&data))
		var task persistencespb.AllocatedTaskInfo
		require.NoError(t, task.Unmarshal(data))
		if id := task.Data.WorkflowId; strings.HasPrefix(id, taskQueue+"-") {
			priorityOf[id] = task.Data.Priority.GetPriorityKey()
		}
	}
	require.NoError(t, rows.Err())
	return priorityOf
}
