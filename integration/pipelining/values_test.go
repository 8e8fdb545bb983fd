package pipelining

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"
)

func TestStatementsOfAnySizeTravel(t *testing.T) {
	ctx := context.Background()
	random := rand.New(rand.NewSource(1))
	for _, historyShard := range []int32{lowerHistoryShard, upperHistoryShard} {
		// Below what is sent together, on either side of it, and near the 16 MiB between vtgate and vttablet.
		for _, megabytes := range []int{1, 4, 5, 12} {
			t.Run(fmt.Sprintf("%d MB, history shard %d", megabytes, historyShard), func(t *testing.T) {
				// However slow the disk is: what counts here is the size.
				cfg := with(bed.MainConfig(), "transaction_timeout", "60000")
				cfg.MaxConns, cfg.MaxIdleConns = 1, 1
				db := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler)
				node := sqlplugin.HistoryNodeRow{
					ShardID: historyShard, TreeID: primitives.NewUUID(), BranchID: primitives.NewUUID(), PrevTxnID: 1, TxnID: 1, DataEncoding: "Proto3",
				}
				nodes := make([]sqlplugin.HistoryNodeRow, 3)
				tx := begin(t, ctx, db)
				for i := range nodes {
					nodes[i] = node
					nodes[i].NodeID = int64(i + 1)
					nodes[i].Data = make([]byte, megabytes<<20)
					_, err := random.Read(nodes[i].Data)
					require.NoError(t, err)
					_, err = tx.InsertIntoHistoryNode(ctx, &nodes[i])
					require.NoError(t, err)
				}
				require.NoError(t, tx.Commit())
				for _, want := range nodes {
					got, err := db.RangeSelectFromHistoryNode(ctx, sqlplugin.HistoryNodeSelectFilter{
						ShardID: historyShard, TreeID: node.TreeID, BranchID: node.BranchID, MinNodeID: want.NodeID - 1, MaxNodeID: want.NodeID + 1, PageSize: 10,
					})
					require.NoError(t, err)
					require.Len(t, got, 1)
					require.True(t, bytes.Equal(want.Data, got[0].Data))
				}
			})
		}
	}
}

func TestAStatementThatIsTooLargeFailsTheTransaction(t *testing.T) {
	ctx := context.Background()
	cfg := *with(bed.MainConfig(), "maxAllowedPacket", fmt.Sprint(8<<20))
	cfg.MaxConns, cfg.MaxIdleConns = 1, 1
	db := openStore(t, sqlplugin.DbKindMain, &cfg, metrics.NoopMetricsHandler)
	first := firstTask()
	tx := begin(t, ctx, db)
	_, err := tx.InsertIntoTransferTasks(ctx, transferTask(upperHistoryShard, first))
	require.NoError(t, err)
	large := transferTask(upperHistoryShard, first+1)
	large[0].Data = make([]byte, 9<<20)
	_, err = tx.InsertIntoTransferTasks(ctx, large)
	require.NoError(t, err, "it waits")
	require.ErrorContains(t, tx.Commit(), "maxAllowedPacket")
	require.Empty(t, transferTasks(t, upperHistoryShard, first))
	requireUsable(t, db, upperHistoryShard)
}

func TestValuesOfEveryKindTravelTogether(t *testing.T) {
	ctx := context.Background()
	db := openMain(t, 1)
	everyByte := make([]byte, 0, 3*256)
	for _, around := range []string{"", "'", "\\"} {
		for value := range 256 {
			everyByte = append(append(everyByte, byte(value)), around...)
		}
	}
	texts := []string{
		"", "?", "??; ?", "'", `"`, "`", `\`, `\'`, `'\`, `\\'; commit; --`, "/* ? */", "-- ?\n", "# ?", "; delete from shards", "a\x00b", "\r\n\t\x1a",
		"π ≈ 3", "🙂", "%_", ":v1", "@@x", "{d'2020'}", "row_count()",
	}
	key := executionKey(upperHistoryShard)
	tx := begin(t, ctx, db)
	row := execution(key, everyByte)
	_, err := tx.InsertIntoExecutions(ctx, row)
	require.NoError(t, err)
	want := map[string][]byte{}
	for i, text := range texts {
		want[text] = []byte(text)
		if i%2 == 0 {
			want[text] = everyByte
		}
		_, err := tx.ReplaceIntoTimerInfoMaps(ctx, []sqlplugin.TimerInfoMapsRow{{
			ShardID: key.ShardID, NamespaceID: key.NamespaceID, WorkflowID: key.WorkflowID, RunID: key.RunID,
			TimerID: text, Data: want[text], DataEncoding: text[:min(len(text), 8)],
		}})
		require.NoError(t, err)
	}
	read, err := tx.SelectFromExecutions(ctx, key) // with all of them in one packet
	require.NoError(t, err)
	require.Equal(t, everyByte, read.Data)
	require.NoError(t, tx.Commit())
	got := map[string][]byte{}
	rows, err := db.SelectAllFromTimerInfoMaps(ctx, sqlplugin.TimerInfoMapsAllFilter(key))
	require.NoError(t, err)
	for _, row := range rows {
		got[row.TimerID] = row.Data
	}
	require.Equal(t, want, got)
}

func TestADeleteOfManyRowsInATransaction(t *testing.T) {
	const rows, batch = 25_000, 1_000 // MaxRows is 10,000
	ctx := context.Background()
	db := openMain(t, 1)
	key := executionKey(lowerHistoryShard)
	row := func(activity int) sqlplugin.ActivityInfoMapsRow {
		return sqlplugin.ActivityInfoMapsRow{
			ShardID: key.ShardID, NamespaceID: key.NamespaceID, WorkflowID: key.WorkflowID, RunID: key.RunID,
			ScheduleID: int64(activity), Data: []byte("data"), DataEncoding: "Proto3",
		}
	}
	all := sqlplugin.ActivityInfoMapsAllFilter(key)
	for start := 0; start < rows; start += batch {
		var inserted []sqlplugin.ActivityInfoMapsRow
		for i := range batch {
			inserted = append(inserted, row(start+i))
		}
		_, err := db.ReplaceIntoActivityInfoMaps(ctx, inserted)
		require.NoError(t, err)
	}
	for _, commit := range []bool{false, true} {
		tx := begin(t, ctx, db)
		deleted, err := tx.DeleteAllFromActivityInfoMaps(ctx, all)
		require.NoError(t, err)
		_, err = tx.ReplaceIntoActivityInfoMaps(ctx, []sqlplugin.ActivityInfoMapsRow{row(7), row(8)})
		require.NoError(t, err)
		left, err := tx.SelectAllFromActivityInfoMaps(ctx, all)
		require.NoError(t, err)
		require.Len(t, left, 2)
		affected, err := deleted.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, rows, affected)
		want := rows
		if commit {
			want = 2
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
		stored, err := db.SelectAllFromActivityInfoMaps(ctx, all)
		require.NoError(t, err)
		require.Len(t, stored, want)
	}
}
