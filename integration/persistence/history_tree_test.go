package persistence

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// TestHistoryTreePaging reads the branches of all history shards in pages, as the scavenger does, where most history
// shards have none.
func TestHistoryTreePaging(t *testing.T) {
	const (
		historyShards   = 64
		treesPerShard   = 30
		branchesPerTree = 3
	)
	db := onVitess(t, bed(t, 4))
	db.clear(t)
	writeClusterMetadata(t, db, historyShards)
	store := db.open(t, sqlplugin.DbKindMain)
	var want []sqlplugin.HistoryTreeRow
	for _, historyShard := range []int32{2, 3, 4, 17, 40, 41, historyShards} {
		for range treesPerShard {
			treeID := primitives.NewUUID()
			for range branchesPerTree {
				row := sqlplugin.HistoryTreeRow{ShardID: historyShard, TreeID: treeID, BranchID: primitives.NewUUID(), Data: []byte("branch"), DataEncoding: "Proto3"}
				_, err := store.InsertIntoHistoryTree(t.Context(), &row)
				require.NoError(t, err)
				want = append(want, row)
			}
		}
	}
	slices.SortFunc(want, func(a, b sqlplugin.HistoryTreeRow) int {
		return cmp.Or(cmp.Compare(a.ShardID, b.ShardID), bytes.Compare(a.TreeID, b.TreeID), bytes.Compare(a.BranchID, b.BranchID))
	})
	wantIDs := make([]string, len(want))
	for i, row := range want {
		wantIDs[i] = row.TreeID.String() + " " + row.BranchID.String()
	}

	for _, pageSize := range []int{1, 3, 90, 100, 1000} {
		t.Run(fmt.Sprintf("rows, %d to a page", pageSize), func(t *testing.T) {
			var listed []sqlplugin.HistoryTreeRow
			page := sqlplugin.HistoryTreeBranchPage{Limit: pageSize}
			for {
				rows, err := store.PaginateBranchesFromHistoryTree(t.Context(), page)
				require.NoError(t, err)
				listed = append(listed, rows...)
				if len(rows) < pageSize || len(listed) > len(want) {
					break
				}
				last := rows[len(rows)-1]
				page.ShardID, page.TreeID, page.BranchID = last.ShardID, last.TreeID, last.BranchID
			}
			assert.Equal(t, want, listed)
		})
		t.Run(fmt.Sprintf("branches, %d to a page", pageSize), func(t *testing.T) {
			store := executionStore(t, db)
			var listed []string
			request := &persistence.GetAllHistoryTreeBranchesRequest{PageSize: pageSize}
			for {
				response, err := store.GetAllHistoryTreeBranches(t.Context(), request)
				require.NoError(t, err)
				for _, branch := range response.Branches {
					listed = append(listed, branch.TreeID+" "+branch.BranchID)
				}
				request.NextPageToken = response.NextPageToken
				if request.NextPageToken == nil || len(listed) > len(want) {
					break
				}
			}
			assert.Equal(t, wantIDs, listed)
		})
	}

	t.Run("by the primary key", func(t *testing.T) {
		statements := db.received(t, "history_tree", func() {
			_, err := store.PaginateBranchesFromHistoryTree(t.Context(), sqlplugin.HistoryTreeBranchPage{
				ShardID: 41, TreeID: want[len(want)/2].TreeID, BranchID: want[len(want)/2].BranchID, Limit: 10,
			})
			require.NoError(t, err)
		})
		require.Len(t, statements, 1)
		plan := db.explain(t, testbed.Main, statements[0])
		assert.Equal(t, "PRIMARY", plan["key"], statements[0])
		assert.Equal(t, "36", plan["key_len"], "bytes of shard_id, tree_id and branch_id: %s", statements[0])
	})
}
