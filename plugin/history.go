package plugin

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// To create or to change a workflow, upstream appends to its history, commits that, and then runs the transaction that makes the
// append count. Here the append waits and is the first statement of that transaction. The same functions of upstream append
// alone, too, and then the append has to be durable when they return. So it must be certain that the transaction comes, or
// that the call fails:
//
//   - The caller is known by its frames. In upstream's CreateWorkflowExecution, UpdateWorkflowExecution and
//     ConflictResolveWorkflowExecution, and only there, an append is followed by the transaction, with the same context and in
//     the same goroutine, or by an error. That is read from upstream's code; it holds for the version of upstream that was
//     read, and in a program with another one nothing waits.
//   - The call is known by its thread. From an append that waits to the transaction, the goroutine is locked to its thread, so
//     that no other runs there: the thread's ID is the call's. Contexts would not do, since two calls may have the same.
//
// A transaction that finds an append of another call in its place is an error. A program that puts a sqlplugin.DB of its own
// around the plugin's has to begin transactions in the caller's goroutine.

// upstreamRead is the version of go.temporal.io/server whose functions below were read. To change it, read them again; see
// internal/router/upstream_test.go.
const upstreamRead = "1.32.2"

const (
	upstreamModule = "go.temporal.io/server"
	upstreamStores = upstreamModule + "/common/persistence/sql."
	executionStore = upstreamStores + "(*sqlExecutionStore)."

	appendFunction  = executionStore + "AppendHistoryNodes"
	lockedFunction  = executionStore + "txExecuteShardLocked"
	executeFunction = upstreamStores + "(*SqlStore).txExecute"
)

// joinedCalls are the functions whose appends join their transaction.
var joinedCalls = []string{
	executionStore + "CreateWorkflowExecution",
	executionStore + "UpdateWorkflowExecution",
	executionStore + "ConflictResolveWorkflowExecution",
}

// callSite is where in upstream's code a call comes from.
type callSite struct {
	// function is the one of joinedCalls that it is a part of, "" if of none.
	function string
	// appends: it is an append, and not the transaction.
	appends bool
}

// frames are the innermost callers of a call, as many as tell its place.
type frames [3]uintptr

// callSites are those of callers that were seen before.
var callSites sync.Map // of frames to callSite

// siteOf returns the place of the caller of a method of db.
func siteOf() callSite {
	var callers frames
	if runtime.Callers(3, callers[:]) < len(callers) { // of Callers, siteOf and the method
		return callSite{}
	}
	if known, ok := callSites.Load(callers); ok {
		return known.(callSite)
	}
	var names []string
	all := runtime.CallersFrames(callers[:])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = all.Next()
		names = append(names, frame.Function)
	}
	found := siteAmong(names)
	callSites.Store(callers, found)
	return found
}

// siteAmong returns the place of functions, the innermost first.
func siteAmong(names []string) callSite {
	joined := func(at int) string {
		for _, function := range joinedCalls {
			if at < len(names) && names[at] == function {
				return function
			}
		}
		return ""
	}
	switch {
	case len(names) > 0 && names[0] == appendFunction: // to a branch that exists
		return callSite{function: joined(1), appends: true}
	case len(names) > 1 && names[0] == executeFunction && names[1] == appendFunction: // to a new branch
		return callSite{function: joined(2), appends: true}
	case len(names) > 1 && names[0] == executeFunction && names[1] == lockedFunction:
		return callSite{function: joined(2)}
	default:
		return callSite{}
	}
}

// historyRow is a row that is appended: one of the two.
type historyRow struct {
	node *sqlplugin.HistoryNodeRow
	tree *sqlplugin.HistoryTreeRow
}

// waitingCall is a call of one of joinedCalls whose appends wait.
type waitingCall struct {
	db       *db
	ctx      context.Context
	function string
	rows     []historyRow
	// locks is how often its goroutine has locked its thread.
	locks int
}

// historyWaits has the calls of the process whose appends wait.
var historyWaits struct {
	mutex sync.Mutex
	calls map[int]*waitingCall // by thread
	// waiting is the number of calls.
	waiting atomic.Int32
}

// threadOf is threadID. Tests let go of the processor behind it, where a goroutine that is not locked changes its thread.
var threadOf = threadID

// historyMayWait returns false, with a line in the log, if it is not certain that appends are followed by their transaction.
func historyMayWait(logger log.Logger) bool {
	version, replaced := upstreamVersion(debug.ReadBuildInfo())
	if _, known := threadID(); version != upstreamRead || replaced || !known {
		logger.Warn("Appends to history are committed before the transaction that they belong to: to join it, the plugin has to be built with Temporal "+
			upstreamRead+" as it is published, for Linux",
			tag.String("version", version), tag.Bool("replaced", replaced), tag.String("system", runtime.GOOS))
		return false
	}
	return true
}

// upstreamVersion returns the version of upstream that the program is built with, and whether another module is in its place:
// one that replaces it, or the program's own, as where upstream is built with the plugin in it.
// A test, and what other tools than go have built, knows only what upstream says of itself.
func upstreamVersion(info *debug.BuildInfo, ok bool) (version string, replaced bool) {
	if ok {
		if info.Main.Path == upstreamModule {
			return headers.ServerVersion, true
		}
		for _, dependency := range info.Deps {
			if dependency.Path == upstreamModule {
				return strings.TrimPrefix(dependency.Version, "v"), dependency.Replace != nil
			}
		}
	}
	return headers.ServerVersion, false
}

// wait keeps rows for the transaction of the call that appends them.
func (d *db) wait(ctx context.Context, function string, rows ...historyRow) {
	runtime.LockOSThread()
	thread, _ := threadOf()
	w := &historyWaits
	w.mutex.Lock()
	defer w.mutex.Unlock()
	call := w.calls[thread]
	if call == nil || !call.is(d, ctx, function) {
		if call != nil {
			call.lost()
		} else {
			w.waiting.Add(1)
		}
		call = &waitingCall{db: d, ctx: ctx, function: function}
		if w.calls == nil {
			w.calls = map[int]*waitingCall{}
		}
		w.calls[thread] = call
	}
	call.rows = append(call.rows, rows...)
	call.locks++
}

// take returns the rows that wait for a transaction, which begins at a place.
func (d *db) take(ctx context.Context, at callSite) ([]historyRow, error) {
	w := &historyWaits
	if w.waiting.Load() == 0 {
		return nil, nil
	}
	// Else the goroutine could be on another thread by the time that it looks, and another call's append be found.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, _ := threadOf()
	w.mutex.Lock()
	call := w.calls[thread]
	if call == nil {
		w.mutex.Unlock()
		return nil, nil
	}
	delete(w.calls, thread)
	w.waiting.Add(-1)
	w.mutex.Unlock()
	for range call.locks {
		runtime.UnlockOSThread()
	}
	if call.is(d, ctx, at.function) {
		return call.rows, nil
	}
	// Were this the transaction that the append waits for, it would be without it.
	call.lost()
	return nil, errors.New("an append to history waited for another transaction, which did not come: nothing was done")
}

// is reports whether a statement is of the call. Contexts are compared as those of the standard library can be.
func (c *waitingCall) is(d *db, ctx context.Context, function string) bool {
	return c.db == d && c.function == function && reflect.ValueOf(ctx).Comparable() && c.ctx == ctx
}

// lost says that a call has ended without its transaction: with an error, or in a panic.
func (c *waitingCall) lost() {
	_, name, _ := strings.Cut(c.function, ").")
	c.db.logger.Error("An append to history was dropped, since its call ended without its transaction; it was not acknowledged",
		tag.String("call", name), tag.Int("rows", len(c.rows)))
}

// joins reports whether an append at a place waits for the transaction of its call.
func (d *db) joins(ctx context.Context, at callSite) bool {
	return d.historyWaits && at.appends && at.function != "" && ctx.Err() == nil && reflect.ValueOf(ctx).Comparable()
}

// InsertIntoHistoryNode is upstream's, but that it may wait for the transaction of its call.
func (d *db) InsertIntoHistoryNode(ctx context.Context, row *sqlplugin.HistoryNodeRow) (sql.Result, error) {
	if at := siteOf(); d.joins(ctx, at) {
		node := *row
		d.wait(ctx, at.function, historyRow{node: &node})
		return driver.RowsAffected(1), nil
	}
	return d.TableCRUD.InsertIntoHistoryNode(ctx, row)
}

// appendTx is the transaction of an append to a new branch, which waits for that of its call. It has the two statements of
// upstream's AppendHistoryNodes, and no others.
type appendTx struct {
	sqlplugin.TableCRUD
	db       *db
	ctx      context.Context
	function string
	rows     []historyRow
}

var _ sqlplugin.Tx = (*appendTx)(nil)

func (t *appendTx) InsertIntoHistoryNode(_ context.Context, row *sqlplugin.HistoryNodeRow) (sql.Result, error) {
	node := *row
	t.rows = append(t.rows, historyRow{node: &node})
	return driver.RowsAffected(1), nil
}

func (t *appendTx) InsertIntoHistoryTree(_ context.Context, row *sqlplugin.HistoryTreeRow) (sql.Result, error) {
	tree := *row
	t.rows = append(t.rows, historyRow{tree: &tree})
	return driver.RowsAffected(1), nil
}

func (t *appendTx) Commit() error {
	t.db.wait(t.ctx, t.function, t.rows...)
	return nil
}

func (t *appendTx) Rollback() error { return nil }

// insert does what has waited, in a transaction that begins.
func insert(ctx context.Context, tx sqlplugin.TableCRUD, rows []historyRow) error {
	for _, row := range rows {
		var err error
		if row.node != nil {
			_, err = tx.InsertIntoHistoryNode(ctx, row.node)
		} else {
			_, err = tx.InsertIntoHistoryTree(ctx, row.tree)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
