package plugin

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

func TestTheVersionOfUpstreamIsTheOneThatWasRead(t *testing.T) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", upstreamModule).Output()
	require.NoError(t, err)
	require.Equal(t, "v"+upstreamRead, strings.TrimSpace(string(output)), "read upstream's functions again, then set upstreamRead (plugin/history.go)")
	require.Equal(t, upstreamRead, headers.ServerVersion)
	for _, test := range []struct {
		info     *debug.BuildInfo
		version  string
		replaced bool
	}{
		{nil, upstreamRead, false},
		{&debug.BuildInfo{}, upstreamRead, false},
		{&debug.BuildInfo{Main: debug.Module{Path: upstreamModule}}, upstreamRead, true},
		{&debug.BuildInfo{Deps: []*debug.Module{{Path: "other"}, {Path: upstreamModule, Version: "v1.33.0"}}}, "1.33.0", false},
		{&debug.BuildInfo{Deps: []*debug.Module{{Path: upstreamModule, Version: "v1.32.2", Replace: &debug.Module{Path: "fork"}}}}, "1.32.2", true},
	} {
		version, replaced := upstreamVersion(test.info, test.info != nil)
		require.Equal(t, test.version, version)
		require.Equal(t, test.replaced, replaced)
	}
}

// historyStore is a database of one history shard, as far as upstream's execution store needs one: transactions, of which those
// that are committed leave what they have inserted.
type historyStore struct {
	sqlplugin.DB
	// fails says whether the next statement fails.
	fails func(statement string) error

	mutex sync.Mutex
	// nodes and trees are what is durable, by the ID of the node or branch. commits counts all.
	nodes   map[int64]bool
	trees   map[string]bool
	commits int
}

func (s *historyStore) do(statement string) error {
	if s.fails == nil {
		return nil
	}
	return s.fails(statement)
}

func (s *historyStore) IsDupEntryError(error) bool { return false }

func (s *historyStore) BeginTx(ctx context.Context) (sqlplugin.Tx, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return &historyStoreTx{store: s}, s.do("begin")
}

func (s *historyStore) InsertIntoHistoryNode(ctx context.Context, row *sqlplugin.HistoryNodeRow) (sql.Result, error) {
	tx := &historyStoreTx{store: s}
	result, err := tx.InsertIntoHistoryNode(ctx, row)
	if err == nil {
		err = tx.Commit()
	}
	return result, err
}

type historyStoreTx struct {
	sqlplugin.Tx
	store *historyStore
	nodes []int64
	trees []string
}

// SelectContext and ExecContext are what the plugin asks of a transaction besides.
func (t *historyStoreTx) SelectContext(context.Context, any, string, ...any) error {
	return errors.ErrUnsupported
}

func (t *historyStoreTx) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errors.ErrUnsupported
}

func (t *historyStoreTx) InsertIntoHistoryNode(_ context.Context, row *sqlplugin.HistoryNodeRow) (sql.Result, error) {
	t.nodes = append(t.nodes, row.NodeID)
	return driver.RowsAffected(1), t.store.do("history_node")
}

func (t *historyStoreTx) InsertIntoHistoryTree(_ context.Context, row *sqlplugin.HistoryTreeRow) (sql.Result, error) {
	t.trees = append(t.trees, row.BranchID.String())
	return driver.RowsAffected(1), t.store.do("history_tree")
}

func (t *historyStoreTx) ReadLockShards(context.Context, sqlplugin.ShardsFilter) (int64, error) {
	return 1, t.store.do("shards")
}

func (t *historyStoreTx) LockCurrentExecutions(context.Context, sqlplugin.CurrentExecutionsFilter) (*sqlplugin.CurrentExecutionsRow, error) {
	return nil, sql.ErrNoRows
}

func (t *historyStoreTx) LockCurrentExecutionsJoinExecutions(context.Context, sqlplugin.CurrentExecutionsFilter) ([]sqlplugin.CurrentExecutionsRow, error) {
	return nil, nil
}

func (t *historyStoreTx) WriteLockExecutions(context.Context, sqlplugin.ExecutionsFilter) (int64, int64, error) {
	return 1, 1, t.store.do("executions")
}

func (t *historyStoreTx) UpdateExecutions(context.Context, *sqlplugin.ExecutionsRow) (sql.Result, error) {
	return driver.RowsAffected(1), t.store.do("executions")
}

func (t *historyStoreTx) InsertIntoExecutions(context.Context, *sqlplugin.ExecutionsRow) (sql.Result, error) {
	return driver.RowsAffected(1), t.store.do("executions")
}

func (t *historyStoreTx) DeleteAllFromActivityInfoMaps(context.Context, sqlplugin.ActivityInfoMapsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteAllFromTimerInfoMaps(context.Context, sqlplugin.TimerInfoMapsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteAllFromChildExecutionInfoMaps(context.Context, sqlplugin.ChildExecutionInfoMapsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteAllFromRequestCancelInfoMaps(context.Context, sqlplugin.RequestCancelInfoMapsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteAllFromSignalInfoMaps(context.Context, sqlplugin.SignalInfoMapsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteAllFromSignalsRequestedSets(context.Context, sqlplugin.SignalsRequestedSetsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteAllFromChasmNodeMaps(context.Context, sqlplugin.ChasmNodeMapsAllFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) DeleteFromBufferedEvents(context.Context, sqlplugin.BufferedEventsFilter) (sql.Result, error) {
	return driver.RowsAffected(0), nil
}

func (t *historyStoreTx) Commit() error {
	if err := t.store.do("commit"); err != nil {
		return err
	}
	t.store.mutex.Lock()
	defer t.store.mutex.Unlock()
	for _, node := range t.nodes {
		t.store.nodes[node] = true
	}
	for _, tree := range t.trees {
		t.store.trees[tree] = true
	}
	t.store.commits++
	return nil
}

func (t *historyStoreTx) Rollback() error { return nil }

// writer is upstream's execution store over the plugin's DB.
type writer struct {
	persistence.ExecutionStore
	store *historyStore
	db    *db
}

func newWriter(t *testing.T, fails func(statement string) error) *writer {
	t.Helper()
	store := &historyStore{fails: fails, nodes: map[int64]bool{}, trees: map[string]bool{}}
	require.True(t, historyMayWait(log.NewNoopLogger()))
	historyWaits.calls = nil // of tests before
	historyWaits.waiting.Store(0)
	d := &db{upstream: store, historyWaits: true, logger: log.NewNoopLogger()}
	d.TableCRUD = store
	executions, err := persistencesql.NewSQLExecutionStore(d, log.NewNoopLogger(), serialization.NewSerializer())
	require.NoError(t, err)
	return &writer{ExecutionStore: executions, store: store, db: d}
}

var blob = &commonpb.DataBlob{EncodingType: enumspb.ENCODING_TYPE_PROTO3, Data: []byte("data")}

// branchOf returns a history branch.
func branchOf() *persistencespb.HistoryBranch {
	return &persistencespb.HistoryBranch{TreeId: uuid.NewString(), BranchId: uuid.NewString()}
}

// events are an append of one node.
func events(nodeID int64, newBranch bool) *persistence.InternalAppendHistoryNodesRequest {
	return &persistence.InternalAppendHistoryNodesRequest{
		ShardID: 1, BranchInfo: branchOf(), IsNewBranch: newBranch, TreeInfo: blob,
		Node: persistence.InternalHistoryNode{NodeID: nodeID, TransactionID: 1, Events: blob},
	}
}

func snapshot() persistence.InternalWorkflowSnapshot {
	run := uuid.NewString()
	return persistence.InternalWorkflowSnapshot{
		NamespaceID: uuid.NewString(), WorkflowID: "workflow", RunID: run, ExecutionInfoBlob: blob, ExecutionStateBlob: blob,
		ExecutionState: &persistencespb.WorkflowExecutionState{RunId: run}, DBRecordVersion: 2,
	}
}

func mutation() persistence.InternalWorkflowMutation {
	run := uuid.NewString()
	return persistence.InternalWorkflowMutation{
		NamespaceID: uuid.NewString(), WorkflowID: "workflow", RunID: run, ExecutionInfoBlob: blob, ExecutionStateBlob: blob,
		ExecutionState: &persistencespb.WorkflowExecutionState{RunId: run}, DBRecordVersion: 2,
	}
}

// writes are upstream's calls that append before their transaction, each with nodes with the IDs from first on, as many as it
// returns.
var writes = map[string]func(ctx context.Context, s persistence.ExecutionStore, first int64) (nodes int64, err error){
	"create": func(ctx context.Context, s persistence.ExecutionStore, first int64) (int64, error) {
		_, err := s.CreateWorkflowExecution(ctx, &persistence.InternalCreateWorkflowExecutionRequest{
			ShardID: 1, RangeID: 1, Mode: persistence.CreateWorkflowModeBypassCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
			NewWorkflowSnapshot: snapshot(), NewWorkflowNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first, true), events(first+1, false)},
		})
		return 2, err
	},
	"update": func(ctx context.Context, s persistence.ExecutionStore, first int64) (int64, error) {
		return 1, s.UpdateWorkflowExecution(ctx, &persistence.InternalUpdateWorkflowExecutionRequest{
			ShardID: 1, RangeID: 1, Mode: persistence.UpdateWorkflowModeIgnoreCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
			UpdateWorkflowMutation: mutation(), UpdateWorkflowNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first, false)},
		})
	},
	"continue as new": func(ctx context.Context, s persistence.ExecutionStore, first int64) (int64, error) {
		next := snapshot()
		return 3, s.UpdateWorkflowExecution(ctx, &persistence.InternalUpdateWorkflowExecutionRequest{
			ShardID: 1, RangeID: 1, Mode: persistence.UpdateWorkflowModeBypassCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
			UpdateWorkflowMutation:  mutation(),
			UpdateWorkflowNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first, false), events(first+1, false)},
			NewWorkflowSnapshot:     &next, NewWorkflowNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first+2, true)},
		})
	},
	"conflict-resolve": func(ctx context.Context, s persistence.ExecutionStore, first int64) (int64, error) {
		current, next := mutation(), snapshot()
		return 3, s.ConflictResolveWorkflowExecution(ctx, &persistence.InternalConflictResolveWorkflowExecutionRequest{
			ShardID: 1, RangeID: 1, Mode: persistence.ConflictResolveWorkflowModeBypassCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
			ResetWorkflowSnapshot: snapshot(), ResetWorkflowEventsNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first, false)},
			CurrentWorkflowMutation: &current, CurrentWorkflowEventsNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first+1, true)},
			NewWorkflowSnapshot: &next, NewWorkflowEventsNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(first+2, true)},
		})
	},
	"append": func(ctx context.Context, s persistence.ExecutionStore, first int64) (int64, error) {
		return 1, s.AppendHistoryNodes(ctx, events(first, false))
	},
	"append, new branch": func(ctx context.Context, s persistence.ExecutionStore, first int64) (int64, error) {
		return 1, s.AppendHistoryNodes(ctx, events(first, true))
	},
	"without events": func(ctx context.Context, s persistence.ExecutionStore, _ int64) (int64, error) {
		return 0, s.UpdateWorkflowExecution(ctx, &persistence.InternalUpdateWorkflowExecutionRequest{
			ShardID: 1, RangeID: 1, Mode: persistence.UpdateWorkflowModeIgnoreCurrent, ArchetypeID: chasm.WorkflowArchetypeID, UpdateWorkflowMutation: mutation(),
		})
	},
}

func (w *writer) durable(first, nodes int64) int64 {
	w.store.mutex.Lock()
	defer w.store.mutex.Unlock()
	count := int64(0)
	for node := range nodes {
		if w.store.nodes[first+node] {
			count++
		}
	}
	return count
}

func TestAnAppendIsCommittedWithTheTransactionOfItsCall(t *testing.T) {
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			w := newWriter(t, nil)
			nodes, err := write(context.Background(), w, 1)
			require.NoError(t, err)
			require.Equal(t, nodes, w.durable(1, nodes))
			require.Equal(t, 1, w.store.commits)
			require.Empty(t, historyWaits.calls)
			require.Zero(t, historyWaits.waiting.Load())
		})
	}
}

// Whatever fails, a call that succeeds has left all its nodes, and one that joins none if it fails.
func TestNoCallIsAcknowledgedWithoutItsNodes(t *testing.T) {
	refused := errors.New("refused")
	for name, write := range writes {
		for _, statement := range []string{"begin", "history_node", "history_tree", "shards", "executions", "commit"} {
			t.Run(name+", "+statement, func(t *testing.T) {
				met := false
				w := newWriter(t, func(s string) error {
					if s == statement {
						met = true
						return refused
					}
					return nil
				})
				nodes, err := write(context.Background(), w, 1)
				require.Equal(t, met, err != nil)
				if err == nil {
					require.Equal(t, nodes, w.durable(1, nodes))
				} else {
					require.Zero(t, w.durable(1, nodes))
				}
				require.Empty(t, historyWaits.calls)
				w.store.fails = nil
				nodes, err = write(context.Background(), w, 100)
				require.NoError(t, err)
				require.Equal(t, nodes, w.durable(100, nodes))
			})
		}
	}
}

// All calls have the same context, which is what else could tell them apart.
func TestCallsAtOnceDoNotTakeEachOthersNodes(t *testing.T) {
	refused := errors.New("refused")
	threadOf = func() (int, bool) {
		id, known := threadID()
		runtime.Gosched()
		return id, known
	}
	defer func() { threadOf = threadID }()
	w := newWriter(t, func(string) error {
		if rand.Intn(10) == 0 {
			return refused
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var names []string
	for name := range writes {
		names = append(names, name)
	}
	const callers, calls = 50, 100
	var all sync.WaitGroup
	problems := make(chan string, callers*calls)
	var acknowledged, failed sync.Map
	for caller := range int64(callers) {
		all.Go(func() {
			for call := range int64(calls) {
				first := (caller*calls + call) * 10
				name := names[rand.Intn(len(names))]
				nodes, err := writes[name](ctx, w, first)
				switch durable := w.durable(first, nodes); {
				case err == nil && durable != nodes:
					problems <- fmt.Sprintf("%s was acknowledged with %d of %d nodes", name, durable, nodes)
				case err != nil && durable != 0:
					problems <- fmt.Sprintf("%s failed (%v) with %d of %d nodes", name, err, durable, nodes)
				case err == nil:
					acknowledged.Store(first, true)
				default:
					failed.Store(first, true)
				}
			}
		})
	}
	all.Wait()
	close(problems)
	for problem := range problems {
		t.Error(problem)
	}
	count := func(calls *sync.Map) (n int) {
		calls.Range(func(any, any) bool { n++; return true })
		return n
	}
	require.Positive(t, count(&acknowledged))
	require.Positive(t, count(&failed))
	require.Empty(t, historyWaits.calls)
}

// A call that has appended and then ends otherwise than by its transaction does not leave the append to the next.
func TestAnAppendWhoseCallEndsWithoutItsTransaction(t *testing.T) {
	broken := func(w *writer) {
		bad := events(2, false)
		bad.BranchInfo.TreeId = "none"
		err := w.UpdateWorkflowExecution(context.Background(), &persistence.InternalUpdateWorkflowExecutionRequest{
			ShardID: 1, RangeID: 1, Mode: persistence.UpdateWorkflowModeIgnoreCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
			UpdateWorkflowMutation: mutation(), UpdateWorkflowNewEvents: []*persistence.InternalAppendHistoryNodesRequest{events(1, false), bad},
		})
		require.Error(t, err)
		require.Len(t, historyWaits.calls, 1)
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			w := newWriter(t, nil)
			broken(w)
			ctx, cancel := context.WithCancel(context.Background()) // another than before
			defer cancel()
			nodes, err := write(ctx, w, 10)
			if err == nil {
				require.Equal(t, nodes, w.durable(10, nodes))
			} else {
				require.ErrorContains(t, err, "waited for another transaction")
			}
			require.Zero(t, w.durable(1, 1), "it failed")
			nodes, err = write(ctx, w, 20)
			require.NoError(t, err)
			require.Equal(t, nodes, w.durable(20, nodes))
		})
	}
	t.Run("in another goroutine", func(t *testing.T) {
		w := newWriter(t, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			broken(w)
		}()
		<-done
		nodes, err := writes["update"](context.Background(), w, 10)
		require.NoError(t, err)
		require.Equal(t, nodes, w.durable(10, nodes))
		require.Zero(t, w.durable(1, 1))
	})
}

// Upstream as it was read does nothing of this.
func TestATransactionThatIsNotTheOneThatAnAppendWaitsForFails(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, test := range map[string]struct {
		ctx   context.Context
		at    callSite
		other bool // whether it is of another store
	}{
		"of another function":             {ctx, callSite{function: joinedCalls[0]}, false},
		"with another context":            {context.Background(), callSite{function: joinedCalls[1]}, false},
		"from elsewhere":                  {ctx, callSite{}, false},
		"of an append that does not wait": {ctx, callSite{appends: true}, false},
		"of another store":                {ctx, callSite{function: joinedCalls[1]}, true},
	} {
		t.Run(name, func(t *testing.T) {
			appends := newWriter(t, nil).db
			begins := appends
			if test.other {
				begins = newWriter(t, nil).db
			}
			appends.wait(ctx, joinedCalls[1], historyRow{node: &sqlplugin.HistoryNodeRow{}})
			rows, err := begins.take(test.ctx, test.at)
			require.Error(t, err)
			require.Empty(t, rows)
			rows, err = appends.take(ctx, callSite{function: joinedCalls[1]})
			require.NoError(t, err, "it fails once")
			require.Empty(t, rows)
		})
	}
}

func TestAnAppendWithAContextThatHasEndedFails(t *testing.T) {
	for name, write := range writes {
		w := newWriter(t, func(string) error { return context.Canceled })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		nodes, err := write(ctx, w, 1)
		require.Error(t, err, name)
		require.Zero(t, w.durable(1, nodes))
		require.Empty(t, historyWaits.calls)
	}
}

func TestPlacesInUpstreamsCode(t *testing.T) {
	update := joinedCalls[1]
	for _, test := range []struct {
		names []string
		want  callSite
	}{
		{[]string{appendFunction, update, "x"}, callSite{update, true}},
		{[]string{appendFunction, "x", update}, callSite{"", true}},
		{[]string{executeFunction, appendFunction, update}, callSite{update, true}},
		{[]string{executeFunction, appendFunction, "x"}, callSite{"", true}},
		{[]string{executeFunction, lockedFunction, update}, callSite{update, false}},
		{[]string{executeFunction, lockedFunction, executionStore + "SetWorkflowExecution"}, callSite{}},
		{[]string{executeFunction, executionStore + "DeleteHistoryBranch", "x"}, callSite{}},
		{[]string{"x", appendFunction, update}, callSite{}},
		{nil, callSite{}},
	} {
		require.Equal(t, test.want, siteAmong(test.names), test.names)
	}
}

func TestWithoutTheOptionAnAppendIsCommittedAtOnce(t *testing.T) {
	w := newWriter(t, nil)
	w.db.historyWaits = false
	_, err := writes["update"](context.Background(), w, 1)
	require.NoError(t, err)
	require.Equal(t, 2, w.store.commits)
}

func BenchmarkSiteOf(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		siteOf()
	}
}
