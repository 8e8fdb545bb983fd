package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	forEachProfile(t, func(t *testing.T, namespace string) {
		const actions = 3
		target := newTarget(t, namespace, "schedule")
		schedule, err := target.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
			ID:               "schedule",
			Spec:             client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Second}}},
			Action:           &client.ScheduleWorkflowAction{ID: "scheduled", Workflow: "local-activities", TaskQueue: target.TaskQueue},
			RemainingActions: actions,
		})
		require.NoError(t, err)
		require.NoError(t, kinds.AwaitVisible(t.Context(), target, map[kinds.Closed]int{
			{Type: "local-activities", Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: actions,
		}))

		require.NoError(t, schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: "enough"}))
		eventually(t, func(collect *attempt) {
			description, err := schedule.Describe(t.Context())
			require.NoError(collect, err)
			assert.True(collect, description.Schedule.State.Paused)
			assert.Equal(collect, actions, description.Info.NumActions)
			assert.Empty(collect, description.Info.RunningWorkflows)
		})
		eventually(t, func(collect *attempt) {
			paused, err := listSchedules(t, target)
			require.NoError(collect, err)
			assert.Equal(collect, map[string]bool{"schedule": true}, paused)
		})

		require.NoError(t, schedule.Delete(t.Context()))
		eventually(t, func(collect *attempt) {
			_, err := schedule.Describe(t.Context())
			var notFound *serviceerror.NotFound
			assert.ErrorAs(collect, err, &notFound)
			paused, err := listSchedules(t, target)
			require.NoError(collect, err)
			assert.Empty(collect, paused)
		})
	})
}

// listSchedules returns which schedules visibility has, and whether they are paused.
func listSchedules(t *testing.T, c client.Client) (map[string]bool, error) {
	schedules, err := c.ScheduleClient().List(t.Context(), client.ScheduleListOptions{})
	if err != nil {
		return nil, err
	}
	paused := map[string]bool{}
	for schedules.HasNext() {
		schedule, err := schedules.Next()
		if err != nil {
			return nil, err
		}
		paused[schedule.ID] = schedule.Paused
	}
	return paused, nil
}
