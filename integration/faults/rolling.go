package faults

import (
	"context"
	"errors"

	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
)

// rollingRestart restarts each process of Vitess and each mysqld of history once, one after the other, as an upgrade does:
// replicas first, and primaries once another tablet has taken over.
func rollingRestart(ctx context.Context, b *Bed, l *Load) error {
	for _, shard := range b.Shards(keyspace) {
		before, err := b.Primary(ctx, keyspace, shard)
		if err != nil {
			return err
		}
		var next *fullcluster.Tablet
		for _, tablet := range b.Tablets() {
			if tablet.Keyspace != keyspace || tablet.Shard != shard || tablet == before {
				continue
			}
			if err := b.restartTablet(ctx, tablet); err != nil {
				return err
			}
			next = tablet
		}
		if err := b.PlannedReparent(ctx, keyspace, shard, next.Index); err != nil {
			return err
		}
		if err := b.restartTablet(ctx, before); err != nil {
			return err
		}
	}
	if err := errors.Join(b.VTCtld().Restart(ctx), b.VTOrc().Restart(ctx)); err != nil {
		return err
	}
	for i := range b.VTGateAddrs() {
		vtgate := b.VTGate(i)
		if err := errors.Join(vtgate.Terminate(), vtgate.Wait(ctx), vtgate.Restart(ctx), l.Progress(ctx, calmCalls)); err != nil {
			return err
		}
	}
	return nil
}

// restartTablet restarts the mysqld and the vttablet of a replica, and returns when it serves and follows again.
func (b *Bed) restartTablet(ctx context.Context, replica *fullcluster.Tablet) error {
	err := errors.Join(replica.VTTablet().Terminate(), replica.VTTablet().Wait(ctx),
		replica.MySQLd().Restart(ctx), replica.VTTablet().Restart(ctx))
	if err != nil {
		return err
	}
	if err := b.WaitServing(ctx); err != nil {
		return err
	}
	return b.awaitReplicas(ctx)
}
