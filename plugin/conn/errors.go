package conn

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Class says what an error means for the statement or transaction that met it.
type Class string

// The classes of errors.
const (
	// Refused is the server's answer to the statement itself, as a duplicate key; sending it again gives the same.
	Refused Class = "refused"
	// NotExecuted means that the statement did nothing: its Vitess shard was failing over, moving or down.
	NotExecuted Class = "not_executed"
	// NotCommitted means that the transaction, or the statement outside of one, was rolled back.
	NotCommitted Class = "not_committed"
	// Overloaded means that the server did not take the statement because it has too much to do.
	Overloaded Class = "overloaded"
	// Ambiguous means that the statement or transaction may have been applied or not.
	Ambiguous Class = "ambiguous"
	// Defect means that the statement breaks the rules of routing: never to be sent again.
	Defect Class = "defect"
	// Canceled means that the caller's context ended.
	Canceled Class = "canceled"
)

// retryable reports whether what met the error may be sent again, where nothing before it has been applied.
func (c Class) retryable() bool { return c == NotExecuted || c == NotCommitted }

// errorTable has the errors of vtgate and MySQL that mean more than that a statement was refused: the first row whose
// number (0 for any) and text match an error decides. The texts are those of Vitess 0.24.
var errorTable = []struct {
	number uint16
	text   string
	class  Class
	// when it is seen.
	when string
}{
	{1062, "", Refused, "a duplicate key, whatever the key's values say"},

	{0, "multi-db transaction attempted", Defect, "a transaction writes to a second Vitess shard"},
	{0, "VT12001", Defect, "vtgate does not support the statement on a sharded keyspace"},
	{0, "which is disallowed using the `no-scatter`", Defect, "a query without its sharding column"},
	{0, "VT09032", NotCommitted, "a statement after a failed one that rolled the transaction back"},
	{0, "VT15001", NotCommitted, "the first statement of a transaction, while its Vitess shard fails over"},

	{0, "transaction pool connection limit exceeded", Overloaded, "a vttablet has no connection for a transaction"},
	{0, "transaction pool connection waiter cap exceeded", Overloaded, "a vttablet has no connection for a transaction"},
	{0, "connection pool waiter cap reached", Overloaded, "a vttablet has no connection for a statement"},
	{0, "connection pool timed out", Overloaded, "a vttablet has no connection for a statement"},
	{0, "Transaction throttled", Overloaded, "Vitess' transaction throttler"},
	{1040, "", Overloaded, "too many connections"},
	{1041, "", Overloaded, "out of resources"},
	{1203, "", Overloaded, "too many connections of the user"},

	{0, "no healthy tablet available", NotExecuted, "failover, not buffered"},
	{0, "primary is not serving, there may be a reparent operation in progress", NotExecuted, "failover"},
	{0, "operation not allowed in state SHUTTING_DOWN", NotExecuted, "demotion"},
	{0, "operation not allowed in state NOT_SERVING", NotExecuted, "demotion"},
	{0, "disallowed due to rule: enforce denied tables", NotExecuted, "MoveTables switches traffic"},
	{0, "current keyspace is being resharded", NotExecuted, "Reshard switches traffic"},
	{0, "destination shard is missing after a resharding operation", NotExecuted, "Reshard switched traffic"},
	{0, "unexpected 'autocommitted' state in transaction", NotExecuted, "Reshard switches traffic during an insert outside of a transaction"},
	{0, "connect: connection refused", NotExecuted, "a vttablet is down"},
	{1053, "", NotExecuted, "the vtgate is shutting down"},
	{1290, "", NotExecuted, "the primary was demoted"},
	{1792, "", NotExecuted, "the primary was demoted"},
	{1836, "", NotExecuted, "the primary was demoted"},

	{0, "exceeded timeout", NotCommitted, "vttablet's transaction killer"},
	{0, "for tx killer rollback", NotCommitted, "vttablet's transaction killer"},
	{0, "not found (potential transaction timeout)", NotCommitted, "a statement after vttablet's transaction killer"},
	{1213, "", NotCommitted, "a deadlock"},

	{0, "code = Canceled desc = EOF", Ambiguous, "mysqld was killed"},
	{0, "initial packet read failed", Ambiguous, "mysqld was killed"},
	{2006, "", Ambiguous, "a vttablet lost its mysqld"},
	{2013, "", Ambiguous, "a vttablet lost its mysqld"},
	{0, "code = Unavailable", Ambiguous, "a vttablet went away during the statement"},
}

// classify returns the class of an error of the driver.
func classify(err error) Class {
	var serverError *mysql.MySQLError
	var classified *Error
	switch {
	case errors.As(err, &classified):
		return classified.Class
	case errors.As(err, &serverError):
		// A vttablet ends its errors with the statement and its values, which may hold any text.
		message, _, _ := strings.Cut(serverError.Message, `: Sql: "`)
		for _, row := range errorTable {
			if (row.number == 0 || row.number == serverError.Number) && strings.Contains(message, row.text) {
				return row.class
			}
		}
		return Refused
	case errors.Is(err, driver.ErrBadConn): // go-sql-driver returns it only where it sent nothing
		return NotExecuted
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	default: // a lost connection
		return Ambiguous
	}
}

// readOnly reports whether a server refused a write because it is a replica.
func readOnly(err error) bool {
	var serverError *mysql.MySQLError
	return errors.As(err, &serverError) && (serverError.Number == 1290 || serverError.Number == 1792 || serverError.Number == 1836)
}

// Error is an error of the server or the connection that is not the server's answer to one statement. It does not
// unwrap: upstream's sqlplugin.DatabaseHandle replaces the whole pool on some of these errors, though they concern one
// Vitess shard or one connection.
type Error struct {
	Class Class
	// Text has what happened, and to which statement.
	Text string
}

func (e *Error) Error() string { return e.Text + " (" + string(e.Class) + ")" }
