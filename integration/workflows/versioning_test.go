package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// TestDeploymentVersions moves a task queue from one version of its workers to the next. A pinned workflow stays.
func TestDeploymentVersions(t *testing.T) {
	t.Parallel()
	const deployment, workflowType = "deployment", "versioned"
	namespace := string(profiles[0])
	target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: "deployment"}
	for _, version := range []string{"one", "two"} {
		startWorker(t, target, worker.Options{DeploymentOptions: worker.DeploymentOptions{
			UseVersioning: true,
			Version:       worker.WorkerDeploymentVersion{DeploymentName: deployment, BuildID: version},
		}}, func(registry worker.Registry) {
			registry.RegisterWorkflowWithOptions(
				func(ctx workflow.Context) (string, error) {
					workflow.GetSignalChannel(ctx, "finish").Receive(ctx, nil)
					return version, nil
				},
				workflow.RegisterOptions{Name: workflowType, VersioningBehavior: workflow.VersioningBehaviorPinned},
			)
		})
	}
	handle := target.WorkerDeploymentClient().GetHandle(deployment)
	start := func(version string) client.WorkflowRun {
		eventually(t, func(collect *attempt) {
			_, err := handle.SetCurrentVersion(t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{BuildID: version})
			require.NoError(collect, err) // not before the server has seen a worker of it
		})
		run, err := target.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: version, TaskQueue: target.TaskQueue}, workflowType)
		require.NoError(t, err)
		eventually(t, func(collect *attempt) {
			described, err := target.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
			require.NoError(collect, err)
			assert.Equal(collect, version, described.WorkflowExecutionInfo.GetVersioningInfo().GetDeploymentVersion().GetBuildId())
		})
		return run
	}
	runs := map[string]client.WorkflowRun{}
	for _, version := range []string{"one", "two"} {
		runs[version] = start(version)
	}
	for version, run := range runs {
		require.NoError(t, target.SignalWorkflow(t.Context(), run.GetID(), run.GetRunID(), "finish", nil))
		var ranOn string
		require.NoError(t, run.Get(t.Context(), &ranOn))
		require.Equal(t, version, ranOn)
	}
	require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
		{Type: workflowType, Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: len(runs),
	}))
}

// TestBuildIDs is about the older way of versioning, the only one that writes build_id_to_task_queue.
func TestBuildIDs(t *testing.T) {
	t.Parallel()
	const taskQueue = "build-ids"
	c := dial(t, string(profiles[0]))
	for _, buildID := range []string{"1.0", "2.0"} {
		//lint:ignore SA1019 deprecated, but servers still have it
		require.NoError(t, c.UpdateWorkerBuildIdCompatibility(t.Context(), &client.UpdateWorkerBuildIdCompatibilityOptions{
			TaskQueue: taskQueue,
			//lint:ignore SA1019 deprecated, but servers still have it
			Operation: &client.BuildIDOpAddNewIDInNewDefaultSet{BuildID: buildID},
		}))
	}
	//lint:ignore SA1019 deprecated, but servers still have it
	sets, err := c.GetWorkerBuildIdCompatibility(t.Context(), &client.GetWorkerBuildIdCompatibilityOptions{TaskQueue: taskQueue})
	require.NoError(t, err)
	require.Equal(t, "2.0", sets.Default())
}

// TestTaskQueueConfiguration writes and reads the user data of a task queue.
func TestTaskQueueConfiguration(t *testing.T) {
	t.Parallel()
	const taskQueue, rate = "configured", 123
	namespace := string(profiles[0])
	service := dial(t, namespace).WorkflowService()
	answer, err := service.UpdateTaskQueueConfig(t.Context(), &workflowservice.UpdateTaskQueueConfigRequest{
		Namespace:     namespace,
		TaskQueue:     taskQueue,
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY,
		UpdateQueueRateLimit: &workflowservice.UpdateTaskQueueConfigRequest_RateLimitUpdate{
			RateLimit: &taskqueuepb.RateLimit{RequestsPerSecond: rate}, Reason: "test",
		},
	})
	require.NoError(t, err)
	require.EqualValues(t, rate, answer.Config.QueueRateLimit.RateLimit.RequestsPerSecond)
	require.WithinDuration(t, time.Now(), answer.Config.QueueRateLimit.Metadata.UpdateTime.AsTime(), time.Hour)
}
