// Package session is the pool of a store's connections to vtgate, or to MySQL.
//
//   - No Vitess shard is needed to open one: what vtgate would ask a Vitess shard for is left out where it is not needed, or
//     waits (server.go).
//   - At most a share of them serves the statements of one Vitess shard, so that one that hangs does not keep the others
//     waiting (places.go, and package bulkhead).
package session

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/puddle/v2"
	"go.temporal.io/server/common/log"

	"github.com/temporal-vitess/temporal-vitess/internal/bulkhead"
	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

// Config of a [Pool].
type Config struct {
	// Base opens the connections.
	Base driver.Connector
	// MaxConns is the number of connections at most, 0 for no limit. MaxIdle is how many are kept while nobody needs them.
	MaxConns, MaxIdle int
	// MaxLifetime of a connection; 0 for no limit.
	MaxLifetime time.Duration
	// Settings are system variables of the session, with their values as SQL.
	Settings map[string]string
	// Probe asks the server what pipelining needs.
	Probe  bool
	Logger log.Logger
	// Opened is told of each connection that was opened, and Failed the class of each error of opening one.
	Opened func()
	Failed func(outcome.Class)
}

// connection is what go-sql-driver's connections implement.
type connection interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// Session is a connection in use. One caller uses it at a time.
type Session struct {
	connection
	resource *puddle.Resource[*Session]
	// group that it takes a place of in the bulkhead.
	group string
	// unset: it still lacks the settings that a Vitess shard has to check, see server.go.
	unset bool
}

// connectTimeout bounds how long a new session may take. It goes on when its caller gives up, for the next one.
const connectTimeout = 10 * time.Second

// Pool is the pool of a store. It is safe for concurrent use.
type Pool struct {
	*server
	cfg   Config
	pool  *puddle.Pool[*Session]
	shard *places
	// bulkhead is nil if the number of sessions is not limited.
	bulkhead *bulkhead.Bulkhead
	stop     func()
}

// NewPool returns a pool without a connection.
func NewPool(cfg Config) (*Pool, error) {
	p := &Pool{server: &server{cfg: cfg}, cfg: cfg}
	size := math.MaxInt32
	if cfg.MaxConns > 0 {
		size = cfg.MaxConns
		p.bulkhead = bulkhead.New(size)
	}
	var err error
	if p.shard, err = newPlaces(p); err != nil {
		return nil, err
	}
	p.pool, err = puddle.NewPool(&puddle.Config[*Session]{
		Constructor: func(ctx context.Context) (*Session, error) {
			opened, err := p.open(ctx)
			if err != nil { // which nobody may be told of
				cfg.Failed(outcome.ClassOf(connectOutcome(err)))
			}
			return opened, err
		},
		Destructor: func(opened *Session) { _ = opened.Close() },
		MaxSize:    int32(size),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	if cfg.MaxLifetime > 0 {
		go p.retire(ctx)
	}
	return p, nil
}

// Close ends the sessions that are idle, and each other when it is given back.
func (p *Pool) Close() {
	p.stop()
	go p.pool.Close() // which waits for them
}

// Reset ends all sessions like Close, but others may be opened.
func (p *Pool) Reset() { p.pool.Reset() }

// Stats returns what the pool holds, in the terms of database/sql.
func (p *Pool) Stats() sql.DBStats {
	s := p.pool.Stat()
	return sql.DBStats{
		MaxOpenConnections: p.cfg.MaxConns,
		OpenConnections:    int(s.TotalResources()),
		InUse:              int(s.AcquiredResources()),
		Idle:               int(s.IdleResources()),
	}
}

// retire closes idle sessions once they are too old.
func (p *Pool) retire(ctx context.Context) {
	ticks := time.NewTicker(max(p.cfg.MaxLifetime/4, time.Second))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		for _, idle := range p.pool.AcquireAllIdle() {
			if p.old(idle) {
				idle.Destroy()
			} else {
				idle.ReleaseUnused()
			}
		}
	}
}

func (p *Pool) old(resource *puddle.Resource[*Session]) bool {
	return p.cfg.MaxLifetime > 0 && time.Since(resource.CreationTime()) > p.cfg.MaxLifetime
}

// open opens a session. Nothing that it needs is asked of a Vitess shard.
func (p *Pool) open(ctx context.Context) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	opened, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &Session{connection: opened, unset: true}
	err = p.set(ctx, s)
	if err == nil && !s.IsValid() { // it was lost in the attempt
		s.connection, err = p.connect(ctx)
	}
	if err != nil {
		_ = opened.Close()
		return nil, err
	}
	return s, nil
}

func (p *Pool) connect(ctx context.Context) (connection, error) {
	opened, err := p.cfg.Base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c, ok := opened.(connection)
	if !ok {
		_ = opened.Close()
		return nil, fmt.Errorf("connections of type %T lack methods that those of go-sql-driver/mysql have", opened)
	}
	if err := p.meet(ctx, c); err != nil {
		_ = c.Close()
		return nil, err
	}
	p.cfg.Opened()
	return c, nil
}

// Take returns a session for the statements of a group, see [Pool.Group]. Its error is that of the context, or an outcome.
// Each session has to be given back.
func (p *Pool) Take(ctx context.Context, group string) (*Session, error) {
	if p.bulkhead != nil {
		if err := p.bulkhead.Acquire(ctx, group); err != nil {
			return nil, err
		}
	}
	for {
		resource, err := p.pool.Acquire(ctx)
		if err != nil {
			p.leave(group, false)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, connectOutcome(err)
		}
		s := resource.Value()
		s.resource, s.group = resource, group
		// Otherwise it was lost while nobody used it.
		if !p.old(resource) && s.ResetSession(ctx) == nil && p.set(ctx, s) == nil && s.IsValid() {
			return s, nil
		}
		resource.Destroy()
	}
}

// Give takes a session back. One that is over is replaced when the next is needed.
func (p *Pool) Give(s *Session) {
	ended, group := s.IsValid(), s.group // before another has it; it is closed if its caller gave up, or if it was lost
	limited := p.cfg.MaxConns == 0 || p.cfg.MaxIdle < p.cfg.MaxConns
	if !ended || limited && int(p.pool.Stat().IdleResources()) >= p.cfg.MaxIdle {
		s.resource.Destroy()
	} else {
		s.resource.Release()
	}
	p.leave(group, ended)
}

func (p *Pool) leave(group string, ended bool) {
	if p.bulkhead != nil {
		p.bulkhead.Release(group, ended)
	}
}

// Connecting is what an [outcome.Error] was doing where no session could be opened.
const Connecting = "connect to the database"

// connectOutcome says what an error of opening a session means: nothing was sent.
func connectOutcome(err error) error {
	met := outcome.Of(err, outcome.Repeatable)
	classified := (*outcome.Error)(nil)
	switch {
	case errors.As(met, &classified):
		if classified.Doing = Connecting; classified.Class == outcome.Unknown {
			classified.Class = outcome.NotExecuted
		}
	case outcome.ClassOf(met) == outcome.Canceled: // by connectTimeout, or the end of the pool, as the caller goes on
		return &outcome.Error{Class: outcome.NotExecuted, Doing: Connecting, Cause: err}
	}
	return met
}
