package outcome

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
)

func answer(number uint16, message string) *mysql.MySQLError {
	return &mysql.MySQLError{Number: number, Message: message}
}

// vttablet is how vtgate passes the error of a vttablet on.
func vttablet(code, text string) string {
	return "target: temporal.-80.primary: vttablet: rpc error: code = " + code + " desc = " + text
}

func TestWhatAnErrorMeansFollowsFromWhatWasSent(t *testing.T) {
	all := []Holds{Repeatable, Uncommitted, Committing, Autocommit}
	for _, test := range []struct {
		name string
		err  error
		// want for each of the above.
		want [4]Class
	}{
		// A connection of the driver's.
		{"nothing was sent", driver.ErrBadConn, [4]Class{NotExecuted, NotExecuted, NotExecuted, NotExecuted}},
		{"a lost connection", mysql.ErrInvalidConn, [4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"any other error of a connection", errors.New("broken pipe"), [4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"the end of a context", fmt.Errorf("query: %w", context.Canceled), [4]Class{Canceled, Canceled, Canceled, Canceled}},

		// Failover. Outside of a transaction vtgate tries a write up to three times, and tells of the last try only
		// (go/vt/vtgate/tabletgateway.go, withRetry): so what comes by way of a vttablet leaves it open.
		{"no vttablet", answer(1105, "target: temporal.-80.primary: no healthy tablet available for 'keyspace:\"temporal\" shard:\"-80\" tablet_type:PRIMARY'"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"BEGIN during a demotion (go/vt/vttablet/tabletserver/tx_engine.go)", answer(1105, vttablet("Unavailable", "tx engine can't accept new connections in state NotServing")),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"the same from vtcombo", answer(1105, "target: temporal.-80.primary: vttablet: tx engine can't accept new connections in state Transitioning"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"another type of vttablet (state_manager.go)", answer(1105, vttablet("FailedPrecondition", "wrong tablet type: PRIMARY, want: REPLICA or [REPLICA]")),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"the end of a failover (tabletgateway.go)", answer(1105, "target: temporal.-80.primary: inconsistent state detected, primary is serving but initially found no available tablet"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"no connection (vterrors/code.go)", answer(1105, "target: temporal.-80.primary: VT14002: no available connection"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"a full buffer (buffer/buffer.go)", answer(1105, "target: temporal.-80.primary: failed to automatically buffer and retry failed request during failover. original err (type=*vterrors.fundamental): primary is not serving, there may be a reparent operation in progress: primary buffer is full"),
			[4]Class{Overloaded, Overloaded, Overloaded, Ambiguous}},
		{"a place in the buffer that was lost (buffer/buffer.go)", answer(1105, "target: temporal.-80.primary: failed to automatically buffer and retry failed request during failover. original err (type=<nil>): <nil>: buffer full: request evicted for newer request"),
			[4]Class{Overloaded, Overloaded, Overloaded, Ambiguous}},
		{"a failover that took too long (buffer/buffer.go)", answer(1105, "target: temporal.-80.primary: failed to automatically buffer and retry failed request during failover. original err (type=<nil>): <nil>: context was canceled before failover finished: context deadline exceeded"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"the first statement of a transaction", answer(1105, "VT15001: transaction error, issue ROLLBACK and retry the transaction: target: temporal.-80.primary: vttablet: rpc error: code = Code(17) desc = operation not allowed in state NOT_SERVING"),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},
		{"a vttablet that cannot be reached", answer(1105, vttablet("Unavailable", `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`)),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"a vttablet that cannot reach its mysqld (go/mysql/client.go)", answer(2003, vttablet("Unavailable", "net.Dial(127.0.0.1:3306) failed: connect: no route to host (errno 2003) (sqlstate HY000)")),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"a vttablet that went away during the statement", answer(1105, vttablet("Unavailable", "error reading from server: EOF")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"a vttablet that lost its mysqld", answer(2013, vttablet("Canceled", "EOF (errno 2013) (sqlstate HY000) (CallerID: u): Sql: \"commit\", BindVars: {}")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"a demoted primary", answer(1290, vttablet("Code(17)", "The MySQL server is running with the --super-read-only option so it cannot execute this statement (errno 1290) (sqlstate HY000)")),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},

		// Transactions that vttablet has ended (go/pools/numbered.go, stateful_connection.go).
		{"by its killer", answer(1317, vttablet("Aborted", "transaction 17: ended at 2026-11-26 05:00:00 UTC (exceeded timeout: 30s)")),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},
		{"by ROLLBACK", answer(1317, vttablet("Aborted", "transaction 17: ended at 2026-11-26 05:00:00 UTC (transaction rolled back)")),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},
		{"with a closed connection", answer(1317, vttablet("Aborted", "transaction 17: ended at 2026-11-26 05:00:00 UTC (unlocked closed connection)")),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},
		{"by COMMIT", answer(1317, vttablet("Aborted", "transaction 17: ended at 2026-11-26 05:00:00 UTC (transaction committed)")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"as mysqld closed the connection", answer(1317, vttablet("Aborted", "transaction was aborted: 17")),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},
		{"as mysqld closed the connection, outside of a transaction", answer(1317, vttablet("Aborted", "connection was aborted")),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},

		// Statements that took too long (dbconn.go, kill).
		{"in a transaction", answer(3024, vttablet("DeadlineExceeded", "(errno 3024) (sqlstate HY000): Query execution was interrupted, maximum statement execution time exceeded: killing connection ID 12")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"outside", answer(1317, vttablet("Canceled", "(errno 1317) (sqlstate 70100): Query execution was interrupted: killing query ID 12")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},
		{"for vtgate", answer(1317, vttablet("DeadlineExceeded", "context deadline exceeded")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},

		// Resharding and MoveTables.
		{"a switch of MoveTables", answer(1105, vttablet("FailedPrecondition", "disallowed due to rule: enforce denied tables (CallerID: u)")),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},
		{"a switch of MoveTables that took long, whose text begins with the statement", answer(1815, `query insert into t values ('multi-db transaction attempted') failed after retries: disallowed due to rule: enforce denied tables`),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, Ambiguous}},

		// The end of a server.
		{"of a vtgate (go/vt/vtgate/plugin_mysql_server.go)", answer(1053, "Server shutdown in progress"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, NotExecuted}},
		{"of a mysqld", answer(1053, vttablet("Unavailable", "Server shutdown in progress (errno 1053) (sqlstate 08S01)")),
			[4]Class{NotExecuted, NotCommitted, Ambiguous, Ambiguous}},

		// Answers.
		{"a table that is missing", answer(1146, "Table 'a.b' doesn't exist"), [4]Class{Refused, Refused, Refused, Refused}},
		{"too many rows", answer(1317, "Row count exceeded 10000"), [4]Class{Refused, Refused, Refused, Refused}},
		{"a lock that is not free", answer(1205, "Lock wait timeout exceeded; try restarting transaction"), [4]Class{Refused, Refused, Refused, Refused}},
		{"a text that is in no table", answer(1105, vttablet("Internal", "what nobody has seen")), [4]Class{Unknown, Unknown, Unknown, Unknown}},

		// Values that read like another error.
		{"of a duplicate key", answer(1062, "Duplicate entry 'VT12001' for key 'PRIMARY'"), [4]Class{Refused, Refused, Refused, Refused}},
		{"of a statement behind the error", answer(1213, vttablet("Aborted", `Deadlock found when trying to get lock (errno 1213) (sqlstate 40001) (CallerID: u): Sql: "insert into t values (:a)", BindVars: {a: "type:VARCHAR value:\"VT12001\""}`)),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, Ambiguous}},

		// Of a server without a vtgate before it, there was one attempt.
		{"a deadlock of MySQL's own", answer(1213, "Deadlock found when trying to get lock; try restarting transaction"),
			[4]Class{NotCommitted, NotCommitted, NotCommitted, NotCommitted}},
		{"a demoted MySQL", answer(1290, "The MySQL server is running with the --super-read-only option so it cannot execute this statement"),
			[4]Class{NotExecuted, NotExecuted, NotExecuted, NotExecuted}},

		{"an error that is classified already", fmt.Errorf("x: %w", &Error{Class: Overloaded}), [4]Class{Overloaded, Overloaded, Overloaded, Overloaded}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, holds := range all {
				require.Equal(t, test.want[i], ClassOf(Of(test.err, holds)), "%d", holds)
			}
		})
	}
}

// Vtgate takes the first number in a text for the error's (go/mysql/sqlerror/sql_error.go), which a value can have.
func TestTheNumberOfAnErrorIsNotWhatAValueSays(t *testing.T) {
	met := Of(answer(1213, vttablet("AlreadyExists", "Duplicate entry '1-(errno 1213) (sqlstate 40001)' for key 'executions.PRIMARY' (errno 1062) (sqlstate 23000)")), Uncommitted)
	var duplicate *mysql.MySQLError
	require.ErrorAs(t, met, &duplicate)
	require.EqualValues(t, 1062, duplicate.Number, "upstream asks for it")

	met = Of(answer(1062, vttablet("Aborted", "Deadlock found, says '(errno 1062) (sqlstate 23000)' (errno 1213) (sqlstate 40001)")), Uncommitted)
	require.Equal(t, NotCommitted, ClassOf(met))
}

func TestErrorsAreOneSentenceWithAStatus(t *testing.T) {
	long := strings.Repeat("x", 5000)
	met := Of(answer(1105, vttablet("Unavailable", "no healthy tablet available (CallerID: u): Sql: \"insert "+long+"\"")), Uncommitted).(*Error)
	met.Doing = "insert transfer_tasks"
	require.Equal(t, "insert transfer_tasks on temporal/-80: no healthy tablet available (not_executed)", met.Error())
	require.Less(t, len((&Error{Class: Unknown, Cause: errors.New(long)}).Error()), 400)
	require.True(t, met.SafeToRetry())
	require.False(t, met.MayBeApplied())

	for class, code := range map[Class]codes.Code{
		NotExecuted: codes.Unavailable, NotCommitted: codes.Unavailable, Ambiguous: codes.Unavailable, Unknown: codes.Unavailable,
		Overloaded: codes.ResourceExhausted, Defect: codes.Internal, Refused: codes.Internal,
	} {
		require.Equal(t, code, serviceerror.ToStatus(fmt.Errorf("read: %w", &Error{Class: class})).Code(), class)
	}
	require.True(t, (&Error{Class: Unknown, Holds: Committing}).MayBeApplied())
	require.False(t, (&Error{Class: Unknown, Holds: Uncommitted}).MayBeApplied())
	require.True(t, (&Error{Class: Defect, Committed: true}).MayBeApplied())
}

func TestWhatTookTooLongSaysSo(t *testing.T) {
	for message, want := range map[string]bool{
		"(errno 3024) (sqlstate HY000): Query execution was interrupted, maximum statement execution time exceeded: killing connection ID 12": true,
		"context deadline exceeded":           true,
		"no healthy tablet available for 'x'": false,
	} {
		require.Equal(t, want, Of(answer(1105, vttablet("DeadlineExceeded", message)), Repeatable).(*Error).TooLong, message)
	}
}

func TestAContextsErrorIsBare(t *testing.T) {
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		require.True(t, err == Of(fmt.Errorf("dial: %w", err), Committing), "upstream asks by ==")
	}
}

func TestEachRowOfTheErrorTableDecides(t *testing.T) {
	for i, row := range errorTable {
		number := row.number
		if number == 0 {
			number = 1105
		}
		// Rows above match as well only where they say the same.
		_, class, _ := classify(answer(number, "target: temporal.-80.primary: "+row.text))
		require.Equal(t, row.class, class, "row %d: %d %q", i, row.number, row.text)
		require.NotEmpty(t, row.when)
	}
}

// unreachable are errors of Vitess' that no client of vtgate meets with Temporal's statements, or that are not the
// statements': by the beginning of their texts, with the reason.
var unreachable = map[string]string{
	"timed out while waiting for connections to be returned to the pool": "the end of a pool, in vttablet's log",
	"health stats mismatch":                 "vtgate's health check",
	"failed to parse list of tablet types":  "VStream's and VReplication's choice of a vttablet",
	"Missing required field":                "VStream's and VReplication's choice of a vttablet",
	"cannot have local cell preference":     "VStream's and VReplication's choice of a vttablet",
	"VT10001":                               "DDL",
	"VT10002":                               "transactions over several Vitess shards",
	"VT14001":                               "not in use",
	"VT14005":                               "not in use",
	"The used SELECT statements have":       "UNION",
	"could not validate ":                   "CREATE and DROP DATABASE",
	"Cannot add or update a child row":      "foreign keys",
	"Cannot delete or update a parent row":  "foreign keys",
	"lock query can be routed":              "GET_LOCK",
	"Mirror target query took too long":     "vtgate's statistics",
	"should get a single row":               "SET from a query",
	"cannot set tablet target":              "statements to a certain vttablet",
	"cannot change tablet target":           "statements to a certain vttablet",
	"binlog dump is disabled":               "COM_BINLOG_DUMP",
	"BinlogDumpEngine is closed":            "COM_BINLOG_DUMP",
	"message stream from":                   "messages",
	"messager engine is closed":             "messages",
	"'x' is not a message table":            "messages",
	"sequence table has to be":              "a VSchema with sequences",
	"ambiguous vindex reference":            "a vindex as a table",
	"vstream failed liveness checks":        "VStream",
	"error streaming from tablet":           "VStream",
	"shard provided in VGTID":               "VStream",
	"column x not found in table":           "VStream",
	"cannot use column names in vstream":    "VStream",
	"unexpected server EOF while parsing":   "VStream",
	"commit prepared":                       "transactions over several Vitess shards",
	"prepare failed for transaction":        "transactions over several Vitess shards",
	"Prepared transactions have not":        "transactions over several Vitess shards",
	"prepared transactions exceeded limit":  "transactions over several Vitess shards",
	"tabletserver is shutdown":              "vtgate's health check",
	"stream health buffer overflowed":       "vtgate's health check",
	"replication is not running":            "vtgate's health check",
	"x not allowed for streaming":           "workload=olap",
	"stream lagged behind":                  "workload=olap",
	"x not allowed without reserved":        "LOCK and FLUSH",
	"unlock tables should be executed":      "LOCK and FLUSH",
	"[BUG] x not allowed without setting":   "LOCK and FLUSH",
	"connection is already reserved":        "LOCK and FLUSH",
	"--tx-throttler-tablet-types":           "vttablet's start",
	"Server isn't available":                "vttablet's start",
	"resource pool context already expired": "pools of VReplication's",
	"transaction x: x":                      "what ended it decides, see the table",
}

// Each error of Vitess' that may pass has a decision. One that fails here is new: find where it comes from, and give it a
// row in errorTable, or one above.
func TestEveryErrorOfVitessHasADecision(t *testing.T) {
	all := vitessErrors(t)
	require.Greater(t, len(all), 100)
	for _, e := range all {
		decided := false
		for beginning := range unreachable {
			decided = decided || strings.HasPrefix(e.text, beginning)
		}
		forms := []string{e.text, "target: temporal.-80.primary: vttablet: " + e.text}
		if e.code == "FAILED_PRECONDITION" { // the other codes are rows of the table
			forms = append(forms, vttablet("FailedPrecondition", e.text))
		}
		for _, form := range forms {
			_, class, _ := classify(answer(1105, form))
			decided = decided || class != Unknown
		}
		if !decided {
			t.Errorf("%s:%d: %s: %q has no decision", e.file, e.line, e.code, e.text)
		}
	}
}

// composed are the texts of the error table that are in no string literal of Vitess' as they stand: parts of it, or of
// gRPC's, MySQL's and the system's, that were seen together.
var composed = map[string]string{
	"disallowed due to rule: enforce denied tables":           "enforce denied tables",
	"code = FailedPrecondition desc = disallowed due to rule": "disallowed due to rule",
	"vttablet: Connection Closed":                             "Connection Closed",
	": ended at ":                                             "ended at",
	": in use: ":                                              "in use: ",
	"(transaction committed)":                                 "transaction committed",
	"in use: transaction committed":                           "transaction committed",
	"vttablet: ":                                              "vttablet: ",
	// gRPC's, MySQL's and the system's.
	"rror while dialing": "", "error reading server preface": "", "name resolver error": "", "Too many connections": "",
	"code = Canceled desc = ": "", "code = Unavailable": "", "code = DeadlineExceeded": "",
	"context deadline exceeded": "", "context canceled": "", "stream terminated by RST_STREAM": "", "grpc: the client connection is closing": "",
	"grpc: received message larger than max": "", "grpc: trying to send message larger than max": "",
}

func TestTheTextsOfTheErrorTableAreVitess(t *testing.T) {
	missing := map[string]bool{}
	for _, row := range errorTable {
		text := row.text
		if part, ok := composed[text]; ok {
			text = part
		}
		if text != "" {
			missing[text] = true
		}
	}
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "vitess.io/vitess").Output()
	require.NoError(t, err)
	source := filepath.Join(strings.TrimSpace(string(output)), "go")
	for _, folder := range []string{"vt/vterrors", "vt/vtgate", "vt/discovery", "vt/vttablet", "pools", "mysql"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(source, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			for text := range missing {
				if strings.Contains(string(content), text) {
					delete(missing, text)
				}
			}
			return err
		}))
	}
	require.Empty(t, missing, "no error of this version of Vitess says that: adapt errorTable")
}
