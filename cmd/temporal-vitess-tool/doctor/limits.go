package doctor

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// rowsExceeded is what vttablet says about a result that is too long (go/vt/vttablet/tabletserver/connpool).
var rowsExceeded = regexp.MustCompile(`Row count exceeded (\d+)`)

func checkRowLimit(ctx context.Context, e *examination, seen *observations) error {
	query := manyRows(e.MaxRows)
	return e.onEach(ctx, seen, func(ctx context.Context, _ vschema.Role, _ string, session *sql.Conn, seen *observations) error {
		count, row := 0, 0
		err := scan(ctx, session, query, func() error { count++; return nil }, &row)
		if serverError(err, errAborted) && rowsExceeded.MatchString(err.Error()) {
			seen.fail("a statement may return %s rows, fewer than the %d of vitess_max_rows", rowsExceeded.FindStringSubmatch(err.Error())[1], e.MaxRows)
			return nil
		}
		if err != nil {
			return err
		}
		if count != e.MaxRows {
			seen.fail("a statement that has %d rows returned %d", e.MaxRows, count)
			return nil
		}
		seen.pass("a statement may return the %d rows of vitess_max_rows", count)
		return nil
	})
}

// manyRows is a query that returns that many rows and reads no table.
func manyRows(count int) string {
	digits := len(strconv.Itoa(count))
	tables := make([]string, digits)
	for i := range tables {
		tables[i] = fmt.Sprintf("digit d%d", i)
	}
	return fmt.Sprintf("WITH RECURSIVE digit AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM digit WHERE n < 9) SELECT d0.n FROM %s LIMIT %d",
		strings.Join(tables, ", "), count)
}

// longestTransaction is how long a transaction whose vtgate is gone may hold its locks. Temporal's transactions take
// milliseconds.
const longestTransaction = 10 * time.Second

func checkTransactionTimeout(ctx context.Context, e *examination, seen *observations) error {
	var milliseconds int64
	if err := e.vitess.DB.QueryRowContext(ctx, "SELECT @@transaction_timeout").Scan(&milliseconds); err != nil {
		return err
	}
	session := time.Duration(milliseconds) * time.Millisecond
	if session > 0 && session <= longestTransaction {
		seen.pass("the plugin's sessions ask for %s (connectAttributes: transaction_timeout)", session)
		return nil
	}
	return e.eachTablet(ctx, seen, func(t tablet, vars debugVars, seen *observations) error {
		nanoseconds, err := vars.number("TransactionTimeout", t.alias)
		if err != nil {
			return err
		}
		switch timeout := time.Duration(nanoseconds); {
		case timeout == 0:
			seen.warn("never ends a transaction")
		case timeout > longestTransaction:
			seen.warn("ends a transaction after %s, later than %s", timeout, longestTransaction)
		default:
			seen.pass("ends a transaction after %s", timeout)
		}
		return nil
	})
}

func checkPools(ctx context.Context, e *examination, seen *observations) error {
	return e.eachTablet(ctx, seen, func(t tablet, vars debugVars, seen *observations) error {
		keyspace, _, _ := strings.Cut(t.vitessShard, "/")
		connections, vitessShards := e.MaxConns*e.Services, 1
		if keyspace == e.Keyspaces[vschema.Visibility] {
			connections, vitessShards = e.VisibilityMaxConns*e.Services, len(e.vitessShards[vschema.Visibility])
		} else if keyspace == e.Keyspaces[vschema.Main] {
			vitessShards = len(e.vitessShards[vschema.Main])
		}
		share := (connections + vitessShards - 1) / max(vitessShards, 1)
		for _, pool := range []struct{ name, variable, flag string }{
			// A session that counts found rows, as the plugin's does, has a pool of its own for its transactions.
			{"transactions", "FoundRowsPoolCapacity", "--queryserver-config-transaction-cap"},
			{"statements outside of transactions", "ConnPoolCapacity", "--queryserver-config-pool-size"},
		} {
			capacity, err := vars.number(pool.variable, t.alias)
			if err != nil {
				return err
			}
			if int(capacity) < share {
				seen.fail("takes %d %s at once (%s), but Temporal's %d connections make %d for each Vitess shard",
					capacity, pool.name, pool.flag, connections, share)
			} else {
				seen.pass("takes %d %s at once, Temporal's %d connections make %d for each Vitess shard",
					capacity, pool.name, connections, share)
			}
		}
		return nil
	})
}

func checkBuffering(ctx context.Context, e *examination, seen *observations) error {
	if e.VTGateHTTP == "" {
		seen.skip("only vtgate's status page tells: give --vtgate-http")
		return nil
	}
	vars, err := readDebugVars(ctx, e.VTGateHTTP)
	if err != nil {
		seen.skip("--vtgate-http: %v", err)
		return nil
	}
	var commandLine []string
	if err := json.Unmarshal(vars["cmdline"], &commandLine); err != nil {
		return fmt.Errorf("cmdline in vtgate's /debug/vars: %w", err)
	}
	if buffers(commandLine) {
		seen.pass("vtgate holds statements back during a failover (--enable-buffer)")
	} else {
		seen.warn("vtgate's command line has no --enable-buffer")
	}
	return nil
}

// buffers reports whether a vtgate with that command line buffers. Of a flag that is given twice, the last counts.
func buffers(commandLine []string) bool {
	on := false
	for _, argument := range commandLine {
		name, value, given := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		if strings.ReplaceAll(name, "_", "-") == "enable-buffer" {
			on = !given || slices.Contains([]string{"true", "1", "t"}, strings.ToLower(value))
		}
	}
	return on
}
