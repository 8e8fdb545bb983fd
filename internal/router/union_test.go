package router

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelectsBecomeOneStatement(t *testing.T) {
	r := newMainRouter(t)
	queries := []string{
		"SELECT next_event_id, data, state FROM executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ?",
		"SELECT data, data_encoding FROM buffered_events WHERE shard_id=? AND namespace_id=? AND workflow_id=? AND run_id=? ORDER BY id",
		"SELECT schedule_id, data FROM activity_info_maps WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ?",
	}
	union, err := r.Union(queries)
	require.NoError(t, err)
	const where = " where shard_id = ? and namespace_id = ? and workflow_id = ? and run_id = ?"
	require.Equal(t, "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ 0, next_event_id, `data`, state, null, null from temporal.executions"+where+
		" union all (select 1, id, `data`, null, data_encoding, null from temporal.buffered_events"+where+" order by id asc limit 10000"+
		") union all (select 2, schedule_id, `data`, null, null, schedule_id from temporal.activity_info_maps"+where+" order by schedule_id asc limit 10000) limit 10000",
		union.Plan.Statement.SQL)
	require.Equal(t, 12, union.Plan.Statement.Placeholders)
	for i, arg := range union.Plan.Statement.Args {
		require.Equal(t, Arg{Index: i % 4}, arg)
	}
	require.Equal(t, Single, union.Plan.Route)
	require.Equal(t, "shard_id", union.Plan.Column)
	require.Zero(t, union.Plan.Value)
	require.Equal(t, 10000, union.Rows)
	require.Equal(t, []string{"next_event_id", "data", "state"}, union.Parts[0].Columns)
	require.Equal(t, []string{"data", "data_encoding", "id"}, union.Parts[1].Columns)
	require.Equal(t, []int{2, 4, 1}, union.Parts[1].Positions)
	require.Equal(t, []string{"schedule_id", "data", "schedule_id"}, union.Parts[2].Columns)
}

func TestSelectsThatCannotBeOneStatement(t *testing.T) {
	r := newMainRouter(t)
	const timers = "SELECT data FROM timer_info_maps WHERE shard_id = ? AND run_id = ?"
	for name, other := range map[string]string{
		"another argument":     "SELECT data FROM signal_info_maps WHERE run_id = ? AND shard_id = ?",
		"another keyspace":     "SELECT data FROM namespaces WHERE id = ?",
		"no sharding column":   "SELECT data FROM signal_info_maps WHERE run_id = ?",
		"a lock":               "SELECT data FROM signal_info_maps WHERE shard_id = ? AND run_id = ? FOR UPDATE",
		"something calculated": "SELECT COUNT(*) FROM signal_info_maps WHERE shard_id = ? AND run_id = ?",
		"no SELECT":            "DELETE FROM signal_info_maps WHERE shard_id = ? AND run_id = ?",
		"a text with a ?":      "SELECT data FROM signal_info_maps WHERE shard_id = ? AND run_id = ? AND signal_id = '?'",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Union([]string{timers, other})
			require.Error(t, err)
			_, err = r.Union([]string{timers})
			require.Error(t, err)
			_, err = r.Union([]string{timers, timers})
			require.NoError(t, err)
		})
	}
}
