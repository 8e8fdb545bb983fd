package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestPrintVSchema(t *testing.T) {
	out, err := run(t, "--keyspace", "prod", "--visibility-profile", "spread", "vschema", "print", "prod_visibility")
	require.NoError(t, err)
	want, err := vschema.JSON(vschema.Visibility, vschema.ProfileSpread)
	require.NoError(t, err)
	require.JSONEq(t, string(want), out)

	out, err = run(t, "--keyspace", "prod", "vschema", "print", "--vindex-function", "xxhash")
	require.NoError(t, err)
	var all map[string]vschema.Keyspace
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Len(t, all, 3)
	assert.Equal(t, map[string]vschema.Vindex{"xxhash": {Type: "xxhash"}}, all["prod"].Vindexes)
	assert.Contains(t, all["prod_global"].Tables, "namespaces")
}

func TestBalance(t *testing.T) {
	out, err := run(t, "balance", "--history-shards", "512", "--vitess-shards", "-40,40-80,80-")
	require.NoError(t, err)
	require.Equal(t, `512 history shards on 3 Vitess shards by reverse_bits(shard_id)

Vitess shard  history shards  over mean  
-40           128             0.750      ████████████████████
40-80         128             0.750      ████████████████████
80-           256             1.500      ████████████████████████████████████████

The fullest Vitess shard has 1.500 times the mean.
Powers of two divide exactly with reverse_bits: 512 history shards on 4 Vitess shards.
The key ranges are not of equal size: split the larger ones.
`, out)

	file := filepath.Join(t.TempDir(), "vschema.json")
	out, err = run(t, "vschema", "print", "--vindex-function", "hash", "temporal")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(out), 0o600))
	out, err = run(t, "balance", "--history-shards", "512", "--vitess-shards", "2", "--vschema", file)
	require.NoError(t, err)
	assert.Contains(t, out, "512 history shards on 2 Vitess shards by hash(shard_id)\n")
}

func TestBalanceRefusesWhatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vschema.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"sharded": true, "tables": {"orders": {}}}`), 0o600))
	for _, test := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"--vitess-shards", "2"}, `"history-shards" not set`},
		{[]string{"--history-shards", "0", "--vitess-shards", "2"}, "--history-shards: 0 is not between 1 and "},
		{[]string{"--history-shards", "4"}, "--vitess-shards is missing: give it, or --live"},
		{[]string{"--history-shards", "4", "--vitess-shards", "two"}, `--vitess-shards: "two" is neither a number nor key ranges`},
		{[]string{"--history-shards", "4", "--vitess-shards", "-40,80-"}, "80- does not start where the one before ends"},
		{[]string{"--history-shards", "4", "--vitess-shards", "2", "--vindex-function", "hash", "--vschema", file}, "--vschema and --vindex-function exclude each other"},
		{[]string{"--history-shards", "4", "--vitess-shards", "2", "--vschema", file}, "no table of the VSchema is divided by shard_id"},
		{[]string{"--history-shards", "4", "--vitess-shards", "2", "--vschema", file + "s"}, "no such file"},
		{[]string{"--history-shards", "4", "--vitess-shards", "2", "--vindex-function", "lookup"}, "does not take a history shard to one Vitess shard by itself"},
	} {
		_, err := run(t, append([]string{"balance"}, test.arguments...)...)
		require.ErrorContains(t, err, test.says)
	}
}
