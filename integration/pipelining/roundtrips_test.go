package pipelining

import (
	"context"
	"math/rand"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	enumsspb "go.temporal.io/server/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/tests"
	"go.temporal.io/server/common/primitives/timestamp"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// workflow drives upstream's stores with the requests of upstream's suite.
type workflow struct {
	*tests.ExecutionMutableStateSuite
	tasks persistence.TaskManager
	t     *testing.T
	run   workflowRun
}

// workflowRun is a workflow's run, with its history branch.
type workflowRun struct {
	id       string
	branch   []byte
	snapshot *persistence.WorkflowSnapshot
}

func newWorkflow(t *testing.T, cfg *config.SQL) *workflow {
	factory := persistencesql.NewFactory(*cfg, resolver.NewNoopResolver(), "cluster", log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	t.Cleanup(factory.Close)
	shardStore, err := factory.NewShardStore()
	require.NoError(t, err)
	executionStore, err := factory.NewExecutionStore()
	require.NoError(t, err)
	taskStore, err := factory.NewTaskStore()
	require.NoError(t, err)
	suite := tests.NewExecutionMutableStateSuite(t, shardStore, executionStore, serialization.NewSerializer(), log.NewNoopLogger())
	suite.SetT(t)
	suite.ShardID = rand.Int31n(1 << 20)
	suite.SetupTest()
	t.Cleanup(suite.TearDownTest)
	return &workflow{
		ExecutionMutableStateSuite: suite,
		tasks:                      persistence.NewTaskManager(taskStore, serialization.NewSerializer()),
		t:                          t,
		run:                        workflowRun{id: suite.RunID},
	}
}

func (w *workflow) snapshot(r *workflowRun, state enumsspb.WorkflowExecutionState) (*persistence.WorkflowSnapshot, []*persistence.WorkflowEvents) {
	eventID, version := common.FirstEventID, rand.Int63()
	if r.snapshot == nil {
		r.branch = tests.RandomBranchToken(w.NamespaceID, w.WorkflowID, r.id, w.HistoryBranchUtil)
	} else {
		eventID, version = r.snapshot.NextEventID, r.snapshot.DBRecordVersion+1
	}
	snapshot, events := tests.RandomSnapshot(w.t, w.NamespaceID, w.WorkflowID, r.id, eventID, rand.Int63(), state,
		enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, version, r.branch)
	r.snapshot = snapshot
	return snapshot, events
}

func (w *workflow) mutation(r *workflowRun, state enumsspb.WorkflowExecutionState, status enumspb.WorkflowExecutionStatus) (*persistence.WorkflowMutation, []*persistence.WorkflowEvents) {
	mutation, events := tests.RandomMutation(w.t, w.NamespaceID, w.WorkflowID, r.id, r.snapshot.NextEventID, rand.Int63(), state, status,
		r.snapshot.DBRecordVersion+1, r.branch)
	mutation.ClearBufferedEvents, mutation.NewBufferedEvents = false, nil // which the builder draws by lot
	r.snapshot.NextEventID, r.snapshot.DBRecordVersion = mutation.NextEventID, mutation.DBRecordVersion
	return mutation, events
}

func (w *workflow) create(r *workflowRun, mode persistence.CreateWorkflowMode, state enumsspb.WorkflowExecutionState) func() {
	snapshot, events := w.snapshot(r, state)
	return func() {
		_, err := w.ExecutionManager.CreateWorkflowExecution(w.Ctx, &persistence.CreateWorkflowExecutionRequest{
			ShardID: w.ShardID, RangeID: w.RangeID, Mode: mode, ArchetypeID: chasm.WorkflowArchetypeID,
			NewWorkflowSnapshot: *snapshot, NewWorkflowEvents: events,
		})
		require.NoError(w.t, err)
	}
}

func (w *workflow) update(next *workflowRun, clearBufferedEvents bool) func() {
	request := &persistence.UpdateWorkflowExecutionRequest{
		ShardID: w.ShardID, RangeID: w.RangeID, Mode: persistence.UpdateWorkflowModeUpdateCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
	}
	state, status := enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	if next != nil { // continue as new
		state, status = enumsspb.WORKFLOW_EXECUTION_STATE_COMPLETED, enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
		request.NewWorkflowSnapshot, request.NewWorkflowEvents = w.snapshot(next, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)
	}
	mutation, events := w.mutation(&w.run, state, status)
	mutation.ClearBufferedEvents = clearBufferedEvents
	request.UpdateWorkflowMutation, request.UpdateWorkflowEvents = *mutation, events
	return func() {
		_, err := w.ExecutionManager.UpdateWorkflowExecution(w.Ctx, request)
		require.NoError(w.t, err)
	}
}

func (w *workflow) conflictResolve(base *workflowRun) func() {
	reset, resetEvents := w.snapshot(base, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)
	mutation, events := w.mutation(&w.run, enumsspb.WORKFLOW_EXECUTION_STATE_ZOMBIE, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	return func() {
		_, err := w.ExecutionManager.ConflictResolveWorkflowExecution(w.Ctx, &persistence.ConflictResolveWorkflowExecutionRequest{
			ShardID: w.ShardID, RangeID: w.RangeID, Mode: persistence.ConflictResolveWorkflowModeUpdateCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
			ResetWorkflowSnapshot: *reset, ResetWorkflowEvents: resetEvents,
			CurrentWorkflowMutation: mutation, CurrentWorkflowEvents: events,
		})
		require.NoError(w.t, err)
	}
}

func TestRoundTrips(t *testing.T) {
	proxy, cfg := startProxy(t, with(bed.MainConfig(), "vitess_pipelining", everything))
	w := newWorkflow(t, cfg)
	count := func(operation string, atMost int, do func()) {
		roundTrips := proxy.count(do)
		t.Logf("%-40s %d", operation, roundTrips)
		require.LessOrEqual(t, roundTrips, atMost, operation)
	}

	// The store learns the range ID, that the server checks it, and what follows the lock of a current execution.
	workflowID, run := w.WorkflowID, w.run
	w.WorkflowID, w.run = "first", workflowRun{id: uuid.NewString()}
	w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
	w.update(nil, false)()
	w.update(nil, false)()
	w.WorkflowID, w.run = workflowID, run

	count("create workflow, its history branch included", 3,
		w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING))
	count("update workflow, history append included", 2, w.update(nil, false))
	// The events are deleted in chunks, which have to be complete before COMMIT.
	count("update workflow that clears buffered events", 3, w.update(nil, true))
	base := workflowRun{id: uuid.NewString()}
	w.create(&base, persistence.CreateWorkflowModeBypassCurrent, enumsspb.WORKFLOW_EXECUTION_STATE_ZOMBIE)()
	count("conflict-resolve", 4, w.conflictResolve(&base))
	zombie := w.run
	w.run = base
	next := workflowRun{id: uuid.NewString()}
	count("continue as new", 3, w.update(&next, false))
	count("delete workflow execution", 2, func() {
		require.NoError(t, w.ExecutionManager.DeleteWorkflowExecution(w.Ctx, &persistence.DeleteWorkflowExecutionRequest{
			ShardID: w.ShardID, NamespaceID: w.NamespaceID, WorkflowID: w.WorkflowID, RunID: zombie.id, ArchetypeID: chasm.WorkflowArchetypeID,
		}))
	})

	count("add history tasks", 1, func() { require.NoError(t, w.addTask(w.RangeID, firstTask())) })
	count("update shard", 1, func() {
		require.NoError(t, w.ShardManager.UpdateShard(w.Ctx, &persistence.UpdateShardRequest{
			ShardInfo: tests.RandomShardInfo(w.ShardID, w.RangeID+1), PreviousRangeID: w.RangeID,
		}))
	})

	queue := &persistencespb.TaskQueueInfo{
		NamespaceId: w.NamespaceID, Name: "queue", TaskType: enumspb.TASK_QUEUE_TYPE_WORKFLOW, Kind: enumspb.TASK_QUEUE_KIND_NORMAL,
		LastUpdateTime: timestamp.TimeNowPtrUtc(),
	}
	_, err := w.tasks.CreateTaskQueue(w.Ctx, &persistence.CreateTaskQueueRequest{RangeID: 1, TaskQueueInfo: queue})
	require.NoError(t, err)
	create10 := func(first int64) {
		var created []*persistencespb.AllocatedTaskInfo
		for taskID := range int64(10) {
			created = append(created, &persistencespb.AllocatedTaskInfo{
				Data:   &persistencespb.TaskInfo{NamespaceId: w.NamespaceID, WorkflowId: w.WorkflowID, RunId: w.RunID, CreateTime: timestamp.TimeNowPtrUtc()},
				TaskId: first + taskID,
			})
		}
		_, err := w.tasks.CreateTasks(w.Ctx, &persistence.CreateTasksRequest{
			TaskQueueInfo: &persistence.PersistedTaskQueueInfo{RangeID: 1, Data: queue}, Tasks: created,
		})
		require.NoError(t, err)
	}
	create10(1)
	count("create 10 matching tasks", 1, func() { create10(11) })
	count("update task queue", 1, func() {
		_, err := w.tasks.UpdateTaskQueue(w.Ctx, &persistence.UpdateTaskQueueRequest{RangeID: 2, PrevRangeID: 1, TaskQueueInfo: queue})
		require.NoError(t, err)
	})
}

func TestRoundTripsOfVisibility(t *testing.T) {
	for _, profile := range vschema.Profiles() {
		t.Run(string(profile), func(t *testing.T) {
			proxy, cfg := startProxy(t, bed.VisibilityConfig(profile))
			db := openStore(t, sqlplugin.DbKindVisibility, cfg, metrics.NoopMetricsHandler)
			ctx := context.Background()
			row := &sqlplugin.VisibilityRow{
				NamespaceID: uuid.NewString(), RunID: uuid.NewString(), WorkflowID: "workflow", WorkflowTypeName: "type",
				StartTime: time.Now().UTC(), ExecutionTime: time.Now().UTC(), Status: int32(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING),
				Memo: []byte("memo"), Encoding: "Proto3", TaskQueue: "queue", RootWorkflowID: "workflow", RootRunID: "run", Version: 1,
				SearchAttributes: &sqlplugin.VisibilitySearchAttributes{"CustomKeywordField": "what; is 'this'?"},
			}
			// The first statement for a namespace asks vtgate on which Vitess shard it is.
			_, err := db.GetFromVisibility(ctx, sqlplugin.VisibilityGetFilter{NamespaceID: row.NamespaceID, RunID: row.RunID})
			require.Error(t, err, "there is no row")
			for _, write := range []struct {
				name string
				do   func() error
			}{
				{"started", func() error { _, err := db.InsertIntoVisibility(ctx, row); return err }},
				{"closed", func() error {
					closed := *row
					now := time.Now().UTC()
					closed.CloseTime, closed.Version, closed.Status = &now, 2, int32(enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
					_, err := db.ReplaceIntoVisibility(ctx, &closed)
					return err
				}},
				{"deleted", func() error {
					_, err := db.DeleteFromVisibility(ctx, sqlplugin.VisibilityDeleteFilter{NamespaceID: row.NamespaceID, RunID: row.RunID})
					return err
				}},
			} {
				require.Equal(t, 1, proxy.count(func() { require.NoError(t, write.do()) }), write.name)
			}
			_, err = db.GetFromVisibility(ctx, sqlplugin.VisibilityGetFilter{NamespaceID: row.NamespaceID, RunID: row.RunID})
			require.Error(t, err, "the row is deleted")
		})
	}
}
