package pipelining

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	enumsspb "go.temporal.io/server/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/tests"
	"go.temporal.io/server/common/primitives/timestamp"
	"go.temporal.io/server/service/history/tasks"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

// addTask adds a transfer task to a workflow's history shard, as its owner with a range ID.
func (w *workflow) addTask(rangeID, taskID int64) error {
	task := &tasks.ActivityTask{TaskID: taskID}
	task.NamespaceID, task.WorkflowID, task.RunID = w.NamespaceID, w.WorkflowID, w.run.id
	return w.ExecutionManager.AddHistoryTasks(context.Background(), &persistence.AddHistoryTasksRequest{
		ShardID: w.ShardID, RangeID: rangeID, NamespaceID: w.NamespaceID, WorkflowID: w.WorkflowID, ArchetypeID: chasm.WorkflowArchetypeID,
		Tasks: map[tasks.Category][]tasks.Task{tasks.CategoryTransfer: {task}},
	})
}

// takeOver makes another process the owner of a workflow's history shard.
func (w *workflow) takeOver(rangeID int64) {
	w.t.Helper()
	other := newWorkflow(w.t, bed.MainConfig())
	require.NoError(w.t, other.ShardManager.UpdateShard(w.Ctx, &persistence.UpdateShardRequest{
		ShardInfo: tests.RandomShardInfo(w.ShardID, rangeID), PreviousRangeID: w.RangeID,
	}))
}

// A process that lost a history shard without having noticed writes nothing, and learns of it with its second attempt at the
// latest. Upstream's clients of the stores make that by themselves, as the first is Unavailable.
func TestAHistoryShardThatWasTakenOver(t *testing.T) {
	for name, write := range map[string]func(w *workflow, rangeID int64) error{
		"an update":     func(w *workflow, rangeID int64) error { return w.updateAs(w.Ctx, rangeID) },
		"history tasks": func(w *workflow, rangeID int64) error { return w.addTask(rangeID, firstTask()) },
		"an update of the history shard": func(w *workflow, rangeID int64) error {
			return w.ShardManager.UpdateShard(w.Ctx, &persistence.UpdateShardRequest{
				ShardInfo: tests.RandomShardInfo(w.ShardID, rangeID+1), PreviousRangeID: rangeID,
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkflow(t, bed.MainConfig())
			w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
			w.update(nil, false)()
			before, err := w.get(w.Ctx, &w.run)
			require.NoError(t, err)
			w.takeOver(w.RangeID + 7)

			err = write(w, w.RangeID)
			require.Error(t, err)
			require.True(t, persistence.OperationPossiblySucceeded(err), "history has to find out what it is: %v", err)
			require.ErrorContains(t, err, "another range ID")
			err = write(w, w.RangeID)
			require.IsType(t, &persistence.ShardOwnershipLostError{}, err)

			after, err := w.get(w.Ctx, &w.run)
			require.NoError(t, err)
			require.Equal(t, before.DBRecordVersion, after.DBRecordVersion)
			require.NoError(t, write(w, w.RangeID+7), "the range ID of its new owner")
		})
	}
}

// A process that reads the range ID of a history shard that it once had knows the new one.
func TestAHistoryShardThatComesBack(t *testing.T) {
	w := newWorkflow(t, bed.MainConfig())
	for range 2 {
		require.NoError(t, w.addTask(w.RangeID, firstTask()))
	}
	w.takeOver(w.RangeID + 1)
	shard, err := w.ShardManager.GetOrCreateShard(w.Ctx, &persistence.GetOrCreateShardRequest{ShardID: w.ShardID})
	require.NoError(t, err)
	require.Equal(t, w.RangeID+1, shard.ShardInfo.RangeId)
	require.NoError(t, w.ShardManager.UpdateShard(w.Ctx, &persistence.UpdateShardRequest{
		ShardInfo: tests.RandomShardInfo(w.ShardID, w.RangeID+2), PreviousRangeID: w.RangeID + 1,
	}))
	require.NoError(t, w.addTask(w.RangeID+2, firstTask()))
}

// A check of a large range ID, which is a DOUBLE to MySQL, can be read.
func TestARangeIDOfManyDigits(t *testing.T) {
	w := newWorkflow(t, bed.MainConfig())
	w.create(&w.run, persistence.CreateWorkflowModeBrandNew, enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING)()
	const rangeID = 1 << 40
	w.takeOver(rangeID)
	_ = w.addTask(rangeID, firstTask()) // by which it learns of it
	w.RangeID = rangeID
	for range 3 {
		w.update(nil, false)()
	}
}

// A task queue that somebody else has deleted, and that is made anew, begins with a small range ID again.
func TestATaskQueueThatIsMadeAnew(t *testing.T) {
	w, other := newWorkflow(t, bed.MainConfig()), newWorkflow(t, bed.MainConfig())
	queue := &persistencespb.TaskQueueInfo{
		NamespaceId: w.NamespaceID, Name: "queue", TaskType: enumspb.TASK_QUEUE_TYPE_WORKFLOW, Kind: enumspb.TASK_QUEUE_KIND_NORMAL,
		LastUpdateTime: timestamp.TimeNowPtrUtc(),
	}
	key := &persistence.TaskQueueKey{NamespaceID: queue.NamespaceId, TaskQueueName: queue.Name, TaskQueueType: queue.TaskType}
	create := func() {
		t.Helper()
		_, err := w.tasks.CreateTaskQueue(w.Ctx, &persistence.CreateTaskQueueRequest{RangeID: 1, TaskQueueInfo: queue})
		require.NoError(t, err)
	}
	renew := func(previous, next int64) {
		t.Helper()
		_, err := w.tasks.UpdateTaskQueue(w.Ctx, &persistence.UpdateTaskQueueRequest{RangeID: next, PrevRangeID: previous, TaskQueueInfo: queue})
		require.NoError(t, err)
	}
	create()
	renew(1, 10)
	renew(10, 10)
	require.NoError(t, other.tasks.DeleteTaskQueue(w.Ctx, &persistence.DeleteTaskQueueRequest{RangeID: 10, TaskQueue: key}))
	_, err := w.tasks.GetTaskQueue(w.Ctx, &persistence.GetTaskQueueRequest{NamespaceID: key.NamespaceID, TaskQueue: key.TaskQueueName, TaskType: key.TaskQueueType})
	require.IsType(t, &serviceerror.NotFound{}, err)
	create()
	renew(1, 2)
}

func TestATaskQueueThatIsAnothersOrGone(t *testing.T) {
	for name, lose := range map[string]func(w *workflow, queue *persistencespb.TaskQueueInfo) error{
		"taken over": func(w *workflow, queue *persistencespb.TaskQueueInfo) error {
			_, err := w.tasks.UpdateTaskQueue(w.Ctx, &persistence.UpdateTaskQueueRequest{RangeID: 2, PrevRangeID: 1, TaskQueueInfo: queue})
			return err
		},
		"gone": func(w *workflow, queue *persistencespb.TaskQueueInfo) error {
			return w.tasks.DeleteTaskQueue(w.Ctx, &persistence.DeleteTaskQueueRequest{RangeID: 1, TaskQueue: &persistence.TaskQueueKey{
				NamespaceID: queue.NamespaceId, TaskQueueName: queue.Name, TaskQueueType: queue.TaskType,
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, other := newWorkflow(t, bed.MainConfig()), newWorkflow(t, bed.MainConfig())
			queue := &persistencespb.TaskQueueInfo{
				NamespaceId: w.NamespaceID, Name: "queue", TaskType: enumspb.TASK_QUEUE_TYPE_WORKFLOW, Kind: enumspb.TASK_QUEUE_KIND_NORMAL,
				LastUpdateTime: timestamp.TimeNowPtrUtc(),
			}
			_, err := w.tasks.CreateTaskQueue(w.Ctx, &persistence.CreateTaskQueueRequest{RangeID: 1, TaskQueueInfo: queue})
			require.NoError(t, err)
			create := func(taskID int64) error {
				_, err := w.tasks.CreateTasks(w.Ctx, &persistence.CreateTasksRequest{
					TaskQueueInfo: &persistence.PersistedTaskQueueInfo{RangeID: 1, Data: queue},
					Tasks: []*persistencespb.AllocatedTaskInfo{{
						Data:   &persistencespb.TaskInfo{NamespaceId: w.NamespaceID, WorkflowId: w.WorkflowID, RunId: uuid.NewString(), CreateTime: timestamp.TimeNowPtrUtc()},
						TaskId: taskID,
					}},
				})
				return err
			}
			require.NoError(t, create(1))
			require.NoError(t, create(2))
			require.NoError(t, lose(other, queue))
			require.ErrorContains(t, create(3), "another range ID")
			require.IsType(t, &persistence.ConditionFailedError{}, create(4))
			got, err := w.tasks.GetTasks(w.Ctx, &persistence.GetTasksRequest{
				NamespaceID: w.NamespaceID, TaskQueue: "queue", TaskType: queue.TaskType, InclusiveMinTaskID: 0, ExclusiveMaxTaskID: 100, PageSize: 10,
			})
			require.NoError(t, err)
			require.Len(t, got.Tasks, 2)
		})
	}
}

// What travels as a check locks as upstream's statement does.
func TestACheckLocksTheRow(t *testing.T) {
	ctx := context.Background()
	mysqld := openMySQL(t)
	for _, historyShard := range []int32{lowerHistoryShard + 5000, upperHistoryShard + 5000} {
		t.Run(fmt.Sprint(historyShard), func(t *testing.T) {
			proxy, cfg := startProxy(t, bed.MainConfig())
			db, other := openStore(t, sqlplugin.DbKindMain, cfg, metrics.NoopMetricsHandler), openMain(t, 1)
			key := sqlplugin.ShardsFilter{ShardID: historyShard}
			_, err := db.InsertIntoShards(ctx, &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: 1, Data: []byte("data"), DataEncoding: "Proto3"})
			require.NoError(t, err)
			var rangeID int64
			lock := func() sqlplugin.Tx {
				tx := begin(t, ctx, db)
				rangeID, err = tx.ReadLockShards(ctx, key)
				require.NoError(t, err)
				require.Equal(t, int64(1), rangeID)
				return tx
			}
			for range 2 { // it learns the range ID, and that it is checked
				require.NoError(t, lock().Commit())
			}
			var tx sqlplugin.Tx
			require.Equal(t, 1, proxy.count(func() {
				tx = lock()
				_, err := tx.LockCurrentExecutions(ctx, sqlplugin.CurrentExecutionsFilter{
					ShardID: historyShard, NamespaceID: []byte("0123456789abcdef"), WorkflowID: "none", ArchetypeID: chasm.WorkflowArchetypeID,
				})
				require.Error(t, err, "there is none")
			}))
			taken := make(chan error)
			go func() {
				theirs, err := other.BeginTx(ctx)
				if err == nil {
					_, err = theirs.WriteLockShards(ctx, key)
				}
				if err == nil {
					_, err = theirs.UpdateShards(ctx, &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: 2, Data: []byte("data"), DataEncoding: "Proto3"})
				}
				if err == nil {
					err = theirs.Commit()
				}
				taken <- err
			}()
			waitForBlocked(t, mysqld, historyShard)
			first := firstTask()
			_, err = tx.InsertIntoTransferTasks(ctx, transferTask(historyShard, first))
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			require.NoError(t, <-taken)

			// And the one that comes later finds that it is not its own any more.
			tx = lock()
			_, err = tx.InsertIntoTransferTasks(ctx, transferTask(historyShard, first+1))
			require.NoError(t, err)
			require.Equal(t, outcome.NotCommitted, class(t, tx.Commit()))
			require.Equal(t, []int64{first}, transferTasks(t, historyShard, first))
		})
	}
}
