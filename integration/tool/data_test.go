package tool

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// historyShards have rows in the older keyspaces, on both Vitess shards.
const historyShards = 16

// fill writes rows of the time of main 1.9 and visibility 1.2, and the versions.
func fill(t *testing.T, set string) {
	t.Helper()
	recordVersions(t, set, "1.9", "1.2")
	for id := 1; id <= historyShards; id++ {
		exec(t, set,
			fmt.Sprintf("INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (%d, 1, 'data %[1]d', 'Proto3')", id),
			fmt.Sprintf("INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding) VALUES (%d, REPEAT('n', 16), 'workflow', REPEAT('r', 16), 3, 0, 'data', 'Proto3', 'state', 'Proto3')", id),
			fmt.Sprintf("INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, last_write_version) VALUES (%d, REPEAT('n', 16), 'workflow', REPEAT('r', 16), 'request', 2, 1, 0)", id),
			fmt.Sprintf("INSERT INTO buffered_events (shard_id, namespace_id, workflow_id, run_id, data, data_encoding) VALUES (%d, REPEAT('n', 16), 'workflow', REPEAT('r', 16), 'first', 'Proto3'), (%[1]d, REPEAT('n', 16), 'workflow', REPEAT('r', 16), 'second', 'Proto3')", id),
			fmt.Sprintf("INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, data_encoding) VALUES (%d, REPEAT('t', 16), REPEAT('b', 16), 1, 5, 'events', 'Proto3')", id),
		)
		exec(t, set+"_visibility", fmt.Sprintf(
			"INSERT INTO executions_visibility (namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, encoding, search_attributes) VALUES ('namespace %d', 'run', '2024-01-02 03:04:05.678901', '2024-01-02 03:04:05', 'workflow', 'type', 1, '', '{\"BuildIds\": [\"one\"], \"BatcherUser\": \"someone\"}')", id))
	}
	exec(t, set+"_global",
		"INSERT INTO namespaces (partition_id, id, name, notification_version, data, data_encoding, is_global) VALUES (54321, REPEAT('n', 16), 'a namespace', 1, 'data', 'Proto3', 0)",
		"INSERT INTO queue (queue_type, message_id, message_payload) VALUES (1, 1, 'payload')",
		"UPDATE namespace_metadata SET notification_version = 7",
	)
}

// recordVersions writes what upstream's tool records.
func recordVersions(t *testing.T, set, main, visibility string) {
	t.Helper()
	recordVersion(t, set+"_global", set, main)
	recordVersion(t, set+"_visibility", set+"_visibility", visibility)
}

func recordVersion(t *testing.T, keyspace, database, version string) {
	t.Helper()
	exec(t, keyspace, fmt.Sprintf("INSERT INTO schema_version (version_partition, db_name, creation_time, curr_version, min_compatible_version) "+
		"VALUES (0, '%s', UTC_TIMESTAMP(6), '%s', '0.1')", database, version))
}

// requireData fails unless the rows of fill are as they were, with the values that the new columns have for them.
func requireData(t *testing.T, set string) {
	t.Helper()
	for _, check := range []struct {
		keyspace, query string
		want            int
	}{
		{set, "SELECT COUNT(*) FROM shards WHERE shard_id = %d AND data = 'data %[1]d'", 1},
		{set, "SELECT COUNT(*) FROM executions WHERE shard_id = %d AND data = 'data' AND state = 'state' AND db_record_version = 0", 1},
		{set, "SELECT COUNT(*) FROM current_executions WHERE shard_id = %d AND create_request_id = 'request' AND start_time IS NULL AND data_encoding = ''", 1},
		{set, "SELECT COUNT(*) FROM buffered_events a JOIN buffered_events b ON b.shard_id = a.shard_id AND b.id = a.id + 1 WHERE a.shard_id = %d AND a.data = 'first' AND b.data = 'second'", 1},
		{set, "SELECT COUNT(*) FROM history_node WHERE shard_id = %d AND data = 'events' AND prev_txn_id = 0", 1},
		{set + "_visibility", "SELECT COUNT(*) FROM executions_visibility WHERE namespace_id = 'namespace %d' AND start_time = '2024-01-02 03:04:05.678901' AND BatcherUser = 'someone' AND BuildIds->>'$[0]' = 'one' AND root_run_id = ''", 1},
		{set + "_global", "SELECT COUNT(*) * %d FROM namespaces WHERE name = 'a namespace' AND data = 'data' HAVING COUNT(*) = 1", 0},
		{set + "_global", "SELECT notification_version - 6 FROM namespace_metadata WHERE partition_id = 54321 AND %d > 0", 1},
		{set + "_global", "SELECT COUNT(*) FROM queue WHERE message_payload = 'payload' AND message_encoding = 'Json' AND %d > 0", 1},
	} {
		db := open(t, running.VTGateAddr(), "tool", check.keyspace)
		for id := 1; id <= historyShards; id++ {
			var found int
			require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf(check.query, id)).Scan(&found), check.query)
			want := check.want
			if want == 0 {
				want = id
			}
			require.Equal(t, want, found, check.query)
		}
	}
}
