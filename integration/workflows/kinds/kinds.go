// Package kinds has workflows of many kinds, each with a function that runs one on a real server to its end and checks
// what came of it. A kind uses one feature of Temporal (signals, timers, child workflows...) and so the tables behind
// it.
package kinds

import (
	"cmp"
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// Kind is a kind of workflow.
type Kind struct {
	// Name is the type of the workflow, and of the first part of all workflow IDs.
	Name string
	// Leaves is what one run leaves in visibility: how many executions by type and status.
	Leaves map[Closed]int
	// run starts a workflow with the ID of the options, brings it to its end and checks it.
	run func(ctx context.Context, target Target, options client.StartWorkflowOptions) error
}

// Target is where to run workflows.
type Target struct {
	client.Client
	// Namespace of the client.
	Namespace string
	// TaskQueue with a worker of [NewWorker].
	TaskQueue string
	// WorkflowTaskTimeout is that of the workflows that are started; 0 means a minute. A busy machine may not manage the
	// server's default of 10 s three times in a row, and then the server refuses updates.
	WorkflowTaskTimeout time.Duration
}

// Run runs a workflow of the kind to its end. The number tells it from others of its kind in the namespace. It returns
// an error if the workflow did anything else than it should, or if its history does not grow any more; see [Patience].
func (k Kind) Run(ctx context.Context, target Target, number int) error {
	options := client.StartWorkflowOptions{
		ID: fmt.Sprintf("%s-%d", k.Name, number), TaskQueue: target.TaskQueue,
		WorkflowTaskTimeout: cmp.Or(target.WorkflowTaskTimeout, time.Minute),
	}
	ctx, cancel := withPatience(ctx, func(ctx context.Context) string {
		described, err := target.DescribeWorkflowExecution(ctx, options.ID, "")
		info := described.GetWorkflowExecutionInfo()
		return fmt.Sprint(info.GetExecution().GetRunId(), info.GetHistoryLength(), err)
	})
	defer cancel()
	err := k.run(ctx, target, options)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		return fmt.Errorf("workflow %s: %w", options.ID, err)
	}
	return nil
}

// All returns all kinds.
func All() []Kind {
	return []Kind{
		{Name: "activities", run: runActivities, Leaves: completed("activities")},
		{Name: "heartbeat", run: runHeartbeat, Leaves: completed("heartbeat")},
		{Name: "local-activities", run: runLocalActivities, Leaves: completed("local-activities")},
		{Name: "timers", run: runTimers, Leaves: completed("timers")},
		{Name: "signals", run: runSignals, Leaves: completed("signals")},
		{Name: "buffered-signals", run: runBufferedSignals, Leaves: completed("buffered-signals")},
		{Name: "updates", run: runUpdates, Leaves: completed("updates")},
		{Name: "children", run: runChildren, Leaves: map[Closed]int{
			{"children", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: 1,
			{"child", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}:    childWorkflows,
		}},
		{Name: "continue-as-new", run: runContinueAsNew, Leaves: map[Closed]int{
			{"continue-as-new", enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW}: continuations,
			{"continue-as-new", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}:        1,
		}},
		{Name: "failure", run: runFailure, Leaves: map[Closed]int{
			{"failure", enumspb.WORKFLOW_EXECUTION_STATUS_FAILED}: failureAttempts,
		}},
		{Name: "timeout", run: runTimeout, Leaves: map[Closed]int{
			{"timeout", enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT}: 1,
		}},
		{Name: "cancellation", run: runCancellation, Leaves: map[Closed]int{
			{"cancellation", enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED}: 1,
		}},
		{Name: "termination", run: runTermination, Leaves: map[Closed]int{
			{"termination", enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED}: 1,
		}},
		{Name: "reset", run: runReset, Leaves: map[Closed]int{
			{"reset", enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED}: 1,
			{"reset", enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}:  1,
		}},
	}
}

func completed(name string) map[Closed]int {
	return map[Closed]int{{name, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: 1}
}

// NewWorker returns a worker for the workflows of all kinds. The default of two pollers a kind of task would let them
// wait for each other.
func NewWorker(target Target) worker.Worker {
	const pollers = 10
	w := worker.New(target.Client, target.TaskQueue, worker.Options{
		MaxConcurrentWorkflowTaskPollers: pollers,
		MaxConcurrentActivityTaskPollers: pollers,
		// On a busy machine a workflow's goroutine may get no CPU for the second of the default, which would fail its task.
		DeadlockDetectionTimeout: time.Minute,
	})
	register(w)
	return w
}

// register registers the workflows and activities of all kinds.
func register(registry worker.Registry) {
	for name, function := range map[string]any{
		"activities":       activitiesWorkflow,
		"heartbeat":        heartbeatWorkflow,
		"local-activities": localActivitiesWorkflow,
		"timers":           timersWorkflow,
		"signals":          signalsWorkflow,
		"buffered-signals": bufferedSignalsWorkflow,
		"updates":          updatesWorkflow,
		"children":         childrenWorkflow,
		"child":            childWorkflow,
		"continue-as-new":  continueAsNewWorkflow,
		"failure":          failureWorkflow,
		"timeout":          waitWorkflow,
		"cancellation":     cancellationWorkflow,
		"termination":      waitWorkflow,
		"reset":            resetWorkflow,
	} {
		registry.RegisterWorkflowWithOptions(function, workflow.RegisterOptions{Name: name})
	}
	for _, function := range []any{failTwice, heartbeatOnce, increment, signalSelf} {
		registry.RegisterActivity(function)
	}
}

// execute runs a workflow that takes input from nobody and checks its result.
func execute[T comparable](ctx context.Context, target Target, options client.StartWorkflowOptions, name string, want T, args ...any) error {
	run, err := target.ExecuteWorkflow(ctx, options, name, args...)
	if err != nil {
		return err
	}
	return expect(ctx, run, want)
}

func expect[T comparable](ctx context.Context, run client.WorkflowRun, want T) error {
	var got T
	if err := run.Get(ctx, &got); err != nil {
		return err
	}
	return same("result", got, want)
}

func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}
