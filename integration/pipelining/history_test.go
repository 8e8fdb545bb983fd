package pipelining

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	enumsspb "go.temporal.io/server/api/enums/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/tests"
)

// nodes counts the history nodes of a run's branch.
func (w *workflow) nodes(r *workflowRun) int {
	w.t.Helper()
	branch, err := w.HistoryBranchUtil.ParseHistoryBranchInfo(r.branch)
	require.NoError(w.t, err)
	treeID, branchID := uuid.MustParse(branch.TreeId), uuid.MustParse(branch.BranchId)
	var count int
	require.NoError(w.t, openMySQL(w.t).QueryRow(
		fmt.Sprintf("SELECT COUNT(*) FROM `%s`.history_node WHERE shard_id = ? AND tree_id = ? AND branch_id = ?", database(w.ShardID)),
		w.ShardID, treeID[:], branchID[:]).Scan(&count))
	return count
}

// updateAs updates a workflow as the owner of its history shard with a range ID.
func (w *workflow) updateAs(ctx context.Context, rangeID int64) error {
	run := w.run
	snapshot := *w.run.snapshot
	run.snapshot = &snapshot
	mutation, events := w.mutation(&run, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	_, err := w.ExecutionManager.UpdateWorkflowExecution(ctx, &persistence.UpdateWorkflowExecutionRequest{
		ShardID: w.ShardID, RangeID: rangeID, Mode: persistence.UpdateWorkflowModeUpdateCurrent, ArchetypeID: chasm.WorkflowArchetypeID,
		UpdateWorkflowMutation: *mutation, UpdateWorkflowEvents: events,
	})
	if err == nil {
		w.run.snapshot = &snapshot
	}
	return err
}

// everything has appends to history join their transaction, which the default does not.
const everything = "packets,reads,locks,look-ahead,history"

// An append of a workflow's call is in its transaction: it is there if the call succeeds, and not if it fails.
func TestHistoryIsCommittedWithItsTransaction(t *testing.T) {
	for ways, left := range map[string]int{everything: 0, "on": 1, "packets,reads,locks,look-ahead": 1, "off": 1} {
		t.Run(ways, func(t *testing.T) {
			w := newWorkflow(t, with(bed.MainConfig(), "vitess_pipelining", ways))
			w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
			created := w.nodes(&w.run)
			require.Positive(t, created)
			require.NoError(t, w.updateAs(w.Ctx, w.RangeID))
			updated := w.nodes(&w.run)
			require.Greater(t, updated, created)

			// Upstream leaves the nodes of a call that fails, and its branch.
			failed := w.run
			require.Error(t, w.updateAs(w.Ctx, w.RangeID+1))
			require.Equal(t, failed, w.run)
			if left == 0 {
				require.Equal(t, updated, w.nodes(&w.run))
			} else {
				require.Greater(t, w.nodes(&w.run), updated)
			}
			other := workflowRun{id: uuid.NewString()}
			snapshot, events := w.snapshot(&other, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)
			_, err := w.ExecutionManager.CreateWorkflowExecution(w.Ctx, &persistence.CreateWorkflowExecutionRequest{
				ShardID: w.ShardID, RangeID: w.RangeID, Mode: persistence.CreateWorkflowModeBrandNew, ArchetypeID: chasm.WorkflowArchetypeID,
				NewWorkflowSnapshot: *snapshot, NewWorkflowEvents: events,
			})
			require.IsType(t, &persistence.CurrentWorkflowConditionFailedError{}, err)
			require.Equal(t, left, min(1, w.nodes(&other)))

			require.NoError(t, w.updateAs(w.Ctx, w.RangeID))
		})
	}
}

func TestAnAppendOnItsOwnIsThereWhenItReturns(t *testing.T) {
	w := newWorkflow(t, with(bed.MainConfig(), "vitess_pipelining", everything))
	w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
	for _, newBranch := range []bool{true, false} {
		run := workflowRun{id: uuid.NewString()}
		run.branch = tests.RandomBranchToken(w.NamespaceID, w.WorkflowID, run.id, w.HistoryBranchUtil)
		_, events := tests.RandomSnapshot(t, w.NamespaceID, w.WorkflowID, run.id, common.FirstEventID, 1, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING,
			enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, 1, run.branch)
		_, err := w.ExecutionManager.AppendHistoryNodes(w.Ctx, &persistence.AppendHistoryNodesRequest{
			ShardID: w.ShardID, IsNewBranch: newBranch, BranchToken: run.branch, Events: events[0].Events, TransactionID: 1, Info: "info",
		})
		require.NoError(t, err)
		require.Equal(t, 1, w.nodes(&run))
	}
}

// Many workflows of one history shard are updated under one context, and some of the calls fail.
func TestCallsAtOnceHaveEachItsOwnHistory(t *testing.T) {
	first := newWorkflow(t, with(bed.MainConfig(), "vitess_pipelining", everything))
	ctx := first.Ctx
	var workflows []*workflow
	for range 8 {
		w := newWorkflow(t, with(bed.MainConfig(), "vitess_pipelining", everything))
		w.ExecutionManager, w.ShardID, w.RangeID = first.ExecutionManager, first.ShardID, first.RangeID
		w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
		workflows = append(workflows, w)
	}
	var all sync.WaitGroup
	problems := make(chan string, 1000)
	for _, w := range workflows {
		all.Go(func() {
			for call := range 20 {
				before, rangeID := w.nodes(&w.run), w.RangeID
				if call%3 == 0 {
					rangeID++ // which it does not have
				}
				err := w.updateAs(ctx, rangeID)
				switch after := w.nodes(&w.run); {
				case (err == nil) != (rangeID == w.RangeID) && !persistence.OperationPossiblySucceeded(err):
					problems <- fmt.Sprintf("range ID %d of %d: %v", rangeID, w.RangeID, err)
				case err == nil && after <= before, err != nil && after != before:
					problems <- fmt.Sprintf("%d nodes after %d: %v", after, before, err)
				}
			}
		})
	}
	all.Wait()
	close(problems)
	for problem := range problems {
		t.Error(problem)
	}
}
