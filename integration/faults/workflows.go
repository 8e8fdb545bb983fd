package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const (
	// ledgerType is the type of the workflows that keep account of what they are told; the types of what they start begin
	// with it.
	ledgerType    = "ledger"
	childType     = "ledger-child"
	operationType = "ledger-operation"
	// scheduledType is that of a schedule's workflows.
	scheduledType = "scheduled"

	// tell is the name of the signals and updates.
	tell = "tell"
	// closing is the signal that ends a ledger workflow.
	closing = "close"

	nexusService = "ledger"
)

// ledgerNumber is a search attribute.
var ledgerNumber = temporal.NewSearchAttributeKeyInt64("LedgerNumber")

// ledger is the input and the result of a ledger workflow.
type ledger struct {
	Number        int
	Payload       []byte
	NexusEndpoint string
	// Sum is what the steps gave; see wantSum.
	Sum int
	// Continued says that this is the second run, which has the steps behind it.
	Continued bool
	// Closing says that the workflow was told to end.
	Closing bool
	// Effects counts how often each message had its effect.
	Effects map[string]int
}

// wantSum is what the steps of a ledger workflow give.
func wantSum(number, payload int) int {
	return number + 1 + // an activity
		number + 2 + // one with retries
		2*number + // a child workflow
		3*number + // a Nexus operation
		payload // an activity with a payload
}

// ledgerWorkflow goes through steps of many kinds, continues as new, and ends when it is told to. Meanwhile it keeps account
// of its signals and updates.
func ledgerWorkflow(ctx workflow.Context, l ledger) (ledger, error) {
	if l.Effects == nil {
		l.Effects = map[string]int{}
	}
	err := workflow.SetUpdateHandler(ctx, tell, func(_ workflow.Context, message string) (int, error) {
		l.Effects[message]++
		return l.Effects[message], nil
	})
	if err != nil {
		return ledger{}, err
	}
	// Signals are received here and nowhere else, so that none is on its way when this run ends.
	signals := workflow.GetSignalChannel(ctx, tell)
	take := func(message string) {
		if message == closing {
			l.Closing = true
		} else {
			l.Effects[message]++
		}
	}
	steps, setSteps := workflow.NewFuture(ctx)
	stepsDone := l.Continued
	selector := workflow.NewSelector(ctx).AddReceive(signals, func(channel workflow.ReceiveChannel, _ bool) {
		var message string
		channel.Receive(ctx, &message)
		take(message)
	})
	if !l.Continued {
		workflow.Go(ctx, func(ctx workflow.Context) { setSteps.Set(ledgerSteps(ctx, l)) })
		selector.AddFuture(steps, func(sum workflow.Future) {
			stepsDone = true
			err = sum.Get(ctx, &l.Sum)
		})
	}
	for !stepsDone || l.Continued && !l.Closing {
		selector.Select(ctx)
	}
	if err != nil {
		return ledger{}, err
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return ledger{}, err
	}
	for message := ""; signals.ReceiveAsync(&message); {
		take(message)
	}
	if !l.Continued {
		l.Continued = true
		return ledger{}, workflow.NewContinueAsNewError(ctx, ledgerType, l)
	}
	return l, nil
}

// ledgerSteps returns wantSum.
func ledgerSteps(ctx workflow.Context, l ledger) (sum int, err error) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, ledgerNumber.ValueSet(int64(l.Number))); err != nil {
		return 0, err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: patience, // after which an activity whose start was lost is given again
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, BackoffCoefficient: 1},
	})
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID + "-child",
	})
	endpoint := workflow.NewNexusClient(l.NexusEndpoint, nexusService)
	for _, step := range []func() workflow.Future{
		func() workflow.Future { return workflow.ExecuteActivity(ctx, addOne, l.Number) },
		func() workflow.Future { return workflow.ExecuteActivity(ctx, addTwoAtLast, l.Number) },
		func() workflow.Future { return workflow.ExecuteChildWorkflow(child, childType, l.Number) },
		func() workflow.Future {
			return endpoint.ExecuteOperation(ctx, operation, l.Number, workflow.NexusOperationOptions{})
		},
		func() workflow.Future { return workflow.ExecuteActivity(ctx, measure, l.Payload) },
	} {
		var value int
		if err := step().Get(ctx, &value); err != nil {
			return 0, err
		}
		sum += value
		if err := workflow.Sleep(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

func addOne(_ context.Context, value int) (int, error) { return value + 1, nil }

// addTwoAtLast fails before its third attempt.
func addTwoAtLast(ctx context.Context, value int) (int, error) {
	if activity.GetInfo(ctx).Attempt < 3 {
		return 0, errors.New("it is not the third attempt yet")
	}
	return value + 2, nil
}

func measure(_ context.Context, payload []byte) (int, error) { return len(payload), nil }

func childWorkflow(ctx workflow.Context, value int) (int, error) {
	return 2 * value, workflow.Sleep(ctx, 20*time.Millisecond)
}

func operationWorkflow(ctx workflow.Context, value int) (int, error) {
	return 3 * value, workflow.Sleep(ctx, 20*time.Millisecond)
}

// operation is a Nexus operation, done by a workflow.
var operation = temporalnexus.NewWorkflowRunOperation("triple", operationWorkflow,
	func(_ context.Context, _ int, options nexus.StartOperationOptions) (client.StartWorkflowOptions, error) {
		return client.StartWorkflowOptions{ID: operationType + "-" + options.RequestID}, nil
	})

func scheduledWorkflow(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Millisecond) }

// newLedgerWorker has all of the above.
func newLedgerWorker(c client.Client, taskQueue string) (worker.Worker, error) {
	w := worker.New(c, taskQueue, worker.Options{
		MaxConcurrentWorkflowTaskPollers: 10,
		MaxConcurrentActivityTaskPollers: 5,
		DeadlockDetectionTimeout:         time.Minute, // on a busy machine a workflow may wait for the CPU
	})
	service := nexus.NewService(nexusService)
	if err := service.Register(operation); err != nil {
		return nil, fmt.Errorf("register a Nexus operation: %w", err)
	}
	w.RegisterNexusService(service)
	for name, function := range map[string]any{
		ledgerType: ledgerWorkflow, childType: childWorkflow, operationType: operationWorkflow, scheduledType: scheduledWorkflow,
	} {
		w.RegisterWorkflowWithOptions(function, workflow.RegisterOptions{Name: name})
	}
	for _, function := range []any{addOne, addTwoAtLast, measure} {
		w.RegisterActivity(function)
	}
	return w, nil
}
