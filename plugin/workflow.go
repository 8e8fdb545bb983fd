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
	reads map[workflowKey]*workflowRead
}

// workflowRead is what the first of the queries has brought for the others.
type workflowRead struct {
	batch *conn.Batch
	// underWay counts the calls that are reading the row of executions. Several have the same key only where a caller
	// reads one workflow several times at once with the same context: one could then get another's rows, read before its
	// own row of executions, so nobody gets any.
	underWay int
	// useless is set if nobody is to get the rows.
	useless bool
	// left counts the calls that are still to come.
	left int
	// stop ends the wait for the end of the context, which holds the read until then.
	stop func() bool
}

// newWorkflowKey returns the key of a call; false if calls with its context could not be told from others, or what was
// read for them would never be forgotten.
func newWorkflowKey(ctx context.Context, filter sqlplugin.ExecutionsFilter) (workflowKey, bool) {
	if ctx.Done() == nil || !reflect.ValueOf(ctx).Comparable() {
		return workflowKey{}, false
	}
	return workflowKey{ctx, filter.ShardID, string(filter.NamespaceID), filter.WorkflowID, string(filter.RunID)}, true
}

// begin returns the read that a call belongs to, and whether the call is the one that fills it.
func (w *workflowReads) begin(key workflowKey) (read *workflowRead, fills bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if read = w.reads[key]; read != nil && read.underWay > 0 {
		read.underWay++
		read.useless = true
		return read, false
	}
	if read != nil { // a call that did not ask for all
		read.stop()
	}
	read = &workflowRead{batch: &conn.Batch{}, underWay: 1, left: workflowFollowers}
	w.reads[key] = read
	return read, true
}

// end says that a call has its row of executions, or has failed. What was read is kept for the calls that follow until
// they have come or the context ends.
func (w *workflowReads) end(key workflowKey, read *workflowRead, failed bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	read.underWay--
	read.useless = read.useless || failed
	switch {
	case read.underWay > 0:
	case read.useless:
		delete(w.reads, key)
	default:
		read.stop = context.AfterFunc(key.ctx, func() {
			w.mutex.Lock()
			defer w.mutex.Unlock()
			if w.reads[key] == read {
				delete(w.reads, key)
			}
		})
	}
}

// follow returns the context for one of the calls that follow.
func (w *workflowReads) follow(ctx context.Context, filter sqlplugin.ExecutionsFilter) context.Context {
	if w == nil {
		return ctx
	}
	key, ok := newWorkflowKey(ctx, filter)
	if !ok {
		return ctx
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	read := w.reads[key]
	if read == nil || read.underWay > 0 {
		return ctx
	}
	if read.left--; read.left == 0 {
		read.stop()
		delete(w.reads, key)
	}
	return read.batch.Follow(ctx)
}

// workflowFollowers is how many calls follow SelectFromExecutions.
const workflowFollowers = 8

// SelectFromExecutions is upstream's, and reads what the calls below will ask for. To note their queries takes a
// connection of the pool for each, but no round trip.
func (d *db) SelectFromExecutions(ctx context.Context, filter sqlplugin.ExecutionsFilter) (_ *sqlplugin.ExecutionsRow, err error) {
	key, ok := newWorkflowKey(ctx, filter)
	if d.reads == nil || !ok {
		return d.TableCRUD.SelectFromExecutions(ctx, filter)
	}
	read, fills := d.reads.begin(key)
	defer func() { d.reads.end(key, read, err != nil) }()
	if !fills {
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
	return d.TableCRUD.SelectFromExecutions(read.batch.Lead(ctx), filter)
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
