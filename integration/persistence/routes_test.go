package persistence

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// TestRoutesAreCounted shows that the counters that decide the package (see TestMain) count.
func TestRoutesAreCounted(t *testing.T) {
	running := bed(t, 4)
	before, err := running.Vars(t.Context())
	require.NoError(t, err)
	tx, err := onVitess(t, running).open(t, sqlplugin.DbKindMain).BeginTx(t.Context())
	require.NoError(t, err)
	_, err = tx.DeleteFromTransferTasks(t.Context(), sqlplugin.TransferTasksFilter{ShardID: 1})
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	after, err := running.Vars(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.SingleCommits+1, after.SingleCommits)
	assert.Equal(t, before.MultiCommits, after.MultiCommits)
}
