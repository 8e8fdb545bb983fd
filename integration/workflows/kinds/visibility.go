package kinds

import (
	"context"
	"fmt"
	"maps"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
)

// Closed is what visibility tells of a closed workflow execution.
type Closed struct {
	Type   string
	Status enumspb.WorkflowExecutionStatus
}

// AwaitVisible waits until visibility has these closed executions on the target's task queue, and of their types no
// others there, not even running ones. It returns an error that says what there is when its [Patience] ends.
func AwaitVisible(ctx context.Context, target Target, want map[Closed]int) error {
	var p Patience
	types := map[string]bool{}
	for closed := range want {
		types[closed.Type] = true
	}
	for {
		got := map[Closed]int{}
		for name := range types {
			counts, err := CountByStatus(ctx, target, fmt.Sprintf("TaskQueue = '%s' AND WorkflowType = '%s'", target.TaskQueue, name))
			if err != nil {
				return err
			}
			for status, count := range counts {
				got[Closed{name, status}] = count
			}
		}
		if maps.Equal(got, want) {
			return nil
		}
		err := p.Ends(fmt.Sprint(got))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("visibility has executions by type and status %v, but should have %v: %w", got, want, err)
		}
	}
}

// CountByStatus counts the executions that a visibility query selects.
func CountByStatus(ctx context.Context, c client.Client, query string) (map[enumspb.WorkflowExecutionStatus]int, error) {
	answer, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query + " GROUP BY ExecutionStatus"})
	if err != nil {
		return nil, fmt.Errorf("count %s by status: %w", query, err)
	}
	counts := map[enumspb.WorkflowExecutionStatus]int{}
	for _, group := range answer.Groups {
		var name string
		if err := converter.GetDefaultDataConverter().FromPayload(group.GroupValues[0], &name); err != nil {
			return nil, err
		}
		status, err := enumspb.WorkflowExecutionStatusFromString(name)
		if err != nil {
			return nil, err
		}
		counts[status] = int(group.Count)
	}
	return counts, nil
}
