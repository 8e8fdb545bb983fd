package router

import (
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// In a transaction, a write whose result nobody needs yet waits and travels with the next read or with COMMIT. This
// file says which writes may. All others are sent at once, behind those that wait.
//
// A write may wait if upstream treats every error of it alike: its error then comes from a later statement of the
// transaction, whose errors upstream treats the same way, as a transaction that failed. That excludes inserts whose
// duplicate key upstream interprets (IsDupEntryError), above all that into executions.

// Promise says what is known of a waiting write's row count before the server has answered.
type Promise int

const (
	// NoPromise: asking for the row count sends what waits.
	NoPromise Promise = iota
	// InsertedRows: a plain INSERT that succeeds affects the rows that it lists.
	InsertedRows
	// UpsertedRow: an INSERT of one row with ON DUPLICATE KEY UPDATE affects 1 row if it inserts and 2 if it updates.
	// Upstream takes either, and is told 1.
	UpsertedRow
	// LockedRow: an UPDATE by the full primary key affects the 1 row that the transaction has locked FOR UPDATE by that
	// key, as the connection counts found rows. Without such a lock there is no promise.
	LockedRow
)

type writeKind int

const (
	insertKind writeKind = 1 << iota
	updateKind
	deleteKind
)

// waitRules are in the order of upstream's files (common/persistence/sql).
var waitRules = []struct {
	tables  string
	kinds   writeKind
	promise Promise
	// upstream has the functions that send these writes, get their errors and row counts, or lock their rows. Those of
	// package common/persistence/sql have no prefix, those of sqlplugin/mysql have "mysql.". A test fails when their code
	// changes.
	upstream string
	// treatment is what they make of an error, and of the row count.
	treatment string
}{
	{
		"history_immediate_tasks history_scheduled_tasks transfer_tasks timer_tasks replication_tasks visibility_tasks",
		insertKind, InsertedRows,
		"createImmediateTasks createScheduledTasks createTransferTasks createTimerTasks createReplicationTasks createVisibilityTasks " +
			"applyTasks sqlExecutionStore.AddHistoryTasks " + upstreamSnapshots,
		"an error is Unavailable; the count has to be the number of tasks",
	},
	{
		"executions current_executions current_chasm_executions",
		updateKind, LockedRow,
		"sqlExecutionStore.updateExecution updateCurrentExecution createOrUpdateCurrentExecution " +
			"lockAndCheckExecution lockExecution assertCurrentExecution assertRunIDAndUpdateCurrentExecution " +
			"sqlExecutionStore.applyWorkflowMutationTx sqlExecutionStore.applyWorkflowSnapshotTxAsReset " +
			"mysql.db.UpdateExecutions mysql.db.WriteLockExecutions mysql.db.UpdateCurrentExecutions mysql.db.LockCurrentExecutions",
		"an error is Unavailable; the count has to be 1, of a row that was locked before",
	},
	{
		"current_executions current_chasm_executions",
		insertKind, NoPromise,
		"createOrUpdateCurrentExecution sqlExecutionStore.createWorkflowExecutionTx",
		"an error is Unavailable, a duplicate key too; the count is ignored",
	},
	{
		"activity_info_maps timer_info_maps child_execution_info_maps request_cancel_info_maps signal_info_maps signals_requested_sets chasm_node_maps buffered_events",
		insertKind | deleteKind, NoPromise,
		"updateActivityInfos deleteActivityInfoMap updateTimerInfos deleteTimerInfoMap updateChildExecutionInfos deleteChildExecutionInfoMap " +
			"updateRequestCancelInfos deleteRequestCancelInfoMap updateSignalInfos deleteSignalInfoMap updateSignalsRequested deleteSignalsRequestedSet " +
			"updateChasmNodes deleteChasmNodeMap updateBufferedEvents deleteBufferedEvents " + upstreamSnapshots + " sqlExecutionStore.DeleteWorkflowExecution",
		"an error is Unavailable; the count is ignored",
	},
	{
		"executions",
		deleteKind, NoPromise,
		"sqlExecutionStore.DeleteWorkflowExecution",
		"an error fails the transaction; the count is ignored",
	},
	{
		"history_node history_tree",
		insertKind, UpsertedRow,
		"sqlExecutionStore.AppendHistoryNodes",
		"of a new branch: an error is Unavailable; the count has to be 1 or 2",
	},
	{
		"history_node history_tree",
		deleteKind, NoPromise,
		"sqlExecutionStore.DeleteHistoryBranch",
		"an error fails the transaction; the count is ignored",
	},
	{
		"shards",
		updateKind, LockedRow,
		"sqlShardStore.UpdateShard lockShard mysql.db.UpdateShards mysql.db.WriteLockShards",
		"an error fails the transaction; the count has to be 1, of the row that was locked before",
	},
	{
		"task_queues task_queues_v2",
		updateKind, LockedRow,
		"taskQueueStore.UpdateTaskQueue lockTaskQueue mysql.db.UpdateTaskQueues mysql.db.LockTaskQueues",
		"an error fails the transaction; the count has to be 1, of the row that was locked before",
	},
	{
		"tasks tasks_v2",
		insertKind, NoPromise,
		"sqlTaskManagerV1.CreateTasks sqlTaskManagerV2.CreateTasks lockTaskQueue",
		"an error fails the transaction; the count is ignored",
	},
	{
		"executions_visibility custom_search_attributes chasm_search_attributes",
		insertKind | deleteKind, NoPromise,
		"mysql.db.InsertIntoVisibility mysql.db.ReplaceIntoVisibility mysql.db.DeleteFromVisibility",
		"an error fails the transaction; the count is asked for after COMMIT",
	},
}

// upstreamSnapshots are the functions of upstream that write a workflow, and pass on the errors of those that write its
// parts.
const upstreamSnapshots = "sqlExecutionStore.applyWorkflowMutationTx sqlExecutionStore.applyWorkflowSnapshotTxAsReset sqlExecutionStore.applyWorkflowSnapshotTxAsNew"

// waits returns whether a write may wait, and what it promises.
func waits(statement sqlparser.Statement, s source) (bool, Promise) {
	var kind writeKind
	upsert := false
	switch statement := statement.(type) {
	case *sqlparser.Insert:
		kind, upsert = insertKind, len(statement.OnDup) > 0
	case *sqlparser.Update:
		kind = updateKind
	case *sqlparser.Delete:
		kind = deleteKind
	}
	for _, rule := range waitRules {
		if rule.kinds&kind == 0 || !slices.Contains(strings.Fields(rule.tables), s.Name) {
			continue
		}
		// A rule for plain inserts says nothing of upserts, and the other way round.
		if rule.promise == InsertedRows && upsert || rule.promise == UpsertedRow && !upsert {
			continue
		}
		return true, rule.promise
	}
	return false, NoPromise
}

// keyArgs returns the placeholders that a WHERE compares the columns of the first table's primary key with, in key
// order; nil unless these are all its conditions.
func keyArgs(statement sqlparser.Statement, s source) []int {
	var where *sqlparser.Where
	switch statement := statement.(type) {
	case *sqlparser.Select:
		where = statement.Where
	case *sqlparser.Update:
		where = statement.Where
	}
	if where == nil {
		return nil
	}
	all := sqlparser.SplitAndExpression(nil, where.Expr)
	if len(all) != len(s.PrimaryKey()) {
		return nil
	}
	args := make([]int, len(all))
	for _, condition := range all {
		comparison, ok := condition.(*sqlparser.ComparisonExpr)
		if !ok || comparison.Operator != sqlparser.EqualOp {
			return nil
		}
		column, isColumn := comparison.Left.(*sqlparser.ColName)
		argument, isArgument := comparison.Right.(*sqlparser.Argument)
		if !isColumn || !isArgument {
			return nil
		}
		position := slices.IndexFunc(s.PrimaryKey(), column.Name.EqualString)
		if position < 0 {
			return nil
		}
		args[position], _ = placeholderIndex(argument)
	}
	return args
}
