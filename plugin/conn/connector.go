package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
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
	// Pipelining lets the writes of a transaction travel together, if the server takes several statements at once.
	Pipelining bool
	Logger     log.Logger
	Metrics    metrics.Handler
}

// Connector is a driver.Connector whose connections route. It is safe for concurrent use.
type Connector struct {
	cfg      Config
	observer *observer
	// plainMySQL is set once a server turned out not to be a vtgate.
	plainMySQL atomic.Bool
	// multiStatement says whether the server takes several statements at once, see the constants.
	multiStatement atomic.Int32
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
	base, err := c.connectBase(ctx)
	if err != nil {
		// Bare, the errors of a lost vtgate would make upstream replace the pool, which repairs itself.
		return nil, &Error{Class: NotExecuted, Text: fmt.Sprintf("connect to the database: %v", err)}
	}
	return &conn{baseConn: base, connector: c}, nil
}

func (c *Connector) connectBase(ctx context.Context) (baseConn, error) {
	opened, err := c.cfg.Base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	base, ok := opened.(baseConn)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("connections of type %T lack methods that those of go-sql-driver/mysql have", opened)
	}
	if err := c.setUp(ctx, base); err != nil {
		_ = base.Close()
		return nil, err
	}
	return base, nil
}

// setUp prepares a session.
func (c *Connector) setUp(ctx context.Context, base baseConn) error {
	if !c.plainMySQL.Load() {
		_, err := base.ExecContext(ctx, "set transaction_mode='single'", nil)
		var serverError *mysql.MySQLError
		switch {
		case errors.As(err, &serverError) && serverError.Number == errUnknownSystemVariable:
			c.plainMySQL.Store(true)
		case err != nil:
			return err
		}
	}
	if c.cfg.Pipelining && c.multiStatement.Load() == notProbed {
		return c.probe(ctx, base)
	}
	return nil
}

// The values of Connector.multiStatement.
const (
	notProbed = iota
	takesMany
	takesOne
)

// probe finds out whether several statements can be sent at once: vtgate and MySQL take them, a proxy between may not.
func (c *Connector) probe(ctx context.Context, base baseConn) error {
	_, err := base.ExecContext(ctx, "select 1; select 1", nil)
	var serverError *mysql.MySQLError
	switch {
	case err == nil:
		c.multiStatement.Store(takesMany)
	case errors.As(err, &serverError) && classify(err) == Refused:
		if c.multiStatement.Swap(takesOne) != takesOne {
			c.cfg.Logger.Warn("The server does not take several statements at once, so transactions are not pipelined: each of their statements is a round trip",
				tag.Error(err))
		}
	default: // the next connection finds out
		return err
	}
	return nil
}

// pipelines reports whether a transaction with these options is pipelined.
func (c *Connector) pipelines(options driver.TxOptions) bool {
	return c.cfg.Pipelining && c.multiStatement.Load() == takesMany && options == driver.TxOptions{}
}
