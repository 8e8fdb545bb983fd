package compare_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"vitess.io/vitess/go/json2"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/sqlparser"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const wanted = `{
	"sharded": true,
	"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
	"tables": {
		"executions": {"column_vindexes": [{"column": "shard_id", "name": "reverse_bits"}]},
		"shards": {"column_vindexes": [{"column": "shard_id", "name": "reverse_bits"}]}
	}
}`

func parse(t *testing.T, text string) *vschemapb.Keyspace {
	t.Helper()
	keyspace := &vschemapb.Keyspace{}
	require.NoError(t, json2.UnmarshalPB([]byte(text), keyspace))
	return keyspace
}

func TestCompare(t *testing.T) {
	for name, test := range map[string]struct {
		live string
		says []string
	}{
		"the same, with other names and writing": {`{
			"sharded": true,
			"vindexes": {"bits": {"type": "reverse_bits"}},
			"tables": {
				"executions": {"column_vindexes": [{"columns": ["shard_id"], "name": "bits"}]},
				"shards": {"column_vindexes": [{"columns": ["shard_id"], "name": "bits"}]}
			}
		}`, []string{}},
		"nothing": {`{}`, []string{
			"not sharded, has an unsharded VSchema, wants a sharded one",
			"missing table, wants reverse_bits(shard_id): executions, shards",
		}},
		"all that can be wrong": {`{
			"sharded": true,
			"vindexes": {"xxhash": {"type": "xxhash"}, "cfc": {"type": "cfc", "params": {"hash": "md5", "offset": "16"}}, "old": {"type": "hash"}},
			"tables": {
				"executions": {"column_vindexes": [{"column": "namespace_id", "name": "xxhash"}, {"column": "run_id", "name": "xxhash"}]},
				"shards": {"column_vindexes": [{"column": "shard_id", "name": "cfc"}], "auto_increment": {"column": "id", "sequence": "seq"}},
				"orders": {"column_vindexes": [{"column": "id", "name": "xxhash"}]},
				"colours": {"type": "reference"}
			}
		}`, []string{
			"wrong sharding column, has xxhash(namespace_id), wants reverse_bits(shard_id): executions",
			"wrong vindex function, has cfc(hash=md5, offset=16)(shard_id), wants reverse_bits(shard_id): shards",
			"unknown vindex, has xxhash(run_id): executions",
			"unknown sequence, has id from seq: shards",
			"unknown table, has a reference table: colours",
			"unknown table, has xxhash(id): orders",
			"unknown vindex, has old, which no table uses",
		}},
		"a reference table": {`{
			"sharded": true,
			"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
			"tables": {
				"executions": {"column_vindexes": [{"column": "shard_id", "name": "reverse_bits"}]},
				"shards": {"type": "reference"}
			}
		}`, []string{"wrong table type, has a reference table, wants reverse_bits(shard_id): shards"}},
	} {
		t.Run(name, func(t *testing.T) {
			live := parse(t, test.live)
			assert.Equal(t, test.says, compare.Lines(compare.Compare(live, parse(t, wanted))))

			// What is merged has nothing left but what is unknown, and is valid.
			merged := compare.Merge(live, parse(t, wanted))
			for _, d := range compare.Compare(merged, parse(t, wanted)) {
				assert.True(t, d.Unknown(), "%s", d)
			}
			for name := range live.Tables {
				assert.Contains(t, merged.Tables, name)
			}
			left := compare.DropUnknown(merged, parse(t, wanted))
			assert.Empty(t, compare.Compare(left, parse(t, wanted)))
			_, err := vindexes.BuildKeyspace(left, sqlparser.NewTestParser())
			assert.NoError(t, err)
		})
	}
}

func TestMergeKeepsVindexesOfTheSameName(t *testing.T) {
	live := parse(t, `{
		"sharded": true,
		"vindexes": {"reverse_bits": {"type": "hash"}},
		"tables": {"orders": {"column_vindexes": [{"column": "id", "name": "reverse_bits"}]}}
	}`)
	merged := compare.Merge(live, parse(t, wanted))
	assert.Equal(t, "hash", merged.Vindexes["reverse_bits"].Type)
	assert.Equal(t, "temporal_reverse_bits", merged.Tables["executions"].ColumnVindexes[0].Name)
	assert.Equal(t, "reverse_bits", merged.Vindexes["temporal_reverse_bits"].Type)
}

func TestKeepFunctions(t *testing.T) {
	const hashed = `{
		"sharded": true,
		"vindexes": {"mine": {"type": "xxhash"}, "other": {"type": "hash"}},
		"tables": {"executions": {"column_vindexes": [{"column": "shard_id", "name": "mine"}]}`
	t.Run("a missing table joins the others of its column", func(t *testing.T) {
		live := parse(t, hashed+`}}`)
		kept := compare.KeepFunctions(parse(t, wanted), live)
		assert.Equal(t, []string{
			"missing table, wants xxhash(shard_id): shards",
			"unknown vindex, has other, which no table uses",
		}, compare.Lines(compare.Compare(live, kept)))
		assert.Equal(t, "mine", compare.Merge(live, kept).Tables["shards"].ColumnVindexes[0].Name)
	})
	t.Run("not where tables disagree", func(t *testing.T) {
		live := parse(t, hashed+`, "shards": {"column_vindexes": [{"column": "shard_id", "name": "other"}]}}}`)
		assert.Equal(t, []string{
			"wrong vindex function, has xxhash(shard_id), wants reverse_bits(shard_id): executions",
			"wrong vindex function, has hash(shard_id), wants reverse_bits(shard_id): shards",
		}, compare.Lines(compare.Compare(live, compare.KeepFunctions(parse(t, wanted), live))))
	})
}

func TestWanted(t *testing.T) {
	keyspace, err := compare.Wanted(vschema.Main, "", "xxhash")
	require.NoError(t, err)
	for name, column := range map[string]string{"executions": "shard_id", "tasks_v2": "range_hash", "task_queue_user_data": "namespace_id"} {
		has, vindex := compare.Primary(keyspace, name)
		assert.Equal(t, column, has)
		assert.Equal(t, "xxhash", vindex.Type)
	}
	assert.NotContains(t, keyspace.Vindexes, "reverse_bits")

	visibility, err := compare.Wanted(vschema.Visibility, vschema.ProfileSpread, "hash")
	require.NoError(t, err)
	column, vindex := compare.Primary(visibility, "executions_visibility")
	assert.Equal(t, "run_id", column)
	assert.Equal(t, "unicode_loose_xxhash", vindex.Type)

	for _, function := range []string{"sha", "lookup_unique", "region_json", "null_or_what"} {
		_, err = compare.Wanted(vschema.Main, "", function)
		assert.ErrorContains(t, err, `vindex function "`+function+`"`)
	}
	_, err = compare.Wanted(vschema.Visibility, "mixed", "")
	assert.ErrorContains(t, err, "profiles are [namespace spread]")
}

func TestServed(t *testing.T) {
	topology := parse(t, wanted)
	assert.Empty(t, compare.Served(parse(t, `{
		"sharded": true,
		"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
		"tables": {
			"executions": {"column_vindexes": [{"columns": ["shard_id"], "name": "reverse_bits"}]},
			"shards": {"column_vindexes": [{"columns": ["shard_id"], "name": "reverse_bits"}]}
		}
	}`), topology))
	assert.Empty(t, compare.Served(parse(t, `{"tables": {"queue": {}, "exists": {}}}`), parse(t, `{"tables": {"queue": {"type": "sequence"}}}`)))
	for name, test := range map[string]struct {
		served string
		says   []string
	}{
		"nothing": {`{}`, []string{"has an unsharded VSchema, wants a sharded VSchema"}},
		"an older one": {`{
			"sharded": true,
			"vindexes": {"hash": {"type": "hash"}},
			"tables": {
				"executions": {"column_vindexes": [{"column": "shard_id", "name": "hash"}]},
				"orders": {"column_vindexes": [{"column": "id", "name": "hash"}]}
			}
		}`, []string{
			"has vindex hash using hash, wants no vindex hash",
			"has no vindex reverse_bits, wants vindex reverse_bits using reverse_bits",
			"has hash(shard_id), wants reverse_bits(shard_id): executions",
			"wants reverse_bits(shard_id): shards",
			"has hash(id), wants no such table: orders",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var says []string
			for _, line := range compare.Lines(compare.Served(parse(t, test.served), topology)) {
				says = append(says, strings.TrimPrefix(line, string(compare.NotServed)+", "))
			}
			assert.Equal(t, test.says, says)
		})
	}
}
