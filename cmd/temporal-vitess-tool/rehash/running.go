package rehash

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"time"

	"go.temporal.io/server/common/persistence"
)

// runningWithin is the age of a heartbeat from which on a server counts as stopped. Servers write one every 10 to 15 s
// (common/membership/ringpop/monitor.go).
const runningWithin = 30 * time.Second

// Matching returns the matching services that run on the keyspaces, as host:port with the age of the last heartbeat.
func (r *Rehash) Matching(ctx context.Context) ([]string, error) {
	var running []string
	for _, keyspace := range r.membership {
		// The columns are UTC, as is the session's time for the driver.
		rows, err := r.cfg.DB.QueryContext(ctx, "SELECT rpc_address, rpc_port, last_heartbeat FROM `"+keyspace+"`.cluster_membership"+
			" WHERE membership_partition = 0 AND role = ? AND last_heartbeat > ?", int(persistence.Matching), time.Now().UTC().Add(-runningWithin))
		if err != nil {
			return nil, fmt.Errorf("read which servers run: %w", err)
		}
		for rows.Next() {
			var (
				host, port string
				heartbeat  time.Time
			)
			if err := rows.Scan(&host, &port, &heartbeat); err != nil {
				rows.Close()
				return nil, fmt.Errorf("read which servers run: %w", err)
			}
			running = append(running, fmt.Sprintf("%s (heartbeat %s ago)", net.JoinHostPort(host, port), time.Since(heartbeat).Round(time.Second)))
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read which servers run: %w", err)
		}
	}
	return running, nil
}

// checkStopped returns an error if a matching service runs.
func (r *Rehash) checkStopped(ctx context.Context) error {
	running, err := r.Matching(ctx)
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("matching services run: %s. They do not see tasks at the old place, and delete those that come to the new one; "+
			"stop all matching services, and run the command again %v later", strings.Join(running, ", "), runningWithin)
	}
	return nil
}

// findMembership returns those keyspaces of the main store that have the table in which servers register: the global
// one, or the only one of a cluster that is not on several keyspaces yet.
func findMembership(ctx context.Context, db *sql.DB, candidates ...string) ([]string, error) {
	existing, err := column(ctx, db, "SHOW DATABASES")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, keyspace := range candidates {
		if !existing[keyspace] {
			continue
		}
		tables, err := column(ctx, db, "SHOW TABLES FROM `"+keyspace+"` LIKE 'cluster_membership'")
		if err != nil {
			return nil, err
		}
		if len(tables) > 0 {
			found = append(found, keyspace)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no table cluster_membership in %s, by which to see whether servers run: check --keyspace and --global-keyspace", strings.Join(candidates, " or "))
	}
	return found, nil
}

func column(ctx context.Context, db *sql.DB, query string) (map[string]bool, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	values := map[string]bool{}
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		values[value] = true
	}
	return values, rows.Err()
}
