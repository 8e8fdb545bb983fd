package plugin

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
)

// To read a workflow, upstream issues nine queries one by one and outside of a transaction: the row of executions, then
// the rows of eight other tables, all with the same context and key (sqlExecutionStore.GetWorkflowExecution in
// common/persistence/sql/execution.go; nothing else reads these tables outside of a transaction). Here they are one
// statement. The first call sends it, and the others find their rows in it: read after the whole began, as upstream's
// would be, and of one moment.

// workflowKey names a call of GetWorkflowExecution, as far as a store can see it.
type workflowKey struct {
	ctx                            context.Context
	shardID                        int32
	namespaceID, workflowID, runID string
}

// workflowReads has what was read for the calls that are under way. A nil one has nothing.
type workflowReads struct {
	calls  sqlplugin.TableCRUD
	logger log.Logger

	mutex sync.Mutex
	// queries of upstream's, in its order, once they are known; see learn.
	queries *conn.Queries
	// strange is set if they are not as they have to be.
	strange bool
	reads   map[workflowKey]*workflowRead
}

// workflowRead is what the first of the queries has brought for the others.
type workflowRead struct {
	set *conn.ReadSet
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

// leftOver is how long rows wait for calls that may not come, where the context does not end.
const leftOver = 10 * time.Second

// newWorkflowKey returns the key of a call; false if calls with its context cannot be told from others. Contexts of the
// standard library can.
func newWorkflowKey(ctx context.Context, filter sqlplugin.ExecutionsFilter) (workflowKey, bool) {
	if !reflect.ValueOf(ctx).Comparable() {
		return workflowKey{}, false
	}
	return workflowKey{ctx, filter.ShardID, string(filter.NamespaceID), filter.WorkflowID, string(filter.RunID)}, true
}

// learn finds out upstream's queries, which are the same for each workflow, and reports whether they are known: one each,
// all with the same arguments. Nothing is sent for it, but upstream has to have a database.
func (w *workflowReads) learn() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.queries != nil || w.strange {
		return w.queries != nil
	}
	key := sqlplugin.ExecutionsFilter{ShardID: 1, NamespaceID: primitives.NewUUID(), WorkflowID: "workflow", RunID: primitives.NewUUID()}
	queries, same := conn.NoteQueries(func(ctx context.Context) {
		if _, err := w.calls.SelectFromExecutions(ctx, key); errors.Is(err, sqlplugin.DatabaseUnavailableError) {
			return // each call would try to connect
		}
		_, _ = w.calls.SelectAllFromActivityInfoMaps(ctx, sqlplugin.ActivityInfoMapsAllFilter(key))
		_, _ = w.calls.SelectAllFromTimerInfoMaps(ctx, sqlplugin.TimerInfoMapsAllFilter(key))
		_, _ = w.calls.SelectAllFromChildExecutionInfoMaps(ctx, sqlplugin.ChildExecutionInfoMapsAllFilter(key))
		_, _ = w.calls.SelectAllFromRequestCancelInfoMaps(ctx, sqlplugin.RequestCancelInfoMapsAllFilter(key))
		_, _ = w.calls.SelectAllFromSignalInfoMaps(ctx, sqlplugin.SignalInfoMapsAllFilter(key))
		_, _ = w.calls.SelectFromBufferedEvents(ctx, sqlplugin.BufferedEventsFilter(key))
		_, _ = w.calls.SelectAllFromChasmNodeMaps(ctx, sqlplugin.ChasmNodeMapsAllFilter(key))
		_, _ = w.calls.SelectAllFromSignalsRequestedSets(ctx, sqlplugin.SignalsRequestedSetsAllFilter(key))
	})
	switch {
	case len(queries) == 0: // the database could not be opened yet
		return false
	case !same || len(queries) != 1+workflowFollowers:
		w.strange = true
		w.logger.Warn("A workflow is read with a round trip for each of its queries: upstream's are not as the plugin knows them")
		return false
	}
	w.queries = conn.NewQueries(queries)
	return true
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
	read = &workflowRead{set: conn.NewReadSet(w.queries), underWay: 1, left: workflowFollowers}
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
	if read.underWay > 0 {
		return
	}
	if read.useless {
		delete(w.reads, key)
		return
	}
	forget := func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		if w.reads[key] == read {
			delete(w.reads, key)
		}
	}
	if key.ctx.Done() == nil {
		read.stop = time.AfterFunc(leftOver, forget).Stop
	} else {
		read.stop = context.AfterFunc(key.ctx, forget)
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
	return read.set.Context(ctx)
}

// workflowFollowers is how many calls follow SelectFromExecutions.
const workflowFollowers = 8

// SelectFromExecutions is upstream's, and reads what the calls below will ask for.
func (d *db) SelectFromExecutions(ctx context.Context, filter sqlplugin.ExecutionsFilter) (_ *sqlplugin.ExecutionsRow, err error) {
	key, ok := newWorkflowKey(ctx, filter)
	if d.reads == nil || !ok || !d.reads.learn() {
		return d.TableCRUD.SelectFromExecutions(ctx, filter)
	}
	read, fills := d.reads.begin(key)
	defer func() { d.reads.end(key, read, err != nil) }()
	if !fills {
		return d.TableCRUD.SelectFromExecutions(ctx, filter)
	}
	return d.TableCRUD.SelectFromExecutions(read.set.Context(ctx), filter)
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
