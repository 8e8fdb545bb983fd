package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

const (
	nexusEndpoint = "arithmetic"
	nexusService  = "arithmetic"
)

// double is a sync operation, triple an async one: a workflow.
var (
	double = nexus.NewSyncOperation("double", func(_ context.Context, value int, _ nexus.StartOperationOptions) (int, error) {
		return 2 * value, nil
	})
	triple = temporalnexus.NewWorkflowRunOperation("triple", tripleWorkflow,
		func(_ context.Context, _ int, options nexus.StartOperationOptions) (client.StartWorkflowOptions, error) {
			return client.StartWorkflowOptions{ID: "triple-" + options.RequestID}, nil
		})
)

func tripleWorkflow(ctx workflow.Context, value int) (int, error) {
	return 3 * value, workflow.Sleep(ctx, 10*time.Millisecond)
}

func nexusCallerWorkflow(ctx workflow.Context, value int) (int, error) {
	c := workflow.NewNexusClient(nexusEndpoint, nexusService)
	for _, operation := range []any{double, triple} {
		options := workflow.NexusOperationOptions{ScheduleToCloseTimeout: time.Minute}
		if err := c.ExecuteOperation(ctx, operation, value, options).Get(ctx, &value); err != nil {
			return 0, err
		}
	}
	return value, nil
}

func TestNexusOperations(t *testing.T) {
	t.Parallel()
	namespace := string(profiles[0])
	target := kinds.Target{Client: dial(t, namespace), Namespace: namespace, TaskQueue: "nexus"}
	startWorker(t, target, worker.Options{}, func(registry worker.Registry) {
		service := nexus.NewService(nexusService)
		require.NoError(t, service.Register(double, triple))
		registry.RegisterNexusService(service)
		registry.RegisterWorkflowWithOptions(tripleWorkflow, workflow.RegisterOptions{Name: "triple"})
		registry.RegisterWorkflowWithOptions(nexusCallerWorkflow, workflow.RegisterOptions{Name: "nexus-caller"})
	})
	operator := target.OperatorService()
	created, err := operator.CreateNexusEndpoint(t.Context(), &operatorservice.CreateNexusEndpointRequest{Spec: &nexuspb.EndpointSpec{
		Name: nexusEndpoint,
		Target: &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_Worker_{
			Worker: &nexuspb.EndpointTarget_Worker{Namespace: namespace, TaskQueue: target.TaskQueue},
		}},
	}})
	require.NoError(t, err)

	options := client.StartWorkflowOptions{ID: "nexus-caller", TaskQueue: target.TaskQueue}
	run, err := target.ExecuteWorkflow(t.Context(), options, "nexus-caller", 7)
	require.NoError(t, err)
	var result int
	require.NoError(t, run.Get(t.Context(), &result))
	require.Equal(t, 7*2*3, result)
	require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
		{Type: "nexus-caller", Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: 1,
		{Type: "triple", Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}:       1,
	}))

	_, err = operator.DeleteNexusEndpoint(t.Context(), &operatorservice.DeleteNexusEndpointRequest{
		Id: created.Endpoint.Id, Version: created.Endpoint.Version,
	})
	require.NoError(t, err)
	eventually(t, func(collect *attempt) {
		listed, err := operator.ListNexusEndpoints(t.Context(), &operatorservice.ListNexusEndpointsRequest{})
		require.NoError(collect, err)
		assert.Empty(collect, listed.Endpoints)
	})
}
