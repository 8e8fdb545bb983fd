package faults

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
)

// Scope says which Vitess shards of history a fault hurts.
type Scope int

const (
	NoVitessShard Scope = iota
	FirstVitessShard
	AllVitessShards
)

// Fault is something that happens to a [Bed].
type Fault struct {
	Name string
	// Short faults are those that the tests let happen.
	Short bool
	// Last faults leave other Vitess shards behind, without replicas, on which not all faults can happen.
	Last  bool
	Hurts Scope
	// Pace is the time between two starts of workflows of a kind; 0 for the usual one. Where the fault itself takes most of a
	// small machine's CPU, more load would only show that.
	Pace time.Duration
	// Break lets it happen, and repairs what does not mend itself.
	Break func(context.Context, *Bed, *Load) error
}

// Faults are all faults, in the order in which they happen to one bed.
func Faults() []Fault {
	return []Fault{
		{Name: "planned reparent", Short: true, Hurts: FirstVitessShard, Break: plannedReparent},
		{Name: "emergency reparent of a primary that is well", Hurts: FirstVitessShard, Break: withPrimary(emergencyReparent)},
		{Name: "emergency reparent where mysqld was killed, without vtorc", Hurts: FirstVitessShard, Break: emergencyReparentOfKilled},
		{Name: "mysqld of a primary killed", Short: true, Hurts: FirstVitessShard, Break: killMySQLd},
		{Name: "vttablet of a primary killed, back after 12 s", Hurts: FirstVitessShard, Break: killVTTablet},
		{Name: "mysqld and vttablet of a primary killed", Hurts: FirstVitessShard, Break: killTablet},
		{Name: "mysqld of a primary frozen for 15 s", Hurts: FirstVitessShard, Break: freezeMySQLd},
		{Name: "one of two replicas lost for 12 s", Hurts: FirstVitessShard, Break: loseReplicas(1)},
		{Name: "both replicas lost for 12 s", Hurts: FirstVitessShard, Break: loseReplicas(2)},
		{Name: "one vtgate of two killed", Short: true, Hurts: AllVitessShards, Break: killVTGate},
		{Name: "one vtgate of two drained", Hurts: AllVitessShards, Break: drainVTGate},
		{Name: "etcd restarted", Break: restartEtcd},
		{Name: "vtorc lost", Break: loseVTOrc},
		{Name: "network to a primary's vttablet cut for 12 s", Short: true, Hurts: FirstVitessShard, Break: onNetworks(toPrimary, (*fullcluster.Network).Cut)},
		{Name: "network to a primary's vttablet slow, 50 ms each way for 12 s", Hurts: FirstVitessShard, Break: onNetworks(toPrimary, slow)},
		{Name: "connections to a primary's vttablet refused for 12 s", Hurts: FirstVitessShard, Break: onNetworks(toPrimary, (*fullcluster.Network).Refuse)},
		{Name: "network from Temporal to one vtgate of two cut for 12 s", Hurts: AllVitessShards, Break: onNetworks(toOneVTGate, (*fullcluster.Network).Cut)},
		{Name: "network from Temporal to both vtgates cut for 12 s", Hurts: AllVitessShards, Break: onNetworks(toVTGates, (*fullcluster.Network).Cut)},
		{Name: "network from Temporal to both vtgates slow, 50 ms each way for 12 s", Hurts: AllVitessShards, Break: onNetworks(toVTGates, slow)},
		{Name: "connections from Temporal to one vtgate of two refused for 12 s", Hurts: AllVitessShards, Break: onNetworks(toOneVTGate, (*fullcluster.Network).Refuse)},
		{Name: "network from replicas to a primary's mysqld cut for 12 s", Hurts: FirstVitessShard, Break: onNetworks(ofReplicas, (*fullcluster.Network).Cut)},
		{Name: "network from replicas to a primary's mysqld slow, 50 ms each way for 12 s", Hurts: FirstVitessShard, Break: onNetworks(ofReplicas, slow)},
		{Name: "connections from replicas to a primary's mysqld refused for 12 s", Hurts: FirstVitessShard, Break: onNetworks(ofReplicas, (*fullcluster.Network).Refuse)},
		{Name: "primary read-only", Hurts: FirstVitessShard, Break: readOnly},
		{Name: "disk of a primary full", Hurts: FirstVitessShard, Break: fillDisk},
		{Name: "FLUSH TABLES WITH READ LOCK for 10 s", Hurts: FirstVitessShard, Break: lockTables},
		{Name: "all of Vitess killed, and started again", Hurts: AllVitessShards, Break: restartAll},
		{Name: "all of Vitess restarted, one process after the other", Hurts: AllVitessShards, Break: rollingRestart},
		{Name: "online DDL of history_node", Hurts: AllVitessShards, Break: onlineDDL},
		{Name: "one history host of two killed", Hurts: AllVitessShards, Break: killHistoryHost},
		{Name: "one history host of two frozen for 15 s", Hurts: AllVitessShards, Break: freezeHistoryHost},
		{Name: "Reshard from 2 to 4 Vitess shards, back and forth", Short: true, Last: true, Hurts: AllVitessShards, Pace: reshardPace, Break: reshard(4, "executions", "tasks_v2")},
		{Name: "Reshard from 4 to 2 Vitess shards, back and forth", Last: true, Hurts: AllVitessShards, Pace: reshardPace, Break: reshard(2)},
	}
}

const (
	reshardPace = 3 * usualPace
	// hold is how long what does not end by itself lasts.
	hold = 12 * time.Second
	// commandPause is between two runs of vtctldclient, each of which costs some CPU.
	commandPause = 2 * time.Second
)

// wait waits.
func wait(ctx context.Context, length time.Duration) error {
	select {
	case <-time.After(length):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withPrimary makes a fault of what is done to the first Vitess shard's primary.
func withPrimary(do func(context.Context, *Bed, *fullcluster.Tablet) error) func(context.Context, *Bed, *Load) error {
	return func(ctx context.Context, b *Bed, _ *Load) error {
		primary, err := b.Primary(ctx, keyspace, b.firstVitessShard())
		if err != nil {
			return err
		}
		return do(ctx, b, primary)
	}
}

var plannedReparent = withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	return b.PlannedReparent(ctx, keyspace, primary.Shard, (primary.Index+1)%(1+replicas))
})

// emergencyReparent makes the next tablet the primary, whether or not this one can say that it is none any more.
func emergencyReparent(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	_, err := b.VTCtl(ctx, "EmergencyReparentShard", "--wait-replicas-timeout=30s",
		"--new-primary="+b.Tablet(keyspace, primary.Shard, (primary.Index+1)%(1+replicas)).Alias, keyspace+"/"+primary.Shard)
	return err
}

var emergencyReparentOfKilled = withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	if err := errors.Join(b.VTOrc().Kill(), primary.MySQLd().Kill()); err != nil {
		return err
	}
	return errors.Join(emergencyReparent(ctx, b, primary), b.VTOrc().Restart(ctx), primary.MySQLd().Restart(ctx))
})

// awaitFailover returns when vtorc has elected another primary.
func (b *Bed) awaitFailover(ctx context.Context, before *fullcluster.Tablet) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return again(ctx, func() error {
		now, err := b.Primary(ctx, before.Keyspace, before.Shard)
		if err == nil && now == before {
			err = fmt.Errorf("%s is still the primary of %s/%s", before.Alias, before.Keyspace, before.Shard)
		}
		return err
	})
}

var killMySQLd = withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	if err := primary.MySQLd().Kill(); err != nil {
		return err
	}
	if err := b.awaitFailover(ctx, primary); err != nil {
		return err
	}
	return primary.MySQLd().Restart(ctx)
})

var killVTTablet = withPrimary(func(ctx context.Context, _ *Bed, primary *fullcluster.Tablet) error {
	if err := primary.VTTablet().Kill(); err != nil {
		return err
	}
	return errors.Join(wait(ctx, hold), primary.VTTablet().Restart(ctx))
})

var killTablet = withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	if err := errors.Join(primary.VTTablet().Kill(), primary.MySQLd().Kill()); err != nil {
		return err
	}
	if err := b.awaitFailover(ctx, primary); err != nil {
		return err
	}
	return errors.Join(primary.MySQLd().Restart(ctx), primary.VTTablet().Restart(ctx))
})

var freezeMySQLd = withPrimary(func(ctx context.Context, _ *Bed, primary *fullcluster.Tablet) error {
	if err := primary.MySQLd().Stop(); err != nil {
		return err
	}
	return errors.Join(wait(ctx, 15*time.Second), primary.MySQLd().Continue())
})

// loseReplicas kills the mysqlds of so many replicas. With none left, no commit is acknowledged.
func loseReplicas(count int) func(context.Context, *Bed, *Load) error {
	return withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
		var lost []*fullcluster.Process
		for i := range count {
			replica := b.Tablet(keyspace, primary.Shard, (primary.Index+1+i)%(1+replicas))
			if err := replica.MySQLd().Kill(); err != nil {
				return err
			}
			lost = append(lost, replica.MySQLd())
		}
		err := wait(ctx, hold)
		for _, mysqld := range lost {
			err = errors.Join(err, mysqld.Restart(ctx))
		}
		return err
	})
}

func killVTGate(ctx context.Context, b *Bed, l *Load) error {
	if err := b.VTGate(0).Kill(); err != nil {
		return err
	}
	return errors.Join(l.Progress(ctx, calmCalls), b.VTGate(0).Restart(ctx))
}

func drainVTGate(ctx context.Context, b *Bed, l *Load) error {
	if err := b.VTGate(0).Terminate(); err != nil {
		return err
	}
	return errors.Join(b.VTGate(0).Wait(ctx), l.Progress(ctx, calmCalls), b.VTGate(0).Restart(ctx))
}

func restartEtcd(ctx context.Context, b *Bed, _ *Load) error { return b.Etcd().Restart(ctx) }

func loseVTOrc(ctx context.Context, b *Bed, l *Load) error {
	if err := b.VTOrc().Kill(); err != nil {
		return err
	}
	return errors.Join(l.Progress(ctx, calmCalls), b.VTOrc().Restart(ctx))
}

// onNetworks makes a fault of what is done to networks, which heal after some time.
func onNetworks(which func(*Bed, *fullcluster.Tablet) []*fullcluster.Network, do func(*fullcluster.Network) error) func(context.Context, *Bed, *Load) error {
	return withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) (err error) {
		for _, network := range which(b, primary) {
			defer func() { err = errors.Join(err, network.Heal()) }()
			if err := do(network); err != nil {
				return err
			}
		}
		return wait(ctx, hold)
	})
}

// The networks to the first Vitess shard's primary, and to vtgates.
func toPrimary(_ *Bed, primary *fullcluster.Tablet) []*fullcluster.Network {
	return []*fullcluster.Network{primary.Network()}
}

func ofReplicas(_ *Bed, primary *fullcluster.Tablet) []*fullcluster.Network {
	return []*fullcluster.Network{primary.ReplicationNetwork()}
}

func toOneVTGate(b *Bed, _ *fullcluster.Tablet) []*fullcluster.Network {
	return []*fullcluster.Network{b.VTGateNetwork(0)}
}

func toVTGates(b *Bed, _ *fullcluster.Tablet) []*fullcluster.Network {
	return []*fullcluster.Network{b.VTGateNetwork(0), b.VTGateNetwork(1)}
}

func slow(network *fullcluster.Network) error { return network.Slow(50 * time.Millisecond) }

// onMySQL calls do with a connection to a tablet's mysqld.
func onMySQL(ctx context.Context, tablet *fullcluster.Tablet, do func(*sql.Conn) error) error {
	_, addr, user := tablet.MySQL()
	db, err := cluster.Open(user, addr, "")
	if err != nil {
		return err
	}
	defer db.Close()
	connection, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	return do(connection)
}

// readOnly makes a primary read-only, which vtorc repairs.
var readOnly = withPrimary(func(ctx context.Context, _ *Bed, primary *fullcluster.Tablet) error {
	return onMySQL(ctx, primary, func(mysqld *sql.Conn) error {
		if _, err := mysqld.ExecContext(ctx, "SET GLOBAL super_read_only = ON"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return again(ctx, func() error {
			var readOnly bool
			err := mysqld.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly)
			if err == nil && readOnly {
				err = fmt.Errorf("%s is still read-only", primary.Alias)
			}
			return err
		})
	})
})

var lockTables = withPrimary(func(ctx context.Context, _ *Bed, primary *fullcluster.Tablet) error {
	return onMySQL(ctx, primary, func(mysqld *sql.Conn) error {
		if _, err := mysqld.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
			return err
		}
		err := wait(ctx, 10*time.Second)
		_, unlock := mysqld.ExecContext(ctx, "UNLOCK TABLES")
		return errors.Join(err, unlock)
	})
})

// fillDisk gives the first Vitess shard a primary on a small disk, and fills that. A commit then waits for space, until the
// vttablet's query timeout ends it, and with it mysqld (binlog_error_action); vtorc elects another primary.
var fillDisk = withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	next := b.Tablet(keyspace, primary.Shard, (primary.Index+1)%(1+replicas))
	disk, err := b.SmallDisk(ctx, next)
	if err != nil {
		return err
	}
	if err := again(ctx, func() error { return b.Follows(ctx, next) }); err != nil {
		return err
	}
	if err := b.PlannedReparent(ctx, keyspace, primary.Shard, next.Index); err != nil {
		return err
	}
	b.step("the primary is on a small disk")
	if err := disk.Fill(ctx); err != nil {
		return err
	}
	b.step("which is full")
	if err := b.awaitFailover(ctx, next); err != nil {
		return err
	}
	b.step("there is another primary")
	return b.Rebuild(ctx, next)
})

// restartAll kills all processes, and starts them again.
func restartAll(ctx context.Context, b *Bed, _ *Load) error {
	for _, process := range b.Processes() {
		if err := process.Kill(); err != nil {
			return err
		}
	}
	var mysqlds, vttablets []*fullcluster.Process
	for _, t := range b.Tablets() {
		mysqlds, vttablets = append(mysqlds, t.MySQLd()), append(vttablets, t.VTTablet())
	}
	for _, together := range [][]*fullcluster.Process{{b.Etcd()}, {b.VTCtld()}, mysqlds, vttablets, {b.VTOrc(), b.VTGate(0), b.VTGate(1)}} {
		group, ctx := errgroup.WithContext(ctx)
		for _, process := range together {
			group.Go(func() error { return process.Restart(ctx) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// onlineDDL builds a table anew, and lets Vitess forget what it did so with: a stream that has stopped would keep the Vitess
// shards from being resharded.
func onlineDDL(ctx context.Context, b *Bed, _ *Load) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	id, err := b.VTCtl(ctx, "ApplySchema", "--ddl-strategy=vitess", "--sql=ALTER TABLE history_node ENGINE=InnoDB", keyspace)
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	err = b.awaitMigration(ctx, id, "complete", func(m migration) bool { return strings.Contains(m.Status, "COMPLETE") })
	if err != nil {
		return err
	}
	if _, err := b.VTCtl(ctx, "OnlineDDL", "cleanup", keyspace, id); err != nil {
		return err
	}
	return b.awaitMigration(ctx, id, "cleaned up", func(m migration) bool { return len(m.CleanedUpAt) > 0 && string(m.CleanedUpAt) != "null" })
}

// migration is an online DDL on a Vitess shard, as vtctldclient shows it.
type migration struct {
	Shard, Status, Message string
	CleanedUpAt            json.RawMessage `json:"cleaned_up_at"`
}

// awaitMigration returns when a migration has come so far on all Vitess shards.
func (b *Bed) awaitMigration(ctx context.Context, id, state string, is func(migration) bool) error {
	return every(ctx, commandPause, func() error {
		output, err := b.VTCtl(ctx, "OnlineDDL", "show", "--json", keyspace, id)
		if err != nil {
			return err
		}
		var shown struct{ Migrations []migration }
		if err := json.Unmarshal([]byte(output), &shown); err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		for _, m := range shown.Migrations {
			if strings.Contains(m.Status, "FAILED") {
				return final{fmt.Errorf("the migration of %s/%s: %s", keyspace, m.Shard, m.Message)}
			}
			if !is(m) {
				return fmt.Errorf("the migration of %s/%s is %s, not yet %s", keyspace, m.Shard, m.Status, state)
			}
		}
		if len(shown.Migrations) < len(b.Shards(keyspace)) {
			return fmt.Errorf("%d migrations", len(shown.Migrations))
		}
		return nil
	})
}

// withHistoryHost makes a fault of what is done to a second history host, once it has its part.
func withHistoryHost(do func(context.Context, *fullcluster.Process, *Load) error) func(context.Context, *Bed, *Load) error {
	return func(ctx context.Context, b *Bed, l *Load) error {
		host, err := b.startHistoryHost(ctx)
		if err != nil {
			return err
		}
		return errors.Join(l.Progress(ctx, calmCalls), do(ctx, host, l), b.log.read(host.Log()))
	}
}

var killHistoryHost = withHistoryHost(func(ctx context.Context, host *fullcluster.Process, l *Load) error {
	if err := host.Kill(); err != nil {
		return err
	}
	return l.Progress(ctx, calmCalls)
})

// freezeHistoryHost lets a host go on with history shards that another has taken over.
var freezeHistoryHost = withHistoryHost(func(ctx context.Context, host *fullcluster.Process, l *Load) error {
	if err := host.Stop(); err != nil {
		return err
	}
	return errors.Join(wait(ctx, 15*time.Second), host.Continue(), l.Progress(ctx, calmCalls), host.Terminate(), host.Wait(ctx))
})

// reshard moves everything to so many new Vitess shards, back, and there again. VDiff, which takes seconds for each table,
// compares these, or all if there is none.
func reshard(count int, diffed ...string) func(context.Context, *Bed, *Load) error {
	return func(ctx context.Context, b *Bed, _ *Load) error {
		sources, targets := b.Shards(keyspace), cluster.ShardNames(count)
		// The new Vitess shards have no replica that a commit could wait for.
		if _, err := b.VTCtl(ctx, "SetKeyspaceDurabilityPolicy", "--durability-policy=none", keyspace); err != nil {
			return err
		}
		if err := b.AddShards(ctx, keyspace, targets...); err != nil {
			return err
		}
		b.step("the new Vitess shards are there")
		const workflow = "reshard"
		command := func(arguments ...string) (string, error) {
			return b.VTCtl(ctx, append([]string{"Reshard", "--workflow", workflow, "--target-keyspace", keyspace}, arguments...)...)
		}
		if _, err := command("create", "--source-shards", strings.Join(sources, ","), "--target-shards", strings.Join(targets, ",")); err != nil {
			return err
		}
		if err := awaitCopied(ctx, command); err != nil {
			return err
		}
		b.step("all is copied")
		if err := b.diff(ctx, workflow, diffed); err != nil {
			return err
		}
		b.step("VDiff is clean")
		for _, step := range []string{"switchtraffic", "reversetraffic", "switchtraffic", "complete"} {
			if _, err := command(step); err != nil {
				return err
			}
			b.step(step)
		}
		return b.RemoveShards(keyspace, sources...)
	}
}

// awaitCopied returns when all streams have copied everything and follow the changes.
func awaitCopied(ctx context.Context, command func(...string) (string, error)) error {
	const limit = 4 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return every(ctx, commandPause, func() error {
		output, err := command("status", "--format=json")
		if err != nil {
			return err
		}
		var status struct {
			TableCopyState map[string]json.RawMessage `json:"table_copy_state"`
			ShardStreams   map[string]struct {
				Streams []struct{ Status, Info string }
			} `json:"shard_streams"`
		}
		if err := json.Unmarshal([]byte(output), &status); err != nil {
			return err
		}
		if len(status.ShardStreams) == 0 || len(status.TableCopyState) > 0 {
			return fmt.Errorf("the copy is on its way: %s", output)
		}
		for shard, streams := range status.ShardStreams {
			for _, stream := range streams.Streams {
				switch {
				case stream.Status == "Error":
					return final{fmt.Errorf("the stream to %s: %s", shard, stream.Info)}
				case stream.Status != "Running" || !strings.HasPrefix(stream.Info, "VStream Lag"):
					return fmt.Errorf("the stream to %s is %s: %s", shard, stream.Status, stream.Info)
				}
			}
		}
		return nil
	})
}

// diff compares the rows of both sides of a workflow.
func (b *Bed) diff(ctx context.Context, workflow string, tables []string) error {
	command := func(arguments ...string) (string, error) {
		return b.VTCtl(ctx, append([]string{"VDiff", "--workflow", workflow, "--target-keyspace", keyspace}, arguments...)...)
	}
	if _, err := command("create", "--tables", strings.Join(tables, ",")); err != nil {
		return err
	}
	const limit = 6 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return every(ctx, commandPause, func() error {
		output, err := command("show", "last", "--format=json")
		if err != nil {
			return err
		}
		var summary struct {
			State       string
			HasMismatch bool
		}
		if err := json.Unmarshal([]byte(output), &summary); err != nil {
			return err
		}
		switch {
		case summary.HasMismatch || slices.Contains([]string{"error", "stopped"}, summary.State):
			return final{fmt.Errorf("VDiff: %s", output)}
		case summary.State != "completed":
			return fmt.Errorf("VDiff is on its way: %s", output)
		}
		return nil
	})
}
