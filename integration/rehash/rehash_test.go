package rehash

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	taskqueuespb "go.temporal.io/server/api/taskqueue/v1"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/rehash"
	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
)

// names are of task queues. Some end in bytes that look like the marked type of a subqueue.
var names = []string{"queue", "/_sys/queue/3", "очередь", "Ё\u0081", "\u0080\u0081"}

// subqueues are written by upstream's plugin. Their numbers have one byte and two in a task queue's ID.
var subqueues = []int{0, 1, 2, 130}

const highestSubqueue = 130

// TestTasksOfSubqueuesMove writes with upstream's plugin, and reads with ours after the tool has run.
func TestTasksOfSubqueuesMove(t *testing.T) {
	const tasks = 23
	for _, place := range places() {
		t.Run(place.name, func(t *testing.T) {
			place.clear(t)
			var queues []taskQueue
			for _, g := range generations {
				upstream, plugin := g.manager(t, place.upstream), g.manager(t, place.plugin)
				for _, name := range names {
					queue := newTaskQueue(t, upstream, g, name, highestSubqueue+1)
					for _, subqueue := range subqueues {
						queue.write(t, upstream, subqueue, firstID, tasks)
					}
					queues = append(queues, queue)
					queue.requireTasks(t, plugin, 0, tasks)
					require.Empty(t, queue.read(t, plugin, 1), "the plugin reads subqueues as they are, so the test proves nothing")
				}
			}
			total := len(queues) * (len(subqueues) - 1) * tasks
			require.Equal(t, total, place.misplaced(t))

			// Two tasks are at both places, as if a run had ended between.
			for _, g := range generations {
				queue := queues[slices.IndexFunc(queues, func(q taskQueue) bool { return q.generation == g })]
				queue.write(t, g.manager(t, place.plugin), 2, firstID+5, 2)
			}
			before := map[string]map[string]int{}
			for _, g := range generations {
				before[g.table] = place.rows(t, g.table)
			}

			out, err := place.rehash(t, "--batch-size", "7")
			require.NoError(t, err)
			require.Contains(t, out, fmt.Sprintf("7 of %d tasks moved, ", total))
			require.Contains(t, out, fmt.Sprintf("%d tasks moved; all tasks are where the plugin reads them", total))
			check := func() {
				for _, g := range generations {
					after := place.rows(t, g.table)
					require.Len(t, after, len(before[g.table]))
					for row, count := range after {
						require.Contains(t, before[g.table], row)
						require.Equal(t, 1, count, row)
					}
					plugin := g.manager(t, place.plugin)
					for _, queue := range queues {
						for _, subqueue := range subqueues {
							if queue.generation == g {
								queue.requireTasks(t, plugin, subqueue, tasks)
							}
						}
					}
				}
			}
			check()

			// It may run again, and has nothing to do then.
			place.requireRehashed(t, 0)
			require.Zero(t, place.misplaced(t))
			check()
		})
	}
}

// TestKilledRunIsFinishedByTheNext moves 100,000 tasks and kills the tool on the way.
func TestKilledRunIsFinishedByTheNext(t *testing.T) {
	const (
		tasks          = 1_000
		perGeneration  = 10 // task queues
		movedSubqueues = 5
		total          = tasks * perGeneration * movedSubqueues * 2
	)
	place := sharded
	place.clear(t)
	var queues []taskQueue
	for _, g := range generations {
		upstream := g.manager(t, place.upstream)
		for i := range perGeneration {
			queue := newTaskQueue(t, upstream, g, fmt.Sprintf("queue %d", i), movedSubqueues+1)
			for subqueue := range movedSubqueues + 1 {
				queue.write(t, upstream, subqueue, firstID, tasks)
			}
			queues = append(queues, queue)
		}
	}
	require.Equal(t, total, place.misplaced(t))

	binary, err := os.Executable()
	require.NoError(t, err)
	var out bytes.Buffer
	tool := osexec.Command(binary, place.arguments("--batch-size", "100")[1:]...)
	tool.Env = append(os.Environ(), asTool+"=1")
	tool.Stdout, tool.Stderr = &out, &out
	require.NoError(t, tool.Start())
	require.Eventually(t, func() bool { return place.misplaced(t) < total*3/4 }, waitTimeout, waitTick)
	require.NoError(t, tool.Process.Kill())
	require.ErrorContains(t, tool.Wait(), "signal: killed", out.String())

	left := place.misplaced(t)
	t.Logf("%d of %d tasks were moved before the kill", total-left, total)
	require.Positive(t, left, "the tool was done before the kill, so the test proves nothing")
	place.requireRehashed(t, left)

	for _, g := range generations {
		rows := place.rows(t, g.table)
		require.Len(t, rows, tasks*perGeneration*(movedSubqueues+1))
		for row, count := range rows {
			require.Equal(t, 1, count, row)
		}
		plugin := g.manager(t, place.plugin)
		for _, queue := range queues {
			for subqueue := range movedSubqueues + 1 {
				if queue.generation == g {
					queue.requireTasks(t, plugin, subqueue, tasks)
				}
			}
		}
	}
}

// TestSubqueuesAreListedInPages has more than a page of them.
func TestSubqueuesAreListedInPages(t *testing.T) {
	const count = 2_100
	place, g := plain, generations[0]
	place.clear(t)
	upstream := g.manager(t, place.upstream)
	queue := newTaskQueue(t, upstream, g, "queue", 1)
	for subqueue := range count {
		queue.write(t, upstream, subqueue, firstID, 1)
	}
	require.Equal(t, count-1, place.misplaced(t))
	place.requireRehashed(t, count-1)
	plugin := g.manager(t, place.plugin)
	for subqueue := range count {
		queue.requireTasks(t, plugin, subqueue, 1)
	}
}

// TestInterruptedRunSaysHowToGoOn cancels the context, as Ctrl-C does, after a batch.
func TestInterruptedRunSaysHowToGoOn(t *testing.T) {
	for _, place := range places() {
		t.Run(place.name, func(t *testing.T) {
			place.clear(t)
			upstream := generations[0].manager(t, place.upstream)
			queue := newTaskQueue(t, upstream, generations[0], "queue", 2)
			queue.write(t, upstream, 1, firstID, 20)

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			app := command.New()
			app.Writer = writerFunc(func([]byte) { cancel() })
			err := app.RunContext(ctx, place.arguments("--batch-size", "5"))
			require.ErrorContains(t, err, "interrupted after 5 of 20 tasks: run the command again, it goes on there")
			place.requireRehashed(t, 15)
			queue.requireTasks(t, generations[0].manager(t, place.plugin), 1, 20)
		})
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(text []byte) (int, error) {
	f(text)
	return len(text), nil
}

// TestFailsBetweenInsertAndDelete has triggers below Vitess that let one of the two fail.
func TestFailsBetweenInsertAndDelete(t *testing.T) {
	const tasks, batch = 20, 5
	for _, test := range []struct {
		place   place
		failing string
		doubled int
	}{
		{sharded, "INSERT", 0},
		{sharded, "DELETE", batch},
		{unsharded, "INSERT", 0},
		{unsharded, "DELETE", 0}, // one transaction
		{plain, "INSERT", 0},
		{plain, "DELETE", 0},
	} {
		t.Run(test.failing+" in "+test.place.name, func(t *testing.T) {
			place, g := test.place, generations[1]
			place.clear(t)
			upstream := g.manager(t, place.upstream)
			queue := newTaskQueue(t, upstream, g, "queue", 2)
			queue.write(t, upstream, 1, firstID, tasks)
			drop := func() {
				for _, database := range place.databases {
					exec(t, "DROP TRIGGER IF EXISTS `"+database+"`.failing")
				}
			}
			t.Cleanup(drop)
			for _, database := range place.databases {
				exec(t, "CREATE TRIGGER `"+database+"`.failing BEFORE "+test.failing+" ON `"+database+"`.tasks_v2 FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'injected'")
			}

			_, err := place.rehash(t, "--batch-size", fmt.Sprint(batch))
			require.ErrorContains(t, err, "injected")
			require.ErrorContains(t, err, "0 of 20 tasks are moved: run the command again, it goes on there")
			require.Equal(t, tasks, place.misplaced(t))
			doubled := 0
			for _, count := range place.rows(t, g.table) {
				doubled += count - 1
			}
			require.Equal(t, test.doubled, doubled)

			drop()
			place.requireRehashed(t, tasks)
			require.Len(t, place.rows(t, g.table), tasks)
			queue.requireTasks(t, g.manager(t, place.plugin), 1, tasks)
		})
	}
}

// TestTasksWithTheIDOfAnotherStay has a task queue that was deleted and created again, so that its task IDs started over:
// newer tasks at the new place have IDs of old ones at the old place.
func TestTasksWithTheIDOfAnotherStay(t *testing.T) {
	const subqueue, tasks, newerFrom, newerTasks, batch = 1, 23, firstID + 5, 8, 4 // with a batch of nothing else
	for _, g := range generations {
		for _, place := range places() {
			t.Run(g.table+" in "+place.name, func(t *testing.T) {
				place.clear(t)
				upstream, plugin := g.manager(t, place.upstream), g.manager(t, place.plugin)
				queue := newTaskQueue(t, upstream, g, "queue", subqueue+1)
				queue.write(t, upstream, subqueue, firstID, tasks)
				newer := queue.recreate(t, plugin)
				newer.write(t, plugin, subqueue, newerFrom, newerTasks)
				queue.write(t, plugin, subqueue, firstID+1, 2) // both places have these, as if a run had ended between

				requireAt := func(wantOld, wantNew []string) {
					t.Helper()
					require.Equal(t, wantOld, queue.read(t, upstream, subqueue), "at the old place")
					require.Equal(t, wantNew, queue.read(t, plugin, subqueue), "at the new place")
				}
				kept, moved := []string{}, []string{}
				for id := firstID; id < firstID+tasks; id++ {
					workflow := fmt.Sprintf("workflow-%d-%d", subqueue, id)
					if id >= newerFrom && id < newerFrom+newerTasks {
						kept = append(kept, workflow)
						workflow = fmt.Sprintf("newer-%d-%d", subqueue, id)
					}
					moved = append(moved, workflow)
				}
				out, err := place.rehash(t, "--batch-size", fmt.Sprint(batch))
				requireAt(kept, moved)
				require.ErrorContains(t, err, "15 of 23 tasks moved, but 8 remain at the old place")
				require.ErrorContains(t, err, fmt.Sprintf("Activity task queue \"queue\" of namespace %s, subqueue %d in %s: 8 tasks, IDs 1005 to 1012\n", queue.info.NamespaceId, subqueue, g.table))
				require.NotContains(t, out, "all tasks are where the plugin reads them")

				// It remains so.
				_, err = place.rehash(t)
				require.ErrorContains(t, err, "0 of 8 tasks moved, but 8 remain at the old place")
				requireAt(kept, moved)

				// The newer tasks are done.
				queue.complete(t, plugin, subqueue, firstID+tasks)
				place.requireRehashed(t, newerTasks)
				requireAt([]string{}, kept)
			})
		}
	}
}

// TestRowsThatChangeAfterTheyWereRead has a transaction on mysqld that the tool does not see when it reads, and that
// commits when a statement of the tool waits for it.
func TestRowsThatChangeAfterTheyWereRead(t *testing.T) {
	for _, test := range []struct {
		name, change string
		old          bool // the change is at the old place
		want         string
	}{
		{
			name:   "another task comes to the new place",
			change: "INSERT INTO `%s`.tasks (range_hash, task_queue_id, task_id, data, data_encoding) VALUES (?, ?, 1002, 'other', 'Proto3')",
			want:   "Duplicate entry",
		},
		{
			name:   "another task comes to the old place",
			change: "UPDATE `%s`.tasks SET data = 'other' WHERE range_hash = ? AND task_queue_id = ? AND task_id = 1002",
			old:    true,
			want:   "tasks came to the old place meanwhile",
		},
	} {
		for _, place := range places() {
			t.Run(test.name+" in "+place.name, func(t *testing.T) {
				place.clear(t)
				upstream := generations[0].manager(t, place.upstream)
				queue := newTaskQueue(t, upstream, generations[0], "queue", 2)
				queue.write(t, upstream, 1, firstID, 5)
				id, rangeHash := place.only(t, "tasks")
				if !test.old {
					rangeHash = taskqueue.RangeHash(id)
				}
				tx, err := mysqld.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				defer tx.Rollback()
				_, err = tx.ExecContext(t.Context(), fmt.Sprintf(test.change, place.database(rangeHash)), rangeHash, id)
				require.NoError(t, err)

				ended := make(chan error, 1)
				go func() {
					_, err := place.rehash(t)
					ended <- err
				}()
				require.Eventually(t, func() bool {
					var name string
					var waiting int
					err := mysqld.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(&name, &waiting)
					return err == nil && waiting > 0
				}, waitTimeout, waitTick)
				require.NoError(t, tx.Commit())
				if test.old && place.single() { // where one transaction sees it
					require.NoError(t, <-ended)
					require.Len(t, place.rows(t, "tasks"), 5)
					require.Zero(t, place.misplaced(t))
					return
				}
				require.ErrorContains(t, <-ended, test.want)

				// The other tasks have moved, or do so now, and both tasks of the ID are there.
				_, err = place.rehash(t)
				require.ErrorContains(t, err, "1 remain at the old place")
				require.Equal(t, 2, place.rows(t, "tasks")[fmt.Sprintf("%X 0 1002", id)])
				require.Len(t, place.rows(t, "tasks"), 5)
			})
		}
	}
}

// TestRefusesWhileMatchingRuns has hosts with heartbeats, written as servers do.
func TestRefusesWhileMatchingRuns(t *testing.T) {
	for _, place := range places() {
		t.Run(place.name, func(t *testing.T) {
			place.clear(t)
			upstream := generations[0].manager(t, place.upstream)
			queue := newTaskQueue(t, upstream, generations[0], "queue", 2)
			queue.write(t, upstream, 1, firstID, 20)
			membership := place.membership(t)
			heartbeat := func(role persistence.ServiceType) {
				require.NoError(t, membership.UpsertClusterMembership(t.Context(), &persistence.UpsertClusterMembershipRequest{
					Role: role, HostID: []byte(fmt.Sprintf("host of role %3d", role)), RPCAddress: net.IPv4(10, 1, 2, 3), RPCPort: 7235,
					SessionStart: time.Now(), RecordExpiry: time.Hour,
				}))
			}
			heartbeat(persistence.History)
			heartbeat(persistence.Frontend)
			require.Equal(t, 20, place.misplaced(t))

			// It starts while the tool runs.
			app := command.New()
			app.Writer = writerFunc(func([]byte) { heartbeat(persistence.Matching) })
			err := app.RunContext(t.Context(), place.arguments("--batch-size", "5"))
			require.ErrorContains(t, err, "matching services run: 10.1.2.3:7235 (heartbeat ")
			require.ErrorContains(t, err, "5 of 20 tasks are moved: run the command again, it goes on there")

			out, err := place.rehash(t)
			require.ErrorContains(t, err, "stop all matching services")
			require.Empty(t, out)
			out, err = place.rehash(t, "--dry-run")
			require.NoError(t, err)
			require.Contains(t, out, "tasks: 15 tasks of 1 subqueues to move\ntasks_v2: 0 tasks of 0 subqueues to move\nmatching services run, stop them first: 10.1.2.3:7235")

			if place.single() {
				// The operator says that it may run.
				_, err = place.rehash(t)
				require.ErrorContains(t, err, "; or take all of them to vitess_subqueue_tasks: vitess-read-both, and give --servers-read-both")
				out, err = place.rehash(t, "--servers-read-both", "--back", "--dry-run")
				require.NoError(t, err)
				require.Contains(t, out, "matching services run, each needs vitess_subqueue_tasks: upstream-read-both: 10.1.2.3:7235")
				out, err = place.rehash(t, "--servers-read-both")
				require.NoError(t, err)
				require.Contains(t, out, "matching services run, each needs vitess_subqueue_tasks: vitess-read-both: 10.1.2.3:7235")
				require.Contains(t, out, "15 tasks moved; all tasks are where the plugin reads them")
			} else {
				place.stopServers(t)
				place.requireRehashed(t, 15)
			}
			queue.requireTasks(t, generations[0].manager(t, place.plugin), 1, 20)
		})
	}
}

// TestRefusesWhileMatchingRunsWithAnotherClock has a matching service whose heartbeats look as old as those of a stopped one.
func TestRefusesWhileMatchingRunsWithAnotherClock(t *testing.T) {
	for _, place := range places() {
		t.Run(place.name, func(t *testing.T) {
			place.clear(t)
			upstream := generations[0].manager(t, place.upstream)
			queue := newTaskQueue(t, upstream, generations[0], "queue", 2)
			queue.write(t, upstream, 1, firstID, 20)
			require.NoError(t, place.membership(t).UpsertClusterMembership(t.Context(), &persistence.UpsertClusterMembershipRequest{
				Role: persistence.Matching, HostID: []byte("0123456789abcdef"), RPCAddress: net.IPv4(10, 1, 2, 3), RPCPort: 7235,
				SessionStart: time.Now(), RecordExpiry: time.Hour,
			}))
			exec(t, "UPDATE "+place.members+" SET last_heartbeat = last_heartbeat - INTERVAL 1 YEAR")
			heartbeat := "UPDATE " + place.members + " SET last_heartbeat = last_heartbeat + INTERVAL 1 SECOND"

			// The heartbeat comes between two batches.
			app := command.New()
			app.Writer = writerFunc(func([]byte) { exec(t, heartbeat) })
			err := app.RunContext(t.Context(), place.arguments("--batch-size", "5"))
			require.ErrorContains(t, err, "matching services run: 10.1.2.3:7235 (heartbeat while this command ran)")
			require.ErrorContains(t, err, "5 of 20 tasks are moved")

			// Heartbeats come while the tool watches.
			ctx, cancel := context.WithCancel(t.Context())
			beating := make(chan error)
			go func() {
				var err error
				for err == nil && ctx.Err() == nil {
					_, err = mysqld.ExecContext(context.WithoutCancel(ctx), heartbeat)
				}
				beating <- err
			}()
			out, err := place.rehash(t, "--watch", "1s")
			cancel()
			require.NoError(t, <-beating)
			require.ErrorContains(t, err, "matching services run: 10.1.2.3:7235 (heartbeat while this command ran)")
			require.Empty(t, out)
			require.Equal(t, 15, place.misplaced(t))

			// It has stopped.
			exec(t, "UPDATE "+place.members+" SET last_heartbeat = last_heartbeat - INTERVAL 1 DAY")
			place.requireRehashed(t, 15)
		})
	}
}

// TestInterruptedBeforeTheFirstBatchSaysHowToGoOn cancels the context early.
func TestInterruptedBeforeTheFirstBatchSaysHowToGoOn(t *testing.T) {
	place := plain
	r, err := rehash.New(t.Context(), rehash.Config{
		DB: mysqld, Keyspace: place.plugin.DatabaseName, GlobalKeyspace: place.plugin.DatabaseName, Store: place.plugin, BatchSize: 1,
	})
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Run(ctx)
	require.EqualError(t, err, "interrupted before the first task moved: run the command again; start no matching service before it is done")
}

// TestNoticesUpstreamsPluginAtWork has a server without heartbeats that writes to the old place.
func TestNoticesUpstreamsPluginAtWork(t *testing.T) {
	place := unsharded
	place.clear(t)
	g := generations[1]
	upstream := g.manager(t, place.upstream)
	queue := newTaskQueue(t, upstream, g, "queue", 3)
	queue.write(t, upstream, 1, firstID, 20)
	app := command.New()
	written := false
	app.Writer = writerFunc(func([]byte) {
		if !written {
			queue.write(t, upstream, 2, firstID, 1)
			written = true
		}
	})
	err := app.RunContext(t.Context(), place.arguments())
	require.ErrorContains(t, err, "a server with upstream's plugin runs on keyspace single")
	require.ErrorContains(t, err, `Activity task queue "queue" of namespace `+queue.info.NamespaceId+", subqueue 2 in tasks_v2")
	place.requireRehashed(t, 1)
}

// TestAckLevelsAreBelowMovedTasks has a task queue on which a server with the plugin has run already: it saw no task in
// the subqueue, and has acknowledged all IDs.
func TestAckLevelsAreBelowMovedTasks(t *testing.T) {
	for _, g := range generations {
		for _, place := range places() {
			t.Run(g.table+" in "+place.name, func(t *testing.T) {
				place.clear(t)
				other := generations[(slices.Index(generations, g)+1)%2]
				upstream, upstreamOther := g.manager(t, place.upstream), other.manager(t, place.upstream)
				queue := newTaskQueue(t, upstream, g, "queue", 4)
				_, err := upstreamOther.CreateTaskQueue(t.Context(), &persistence.CreateTaskQueueRequest{RangeID: rangeID, TaskQueueInfo: queue.info})
				require.NoError(t, err)
				for subqueue := range 3 {
					queue.write(t, upstream, subqueue, firstID, 5)
				}
				// Subqueue 1 is acknowledged up to a task that is there, subqueue 2 is not.
				acked, before := int64(firstID+2), int64(firstID-1)
				for i, id := range []int64{acked, acked, before, acked} {
					info := queue.info.Subqueues[i]
					if g.fair {
						info.FairAckLevel = &taskqueuespb.FairLevel{TaskPass: g.pass(), TaskId: id}
					} else {
						info.AckLevel = id
					}
				}
				_, err = upstream.UpdateTaskQueue(t.Context(), &persistence.UpdateTaskQueueRequest{RangeID: rangeID, PrevRangeID: rangeID, TaskQueueInfo: queue.info})
				require.NoError(t, err)

				place.requireRehashed(t, 10)

				after := queue.metadata(t, g.manager(t, place.plugin))
				var levels []int64
				for _, info := range after.TaskQueueInfo.Subqueues {
					levels = append(levels, ackLevel(g, info))
				}
				require.Equal(t, []int64{acked, before, before, acked}, levels)
				require.Greater(t, after.RangeID, int64(rangeID), "who had the lease keeps its ack level")
				require.False(t, after.TaskQueueInfo.OtherHasTasks)
				require.True(t, queue.metadata(t, other.manager(t, place.plugin)).TaskQueueInfo.OtherHasTasks)
			})
		}
	}
}

// TestNewTaskIDsAreAboveThoseOfMovedTasks has a task queue that was deleted and created again. Matching reads no task above
// the IDs that it has given, and gives the 100,000 IDs of the range ID that follows the stored one.
func TestNewTaskIDsAreAboveThoseOfMovedTasks(t *testing.T) {
	for _, g := range generations {
		for _, place := range places() {
			t.Run(g.table+" in "+place.name, func(t *testing.T) {
				place.clear(t)
				upstream, plugin := g.manager(t, place.upstream), g.manager(t, place.plugin)
				queue := newTaskQueue(t, upstream, g, "queue", 2)
				queue.write(t, upstream, 1, 2_399_998, 3)
				queue.recreate(t, plugin)
				place.requireRehashed(t, 3)
				require.EqualValues(t, 24, queue.metadata(t, plugin).RangeID)
			})
		}
	}
}

func ackLevel(g generation, info *persistencespb.SubqueueInfo) int64 {
	if g.fair {
		return info.FairAckLevel.TaskId
	}
	return info.AckLevel
}

func TestRefusesWhatCannotBe(t *testing.T) {
	for _, place := range places() {
		for _, size := range []int{0, rehash.MaxBatchSize + 1} {
			_, err := place.rehash(t, "--batch-size", fmt.Sprint(size))
			require.ErrorContains(t, err, fmt.Sprintf("--batch-size is %d, but has to be from 1 to 2000", size))
		}
	}
	nowhere := *sharded.plugin
	nowhere.DatabaseName = "nowhere"
	_, err := place{plugin: &nowhere}.rehash(t)
	require.ErrorContains(t, err, "there is no keyspace nowhere, there are single, temporal, temporal_global: create it (vtctldclient CreateKeyspace), or name another (--keyspace")
	nowhere = *plain.plugin
	nowhere.DatabaseName = "nowhere"
	_, err = place{plugin: &nowhere}.rehash(t)
	require.ErrorContains(t, err, "no table cluster_membership in nowhere or nowhere_global, by which to see whether servers run: check --keyspace and --global-keyspace")
}

// membership opens what servers register with.
func (p place) membership(t *testing.T) persistence.ClusterMetadataStore {
	t.Helper()
	factory := persistencesql.NewFactory(*p.plugin, resolver.NewNoopResolver(), "", log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	t.Cleanup(factory.Close)
	store, err := factory.NewClusterMetadataStore()
	require.NoError(t, err)
	t.Cleanup(func() { exec(t, "DELETE FROM "+p.members) })
	return store
}

// stopServers makes all heartbeats old.
func (p place) stopServers(t *testing.T) {
	t.Helper()
	exec(t, "UPDATE "+p.members+" SET last_heartbeat = last_heartbeat - INTERVAL 31 SECOND")
}
