package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"go.temporal.io/server/common/backoff"
	"go.temporal.io/server/common/clock"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

// retryPolicy bounds how long the plugin itself waits for a failover; the caller's context may end it earlier. Temporal
// retries what is left.
var retryPolicy = backoff.NewExponentialRetryPolicy(20 * time.Millisecond).
	WithMaximumInterval(500 * time.Millisecond).
	WithExpirationInterval(10 * time.Second)

// maxReplaced is how many connections that are lost a packet meets before it waits like for a failover.
const maxReplaced = 3

// exec sends a packet whose statements return no rows.
func (c *conn) exec(ctx context.Context, p *packet) (driver.Result, error) {
	err := c.roundTrip(ctx, p, false)
	return p.result, err
}

// query sends a packet whose last statement, or more, returns rows.
func (c *conn) query(ctx context.Context, p *packet) (driver.Rows, error) {
	err := c.roundTrip(ctx, p, true)
	return p.rows.Rows, err
}

// roundTrip sends a packet on the connection's session, or on one that it takes, and keeps. After an error the session is
// kept only if it has a transaction that is open.
//
// A packet that begins all that it builds on is sent again where the server did nothing, or undid it: at once on another
// session if the error was that of its own, and otherwise after a pause, in which the connection has no session. If the
// caller's patience ends meanwhile, the error is that of its context, for which upstream asks, and the log has the other.
func (c *conn) roundTrip(ctx context.Context, p *packet, rows bool) (err error) {
	defer func() {
		if err != nil && c.transaction == nil {
			c.giveBack()
		}
	}()
	fresh := c.session == nil
	var retrier backoff.Retrier // only now and then there is an error
	for replaced := 0; ; {
		err := c.try(ctx, p, rows)
		if err == nil {
			return nil
		}
		over := c.session != nil && c.over(err)
		met := outcome.Of(err, p.holds)
		if over && p.holds == outcome.Committing && outcome.ClassOf(met) == outcome.Canceled {
			met = &outcome.Error{Class: outcome.Ambiguous, Holds: p.holds, Cause: err} // the caller's context ended during COMMIT
		}
		if over {
			c.giveBack()
		}
		classified, ok := met.(*outcome.Error)
		if !fresh || !ok || !classified.SafeToRetry() || classified.TooLong {
			return c.explain(met, p)
		}
		if c.transaction != nil && c.session != nil {
			c.rollback()
		}
		c.giveBack()
		if ctx.Err() != nil {
			_ = c.explain(met, p)
			return ctx.Err()
		}
		c.connector.observer.retrying(classified, p)
		if over && replaced < maxReplaced {
			replaced++
			continue
		}
		if retrier == nil {
			retrier = backoff.NewRetrier(retryPolicy, clock.NewRealTimeSource())
		}
		pause := retrier.NextBackOff(err)
		if pause < 0 {
			return c.explain(met, p)
		}
		began := time.Now()
		slept := sleep(ctx, pause)
		c.connector.observer.waited(time.Since(began))
		if !slept {
			_ = c.explain(met, p)
			return ctx.Err()
		}
	}
}

// try sends a packet once, and keeps its result in it.
func (c *conn) try(ctx context.Context, p *packet, rows bool) (err error) {
	if c.session == nil {
		if c.session, err = c.connector.pool.Take(ctx, p.group); err != nil {
			return err
		}
	}
	sent := time.Now()
	if rows {
		p.rows.Rows, err = c.session.QueryContext(ctx, p.sql, p.args)
	} else {
		p.result, err = c.session.ExecContext(ctx, p.sql, p.args)
	}
	c.connector.observer.answered(p.cause, time.Since(sent))
	return err
}

// over reports whether an error is the end of the session, and sees to it that it is.
func (c *conn) over(err error) bool {
	s := c.session
	switch {
	case !s.IsValid():
		return true
	case errors.Is(err, driver.ErrBadConn), outcome.ShuttingDown(err):
	case outcome.ReadOnly(err) && c.connector.pool.PlainMySQL():
		// The server itself was demoted, and with it all connections: a new one may reach its successor.
		c.connector.pool.Reset()
	default:
		return false
	}
	_ = s.Close()
	return true
}

// sleep returns false if the context ends before.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// giveBack gives the session back, if there is one.
func (c *conn) giveBack() {
	if c.session != nil {
		c.connector.pool.Give(c.session)
		c.session = nil
	}
}

// rollbackTimeout is how long a ROLLBACK may take before the session is given up, which has the same effect.
const rollbackTimeout = 5 * time.Second

// rollback ends the transaction on the session. It does not end with the caller's context, which often is what failed.
func (c *conn) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	if _, err := c.session.ExecContext(ctx, "rollback", nil); err != nil {
		// The next user of the session must not find the transaction open.
		_ = c.session.Close()
	}
}

// explain says where and with what an error was met, counts it and writes it to the log. It returns the error.
func (c *conn) explain(met error, p *packet) error {
	if classified := (*outcome.Error)(nil); errors.As(met, &classified) {
		if classified.Doing == "" {
			classified.Doing = p.doing()
		}
		if classified.Place == "" {
			classified.Place = p.group
		}
	}
	return c.connector.observer.failed(met, p)
}
