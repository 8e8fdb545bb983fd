package inventory_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// That no statement of upstream is missing is what integration/routing tests.
func TestOf(t *testing.T) {
	calls, err := inventory.Of(map[vschema.Role]string{vschema.Main: "a", vschema.Global: "b", vschema.Visibility: "c"}, vschema.ProfileSpread)
	require.NoError(t, err)
	sent := func(call string) string {
		i := slices.IndexFunc(calls, func(c inventory.Call) bool { return c.Name == call })
		require.GreaterOrEqual(t, i, 0, call)
		return calls[i].Statements[0].SQL
	}
	assert.Contains(t, sent("WriteLockShards"), " from a.shards where shard_id = ? for update")
	assert.Contains(t, sent("SelectFromNamespace"), " from b.namespaces")
	assert.Contains(t, sent(`Count ""`), "ALLOW_SCATTER */ count(*) from c.executions_visibility as ev ")
	for _, call := range calls {
		for _, statement := range call.Statements {
			assert.True(t, statement.ReadsOrWrites(), statement.SQL)
		}
	}
}
