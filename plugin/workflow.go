package plugin

import (
	"context"
	"reflect"
	"sync"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/plugin/conn"
)

// To read a workflow, upstream issues nine queries one by one and outside of a transaction: the row of executions, then
// the rows of eight other tables, all with the same context and key (sqlExecutionStore.GetWorkflowExecution in
// common/persistence/sql/execution.go; nothing else reads these tables outside of a transaction). Here they are one
// packet. The first call sends it, and the others find their rows in it: read after the whole began, as upstream's
// would be, and closer to each other.

// workflowKey names a call of GetWorkflowExecution, as far as a store can see it.
type workflowKey struct {
	ctx                            context.Context
	shardID                        int32
	namespaceID, workflowID, runID string
}

// workflowReads has what was read for the calls that are under way. A nil one has nothing.
type workflowReads struct {
	mutex sync.Mutex
	begun uint64
	reads map[workflowKey]*workflowRead
}

type workflowRead struct {
	batch *conn.Batch
	// begun orders the reads.
	begun uint64
	// left counts the calls that are still to come.
	left int
	// stop keeps the read from being forgotten with its context.
	stop func() bool
}

// begin returns a read, and its key; nil if calls with this context could not be told from others, or what was read for
// them would never be forgotten.
func (w *workflowReads) begin(ctx context.Context, filter sqlplugin.ExecutionsFilter) (*workflowRead, workflowKey) {
	if w == nil || ctx.Done() == nil || !reflect.TypeOf(ctx).Comparable() {
		return nil, workflowKey{}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.begun++
	return &workflowRead{batch: &conn.Batch{}, begun: w.begun}, newWorkflowKey(ctx, filter)
}

func newWorkflowKey(ctx context.Context, filter sqlplugin.ExecutionsFilter) workflowKey {
	return workflowKey{ctx, filter.ShardID, string(filter.NamespaceID), filter.WorkflowID, string(filter.RunID)}
}

// keep keeps what was read for the calls that follow, until they have come or the context ends. Of two calls with the
// same key, both go on with what was read later.
func (w *workflowReads) keep(key workflowKey, read *workflowRead) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if other, ok := w.reads[key]; ok {
		if other.begun > read.begun {
			return
		}
		other.stop()
	}
	read.stop = context.AfterFunc(key.ctx, func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		if w.reads[key] == read {
			delete(w.reads, key)
		}
	})
	w.reads[key] = read
}

// follow returns the context for one of the calls that follow.
func (w *workflowReads) follow(ctx context.Context, filter sqlplugin.ExecutionsFilter) context.Context {
	if w == nil || !reflect.TypeOf(ctx).Comparable() {
		return ctx
	}
	key := newWorkflowKey(ctx, filter)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	read, ok := w.reads[key]
	if !ok {
		return ctx
	}
	if read.left--; read.left == 0 {
		read.stop()
		delete(w.reads, key)
	}
	return read.batch.Follow(ctx)
}

// SelectFromExecutions is upstream's, and reads what the calls below will ask for.
func (d *db) SelectFromExecutions(ctx context.Context, filter sqlplugin.ExecutionsFilter) (*sqlplugin.ExecutionsRow, error) {
	read, key := d.reads.begin(ctx, filter)
	if read == nil {
		return d.TableCRUD.SelectFromExecutions(ctx, filter)
	}
	// The order is upstream's; what goes wrong here goes wrong again when the call comes.
	noting := read.batch.Note(ctx)
	_, _ = d.TableCRUD.SelectAllFromActivityInfoMaps(noting, sqlplugin.ActivityInfoMapsAllFilter(filter))
	_, _ = d.TableCRUD.SelectAllFromTimerInfoMaps(noting, sqlplugin.TimerInfoMapsAllFilter(filter))
	_, _ = d.TableCRUD.SelectAllFromChildExecutionInfoMaps(noting, sqlplugin.ChildExecutionInfoMapsAllFilter(filter))
	_, _ = d.TableCRUD.SelectAllFromRequestCancelInfoMaps(noting, sqlplugin.RequestCancelInfoMapsAllFilter(filter))
	_, _ = d.TableCRUD.SelectAllFromSignalInfoMaps(noting, sqlplugin.SignalInfoMapsAllFilter(filter))
	_, _ = d.TableCRUD.SelectFromBufferedEvents(noting, sqlplugin.BufferedEventsFilter(filter))
	_, _ = d.TableCRUD.SelectAllFromChasmNodeMaps(noting, sqlplugin.ChasmNodeMapsAllFilter(filter))
	_, _ = d.TableCRUD.SelectAllFromSignalsRequestedSets(noting, sqlplugin.SignalsRequestedSetsAllFilter(filter))
	read.left = 8

	row, err := d.TableCRUD.SelectFromExecutions(read.batch.Lead(ctx), filter)
	if err != nil {
		return nil, err
	}
	d.reads.keep(key, read)
	return row, nil
}

// SelectAllFromActivityInfoMaps is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromActivityInfoMaps(ctx context.Context, filter sqlplugin.ActivityInfoMapsAllFilter) ([]sqlplugin.ActivityInfoMapsRow, error) {
	return d.TableCRUD.SelectAllFromActivityInfoMaps(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectAllFromTimerInfoMaps is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromTimerInfoMaps(ctx context.Context, filter sqlplugin.TimerInfoMapsAllFilter) ([]sqlplugin.TimerInfoMapsRow, error) {
	return d.TableCRUD.SelectAllFromTimerInfoMaps(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectAllFromChildExecutionInfoMaps is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromChildExecutionInfoMaps(ctx context.Context, filter sqlplugin.ChildExecutionInfoMapsAllFilter) ([]sqlplugin.ChildExecutionInfoMapsRow, error) {
	return d.TableCRUD.SelectAllFromChildExecutionInfoMaps(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectAllFromRequestCancelInfoMaps is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromRequestCancelInfoMaps(ctx context.Context, filter sqlplugin.RequestCancelInfoMapsAllFilter) ([]sqlplugin.RequestCancelInfoMapsRow, error) {
	return d.TableCRUD.SelectAllFromRequestCancelInfoMaps(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectAllFromSignalInfoMaps is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromSignalInfoMaps(ctx context.Context, filter sqlplugin.SignalInfoMapsAllFilter) ([]sqlplugin.SignalInfoMapsRow, error) {
	return d.TableCRUD.SelectAllFromSignalInfoMaps(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectFromBufferedEvents is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectFromBufferedEvents(ctx context.Context, filter sqlplugin.BufferedEventsFilter) ([]sqlplugin.BufferedEventsRow, error) {
	return d.TableCRUD.SelectFromBufferedEvents(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectAllFromChasmNodeMaps is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromChasmNodeMaps(ctx context.Context, filter sqlplugin.ChasmNodeMapsAllFilter) ([]sqlplugin.ChasmNodeMapsRow, error) {
	return d.TableCRUD.SelectAllFromChasmNodeMaps(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}

// SelectAllFromSignalsRequestedSets is upstream's; its rows have come already if it follows SelectFromExecutions.
func (d *db) SelectAllFromSignalsRequestedSets(ctx context.Context, filter sqlplugin.SignalsRequestedSetsAllFilter) ([]sqlplugin.SignalsRequestedSetsRow, error) {
	return d.TableCRUD.SelectAllFromSignalsRequestedSets(d.reads.follow(ctx, sqlplugin.ExecutionsFilter(filter)), filter)
}
