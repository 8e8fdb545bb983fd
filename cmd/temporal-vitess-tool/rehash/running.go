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

const (
	// runningWithin is the age of a heartbeat from which on a server no longer looks as if it ran. Servers write one every
	// 10 to 15 s (common/membership/ringpop/monitor.go).
	runningWithin = 30 * time.Second
	// DefaultWatch is longer than the time between two heartbeats.
	DefaultWatch = 20 * time.Second
)

// service is a matching service as it has registered. It may have stopped long ago.
type service struct {
	id        string // unique, and new after each start
	address   string // host:port
	heartbeat time.Time
}

// services returns the matching services that have registered.
func (r *Rehash) services(ctx context.Context) ([]service, error) {
	var found []service
	for _, keyspace := range r.membership {
		rows, err := r.cfg.DB.QueryContext(ctx, "SELECT host_id, rpc_address, rpc_port, last_heartbeat FROM `"+keyspace+"`.cluster_membership"+
			" WHERE membership_partition = 0 AND role = ?", int(persistence.Matching))
		if err != nil {
			return nil, fmt.Errorf("read which servers run: %w", err)
		}
		for rows.Next() {
			var hostID, host, port string
			var s service
			if err := rows.Scan(&hostID, &host, &port, &s.heartbeat); err != nil {
				rows.Close()
				return nil, fmt.Errorf("read which servers run: %w", err)
			}
			s.id, s.address = keyspace+"/"+hostID, net.JoinHostPort(host, port)
			found = append(found, s)
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read which servers run: %w", err)
		}
	}
	return found, nil
}

// Matching returns the matching services that look as if they ran by this machine's clock, as host:port with the age of
// the last heartbeat.
func (r *Rehash) Matching(ctx context.Context) ([]string, error) {
	services, err := r.services(ctx)
	if err != nil {
		return nil, err
	}
	return recent(services), nil
}

func recent(services []service) []string {
	var running []string
	for _, s := range services {
		// The column is UTC, as is the session's time for the driver.
		if age := time.Since(s.heartbeat); age < runningWithin {
			running = append(running, fmt.Sprintf("%s (heartbeat %s ago)", s.address, age.Round(time.Second)))
		}
	}
	return running
}

// awaitStopped returns an error if a matching service runs. One that looks stopped may only have another clock or time
// zone than this machine, so it watches for a while whether any still writes heartbeats.
func (r *Rehash) awaitStopped(ctx context.Context) error {
	services, err := r.services(ctx)
	if err != nil {
		return err
	}
	r.heartbeats = map[string]time.Time{}
	for _, s := range services {
		r.heartbeats[s.id] = s.heartbeat
	}
	if running := recent(services); len(running) > 0 {
		return runningError(running)
	}
	if len(services) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(r.cfg.Watch):
		}
	}
	return r.checkStopped(ctx)
}

// checkStopped returns an error if a matching service has started or written a heartbeat since awaitStopped looked first.
// Whose clock says what does not matter to it.
func (r *Rehash) checkStopped(ctx context.Context) error {
	services, err := r.services(ctx)
	if err != nil {
		return err
	}
	var running []string
	for _, s := range services {
		if before, known := r.heartbeats[s.id]; !known || !s.heartbeat.Equal(before) {
			running = append(running, s.address+" (heartbeat while this command ran)")
		}
	}
	if len(running) > 0 {
		return runningError(running)
	}
	return nil
}

func runningError(running []string) error {
	return fmt.Errorf("matching services run: %s. They do not see tasks at the old place, and delete those that come to the new one; "+
		"stop all matching services, and run the command again %v later", strings.Join(running, ", "), runningWithin)
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
