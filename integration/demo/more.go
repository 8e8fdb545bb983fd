package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

const (
	scheduleID = "every-hour"
	customer   = "Customer"
	// orders is the number of workflows that can be searched for by customer.
	orders = 3
)

// startMore starts what is there to look at afterwards: a schedule, and workflows with a custom search attribute.
func startMore(ctx context.Context, target kinds.Target) error {
	began := step("A schedule, and %d workflows with a custom search attribute", orders)
	_, err := target.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:                 scheduleID,
		Spec:               client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action:             &client.ScheduleWorkflowAction{ID: "scheduled-children", Workflow: "children", TaskQueue: taskQueue},
		TriggerImmediately: true,
	})
	if err != nil {
		return fmt.Errorf("schedule %s: %w", scheduleID, err)
	}
	key := temporal.NewSearchAttributeKeyKeyword(customer)
	_, err = target.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: map[string]enumspb.IndexedValueType{customer: key.GetValueType()},
	})
	if err != nil {
		return fmt.Errorf("search attribute %s: %w", customer, err)
	}
	query := customer + " = 'vitess'"
	// The server knows it when it has read the namespaces again, and visibility the workflows a little after they start.
	if err := await(ctx, func() (bool, error) {
		_, err := target.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		return err == nil, err
	}); err != nil {
		return fmt.Errorf("search attribute %s: %w", customer, err)
	}
	for number := range orders {
		options := client.StartWorkflowOptions{
			ID: fmt.Sprintf("order-%d", number), TaskQueue: taskQueue,
			TypedSearchAttributes: temporal.NewSearchAttributes(key.ValueSet("vitess")),
		}
		run, err := target.ExecuteWorkflow(ctx, options, "children")
		if err != nil {
			return err
		}
		if err := run.Get(ctx, nil); err != nil {
			return fmt.Errorf("workflow %s: %w", options.ID, err)
		}
	}
	if err := await(ctx, func() (bool, error) {
		answer, err := target.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query + " AND ExecutionStatus = 'Completed'"})
		return answer.GetCount() == orders, err
	}); err != nil {
		return fmt.Errorf("workflows with %s: %w", query, err)
	}
	done(began)
	return nil
}

// await asks until it is so. Its error says what was the matter when the time was up.
func await(ctx context.Context, isSo func() (bool, error)) error {
	const patience, tick = 2 * time.Minute, 100 * time.Millisecond
	deadline := time.Now().Add(patience)
	for {
		so, err := isSo()
		if so {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("not so after %v", patience), err)
		}
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
