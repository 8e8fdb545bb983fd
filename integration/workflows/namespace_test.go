package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

func TestNamespaceIsCreatedUpdatedAndDeleted(t *testing.T) {
	t.Parallel()
	const name = "passing"
	require.NoError(t, temporalServer.CreateNamespace(t.Context(), name))
	target := newTarget(t, name, "namespace")
	service := target.WorkflowService()

	_, err := service.UpdateNamespace(t.Context(), &workflowservice.UpdateNamespaceRequest{
		Namespace:  name,
		UpdateInfo: &namespacepb.UpdateNamespaceInfo{Description: "not for long"},
		Config:     &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(48 * time.Hour)},
	})
	require.NoError(t, err)
	described, err := service.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: name})
	require.NoError(t, err)
	require.Equal(t, "not for long", described.NamespaceInfo.Description)
	require.Equal(t, 48*time.Hour, described.Config.WorkflowExecutionRetentionTtl.AsDuration())

	for _, kind := range kinds.All() {
		if kind.Name == "children" || kind.Name == "signals" {
			require.NoError(t, kind.Run(t.Context(), target, 0))
			require.NoError(t, kinds.AwaitVisible(t.Context(), target, kind.Leaves))
		}
	}

	deleted, err := target.OperatorService().DeleteNamespace(t.Context(), &operatorservice.DeleteNamespaceRequest{Namespace: name})
	require.NoError(t, err)
	eventually(t, func(collect *attempt) {
		for _, gone := range []string{name, deleted.DeletedNamespace} {
			_, err := service.DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: gone})
			var notFound *serviceerror.NamespaceNotFound
			assert.ErrorAs(collect, err, &notFound)
		}
	})
}
