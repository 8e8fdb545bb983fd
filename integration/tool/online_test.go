package tool

import (
	"context"
	"database/sql/driver"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// migratingElse sends another migration in place of a CREATE TABLE, so that what is complete in the end is not what was
// asked for.
type migratingElse struct{ driver.Connector }

func (m migratingElse) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := m.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return migratingElseConn{base.(mysqlConn)}, nil
}

type migratingElseConn struct{ mysqlConn }

func (c migratingElseConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.HasPrefix(query, "CREATE TABLE") {
		query = "CREATE TABLE IF NOT EXISTS another (id INT PRIMARY KEY)"
	}
	return c.mysqlConn.QueryContext(ctx, query, args)
}

// migratingStill shows a migration of an earlier run, which is complete at the second look.
type migratingStill struct {
	driver.Connector
	looks *atomic.Int64
}

func (m migratingStill) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := m.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return migratingStillConn{base.(mysqlConn), m.looks}, nil
}

type migratingStillConn struct {
	mysqlConn
	looks *atomic.Int64
}

func (c migratingStillConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.HasPrefix(query, "SHOW VITESS_MIGRATIONS") {
		status := "complete"
		if c.looks.Add(1) == 1 {
			status = "running"
		}
		query = "SELECT 'earlier' AS migration_uuid, '" + status + "' AS migration_status"
	}
	return c.mysqlConn.QueryContext(ctx, query, args)
}

func TestADirectRunAwaitsTheMigrationsOfAnEarlierOne(t *testing.T) {
	setUp(t)
	var looks atomic.Int64
	vitess, err := live.Open(t.Context(), migratingStill{connector(t), &looks}, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = vitess.Close() })
	var awaited []string
	runner := &apply.Runner{
		Vitess: vitess, Keyspaces: names(fresh), Strategy: apply.DirectStrategy,
		Wait: func(m apply.Migration) { awaited = append(awaited, m.UUID) },
	}
	require.NoError(t, runner.Run(t.Context(), apply.Visibility, func(*apply.State) ([]apply.Action, error) {
		require.Equal(t, int64(2), looks.Load(), "the plan is made after the migration")
		return nil, nil
	}))
	require.Equal(t, []string{"earlier"}, awaited)
}

func TestOnlineDDL(t *testing.T) {
	setUp(t)
	want := structure(t, "vt_fresh_visibility_-80")

	// One Vitess shard: more of them share the sidecar database in vttestserver, where each takes the migrations of all for
	// its own.
	const set, lacking = "online", "schema_update_history"
	all, err := schema.Load(vschema.Visibility)
	require.NoError(t, err)
	placement, err := vschema.JSON(vschema.Visibility, vschema.ProfileNamespace)
	require.NoError(t, err)
	one, err := cluster.Start(t.Context(), cluster.Config{Keyspaces: []cluster.Keyspace{{
		Name: set + "_visibility", Shards: 1, VSchema: placement,
		DDL: slices.DeleteFunc(slices.Clone(all.Statements), func(text string) bool {
			return strings.Contains(text, "CREATE TABLE IF NOT EXISTS "+lacking)
		}),
	}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, one.Stop()) })
	database := "vt_" + set + "_visibility_0"
	require.NotEqual(t, want, structureAt(t, one, database))

	// The version is not recorded before the tables have been looked at.
	otherwise, err := live.Open(t.Context(), migratingElse{connectorTo(t, one)}, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = otherwise.Close() })
	runner := &apply.Runner{
		Vitess: otherwise, Keyspaces: names(set), Strategy: "vitess",
		Progress: func(apply.Action, int) {}, Wait: func(apply.Migration) {},
	}
	err = runner.Run(t.Context(), apply.Visibility, apply.Setup)
	require.ErrorContains(t, err, `keyspace online_visibility still lacks "CREATE TABLE IF NOT EXISTS schema_update_history`)
	_, addr, user := one.MySQL()
	mysqld := open(t, addr, user, database)
	_, err = mysqld.Exec("DROP TABLE another")
	require.NoError(t, err)

	out, err := toolAt(t, one, set, "setup-schema", "--store", "visibility", "--ddl-strategy", "vitess")
	require.NoError(t, err, out)
	require.Contains(t, out, "the visibility store is set up at "+apply.Visibility.Newest())
	require.Equal(t, want, structureAt(t, one, database))

	// In vttestserver, an ALTER TABLE is accepted as a migration, but fails for want of VReplication.
	_, err = mysqld.Exec("ALTER TABLE executions_visibility DROP INDEX by_status")
	require.NoError(t, err)
	_, err = toolAt(t, one, set, "update-schema", "--store", "visibility", "--ddl-strategy", "online")
	require.ErrorContains(t, err, "as in a new set-up, table executions_visibility, keyspace online_visibility: migration ")
	require.ErrorContains(t, err, "of table executions_visibility on Vitess shard 0 failed: not implemented in vtcombo; then ALTER VITESS_MIGRATION '")
	out, err = toolAt(t, one, set, "update-schema", "--store", "visibility", "--ddl-strategy", "direct")
	require.NoError(t, err, out)
	require.Equal(t, want, structureAt(t, one, database))
}
