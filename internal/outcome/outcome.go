// Package outcome says what an error means: whether what was sent has been done, and whether it may be sent again. This
// follows from the error and from what was sent, see [Of]. The table of errors is in table.go.
package outcome

import (
	"context"
	"database/sql/driver"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Class says what an error means for the packet that met it.
type Class string

// The classes of errors.
const (
	// Refused is the server's answer to the statement itself, as a duplicate key; sending it again gives the same.
	Refused Class = "refused"
	// NotExecuted means that the statements did nothing, as their Vitess shard was failing over, moving or down; or that
	// they were to read, and the answer was lost.
	NotExecuted Class = "not_executed"
	// NotCommitted means that the transaction, or the statement outside of one, was rolled back or is about to be.
	NotCommitted Class = "not_committed"
	// Overloaded means that the server did not take the statements because it has too much to do.
	Overloaded Class = "overloaded"
	// Ambiguous means that a COMMIT, or a write outside of a transaction, may have been applied or not.
	Ambiguous Class = "ambiguous"
	// Defect means that the statement breaks the rules of routing: never to be sent again.
	Defect Class = "defect"
	// Canceled means that the caller's context ended.
	Canceled Class = "canceled"
	// Unknown means that the text of the error is in no table. It is not sent again, and counts as ambiguous where it
	// can be.
	Unknown Class = "unknown"
)

// Holds says what a packet has in it, as far as it decides what its error leaves open.
type Holds int

const (
	// Repeatable changes nothing, or nothing more when it is done twice: reads, and upserts outside of a transaction.
	Repeatable Holds = iota
	// Uncommitted is a part of a transaction without its COMMIT.
	Uncommitted
	// Committing has a COMMIT.
	Committing
	// Autocommit is a write outside of a transaction, which vtgate may have tried more than once.
	Autocommit
)

// Error is an error that is not the server's answer to one statement. It does not unwrap: upstream's
// sqlplugin.DatabaseHandle replaces the whole pool on some of the errors that lie below, though they concern one Vitess
// shard or one connection. It is a serviceerror.ServiceError, so that a caller of Temporal gets its status and its one
// sentence; the log has the statements.
type Error struct {
	Class Class
	// Doing is what was to be done.
	Doing string
	// Place is the keyspace and Vitess shard, as in temporal/-80, or the keyspace; "" if it is not known.
	Place string
	// TooLong is set where the statements took longer than they may, and would again.
	TooLong bool
	// Committed is set where the transaction is committed nevertheless.
	Committed bool
	// Holds is what the packet had in it.
	Holds Holds
	// Cause is the error as it was met, for the log; nothing unwraps to it.
	Cause error
}

var _ serviceerror.ServiceError = (*Error)(nil)

// Error returns a sentence of bounded length, without SQL.
func (e *Error) Error() string {
	text := e.Doing
	if e.Place != "" {
		text += " on " + e.Place
	}
	if e.Cause != nil {
		text += ": " + excerpt(e.Cause)
	}
	if e.Committed {
		text += "; the transaction is committed"
	}
	return text + " (" + string(e.Class) + ")"
}

// SafeToRetry reports whether all that the packet was to do can be done again: it has no effect, or none that is left
// once its transaction is rolled back.
func (e *Error) SafeToRetry() bool { return e.Class == NotExecuted || e.Class == NotCommitted }

// MayBeApplied reports whether what was to be done may be done, or is.
func (e *Error) MayBeApplied() bool {
	return e.Committed || e.Class == Ambiguous || e.Class == Unknown && e.Holds >= Committing
}

// Status returns what a caller of Temporal gets where upstream's stores let the error through: Unavailable, which is
// worth another try, but for overload (ResourceExhausted) and what fails each time (Internal).
func (e *Error) Status() *status.Status {
	switch e.Class {
	case Overloaded:
		return (&serviceerror.ResourceExhausted{
			Cause:   enumspb.RESOURCE_EXHAUSTED_CAUSE_SYSTEM_OVERLOADED,
			Scope:   enumspb.RESOURCE_EXHAUSTED_SCOPE_SYSTEM,
			Message: e.Error(),
		}).Status()
	case Defect, Refused:
		return status.New(codes.Internal, e.Error())
	default:
		return status.New(codes.Unavailable, e.Error())
	}
}

// Of returns what upstream should see of an error of the driver: the server's answer to a statement as it is, as
// well as the end of the caller's context, for which it asks by ==; of all else an [Error].
func Of(err error, holds Holds) error {
	var answer *mysql.MySQLError
	var known *Error
	class, tooLong := Ambiguous, false // a connection that was lost
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &answer):
		var number uint16
		number, class, tooLong = classify(answer)
		if holds == Autocommit && class != Refused && class != Defect && class != Unknown && !direct(answer) {
			class = Ambiguous
		}
		if class == Refused {
			if number != answer.Number {
				answer = &mysql.MySQLError{Number: number, SQLState: answer.SQLState, Message: answer.Message}
			}
			return answer
		}
	case errors.Is(err, driver.ErrBadConn): // go-sql-driver returns it only where it sent nothing
		class = NotExecuted
	case errors.Is(err, driver.ErrSkip), errors.Is(err, mysql.ErrPktTooLarge): // the former asks for a server-side PREPARE
		class, err = Refused, errors.New("the values of a statement could not be filled in: it has to stay below maxAllowedPacket "+
			"(connectAttributes, 64 MiB by default) with them, and have as many as placeholders")
	}
	if class == Ambiguous && holds == Uncommitted {
		class = NotCommitted
	}
	if class == Ambiguous && holds == Repeatable {
		class = NotExecuted
	}
	return &Error{Class: class, TooLong: tooLong, Place: target(err), Holds: holds, Cause: err}
}

// ClassOf returns the class of an error that [Of] returned, "" of none.
func ClassOf(err error) Class {
	var classified *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &classified):
		return classified.Class
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	default:
		return Refused
	}
}

var (
	// numbers are how vttablet passes MySQL's error number on.
	numbers = regexp.MustCompile(`\(errno (\d+)\) \(sqlstate \w{5}\)`)
	// targets are how vtgate names a Vitess shard.
	targets = regexp.MustCompile(`target: ([^.\s]+)\.([^.\s]+)\.\w+`)
	// wrappings come before the words of who met an error first.
	wrappings = regexp.MustCompile(`^(?:target: \S+: |vttablet: |rpc error: code = \S+ desc = |VT15001: [^:]*: )+`)
)

// direct reports whether an answer is that of the server that a connection leads to, to the only attempt there was: a
// MySQL's own, or a vtgate's that takes nothing more. Others come by way of a vttablet, after as many as three attempts
// where a write is outside of a transaction (TabletGateway.withRetry); only the last is told of, and one before it may
// have been applied.
func direct(answer *mysql.MySQLError) bool {
	// Vtgate gives 1105, 1317 and 1815 to what has no number (go/mysql/sqlerror, mapToSQLErrorFromErrorCode).
	return !targets.MatchString(answer.Message) && !slices.Contains([]uint16{1105, 1317, 1815}, answer.Number)
}

// classify returns the class of an answer of the server, its error number as MySQL gave it, and whether it took too long.
// Vtgate takes the first "(errno …)" in a text for the number, which may be in a value of the
// user's: so texts that quote values are known by their beginning, and of all others the last number counts.
func classify(answer *mysql.MySQLError) (number uint16, class Class, tooLong bool) {
	// A vttablet ends its errors with the statement and its values. A vtgate that gave up begins with the statement.
	message, _, _ := strings.Cut(answer.Message, `: Sql: "`)
	words := wrappings.ReplaceAllString(message, "")
	for _, quoting := range quotingTexts {
		if strings.HasPrefix(words, quoting.text) {
			return quoting.number, Refused, false
		}
	}
	const retries = "failed after retries: "
	if last := strings.LastIndex(message, retries); last >= 0 {
		message = message[last+len(retries):]
	}
	number = answer.Number
	if all := numbers.FindAllStringSubmatch(message, -1); len(all) > 0 {
		if last, err := strconv.ParseUint(all[len(all)-1][1], 10, 16); err == nil {
			number = uint16(last)
		}
	}
	for _, row := range errorTable {
		if (row.number == 0 || row.number == number) && strings.Contains(message, row.text) {
			return number, row.class, row.tooLong
		}
	}
	if slices.Contains(refusedNumbers, number) {
		return number, Refused, false
	}
	return number, Unknown, false
}

// ReadOnly reports whether a server refused a write because it is a replica.
func ReadOnly(err error) bool {
	var answer *mysql.MySQLError
	return errors.As(err, &answer) && (answer.Number == 1290 || answer.Number == 1792 || answer.Number == 1836)
}

// ShuttingDown reports whether the vtgate that a connection leads to takes nothing more on it: it has not begun with the
// packet. An error that a vttablet or mysqld met names its target.
func ShuttingDown(err error) bool {
	var answer *mysql.MySQLError
	return errors.As(err, &answer) && answer.Number == 1053 && !targets.MatchString(answer.Message)
}

// target returns the keyspace and Vitess shard that an error names, "" if it names none.
func target(err error) string {
	match := targets.FindStringSubmatch(err.Error())
	if match == nil {
		return ""
	}
	return match[1] + "/" + match[2]
}

// maxExcerpt is how much an error quotes of the server's words, in bytes.
const maxExcerpt = 300

// excerpt returns the server's words without SQL and values.
func excerpt(err error) string {
	message := err.Error()
	if answer := (*mysql.MySQLError)(nil); errors.As(err, &answer) {
		message = answer.Message
	}
	message, _, _ = strings.Cut(message, `: Sql: "`)
	message, _, _ = strings.Cut(message, " (CallerID: ")
	message = wrappings.ReplaceAllString(message, "")
	if len(message) > maxExcerpt {
		message = strings.ToValidUTF8(message[:maxExcerpt], "") + "…"
	}
	return message
}
