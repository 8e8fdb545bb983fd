package fullcluster

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Shards are the Vitess shards of a keyspace that have tablets, as in "-80": those that were added come last.
func (c *Cluster) Shards(keyspace string) []string {
	var names []string
	for _, t := range c.Tablets() {
		if t.Keyspace == keyspace && !slices.Contains(names, t.Shard) {
			names = append(names, t.Shard)
		}
	}
	return names
}

// AddShards adds Vitess shards without a schema to a keyspace, each with a primary and no replica, as targets of a
// Reshard. In a keyspace with semi_sync nothing can be written to them: see VTCtl SetKeyspaceDurabilityPolicy.
func (c *Cluster) AddShards(ctx context.Context, keyspace string, shards ...string) error {
	ports, err := freePorts(tabletPorts * len(shards))
	if err != nil {
		return err
	}
	take := func() int {
		port := ports[0]
		ports = ports[1:]
		return port
	}
	ready := make(chan struct{})
	close(ready)
	adding, ctx := errgroup.WithContext(ctx)
	for _, shard := range shards {
		t, err := c.placeTablet(keyspace, shard, 0, take)
		if err != nil {
			return errors.Join(err, adding.Wait())
		}
		adding.Go(func() error {
			if err := c.startTablet(ctx, t, ready, ready); err != nil {
				return err
			}
			return c.PlannedReparent(ctx, keyspace, shard, 0)
		})
	}
	return adding.Wait()
}

// RemoveShards ends the processes of Vitess shards that a Reshard has left behind, and deleted from the topology (complete).
func (c *Cluster) RemoveShards(keyspace string, shards ...string) error {
	var removed []*Tablet
	for _, t := range c.Tablets() {
		if t.Keyspace == keyspace && slices.Contains(shards, t.Shard) {
			removed = append(removed, t)
		}
	}
	return c.remove(removed)
}

// remove ends the processes of tablets. They are killed: a vttablet that is terminated would look for its record, which may
// be gone.
func (c *Cluster) remove(tablets []*Tablet) error {
	c.mu.Lock()
	c.tablets = slices.DeleteFunc(c.tablets, func(t *Tablet) bool { return slices.Contains(tablets, t) })
	c.mu.Unlock()
	var errs []error
	for _, t := range tablets {
		for _, p := range []*Process{t.vttablet, t.mysqld} {
			if p.Alive() {
				errs = append(errs, p.Kill())
			}
		}
		t.stopNetworks()
	}
	return errors.Join(errs...)
}
