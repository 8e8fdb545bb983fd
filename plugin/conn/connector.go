package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// errUnknownSystemVariable is MySQL's ER_UNKNOWN_SYSTEM_VARIABLE.
const errUnknownSystemVariable = 1193

// Config of a [Connector].
type Config struct {
	// Base opens the connections, to vtgate or to a plain MySQL server.
	Base driver.Connector
	// Router plans the statements. Nil sends all of them as they are, for tools that work on any schema.
	Router *router.Router
	// RejectUnknown makes a statement that the router cannot place an error instead of sending it as it is.
	RejectUnknown bool
	Logger        log.Logger
	Metrics       metrics.Handler
}

// Connector is a driver.Connector whose connections route. It is safe for concurrent use.
type Connector struct {
	cfg      Config
	observer *observer
	// plainMySQL is set once a server turned out not to be a vtgate.
	plainMySQL atomic.Bool
}

// NewConnector returns a connector over cfg.Base.
func NewConnector(cfg Config) *Connector {
	return &Connector{cfg: cfg, observer: newObserver(cfg.Logger, cfg.Metrics)}
}

// Driver returns the driver of the base connector.
func (c *Connector) Driver() driver.Driver { return c.cfg.Base.Driver() }

// Connect opens a connection and makes its session refuse transactions over more than one Vitess shard, which would
// commit without atomicity.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.cfg.Base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	base, ok := opened.(baseConn)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("conn: connections of type %T lack methods that those of go-sql-driver/mysql have", opened)
	}
	if !c.plainMySQL.Load() {
		_, err := base.ExecContext(ctx, "set transaction_mode='single'", nil)
		var serverError *mysql.MySQLError
		switch {
		case errors.As(err, &serverError) && serverError.Number == errUnknownSystemVariable:
			c.plainMySQL.Store(true)
		case err != nil:
			_ = base.Close()
			return nil, err
		}
	}
	return &conn{baseConn: base, connector: c}, nil
}
