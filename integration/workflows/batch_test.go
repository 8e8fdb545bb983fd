package workflows

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchpb "go.temporal.io/api/batch/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

func TestBatchOperations(t *testing.T) {
	t.Parallel()
	const workflows = 20
	signal, err := converter.GetDefaultDataConverter().ToPayloads(1)
	require.NoError(t, err)
	for _, test := range []struct {
		name, workflow string
		operation      *workflowservice.StartBatchOperationRequest
		want           enumspb.WorkflowExecutionStatus
	}{
		{
			name: "signal", workflow: "child", // ends with its first signal
			operation: &workflowservice.StartBatchOperationRequest{Operation: &workflowservice.StartBatchOperationRequest_SignalOperation{
				SignalOperation: &batchpb.BatchOperationSignal{Signal: "add", Input: signal},
			}},
			want: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED,
		},
		{
			name: "terminate", workflow: "termination",
			operation: &workflowservice.StartBatchOperationRequest{Operation: &workflowservice.StartBatchOperationRequest_TerminationOperation{
				TerminationOperation: &batchpb.BatchOperationTermination{},
			}},
			want: enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			forEachProfile(t, func(t *testing.T, namespace string) {
				target := newTarget(t, namespace, "batch-"+test.name)
				for number := range workflows {
					options := client.StartWorkflowOptions{ID: fmt.Sprintf("batch-%s-%d", test.name, number), TaskQueue: target.TaskQueue}
					_, err := target.ExecuteWorkflow(t.Context(), options, test.workflow)
					require.NoError(t, err)
				}
				query := fmt.Sprintf("TaskQueue = '%s'", target.TaskQueue)
				eventually(t, func(collect *attempt) {
					counts, err := kinds.CountByStatus(t.Context(), target, query)
					require.NoError(collect, err)
					assert.Equal(collect, workflows, counts[enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING])
				})

				request := &workflowservice.StartBatchOperationRequest{
					Namespace: namespace, JobId: "batch-" + test.name, VisibilityQuery: query, Reason: "test", Operation: test.operation.Operation,
				}
				_, err := target.WorkflowService().StartBatchOperation(t.Context(), request)
				require.NoError(t, err)
				eventually(t, func(collect *attempt) {
					job, err := target.WorkflowService().DescribeBatchOperation(t.Context(), &workflowservice.DescribeBatchOperationRequest{
						Namespace: namespace, JobId: request.JobId,
					})
					require.NoError(collect, err)
					assert.Equal(collect, enumspb.BATCH_OPERATION_STATE_COMPLETED, job.State)
					assert.EqualValues(collect, workflows, job.CompleteOperationCount)
				})
				require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{{Type: test.workflow, Status: test.want}: workflows}))
			})
		})
	}
}
