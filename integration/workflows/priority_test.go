package workflows

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// fairTaskQueue is where fairness is on, and so the tables tasks_v2 and task_queues_v2 in use.
const fairTaskQueue = "fair"

// TestPriorities fills task queues before there is a worker. Each priority has a subqueue of its own, in one place with
// the others.
func TestPriorities(t *testing.T) {
	t.Parallel()
	const priorities, perPriority, fairnessKeys = 5, 8, 3
	for _, taskQueue := range []string{"priority", fairTaskQueue} {
		t.Run(taskQueue, func(t *testing.T) {
			t.Parallel()
			namespace := string(profiles[0])
			target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: taskQueue}
			var runs []client.WorkflowRun
			for number := range priorities * perPriority {
				run, err := target.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
					ID:        fmt.Sprintf("%s-%d", taskQueue, number),
					TaskQueue: taskQueue,
					Priority: temporal.Priority{
						PriorityKey:    number%priorities + 1,
						FairnessKey:    fmt.Sprintf("tenant-%d", number%fairnessKeys),
						FairnessWeight: 1 + float32(number%fairnessKeys),
					},
				}, "activities")
				require.NoError(t, err)
				runs = append(runs, run)
			}
			eventually(t, func(collect *assert.CollectT) {
				described, err := target.WorkflowService().DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{
					Namespace:     namespace,
					TaskQueue:     &taskqueuepb.TaskQueue{Name: taskQueue},
					TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
					ReportStats:   true,
				})
				require.NoError(collect, err)
				for priority := int32(1); priority <= priorities; priority++ {
					assert.EqualValues(collect, perPriority, described.StatsByPriorityKey[priority].GetApproximateBacklogCount(), "priority %d", priority)
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
