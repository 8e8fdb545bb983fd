package rehash

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"

	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

const namespace = "rehash"

// TestWorkflowsGoOn has workflows whose first tasks a server with upstream's plugin has written into subqueues. A server
// with this project's plugin does not find them there, and has acknowledged them unseen when the tool runs.
func TestWorkflowsGoOn(t *testing.T) {
	const priorities, perPriority, defaultPriority = 5, 4, 3
	taskQueues := []string{"priority", fairTaskQueue}
	place := workflows

	var ids []string
	withServer(t, place.upstream, func(c client.Client, running *server.Server) {
		require.NoError(t, running.CreateNamespace(t.Context(), namespace))
		for _, taskQueue := range taskQueues {
			for number := range priorities * perPriority {
				id := fmt.Sprintf("%s-%d", taskQueue, number)
				_, err := kinds.Target{Client: c, Namespace: namespace, TaskQueue: taskQueue}.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
					ID: id, TaskQueue: taskQueue, Priority: temporal.Priority{PriorityKey: number%priorities + 1},
				}, "activities")
				require.NoError(t, err)
				ids = append(ids, id)
			}
		}
		for _, taskQueue := range taskQueues {
			eventually(t, func(collect *assert.CollectT) {
				for priority, count := range backlog(t, c, taskQueue) {
					assert.EqualValues(collect, perPriority, count, "priority %d", priority)
				}
			})
		}
		eventually(t, func(collect *assert.CollectT) {
			var adding int
			require.NoError(collect, mysqld.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM workflows.transfer_tasks").Scan(&adding))
			assert.Zero(collect, adding)
		})
	})
	left := place.misplaced(t)
	require.Equal(t, len(taskQueues)*(priorities-1)*perPriority, left)

	// The server stopped a moment ago.
	_, err := place.rehash(t)
	require.ErrorContains(t, err, "matching services run: 127.0.0.1:")
	place.stopServers(t)

	withServer(t, place.plugin, func(c client.Client, _ *server.Server) {
		for _, taskQueue := range taskQueues {
			stop := startWorker(t, c, taskQueue)
			eventually(t, func(collect *assert.CollectT) {
				assert.Equal(collect, perPriority, completed(t, c, taskQueue), "only those of the default priority, which are in subqueue 0")
			})
			stop()
		}
	})
	require.Equal(t, left, place.misplaced(t))
	place.stopServers(t)
	place.requireRehashed(t, left)

	withServer(t, place.plugin, func(c client.Client, _ *server.Server) {
		for _, taskQueue := range taskQueues {
			defer startWorker(t, c, taskQueue)()
		}
		for _, id := range ids {
			ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
			require.NoError(t, c.GetWorkflow(ctx, id, "").Get(ctx, nil), id)
			cancel()
		}
	})
}

// withServer runs a server on a database with all tables.
func withServer(t *testing.T, store *config.SQL, do func(client.Client, *server.Server)) {
	t.Helper()
	visibility := *store
	visibility.ConnectAttributes = maps.Clone(store.ConnectAttributes)
	delete(visibility.ConnectAttributes, "vitess_global_keyspace")
	running, err := server.Start(t.Context(), server.Config{
		Main: store, Visibility: &visibility, HistoryShards: 4,
		DynamicConfig: dynamicconfig.StaticClient{
			dynamicconfig.MatchingEnableFairness.Key(): []dynamicconfig.ConstrainedValue{
				{Constraints: dynamicconfig.Constraints{TaskQueueName: fairTaskQueue}, Value: true},
			},
			// One partition, so that each backlog is in one place.
			dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
			dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
			// History forgets early that it has added the tasks, or it adds them again after a restart. Matching keeps its ack
			// levels, as it does after minutes.
			dynamicconfig.TransferProcessorUpdateAckInterval.Key(): 100 * time.Millisecond,
			dynamicconfig.MatchingUpdateAckInterval.Key():          100 * time.Millisecond,
		},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, running.Stop()) }()
	c, err := running.Dial(namespace)
	require.NoError(t, err)
	defer c.Close()
	do(c, running)
}

const fairTaskQueue = "fair"

func startWorker(t *testing.T, c client.Client, taskQueue string) (stop func()) {
	t.Helper()
	w := kinds.NewWorker(kinds.Target{Client: c, Namespace: namespace, TaskQueue: taskQueue})
	require.NoError(t, w.Start())
	return w.Stop
}

// backlog returns how many tasks a task queue has, by priority.
func backlog(t *testing.T, c client.Client, taskQueue string) map[int32]int64 {
	t.Helper()
	described, err := c.WorkflowService().DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{
		Namespace: namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: taskQueue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW, ReportStats: true,
	})
	require.NoError(t, err)
	counts := map[int32]int64{}
	for priority := range int32(5) {
		counts[priority+1] = described.StatsByPriorityKey[priority+1].GetApproximateBacklogCount()
	}
	return counts
}

// completed counts the completed workflows of a task queue.
func completed(t *testing.T, c client.Client, taskQueue string) int {
	t.Helper()
	response, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
		Query: fmt.Sprintf("TaskQueue = %q AND WorkflowType = 'activities' AND ExecutionStatus = 'Completed'", taskQueue),
	})
	require.NoError(t, err)
	return int(response.Count)
}

func eventually(t *testing.T, check func(*assert.CollectT)) {
	t.Helper()
	require.EventuallyWithT(t, check, waitTimeout, 5*waitTick)
}
