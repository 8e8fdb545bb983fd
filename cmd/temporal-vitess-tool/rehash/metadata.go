package rehash

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	taskqueuespb "go.temporal.io/server/api/taskqueue/v1"
	"go.temporal.io/server/common/persistence"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
)

// rangeSize is how many task IDs a range ID has (RangeSize in upstream's service/matching/config.go).
const rangeSize = 100_000

// makeDeliverable changes the metadata of a subqueue's task queue so that matching reads the tasks from first on: their
// ack level is below them; its next range ID, below whose task IDs it reads, and in which it writes, is above them; and
// the task queue's other generation (tasks for tasks_v2, and the other way round), which may be the one in use, knows that
// this one has tasks to drain. Where upstream's server has run last, all is so already.
func (r *Rehash) makeDeliverable(ctx context.Context, s subqueue, first task) error {
	id, ok := taskqueue.Parse(s.taskQueueID)
	if !ok {
		return nil // no server reads it
	}
	own, other := r.tasks, r.fairTasks
	if s.table.fair {
		own, other = other, own
	}
	err := update(ctx, own, id, func(info *persistencespb.TaskQueueInfo, rangeID int64) int64 {
		if id.Subqueue >= len(info.Subqueues) {
			return rangeID // the metadata is a later one, in which the subqueue does not exist
		}
		if lowerAckLevel(info.Subqueues[id.Subqueue], s.table.fair, first) {
			rangeID++
		}
		return max(rangeID, (s.highestID-1)/rangeSize+1)
	})
	if err != nil {
		return err
	}
	return update(ctx, other, id, func(info *persistencespb.TaskQueueInfo, rangeID int64) int64 {
		if !info.OtherHasTasks {
			info.OtherHasTasks = true
			rangeID++
		}
		return rangeID
	})
}

// lowerAckLevel lowers a subqueue's ack level to just below a task, and reports whether it was higher. Ack levels are
// inclusive.
func lowerAckLevel(info *persistencespb.SubqueueInfo, fair bool, first task) bool {
	if !fair {
		if info.AckLevel < first.id {
			return false
		}
		info.AckLevel = first.id - 1
		return true
	}
	acked := info.GetFairAckLevel()
	if acked.GetTaskPass() < first.pass || acked.GetTaskPass() == first.pass && acked.GetTaskId() < first.id {
		return false
	}
	info.FairAckLevel = &taskqueuespb.FairLevel{TaskPass: first.pass, TaskId: first.id - 1}
	return true
}

// update changes the metadata of a task queue, if it exists and change returns a new range ID, which takes the lease from
// whoever believes to have it.
func update(ctx context.Context, manager persistence.TaskManager, id taskqueue.ID, change func(info *persistencespb.TaskQueueInfo, rangeID int64) int64) error {
	current, err := manager.GetTaskQueue(ctx, &persistence.GetTaskQueueRequest{NamespaceID: id.NamespaceID.String(), TaskQueue: id.Name, TaskType: id.Type})
	if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the task queue's metadata: %w", err)
	}
	rangeID := change(current.TaskQueueInfo, current.RangeID)
	if rangeID == current.RangeID {
		return nil
	}
	current.TaskQueueInfo.LastUpdateTime = timestamppb.Now()
	if _, err := manager.UpdateTaskQueue(ctx, &persistence.UpdateTaskQueueRequest{
		TaskQueueInfo: current.TaskQueueInfo, RangeID: rangeID, PrevRangeID: current.RangeID,
	}); err != nil {
		return fmt.Errorf("update the task queue's metadata: %w", err)
	}
	return nil
}
