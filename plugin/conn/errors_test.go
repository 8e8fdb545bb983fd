package conn

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
)

func TestClassify(t *testing.T) {
	serverError := func(number uint16, message string) error {
		return &mysql.MySQLError{Number: number, Message: message}
	}
	for _, test := range []struct {
		name string
		err  error
		want Class
	}{
		{"a table that is missing", serverError(1146, "Table 'a.b' doesn't exist"), Refused},
		{"too many rows", serverError(1317, "Row count exceeded 10000"), Refused},
		{"a lock that is not free", serverError(1205, "Lock wait timeout exceeded; try restarting transaction"), Refused},
		{"a duplicate key that reads like another error", serverError(1062, "Duplicate entry 'VT12001' for key 'PRIMARY'"), Refused},
		{"a value that reads like another error",
			serverError(1213, `target: temporal.-80.primary: vttablet: rpc error: code = Aborted desc = Deadlock found when trying to get lock (errno 1213) (sqlstate 40001) (CallerID: u): Sql: "insert into t values (:a)", BindVars: {a: "type:VARCHAR value:\"VT12001\""}`),
			NotCommitted},
		{"an error of a vttablet in another's words",
			serverError(1105, "target: temporal.-80.primary: vttablet: rpc error: code = Unavailable desc = error reading from server: EOF"), Ambiguous},
		{"a vttablet that cannot be reached",
			serverError(1105, `target: temporal.-80.primary: vttablet: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`), NotExecuted},
		{"the first statement of a transaction during a failover",
			serverError(1105, "VT15001: transaction error, issue ROLLBACK and retry the transaction: operation not allowed in state NOT_SERVING"), NotCommitted},
		{"a connection on which nothing was sent", driver.ErrBadConn, NotExecuted},
		{"a lost connection", mysql.ErrInvalidConn, Ambiguous},
		{"any other error of a connection", errors.New("broken pipe"), Ambiguous},
		{"the end of a context", fmt.Errorf("query: %w", context.Canceled), Canceled},
		{"a context's deadline", context.DeadlineExceeded, Canceled},
		{"an error that is classified already", fmt.Errorf("x: %w", &Error{Class: Overloaded}), Overloaded},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, classify(test.err))
		})
	}
}

func TestEachRowOfTheErrorTableDecides(t *testing.T) {
	for i, row := range errorTable {
		number := row.number
		if number == 0 {
			number = 1105
		}
		// Rows above match as well only where they say the same.
		require.Equal(t, row.class, classify(&mysql.MySQLError{Number: number, Message: "target: temporal.-80.primary: " + row.text}),
			"row %d: %d %q", i, row.number, row.text)
		require.NotEmpty(t, row.when)
	}
}

// composed are the texts of the error table that are in no string literal of Vitess' as they stand: parts of it, or of
// gRPC's and the system's, that were seen together.
var composed = map[string]string{
	"disallowed due to rule: enforce denied tables": "enforce denied tables",
	"connect: connection refused":                   "", // the system's
	"code = Canceled desc = EOF":                    "", // gRPC's
	"code = Unavailable":                            "", // gRPC's
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
	for _, folder := range []string{"vt/vterrors", "vt/vtgate", "vt/vttablet/tabletserver", "vt/vttablet/tabletmanager", "pools", "mysql"} {
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
