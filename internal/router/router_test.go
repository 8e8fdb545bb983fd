package router

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func newMainRouter(t testing.TB) *Router {
	r, err := New(Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"},
		MaxRows:   10000,
	})
	require.NoError(t, err)
	return r
}

func newVisibilityRouter(t testing.TB, profile vschema.Profile) *Router {
	r, err := New(Config{
		Keyspaces: map[vschema.Role]string{vschema.Visibility: "temporal_visibility"},
		Profile:   profile,
		MaxRows:   10000,
	})
	require.NoError(t, err)
	return r
}

func TestPlan(t *testing.T) {
	main := newMainRouter(t)
	namespace := newVisibilityRouter(t, vschema.ProfileNamespace)
	spread := newVisibilityRouter(t, vschema.ProfileSpread)
	for _, test := range []struct {
		name   string
		router *Router
		query  string
		route  Route
		column string
		sql    string
		chunk  int
		next   string
		args   []Arg
	}{
		{
			name: "a read by full key goes to the Vitess shard of its history shard", router: main,
			query: `SELECT range_id FROM shards WHERE shard_id = ? FOR UPDATE`,
			route: Single, column: "shard_id",
			sql: "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ range_id from temporal.shards where shard_id = ? for update",
		},
		{
			name: "an insert goes by its value of the sharding column", router: main,
			query: `INSERT INTO transfer_tasks(shard_id, task_id) VALUES(?, ?), (?, ?)`,
			route: Single, column: "shard_id",
			sql: "insert /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ into temporal.transfer_tasks(shard_id, task_id) values (?, ?), (?, ?)",
		},
		{
			name: "a join is placed where its tables meet", router: main,
			query: `SELECT ce.run_id FROM current_executions ce INNER JOIN executions e ON e.shard_id = ce.shard_id AND e.run_id = ce.run_id WHERE ce.shard_id = ? FOR UPDATE`,
			route: Single, column: "shard_id",
			sql: "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ ce.run_id from temporal.current_executions as ce join temporal.executions as e on e.shard_id = ce.shard_id and e.run_id = ce.run_id where ce.shard_id = ? for update",
		},
		{
			name: "a table of the global keyspace is not sharded", router: main,
			query: `SELECT id FROM namespaces WHERE partition_id = 54321 AND name = ?`,
			route: Unsharded,
			sql:   "select /*vt+ WORKLOAD_NAME=metadata PRIORITY=0 */ id from temporal_global.namespaces where partition_id = 54321 and `name` = ?",
		},
		{
			name: "a delete by full key is complete at once", router: main,
			query: `DELETE FROM transfer_tasks WHERE shard_id = ? AND task_id = ?`,
			route: Single, column: "shard_id",
			sql: "delete /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ from temporal.transfer_tasks where shard_id = ? and task_id = ?",
		},
		{
			name: "a delete of a list of keys is complete at once", router: main,
			query: `DELETE FROM timer_info_maps WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ? AND timer_id IN ( ?, ? )`,
			route: Single, column: "shard_id",
			sql: "delete /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ from temporal.timer_info_maps where shard_id = ? and namespace_id = ? and workflow_id = ? and run_id = ? and timer_id in (?, ?)",
		},
		{
			name: "a delete of a range comes in chunks and is background work", router: main,
			query: `DELETE FROM transfer_tasks WHERE shard_id = ? AND task_id >= ? AND task_id < ?`,
			route: Single, column: "shard_id", chunk: 10000,
			sql: "delete /*vt+ WORKLOAD_NAME=history PRIORITY=100 */ from temporal.transfer_tasks where shard_id = ? and task_id >= ? and task_id < ? limit 10000",
		},
		{
			name: "a delete that has a limit keeps it", router: main,
			query: `DELETE FROM tasks WHERE range_hash = ? AND task_queue_id = ? AND task_id < ? ORDER BY task_queue_id,task_id LIMIT ?`,
			route: Single, column: "range_hash",
			sql: "delete /*vt+ WORKLOAD_NAME=matching PRIORITY=100 */ from temporal.tasks where range_hash = ? and task_queue_id = ? and task_id < ? order by task_queue_id asc, task_id asc limit ?",
		},
		{
			name: "a read of any number of rows comes in pages", router: main,
			query: `SELECT data, data_encoding FROM buffered_events WHERE shard_id=? AND namespace_id=? AND workflow_id=? AND run_id=? ORDER BY id`,
			route: Single, column: "shard_id",
			sql:  "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ `data`, data_encoding, id from temporal.buffered_events where shard_id = ? and namespace_id = ? and workflow_id = ? and run_id = ? order by id asc limit 10000",
			next: "select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ `data`, data_encoding, id from temporal.buffered_events where shard_id = ? and namespace_id = ? and workflow_id = ? and run_id = ? and id > ? order by id asc limit 10000",
		},
		{
			name: "pages follow a key of several columns", router: main,
			query: `SELECT data FROM tasks_v2 WHERE range_hash = ? AND task_queue_id = ?`,
			route: Single, column: "range_hash",
			sql:  "select /*vt+ WORKLOAD_NAME=matching PRIORITY=10 */ `data`, pass, task_id from temporal.tasks_v2 where range_hash = ? and task_queue_id = ? order by pass asc, task_id asc limit 10000",
			next: "select /*vt+ WORKLOAD_NAME=matching PRIORITY=10 */ `data`, pass, task_id from temporal.tasks_v2 where range_hash = ? and task_queue_id = ? and (pass > ? or pass = ? and task_id > ?) order by pass asc, task_id asc limit 10000",
		},
		{
			name: "an aggregate is not paged", router: main,
			query: `SELECT COUNT(*) FROM build_id_to_task_queue WHERE namespace_id = ? AND build_id = ?`,
			route: Single, column: "namespace_id",
			sql: "select /*vt+ WORKLOAD_NAME=matching PRIORITY=10 */ count(*) from temporal.build_id_to_task_queue where namespace_id = ? and build_id = ?",
		},
		{
			name: "the task queue scavenger may ask every Vitess shard", router: main,
			query: `SELECT task_queue_id FROM task_queues WHERE range_hash >= ? AND range_hash <= ? AND task_queue_id > ? ORDER BY task_queue_id ASC LIMIT ?`,
			route: Scatter,
			sql:   "select /*vt+ WORKLOAD_NAME=matching PRIORITY=100 ALLOW_SCATTER */ task_queue_id from temporal.task_queues where range_hash >= ? and range_hash <= ? and task_queue_id > ? order by task_queue_id asc limit ?",
		},
		{
			name: "an upsert does not assign the sharding column", router: namespace,
			query: `INSERT INTO executions_visibility (namespace_id, run_id, status, _version) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE ` +
				`namespace_id = IF(_version < VALUES(_version), VALUES(namespace_id), namespace_id), run_id = IF(_version < VALUES(_version), VALUES(run_id), run_id), ` +
				`status = IF(_version < VALUES(_version), VALUES(status), status), _version = IF(_version < VALUES(_version), VALUES(_version), _version)`,
			route: Single, column: "namespace_id",
			sql: "insert /*vt+ WORKLOAD_NAME=visibility PRIORITY=50 */ into temporal_visibility.executions_visibility(namespace_id, run_id, `status`, _version) values (?, ?, ?, ?) on duplicate key update " +
				"`status` = if(_version < values(_version), values(`status`), `status`), _version = if(_version < values(_version), values(_version), _version)",
		},
		{
			name: "an insert that ignores duplicates does not assign the sharding column", router: spread,
			query: `INSERT INTO custom_search_attributes (namespace_id, run_id, search_attributes) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE run_id = VALUES(run_id)`,
			route: Single, column: "run_id",
			sql: "insert /*vt+ WORKLOAD_NAME=visibility PRIORITY=50 */ into temporal_visibility.custom_search_attributes(namespace_id, run_id, search_attributes) values (?, ?, ?) on duplicate key update search_attributes = search_attributes",
		},
		{
			name: "a list names the tables of its columns", router: namespace,
			query: `SELECT ev.run_id FROM executions_visibility ev LEFT JOIN custom_search_attributes USING (namespace_id, run_id) LEFT JOIN chasm_search_attributes USING (namespace_id, run_id) WHERE namespace_id = 'n' and Keyword01 = TemporalKeyword01 ORDER BY start_time DESC, run_id LIMIT ?`,
			route: Single, column: "namespace_id",
			sql: "select /*vt+ WORKLOAD_NAME=visibility PRIORITY=50 */ ev.run_id from temporal_visibility.executions_visibility as ev " +
				"left join temporal_visibility.custom_search_attributes on ev.namespace_id = custom_search_attributes.namespace_id and ev.run_id = custom_search_attributes.run_id " +
				"left join temporal_visibility.chasm_search_attributes on ev.namespace_id = chasm_search_attributes.namespace_id and ev.run_id = chasm_search_attributes.run_id " +
				"where ev.namespace_id = 'n' and custom_search_attributes.Keyword01 = chasm_search_attributes.TemporalKeyword01 order by ev.start_time desc, ev.run_id asc limit ?",
		},
		{
			name: "a list of profile spread asks every Vitess shard", router: spread,
			query: `SELECT COUNT(*) FROM executions_visibility ev LEFT JOIN custom_search_attributes USING (namespace_id, run_id) WHERE namespace_id = 'n' AND Int01 = 1`,
			route: Scatter,
			sql: "select /*vt+ WORKLOAD_NAME=visibility PRIORITY=50 ALLOW_SCATTER */ count(*) from temporal_visibility.executions_visibility as ev " +
				"left join temporal_visibility.custom_search_attributes on ev.namespace_id = custom_search_attributes.namespace_id and ev.run_id = custom_search_attributes.run_id where ev.namespace_id = 'n' and custom_search_attributes.Int01 = 1",
		},
		{
			name: "a question mark in a text is no placeholder", router: namespace,
			query: `SELECT COUNT(*) FROM executions_visibility ev WHERE namespace_id = ? AND workflow_id = 'what?' AND status = ?`,
			route: Single, column: "namespace_id",
			sql:  "select /*vt+ WORKLOAD_NAME=visibility PRIORITY=50 */ count(*) from temporal_visibility.executions_visibility as ev where namespace_id = ? and workflow_id = ? and `status` = ?",
			args: []Arg{{Index: 0}, {Index: -1, Text: "what?"}, {Index: 1}},
		},
		{
			name: "a schema change of the store's tables goes to their keyspace", router: main,
			query: "DROP TABLE schema_version", route: Passed, sql: "drop table temporal_global.schema_version",
		},
		{name: "a schema change of another table is left alone", router: main, query: "DROP TABLE mine", route: Passed, sql: "DROP TABLE mine"},
		{name: "what has no table is left alone", router: main, query: "SHOW TABLES FROM temporal", route: Passed, sql: "SHOW TABLES FROM temporal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan := test.router.Plan(test.query)
			require.NoError(t, plan.Unknown)
			require.Equal(t, test.route.String(), plan.Route.String())
			require.Equal(t, test.column, plan.Column)
			require.Equal(t, test.sql, plan.Statement.SQL)
			require.Equal(t, test.args, plan.Statement.Args)
			require.Equal(t, test.chunk, plan.Chunk)
			if test.next == "" {
				require.Nil(t, plan.Page)
			} else {
				require.NotNil(t, plan.Page)
				require.Equal(t, test.next, plan.Page.Next.SQL)
			}
			require.Same(t, plan, test.router.Plan(test.query))
		})
	}
}

func TestPagesCompareTextByItsCollation(t *testing.T) {
	r := newMainRouter(t)
	for column, text := range map[string]bool{
		"timer_info_maps/timer_id": true, "activity_info_maps/schedule_id": false, "chasm_node_maps/chasm_path": false,
	} {
		name, key, _ := strings.Cut(column, "/")
		plan := r.Plan(fmt.Sprintf("SELECT %s FROM %s WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ?", key, name))
		require.NotNil(t, plan.Page, column)
		require.Equal(t, []bool{text}, plan.Page.KeyText, column)
	}
}

func TestStatementsWithoutAPlaceAreUnknown(t *testing.T) {
	main := newMainRouter(t)
	for query, reason := range map[string]string{
		"SELEKT 1":                                                     "syntax error",
		"SELECT * FROM elsewhere":                                      "table elsewhere is in no VSchema of this store",
		"SELECT data FROM shards":                                      "it does not say which shard_id of shards it wants",
		"DELETE FROM transfer_tasks WHERE task_id = ?":                 "it does not say which shard_id",
		"SELECT data FROM executions WHERE shard_id > ?":               "it does not say which shard_id",
		"SELECT data FROM executions WHERE shard_id = ? OR run_id = ?": "it does not say which shard_id",
		"SELECT data FROM executions WHERE shard_id IN (?, ?)":         "it does not say which shard_id",
		"DELETE FROM task_queues WHERE range_hash > ?":                 "it does not say which range_hash",
		"SELECT e.data FROM executions e JOIN shards s ON e.run_id = s.data WHERE e.shard_id = ?":         "it does not say which shard_id",
		"SELECT e.data FROM executions e JOIN namespaces n ON n.id = e.namespace_id WHERE e.shard_id=?":   "are in different keyspaces",
		"SELECT data FROM executions WHERE shard_id = (SELECT MAX(shard_id) FROM shards)":                 "subquery",
		"UPDATE shards SET shard_id = ? WHERE shard_id = ?":                                               "it changes the sharding column shard_id",
		"REPLACE INTO shards (shard_id, range_id) VALUES (?, ?)":                                          "REPLACE",
		"INSERT INTO shards (range_id) VALUES (?)":                                                        "it inserts no shard_id",
		"INSERT INTO shards (range_id, shard_id) VALUES (1, 2), (3)":                                      "a row has fewer values than there are columns",
		"INSERT INTO shards (shard_id) VALUES (RAND())":                                                   "neither a placeholder nor a literal",
		"INSERT INTO shards (shard_id) SELECT shard_id FROM executions WHERE shard_id = ?":                "INSERT without VALUES",
		"SELECT data FROM shards WHERE shard_id = ? UNION SELECT data FROM executions WHERE shard_id = ?": "UNION",
		"SELECT data FROM shards WHERE shard_id = :id":                                                    "named parameter :id",
	} {
		t.Run(query, func(t *testing.T) {
			plan := main.Plan(query)
			require.Equal(t, Unknown.String(), plan.Route.String())
			require.ErrorContains(t, plan.Unknown, reason)
			require.Equal(t, query, plan.Statement.SQL)
		})
	}
}

// TestUnshardedMainTablesNeedNoShardingColumn has statements that would go to two Vitess shards of a sharded keyspace.
func TestUnshardedMainTablesNeedNoShardingColumn(t *testing.T) {
	unsharded, err := New(Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"}, MaxRows: 10000, MainUnsharded: true,
	})
	require.NoError(t, err)
	for query, sql := range map[string]string{
		"(SELECT task_id FROM tasks WHERE range_hash = ? ORDER BY task_id LIMIT ?) UNION ALL (SELECT task_id FROM tasks WHERE range_hash = ? ORDER BY task_id LIMIT ?) ORDER BY task_id LIMIT ?": "(select /*vt+ WORKLOAD_NAME=matching PRIORITY=10 */ task_id from temporal.tasks where range_hash = ? order by task_id asc limit ?) union all " +
			"(select task_id from temporal.tasks where range_hash = ? order by task_id asc limit ?) order by task_id asc limit ?",
		"DELETE FROM tasks WHERE range_hash IN (?, ?) AND task_id < ? ORDER BY task_id LIMIT ?": "delete /*vt+ WORKLOAD_NAME=matching PRIORITY=100 */ from temporal.tasks where range_hash in (?, ?) and task_id < ? order by task_id asc limit ?",
	} {
		plan := unsharded.Plan(query)
		require.NoError(t, plan.Unknown)
		require.Equal(t, Unsharded.String(), plan.Route.String())
		require.Equal(t, "temporal", plan.Keyspace)
		require.Equal(t, sql, plan.Statement.SQL)
		require.Nil(t, plan.Statement.Args)
		require.Error(t, newMainRouter(t).Plan(query).Unknown)
	}
}

func TestKeyspaceNamesAreTheOperators(t *testing.T) {
	r, err := New(Config{Keyspaces: map[vschema.Role]string{vschema.Main: "one-db", vschema.Global: "one-db"}, MaxRows: 7})
	require.NoError(t, err)
	require.Contains(t, r.Plan("SELECT data FROM shards WHERE shard_id = ?").Statement.SQL, "`one-db`.shards")
	require.Contains(t, r.Plan("SELECT id FROM namespaces WHERE partition_id = 0 AND id = ?").Statement.SQL, "`one-db`.namespaces")
	require.Equal(t, 7, r.Plan("DELETE FROM transfer_tasks WHERE shard_id = ?").Chunk)
}

func TestOneRouterServesNoTableTwice(t *testing.T) {
	_, err := New(Config{Keyspaces: map[vschema.Role]string{vschema.Main: "m", vschema.Global: "g", vschema.Visibility: "v"}, Profile: vschema.ProfileNamespace})
	require.ErrorContains(t, err, "table schema_version is in keyspaces")
}

func TestCachedPlansCostNoAllocation(t *testing.T) {
	r := newMainRouter(t)
	query := benchmarkQuery()
	r.Plan(query)
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Plan(query) }))
}

func TestLongStatementsAreNotCached(t *testing.T) {
	r := newMainRouter(t)
	query := "SELECT data FROM shards WHERE shard_id = ? AND data_encoding = '" + strings.Repeat("x", maxCachedLength) + "'"
	require.NotSame(t, r.Plan(query), r.Plan(query))
	require.Zero(t, r.plans.bytes)
}

func TestTheCacheIsBoundedByBytes(t *testing.T) {
	r := newMainRouter(t)
	text := func(i int) string {
		return fmt.Sprintf("SELECT data FROM shards WHERE shard_id = %d AND data_encoding = '%s'", i, strings.Repeat("x", maxCachedLength-100))
	}
	const inUse = "SELECT data FROM shards WHERE shard_id = ?"
	first, hot := r.Plan(text(0)), r.Plan(inUse)
	for i := range maxCachedBytes / maxCachedLength { // twice as many as fit: each text is there as asked for and as sent
		r.Plan(text(i))
		require.Same(t, hot, r.Plan(inUse), "a statement in use keeps its plan")
		require.LessOrEqual(t, r.plans.bytes, maxCachedBytes)
	}
	require.Greater(t, r.plans.bytes, maxCachedBytes-3*maxCachedLength, "the cache is not in full use")
	require.NotSame(t, first, r.Plan(text(0)), "what was not asked for since has made room")
	counted := 0
	for _, query := range r.plans.plans.Keys() {
		plan, _ := r.plans.get(query)
		counted += cachedBytes(query, plan)
	}
	require.Equal(t, counted, r.plans.bytes)
}

func TestTheCacheCountsAllTextsOfAPlan(t *testing.T) {
	r := newVisibilityRouter(t, vschema.ProfileNamespace)
	const query = "SELECT run_id FROM executions_visibility WHERE namespace_id = ? AND workflow_id = 'what?'"
	plan := r.Plan(query)
	require.NotNil(t, plan.Page)
	texts := len(query) + len(plan.Statement.SQL) + len(plan.Page.Next.SQL) + 2*len("what?")
	require.Greater(t, r.plans.bytes, texts)
	unknown := r.Plan("SELEKT 1").Unknown
	before := r.plans.bytes
	r.Plan("SELEKT 2")
	require.Equal(t, 2*len("SELEKT 2")+len(unknown.Error()), r.plans.bytes-before)
}

// FuzzPlan shows that no text makes the router fail otherwise than with a plan, and that what it writes parses.
func FuzzPlan(f *testing.F) {
	main, visibility := newMainRouter(f), newVisibilityRouter(f, vschema.ProfileSpread)
	for _, seed := range []string{
		"SELECT data FROM shards WHERE shard_id = ?",
		"SELECT ev.run_id FROM executions_visibility ev LEFT JOIN custom_search_attributes USING (namespace_id, run_id) WHERE namespace_id = 'a?' LIMIT ?",
		"INSERT INTO executions_visibility (namespace_id, run_id) VALUES (?, ?) ON DUPLICATE KEY UPDATE run_id = VALUES(run_id)",
		"DELETE FROM history_node WHERE shard_id = ? AND tree_id = ? AND node_id >= ?",
		"SELECT 'it''s \\' ?' FROM shards WHERE shard_id = -1",
		"SELECT a FROM b USING (c)", "DROP TABLE shards, x", "SELECT * FROM (SELECT 1) d JOIN shards USING (shard_id)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, r := range []*Router{main, visibility} {
			plan := r.Plan(query)
			if plan.Route == Unknown || plan.Route == Passed {
				continue
			}
			_, err := r.parser.Parse(plan.Statement.SQL)
			require.NoError(t, err, plan.Statement.SQL)
			require.Contains(t, plan.Statement.SQL, "WORKLOAD_NAME")
		}
	})
}

func benchmarkQuery() string {
	return `INSERT INTO activity_info_maps (shard_id, namespace_id, workflow_id, run_id, schedule_id, data, data_encoding) ` +
		`VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE schedule_id=VALUES(schedule_id), data=VALUES(data), data_encoding=VALUES(data_encoding)`
}

func BenchmarkPlanCached(b *testing.B) {
	r := newMainRouter(b)
	query := benchmarkQuery()
	r.Plan(query)
	b.ReportAllocs()
	for b.Loop() {
		r.Plan(query)
	}
}

func BenchmarkPlanCachedParallel(b *testing.B) {
	r := newMainRouter(b)
	query := benchmarkQuery()
	r.Plan(query)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Plan(query)
		}
	})
}

func BenchmarkPlanNew(b *testing.B) {
	r := newMainRouter(b)
	query := benchmarkQuery()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.plan(query); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheArgumentWithTheShardingValueIsKnown(t *testing.T) {
	r := newMainRouter(t)
	for query, want := range map[string]int{
		"SELECT data FROM shards WHERE shard_id = ?":                           0,
		"UPDATE shards SET range_id = ?, data = ? WHERE shard_id = ?":          2,
		"DELETE FROM transfer_tasks WHERE task_id < ? AND shard_id = ?":        1,
		"INSERT INTO transfer_tasks (task_id, shard_id) VALUES (?, ?), (?, ?)": 1,
		"SELECT data FROM shards WHERE shard_id = 7":                           -1,
		"SELECT data FROM namespaces WHERE id = ?":                             -1,
		"SELECT 1": -1,
		"SELECT e.data FROM executions e JOIN current_executions c USING (shard_id, run_id) WHERE c.shard_id = ?": 0,
	} {
		require.Equal(t, want, r.Plan(query).Value, query)
	}
}

func TestAnUpsertThatCanBeDoneTwice(t *testing.T) {
	r := newMainRouter(t)
	const insert = "INSERT INTO history_node (shard_id, node_id, data) VALUES (?, ?, ?) "
	for query, want := range map[string]struct {
		upsert   bool
		assigned [][2]int
	}{
		insert: {},
		insert + "ON DUPLICATE KEY UPDATE data = VALUES(data)":                                                   {upsert: true},
		insert + "ON DUPLICATE KEY UPDATE data = data":                                                           {upsert: true},
		insert + "ON DUPLICATE KEY UPDATE data = ?":                                                              {true, [][2]int{{2, 3}}},
		insert + "ON DUPLICATE KEY UPDATE data = ?, node_id = ?":                                                 {true, [][2]int{{2, 3}, {1, 4}}},
		insert + "ON DUPLICATE KEY UPDATE data_encoding = ?":                                                     {},
		insert + "ON DUPLICATE KEY UPDATE data = node_id":                                                        {},
		insert + "ON DUPLICATE KEY UPDATE data = CONCAT(data, ?)":                                                {},
		insert + ", (?, ?, ?) ON DUPLICATE KEY UPDATE data = ?":                                                  {},
		"INSERT INTO history_node (shard_id, node_id, data) VALUES (?, 1, 'a') ON DUPLICATE KEY UPDATE data = ?": {},
	} {
		plan := r.Plan(query)
		require.NoError(t, plan.Unknown, query)
		require.Equal(t, want.upsert, plan.Upsert, query)
		require.Equal(t, want.assigned, plan.Assigned, query)
	}
}
