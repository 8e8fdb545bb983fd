package faults

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/server/api/adminservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
)

// Lossy are faults after which something is lost: not those that a test lets happen, but those whose harm is to be known.
func Lossy() []Fault {
	return []Fault{
		{Name: "a Vitess shard restored from its backup", Hurts: FirstVitessShard, Break: restoreVitessShard},
		{Name: "a Vitess shard restored from its backup, and tasks refreshed", Hurts: FirstVitessShard, Break: func(ctx context.Context, b *Bed, l *Load) error {
			if err := restoreVitessShard(ctx, b, l); err != nil {
				return err
			}
			return l.refreshTasks(ctx)
		}},
	}
}

// restoreVitessShard loses all tablets of the first Vitess shard. New ones start from its backup, without what was written
// since.
func restoreVitessShard(ctx context.Context, b *Bed, l *Load) error {
	primary, err := b.Primary(ctx, keyspace, b.firstVitessShard())
	if err != nil {
		return err
	}
	var lost []*fullcluster.Tablet
	for _, tablet := range b.Tablets() {
		if tablet.Keyspace == keyspace && tablet.Shard == primary.Shard {
			lost = append(lost, tablet)
		}
	}
	for _, tablet := range lost {
		if tablet != primary {
			if err := b.Backup(ctx, tablet); err != nil {
				return err
			}
			break
		}
	}
	if err := l.Progress(ctx, calmCalls); err != nil {
		return err
	}
	if err := b.LoseTablets(ctx, lost...); err != nil {
		return err
	}
	for range lost {
		if _, err := b.AddReplica(ctx, keyspace, primary.Shard); err != nil {
			return err
		}
	}
	return b.awaitPrimary(ctx, primary.Shard)
}

// awaitPrimary returns when vtorc has elected a primary of a Vitess shard that had none.
func (b *Bed) awaitPrimary(ctx context.Context, shard string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return again(ctx, func() error {
		_, err := b.Primary(ctx, keyspace, shard)
		return err
	})
}

// refreshTasks lets the server make the tasks of all running workflows anew, as `tdbg workflow refresh-tasks --query` does.
func (l *Load) refreshTasks(ctx context.Context) error {
	connection, err := grpc.NewClient(l.bed.server.FrontendAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return again(ctx, func() error {
		_, err := adminservice.NewAdminServiceClient(connection).StartAdminBatchOperation(ctx, &adminservice.StartAdminBatchOperationRequest{
			Namespace: l.namespace, VisibilityQuery: "ExecutionStatus = 'Running'", JobId: "refresh", Reason: "restored from a backup",
			Operation: &adminservice.StartAdminBatchOperationRequest_RefreshTasksOperation{RefreshTasksOperation: &adminservice.BatchOperationRefreshTasks{}},
		})
		if err != nil {
			return fmt.Errorf("refresh tasks: %w", err)
		}
		return nil
	})
}
