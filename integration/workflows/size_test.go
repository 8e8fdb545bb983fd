package workflows

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

const (
	// payloadSize is near the 2 MiB that Temporal takes for one payload.
	payloadSize = 2<<20 - 64<<10
	rounds      = 6
)

func shout(_ context.Context, text []byte) ([]byte, error) { return bytes.ToUpper(text), nil }

// largePayloadWorkflow passes its input to an activity, waits for a signal as large, and returns the shout.
func largePayloadWorkflow(ctx workflow.Context, input []byte) ([]byte, error) {
	var output, signal []byte
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	if err := workflow.ExecuteActivity(ctx, shout, input).Get(ctx, &output); err != nil {
		return nil, err
	}
	workflow.GetSignalChannel(ctx, "large").Receive(ctx, &signal)
	if !bytes.Equal(signal, input) {
		panic("the signal is not what was sent")
	}
	return output, nil
}

// manyEventsWorkflow makes events of every cheap kind, in big and small batches.
func manyEventsWorkflow(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range rounds {
		for range 480 {
			workflow.SideEffect(ctx, func(workflow.Context) any { return 1 })
		}
		var futures []workflow.Future
		for range 10 {
			futures = append(futures,
				workflow.ExecuteActivity(ctx, shout, []byte("event")),
				workflow.NewTimer(ctx, time.Millisecond))
		}
		for _, future := range futures {
			if err := future.Get(ctx, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func newLargeTarget(t *testing.T) kinds.Target {
	namespace := string(profiles[0])
	target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: t.Name()}
	startWorker(t, target, worker.Options{}, func(registry worker.Registry) {
		registry.RegisterWorkflowWithOptions(largePayloadWorkflow, workflow.RegisterOptions{Name: "large-payload"})
		registry.RegisterWorkflowWithOptions(manyEventsWorkflow, workflow.RegisterOptions{Name: "many-events"})
		registry.RegisterActivity(shout)
	})
	return target
}

func TestLargePayloads(t *testing.T) {
	t.Parallel()
	target := newLargeTarget(t)
	input := bytes.Repeat([]byte("payload "), payloadSize/8)
	run, err := target.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: t.Name(), TaskQueue: target.TaskQueue}, "large-payload", input)
	require.NoError(t, err)
	require.NoError(t, target.SignalWorkflow(t.Context(), run.GetID(), run.GetRunID(), "large", input))
	var output []byte
	require.NoError(t, run.Get(t.Context(), &output))
	require.True(t, bytes.Equal(bytes.ToUpper(input), output))
	requireCompleted(t, target, "large-payload")
}

func TestThousandsOfEvents(t *testing.T) {
	t.Parallel()
	target := newLargeTarget(t)
	run, err := target.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: t.Name(), TaskQueue: target.TaskQueue}, "many-events")
	require.NoError(t, err)
	require.NoError(t, run.Get(t.Context(), nil))

	history := target.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	events := int64(0)
	for history.HasNext() {
		event, err := history.Next()
		require.NoError(t, err)
		events++
		require.Equal(t, events, event.EventId)
	}
	require.Greater(t, events, int64(3000))
	requireCompleted(t, target, "many-events")
}

func requireCompleted(t *testing.T, target kinds.Target, workflowType string) {
	require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
		{Type: workflowType, Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: 1,
	}))
}
