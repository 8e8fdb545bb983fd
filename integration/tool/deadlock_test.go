package tool

import (
	"context"
	"database/sql/driver"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// deadlocking answers each CREATE TABLE with an error: the first time it is sent before it is executed, the second time
// after, as vttablet does when it cannot note the new table.
type deadlocking struct {
	driver.Connector
	created *atomic.Int64
}

func (d deadlocking) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return deadlockingConn{base.(mysqlConn), d.created}, nil
}

// mysqlConn is what database/sql uses of the driver's connection here.
type mysqlConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
}

type deadlockingConn struct {
	mysqlConn
	created *atomic.Int64
}

func (c deadlockingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	victim := &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock; try restarting transaction"}
	if !strings.Contains(strings.ToUpper(query), "CREATE TABLE") {
		return c.mysqlConn.ExecContext(ctx, query, args)
	}
	if c.created.Add(1)%2 == 1 {
		return nil, victim
	}
	if _, err := c.mysqlConn.ExecContext(ctx, query, args); err != nil {
		return nil, err
	}
	return nil, victim
}

func loadTables(t *testing.T, role vschema.Role) []schema.Table {
	t.Helper()
	keyspace, err := schema.Load(role)
	require.NoError(t, err)
	return keyspace.Tables
}

func TestADeadlockDoesNotEndARun(t *testing.T) {
	_, err := tool(t, deadlocked, "vschema", "apply")
	require.NoError(t, err)
	var created atomic.Int64
	vitess, err := live.Open(t.Context(), deadlocking{connector(t), &created}, "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = vitess.Close() })
	runner := &apply.Runner{Vitess: vitess, Keyspaces: names(deadlocked), Strategy: apply.DirectStrategy, Progress: func(apply.Action, int) {}}
	require.NoError(t, runner.Run(t.Context(), apply.Main, apply.Setup))
	tables := len(loadTables(t, vschema.Main)) + len(loadTables(t, vschema.Global))
	require.Equal(t, int64(2*tables), created.Load(), "each CREATE TABLE is sent twice")

	out, err := tool(t, deadlocked, "setup-schema")
	require.NoError(t, err, out)
	require.Contains(t, out, "the main store is set up already")
	requireFresh(t, deadlocked)
}
