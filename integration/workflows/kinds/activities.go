package kinds

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// soon retries at once, as far as Temporal allows.
var soon = &temporal.RetryPolicy{InitialInterval: time.Millisecond, BackoffCoefficient: 1}

func withActivities(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 10 * time.Second, // all are short; one whose start was lost is given again after that
		RetryPolicy:         soon,
	})
}

// withLocalActivities lets an attempt that met an error of the server be repeated for long. Else the SDK gives up all
// attempts together after the timeout of one.
func withLocalActivities(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: limit,
		RetryPolicy:            soon,
	})
}

func increment(_ context.Context, value int) (int, error) { return value + 1, nil }

// failTwice returns the first attempt that succeeds. There may be a later one, if the server got its result late.
func failTwice(ctx context.Context) (int, error) {
	const succeeds = 3
	if activity.GetInfo(ctx).Attempt < succeeds {
		return 0, errors.New("it is not the third attempt yet")
	}
	return succeeds, nil
}

// activitiesWorkflow runs activities one after the other and side by side, of which one needs three attempts.
func activitiesWorkflow(ctx workflow.Context) (int, error) {
	ctx = withActivities(ctx)
	sum := 0
	for range 3 {
		if err := workflow.ExecuteActivity(ctx, increment, sum).Get(ctx, &sum); err != nil {
			return 0, err
		}
	}
	parallel := []workflow.Future{workflow.ExecuteActivity(ctx, failTwice)}
	for range 3 {
		parallel = append(parallel, workflow.ExecuteActivity(ctx, increment, 0))
	}
	for _, future := range parallel {
		var value int
		if err := future.Get(ctx, &value); err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

func runActivities(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "activities", 3+3+3)
}

// heartbeatOnce goes silent after its first heartbeat, so that the server gives it up. The next attempt returns what
// that heartbeat said.
func heartbeatOnce(ctx context.Context) (string, error) {
	if activity.HasHeartbeatDetails(ctx) {
		var details string
		err := activity.GetHeartbeatDetails(ctx, &details)
		return details, err
	}
	activity.RecordHeartbeat(ctx, "alive")
	<-ctx.Done()
	return "", ctx.Err()
}

func heartbeatWorkflow(ctx workflow.Context) (string, error) {
	options := workflow.GetActivityOptions(withActivities(ctx))
	options.HeartbeatTimeout = time.Second
	ctx = workflow.WithActivityOptions(ctx, options)
	var details string
	err := workflow.ExecuteActivity(ctx, heartbeatOnce).Get(ctx, &details)
	return details, err
}

func runHeartbeat(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "heartbeat", "alive")
}

func localActivitiesWorkflow(ctx workflow.Context) (int, error) {
	ctx = withLocalActivities(ctx)
	sum := 0
	for range 10 {
		if err := workflow.ExecuteLocalActivity(ctx, increment, sum).Get(ctx, &sum); err != nil {
			return 0, err
		}
	}
	var attempts int
	err := workflow.ExecuteLocalActivity(ctx, failTwice).Get(ctx, &attempts)
	return sum + attempts, err
}

func runLocalActivities(ctx context.Context, target Target, options client.StartWorkflowOptions) error {
	return execute(ctx, target, options, "local-activities", 10+3)
}
