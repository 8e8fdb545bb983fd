package toolvschema

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"vitess.io/vitess/go/json2"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// ways are the two ways to reach a VSchema, as flags.
func ways() map[string][]string {
	return map[string][]string{"vtctld": throughVTCtld(), "vtgate": nil}
}

func TestApplyOnNewKeyspaces(t *testing.T) {
	for way, flags := range ways() {
		t.Run("through "+way, func(t *testing.T) {
			run := func(arguments ...string) (string, error) {
				return tool(t, running, way, append(flags, arguments...)...)
			}
			out, err := run("vschema", "diff")
			require.ErrorContains(t, err, "to mend with vschema apply")
			assert.Contains(t, out, "keyspace "+way+":\n  not sharded, ")
			assert.Contains(t, out, "missing table, wants reverse_bits(range_hash): task_queues, task_queues_v2, tasks, tasks_v2\n")

			out, err = run("vschema", "apply")
			require.NoError(t, err, out)
			assert.Contains(t, out, "keyspace "+way+"_visibility: applied, and served by vtgate\n")

			out, err = run("vschema", "apply")
			require.NoError(t, err, out)
			assert.Equal(t, 3, strings.Count(out, ": nothing to do\n"), out)

			// Whoever applied it, vtctld and vtgate agree.
			for _, flags := range ways() {
				out, err = tool(t, running, way, append(flags, "vschema", "diff")...)
				require.NoError(t, err, out)
			}
		})
	}
}

func TestWhatIsUnknownStaysUntilItIsDropped(t *testing.T) {
	_, err := tool(t, running, "others", "vschema", "apply")
	require.NoError(t, err)
	for way, flags := range ways() {
		t.Run("through "+way, func(t *testing.T) {
			run := func(arguments ...string) (string, error) {
				return tool(t, running, "others", append(flags, arguments...)...)
			}
			execute(t,
				"ALTER VSCHEMA ON others.orders ADD VINDEX hash (customer_id) USING hash",
				"ALTER VSCHEMA ON others.executions ADD VINDEX hash (namespace_id)",
				"ALTER VSCHEMA DROP TABLE others.shards",
			)
			out, err := run("vschema", "diff", "others")
			require.ErrorContains(t, err, "1 to mend with vschema apply, 2 unknown")
			assert.Contains(t, out, "unknown table, has hash(customer_id): orders\n")
			assert.Contains(t, out, "unknown vindex, has hash(namespace_id): executions\n")

			out, err = run("vschema", "apply")
			require.NoError(t, err, out)
			assert.Contains(t, out, "what is unknown stays: --drop-unknown removes it")

			_, err = run("vschema", "diff", "others")
			require.ErrorContains(t, err, "--ignore-unknown accepts what others have there, vschema apply --drop-unknown removes it")
			out, err = run("vschema", "diff", "--ignore-unknown", "others")
			require.NoError(t, err, out)

			out, err = run("vschema", "apply", "--drop-unknown", "others")
			require.NoError(t, err, out)
			out, err = run("vschema", "diff")
			require.NoError(t, err, out)
		})
	}
}

func TestSequencesAreSeenThroughVTCtldOnly(t *testing.T) {
	t.Cleanup(func() { execute(t, "ALTER VSCHEMA ON others.buffered_events DROP AUTO_INCREMENT") })
	_, err := tool(t, running, "others", "vschema", "apply")
	require.NoError(t, err)
	execute(t, "ALTER VSCHEMA ON others.buffered_events ADD AUTO_INCREMENT id USING others_global.buffered_events_seq")

	out, err := tool(t, running, "others", throughVTCtld("vschema", "diff", "others")...)
	require.ErrorContains(t, err, "that it does not know")
	assert.Contains(t, out, "unknown sequence, has id from others_global.buffered_events_seq: buffered_events\n")

	out, err = tool(t, running, "others", "vschema", "diff", "others")
	require.NoError(t, err)
	assert.Contains(t, out, "vtgate does not show sequences, types of tables and column lists: give --vtctld to see them\n")
}

func TestVindexOfATableWithRowsStays(t *testing.T) {
	_, err := tool(t, running, withRows, "vschema", "apply")
	require.NoError(t, err)
	for way, flags := range ways() {
		t.Run("through "+way, func(t *testing.T) {
			run := func(arguments ...string) (string, error) {
				return tool(t, running, withRows, append(flags, arguments...)...)
			}
			execute(t, "INSERT INTO filled.shards (shard_id) VALUES (1)")
			for _, yes := range []string{"--yes=false", "--yes"} {
				out, err := run("vschema", "apply", "--vindex-function", "xxhash", yes)
				require.ErrorContains(t, err, "table filled.shards has rows on Vitess shard 80-, which vtgate would no longer find")
				require.ErrorContains(t, err, "MoveTables")
				assert.Contains(t, out, "wrong vindex function, has reverse_bits(shard_id), wants xxhash(shard_id): activity_info_maps, ")
			}
			out, err := run("vschema", "diff", "--vindex-function", "reverse_bits")
			require.NoError(t, err, out)

			execute(t, "DELETE FROM filled.shards WHERE shard_id = 1")
			_, err = run("vschema", "apply", "--vindex-function", "xxhash")
			require.ErrorContains(t, err, "nothing has been done, since tables in the VSchema would get another vindex (25)")
			out, err = run("vschema", "apply", "--vindex-function", "xxhash", "--yes")
			require.NoError(t, err, out)

			_, err = run("vschema", "diff", "--vindex-function", "reverse_bits")
			require.ErrorContains(t, err, "25 to mend")
			// Without the flag, the function that is there is right.
			out, err = run("vschema", "diff", "--ignore-unknown")
			require.NoError(t, err, out)
			out, err = run("vschema", "apply", "--vindex-function", "reverse_bits", "--yes")
			require.NoError(t, err, out)
		})
	}
}

func TestTableThatExistsWithoutVSchemaIsMissing(t *testing.T) {
	_, err := tool(t, running, withRows, "vschema", "apply")
	require.NoError(t, err)
	for way, flags := range ways() {
		t.Run("through "+way, func(t *testing.T) {
			execute(t, "ALTER VSCHEMA DROP TABLE filled.shards")
			out, err := tool(t, running, withRows, append(flags, "vschema", "diff", "--ignore-unknown")...)
			require.ErrorContains(t, err, "1 to mend")
			assert.Contains(t, out, "missing table, wants reverse_bits(shard_id): shards\n")
			out, err = tool(t, running, withRows, append(flags, "vschema", "apply")...)
			require.NoError(t, err, out)
			execute(t, "DELETE FROM filled.shards WHERE shard_id = 1")
		})
	}
}

func TestApplyWithoutRights(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	guarded, err := cluster.Start(ctx, cluster.Config{
		Keyspaces:    newKeyspaces("guarded"),
		VTComboFlags: []string{"--vschema-ddl-authorized-users=somebody"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, guarded.Stop()) })

	_, err = tool(t, guarded, "guarded", "vschema", "apply")
	require.ErrorContains(t, err, "VSchema of keyspace guarded: ")
	require.ErrorContains(t, err, "allow the user with vtgate's --vschema-ddl-authorized-users, or give --vtctld, or write files for somebody who may with --emit")

	out, err := tool(t, guarded, "guarded", "--vtctld", guarded.VTCtldAddr(), "vschema", "apply")
	require.NoError(t, err, out)
}

func TestEmittedChangesAreThoseThatApplyMakes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	out, err := tool(t, running, "emitted", throughVTCtld("vschema", "apply", "--emit", folder)...)
	require.NoError(t, err, out)
	text, err := os.ReadFile(filepath.Join(folder, "emitted.vschema.json"))
	require.NoError(t, err)
	emitted := &vschemapb.Keyspace{}
	require.NoError(t, json2.UnmarshalPB(text, emitted))
	wanted, err := compare.Wanted(vschema.Main, vschema.ProfileNamespace, "")
	require.NoError(t, err)
	assert.True(t, proto.Equal(wanted, emitted), "%s", text)

	// Nothing has changed yet, and the statements do it.
	_, err = tool(t, running, "emitted", "vschema", "diff")
	require.ErrorContains(t, err, "to mend")
	for _, set := range newKeyspaces("emitted") {
		text, err := os.ReadFile(filepath.Join(folder, set.Name+".vschema.sql"))
		require.NoError(t, err)
		execute(t, strings.Split(strings.TrimSuffix(string(text), ";\n"), ";\n")...)
	}
	out, err = tool(t, running, "emitted", throughVTCtld("vschema", "diff")...)
	require.NoError(t, err, out)
}

func TestDiffAsJSON(t *testing.T) {
	_, err := tool(t, running, "others", "vschema", "apply")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := tool(t, running, "others", "vschema", "apply")
		assert.NoError(t, err)
	})
	execute(t, "ALTER VSCHEMA DROP TABLE others.shards")
	out, err := tool(t, running, "others", throughVTCtld("vschema", "diff", "--output", "json", "others")...)
	require.ErrorContains(t, err, "1 to mend")
	var results []struct {
		Keyspace    string
		Whole       bool
		Differences []compare.Difference
	}
	require.NoError(t, json.Unmarshal([]byte(out), &results))
	require.Len(t, results, 1)
	assert.True(t, results[0].Whole)
	assert.Equal(t, []compare.Difference{{Kind: compare.MissingTable, Table: "shards", Wanted: "reverse_bits(shard_id)"}}, results[0].Differences)
}

func TestKeyspacesThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"--keyspace", "nowhere", "vschema", "apply"}, "there is no keyspace nowhere, there are "},
		{[]string{"--global-keyspace", "planned_visibility", "--visibility-keyspace", "others_visibility", "vschema", "apply"}, "keyspace planned_visibility has 2 Vitess shards, but its tables exist once per cluster"},
		{[]string{"vschema", "apply", "other"}, `"other" is none of the keyspaces planned, planned_global and planned_visibility`},
		{[]string{"vschema", "apply", "planned", "--yes"}, `"--yes" is none of the keyspaces`},
		{[]string{"vschema", "diff", "--vindex-function", "lookup"}, `vindex function "lookup" does not take a number to one Vitess shard by itself`},
		{[]string{"vschema", "diff", "--vindex-function", "sha"}, `vindex function "sha": `},
	} {
		_, err := tool(t, running, "planned", test.arguments...)
		assert.ErrorContains(t, err, test.says)
	}
}

func TestUnshardedKeyspaceWithATableOfOthersStays(t *testing.T) {
	execute(t, "CREATE TABLE tables_global.orders (id INT NOT NULL PRIMARY KEY)")
	for way, flags := range ways() {
		t.Run("through "+way, func(t *testing.T) {
			for _, drop := range []string{"--drop-unknown=false", "--drop-unknown"} {
				arguments := append(flags, "--keyspace", "tables_global", "--global-keyspace", "tables", "vschema", "apply", drop, "--yes", "tables_global")
				_, err := tool(t, running, "tables", arguments...)
				require.ErrorContains(t, err, "keyspace tables_global is unsharded and has tables of others, which would need vindexes to be sharded (orders): name a keyspace of Temporal's own")
			}
		})
	}
}

func TestKeyspacesOfOthersStayAsTheyAre(t *testing.T) {
	execute(t, "ALTER VSCHEMA ADD TABLE shared.orders", "ALTER VSCHEMA CREATE VINDEX shared_global.hash USING hash")
	for way, flags := range ways() {
		t.Run("through "+way, func(t *testing.T) {
			_, err := tool(t, running, "shared", append(flags, "vschema", "apply", "--yes", "shared")...)
			require.ErrorContains(t, err, "keyspace shared is unsharded and has tables of others, which would need vindexes to be sharded (orders): name a keyspace of Temporal's own")
			_, err = tool(t, running, "shared", append(flags, "vschema", "apply", "--yes", "shared_global")...)
			require.ErrorContains(t, err, "keyspace shared_global has a sharded VSchema, but its tables exist once per cluster: name an unsharded one (--global-keyspace)")
		})
	}
}
