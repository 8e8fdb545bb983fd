package routing

import (
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/iancoleman/strcase"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// subject is a SQL plugin whose statements are recorded.
type subject struct {
	recorder   *recorder
	config     *config.SQL
	main       sqlplugin.DB
	visibility sqlplugin.DB
	admin      map[sqlplugin.DbKind]sqlplugin.AdminDB
	// database is the default database to send a statement with.
	database func(kind sqlplugin.DbKind, query string) string
}

// newStockSubject opens upstream's plugin over a recorder. No keyspace has all tables of its main store, so vtgate has to
// find them by name.
func newStockSubject(t *testing.T) *subject {
	t.Helper()
	r := newRecorder(t)
	database := func(sqlplugin.DbKind, string) string { return "@primary" }
	return newSubject(t, r, database, &config.SQL{
		PluginName:   mysql.PluginName,
		DatabaseName: string(vschema.Main),
		Connect: func(*config.SQL) (*sqlx.DB, error) {
			db := sqlx.NewDb(sql.OpenDB(r), "mysql")
			db.MapperFunc(strcase.ToSnake) // as upstream's session does
			return db, nil
		},
	})
}

// newVitessSubject opens this project's plugin over a recorder. The plugin is registered once more under a name that
// makes the recorder its base, since upstream's visibility store opens its plugin by name. What reads and writes rows is
// sent with the other store's keyspace as default database, where a table without its keyspace is not found.
func newVitessSubject(t *testing.T, profile vschema.Profile) *subject {
	t.Helper()
	recorded := recordedPlugin{recorder: newRecorder(t), profile: profile}
	name := fmt.Sprintf("%s, recorded %d", plugin.Name, registered.Add(1))
	persistencesql.RegisterPlugin(name, recorded)
	database := func(kind sqlplugin.DbKind, query string) string {
		if (kind == sqlplugin.DbKindMain) == readsOrWrites(query) {
			return string(vschema.Visibility)
		}
		return string(vschema.Main)
	}
	return newSubject(t, recorded.recorder, database, &config.SQL{PluginName: name, DatabaseName: string(vschema.Main)})
}

// registered counts the names that newVitessSubject has given.
var registered atomic.Int64

// recordedPlugin is the plugin over a recorder.
type recordedPlugin struct {
	recorder *recorder
	profile  vschema.Profile
}

func (p recordedPlugin) CreateDB(kind sqlplugin.DbKind, cfg *config.SQL, _ resolver.ServiceResolver, logger log.Logger, handler metrics.Handler) (sqlplugin.GenericDB, error) {
	store := *cfg
	// Each statement on its own is what the recorder answers and the golden file lists.
	store.ConnectAttributes = map[string]string{"vitess_unknown_statements": "reject", "vitess_pipelining": "off"}
	if kind == sqlplugin.DbKindVisibility {
		store.DatabaseName = string(vschema.Visibility)
		store.ConnectAttributes["vitess_visibility_profile"] = string(p.profile)
	}
	return plugin.NewDB(kind, &store, p.recorder, logger, handler)
}

func (p recordedPlugin) GetVisibilityQueryConverter() sqlplugin.VisibilityQueryConverter {
	converter, err := persistencesql.GetPluginVisibilityQueryConverter(plugin.Name)
	if err != nil {
		panic(err) // package plugin registers it
	}
	return converter
}

func newSubject(t *testing.T, r *recorder, database func(sqlplugin.DbKind, string) string, cfg *config.SQL) *subject {
	t.Helper()
	s := &subject{recorder: r, database: database, config: cfg, admin: make(map[sqlplugin.DbKind]sqlplugin.AdminDB)}
	open := func(kind sqlplugin.DbKind) sqlplugin.DB {
		db, err := persistencesql.NewSQLDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	s.main, s.visibility = open(sqlplugin.DbKindMain), open(sqlplugin.DbKindVisibility)
	for _, kind := range storeKinds {
		db, err := persistencesql.NewSQLAdminDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		s.admin[kind] = db
	}
	return s
}

// sent returns the statements that the subject sent since the last call.
func (s *subject) sent(kind sqlplugin.DbKind) []statement {
	statements := s.recorder.take()
	for i := range statements {
		statements[i].Database = s.database(kind, statements[i].SQL)
	}
	return statements
}

var storeKinds = []sqlplugin.DbKind{sqlplugin.DbKindMain, sqlplugin.DbKindVisibility}
