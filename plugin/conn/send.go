package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/server/common/backoff"
)

// replay says what is lost if a packet is sent again.
type replay struct {
	// transaction: the packet begins or continues a transaction, which has to be rolled back before.
	transaction bool
	// fresh: nothing that the packet builds on has been sent on this connection.
	fresh bool
	// commits: what the packet does is lasting, so that a lost answer leaves open whether it was done.
	commits bool
}

// retryPolicy bounds how long the plugin itself waits for a failover; the caller's context may end it earlier. Temporal
// retries what is left.
var retryPolicy = backoff.NewExponentialRetryPolicy(20 * time.Millisecond).
	WithMaximumInterval(500 * time.Millisecond).
	WithExpirationInterval(10 * time.Second)

// execPacket sends a packet whose statements return no rows.
func (c *conn) execPacket(ctx context.Context, p packet, r replay) (driver.Result, error) {
	return retry(ctx, c, p, r, c.baseExec)
}

// queryPacket sends a packet whose last statement, or more, returns rows.
func (c *conn) queryPacket(ctx context.Context, p packet, r replay) (driver.Rows, error) {
	return retry(ctx, c, p, r, c.baseQuery)
}

// These call through c, whose baseConn a retry may replace.

func (c *conn) baseExec(ctx context.Context, sql string, args []driver.NamedValue) (driver.Result, error) {
	return c.baseConn.ExecContext(ctx, sql, args)
}

func (c *conn) baseQuery(ctx context.Context, sql string, args []driver.NamedValue) (driver.Rows, error) {
	return c.baseConn.QueryContext(ctx, sql, args)
}

// retry sends a packet, and sends it again after an error that allows it: where the packet is fresh and the server did
// nothing, or undid all of it, or where the connection was stale.
func retry[T any](
	ctx context.Context,
	c *conn,
	p packet,
	r replay,
	send func(context.Context, string, []driver.NamedValue) (T, error),
) (T, error) {
	result, err := send(ctx, p.sql, p.args)
	if err == nil || !r.fresh || ctx.Err() != nil {
		return result, c.explain(err, p.sql)
	}
	// Only now, since most packets need none of this.
	reconnected := false
	err = backoff.ThrottleRetryContext(ctx, func(ctx context.Context) error {
		if err == nil { // not the first pass, which is about the error above
			result, err = send(ctx, p.sql, p.args)
		}
		met := err
		err = nil
		if met == nil {
			return nil
		}
		class := classify(met)
		switch {
		case errors.Is(met, driver.ErrBadConn), class == Ambiguous && !r.commits && !c.baseConn.IsValid():
			// A connection that was idle for long is often lost; one that is new is not.
			if reconnected {
				return met
			}
			if reconnected = true; c.reconnect(ctx) != nil {
				return met
			}
			class = NotExecuted
		case !class.retryable(), r.transaction && c.rollback(ctx) != nil:
			return met
		}
		return &again{class, met}
	}, retryPolicy, func(err error) bool {
		var transient *again
		if !errors.As(err, &transient) {
			return false
		}
		c.connector.observer.retrying(transient.class)
		return true
	})
	var transient *again
	if errors.As(err, &transient) {
		err = transient.err
	}
	return result, c.explain(err, p.sql)
}

// again wraps an error after which a packet may be sent again.
type again struct {
	class Class
	err   error
}

func (a *again) Error() string { return a.err.Error() }

// reconnect replaces a lost connection.
func (c *conn) reconnect(ctx context.Context) error {
	fresh, err := c.connector.connectBase(ctx)
	if err != nil {
		return err
	}
	_ = c.baseConn.Close()
	c.baseConn = fresh
	return nil
}

// rollback ends the server's transaction. It does not end with the caller's context, which often is what failed.
func (c *conn) rollback(ctx context.Context) error {
	_, err := c.baseConn.ExecContext(context.WithoutCancel(ctx), "rollback", nil)
	if err != nil {
		// The next user of the connection must not find the transaction open.
		_ = c.baseConn.Close()
	}
	return c.explain(err, "rollback")
}

// maxQuoted is how much of a statement an error quotes, in bytes.
const maxQuoted = 2000

// explain counts an error of the server or connection and returns what upstream should see: the server's answer to a
// statement as it is, as well as the end of the caller's context; of all else an [Error].
func (c *conn) explain(err error, sql string) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	if len(sql) > maxQuoted {
		sql = sql[:maxQuoted] + "…"
	}
	if errors.Is(err, driver.ErrSkip) { // go-sql-driver asks for a server-side PREPARE
		return &Error{Class: Refused, Text: "the values of a statement could not be filled in: it has to stay below maxAllowedPacket " +
			"(connectAttributes, 64 MiB by default) with them, and have as many as placeholders (statement: " + sql + ")"}
	}
	class := classify(err)
	c.connector.observer.failed(class)
	if readOnly(err) && c.connector.plainMySQL.Load() {
		// The server itself was demoted: a new connection may reach its successor. Behind a vtgate the connection is as
		// good as any.
		_ = c.baseConn.Close()
	}
	if class == Refused || class == Canceled {
		return err
	}
	explained := &Error{Class: class, Text: fmt.Sprintf("%v (statement: %s)", err, sql)}
	if class == Defect {
		c.connector.observer.defect(explained, c.scratch.plans)
	}
	return explained
}
