package rehash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"

	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// asMatchingHost makes this binary a host with the matching service, with the configuration of its value.
const asMatchingHost = "TEMPORAL_VITESS_TEST_AS_MATCHING_HOST"

const (
	rollingHistoryShards = 4
	// progress is how many workflows have to be done after each change of hosts.
	progress = 12
)

// TestChangeOfPluginIsRolling takes two matching hosts from upstream's plugin to this one, step by step, while workflows
// with priorities and fairness run. Between two steps hosts of both are killed and stopped in turn, so that task queues go
// to and fro; and tasks move while they run. A task that is lost lets its workflow wait for ever, as no timeout ends that.
func TestChangeOfPluginIsRolling(t *testing.T) {
	place := unsharded
	place.clear(t)
	r := startRolling(t, place)
	hosts := [2]*matchingHost{}
	for i := range hosts {
		hosts[i] = r.start(t, upstreams)
	}
	load := startLoad(t, r.client)

	// Each change lets the other host have everything for a while, and then both.
	swap := func(i int, to plugin.SubqueueTasks, how syscall.Signal) {
		t.Helper()
		for _, change := range []func(){
			func() { hosts[i].end(t, how) },
			func() { hosts[i] = r.start(t, to) },
		} {
			takeovers, done := r.takeovers(t), load.done.Load()
			change()
			require.Eventually(t, func() bool { return r.takeovers(t) > takeovers }, waitTimeout, 5*waitTick, "no task queue has gone to another host")
			require.Eventually(t, func() bool { return load.done.Load() >= done+progress }, waitTimeout, waitTick, "nothing is done any more")
		}
	}
	for i, next := range steps[1:] {
		step := steps[i]
		before := load.done.Load()
		if next == plugin.SubqueueTasksVitess {
			require.Positive(t, place.misplaced(t), "there is nothing to move, so the test proves nothing")
			r.moveWhile(t, func() {
				swap(0, step, syscall.SIGKILL)
				swap(1, step, syscall.SIGTERM)
			})
			require.Zero(t, place.misplaced(t))
		}
		change := func() {
			swap(0, next, syscall.SIGKILL)
			swap(1, step, syscall.SIGKILL) // and so host 0 has been alone
			swap(0, next, syscall.SIGTERM)
			swap(1, next, syscall.SIGTERM)
		}
		if next == plugin.SubqueueTasksVitessReadBoth {
			r.moveToAndFroWhile(t, change)
		} else {
			change()
		}
		t.Logf("from %s to %s: %d workflows", step, next, load.done.Load()-before)
	}
	load.end(t)
	require.Zero(t, place.misplaced(t), "tasks are left behind")
}

// rolling is a Temporal cluster whose matching hosts are processes of their own.
type rolling struct {
	place  place
	client client.Client
	// frontend is its port.
	frontend int
}

const (
	activeQueue, activeFairQueue = "active", "active-fair"
	// These have no worker until the end.
	idleQueue, idleFairQueue = "idle", "idle-fair"
)

// hostConfig is what a matching host is told.
type hostConfig struct {
	Main, Visibility *config.SQL
	FrontendPort     int
}

func (c hostConfig) server(services ...string) server.Config {
	fair := func(queue string) dynamicconfig.ConstrainedValue {
		return dynamicconfig.ConstrainedValue{Constraints: dynamicconfig.Constraints{TaskQueueName: queue}, Value: true}
	}
	return server.Config{
		Main: c.Main, Visibility: c.Visibility, HistoryShards: rollingHistoryShards, FrontendPort: c.FrontendPort, Services: services,
		DynamicConfig: dynamicconfig.StaticClient{
			dynamicconfig.MatchingEnableFairness.Key(): []dynamicconfig.ConstrainedValue{fair(activeFairQueue), fair(idleFairQueue)},
			// Pages are small, and what is done is deleted and told soon, so that there is much to go wrong.
			dynamicconfig.MatchingGetTasksBatchSize.Key():      20,
			dynamicconfig.MatchingGetTasksReloadAt.Key():       5,
			dynamicconfig.MatchingMaxTaskDeleteBatchSize.Key(): 10,
			dynamicconfig.MatchingTaskDeleteInterval.Key():     200 * time.Millisecond,
			dynamicconfig.MatchingUpdateAckInterval.Key():      100 * time.Millisecond,
		},
	}
}

// startRolling starts all of a Temporal server but matching, with the plugin.
func startRolling(t *testing.T, place place) *rolling {
	t.Helper()
	require.NoError(t, testbed.RecordVersion(sqlplugin.DbKindMain, place.plugin))
	running, err := server.Start(t.Context(), place.host(steps[len(steps)-1], 0).server(
		string(primitives.FrontendService), string(primitives.HistoryService), string(primitives.WorkerService)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, running.Stop()) })
	require.NoError(t, running.CreateNamespace(t.Context(), namespace))
	c, err := running.Dial(namespace)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, port, err := net.SplitHostPort(running.FrontendAddr())
	require.NoError(t, err)
	frontend, err := strconv.Atoi(port)
	require.NoError(t, err)
	return &rolling{place: place, client: c, frontend: frontend}
}

// host configures a host on a place that is at a step.
func (p place) host(step plugin.SubqueueTasks, frontend int) hostConfig {
	visibility := *p.upstream
	if step != upstreams {
		visibility.PluginName = plugin.Name
	}
	return hostConfig{Main: p.at(step), Visibility: &visibility, FrontendPort: frontend}
}

// takeovers counts how often hosts have taken task queues over.
func (r *rolling) takeovers(t *testing.T) (count int) {
	t.Helper()
	database := r.place.databases[0]
	require.NoError(t, mysqld.QueryRowContext(t.Context(), fmt.Sprintf(
		"SELECT COALESCE(SUM(range_id), 0) FROM (SELECT range_id FROM `%[1]s`.task_queues UNION ALL SELECT range_id FROM `%[1]s`.task_queues_v2) AS both_tables", database)).Scan(&count))
	return count
}

// moveWhile does something while the tool moves all tasks.
func (r *rolling) moveWhile(t *testing.T, do func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		out, err := r.place.rehash(t, "--servers-read-both", "--batch-size", "1")
		t.Log(out)
		ended <- err
	}()
	do()
	require.NoError(t, <-ended)
}

// moveToAndFroWhile does something with hosts that read both places while the tool moves tasks to one place and to the other,
// again and again, and to upstream's at last, so that there is something to move later. As long as hosts write to both, the
// tool finds some that came meanwhile.
func (r *rolling) moveToAndFroWhile(t *testing.T, do func()) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for runs := 0; ; runs++ {
			arguments := []string{"--servers-read-both", "--batch-size", "5"}
			if runs%2 == 1 {
				arguments = append(arguments, "--back")
			} else {
				select {
				case <-stop:
					t.Logf("tasks have moved %d times to one place or the other", runs)
					ended <- nil
					return
				default:
				}
			}
			if _, err := r.place.rehash(t, arguments...); err != nil && !strings.Contains(err.Error(), "tasks came to the old place meanwhile") {
				ended <- err
				return
			}
		}
	}()
	do()
	close(stop)
	require.NoError(t, <-ended)
}

// matchingHost is a process.
type matchingHost struct {
	process  *osexec.Cmd
	lifeline io.Closer
	log      string
}

// start returns when the host has started.
func (r *rolling) start(t *testing.T, step plugin.SubqueueTasks) *matchingHost {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cfg, err := json.Marshal(r.place.host(step, r.frontend))
	require.NoError(t, err)
	h := &matchingHost{process: osexec.Command(binary)}
	h.process.Env = append(os.Environ(), asMatchingHost+"="+string(cfg))
	log, err := os.CreateTemp(t.TempDir(), "matching-*.log")
	require.NoError(t, err)
	defer log.Close()
	h.log, h.process.Stderr = log.Name(), log
	h.lifeline, err = h.process.StdinPipe()
	require.NoError(t, err)
	out, err := h.process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, h.process.Start())
	t.Cleanup(func() { _ = h.process.Process.Kill() })
	ready := make([]byte, len(hostReady))
	_, err = io.ReadFull(out, ready)
	require.NoError(t, err, h.tail())
	return h
}

// end ends the host by a signal.
func (h *matchingHost) end(t *testing.T, by syscall.Signal) {
	t.Helper()
	require.NoError(t, h.process.Process.Signal(by), h.tail())
	err := h.process.Wait()
	if by == syscall.SIGTERM {
		require.NoError(t, err, h.tail())
	}
}

// tail returns the end of the host's log.
func (h *matchingHost) tail() string {
	content, err := os.ReadFile(h.log)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-4000):])
}

const hostReady = "ready"

// runMatchingHost is what the process does: it ends on SIGTERM, or with the process that started it.
func runMatchingHost(cfg string) error {
	var host hostConfig
	if err := json.Unmarshal([]byte(cfg), &host); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
	defer cancel()
	settings := host.server(string(primitives.MatchingService))
	settings.Log = os.Stderr
	running, err := server.Start(ctx, settings)
	if err != nil {
		return err
	}
	fmt.Print(hostReady)
	<-stop.Done()
	return running.Stop()
}

// load are workflows that run all the time: more than the workers can do at once, so that tasks wait.
type load struct {
	client client.Client
	stop   context.CancelFunc
	loops  sync.WaitGroup
	done   atomic.Int64
	// idle are the workflows of the task queues that have no worker.
	mutex    sync.Mutex
	idle     []string
	failures []error
}

const (
	// loadLoops is how many workflows of a task queue run at once.
	loadLoops = 40
	// idleEvery is how many of them are done before one is started that waits for the end.
	idleEvery = 10

	loadPriorities, loadFairnessKeys = 5, 3
)

func startLoad(t *testing.T, c client.Client) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{client: c, stop: cancel}
	for queue, idle := range map[string]string{activeQueue: idleQueue, activeFairQueue: idleFairQueue} {
		l.startWorker(t, queue)
		for loop := range loadLoops {
			l.loops.Go(func() {
				for number := 0; ctx.Err() == nil; number++ {
					// Who has begun is waited for.
					if err := l.run(context.WithoutCancel(ctx), queue, loop, number); err != nil {
						l.fail(err)
						return
					}
					l.done.Add(1)
					if number%idleEvery == 0 {
						if err := l.leave(context.WithoutCancel(ctx), idle, loop, number); err != nil {
							l.fail(err)
							return
						}
					}
				}
			})
		}
	}
	return l
}

func (l *load) fail(err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.failures = append(l.failures, err)
}

func (l *load) startWorker(t *testing.T, queue string) {
	t.Helper()
	w := worker.New(l.client, queue, worker.Options{
		// Few at once, and nothing goes past matching.
		MaxConcurrentWorkflowTaskExecutionSize: 4, MaxConcurrentWorkflowTaskPollers: 4,
		MaxConcurrentActivityExecutionSize: 4, MaxConcurrentActivityTaskPollers: 4,
		DisableEagerActivities:   true,
		DeadlockDetectionTimeout: time.Minute,
	})
	w.RegisterWorkflowWithOptions(twoSteps, workflow.RegisterOptions{Name: "two-steps"})
	w.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: "step"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

// twoSteps has two activities, one after the other.
func twoSteps(ctx workflow.Context) error {
	// What matching had given to a worker when it was killed is tried again after these seconds; what it has yet to give waits.
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 5 * time.Second})
	for range 2 {
		if err := workflow.ExecuteActivity(ctx, "step").Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func step(context.Context) error { return nil }

func (l *load) begin(ctx context.Context, queue string, loop, number int) (client.WorkflowRun, error) {
	key := loop + number
	return l.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: fmt.Sprintf("%s-%d-%d", queue, loop, number), TaskQueue: queue, WorkflowTaskTimeout: 5 * time.Second,
		Priority: temporal.Priority{
			PriorityKey: key%loadPriorities + 1, FairnessKey: fmt.Sprintf("tenant-%d", key%loadFairnessKeys), FairnessWeight: 1 + float32(key%loadFairnessKeys),
		},
	}, "two-steps")
}

// run runs a workflow to its end.
func (l *load) run(ctx context.Context, queue string, loop, number int) error {
	run, err := l.begin(ctx, queue, loop, number)
	if err != nil {
		return err
	}
	return l.await(ctx, run.GetID())
}

// leave begins a workflow that nobody works at before the end.
func (l *load) leave(ctx context.Context, queue string, loop, number int) error {
	run, err := l.begin(ctx, queue, loop, number)
	if err != nil {
		return err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.idle = append(l.idle, run.GetID())
	return nil
}

// await returns when a workflow is done.
func (l *load) await(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	if err := l.client.GetWorkflow(ctx, id, "").Get(ctx, nil); err != nil {
		return fmt.Errorf("workflow %s: %w", id, err)
	}
	return nil
}

// loadPatience is how long a workflow may wait in all.
const loadPatience = 3 * time.Minute

// end lets all workflows come to their end, and requires that they do.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.startWorker(t, idleQueue)
	l.startWorker(t, idleFairQueue)
	l.loops.Wait()
	for _, id := range l.idle {
		if err := l.await(t.Context(), id); err != nil {
			l.fail(err)
		}
	}
	require.Empty(t, l.failures)
	t.Logf("%d workflows done while hosts changed, and %d that waited", l.done.Load(), len(l.idle))
}
