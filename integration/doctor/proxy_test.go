package doctor

import (
	"context"
	"database/sql/driver"
	"strings"
)

// rewriting is a connector whose connections send another statement in place of one, as a proxy may: for what no vtgate
// does by itself.
type rewriting struct {
	driver.Connector
	from, to string
}

func (r rewriting) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return rewritingConn{opened.(baseConn), r}, nil
}

// baseConn is what database/sql uses of a connection of go-sql-driver/mysql.
type baseConn interface {
	driver.Conn
	driver.Pinger
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

type rewritingConn struct {
	baseConn
	rewriting
}

func (c rewritingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.baseConn.QueryContext(ctx, c.rewrite(query), args)
}

func (c rewritingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.baseConn.ExecContext(ctx, c.rewrite(query), args)
}

func (r rewriting) rewrite(statement string) string {
	return strings.ReplaceAll(statement, r.from, r.to)
}
