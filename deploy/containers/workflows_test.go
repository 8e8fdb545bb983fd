//go:build containers

package containers

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// history is what a namespace has to remember: the workflows that rounds have run in it.
type history struct {
	tls    *tls.Config // that of clients; nil for none
	rounds int
	closed map[kinds.Closed]int
}

// round runs a workflow of each kind through the SDK, and requires that all workflows of this and earlier rounds are there, in
// visibility and with their histories.
func (h *history) round(t *testing.T, address string) {
	t.Helper()
	c, err := dial(address, h.tls)
	require.NoError(t, err)
	defer c.Close()
	target := kinds.Target{Client: c, Namespace: client.DefaultNamespace, TaskQueue: "containers"}
	w := kinds.NewWorker(target)
	require.NoError(t, w.Start())
	defer w.Stop()

	group, ctx := errgroup.WithContext(t.Context())
	for _, kind := range kinds.All() {
		group.Go(func() error { return kind.Run(ctx, target, h.rounds) })
	}
	require.NoError(t, group.Wait())
	if h.closed == nil {
		h.closed = map[kinds.Closed]int{}
	}
	for _, kind := range kinds.All() {
		for closed, count := range kind.Leaves {
			h.closed[closed] += count
		}
	}
	h.rounds++
	require.NoError(t, kinds.AwaitVisible(t.Context(), target, h.closed))
	h.requireKept(t, c)
}

func dial(address string, tls *tls.Config) (client.Client, error) {
	return client.Dial(client.Options{
		HostPort: address, ConnectionOptions: client.ConnectionOptions{TLS: tls}, Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
}

// requireKept requires that a workflow of each round still has its history.
func (h *history) requireKept(t *testing.T, c client.Client) {
	t.Helper()
	for round := range h.rounds {
		events := c.GetWorkflowHistory(t.Context(), fmt.Sprintf("activities-%d", round), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		last := enumspb.EVENT_TYPE_UNSPECIFIED
		for events.HasNext() {
			event, err := events.Next()
			require.NoError(t, err)
			last = event.EventType
		}
		require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
	}
}
