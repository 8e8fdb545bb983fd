package conn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// instantServer answers a packet of a benchmark at once, to measure what the plugin itself takes.
type instantServer struct{ packetServer }

func (s *instantServer) Connect(context.Context) (driver.Conn, error) {
	return &instantConn{packetConn: packetConn{server: &s.packetServer}, each: counts{1, 1, 1, 1}}, nil
}

type instantConn struct {
	packetConn
	each driver.Result
}

func (c *instantConn) ExecContext(ctx context.Context, packet string, args []driver.NamedValue) (driver.Result, error) {
	if !strings.HasPrefix(packet, begin) {
		return c.packetConn.ExecContext(ctx, packet, args)
	}
	return c.each, nil
}

func (c *instantConn) QueryContext(ctx context.Context, packet string, args []driver.NamedValue) (driver.Rows, error) {
	if !strings.Contains(packet, "shards") {
		return c.packetConn.QueryContext(ctx, packet, args)
	}
	return instantRows{}, nil
}

type instantRows struct{}

func (instantRows) Columns() []string         { return []string{"value"} }
func (instantRows) Close() error              { return nil }
func (instantRows) Next([]driver.Value) error { return io.EOF }

func openInstant(b *testing.B) *sql.DB {
	r, err := router.New(router.Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"}, MaxRows: 10,
	})
	require.NoError(b, err)
	connector, err := NewConnector(Config{
		Base: &instantServer{}, Router: r, RejectUnknown: true, Pipelining: AllPipelining, MaxConns: 4, MaxIdle: 4, Logger: log.NewNoopLogger(), Metrics: metrics.NoopMetricsHandler,
	})
	require.NoError(b, err)
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	require.NoError(b, db.Ping()) // or the server is not known when the first transaction begins
	b.Cleanup(func() { _ = db.Close() })
	return db
}

const (
	addTask   = "INSERT INTO transfer_tasks(shard_id, task_id, data, data_encoding) VALUES(?, ?, ?, ?)"
	readShard = "SELECT data FROM shards WHERE shard_id = ?"
)

func BenchmarkTransaction(b *testing.B) {
	db := openInstant(b)
	data := []byte("data")
	b.ReportAllocs()
	for b.Loop() {
		tx, err := db.BeginTx(b.Context(), nil)
		require.NoError(b, err)
		for task := range 2 {
			_, err = tx.ExecContext(b.Context(), addTask, 1, task, data, "Proto3")
			require.NoError(b, err)
		}
		require.NoError(b, tx.Commit())
	}
}

func BenchmarkRead(b *testing.B) {
	db := openInstant(b)
	b.ReportAllocs()
	for b.Loop() {
		rows, err := db.QueryContext(b.Context(), readShard, 1)
		require.NoError(b, err)
		require.NoError(b, rows.Close())
	}
}
