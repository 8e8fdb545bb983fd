package persistence

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/persistence"
)

// taskStores are the two versions of upstream's store for tasks, which have tables of their own.
var taskStores = []struct {
	name string
	open func(*testing.T, *database) persistence.TaskStore
	// pass is the first task pass of a fair task queue; version 1 has none.
	pass int64
}{
	{"v1", taskStore, 0},
	{"v2", fairTaskStore, 1},
}

func blob(text string) *commonpb.DataBlob {
	return persistence.NewDataBlob([]byte(text), enumspb.ENCODING_TYPE_PROTO3.String())
}

// TestSubqueueBatches writes batches of tasks for several subqueues, each one transaction with the row of subqueue 0.
func TestSubqueueBatches(t *testing.T) {
	const (
		taskQueues       = 20
		tasksPerSubqueue = 3
		rangeID          = 7
	)
	subqueues := []int{0, 2, 3, 4, 200}
	running := bed(t, 4)
	for _, version := range taskStores {
		namespaceID := uuid.NewString()
		name := func(queue int) string { return fmt.Sprintf("очередь/%d/é", queue) }
		create := func(store persistence.TaskStore, queue int) error {
			if err := store.CreateTaskQueue(t.Context(), &persistence.InternalCreateTaskQueueRequest{
				NamespaceID: namespaceID, TaskQueue: name(queue), TaskType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, RangeID: rangeID, TaskQueueInfo: blob("info"),
			}); err != nil {
				return err
			}
			request := &persistence.InternalCreateTasksRequest{
				NamespaceID: namespaceID, TaskQueue: name(queue), TaskType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, RangeID: rangeID,
			}
			for _, subqueue := range subqueues {
				for id := range int64(tasksPerSubqueue) {
					request.Tasks = append(request.Tasks, &persistence.InternalCreateTask{
						TaskPass: version.pass, TaskId: id + 1, Subqueue: subqueue, Task: blob(fmt.Sprint(queue, subqueue, id)),
					})
				}
			}
			_, err := store.CreateTasks(t.Context(), request)
			return err
		}

		t.Run(version.name, func(t *testing.T) {
			db := onVitess(t, running)
			db.clear(t)
			store := version.open(t, db)
			for queue := range taskQueues {
				require.NoError(t, create(store, queue))
			}
			for queue := range taskQueues {
				for _, subqueue := range subqueues {
					read := func() []string {
						response, err := store.GetTasks(t.Context(), &persistence.GetTasksRequest{
							NamespaceID: namespaceID, TaskQueue: name(queue), TaskType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, Subqueue: subqueue,
							InclusiveMinPass: version.pass, ExclusiveMaxTaskID: math.MaxInt64, PageSize: 100,
						})
						require.NoError(t, err)
						tasks := []string{}
						for _, task := range response.Tasks {
							tasks = append(tasks, string(task.Data))
						}
						return tasks
					}
					assert.Equal(t, []string{fmt.Sprint(queue, subqueue, 0), fmt.Sprint(queue, subqueue, 1), fmt.Sprint(queue, subqueue, 2)}, read())
					deleted, err := store.CompleteTasksLessThan(t.Context(), &persistence.CompleteTasksLessThanRequest{
						NamespaceID: namespaceID, TaskQueueName: name(queue), TaskType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, Subqueue: subqueue,
						ExclusiveMaxPass: version.pass, ExclusiveMaxTaskID: 3, Limit: 100,
					})
					require.NoError(t, err)
					assert.Equal(t, 2, deleted)
					assert.Equal(t, []string{fmt.Sprint(queue, subqueue, 2)}, read())
				}
			}
		})

		t.Run(version.name+" through upstream's plugin", func(t *testing.T) {
			db := onVitessWithStock(t, running)
			db.clear(t)
			store := version.open(t, db)
			failed := 0
			for queue := range taskQueues {
				if err := create(store, queue); err != nil {
					require.ErrorContains(t, err, "multi-db transaction attempted")
					failed++
				}
			}
			t.Logf("%d of %d batches failed", failed, taskQueues)
			assert.Positive(t, failed, "upstream's plugin got along, so the test above proves nothing")
		})
	}
}

// TestListTaskQueue reads all task queues in pages, as the scavenger does, with one hash range (the default) and more
// (taskScanPartitions).
func TestListTaskQueue(t *testing.T) {
	const taskQueues = 60
	running := bed(t, 4)
	for _, version := range taskStores {
		for _, database := range databases {
			t.Run(version.name+" "+database.name, func(t *testing.T) {
				db := database.open(t, running)
				db.clear(t)
				want := map[string]int{}
				store := version.open(t, db)
				for queue := range taskQueues {
					name := fmt.Sprintf("task queue %d", queue)
					want[name] = 1
					require.NoError(t, store.CreateTaskQueue(t.Context(), &persistence.InternalCreateTaskQueueRequest{
						NamespaceID: uuid.NewString(), TaskQueue: name, TaskType: enumspb.TASK_QUEUE_TYPE_WORKFLOW, RangeID: 1, TaskQueueInfo: blob(name),
					}))
				}
				list := func(t *testing.T, hashRanges, pageSize int) (map[string]int, error) {
					other, cfg := *db, *db.main
					other.main = &cfg
					cfg.TaskScanPartitions = hashRanges
					return listTaskQueues(t, version.open(t, &other), pageSize, taskQueues)
				}
				for _, hashRanges := range []int{1, 3, 16} {
					for _, pageSize := range []int{1, 3, 100} {
						t.Run(fmt.Sprintf("%d hash ranges, %d to a page", hashRanges, pageSize), func(t *testing.T) {
							listed, err := list(t, hashRanges, pageSize)
							require.NoError(t, err)
							assert.Equal(t, want, listed)
						})
					}
				}
				// Upstream divides by floats, so with some numbers a page token is in another range than it was made for.
				t.Run("7 hash ranges fail anywhere", func(t *testing.T) {
					_, err := list(t, 7, 3)
					require.ErrorContains(t, err, "range of hashes bound is invalid")
				})
			})
		}
	}
}

// listTaskQueues counts how often each task queue is listed.
func listTaskQueues(t *testing.T, store persistence.TaskStore, pageSize, taskQueues int) (map[string]int, error) {
	listed := map[string]int{}
	var token []byte
	for range 2*taskQueues + 20 { // more pages than there can be
		response, err := store.ListTaskQueue(t.Context(), &persistence.ListTaskQueueRequest{PageSize: pageSize, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, item := range response.Items {
			listed[string(item.TaskQueue.Data)]++
		}
		if token = response.NextPageToken; token == nil {
			return listed, nil
		}
	}
	return nil, fmt.Errorf("the list does not end; so far: %v", slices.Sorted(maps.Keys(listed)))
}
