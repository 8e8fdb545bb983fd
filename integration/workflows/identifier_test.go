package workflows

import (
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// TestSecondStartWithAWorkflowID starts a second workflow with the ID of a first, which is running or completed.
func TestSecondStartWithAWorkflowID(t *testing.T) {
	t.Parallel()
	target := newTarget(t, string(profiles[0]), "identifier")
	const (
		refused = "refused"
		same    = "same run"
		newRun  = "new run"
	)
	for _, test := range []struct {
		name      string
		completed bool
		reuse     enumspb.WorkflowIdReusePolicy
		conflict  enumspb.WorkflowIdConflictPolicy
		want      string
	}{
		{name: "completed, duplicates allowed", completed: true, reuse: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE, want: newRun},
		{name: "completed, duplicates allowed after failure", completed: true, reuse: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY, want: refused},
		{name: "completed, duplicates rejected", completed: true, reuse: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE, want: refused},
		{name: "running, conflict fails", conflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, want: refused},
		{name: "running, conflict uses the existing", conflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, want: same},
		{name: "running, conflict terminates the existing", conflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING, want: newRun},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			options := client.StartWorkflowOptions{ID: test.name, TaskQueue: target.TaskQueue}
			first, err := target.ExecuteWorkflow(t.Context(), options, "child")
			require.NoError(t, err)
			if test.completed {
				require.NoError(t, finish(t, target, first))
			}

			options.WorkflowIDReusePolicy = test.reuse
			options.WorkflowIDConflictPolicy = test.conflict
			options.WorkflowExecutionErrorWhenAlreadyStarted = true
			second, err := target.ExecuteWorkflow(t.Context(), options, "child")
			last := first
			if test.want == refused {
				var started *serviceerror.WorkflowExecutionAlreadyStarted
				require.ErrorAs(t, err, &started)
				require.Equal(t, first.GetRunID(), started.RunId)
			} else {
				require.NoError(t, err)
				require.Equal(t, test.want == same, first.GetRunID() == second.GetRunID())
				last = second
			}
			if !test.completed || test.want == newRun {
				require.NoError(t, finish(t, target, last))
			}
		})
	}
}

// finish sends the signal that a workflow of type child waits for.
func finish(t *testing.T, target kinds.Target, run client.WorkflowRun) error {
	if err := target.SignalWorkflow(t.Context(), run.GetID(), run.GetRunID(), "add", 1); err != nil {
		return err
	}
	return run.Get(t.Context(), nil)
}

func TestUpdateWithStart(t *testing.T) {
	t.Parallel()
	target := newTarget(t, string(profiles[0]), "update-with-start")
	update := func(value int) (sum int) {
		start := target.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID:                       "update-with-start",
			TaskQueue:                target.TaskQueue,
			WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		}, "updates", 2)
		handle, err := target.UpdateWithStartWorkflow(t.Context(), client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: start,
			UpdateOptions: client.UpdateWorkflowOptions{
				UpdateName: "add", Args: []any{value}, WaitForStage: client.WorkflowUpdateStageCompleted,
			},
		})
		require.NoError(t, err)
		require.NoError(t, handle.Get(t.Context(), &sum))
		return sum
	}
	require.Equal(t, 3, update(3))
	require.Equal(t, 7, update(4))
	require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
		{Type: "updates", Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: 1,
	}))
}
