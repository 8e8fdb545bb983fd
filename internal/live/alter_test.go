package live_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"vitess.io/vitess/go/json2"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

func parse(t *testing.T, text string) *vschemapb.Keyspace {
	t.Helper()
	keyspace := &vschemapb.Keyspace{}
	require.NoError(t, json2.UnmarshalPB([]byte(text), keyspace))
	return keyspace
}

const sharded = `{
	"sharded": true,
	"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
	"tables": {"shards": {"column_vindexes": [{"column": "shard_id", "name": "reverse_bits"}]}}
}`

func TestAlterStatements(t *testing.T) {
	for name, test := range map[string]struct {
		live, target string
		statements   []string
	}{
		"nothing to do, however a column is written": {
			`{"sharded": true, "vindexes": {"reverse_bits": {"type": "reverse_bits"}}, "tables": {"shards": {"column_vindexes": [{"columns": ["shard_id"], "name": "reverse_bits"}]}}}`,
			sharded, nil,
		},
		"a new keyspace": {`{}`, sharded, []string{
			"ALTER VSCHEMA CREATE VINDEX `my-keys`.reverse_bits USING reverse_bits",
			"ALTER VSCHEMA ON `my-keys`.shards ADD VINDEX reverse_bits (shard_id)",
		}},
		"a new unsharded keyspace": {`{}`, `{"tables": {"queue": {}, "table": {}}}`, []string{
			"ALTER VSCHEMA ADD TABLE `my-keys`.queue",
			"ALTER VSCHEMA ADD TABLE `my-keys`.`table`",
		}},
		"another vindex, and nothing unknown": {`{
			"sharded": true,
			"vindexes": {"hash": {"type": "hash"}},
			"tables": {
				"shards": {"column_vindexes": [{"column": "id", "name": "hash"}], "auto_increment": {"column": "id", "sequence": "seq"}},
				"orders": {"column_vindexes": [{"column": "id", "name": "hash"}]}
			}
		}`, sharded, []string{
			"ALTER VSCHEMA CREATE VINDEX `my-keys`.reverse_bits USING reverse_bits",
			"ALTER VSCHEMA ON `my-keys`.shards DROP AUTO_INCREMENT",
			"ALTER VSCHEMA ON `my-keys`.shards ADD VINDEX reverse_bits (shard_id)",
			"ALTER VSCHEMA ON `my-keys`.shards DROP VINDEX `hash`",
			"ALTER VSCHEMA DROP TABLE `my-keys`.orders",
			"ALTER VSCHEMA DROP VINDEX `my-keys`.`hash`",
		}},
		"a further vindex goes, and the first one stays": {`{
			"sharded": true,
			"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
			"tables": {"shards": {"column_vindexes": [{"column": "shard_id", "name": "reverse_bits"}, {"column": "range_id", "name": "hash"}]}}
		}`, sharded, []string{
			"ALTER VSCHEMA ON `my-keys`.shards DROP VINDEX `hash`",
		}},
		"another column by a vindex of the same name": {`{
			"sharded": true,
			"vindexes": {"reverse_bits": {"type": "reverse_bits"}},
			"tables": {"shards": {"column_vindexes": [{"column": "id", "name": "reverse_bits"}]}}
		}`, sharded, []string{
			"ALTER VSCHEMA ON `my-keys`.shards DROP VINDEX reverse_bits",
			"ALTER VSCHEMA ON `my-keys`.shards ADD VINDEX reverse_bits (shard_id)",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			statements, err := live.AlterStatements("my-keys", parse(t, test.live), parse(t, test.target))
			require.NoError(t, err)
			assert.Equal(t, test.statements, statements)
			for _, statement := range statements {
				_, err := sqlparser.NewTestParser().Parse(statement)
				assert.NoError(t, err, statement)
			}
		})
	}
}

func TestChangesWithoutAlterStatement(t *testing.T) {
	for says, test := range map[string]struct{ live, target string }{
		"ALTER VSCHEMA cannot say whether a keyspace is sharded":        {`{"vindexes": {"reverse_bits": {"type": "reverse_bits"}}}`, sharded},
		"ALTER VSCHEMA cannot say whether a keyspace is sharded, but w": {sharded, `{}`},
		"ALTER VSCHEMA cannot make table shards an ordinary one":        {`{"sharded": true, "tables": {"shards": {"type": "reference"}}}`, sharded},
	} {
		_, err := live.AlterStatements("keyspace", parse(t, test.live), parse(t, test.target))
		assert.ErrorContains(t, err, says)
		assert.ErrorContains(t, err, "give --vtctld")
	}
}
