package workflows

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// The attributes of orders, one of each type.
var (
	orderCustomer = temporal.NewSearchAttributeKeyKeyword("OrderCustomer")
	orderNote     = temporal.NewSearchAttributeKeyString("OrderNote")
	orderItems    = temporal.NewSearchAttributeKeyInt64("OrderItems")
	orderPrice    = temporal.NewSearchAttributeKeyFloat64("OrderPrice")
	orderPaid     = temporal.NewSearchAttributeKeyBool("OrderPaid")
	orderDate     = temporal.NewSearchAttributeKeyTime("OrderDate")
	orderTags     = temporal.NewSearchAttributeKeyKeywordList("OrderTags")
)

var firstOrder = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// orderWorkflow is started with some attributes and sets the others itself. Those with an odd number fail.
func orderWorkflow(ctx workflow.Context, number int) error {
	err := workflow.UpsertTypedSearchAttributes(ctx,
		orderItems.ValueSet(int64(number)),
		orderPrice.ValueSet(float64(number)/2),
		orderPaid.ValueSet(number%2 == 0),
		orderDate.ValueSet(firstOrder.AddDate(0, 0, number)),
		orderTags.ValueSet([]string{"all", fmt.Sprintf("third-%d", number%3)}),
	)
	if err == nil && number%2 == 1 {
		err = temporal.NewApplicationError("odd", "odd")
	}
	return err
}

func TestSearchAttributes(t *testing.T) {
	t.Parallel()
	const orders = 12
	forEachProfile(t, func(t *testing.T, namespace string) {
		target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: "orders"}
		addOrderAttributes(t, target)
		startWorker(t, target, worker.Options{}, func(registry worker.Registry) {
			registry.RegisterWorkflowWithOptions(orderWorkflow, workflow.RegisterOptions{Name: "order"})
		})
		for number := range orders {
			run, err := target.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
				ID:        fmt.Sprintf("order-%02d", number),
				TaskQueue: target.TaskQueue,
				TypedSearchAttributes: temporal.NewSearchAttributes(
					orderCustomer.ValueSet(fmt.Sprintf("customer-%d", number%4)),
					orderNote.ValueSet(fmt.Sprintf("please hurry number%d", number)),
				),
			}, "order", number)
			require.NoError(t, err)
			if err := run.Get(t.Context(), nil); number%2 == 0 {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "odd")
			}
		}
		require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
			{Type: "order", Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: orders / 2,
			{Type: "order", Status: enumspb.WORKFLOW_EXECUTION_STATUS_FAILED}:    orders / 2,
		}))

		for _, test := range []struct {
			query string
			want  []int
		}{
			{"OrderCustomer = 'customer-1'", []int{9, 5, 1}},
			{"OrderCustomer IN ('customer-0', 'customer-2') AND OrderItems < 5", []int{4, 2, 0}},
			{"OrderCustomer STARTS_WITH 'customer' AND OrderItems BETWEEN 3 AND 4", []int{4, 3}},
			{"OrderNote = 'number7'", []int{7}},
			{"OrderItems >= 10", []int{11, 10}},
			{"OrderItems != 0 AND OrderItems <= 2", []int{2, 1}},
			{"OrderPrice = 2.5", []int{5}},
			{"OrderPaid = true AND OrderItems > 6", []int{10, 8}},
			{"OrderDate > '2026-01-10T12:00:00Z'", []int{11, 10}},
			{"OrderTags = 'third-2'", []int{11, 8, 5, 2}},
			{"OrderTags IN ('third-0', 'third-1') AND NOT OrderPaid = true AND OrderItems > 5", []int{9, 7}},
			{"ExecutionStatus = 'Failed' AND (OrderItems = 1 OR OrderItems = 2)", []int{1}},
			{"WorkflowId = 'order-03' AND OrderItems IS NOT NULL", []int{3}},
			{"OrderItems IS NULL", nil},
		} {
			query := "WorkflowType = 'order' AND " + test.query
			t.Run(test.query, func(t *testing.T) {
				var want []string
				for _, number := range test.want {
					want = append(want, fmt.Sprintf("order-%02d", number))
				}
				require.Equal(t, want, list(t, target, query), "the last closed comes first")
				counted, err := target.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: query})
				require.NoError(t, err)
				require.EqualValues(t, len(want), counted.Count)
			})
		}
		t.Run("count by status", func(t *testing.T) {
			counts, err := kinds.CountByStatus(t.Context(), target, "WorkflowType = 'order' AND OrderItems >= 3")
			require.NoError(t, err)
			require.Equal(t, map[enumspb.WorkflowExecutionStatus]int{
				enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED: 4,
				enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:    5,
			}, counts)
		})
	})
}

// addOrderAttributes adds the attributes to a namespace and waits until it can be searched for them.
func addOrderAttributes(t *testing.T, target kinds.Target) {
	types := map[string]enumspb.IndexedValueType{}
	for _, key := range []temporal.SearchAttributeKey{orderCustomer, orderNote, orderItems, orderPrice, orderPaid, orderDate, orderTags} {
		types[key.GetName()] = key.GetValueType()
	}
	_, err := target.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: target.Namespace, SearchAttributes: types,
	})
	require.NoError(t, err)
	for name := range types {
		eventually(t, func(collect *attempt) {
			_, err := target.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: name + " IS NOT NULL"})
			assert.NoError(collect, err)
		})
	}
}

// list returns the workflow IDs that a query selects, read in small pages.
func list(t *testing.T, target kinds.Target, query string) []string {
	var ids []string
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: query, PageSize: 2}
	for {
		page, err := target.ListWorkflow(t.Context(), request)
		require.NoError(t, err)
		for _, execution := range page.Executions {
			ids = append(ids, execution.Execution.WorkflowId)
		}
		if request.NextPageToken = page.NextPageToken; len(request.NextPageToken) == 0 {
			return ids
		}
	}
}
