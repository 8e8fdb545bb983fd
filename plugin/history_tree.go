package plugin

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// Upstream lists the branches of all history shards with one statement, which would go to every Vitess shard, and for
// which vtgate's planner loses the index. Here each history shard is asked on its own, by its primary key.
const (
	firstBranchesOfHistoryShard = `SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree ` +
		`WHERE shard_id = ? ` +
		`ORDER BY shard_id, tree_id, branch_id LIMIT ?`
	nextBranchesOfHistoryShard = `SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree ` +
		`WHERE shard_id = ? AND ((tree_id = ? AND branch_id > ?) OR tree_id > ?) ` +
		`ORDER BY shard_id, tree_id, branch_id LIMIT ?`
)

// maxClusters is more than a cluster is ever connected to.
const maxClusters = 1000

// PaginateBranchesFromHistoryTree reads up to page.Limit branches after page's, in order of the primary key. Fewer
// mean that there are no more, so it reads on through history shards without branches: it takes a statement for each
// history shard that it reaches, and one to find out how many there are.
func (s store) PaginateBranchesFromHistoryTree(ctx context.Context, page sqlplugin.HistoryTreeBranchPage) ([]sqlplugin.HistoryTreeRow, error) {
	last, err := s.lastHistoryShard(ctx)
	if err != nil {
		return nil, err
	}
	var rows []sqlplugin.HistoryTreeRow
	if len(page.TreeID) > 0 {
		if err := s.statements.SelectContext(ctx, &rows, nextBranchesOfHistoryShard,
			page.ShardID, page.TreeID, page.BranchID, page.TreeID, page.Limit); err != nil {
			return nil, err
		}
		page.ShardID++
	}
	// Upstream starts at 0; the first history shard is 1.
	for historyShard := max(page.ShardID, 1); historyShard <= last && len(rows) < page.Limit; historyShard++ {
		var more []sqlplugin.HistoryTreeRow
		if err := s.statements.SelectContext(ctx, &more, firstBranchesOfHistoryShard, historyShard, page.Limit-len(rows)); err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// lastHistoryShard returns the highest history shard id, from the metadata that a cluster writes at its first start.
// Other clusters that this one is connected to may have more history shards; asking for those here finds nothing.
func (s store) lastHistoryShard(ctx context.Context) (int32, error) {
	pageSize := maxClusters
	clusters, err := s.ListClusterMetadata(ctx, &sqlplugin.ClusterMetadataFilter{PageSize: &pageSize})
	if err != nil {
		return 0, err
	}
	last := int32(0)
	for _, cluster := range clusters {
		metadata, err := serialization.NewSerializer().DeserializeClusterMetadata(persistence.NewDataBlob(cluster.Data, cluster.DataEncoding))
		if err != nil {
			return 0, fmt.Errorf("cluster_metadata_info: %w", err)
		}
		last = max(last, metadata.HistoryShardCount)
	}
	if last == 0 {
		return 0, errors.New("cluster_metadata_info holds no cluster yet, so the number of history shards is not known; a Temporal server writes it at its first start")
	}
	return last, nil
}
