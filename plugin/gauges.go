package plugin

import (
	"database/sql"
	"sync/atomic"

	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
)

// poolGauges lets upstream's gauges of the connection pool show the real connections: what upstream takes for the pool has
// none of its own.
type poolGauges struct {
	metrics.Handler
	connector *atomic.Pointer[conn.Connector]
	// info is reported along with them.
	info *info
}

// poolValues are upstream's gauges (sqlplugin.DBMetricsReporter).
var poolValues = map[string]func(sql.DBStats) int{
	metrics.PersistenceSQLMaxOpenConn.Name(): func(s sql.DBStats) int { return s.MaxOpenConnections },
	metrics.PersistenceSQLOpenConn.Name():    func(s sql.DBStats) int { return s.OpenConnections },
	metrics.PersistenceSQLIdleConn.Name():    func(s sql.DBStats) int { return s.Idle },
	metrics.PersistenceSQLInUse.Name():       func(s sql.DBStats) int { return s.InUse },
}

func newPoolGauges(handler metrics.Handler, info *info) *poolGauges {
	return &poolGauges{Handler: handler, connector: &atomic.Pointer[conn.Connector]{}, info: info}
}

// WithTags returns a handler with these tags that shows the same connections.
func (g *poolGauges) WithTags(tags ...metrics.Tag) metrics.Handler {
	return &poolGauges{Handler: g.Handler.WithTags(tags...), connector: g.connector, info: g.info}
}

// Gauge returns a gauge that records what the pool has, whatever it is given, if it is one of upstream's for the pool.
func (g *poolGauges) Gauge(name string) metrics.GaugeIface {
	gauge := g.Handler.Gauge(name)
	value, ok := poolValues[name]
	if !ok {
		return gauge
	}
	return metrics.GaugeFunc(func(given float64, tags ...metrics.Tag) {
		connector := g.connector.Load()
		if connector == nil {
			gauge.Record(given, tags...)
			return
		}
		gauge.Record(float64(value(connector.Stats())), tags...)
		if name == metrics.PersistenceSQLInUse.Name() { // the last one
			g.info.report(g.Handler, connector.VitessVersion)
		}
	})
}
