package live

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/temporal-vitess/temporal-vitess/internal/vtgates"
)

const (
	// turn is the name of the lock of a run that changes schema or VSchema.
	turn = "'temporal-vitess-tool'"
	// turnAgain is the time between two questions about the lock. Vitess keeps the connection of a lock only while it is
	// in use (vttablet's --queryserver-config-transaction-timeout).
	turnAgain = time.Second
)

// TakeTurn returns once no other run that has taken its turn is at work; waits is called if there is one. The caller ends
// its own turn. A turn is one for all keyspaces, since all have their VSchema in one place (topo's SrvVSchema), and for all
// vtgates: they have GET_LOCK done by the first Vitess shard of the first keyspace. If that one goes away the turn is lost,
// which nobody is told: another run may begin then.
func (v *Vitess) TakeTurn(ctx context.Context, waits func()) (end func(), err error) {
	session, err := v.DB.Conn(ctx)
	if err != nil {
		return nil, vtgates.Explain(err, options)
	}
	// The lock goes with the session.
	leave := func() { _ = session.Raw(func(any) error { return driver.ErrBadConn }) }
	for asked := false; ; asked = true {
		taken, err := ask(ctx, session, "GET_LOCK("+turn+", 0)")
		if err != nil {
			leave()
			return nil, err
		}
		if taken {
			break
		}
		if !asked {
			waits()
		}
		select {
		case <-time.After(turnAgain):
		case <-ctx.Done():
			leave()
			return nil, ctx.Err()
		}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				_, _ = ask(ctx, session, "RELEASE_LOCK("+turn+")")
				leave()
				return
			case <-time.After(turnAgain):
				_, _ = ask(ctx, session, "IS_USED_LOCK("+turn+")")
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}, nil
}

// askTimeout bounds a question about the lock, which outlives the caller's context.
const askTimeout = 5 * time.Second

// ask returns whether a lock function returns something else than 0 and NULL.
func ask(ctx context.Context, session *sql.Conn, function string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	var answer sql.NullInt64
	err := session.QueryRowContext(ctx, "SELECT "+function).Scan(&answer)
	return answer.Int64 != 0, err
}
