package persistence

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// TestBadConfiguration has what only a server can find wrong.
func TestBadConfiguration(t *testing.T) {
	running := bed(t, 4)

	t.Run("no such keyspace", func(t *testing.T) {
		db := onVitess(t, running)
		db.main.DatabaseName = "nowhere"
		// Upstream's pool logs why it has no connection, and tells its callers only that it has none.
		core, logs := observer.New(zap.ErrorLevel)
		store, err := persistencesql.NewSQLDB(sqlplugin.DbKindMain, db.main, resolver.NewNoopResolver(), log.NewZapLogger(zap.New(core)), metrics.NoopMetricsHandler)
		require.NoError(t, err)
		defer store.Close()
		var logged strings.Builder
		for _, entry := range logs.All() {
			fmt.Fprintln(&logged, entry.Message, entry.ContextMap())
		}
		assert.Contains(t, logged.String(), "unknown database 'nowhere'")
	})

	t.Run("no such global keyspace", func(t *testing.T) {
		db := onVitess(t, running)
		db.main.ConnectAttributes["vitess_global_keyspace"] = "nowhere"
		_, err := db.open(t, sqlplugin.DbKindMain).ListClusterMetadata(t.Context(), &sqlplugin.ClusterMetadataFilter{})
		assert.ErrorContains(t, err, "unknown database 'nowhere'")
	})

	t.Run("visibility keyspace of the other profile", func(t *testing.T) {
		db := onVitess(t, running)
		db.visibility.DatabaseName = testbed.SpreadVisibility
		_, err := db.open(t, sqlplugin.DbKindVisibility).CountFromVisibility(t.Context(), sqlplugin.VisibilitySelectFilter{
			Query: "SELECT COUNT(*) FROM executions_visibility WHERE namespace_id = ?", QueryArgs: []any{"namespace"},
		})
		assert.ErrorContains(t, err, "scatter")
	})
}
