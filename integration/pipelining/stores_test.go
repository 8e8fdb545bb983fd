package pipelining

import (
	"context"
	"database/sql"
	"fmt"

	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	enumsspb "go.temporal.io/server/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/service/history/tasks"
)

// process is a process of the history service: its stores, and the range ID of the history shard that it believes in.
type process struct {
	executions persistence.ExecutionStore
	shards     persistence.ShardStore
}

func newProcess(t *testing.T, cfg *config.SQL) process {
	t.Helper()
	factory := persistencesql.NewFactory(*cfg, resolver.NewNoopResolver(), "cluster", log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	t.Cleanup(factory.Close)
	executions, err := factory.NewExecutionStore()
	require.NoError(t, err)
	shards, err := factory.NewShardStore()
	require.NoError(t, err)
	return process{executions, shards}
}

// modelRun is a run as the model's history service knows it.
type modelRun struct {
	id, treeID, branchID string
	version, nextEvent   int64
}

// storeModel draws calls of the stores on few workflows of one history shard, which two processes take from each other.
type storeModel struct {
	*model
	// shard is the history shard, whose range ID each of two processes believes to be that of rangeIDs.
	shard    int32
	rangeIDs [2]int64
	lastTask int64
	// runs of each workflow, the current one last.
	runs [2][]*modelRun
}

// storeCall is a call of the stores, the same for each process that does it.
type storeCall struct {
	name string
	do   func(ctx context.Context, p process) (any, error)
	// then is what the caller knows once the call has succeeded.
	then func()
}

func (m *storeModel) blob() *commonpb.DataBlob {
	return &commonpb.DataBlob{EncodingType: enumspb.ENCODING_TYPE_PROTO3, Data: m.data()}
}

func (m *storeModel) uuid() string {
	id := make(primitives.UUID, 16)
	m.random.Read(id)
	return id.String()
}

func (m *storeModel) newRun() *modelRun {
	return &modelRun{id: m.uuid(), treeID: m.uuid(), branchID: m.uuid(), version: 1, nextEvent: 1}
}

// events appends nodes to a run's branch, none now and then.
func (m *storeModel) events(run *modelRun, newBranch bool) []*persistence.InternalAppendHistoryNodesRequest {
	var all []*persistence.InternalAppendHistoryNodesRequest
	for i := range int64(m.random.Intn(3)) {
		m.lastTask++
		all = append(all, &persistence.InternalAppendHistoryNodesRequest{
			ShardID: m.shard, IsNewBranch: newBranch && i == 0, TreeInfo: m.blob(), BranchInfo: &persistencespb.HistoryBranch{TreeId: run.treeID, BranchId: run.branchID},
			Node: persistence.InternalHistoryNode{NodeID: run.nextEvent + i, TransactionID: m.lastTask, Events: m.blob()},
		})
	}
	return all
}

func (m *storeModel) tasks() map[tasks.Category][]persistence.InternalHistoryTask {
	all := map[tasks.Category][]persistence.InternalHistoryTask{}
	for range m.random.Intn(3) {
		m.lastTask++
		all[tasks.CategoryTransfer] = append(all[tasks.CategoryTransfer], persistence.InternalHistoryTask{Key: tasks.NewImmediateKey(m.lastTask), Blob: m.blob()})
		all[tasks.CategoryTimer] = append(all[tasks.CategoryTimer], persistence.InternalHistoryTask{
			Key: tasks.NewKey(time.Unix(m.lastTask, 0).UTC(), m.lastTask), Blob: m.blob(),
		})
	}
	return all
}

func (m *storeModel) state(run *modelRun, state enumsspb.WorkflowExecutionState) *persistencespb.WorkflowExecutionState {
	status := enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	if state == enumsspb.WORKFLOW_EXECUTION_STATE_COMPLETED {
		status = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}
	return &persistencespb.WorkflowExecutionState{RunId: run.id, CreateRequestId: "request", State: state, Status: status}
}

// stateBlob is what is kept of a state with the current execution.
func stateBlob(t *testing.T, state *persistencespb.WorkflowExecutionState) *commonpb.DataBlob {
	blob, err := serialization.NewSerializer().WorkflowExecutionStateToBlob(state)
	require.NoError(t, err)
	return blob
}

func (m *storeModel) mutation(t *testing.T, workflow int, run *modelRun, state enumsspb.WorkflowExecutionState, version int64) persistence.InternalWorkflowMutation {
	s := m.state(run, state)
	mutation := persistence.InternalWorkflowMutation{
		NamespaceID: m.namespace.String(), WorkflowID: fmt.Sprint("workflow", workflow), RunID: run.id,
		ExecutionInfoBlob: m.blob(), ExecutionState: s, ExecutionStateBlob: stateBlob(t, s),
		NextEventID: run.nextEvent + 3, LastWriteVersion: 1, DBRecordVersion: version, Tasks: m.tasks(),
		UpsertActivityInfos: map[int64]*commonpb.DataBlob{m.random.Int63n(3): m.blob()}, DeleteTimerInfos: map[string]struct{}{"timer1": {}},
		UpsertTimerInfos: map[string]*commonpb.DataBlob{"timer0": m.blob()}, UpsertSignalRequestedIDs: map[string]struct{}{fmt.Sprint(m.random.Intn(3)): {}},
		ClearBufferedEvents: m.random.Intn(3) == 0,
	}
	if m.random.Intn(3) == 0 {
		mutation.NewBufferedEvents = m.blob()
	}
	return mutation
}

func (m *storeModel) snapshot(t *testing.T, workflow int, run *modelRun, state enumsspb.WorkflowExecutionState, version int64) persistence.InternalWorkflowSnapshot {
	s := m.state(run, state)
	return persistence.InternalWorkflowSnapshot{
		NamespaceID: m.namespace.String(), WorkflowID: fmt.Sprint("workflow", workflow), RunID: run.id,
		ExecutionInfoBlob: m.blob(), ExecutionState: s, ExecutionStateBlob: stateBlob(t, s),
		NextEventID: run.nextEvent + 3, LastWriteVersion: 1, DBRecordVersion: version, Tasks: m.tasks(),
		ActivityInfos: map[int64]*commonpb.DataBlob{m.random.Int63n(3): m.blob()}, TimerInfos: map[string]*commonpb.DataBlob{"timer1": m.blob()},
	}
}

// call draws a call of one of the processes.
func (m *storeModel) call(t *testing.T) (by int, call storeCall) {
	by, workflow := m.random.Intn(2), m.random.Intn(2)
	rangeID := m.rangeIDs[by]
	const running, completed, zombie = enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING, enumsspb.WORKFLOW_EXECUTION_STATE_COMPLETED, enumsspb.WORKFLOW_EXECUTION_STATE_ZOMBIE
	archetype := chasm.WorkflowArchetypeID
	advance := func(run *modelRun) { run.version, run.nextEvent = run.version+1, run.nextEvent+3 }
	run := m.newRun() // one that is not there, if there is none
	if runs := m.runs[workflow]; len(runs) > 0 {
		run = runs[len(runs)-1]
		if m.random.Intn(5) == 0 {
			run = runs[m.random.Intn(len(runs))]
		}
	}
	version := run.version + 1
	if m.random.Intn(8) == 0 { // which the caller should not expect
		version += m.random.Int63n(3) - 1
	}
	next := m.newRun()
	switch m.random.Intn(9) {
	case 0:
		mode, previous := persistence.CreateWorkflowModeBrandNew, ""
		if len(m.runs[workflow]) > 0 && m.random.Intn(2) == 0 {
			mode, previous = persistence.CreateWorkflowModeUpdateCurrent, run.id
		}
		request := &persistence.InternalCreateWorkflowExecutionRequest{
			ShardID: m.shard, RangeID: rangeID, Mode: mode, PreviousRunID: previous, PreviousLastWriteVersion: 1, ArchetypeID: archetype,
			NewWorkflowSnapshot: m.snapshot(t, workflow, next, running, 1), NewWorkflowNewEvents: m.events(next, true),
		}
		return by, storeCall{"CreateWorkflowExecution", func(ctx context.Context, p process) (any, error) {
			return p.executions.CreateWorkflowExecution(ctx, request)
		}, func() { next.nextEvent += 3; m.runs[workflow] = append(m.runs[workflow], next) }}
	case 1, 2, 3:
		request := &persistence.InternalUpdateWorkflowExecutionRequest{
			ShardID: m.shard, RangeID: rangeID, ArchetypeID: archetype,
			Mode:                   []persistence.UpdateWorkflowMode{persistence.UpdateWorkflowModeUpdateCurrent, persistence.UpdateWorkflowModeBypassCurrent, persistence.UpdateWorkflowModeIgnoreCurrent}[max(0, m.random.Intn(6)-3)],
			UpdateWorkflowMutation: m.mutation(t, workflow, run, running, version), UpdateWorkflowNewEvents: m.events(run, false),
		}
		then := func() { advance(run) }
		if request.Mode == persistence.UpdateWorkflowModeUpdateCurrent && m.random.Intn(3) == 0 { // it ends, or continues as new
			request.UpdateWorkflowMutation = m.mutation(t, workflow, run, completed, version)
			if m.random.Intn(2) == 0 {
				snapshot := m.snapshot(t, workflow, next, running, 1)
				request.NewWorkflowSnapshot, request.NewWorkflowNewEvents = &snapshot, m.events(next, true)
				then = func() { advance(run); next.nextEvent += 3; m.runs[workflow] = append(m.runs[workflow], next) }
			}
		}
		return by, storeCall{"UpdateWorkflowExecution", func(ctx context.Context, p process) (any, error) {
			return nil, p.executions.UpdateWorkflowExecution(ctx, request)
		}, then}
	case 4:
		request := &persistence.InternalConflictResolveWorkflowExecutionRequest{
			ShardID: m.shard, RangeID: rangeID, Mode: persistence.ConflictResolveWorkflowModeUpdateCurrent, ArchetypeID: archetype,
			ResetWorkflowSnapshot: m.snapshot(t, workflow, run, running, version), ResetWorkflowEventsNewEvents: m.events(run, false),
		}
		then := func() { advance(run) }
		if runs := m.runs[workflow]; len(runs) > 1 && run != runs[len(runs)-1] {
			current := runs[len(runs)-1]
			mutation := m.mutation(t, workflow, current, zombie, current.version+1)
			request.CurrentWorkflowMutation, request.CurrentWorkflowEventsNewEvents = &mutation, m.events(current, false)
			then = func() {
				advance(run)
				advance(current)
				m.runs[workflow] = append(slices.DeleteFunc(m.runs[workflow], func(r *modelRun) bool { return r == run }), run)
			}
		}
		return by, storeCall{"ConflictResolveWorkflowExecution", func(ctx context.Context, p process) (any, error) {
			return nil, p.executions.ConflictResolveWorkflowExecution(ctx, request)
		}, then}
	case 5:
		request := &persistence.InternalSetWorkflowExecutionRequest{
			ShardID: m.shard, RangeID: rangeID, ArchetypeID: archetype, SetWorkflowSnapshot: m.snapshot(t, workflow, run, running, version),
		}
		return by, storeCall{"SetWorkflowExecution", func(ctx context.Context, p process) (any, error) {
			return nil, p.executions.SetWorkflowExecution(ctx, request)
		}, func() { advance(run) }}
	case 6:
		request := &persistence.InternalAddHistoryTasksRequest{
			ShardID: m.shard, RangeID: rangeID, NamespaceID: m.namespace.String(), WorkflowID: fmt.Sprint("workflow", workflow), ArchetypeID: archetype, Tasks: m.tasks(),
		}
		return by, storeCall{"AddHistoryTasks", func(ctx context.Context, p process) (any, error) {
			return nil, p.executions.AddHistoryTasks(ctx, request)
		}, func() {}}
	case 7:
		request := m.events(run, false)
		return by, storeCall{"AppendHistoryNodes", func(ctx context.Context, p process) (any, error) {
			for _, append := range request {
				if err := p.executions.AppendHistoryNodes(ctx, append); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}, func() {}}
	default:
		get := &persistence.GetWorkflowExecutionRequest{
			ShardID: m.shard, NamespaceID: m.namespace.String(), WorkflowID: fmt.Sprint("workflow", workflow), RunID: run.id, ArchetypeID: archetype,
		}
		return by, storeCall{"GetWorkflowExecution", func(ctx context.Context, p process) (any, error) {
			got, err := p.executions.GetWorkflowExecution(ctx, get)
			if err == nil {
				slices.Sort(got.State.SignalRequestedIDs) // a set
			}
			return got, err
		}, func() {}}
	}
}

// takeOver is a process's acquisition of the history shard: it reads the range ID, and writes the next one.
func (m *storeModel) takeOver(t *testing.T) (by int, call storeCall) {
	by = m.random.Intn(2)
	rangeID, info := max(m.rangeIDs[0], m.rangeIDs[1]), m.blob()
	return by, storeCall{"UpdateShard", func(ctx context.Context, p process) (any, error) {
		if _, err := p.shards.GetOrCreateShard(ctx, &persistence.InternalGetOrCreateShardRequest{ShardID: m.shard, LifecycleContext: ctx}); err != nil {
			return nil, err
		}
		return nil, p.shards.UpdateShard(ctx, &persistence.InternalUpdateShardRequest{ShardID: m.shard, RangeID: rangeID + 1, PreviousRangeID: rangeID, ShardInfo: info})
	}, func() { m.rangeIDs[by] = rangeID + 1 }}
}

// stateTables are all tables of a history shard but those of its history.
var stateTables = []string{
	"shards", "executions", "current_executions", "activity_info_maps", "timer_info_maps", "child_execution_info_maps", "request_cancel_info_maps",
	"signal_info_maps", "signals_requested_sets", "chasm_node_maps", "buffered_events", "transfer_tasks", "timer_tasks", "visibility_tasks", "replication_tasks",
}

func (m *storeModel) all(t *testing.T, mysqld *sql.DB, tables []string, databases []string) []string {
	var all []string
	for _, table := range tables {
		for _, row := range m.rows(t, mysqld, table, databases) {
			all = append(all, table+" "+row)
		}
	}
	return all
}

// What is done to workflows, by two processes that take their history shard from each other and over connections that are cut now
// and then, is what upstream's stores do on a MySQL: the same answers, errors of the same type, the same rows. The nodes of a
// call that failed may be missing, where upstream leaves them.
func TestRandomCallsOfTheStoresDoWhatTheyDoOnPlainMySQL(t *testing.T) {
	const calls = 400
	ctx := context.Background()
	mysqld := openMySQL(t)
	for i, ways := range []string{"on", everything, "packets", "packets,history", "off"} {
		t.Run(ways, func(t *testing.T) {
			twinName := fmt.Sprintf("stores_twin_%d", i)
			twinCfg, err := bed.PlainConfig(ctx, twinName)
			require.NoError(t, err)
			proxy, cfg := startProxy(t, with(bed.MainConfig(), "vitess_pipelining", ways))
			twins := [2]process{newProcess(t, twinCfg), newProcess(t, twinCfg)}
			ours := [2]process{newProcess(t, cfg), newProcess(t, cfg)}
			m := &storeModel{model: newModel(int64(20+i), 50+i), rangeIDs: [2]int64{1, 1}}
			m.shard = m.historyShard[0]
			here := []string{database(m.shard)}
			info := m.blob()
			for _, p := range []process{twins[0], ours[0]} {
				_, err := p.shards.GetOrCreateShard(ctx, &persistence.InternalGetOrCreateShardRequest{
					ShardID: m.shard, LifecycleContext: ctx, CreateShardInfo: func() (int64, *commonpb.DataBlob, error) { return 1, info, nil },
				})
				require.NoError(t, err)
			}

			errorsMet, cuts, lost := map[string]int{}, 0, 0
			for number := range calls {
				by, call := m.call(t)
				if m.random.Intn(12) == 0 {
					by, call = m.takeOver(t)
				}
				what := fmt.Sprintf("call %d: %s by process %d", number, call.name, by)
				faulty := m.random.Intn(8) == 0
				rowsBefore := m.all(t, mysqld, stateTables, here)
				if faulty {
					proxy.cutAt([]string{"begin", "commit", "executions", "history_node"}[m.random.Intn(4)], []cut{before, during, after}[m.random.Intn(3)])
				}
				got, gotErr := call.do(ctx, ours[by])
				if faulty {
					if proxy.hasCut() {
						cuts++
					}
					proxy.cutAt("nothing that is ever sent", before)
					require.Eventually(t, func() bool { return openTransactions(t, mysqld, m.shard) == 0 }, waitTimeout, pollInterval, what)
				}
				if gotErr != nil && strings.Contains(gotErr.Error(), "another range ID") {
					// Upstream's clients of the stores try again what is Unavailable.
					lost++
					require.IsType(t, &serviceerror.Unavailable{}, gotErr, what)
					require.Equal(t, rowsBefore, m.all(t, mysqld, stateTables, here), what)
					got, gotErr = call.do(ctx, ours[by])
				}
				if faulty && gotErr != nil && slices.Equal(rowsBefore, m.all(t, mysqld, stateTables, here)) {
					continue // it was not done, or not to be done
				}
				nodes := m.all(t, mysqld, []string{"history_node", "history_tree"}, []string{twinName})
				want, wantErr := call.do(ctx, twins[by])
				if faulty && gotErr != nil {
					require.NoError(t, wantErr, "%s was done, with the error %v", what, gotErr)
				} else {
					require.IsType(t, wantErr, gotErr, "%s: %v, here %v", what, wantErr, gotErr)
					require.Equal(t, want, got, what)
				}
				require.Equal(t, m.all(t, mysqld, stateTables, []string{twinName}), m.all(t, mysqld, stateTables, here), what)
				if wantErr != nil {
					errorsMet[fmt.Sprintf("%T", wantErr)]++
					continue
				}
				call.then()
				written := slices.DeleteFunc(m.all(t, mysqld, []string{"history_node", "history_tree"}, []string{twinName}), func(row string) bool {
					return slices.Contains(nodes, row)
				})
				require.Subset(t, m.all(t, mysqld, []string{"history_node", "history_tree"}, here), written, what)
			}
			t.Logf("of %d calls, errors %v; %d connections were cut; %d calls met a range ID that was not known", calls, errorsMet, cuts, lost)
			require.NotEmpty(t, errorsMet)
			require.Positive(t, cuts)
			require.Equal(t, ways == "on" || ways == everything, lost > 0)
		})
	}
}
