package plugin

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/metrics/metricstest"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/schema"
)

func TestTheInfoGaugeIsOneForTheVersionsInUse(t *testing.T) {
	handler := metricstest.NewCaptureHandler()
	capture := handler.StartCapture()
	i := newInfo(sqlplugin.DbKindMain)
	for _, answer := range []struct {
		version string
		err     error
	}{{"24.0.3", nil}, {"", errors.New("no vtgate answers")}, {"24.0.3", nil}, {"24.0.4", nil}} {
		i.report(handler, func(context.Context) (string, error) { return answer.version, answer.err })
	}
	var recorded []string
	for _, recording := range capture.Snapshot()["vitess_info"] {
		require.Equal(t, schema.MainVersion, recording.Tags["schema"])
		require.Equal(t, pluginVersion(), recording.Tags["plugin"])
		recorded = append(recorded, map[float64]string{0: "not ", 1: ""}[recording.Value.(float64)]+recording.Tags["vitess"])
	}
	require.Equal(t, []string{"24.0.3", "24.0.3", "not 24.0.3", "24.0.4"}, recorded)
	require.NotEmpty(t, pluginVersion(), "the module's path has changed")
}
