package persistence

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	upstreammysql "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// database is where the stores of a test are, and the plugin that reaches them.
type database struct {
	main, visibility *config.SQL
	// mysqld has the rows, in databases whose names match the pattern.
	mysqld  *sql.DB
	pattern string
}

// databases are where a test runs that compares the plugin on Vitess with upstream's on MySQL.
var databases = []struct {
	name string
	open func(*testing.T, *testbed.Testbed) *database
}{
	{"through vtgate", onVitess},
	{"without Vitess, through upstream's plugin", onPlainMySQL},
}

// onVitess reaches a testbed through the plugin.
func onVitess(t *testing.T, running *testbed.Testbed) *database {
	return &database{
		main:       running.MainConfig(),
		visibility: running.VisibilityConfig(vschema.ProfileNamespace),
		mysqld:     openMySQL(t, running),
		pattern:    `vt\_temporal%`,
	}
}

// onPlainMySQL reaches a new database without Vitess through upstream's plugin.
func onPlainMySQL(t *testing.T, running *testbed.Testbed) *database {
	t.Helper()
	name := "plain_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	cfg, err := running.PlainConfig(t.Context(), name)
	require.NoError(t, err)
	return &database{main: cfg, visibility: cfg, mysqld: openMySQL(t, running), pattern: name}
}

// onUnshardedMySQL reaches a new database without Vitess through the plugin.
func onUnshardedMySQL(t *testing.T, running *testbed.Testbed) *database {
	t.Helper()
	db := onPlainMySQL(t, running)
	main := *db.main
	main.PluginName = plugin.Name
	visibility := main
	main.ConnectAttributes = map[string]string{"vitess_global_keyspace": main.DatabaseName, "vitess_unknown_statements": "reject"}
	visibility.ConnectAttributes = map[string]string{"vitess_unknown_statements": "reject"}
	db.main, db.visibility = &main, &visibility
	return db
}

// onVitessWithStock reaches the main keyspace of a testbed through upstream's plugin, with the session that the plugin
// has: what goes wrong there is why the plugin is needed.
func onVitessWithStock(t *testing.T, running *testbed.Testbed) *database {
	db := onVitess(t, running)
	db.main.PluginName = upstreammysql.PluginName
	db.main.ConnectAttributes = map[string]string{"transaction_mode": "'single'"}
	return db
}

// withEverythingOff reaches the same database with each statement of a transaction on its own, and upstream's lists and counts.
func (d *database) withEverythingOff() *database {
	off := func(cfg config.SQL) *config.SQL {
		cfg.ConnectAttributes = maps.Clone(cfg.ConnectAttributes)
		cfg.ConnectAttributes["vitess_pipelining"] = "off"
		return &cfg
	}
	other := *d
	other.main, other.visibility = off(*d.main), off(*d.visibility)
	other.visibility.ConnectAttributes["vitess_visibility_queries"] = "upstream"
	return &other
}

// openMySQL connects to the mysqld of a testbed.
func openMySQL(t *testing.T, running *testbed.Testbed) *sql.DB {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = running.MySQL()
	cfg.MultiStatements, cfg.InterpolateParams = true, true
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// clear empties the tables but for what the schema starts with.
func (d *database) clear(t *testing.T) {
	t.Helper()
	rows, err := d.mysqld.QueryContext(t.Context(), `SELECT table_schema, table_name FROM information_schema.tables
		WHERE table_schema LIKE ? AND table_type = 'BASE TABLE' AND table_name NOT IN ('schema_version', 'schema_update_history')`, d.pattern)
	require.NoError(t, err)
	defer rows.Close()
	var statements []string
	for rows.Next() {
		var schema, table string
		require.NoError(t, rows.Scan(&schema, &table))
		statement := "DELETE FROM `%s`.`%s`"
		if table == "namespace_metadata" {
			statement = "UPDATE `%s`.`%s` SET notification_version = 1"
		}
		statements = append(statements, fmt.Sprintf(statement, schema, table))
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, statements)
	_, err = d.mysqld.ExecContext(t.Context(), strings.Join(statements, ";"))
	require.NoError(t, err)
}

// open connects to a store of the database.
func (d *database) open(t *testing.T, kind sqlplugin.DbKind) sqlplugin.DB {
	t.Helper()
	cfg := d.main
	if kind == sqlplugin.DbKindVisibility {
		cfg = d.visibility
	}
	store, err := persistencesql.NewSQLDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// factory makes upstream's main stores over the database.
func (d *database) factory(t *testing.T) *persistencesql.Factory {
	t.Helper()
	factory := persistencesql.NewFactory(*d.main, resolver.NewNoopResolver(), clusterName,
		log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	t.Cleanup(factory.Close)
	return factory
}

// received returns the plugin's statements on a table that reached mysqld while run went on.
func (d *database) received(t *testing.T, table string, run func()) []string {
	t.Helper()
	exec := func(statement string) {
		_, err := d.mysqld.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
	run()
	exec("SET GLOBAL general_log = OFF")
	rows, err := d.mysqld.QueryContext(t.Context(), `SELECT argument FROM mysql.general_log
		WHERE command_type = 'Query' AND argument LIKE CONCAT('%WORKLOAD_NAME%from ', ?, ' %')`, table)
	require.NoError(t, err)
	defer rows.Close()
	var statements []string
	for rows.Next() {
		var statement []byte
		require.NoError(t, rows.Scan(&statement))
		statements = append(statements, string(statement))
	}
	require.NoError(t, rows.Err())
	return statements
}

// shards returns the databases of the Vitess shards of a keyspace.
func (d *database) shards(t *testing.T, keyspace string) []string {
	t.Helper()
	rows, err := d.mysqld.QueryContext(t.Context(), "SELECT schema_name FROM information_schema.schemata")
	require.NoError(t, err)
	defer rows.Close()
	var shards []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		if keyRange, ok := strings.CutPrefix(name, "vt_"+keyspace+"_"); ok && !strings.Contains(keyRange, "_") {
			shards = append(shards, name)
		}
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, shards)
	slices.Sort(shards)
	return shards
}

// explain returns what mysqld's EXPLAIN says of a statement on one Vitess shard of a keyspace, by column.
func (d *database) explain(t *testing.T, keyspace, statement string) map[string]string {
	t.Helper()
	connection, err := d.mysqld.Conn(t.Context())
	require.NoError(t, err)
	defer connection.Close()
	_, err = connection.ExecContext(t.Context(), "USE `"+d.shards(t, keyspace)[0]+"`")
	require.NoError(t, err)
	rows, err := connection.QueryContext(t.Context(), "EXPLAIN FORMAT=TRADITIONAL "+statement)
	require.NoError(t, err)
	defer rows.Close()
	require.True(t, rows.Next())
	values := map[string]any{}
	require.NoError(t, sqlx.MapScan(rows, values))
	texts := map[string]string{}
	for column, value := range values {
		texts[column] = fmt.Sprintf("%s", value)
	}
	return texts
}
