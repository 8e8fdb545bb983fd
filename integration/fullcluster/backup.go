package fullcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

// Backup takes a backup of a Vitess shard from a replica, with Vitess' builtin engine: the replica's mysqld is down
// meanwhile.
func (c *Cluster) Backup(ctx context.Context, replica *Tablet) error {
	if _, err := c.VTCtl(ctx, "Backup", replica.Alias); err != nil {
		return err
	}
	return c.takeOver(ctx, replica)
}

// Restore gives a replica the data of its Vitess shard's newest backup, from where it follows the primary.
func (c *Cluster) Restore(ctx context.Context, replica *Tablet) error {
	if _, err := c.VTCtl(ctx, "RestoreFromBackup", replica.Alias); err != nil {
		return err
	}
	return c.takeOver(ctx, replica)
}

// AddReplica adds a tablet to a Vitess shard that has a backup, from which it starts.
func (c *Cluster) AddReplica(ctx context.Context, keyspace, shard string) (*Tablet, error) {
	ports, err := freePorts(tabletPorts)
	if err != nil {
		return nil, err
	}
	take := func() int {
		port := ports[0]
		ports = ports[1:]
		return port
	}
	index := 0
	for _, t := range c.Tablets() {
		if t.Keyspace == keyspace && t.Shard == shard {
			index = max(index, t.Index+1)
		}
	}
	t, err := c.placeTablet(keyspace, shard, index, take)
	if err != nil {
		return nil, err
	}
	t.vttablet.commandLine = append(slices.Clone(t.vttablet.commandLine), "--restore-from-backup")
	ready := make(chan struct{})
	close(ready)
	if err := c.startTablet(ctx, t, ready, ready); err != nil {
		return nil, err
	}
	err = poll(ctx, func(ctx context.Context) error {
		var vars struct{ TabletType, RestorePosition string }
		if err := cluster.Debug(ctx, t.httpAddr, "/debug/vars", &vars); err != nil {
			return err
		}
		if vars.RestorePosition == "" || vars.TabletType != "replica" {
			return fmt.Errorf("%s is %q, restored to %q", t.Alias, vars.TabletType, vars.RestorePosition)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\nend of its log:\n%s", err, tail(t.vttablet.log))
	}
	return t, c.takeOver(ctx, t)
}

// LoseTablets kills tablets for good, and deletes their records, as an operator has to before others can take their place.
func (c *Cluster) LoseTablets(ctx context.Context, tablets ...*Tablet) error {
	if err := c.remove(tablets); err != nil {
		return err
	}
	aliases := make([]string, len(tablets))
	for i, t := range tablets {
		aliases[i] = t.Alias
	}
	_, err := c.VTCtl(ctx, append([]string{"DeleteTablets", "--allow-primary"}, aliases...)...)
	return err
}

// takeOver ends the mysqld that a vttablet has started, by mysqld_safe, and starts the cluster's own process in its place.
func (c *Cluster) takeOver(ctx context.Context, t *Tablet) error {
	_, addr, user := t.MySQL()
	db, err := cluster.Open(user, addr, "")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "SHUTDOWN"); err != nil {
		return fmt.Errorf("end the mysqld of %s: %w", t.Alias, err)
	}
	err = poll(ctx, func(context.Context) error {
		for _, file := range []string{"mysql.sock", "mysql.pid"} {
			if _, err := os.Stat(filepath.Join(c.tabletFolder(t.uid), file)); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("the mysqld of %s has not ended", t.Alias)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.mysqld.start(ctx, t.mysqld.commandLine)
}
