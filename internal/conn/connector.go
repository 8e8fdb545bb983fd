package conn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/internal/session"
)

// Pipelining is a set of ways to save round trips; the zero value is none. All of them need Packets.
type Pipelining int

const (
	// Packets let the writes of a transaction travel with what follows.
	Packets Pipelining = 1 << iota
	// Reads let the queries of [Queries] be one statement instead of one packet.
	Reads
	// Locks let the lock of a row wait whose owner this process knows: a history shard, or a task queue.
	Locks
	// LookAhead lets the lock of a current execution take along that of its run.
	LookAhead
	// History lets appends to history join the transaction that they belong to, which package plugin sees to.
	History

	// DefaultPipelining is what needs no more than the server's answers to be right.
	DefaultPipelining = Packets | Reads | Locks | LookAhead
	// AllPipelining has all of them.
	AllPipelining = DefaultPipelining | History
)

// Has reports whether all of some ways are in the set.
func (p Pipelining) Has(ways Pipelining) bool { return p&ways == ways }

// Config of a [Connector].
type Config struct {
	// Base opens the connections, to vtgate or to a plain MySQL server.
	Base driver.Connector
	// MaxConns is the number of connections at most, 0 for no limit. MaxIdle is how many are kept while nobody needs them.
	MaxConns, MaxIdle int
	// MaxLifetime of a connection; 0 for no limit.
	MaxLifetime time.Duration
	// Settings are system variables of the session, with their values as SQL.
	Settings map[string]string
	// Router plans the statements. Nil sends all of them as they are, for tools that work on any schema.
	Router *router.Router
	// RejectUnknown makes a statement that the router cannot place an error instead of sending it as it is.
	RejectUnknown bool
	// Pipelining is what saves round trips, if the server takes several statements at once.
	Pipelining Pipelining
	Logger     log.Logger
	Metrics    metrics.Handler
}

// Connector is a driver.Connector whose connections route. They are virtual: a connection has a session of the pool only
// while a statement or a transaction needs one, as only then it is known which Vitess shard that is for, and none while it
// waits for a Vitess shard to come back. So a sql.DB over it is to have no limit. It is safe for concurrent use, and
// closed by its DB.
type Connector struct {
	cfg      Config
	observer *observer
	pool     *session.Pool
	owners   *owners
}

// NewConnector returns a connector over cfg.Base. It does not connect.
func NewConnector(cfg Config) (*Connector, error) {
	observer := newObserver(cfg.Logger, cfg.Metrics)
	owners, err := newOwners()
	if err != nil {
		return nil, err
	}
	pool, err := session.NewPool(session.Config{
		Base: cfg.Base, MaxConns: cfg.MaxConns, MaxIdle: cfg.MaxIdle, MaxLifetime: cfg.MaxLifetime, Settings: cfg.Settings,
		Probe: cfg.Pipelining.Has(Packets), Logger: observer.logger,
		Opened: func() { observer.opened.Record(1) },
		Failed: func(class outcome.Class) { observer.count(class, "") },
	})
	return &Connector{cfg: cfg, observer: observer, pool: pool, owners: owners}, err
}

// Driver returns the driver of the base connector.
func (c *Connector) Driver() driver.Driver { return c.cfg.Base.Driver() }

// Connect returns a connection without a session.
func (c *Connector) Connect(context.Context) (driver.Conn, error) {
	return &conn{connector: c}, nil
}

// Close closes the sessions: now, or once they are given back.
func (c *Connector) Close() error {
	c.pool.Close()
	return nil
}

// Stats returns what the pool of sessions holds.
func (c *Connector) Stats() sql.DBStats { return c.pool.Stats() }

// PlainMySQL reports whether the server of the connections so far turned out not to be a vtgate.
func (c *Connector) PlainMySQL() bool { return c.pool.PlainMySQL() }

// VitessVersion returns that of the vtgate, such as 24.0.3; "" of a MySQL without Vitess.
func (c *Connector) VitessVersion(ctx context.Context) (string, error) {
	return c.pool.VitessVersion(ctx)
}

// pipelines reports whether statements may travel together, and in this way.
func (c *Connector) pipelines(way Pipelining) bool {
	return c.cfg.Pipelining.Has(Packets|way) && c.pool.Many()
}
