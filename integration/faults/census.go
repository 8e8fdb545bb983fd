package faults

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/persistence"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// execution identifies a run.
type execution struct{ namespaceID, workflowID, runID string }

func (e execution) String() string { return e.workflowID + "/" + e.runID }

// row is what a mysqld has of a run.
type row struct {
	status      enumspb.WorkflowExecutionStatus
	nextEventID int64
}

// census is what the mysqlds of the primaries hold.
type census struct {
	runs map[execution]row
	// strays are rows that belong to no run, or are on a Vitess shard where they should not be.
	strays []string
	// abandoned is history of runs that never began: upstream writes a run's history before the run, and leaves it to its
	// scavenger if that fails (service/worker/scanner/history).
	abandoned int
}

// takeCensus reads the mysqlds, past Vitess.
func (b *Bed) takeCensus(ctx context.Context) (*census, error) {
	c := &census{runs: map[execution]row{}}
	// What belongs to a run is read before the runs: meanwhile there may be more of these, but not fewer.
	var owned []ownedRow
	for _, shard := range b.Shards(keyspace) {
		err := b.onPrimary(ctx, keyspace, shard, func(db *sql.DB) error {
			rows, err := ownedRows(ctx, db, shard)
			owned = append(owned, rows...)
			if err != nil {
				return err
			}
			if err := c.nodesWithoutBranch(ctx, db, shard); err != nil {
				return err
			}
			return c.misplaced(ctx, db, mainPlacement, b.Shards(keyspace), shard)
		})
		if err != nil {
			return nil, err
		}
	}
	var currents []currentRow
	for _, shard := range b.Shards(keyspace) {
		err := b.onPrimary(ctx, keyspace, shard, func(db *sql.DB) error {
			rows, err := c.readRuns(ctx, db)
			currents = append(currents, rows...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, o := range owned {
		if _, ok := c.runs[o.owner]; ok {
			continue
		}
		if o.table == "history_tree" {
			c.abandoned++
			continue
		}
		c.strays = append(c.strays, fmt.Sprintf("%s on %s: a row of %v, which is no run", o.table, o.shard, o.owner))
	}
	c.checkCurrent(currents)
	visibility := b.VisibilityKeyspace()
	for _, shard := range b.Shards(visibility) {
		err := b.onPrimary(ctx, visibility, shard, func(db *sql.DB) error {
			return c.misplaced(ctx, db, mustPlacement(vschema.Visibility), b.Shards(visibility), shard)
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// onPrimary calls do with the database of a Vitess shard.
func (b *Bed) onPrimary(ctx context.Context, keyspace, shard string, do func(*sql.DB) error) error {
	primary, err := b.Primary(ctx, keyspace, shard)
	if err != nil {
		return err
	}
	_, addr, user := primary.MySQL()
	db, err := cluster.Open(user, addr, "vt_"+keyspace)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := do(db); err != nil {
		return fmt.Errorf("mysqld of %s/%s: %w", keyspace, shard, err)
	}
	return nil
}

// ownedRow is a row that belongs to a run.
type ownedRow struct {
	table, shard string
	owner        execution
}

// Tables whose key names the run, and such whose data does.
var (
	tablesOfRuns = []string{
		"activity_info_maps", "timer_info_maps", "child_execution_info_maps", "request_cancel_info_maps", "signal_info_maps",
		"signals_requested_sets", "buffered_events", "chasm_node_maps",
	}
	tablesWithData = map[string]func(data []byte) (execution, error){
		"transfer_tasks":          ownerOfHistoryTask,
		"timer_tasks":             ownerOfHistoryTask,
		"visibility_tasks":        ownerOfHistoryTask,
		"replication_tasks":       ownerOfHistoryTask,
		"history_immediate_tasks": ownerOfHistoryTask,
		"history_scheduled_tasks": ownerOfHistoryTask,
		"tasks":                   ownerOfMatchingTask,
		"tasks_v2":                ownerOfMatchingTask,
		"history_tree":            ownerOfBranch,
	}
)

// ownerOfHistoryTask reads the first three fields, which the messages of all categories share
// (proto/internal/temporal/server/api/persistence/v1/executions.proto).
func ownerOfHistoryTask(data []byte) (owner execution, err error) {
	fields := map[protowire.Number]*string{1: &owner.namespaceID, 2: &owner.workflowID, 3: &owner.runID}
	for len(data) > 0 {
		number, kind, length := protowire.ConsumeTag(data)
		if length < 0 {
			return execution{}, protowire.ParseError(length)
		}
		data = data[length:]
		if field, ok := fields[number]; ok && kind == protowire.BytesType {
			text, _ := protowire.ConsumeString(data)
			*field = text
		}
		if length = protowire.ConsumeFieldValue(number, kind, data); length < 0 {
			return execution{}, protowire.ParseError(length)
		}
		data = data[length:]
	}
	return owner, nil
}

func ownerOfMatchingTask(data []byte) (execution, error) {
	var task persistencespb.AllocatedTaskInfo
	err := task.Unmarshal(data)
	return execution{task.Data.GetNamespaceId(), task.Data.GetWorkflowId(), task.Data.GetRunId()}, err
}

func ownerOfBranch(data []byte) (execution, error) {
	var tree persistencespb.HistoryTreeInfo
	if err := tree.Unmarshal(data); err != nil {
		return execution{}, err
	}
	namespaceID, workflowID, runID, err := persistence.SplitHistoryGarbageCleanupInfo(tree.Info)
	return execution{namespaceID, workflowID, runID}, err
}

func ownedRows(ctx context.Context, db *sql.DB, shard string) ([]ownedRow, error) {
	var all []ownedRow
	for _, table := range tablesOfRuns {
		err := each(ctx, db, "SELECT DISTINCT namespace_id, workflow_id, run_id FROM "+table, func(scan scan) error {
			owner, err := scanExecution(scan)
			all = append(all, ownedRow{table, shard, owner})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for table, ownerOf := range tablesWithData {
		err := each(ctx, db, "SELECT data FROM "+table, func(scan scan) error {
			var data []byte
			if err := scan(&data); err != nil {
				return err
			}
			owner, err := ownerOf(data)
			all = append(all, ownedRow{table, shard, owner})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// nodesWithoutBranch looks for history nodes of no branch.
func (c *census) nodesWithoutBranch(ctx context.Context, db *sql.DB, shard string) error {
	return each(ctx, db, `SELECT n.shard_id, HEX(n.tree_id), HEX(n.branch_id), n.node_id FROM history_node n LEFT JOIN history_tree t
		ON t.shard_id = n.shard_id AND t.tree_id = n.tree_id AND t.branch_id = n.branch_id WHERE t.shard_id IS NULL`, func(scan scan) error {
		var historyShard, node int64
		var tree, branch string
		err := scan(&historyShard, &tree, &branch, &node)
		c.strays = append(c.strays, fmt.Sprintf("history_node on %s: node %d of branch %s of tree %s of history shard %d, which is no branch", shard, node, branch, tree, historyShard))
		return err
	})
}

// misplaced looks for rows that the VSchema has on another Vitess shard.
func (c *census) misplaced(ctx context.Context, db *sql.DB, placement placement, shards []string, shard string) error {
	for table, definition := range placement.keyspace.Tables {
		err := each(ctx, db, "SELECT DISTINCT "+definition.ShardingColumn()+" FROM "+table, func(scan scan) error {
			var value []byte
			if err := scan(&value); err != nil {
				return err
			}
			right, err := placement.vitessShard(table, shards, value)
			if err != nil {
				return err
			}
			if right != shard {
				c.strays = append(c.strays, fmt.Sprintf("%s on %s: rows of %s %q, which are of %s", table, shard, definition.ShardingColumn(), value, right))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// currentRow is one of current_executions.
type currentRow struct {
	execution
	status enumspb.WorkflowExecutionStatus
}

func (c *census) readRuns(ctx context.Context, db *sql.DB) (currents []currentRow, err error) {
	// One snapshot of the two tables, which Temporal writes together.
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	err = each(ctx, tx, "SELECT namespace_id, workflow_id, run_id, next_event_id, state FROM executions", func(scan scan) error {
		var state []byte
		var read row
		owner, err := scanExecution(scan, &read.nextEventID, &state)
		if err != nil {
			return err
		}
		var decoded persistencespb.WorkflowExecutionState
		if err := decoded.Unmarshal(state); err != nil {
			return err
		}
		read.status = decoded.Status
		c.runs[owner] = read
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The scheduler is no workflow, but has its runs in the same table.
	const query = `SELECT namespace_id, workflow_id, run_id, status FROM current_executions
		UNION ALL SELECT namespace_id, business_id, run_id, status FROM current_chasm_executions`
	err = each(ctx, tx, query, func(scan scan) error {
		var current currentRow
		current.execution, err = scanExecution(scan, &current.status)
		currents = append(currents, current)
		return err
	})
	return currents, err
}

// checkCurrent compares current_executions with executions.
func (c *census) checkCurrent(currents []currentRow) {
	type workflow struct{ namespaceID, workflowID string }
	known := map[workflow]bool{}
	for _, current := range currents {
		known[workflow{current.namespaceID, current.workflowID}] = true
		if run, ok := c.runs[current.execution]; !ok || run.status != current.status {
			c.strays = append(c.strays, fmt.Sprintf("current_executions: %v is %v, but in executions %v", current.execution, current.status, run.status))
		}
	}
	for run := range c.runs {
		if !known[workflow{run.namespaceID, run.workflowID}] && c.runs[run].status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			c.strays = append(c.strays, fmt.Sprintf("executions: %v runs, but is not in current_executions", run))
		}
	}
}

// of returns the runs of a namespace, in order of their workflow IDs.
func (c *census) of(namespaceID string) []execution {
	var runs []execution
	for run := range c.runs {
		if run.namespaceID == namespaceID {
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b execution) int {
		return slices.Compare([]string{a.workflowID, a.runID}, []string{b.workflowID, b.runID})
	})
	return runs
}

type scan func(values ...any) error

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls read for each row of a query's result.
func each(ctx context.Context, db queryer, query string, read func(scan) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows.Scan); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	return rows.Err()
}

// scanExecution scans the three columns that identify a run, and more behind them.
func scanExecution(scan scan, more ...any) (execution, error) {
	var namespaceID, runID []byte
	var read execution
	if err := scan(append([]any{&namespaceID, &read.workflowID, &runID}, more...)...); err != nil {
		return execution{}, err
	}
	for bytes, text := range map[*[]byte]*string{&namespaceID: &read.namespaceID, &runID: &read.runID} {
		id, err := uuid.FromBytes(*bytes)
		if err != nil {
			return execution{}, fmt.Errorf("%s is no UUID", hex.EncodeToString(*bytes))
		}
		*text = id.String()
	}
	return read, nil
}
