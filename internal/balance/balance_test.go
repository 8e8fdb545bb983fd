package balance_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"

	"github.com/temporal-vitess/temporal-vitess/internal/balance"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func TestCompute(t *testing.T) {
	for name, test := range map[string]struct {
		function      string
		historyShards int
		shards        []string
		counts        []int
		advice        []string // a part of each sentence
	}{
		"powers of two":      {"reverse_bits", 128, []string{"-40", "40-80", "80-c0", "c0-"}, []int{32, 32, 32, 32}, nil},
		"one Vitess shard":   {"reverse_bits", 4, []string{"0"}, []int{4}, nil},
		"in any order":       {"reverse_bits", 64, []string{"80-", "-80"}, []int{32, 32}, nil},
		"a hash":             {"hash", 512, []string{"-80", "80-"}, []int{241, 271}, []string{"hash gives some Vitess shards more"}},
		"unequal key ranges": {"reverse_bits", 64, []string{"-80", "80-c0", "c0-"}, []int{32, 16, 16}, []string{"64 history shards on 4 Vitess shards", "not of equal size"}},
		"few history shards": {"reverse_bits", 4, []string{"-80", "80-"}, []int{2, 2}, []string{"2 history shards on a Vitess shard leave little to divide"}},
		"too few of them":    {"reverse_bits", 1, []string{"-80", "80-"}, []int{0, 1}, []string{"take at least 2 history shards, 32 are better"}},
	} {
		t.Run(name, func(t *testing.T) {
			shards, err := balance.Named(test.shards...)
			require.NoError(t, err)
			b, err := balance.Compute(&vschemapb.Vindex{Type: test.function}, test.historyShards, shards)
			require.NoError(t, err)
			assert.Equal(t, test.counts, b.Counts)
			advice := b.Advice()
			require.Len(t, advice, len(test.advice), "%q", advice)
			for i, part := range test.advice {
				assert.Contains(t, advice[i], part)
			}
		})
	}
}

func TestVindexesThatDoNotSpreadHistoryShards(t *testing.T) {
	shards, err := balance.Even(2)
	require.NoError(t, err)
	for _, function := range []string{"lookup_unique", "sha", "region_json"} {
		_, err := balance.Compute(&vschemapb.Vindex{Type: function}, 4, shards)
		assert.ErrorContains(t, err, `vindex function "`+function+`"`)
	}
}

func TestNamesOfVitessShards(t *testing.T) {
	for _, test := range []struct {
		names []string
		says  string
	}{
		{nil, "no Vitess shard given"},
		{[]string{"a", "80-"}, `Vitess shard "a" has no key range`},
		{[]string{"-8z", "80-"}, `Vitess shard "-8z": `},
		{[]string{"40-80", "80-"}, "40-80 does not start where the one before ends"},
		{[]string{"-40", "50-80", "80-"}, "50-80 does not start where the one before ends"},
		{[]string{"-80", "40-"}, "40- does not start where the one before ends"},
		{[]string{"-80", "80-", "80-"}, "80- does not start where the one before ends"},
		{[]string{"-", "-"}, "- does not start where the one before ends"},
		{[]string{"-40", "40-80"}, "nothing follows 40-80"},
		{[]string{"-80", "80-40"}, "nothing follows 80-40"},
	} {
		_, err := balance.Named(test.names...)
		assert.ErrorContains(t, err, test.says)
	}
	_, err := balance.Even(0)
	assert.ErrorContains(t, err, "0 Vitess shards")
}

func TestOfHistoryShards(t *testing.T) {
	keyspace, err := compare.Wanted(vschema.Main, "", "")
	require.NoError(t, err)
	vindex, err := balance.OfHistoryShards(keyspace)
	require.NoError(t, err)
	assert.Equal(t, "reverse_bits", vindex.Type)

	keyspace.Tables["shards"].ColumnVindexes[0].Name = "xxhash"
	_, err = balance.OfHistoryShards(keyspace)
	assert.ErrorContains(t, err, "the tables do not agree: reverse_bits(shard_id) divides activity_info_maps")

	_, err = balance.OfHistoryShards(&vschemapb.Keyspace{})
	assert.ErrorContains(t, err, "no table of the VSchema is divided by shard_id")
}
