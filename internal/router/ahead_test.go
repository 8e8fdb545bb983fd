package router

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALockOfACurrentExecutionLooksAheadToItsRun(t *testing.T) {
	const (
		lockRun          = "SELECT db_record_version, next_event_id FROM executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ? FOR UPDATE"
		lockCurrent      = "SELECT run_id, state FROM current_executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? FOR UPDATE"
		lockCurrentChasm = "SELECT business_id AS workflow_id, run_id FROM current_chasm_executions WHERE shard_id = ? AND namespace_id = ? AND business_id = ? AND archetype_id = ? FOR UPDATE"
	)
	r := newMainRouter(t)
	lookAhead := func(query string) *LookAhead {
		look, err := r.LookAhead(r.Plan(query))
		require.NoError(t, err, query)
		return look
	}
	require.Nil(t, lookAhead(lockCurrent), "it is not known yet what follows")
	next := r.Plan(lockRun)
	look := lookAhead(lockCurrent)
	require.NotNil(t, look)
	require.Equal(t, "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ c.run_id, c.state, e.db_record_version, e.next_event_id, e.run_id "+
		"from temporal.current_executions as c left join temporal.executions as e on e.shard_id = c.shard_id and e.namespace_id = c.namespace_id "+
		"and e.workflow_id = c.workflow_id and e.run_id = c.run_id where c.shard_id = ? and c.namespace_id = ? and c.workflow_id = ? for update",
		look.Plan.Statement.SQL)
	require.Equal(t, 2, look.First)
	require.Equal(t, []string{"db_record_version", "next_event_id"}, look.Second)
	require.Equal(t, []int{0, 1, 2, -1}, look.Key)
	require.Same(t, next, look.Next)
	require.Same(t, look, lookAhead(lockCurrent), "it is made once")

	look = lookAhead(lockCurrentChasm)
	require.NotNil(t, look)
	require.Contains(t, look.Plan.Statement.SQL, "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ c.business_id as workflow_id, c.run_id, e.db_record_version")
	require.Contains(t, look.Plan.Statement.SQL, "and e.workflow_id = c.business_id and e.run_id = c.run_id where")
	require.Equal(t, []int{0, 1, 2, -1}, look.Key)

	for name, query := range map[string]string{
		"no lock":         "SELECT run_id FROM current_executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ?",
		"a shared lock":   "SELECT run_id FROM current_executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? LOCK IN SHARE MODE",
		"not the key":     "SELECT run_id FROM current_executions WHERE shard_id = ? AND namespace_id = ? FOR UPDATE",
		"a join":          "SELECT ce.run_id FROM current_executions ce INNER JOIN executions e ON e.shard_id = ce.shard_id WHERE ce.shard_id = ? AND ce.namespace_id = ? AND ce.workflow_id = ? FOR UPDATE",
		"another table":   "SELECT range_id FROM shards WHERE shard_id = ? FOR UPDATE",
		"the run's own":   lockRun,
		"what is unknown": "SELECT run_id FROM nowhere WHERE shard_id = ? FOR UPDATE",
	} {
		require.Nil(t, lookAhead(query), name)
	}
}

func TestALookAheadThatCannotBeIsToldOnce(t *testing.T) {
	const count = "SELECT COUNT(*) FROM current_executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? FOR UPDATE"
	r := newMainRouter(t)
	r.Plan("SELECT data FROM executions WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ? FOR UPDATE")
	look, err := r.LookAhead(r.Plan(count))
	require.Nil(t, look)
	require.ErrorContains(t, err, "returns something else than columns of current_executions")
	look, err = r.LookAhead(r.Plan(count))
	require.Nil(t, look)
	require.NoError(t, err)
}
