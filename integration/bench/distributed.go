package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

// distributed is a Vitess of many processes, with networks between its vtgate and its vttablets, and between the primaries and
// their replicas.
type distributed struct {
	*fullcluster.Testbed
	mutex       sync.Mutex
	toVTTablets []*wire.Proxy
	toReplicas  []*wire.Proxy
	// primaries are connections to the mysqlds of the keyspaces that have replicas.
	primaries []*sql.DB
}

// distributedReplicas are those of each keyspace that is measured: with two, a commit can wait for one of them.
const distributedReplicas = 2

func startDistributed(ctx context.Context, progress io.Writer) (_ *distributed, err error) {
	tables, err := testbed.AllTables()
	if err != nil {
		return nil, err
	}
	d := &distributed{}
	d.Testbed, err = fullcluster.StartTemporal(ctx, fullcluster.Temporal{
		VitessShards: 1,
		Replicas:     map[string]int{testbed.Main: distributedReplicas},
		Cluster: fullcluster.Config{
			Keyspaces: []fullcluster.Keyspace{{
				Keyspace: cluster.Keyspace{Name: unshardedKeyspace, Shards: 1, DDL: tables},
				Replicas: distributedReplicas,
			}},
			VTTabletProxy: d.listen,
			// A mysqld that can flush, whether it does or not.
			MySQLSettings: []string{"innodb_flush_method = fsync"},
			Log:           progress,
		},
	})
	if err != nil {
		return nil, errors.Join(err, d.closeNetworks())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	unsharded := stock(d.VTGateAddrs()[0], unshardedKeyspace)
	if err := testbed.RecordVersion(sqlplugin.DbKindMain, &unsharded); err != nil {
		return nil, err
	}
	for _, keyspace := range []string{testbed.Main, unshardedKeyspace} {
		if err := d.useReplicas(ctx, keyspace); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// listen puts a network before a vttablet.
func (d *distributed) listen(addr, server string) error {
	network, err := wire.ListenOn(addr, server)
	if err != nil {
		return err
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.toVTTablets = append(d.toVTTablets, network)
	return nil
}

// useReplicas puts a network between the primary of a keyspace and its replicas.
func (d *distributed) useReplicas(ctx context.Context, keyspace string) error {
	var network *wire.Proxy
	for _, tablet := range d.Tablets() { // the primary is the first of its keyspace
		if tablet.Keyspace != keyspace {
			continue
		}
		_, addr, user := tablet.MySQL()
		mysqld, err := cluster.Open(user, addr, "")
		if err != nil {
			return err
		}
		if tablet.Index == 0 {
			d.primaries = append(d.primaries, mysqld)
			if network, err = wire.Listen(addr); err != nil {
				return err
			}
			d.toReplicas = append(d.toReplicas, network)
			continue
		}
		host, port, err := net.SplitHostPort(network.Addr())
		if err != nil {
			return errors.Join(err, mysqld.Close())
		}
		source := fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '%s', SOURCE_PORT = %s", host, port)
		for _, statement := range []string{"STOP REPLICA", source, "START REPLICA"} {
			if _, err := mysqld.ExecContext(ctx, statement); err != nil {
				return errors.Join(fmt.Errorf("%s of %s: %s: %w", tablet.Alias, keyspace, statement, err), mysqld.Close())
			}
		}
		if err := mysqld.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (d *distributed) close() error {
	var errs []error
	for _, primary := range d.primaries {
		errs = append(errs, primary.Close())
	}
	return errors.Join(append(errs, d.Stop(), d.closeNetworks())...)
}

func (d *distributed) closeNetworks() error {
	var errs []error
	for _, network := range slices.Concat(d.toVTTablets, d.toReplicas) {
		errs = append(errs, network.Close())
	}
	return errors.Join(errs...)
}

// configs implements servers.
func (d *distributed) configs(c configuration, connections int) (main, visibility config.SQL) {
	if c.Stock {
		main = stock(d.VTGateAddrs()[0], unshardedKeyspace)
		visibility = main
	} else {
		main, visibility = *d.MainConfig(), *d.VisibilityConfig()
	}
	for _, cfg := range []*config.SQL{&main, &visibility} {
		cfg.MaxConns, cfg.MaxIdleConns = connections, connections
	}
	return main, visibility
}

// setDelay sets the round trip time between vtgate and the vttablets.
func (d *distributed) setDelay(delay time.Duration) {
	for _, network := range d.toVTTablets {
		network.SetDelay(delay)
	}
}

// setCommits lets commits flush and wait for a replica, or do neither.
func (d *distributed) setCommits(ctx context.Context, to commits) error {
	for _, network := range d.toReplicas {
		network.SetDelay(to.ToReplica)
	}
	set := "SET GLOBAL innodb_flush_log_at_trx_commit = 2, GLOBAL sync_binlog = 0, GLOBAL rpl_semi_sync_source_enabled = OFF"
	if to.Durable {
		set = "SET GLOBAL innodb_flush_log_at_trx_commit = 1, GLOBAL sync_binlog = 1, GLOBAL rpl_semi_sync_source_enabled = ON"
	}
	for _, primary := range d.primaries {
		if _, err := primary.ExecContext(ctx, set); err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
	}
	return nil
}

// served are what the primaries have done since they started.
type served struct {
	// Calls of vtgate to a vttablet: a statement each, a COMMIT, a ROLLBACK. A BEGIN travels with a statement.
	Calls int64 `json:"vttablet_calls"`
	// Commits are the transactions, those of single statements included, for which a replica's answer was awaited.
	Commits int64 `json:"commits"`
}

// served reads the counters of vttablets ("Queries", in which each call has one entry, and a BEGIN that came with one another)
// and of mysqlds.
func (d *distributed) served(ctx context.Context) (served, error) {
	var sum served
	for _, tablet := range d.Tablets() {
		var vars struct {
			Queries struct {
				TotalCount int64
				Histograms map[string]struct{ Count int64 }
			}
		}
		if err := cluster.Debug(ctx, tablet.HTTPAddr(), "/debug/vars", &vars); err != nil {
			return served{}, err
		}
		sum.Calls += vars.Queries.TotalCount - vars.Queries.Histograms["BEGIN"].Count
	}
	for _, primary := range d.primaries {
		var name string
		var acknowledged int64
		const status = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_yes_tx'"
		if err := primary.QueryRowContext(ctx, status).Scan(&name, &acknowledged); err != nil {
			return served{}, fmt.Errorf("%s: %w", status, err)
		}
		sum.Commits += acknowledged
	}
	return sum, nil
}
