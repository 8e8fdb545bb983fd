package toolvschema

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRoutingPlan(t *testing.T) {
	_, err := tool(t, running, "planned", "vschema", "apply")
	require.NoError(t, err)
	for _, test := range []struct {
		name      string
		arguments []string
		says      []string
	}{
		{
			"one history shard",
			[]string{"SELECT range_id FROM shards WHERE shard_id = ?"},
			[]string{"statement      select /*vt+ WORKLOAD_NAME=history PRIORITY=10 */ range_id from planned.shards where shard_id = ?\n", "keyspace       planned\n",
				"vindex         reverse_bits(shard_id)\n", "plan           Route EqualUnique\n", "Vitess shards  1 of 2\n"},
		},
		{
			"several values on one Vitess shard",
			[]string{"--as-is", "SELECT range_id FROM planned.shards WHERE shard_id IN (2, 4, 6)"},
			[]string{"plan           Route IN\n", "Vitess shards  1 of 2\n"},
		},
		{
			"several values on several Vitess shards",
			[]string{"--as-is", "SELECT range_id FROM planned.shards WHERE shard_id IN (1, 2)"},
			[]string{"Vitess shards  2 of 2\n", "why            its values of reverse_bits(shard_id) belong to 2 Vitess shards\n"},
		},
		{
			"several values that are not known",
			[]string{"--as-is", "SELECT range_id FROM planned.shards WHERE shard_id IN (?, ?)"},
			[]string{"plan           Route IN\n", "Vitess shards  2 of 2\n", "why            its values of reverse_bits(shard_id) may belong to 2 Vitess shards\n"},
		},
		{
			"a list that is not known",
			[]string{"--as-is", "SELECT range_id FROM planned.shards WHERE shard_id IN ::ids"},
			[]string{"Vitess shards  2 of 2\n"},
		},
		{
			"two tables by one value",
			[]string{"--as-is", "SELECT 1 FROM planned.shards JOIN planned.executions USING (shard_id) WHERE shard_id = ?"},
			[]string{"Vitess shards  1 of 2\n"},
		},
		{
			"two tables by two values",
			[]string{"--as-is", "SELECT 1 FROM planned.shards s JOIN planned.executions e WHERE s.shard_id = ? AND e.shard_id = ?"},
			[]string{"plan           Route EqualUnique + Route EqualUnique\n", "Vitess shards  2 of 2\n", "why            the plan has 2 parts\n"},
		},
		{
			"rows of one Vitess shard",
			[]string{"--as-is", "INSERT INTO planned.shards (shard_id) VALUES (2), (4)"},
			[]string{"plan           Insert Sharded\n", "Vitess shards  1 of 2\n"},
		},
		{
			"rows of several Vitess shards",
			[]string{"--as-is", "INSERT INTO planned.shards (shard_id) VALUES (1), (2)"},
			[]string{"Vitess shards  2 of 2\n"},
		},
		{
			"no sharding column",
			[]string{"--as-is", "DELETE FROM planned.shards WHERE range_id = 1"},
			[]string{"vindex         -\n", "plan           Delete Scatter\n", "Vitess shards  2 of 2\n", "why            no condition fixes the column of reverse_bits(shard_id)\n"},
		},
		{
			"unsharded",
			[]string{"SELECT id FROM namespaces WHERE name = ?"},
			[]string{"keyspace       planned_global\n", "vindex         -\n", "plan           Route Unsharded\n", "Vitess shards  1 of 1\n"},
		},
		{
			"visibility",
			[]string{"SELECT run_id FROM executions_visibility WHERE namespace_id = ?"},
			[]string{"keyspace       planned_visibility\n", "vindex         unicode_loose_xxhash(namespace_id)\n"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := tool(t, running, "planned", append([]string{"routing-plan"}, test.arguments...)...)
			require.NoError(t, err)
			for _, line := range test.says {
				assert.Contains(t, out, line)
			}
		})
	}

	const limited = "SELECT data, data_encoding FROM buffered_events WHERE shard_id = ? AND namespace_id = ? AND workflow_id = ? AND run_id = ? ORDER BY id"
	_, err = tool(t, running, "planned", "routing-plan", "SELECT range_id FROM shards")
	require.ErrorContains(t, err, "the plugin does not place this statement: ")
	_, err = tool(t, running, "planned", "routing-plan", "--as-is", "SELECT 1 FROM planned.nowhere")
	require.ErrorContains(t, err, "vtgate refuses it: ")
	out, err := tool(t, running, "planned", "--connect-attributes", "vitess_max_rows=7", "routing-plan", limited)
	require.NoError(t, err)
	assert.Contains(t, out, " limit 7\n")
	_, err = tool(t, running, "planned", "--connect-attributes", "vitess_max_rows=0", "routing-plan", limited)
	require.ErrorContains(t, err, `vitess_max_rows is "0"`)
	out, err = tool(t, running, "planned", "routing-plan", "--output", "json", "--as-is", "SELECT 1 FROM planned.nowhere")
	require.ErrorContains(t, err, "vtgate refuses it: ")
	assert.Contains(t, out, `"refused": true`)
}

func TestRoutingPlanOfAllStatements(t *testing.T) {
	_, err := tool(t, running, "planned", "vschema", "apply")
	require.NoError(t, err)
	out, err := tool(t, running, "planned", "routing-plan", "--all")
	require.NoError(t, err, out)
	assert.Contains(t, out, "SelectFromTaskQueues: on purpose, as background work")

	t.Cleanup(func() {
		_, err := tool(t, running, "planned", "vschema", "apply", "--yes")
		assert.NoError(t, err)
	})
	execute(t,
		"ALTER VSCHEMA DROP TABLE planned.buffered_events",
		"ALTER VSCHEMA ON planned.shards DROP VINDEX reverse_bits",
		"ALTER VSCHEMA ON planned.shards ADD VINDEX reverse_bits (range_id)",
	)
	out, err = tool(t, running, "planned", "routing-plan", "--all")
	require.ErrorContains(t, err, "statements do not go where they should: look at vschema diff")
	assert.Contains(t, out, "DeleteFromBufferedEvents: wrong\n  vtgate refuses it: ")
	assert.Contains(t, out, "WriteLockShards: wrong\n  no condition fixes the column of reverse_bits(range_id)")
}

func TestNamesThatNeedQuoting(t *testing.T) {
	for _, set := range quoted {
		t.Run(set[0], func(t *testing.T) {
			run := func(arguments ...string) string {
				t.Helper()
				out, err := tool(t, running, set[0], append([]string{"--global-keyspace", set[1], "--visibility-keyspace", set[2]}, arguments...)...)
				require.NoError(t, err, out)
				return out
			}
			run("vschema", "apply")
			out := run("routing-plan", "SELECT range_id FROM shards WHERE shard_id = ?")
			assert.Contains(t, out, "keyspace       "+set[0]+"\nvindex         reverse_bits(shard_id)\n")
			assert.Contains(t, out, "Vitess shards  1 of 2\n")
			out = run("routing-plan", "SELECT id FROM namespaces WHERE name = ?")
			assert.Contains(t, out, "keyspace       "+set[1]+"\n")
			out = run("routing-plan", "SELECT run_id FROM executions_visibility WHERE namespace_id = ?")
			assert.Contains(t, out, "keyspace       "+set[2]+"\nvindex         unicode_loose_xxhash(namespace_id)\n")
			out = run("routing-plan", "--as-is", "INSERT INTO `"+set[0]+"`.shards (shard_id) VALUES (1), (2)")
			assert.Contains(t, out, "Vitess shards  2 of 2\n")
			out = run("routing-plan", "--all")
			assert.Contains(t, out, ", 0 wrong\n")
			out = run("doctor", "--check", "keyspaces", "--check", "vschema", "--check", "statements")
			assert.Contains(t, out, "PASS  statements: ")
		})
	}
}

func TestProfileSpread(t *testing.T) {
	const profile = "--visibility-profile"
	_, err := tool(t, running, "spread", profile, "spread", "vschema", "apply")
	require.NoError(t, err)
	out, err := tool(t, running, "spread", profile, "spread", "routing-plan", "--all")
	require.NoError(t, err, out)
	assert.Contains(t, out, "List \"\": on purpose, as background work or a list of the profile spread\n  no condition fixes the column of unicode_loose_xxhash(run_id)\n")

	// The wrong profile is told apart, and not applied without a word.
	out, err = tool(t, running, "spread", profile, "namespace", "vschema", "diff")
	require.ErrorContains(t, err, "3 to mend")
	assert.Contains(t, out, "wrong sharding column, has unicode_loose_xxhash(run_id), wants unicode_loose_xxhash(namespace_id): chasm_search_attributes, custom_search_attributes, executions_visibility\n")
	_, err = tool(t, running, "spread", profile, "namespace", "vschema", "apply")
	require.ErrorContains(t, err, "repeat with --yes")
}

func TestBalanceOfALiveKeyspace(t *testing.T) {
	_, err := tool(t, running, "others", "vschema", "apply")
	require.NoError(t, err)
	out, err := tool(t, running, "others", "balance", "--history-shards", "512", "--live")
	require.NoError(t, err)
	assert.Contains(t, out, "512 history shards on 2 Vitess shards by reverse_bits(shard_id)\n")
	assert.Contains(t, out, "-80           256             1.000 ")
}
