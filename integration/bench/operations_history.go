package main

import (
	"context"
	"math"

	"go.temporal.io/server/common"
	"go.temporal.io/server/common/persistence"
)

var historyOperations = []operation{
	{Name: "append history, new branch", setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(context.Context) (call, error) {
			w, err := c.newExecution()
			if err != nil {
				return nil, err
			}
			return appendTo(c, w), nil
		}, nil
	}},
	{Name: "append history", setUp: onExecution(func(c *caller, w *execution) (call, error) { return appendTo(c, w), nil })},
	{Name: "read 20 batches of history", setUp: func(ctx context.Context, c *caller) (prepare, error) {
		const batches = 20
		w, err := c.newExecution()
		if err != nil {
			return nil, err
		}
		for range batches {
			if err := appendTo(c, w)(ctx); err != nil {
				return nil, err
			}
		}
		return func(context.Context) (call, error) {
			return func(ctx context.Context) error {
				_, err := c.measured.executions.ReadHistoryBranch(ctx, &persistence.ReadHistoryBranchRequest{
					ShardID: c.historyShard, BranchToken: w.branchToken, MinEventID: common.FirstEventID, MaxEventID: math.MaxInt64, PageSize: 100,
				})
				return err
			}, nil
		}, nil
	}},
}

// appendTo appends the events of an update to a workflow's history, which it begins if there is none.
func appendTo(c *caller, w *execution) call {
	first := w.nextEventID == common.FirstEventID
	batch := w.events(updateEvents())[0]
	return func(ctx context.Context) error {
		_, err := c.measured.executions.AppendHistoryNodes(ctx, &persistence.AppendHistoryNodesRequest{
			ShardID:           c.historyShard,
			IsNewBranch:       first,
			Info:              persistence.BuildHistoryGarbageCleanupInfo(w.key.NamespaceID, w.key.WorkflowID, w.key.RunID),
			BranchToken:       batch.BranchToken,
			Events:            batch.Events,
			PrevTransactionID: batch.PrevTxnID,
			TransactionID:     batch.TxnID,
		})
		return err
	}
}
