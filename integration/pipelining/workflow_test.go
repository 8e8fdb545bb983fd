package pipelining

import (
	"context"
	"math/rand"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	enumsspb "go.temporal.io/server/api/enums/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"google.golang.org/protobuf/proto"
)

// get reads a workflow's run.
func (w *workflow) get(ctx context.Context, r *workflowRun) (*persistence.GetWorkflowExecutionResponse, error) {
	return w.ExecutionManager.GetWorkflowExecution(ctx, &persistence.GetWorkflowExecutionRequest{
		ShardID: w.ShardID, NamespaceID: w.NamespaceID, WorkflowID: w.WorkflowID, RunID: r.id, ArchetypeID: chasm.WorkflowArchetypeID,
	})
}

// bufferEvents gives a run that many batches of one event, which its builders do not.
func (w *workflow) bufferEvents(db sqlplugin.DB, r *workflowRun, count int) {
	w.t.Helper()
	namespaceID, runID := uuid.MustParse(w.NamespaceID), uuid.MustParse(r.id)
	for range count {
		blob, err := serialization.NewSerializer().SerializeEvents([]*historypb.HistoryEvent{{EventId: rand.Int63()}})
		require.NoError(w.t, err)
		_, err = db.InsertIntoBufferedEvents(w.Ctx, []sqlplugin.BufferedEventsRow{{
			ShardID: w.ShardID, NamespaceID: namespaceID[:], WorkflowID: w.WorkflowID, RunID: runID[:],
			Data: blob.Data, DataEncoding: blob.EncodingType.String(),
		}})
		require.NoError(w.t, err)
	}
}

func TestAWorkflowIsReadInOneRoundTrip(t *testing.T) {
	for name, test := range map[string]struct{ maxRows, ways string }{
		"complete": {"10000", "on"}, "in pages": {"2", "on"}, "as a packet": {"10000", "packets"}, "as a packet, in pages": {"2", "packets"},
	} {
		t.Run(name, func(t *testing.T) {
			maxRows := test.maxRows
			proxy, cfg := startProxy(t, with(with(bed.MainConfig(), "vitess_max_rows", maxRows), "vitess_pipelining", test.ways))
			w := newWorkflow(t, cfg)
			w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
			w.update(nil, false)()
			w.bufferEvents(openMain(t, 1), &w.run, 5)

			var got *persistence.GetWorkflowExecutionResponse
			roundTrips := proxy.count(func() {
				var err error
				got, err = w.get(w.Ctx, &w.run)
				require.NoError(t, err)
			})
			if maxRows == "2" {
				require.Greater(t, roundTrips, 1, "no further page was read")
			} else {
				require.Equal(t, 1, roundTrips)
				require.Equal(t, 1, proxy.count(func() {
					_, err := w.get(context.Background(), &w.run)
					require.NoError(t, err)
				}), "under a context that does not end")
			}
			require.Len(t, got.State.BufferedEvents, 5)
			require.NotEmpty(t, got.State.ActivityInfos)
			require.NotEmpty(t, got.State.TimerInfos)
			require.NotEmpty(t, got.State.ChildExecutionInfos)
			require.NotEmpty(t, got.State.RequestCancelInfos)
			require.NotEmpty(t, got.State.SignalInfos)
			require.NotEmpty(t, got.State.SignalRequestedIds)
			require.NotEmpty(t, got.State.ChasmNodes)

			plain := newWorkflow(t, with(bed.MainConfig(), "vitess_pipelining", "off"))
			plain.ShardID, plain.NamespaceID, plain.WorkflowID = w.ShardID, w.NamespaceID, w.WorkflowID
			want, err := plain.get(w.Ctx, &w.run)
			require.NoError(t, err)
			require.True(t, proto.Equal(want.State, got.State), "want %v\ngot  %v", want.State, got.State)
			require.Equal(t, want.DBRecordVersion, got.DBRecordVersion)
		})
	}
}

func TestAReadOfAWorkflowSeesWhatWasWrittenBeforeIt(t *testing.T) {
	w := newWorkflow(t, bed.MainConfig())
	w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
	events := openMain(t, 1)
	// All with the same context, by which calls are told apart.
	for i := range 5 {
		w.bufferEvents(events, &w.run, 1)
		got, err := w.get(w.Ctx, &w.run)
		require.NoError(t, err)
		require.Len(t, got.State.BufferedEvents, i+1)
	}
}

func TestReadsOfOneWorkflowAtOnce(t *testing.T) {
	w := newWorkflow(t, bed.MainConfig())
	w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
	w.bufferEvents(openMain(t, 1), &w.run, 3)
	want, err := w.get(w.Ctx, &w.run)
	require.NoError(t, err)
	got := make([]*persistence.GetWorkflowExecutionResponse, 100)
	errs := make([]error, len(got))
	var readers sync.WaitGroup
	for i := range got {
		readers.Go(func() { got[i], errs[i] = w.get(w.Ctx, &w.run) })
	}
	readers.Wait()
	for i := range got {
		require.NoError(t, errs[i])
		require.True(t, proto.Equal(want.State, got[i].State))
	}
}

func TestAReadOfAWorkflowThatFails(t *testing.T) {
	proxy, cfg := startProxy(t, bed.MainConfig())
	w := newWorkflow(t, cfg)
	_, err := w.get(w.Ctx, &workflowRun{id: uuid.NewString()})
	require.ErrorContains(t, err, "not found")

	w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
	for _, where := range []cut{before, during, after} {
		proxy.cutAt("executions", where)
		_, err = w.get(w.Ctx, &w.run)
		require.NoError(t, err, "a read is sent again on a fresh connection")
		require.True(t, proxy.hasCut())
	}

	db := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler)
	key := executionKey(rand.Int31n(1 << 20))
	ended, end := context.WithCancel(context.Background())
	end()
	_, err = db.SelectFromExecutions(ended, key)
	require.ErrorIs(t, err, context.Canceled)
	inTime, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = db.SelectAllFromTimerInfoMaps(inTime, sqlplugin.TimerInfoMapsAllFilter(key))
	require.NoError(t, err, "a call that does not follow is answered as well")
}
