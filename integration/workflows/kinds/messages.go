package kinds

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"
)

const addMessage = "add"

// signalsWorkflow adds up the values of that many signals. A query tells the sum so far.
func signalsWorkflow(ctx workflow.Context, signals int) (int, error) {
	sum := 0
	if err := workflow.SetQueryHandler(ctx, "sum", func() (int, error) { return sum, nil }); err != nil {
		return 0, err
	}
	for range signals {
		var value int
		workflow.GetSignalChannel(ctx, addMessage).Receive(ctx, &value)
		sum += value
	}
	return sum, nil
}

// runSignals starts the workflow by its first signal.
func runSignals(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	const signals = 4
	run, err := target.SignalWithStartWorkflow(ctx, options.ID, addMessage, 1, options, "signals", signals)
	if err != nil {
		return err
	}
	for value := 2; value < signals; value++ {
		if err := target.SignalWorkflow(ctx, options.ID, run.GetRunID(), addMessage, value); err != nil {
			return err
		}
	}
	if err := expectSum(ctx, target, run, 1+2+3); err != nil {
		return err
	}
	if _, err := target.SignalWithStartWorkflow(ctx, options.ID, addMessage, signals, options, "signals", signals); err != nil {
		return err
	}
	if err := expect(ctx, run, 1+2+3+4); err != nil {
		return err
	}
	return expectSum(ctx, target, run, 1+2+3+4) // a closed workflow answers queries too
}

// expectSum queries, which sees all signals that were accepted before.
func expectSum(ctx context.Context, target Target, run client.WorkflowRun, want int) error {
	answer, err := target.QueryWorkflow(ctx, run.GetID(), run.GetRunID(), "sum")
	// The server gives a worker some seconds to take a query, which a busy machine may miss; asking again is the caller's.
	for timedOut := new(serviceerror.DeadlineExceeded); errors.As(err, &timedOut) && ctx.Err() == nil; {
		answer, err = target.QueryWorkflow(ctx, run.GetID(), run.GetRunID(), "sum")
	}
	if err != nil {
		return err
	}
	var sum int
	if err := answer.Get(&sum); err != nil {
		return err
	}
	return same("query", sum, want)
}

// bufferedSignals is below history.maximumBufferedEventsBatch, 100 by default, at which the server fails the workflow
// task instead.
const bufferedSignals = 30

// bufferedSignalsWorkflow is signalled by its own local activity: while that runs the workflow task does, and the
// server has to buffer the signals.
func bufferedSignalsWorkflow(ctx workflow.Context) (int, error) {
	if err := workflow.ExecuteLocalActivity(withLocalActivities(ctx), signalSelf).Get(ctx, nil); err != nil {
		return 0, err
	}
	// Its end is recorded with this timer. With the end of the workflow, which the server refuses while there are buffered
	// signals, it would be forgotten and run again; and the server takes no signals of a workflow that wants to close.
	if err := workflow.Sleep(ctx, time.Millisecond); err != nil {
		return 0, err
	}
	return signalsWorkflow(ctx, bufferedSignals)
}

func signalSelf(ctx context.Context) error {
	execution := activity.GetInfo(ctx).WorkflowExecution
	for range bufferedSignals {
		if err := activity.GetClient(ctx).SignalWorkflow(ctx, execution.ID, execution.RunID, addMessage, 1); err != nil {
			return err
		}
	}
	return nil
}

func runBufferedSignals(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "buffered-signals", bufferedSignals)
}

// updatesWorkflow adds up the values of that many updates, and refuses those below zero.
func updatesWorkflow(ctx workflow.Context, updates int) (int, error) {
	sum, done := 0, 0
	err := workflow.SetUpdateHandlerWithOptions(ctx, addMessage,
		func(ctx workflow.Context, value int) (int, error) {
			if err := workflow.ExecuteActivity(withActivities(ctx), increment, sum+value-1).Get(ctx, &sum); err != nil {
				return 0, err
			}
			done++
			return sum, nil
		},
		workflow.UpdateHandlerOptions{Validator: func(value int) error {
			if value < 0 {
				return errors.New("below zero")
			}
			return nil
		}},
	)
	if err != nil {
		return 0, err
	}
	err = workflow.Await(ctx, func() bool { return done == updates && workflow.AllHandlersFinished(ctx) })
	return sum, err
}

func runUpdates(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	const updates = 3
	run, err := target.ExecuteWorkflow(ctx, options, "updates", updates)
	if err != nil {
		return err
	}
	update := func(value int) (sum int, err error) {
		handle, err := target.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID:   run.GetID(),
			RunID:        run.GetRunID(),
			UpdateName:   addMessage,
			UpdateID:     fmt.Sprintf("value-%d", value),
			Args:         []any{value},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if err != nil {
			return 0, err
		}
		return sum, handle.Get(ctx, &sum)
	}
	if _, err := update(-1); err == nil {
		return errors.New("an update that the validator refuses was accepted")
	}
	sum := 0
	for value := 1; value <= updates; value++ {
		sum += value
		got, err := update(value)
		if err != nil {
			return err
		}
		if err := same("update", got, sum); err != nil {
			return err
		}
	}
	return expect(ctx, run, sum)
}
