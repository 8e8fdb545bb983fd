package kinds

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// timersWorkflow lets some timers fire and cancels one, and returns how many fired.
func timersWorkflow(ctx workflow.Context) (int, error) {
	var futures []workflow.Future
	for i := range 5 {
		futures = append(futures, workflow.NewTimer(ctx, time.Duration(i)*50*time.Millisecond))
	}
	cancellable, cancel := workflow.WithCancel(ctx)
	futures = append(futures, workflow.NewTimer(cancellable, time.Hour))
	if err := workflow.Sleep(ctx, 100*time.Millisecond); err != nil {
		return 0, err
	}
	cancel()
	fired := 0
	for _, future := range futures {
		switch err := future.Get(ctx, nil); {
		case err == nil:
			fired++
		case !temporal.IsCanceledError(err):
			return 0, err
		}
	}
	return fired, nil
}

func runTimers(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "timers", 5)
}

const childWorkflows = 3

// childrenWorkflow starts children, signals each and adds up their results.
func childrenWorkflow(ctx workflow.Context) (int, error) {
	var children []workflow.ChildWorkflowFuture
	for i := range childWorkflows {
		ctx := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: fmt.Sprintf("%s-child-%d", workflow.GetInfo(ctx).WorkflowExecution.ID, i),
		})
		children = append(children, workflow.ExecuteChildWorkflow(ctx, "child"))
	}
	sum := 0
	for i, child := range children {
		if err := child.SignalChildWorkflow(ctx, addMessage, i+1).Get(ctx, nil); err != nil {
			return 0, err
		}
	}
	for _, child := range children {
		var value int
		if err := child.Get(ctx, &value); err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

func childWorkflow(ctx workflow.Context) (int, error) { return signalsWorkflow(ctx, 1) }

func runChildren(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "children", 1+2+3)
}

const continuations = 4

func continueAsNewWorkflow(ctx workflow.Context, left, sum int) (int, error) {
	if err := workflow.ExecuteActivity(withActivities(ctx), increment, sum).Get(ctx, &sum); err != nil {
		return 0, err
	}
	if left > 0 {
		return 0, workflow.NewContinueAsNewError(ctx, "continue-as-new", left-1, sum)
	}
	return sum, nil
}

func runContinueAsNew(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "continue-as-new", continuations+1, continuations, 0)
}

const failureAttempts = 2

// failureWorkflow fails each time; the server retries the whole workflow by the policy of its start.
func failureWorkflow(ctx workflow.Context) error {
	return fmt.Errorf("attempt %d fails", workflow.GetInfo(ctx).Attempt)
}

func runFailure(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	options.RetryPolicy = &temporal.RetryPolicy{
		InitialInterval: time.Millisecond, BackoffCoefficient: 1, MaximumAttempts: failureAttempts,
	}
	run, err := target.ExecuteWorkflow(ctx, options, "failure")
	if err != nil {
		return err
	}
	var failure *temporal.ApplicationError
	if err := run.Get(ctx, nil); !errors.As(err, &failure) {
		return fmt.Errorf("want a failure, got %w", err)
	}
	return same("failure", failure.Message(), fmt.Sprintf("attempt %d fails", failureAttempts))
}

func waitWorkflow(ctx workflow.Context) error {
	ctx.Done().Receive(ctx, nil)
	return ctx.Err()
}

func runTimeout(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	options.WorkflowRunTimeout = time.Second
	run, err := target.ExecuteWorkflow(ctx, options, "timeout")
	if err != nil {
		return err
	}
	var timeout *temporal.TimeoutError
	if err := run.Get(ctx, nil); !errors.As(err, &timeout) {
		return fmt.Errorf("want a timeout, got %v", err)
	}
	return nil
}

// cancellationWorkflow runs one more activity after it was cancelled.
func cancellationWorkflow(ctx workflow.Context) error {
	ctx.Done().Receive(ctx, nil)
	cleanUp, _ := workflow.NewDisconnectedContext(withActivities(ctx))
	if err := workflow.ExecuteActivity(cleanUp, increment, 0).Get(cleanUp, nil); err != nil {
		return err
	}
	return ctx.Err()
}

func runCancellation(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	run, err := target.ExecuteWorkflow(ctx, options, "cancellation")
	if err != nil {
		return err
	}
	if err := target.CancelWorkflow(ctx, run.GetID(), run.GetRunID()); err != nil {
		return err
	}
	if err := run.Get(ctx, nil); !temporal.IsCanceledError(err) {
		return fmt.Errorf("want a cancellation, got %v", err)
	}
	return nil
}

func runTermination(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	run, err := target.ExecuteWorkflow(ctx, options, "termination")
	if err != nil {
		return err
	}
	if err := target.TerminateWorkflow(ctx, run.GetID(), run.GetRunID(), "as planned"); err != nil {
		return err
	}
	var terminated *temporal.TerminatedError
	if err := run.Get(ctx, nil); !errors.As(err, &terminated) {
		return fmt.Errorf("want a termination, got %v", err)
	}
	return nil
}

// resetWorkflow runs activities around a signal and returns how many ran and what the signal said.
func resetWorkflow(ctx workflow.Context) (int, error) {
	sum := 0
	if err := workflow.ExecuteActivity(withActivities(ctx), increment, 0).Get(ctx, &sum); err != nil {
		return 0, err
	}
	var value int
	workflow.GetSignalChannel(ctx, addMessage).Receive(ctx, &value)
	err := workflow.ExecuteActivity(withActivities(ctx), increment, sum+value).Get(ctx, &sum)
	if err != nil || value > 0 {
		return sum, err
	}
	return 0, waitWorkflow(ctx)
}

// runReset signals what makes the workflow wait for ever, and resets it to its first workflow task, before that.
func runReset(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	run, err := target.ExecuteWorkflow(ctx, options, "reset")
	if err != nil {
		return err
	}
	event, err := firstCompletedTask(ctx, target, run)
	if err != nil {
		return err
	}
	if err := target.SignalWorkflow(ctx, run.GetID(), run.GetRunID(), addMessage, 0); err != nil {
		return err
	}
	answer, err := target.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 target.Namespace,
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		Reason:                    "as planned",
		WorkflowTaskFinishEventId: event,
		RequestId:                 run.GetRunID(),
		ResetReapplyExcludeTypes:  []enumspb.ResetReapplyExcludeType{enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL},
	})
	if err != nil {
		return err
	}
	if err := target.SignalWorkflow(ctx, run.GetID(), answer.RunId, addMessage, 10); err != nil {
		return err
	}
	return expect(ctx, target.GetWorkflow(ctx, run.GetID(), answer.RunId), 1+10+1)
}

// firstCompletedTask waits for a workflow's first completed workflow task and returns its event ID.
func firstCompletedTask(ctx context.Context, target Target, run client.WorkflowRun) (int64, error) {
	events := target.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return 0, err
		}
		if event.EventType == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			return event.EventId, nil
		}
	}
	return 0, errors.New("no workflow task was completed")
}
