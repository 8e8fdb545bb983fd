package faults

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/server"
)

// vtgate checks the settings of a session on the Vitess shard of keyspace ID 0. With MySQL's own isolation there is one to
// check.
func TestWithoutTheFirstVitessShard(t *testing.T) {
	bed := start(t, fullcluster.Config{TransactionIsolation: "REPEATABLE-READ"})
	// The Temporal server has the history shards up to 16, and the test some of its own.
	const historyShards, ours = 16, 1000
	before := open(t, bed.MainConfig())
	createHistoryShards(t, before, ours, historyShards)

	for name, fault := range map[string]struct {
		fail, repair func() error
	}{
		"its vttablet is gone": {
			bed.VTTablet(keyspace, firstVitessShard, 0).Kill,
			func() error { return bed.VTTablet(keyspace, firstVitessShard, 0).Restart(t.Context()) },
		},
		"its mysqld does not answer": {
			bed.MySQLd(keyspace, firstVitessShard, 0).Stop,
			bed.MySQLd(keyspace, firstVitessShard, 0).Continue,
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, fault.fail())
			repair := sync.OnceFunc(func() {
				require.NoError(t, fault.repair())
				require.NoError(t, bed.WaitServing(t.Context()))
			})
			defer repair()

			t.Run("connections open, and serve the others", func(t *testing.T) {
				db := open(t, bed.MainConfig())
				for _, store := range []sqlplugin.DB{before, db} {
					var all sync.WaitGroup
					errs := make([]error, historyShards)
					for historyShard := int32(1); historyShard <= historyShards; historyShard++ {
						all.Go(func() { errs[historyShard-1] = addTask(t.Context(), store, ours+historyShard, int64(uuid.New().ID())) })
					}
					all.Wait()
					for i, err := range errs {
						if vitessShard(int32(ours+i+1)) == firstVitessShard {
							require.Error(t, err)
						} else {
							require.NoError(t, err)
						}
					}
				}
			})

			t.Run("a Temporal server starts, and serves the others' history shards", func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
				defer cancel()
				s, err := server.Start(ctx, server.Config{Main: bed.MainConfig(), Visibility: bed.VisibilityConfig(), HistoryShards: historyShards})
				require.NoError(t, err)
				defer func() { require.NoError(t, s.Stop()) }()
				namespace := "namespace-" + uuid.NewString()
				require.NoError(t, s.CreateNamespace(ctx, namespace))
				c, err := s.Dial(namespace)
				require.NoError(t, err)
				defer c.Close()
				id := namespaceID(t, ctx, c, namespace)
				for started := 0; started < 20; {
					workflowID := uuid.NewString()
					if vitessShard(common.WorkflowIDToHistoryShard(id, workflowID, historyShards)) == firstVitessShard {
						continue
					}
					run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflowID, TaskQueue: "nobody"}, "workflow")
					require.NoError(t, err)
					description, err := c.DescribeWorkflowExecution(ctx, workflowID, run.GetRunID())
					require.NoError(t, err)
					require.Equal(t, run.GetRunID(), description.GetWorkflowExecutionInfo().GetExecution().GetRunId())
					started++
				}
			})

			repair()
			require.Eventually(t, func() bool { return addTask(t.Context(), before, ours+2, int64(uuid.New().ID())) == nil }, waitTimeout, pollInterval)
		})
	}
}

// namespaceID returns the ID of a namespace.
func namespaceID(t *testing.T, ctx context.Context, c client.Client, namespace string) string {
	t.Helper()
	description, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	require.NoError(t, err)
	return description.GetNamespaceInfo().GetId()
}
