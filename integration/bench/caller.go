package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/persistence"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// caller is what one goroutine of the history or matching service would be: it has a history shard, a task queue and a
// namespace of its own, so that callers never wait for each other's locks.
type caller struct {
	// measured is where calls go, direct where what they need is prepared.
	measured, direct *stores

	historyShard int32
	rangeID      int64
	namespaceID  string
	taskQueue    *persistencespb.TaskQueueInfo
	lastID       int64 // of tasks and transactions
}

func newCaller(ctx context.Context, direct *stores, historyShard int32) (*caller, error) {
	c := &caller{
		measured:     direct,
		direct:       direct,
		historyShard: historyShard,
		rangeID:      1,
		namespaceID:  uuid.NewString(),
	}
	c.taskQueue = &persistencespb.TaskQueueInfo{
		NamespaceId:    c.namespaceID,
		Name:           "task-queue",
		TaskType:       enumspb.TASK_QUEUE_TYPE_ACTIVITY,
		Kind:           enumspb.TASK_QUEUE_KIND_NORMAL,
		LastUpdateTime: timestamppb.Now(),
	}
	_, err := direct.shards.GetOrCreateShard(ctx, &persistence.GetOrCreateShardRequest{
		ShardID:          historyShard,
		InitialShardInfo: &persistencespb.ShardInfo{ShardId: historyShard, RangeId: c.rangeID},
	})
	if err != nil {
		return nil, fmt.Errorf("create history shard %d: %w", historyShard, err)
	}
	_, err = direct.tasks.CreateTaskQueue(ctx, &persistence.CreateTaskQueueRequest{RangeID: c.rangeID, TaskQueueInfo: c.taskQueue})
	if err != nil {
		return nil, fmt.Errorf("create task queue: %w", err)
	}
	return c, nil
}

// nextID returns an ID above all before it.
func (c *caller) nextID() int64 {
	c.lastID++
	return c.lastID
}

// newPayloads returns an input or result of 512 bytes that do not compress.
func newPayloads() *commonpb.Payloads {
	data := make([]byte, 512)
	_, _ = rand.Read(data) // never fails
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: data}}}
}

func now() *timestamppb.Timestamp { return timestamppb.New(time.Now().Truncate(time.Millisecond)) }
