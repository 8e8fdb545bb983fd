package rehash

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// upstreams is a step before those of the option: upstream's plugin.
const upstreams plugin.SubqueueTasks = "mysql8"

// steps are the ways to treat the tasks of subqueues that a cluster goes through. Neighbours may run side by side.
var steps = []plugin.SubqueueTasks{
	upstreams, plugin.SubqueueTasksUpstream, plugin.SubqueueTasksUpstreamReadBoth, plugin.SubqueueTasksVitessReadBoth, plugin.SubqueueTasksVitess,
}

// at configures a store on a place that is at a step.
func (p place) at(step plugin.SubqueueTasks) *config.SQL {
	if step == upstreams {
		return p.upstream
	}
	return p.with(map[string]string{"vitess_subqueue_tasks": string(step)})
}

// singlePlaces are those in one database, where both places of a task are.
func singlePlaces() []place { return []place{unsharded, plain} }

// TestStepsAreLikeOnePlace does random operations through stores at neighbouring steps, with tasks at both places, and
// the same through upstream's plugin on a database of its own. The results have to be the same, and in the end the tasks.
func TestStepsAreLikeOnePlace(t *testing.T) {
	const operations = 1_500
	for _, g := range generations {
		for _, place := range singlePlaces() {
			t.Run(g.table+" in "+place.name, func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				place.clear(t)
				model.clear(t)
				m := &modelTest{
					T: t, generation: g, place: place, random: rand.New(rand.NewPCG(seed, 0)), model: g.manager(t, model.upstream),
					info: &persistencespb.TaskQueueInfo{
						NamespaceId: uuid.NewString(), Name: "queue", TaskType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, LastUpdateTime: timestamppb.Now(),
					},
				}
				for _, step := range steps {
					m.stores = append(m.stores, g.manager(t, place.at(step)))
				}
				m.same("create the task queue", func(tasks persistence.TaskManager) (any, error) {
					return tasks.CreateTaskQueue(t.Context(), &persistence.CreateTaskQueueRequest{RangeID: rangeID, TaskQueueInfo: m.info})
				})
				for operation := range operations {
					m.operate(operation)
				}
				t.Logf("%d operations; %d reads had tasks, %d deletes; %d duplicate keys; %d changes of step, %d runs of the tool moved tasks", operations,
					m.full, m.deleted, m.duplicates, m.changes, m.moves)
				for _, count := range []int{m.full, m.deleted, m.duplicates, m.changes, m.moves} {
					require.Positive(t, count, "the test proves less than it should")
				}
			})
		}
	}
}

// modelTest is a run of TestStepsAreLikeOnePlace.
type modelTest struct {
	*testing.T
	generation
	place  place
	random *rand.Rand
	info   *persistencespb.TaskQueueInfo
	model  persistence.TaskManager
	stores []persistence.TaskManager // by step
	// Servers run at this step and the next.
	step int

	full, deleted, duplicates, changes, moves int
}

// These are small, so that operations meet.
const (
	modelTaskIDs = 40
	modelPasses  = 4
	modelLimit   = 8
)

func (m *modelTest) operate(operation int) {
	switch what := m.random.IntN(20); {
	case what == 0:
		m.changeStep()
	case what == 1 && m.step == 2: // both read both
		m.move(m.random.IntN(2) == 0)
	case what < 10:
		m.create(operation)
	case what < 15:
		m.read()
	default:
		m.complete()
	}
}

// changeStep takes the servers a step on or back. Before one comes that reads one place only, the other has to be empty.
func (m *modelTest) changeStep() {
	on := m.random.IntN(2) == 0
	switch {
	case on && m.step == len(steps)-2, !on && m.step == 0:
		return
	case on && m.step == 2:
		m.step = 3
		m.move(false)
	case !on && m.step == 2:
		m.move(true)
		m.step = 1
	case on:
		m.step++
	default:
		m.step--
	}
	m.changes++
}

// move runs the tool, with servers that run.
func (m *modelTest) move(back bool) {
	arguments := []string{"--servers-read-both", "--batch-size", "3"}
	if back {
		arguments = append(arguments, "--back")
	}
	out, err := m.place.rehash(m.T, arguments...)
	require.NoError(m, err)
	if !slices.Contains([]string{"0 tasks moved; all tasks are where the plugin reads them\n", "0 tasks moved; all tasks are where upstream's plugin reads them\n"}, out) {
		m.moves++
	}
}

func (m *modelTest) level() (pass, id int64) {
	if m.fair {
		pass = 1 + m.random.Int64N(modelPasses)
	}
	return pass, 1 + m.random.Int64N(modelTaskIDs)
}

func (m *modelTest) subqueue() int { return []int{0, 1, 2, 130}[m.random.IntN(4)] }

// rangeID is that of the task queue, or another.
func (m *modelTest) rangeID() int64 {
	if m.random.IntN(10) == 0 {
		return rangeID + 1
	}
	return rangeID
}

func (m *modelTest) create(operation int) {
	request := &persistence.CreateTasksRequest{TaskQueueInfo: &persistence.PersistedTaskQueueInfo{Data: m.info, RangeID: m.rangeID()}}
	for range 1 + m.random.IntN(3) {
		pass, id := m.level()
		request.Subqueues = append(request.Subqueues, m.subqueue())
		request.Tasks = append(request.Tasks, &persistencespb.AllocatedTaskInfo{TaskPass: pass, TaskId: id, Data: &persistencespb.TaskInfo{
			NamespaceId: m.info.NamespaceId, WorkflowId: fmt.Sprintf("written by operation %d", operation), CreateTime: m.info.LastUpdateTime,
		}})
	}
	_, err := m.same(fmt.Sprintf("create %v", request), func(tasks persistence.TaskManager) (any, error) { return tasks.CreateTasks(m.Context(), request) })
	var lost *persistence.ConditionFailedError
	if err != nil && !errors.As(err, &lost) {
		require.ErrorContains(m, err, "Duplicate entry")
		m.duplicates++
	}
}

func (m *modelTest) read() {
	pass, id := m.level()
	request := &persistence.GetTasksRequest{
		NamespaceID: m.info.NamespaceId, TaskQueue: m.info.Name, TaskType: m.info.TaskType, Subqueue: m.subqueue(),
		InclusiveMinPass: pass, InclusiveMinTaskID: id, ExclusiveMaxTaskID: math.MaxInt64, PageSize: 1 + m.random.IntN(modelLimit),
	}
	if !m.fair && m.random.IntN(2) == 0 {
		request.ExclusiveMaxTaskID = id + m.random.Int64N(modelTaskIDs)
	}
	result, err := m.same(fmt.Sprintf("read %v", request), func(tasks persistence.TaskManager) (any, error) {
		response, err := tasks.GetTasks(m.Context(), request)
		if err != nil {
			return nil, err
		}
		found := []string{string(response.NextPageToken)}
		for _, task := range response.Tasks {
			found = append(found, fmt.Sprint(task.TaskPass, task.TaskId, task.Data.WorkflowId))
		}
		return found, nil
	})
	require.NoError(m, err)
	if len(result.([]string)) > 1 {
		m.full++
	}
}

func (m *modelTest) complete() {
	pass, id := m.level()
	request := &persistence.CompleteTasksLessThanRequest{
		NamespaceID: m.info.NamespaceId, TaskQueueName: m.info.Name, TaskType: m.info.TaskType, Subqueue: m.subqueue(),
		ExclusiveMaxPass: pass, ExclusiveMaxTaskID: id, Limit: m.random.IntN(modelLimit), // a limit of 0 is refused
	}
	if m.fair && m.random.IntN(2) == 0 {
		request.ConditionRangeID = m.rangeID()
	}
	result, err := m.same(fmt.Sprintf("complete %v", request), func(tasks persistence.TaskManager) (any, error) {
		return tasks.CompleteTasksLessThan(m.Context(), request)
	})
	if err == nil && result.(int) > 0 {
		m.deleted++
	}
}

// same does an operation on the model and through one of the stores that run, and requires the same of both.
func (m *modelTest) same(what string, do func(persistence.TaskManager) (any, error)) (any, error) {
	m.Helper()
	step := m.step + m.random.IntN(2)
	want, wantErr := do(m.model)
	got, err := do(m.stores[step])
	require.Equal(m, wantErr == nil, err == nil, "%s at %s: %v, %v", what, steps[step], wantErr, err)
	if err != nil {
		// Upstream inserts tasks before it compares the range ID. Here they wait, so of two reasons to fail the other may be met.
		if !strings.Contains(wantErr.Error(), "Duplicate entry") {
			require.IsType(m, wantErr, err, "%s at %s: %v, %v", what, steps[step], wantErr, err)
		}
		return nil, err
	}
	require.Equal(m, want, got, "%s at %s", what, steps[step])
	return got, nil
}

// TestReadsSeeATaskOnceWhileItMoves has readers while tasks move to and fro. A read that was not one snapshot would find a
// task at both places, or at none.
func TestReadsSeeATaskOnceWhileItMoves(t *testing.T) {
	const tasks, rounds, readers = 150, 6, 2
	for _, g := range generations {
		for _, place := range singlePlaces() {
			t.Run(g.table+" in "+place.name, func(t *testing.T) {
				place.clear(t)
				queue := newTaskQueue(t, g.manager(t, place.upstream), g, "queue", 2)
				queue.write(t, g.manager(t, place.upstream), 1, firstID, tasks)
				want := queue.read(t, g.manager(t, place.upstream), 1)
				require.Len(t, want, tasks)

				moved := make(chan struct{})
				var reading sync.WaitGroup
				var reads [readers]int
				for reader := range readers {
					manager := g.manager(t, place.at([]plugin.SubqueueTasks{plugin.SubqueueTasksUpstreamReadBoth, plugin.SubqueueTasksVitessReadBoth}[reader]))
					reading.Go(func() {
						for {
							select {
							case <-moved:
								return
							default:
							}
							found, err := queue.tryRead(t, manager, 1)
							if err != nil || !slices.Equal(want, found) {
								t.Errorf("read %d: %v, %v", reads[reader], found, err)
								return
							}
							reads[reader]++
						}
					})
				}
				for round := range rounds {
					arguments := []string{"--servers-read-both", "--batch-size", "7"}
					if round%2 == 1 {
						arguments = append(arguments, "--back")
					}
					out, err := place.rehash(t, arguments...)
					require.NoError(t, err)
					require.Contains(t, out, fmt.Sprintf("%d tasks moved", tasks))
				}
				close(moved)
				reading.Wait()
				t.Logf("%v reads while %d tasks moved %d times", reads, tasks, rounds)
			})
		}
	}
}
