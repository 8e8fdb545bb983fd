package rehash

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"go.temporal.io/server/common/persistence"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
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
		var s service
		var hostID, host, port string
		err := live.EachRow(ctx, r.cfg.DB, "SELECT host_id, rpc_address, rpc_port, last_heartbeat FROM `"+keyspace+"`.cluster_membership"+
			" WHERE membership_partition = 0 AND role = ?", []any{int(persistence.Matching)}, func() error {
			s.id, s.address = keyspace+"/"+hostID, net.JoinHostPort(host, port)
			found = append(found, s)
			return nil
		}, &hostID, &host, &port, &s.heartbeat)
		if err != nil {
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
		return r.runningError(running)
	}
	if len(services) > 0 {
		if err := pause(ctx, r.cfg.Watch); err != nil {
			return err
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
		return r.runningError(running)
	}
	return nil
}

func (r *Rehash) runningError(running []string) error {
	orElse := ""
	if len(r.vitessShards) == 1 {
		orElse = "; or take all of them to " + r.ReadsBoth() + ", and give --servers-read-both"
	}
	return fmt.Errorf("matching services run: %s. They may not see tasks at the old place, and then delete those that come to the new one; "+
		"stop all matching services, and run the command again %v later%s", strings.Join(running, ", "), runningWithin, orElse)
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

// findMembership returns those keyspaces of the main store that have the table in which servers register: the global
// one, or the only one of a cluster that is not on several keyspaces yet.
func findMembership(ctx context.Context, db *sql.DB, candidates ...string) ([]string, error) {
	existing, err := live.Column(ctx, db, "SHOW DATABASES")
	if err != nil {
		return nil, fmt.Errorf("SHOW DATABASES: %w", err)
	}
	var found []string
	for _, keyspace := range candidates {
		if !slices.Contains(existing, keyspace) {
			continue
		}
		query := "SHOW TABLES FROM `" + keyspace + "` LIKE 'cluster_membership'"
		tables, err := live.Column(ctx, db, query)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
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
