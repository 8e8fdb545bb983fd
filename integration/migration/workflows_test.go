package migration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/temporal-vitess/temporal-vitess/integration/server"
)

// Workflows that were there before the migration, in a namespace of their own: some are over, and some wait.
const (
	oldNamespace = "before"
	oldQueue     = "before"
	finish       = "finish"
)

// oldWorkflow adds one to its number, waits for a signal if it is to, and adds the signal's number.
func oldWorkflow(ctx workflow.Context, number int, wait bool) (int, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	if err := workflow.ExecuteActivity(ctx, oldActivity, number).Get(ctx, &number); err != nil {
		return 0, err
	}
	if wait {
		var more int
		workflow.GetSignalChannel(ctx, finish).Receive(ctx, &more)
		number += more
	}
	return number, nil
}

func oldActivity(_ context.Context, number int) (int, error) {
	return number + 1, nil
}

func oldWorker(t *testing.T, c client.Client) worker.Worker {
	t.Helper()
	w := worker.New(c, oldQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(oldWorkflow, workflow.RegisterOptions{Name: "old"})
	w.RegisterActivityWithOptions(oldActivity, activity.RegisterOptions{Name: "oldActivity"})
	require.NoError(t, w.Start())
	return w
}

// startOld leaves so many workflows behind that are over, and so many that wait.
func startOld(t *testing.T, s *server.Server, over, waiting int) {
	t.Helper()
	require.NoError(t, s.CreateNamespace(t.Context(), oldNamespace))
	c, err := s.Dial(oldNamespace)
	require.NoError(t, err)
	defer c.Close()
	w := oldWorker(t, c)
	defer w.Stop()
	var runs []client.WorkflowRun
	for i := range over + waiting {
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: fmt.Sprintf("old-%d", i), TaskQueue: oldQueue, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		}, "old", i, i >= over)
		require.NoError(t, err)
		runs = append(runs, run)
	}
	for i, run := range runs[:over] {
		requireResult(t, run, i+1)
	}
	// One that waits has its activity behind it.
	for _, run := range runs[over:] {
		eventually(t, func() bool {
			described, err := c.DescribeWorkflowExecution(t.Context(), run.GetID(), "")
			return err == nil && len(described.PendingActivities) == 0 && described.PendingWorkflowTask == nil && described.WorkflowExecutionInfo.HistoryLength > 8
		})
	}
}

// finishOld ends what waits, and looks at all results.
func finishOld(t *testing.T, s *server.Server, over, waiting int) {
	t.Helper()
	c, err := s.Dial(oldNamespace)
	require.NoError(t, err)
	defer c.Close()
	w := oldWorker(t, c)
	defer w.Stop()
	const more = 1000
	for i := over; i < over+waiting; i++ {
		require.NoError(t, c.SignalWorkflow(t.Context(), fmt.Sprintf("old-%d", i), "", finish, more))
	}
	for i := range over + waiting {
		want := i + 1
		if i >= over {
			want += more
		}
		requireResult(t, c.GetWorkflow(t.Context(), fmt.Sprintf("old-%d", i), ""), want)
	}
	eventually(t, func() bool {
		count, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Completed'"})
		return err == nil && count.Count == int64(over+waiting)
	})
}

func requireResult(t *testing.T, run client.WorkflowRun, want int) {
	t.Helper()
	var got int
	require.NoError(t, run.Get(t.Context(), &got), run.GetID())
	require.Equal(t, want, got, run.GetID())
}

// awaitMembers returns when history and matching services of a server are found.
func awaitMembers(t *testing.T, s *server.Server) {
	t.Helper()
	c, err := s.Dial(oldNamespace)
	require.NoError(t, err)
	defer c.Close()
	eventually(t, func() bool {
		_, history := c.DescribeWorkflowExecution(t.Context(), "old-0", "")
		_, matching := c.DescribeTaskQueue(t.Context(), oldQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		return history == nil && matching == nil
	})
}
