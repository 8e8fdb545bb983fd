package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/session"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// rowsExceeded is what vttablet says about a result that is too long (go/vt/vttablet/tabletserver/connpool).
var rowsExceeded = regexp.MustCompile(`Row count exceeded (\d+)`)

func checkRowLimit(ctx context.Context, e *examination, seen *observations) error {
	query := manyRows(e.MaxRows)
	e.onEach(ctx, e.homes, seen, func(ctx context.Context, _ place, session *sql.Conn, seen *observations) error {
		count, row := 0, 0
		err := live.EachRow(ctx, session, query, nil, func() error { count++; return nil }, &row)
		if live.Refused(err, live.ErrnoAborted) && rowsExceeded.MatchString(err.Error()) {
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
	return nil
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
	asked := time.Duration(milliseconds) * time.Millisecond
	if asked == 0 { // connectAttributes do not say
		asked = session.DefaultTransactionTimeout
	}
	if asked <= longestTransaction {
		seen.pass("the plugin's sessions ask for %s (connectAttributes: transaction_timeout)", asked)
		return nil
	}
	return e.eachTablet(ctx, seen, func(_ *home, t tablet, vars debugVars, seen *observations) error {
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
	if e.plain {
		return e.checkMaxConnections(ctx, seen)
	}
	return e.eachTablet(ctx, seen, func(h *home, t tablet, vars debugVars, seen *observations) error {
		connections := e.connections(h)
		share := (connections + len(h.vitessShards) - 1) / len(h.vitessShards)
		for _, pool := range []struct{ name, variable, flag string }{
			// A session that counts found rows, as the plugin's does, has a pool of its own for its transactions.
			{"transactions", "FoundRowsPoolCapacity", "--queryserver-config-transaction-cap"},
			{"statements outside of transactions", "ConnPoolCapacity", "--queryserver-config-pool-size"},
		} {
			capacity, err := vars.number(pool.variable, t.alias)
			if err != nil {
				return err
			}
			if capacity == 0 {
				seen.skip("has closed its pools, as without its mysqld")
				return nil
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

// connections are those of Temporal's whose statements may all be for one keyspace.
func (e *examination) connections(homes ...*home) int {
	connections := 0
	has := func(role vschema.Role) bool {
		return slices.ContainsFunc(homes, func(h *home) bool { return h.has(role) })
	}
	if has(vschema.Main) || has(vschema.Global) {
		connections += e.MaxConns * e.Services
	}
	if has(vschema.Visibility) {
		connections += e.VisibilityMaxConns * e.Services
	}
	return connections
}

// checkMaxConnections is for a MySQL without Vitess, where each connection of Temporal's is one of mysqld.
func (e *examination) checkMaxConnections(ctx context.Context, seen *observations) error {
	var most int
	if err := e.vitess.DB.QueryRowContext(ctx, "SELECT @@max_connections").Scan(&most); err != nil {
		return err
	}
	if connections := e.connections(e.homes...); most < connections {
		seen.fail("max_connections is %d, but Temporal has %d", most, connections)
	} else {
		seen.pass("max_connections is %d, and Temporal has %d", most, connections)
	}
	return nil
}
