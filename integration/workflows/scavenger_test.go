package workflows

import (
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/server/service/worker/scanner/history"
)

// TestScavengers runs Temporal's own background workflows beside the other tests, at once instead of every 12 hours
// (service/worker/scanner).
func TestScavengers(t *testing.T) {
	t.Parallel()
	t.Run("task queues", func(t *testing.T) {
		t.Parallel()
		scavenge(t, "temporal-sys-tq-scanner") // what it meets it tells its log only, which TestMain looks at
	})
	t.Run("history", func(t *testing.T) {
		t.Parallel()
		var branches history.ScavengerHeartbeatDetails
		result := scavenge(t, "temporal-sys-history-scanner")
		require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(result, &branches))
		require.Zero(t, branches.ErrorCount)
		require.Positive(t, branches.SkipCount) // too young to be garbage
	})
}

// scavenge runs a scanner's workflow to its end and returns the result of its activity.
func scavenge(t *testing.T, name string) *commonpb.Payloads {
	system := dial(t, "temporal-system")
	options := client.StartWorkflowOptions{ID: name + "-now", TaskQueue: name + "-taskqueue-0"}
	run, err := system.ExecuteWorkflow(t.Context(), options, name+"-workflow")
	require.NoError(t, err)
	require.NoError(t, run.Get(t.Context(), nil))

	events := system.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		if completed := event.GetActivityTaskCompletedEventAttributes(); completed != nil {
			return completed.Result
		}
	}
	require.Fail(t, "the workflow ran no activity")
	return nil
}
