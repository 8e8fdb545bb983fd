package rehash

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	taskqueuespb "go.temporal.io/server/api/taskqueue/v1"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// TestServersStartWhereBothPlacesAreOnOneVitessShard does what a server does at its start.
func TestServersStartWhereBothPlacesAreOnOneVitessShard(t *testing.T) {
	for _, place := range places() {
		for _, step := range steps[1:] {
			t.Run(string(step)+" in "+place.name, func(t *testing.T) {
				cfg := place.at(step)
				require.NoError(t, testbed.RecordVersion(sqlplugin.DbKindMain, cfg))
				db, err := persistencesql.NewSQLAdminDB(sqlplugin.DbKindMain, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
				require.NoError(t, err)
				defer db.Close()
				err = db.VerifyVersion()
				if place.single() || step == plugin.SubqueueTasksVitess {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, "vitess_subqueue_tasks is "+string(step)+", but table tasks is in keyspace temporal, which is sharded")
				}
			})
		}
	}
}

// TestTwinsAreNotRead has two tasks with the same key, of which matching would lose one: servers have read one place
// only, and the task queue was deleted and created again.
func TestTwinsAreNotRead(t *testing.T) {
	for _, g := range generations {
		for _, place := range singlePlaces() {
			t.Run(g.table+" in "+place.name, func(t *testing.T) {
				place.clear(t)
				upstream, own := g.manager(t, place.upstream), g.manager(t, place.plugin)
				queue := newTaskQueue(t, upstream, g, "queue", 2)
				queue.write(t, upstream, 1, firstID, 3)
				newer := queue.recreate(t, own)
				newer.write(t, own, 1, firstID+2, 3)
				for _, step := range []plugin.SubqueueTasks{plugin.SubqueueTasksUpstreamReadBoth, plugin.SubqueueTasksVitessReadBoth} {
					manager := g.manager(t, place.at(step))
					_, err := queue.tryRead(t, manager, 1)
					require.ErrorContains(t, err, "two tasks of task queue")
					require.ErrorContains(t, err, "have ID 1002")
				}
			})
		}
	}
}

// TestToolNoticesAServerAtAnotherStep has one that writes to the old place while tasks move.
func TestToolNoticesAServerAtAnotherStep(t *testing.T) {
	for _, g := range generations {
		for _, test := range []struct {
			arguments []string
			from      plugin.SubqueueTasks
			says      string
		}{
			{[]string{"--servers-read-both"}, plugin.SubqueueTasksUpstreamReadBoth, "a server on keyspace single does not write where the plugin reads them"},
			{[]string{"--servers-read-both", "--back"}, plugin.SubqueueTasksVitessReadBoth, "a server on keyspace single does not write where upstream's plugin reads them"},
		} {
			t.Run(g.table+" from "+string(test.from), func(t *testing.T) {
				place := unsharded
				place.clear(t)
				manager := g.manager(t, place.at(test.from))
				queue := newTaskQueue(t, manager, g, "queue", 3)
				queue.write(t, manager, 1, firstID, 20)
				app := command.New()
				written := false
				app.Writer = writerFunc(func(text []byte) {
					// Lines before this one tell which matching services run, such as those that a test has killed.
					if !written && strings.Contains(string(text), "tasks moved") {
						queue.write(t, manager, 2, firstID, 1)
						written = true
					}
				})
				err := app.RunContext(t.Context(), place.arguments(test.arguments...))
				require.ErrorContains(t, err, "tasks came to the old place meanwhile")
				require.ErrorContains(t, err, test.says)
				require.ErrorContains(t, err, "look at vitess_subqueue_tasks of all")
				out, err := place.rehash(t, test.arguments...)
				require.NoError(t, err)
				require.Contains(t, out, "1 tasks moved")
			})
		}
	}
}

// TestAckLevelsStayWhileServersRun has tasks that are done and not deleted yet. Matching must not get them again, nor lose
// the task queue.
func TestAckLevelsStayWhileServersRun(t *testing.T) {
	for _, g := range generations {
		t.Run(g.table, func(t *testing.T) {
			place := plain
			place.clear(t)
			manager := g.manager(t, place.at(plugin.SubqueueTasksUpstreamReadBoth))
			queue := newTaskQueue(t, manager, g, "queue", 2)
			queue.write(t, manager, 1, firstID, 5)
			info := queue.info.Subqueues[1]
			if g.fair {
				info.FairAckLevel = &taskqueuespb.FairLevel{TaskPass: g.pass(), TaskId: firstID + 2}
			} else {
				info.AckLevel = firstID + 2
			}
			_, err := manager.UpdateTaskQueue(t.Context(), &persistence.UpdateTaskQueueRequest{RangeID: rangeID, PrevRangeID: rangeID, TaskQueueInfo: queue.info})
			require.NoError(t, err)
			out, err := place.rehash(t, "--servers-read-both")
			require.NoError(t, err)
			require.Contains(t, out, "5 tasks moved")
			after := queue.metadata(t, manager)
			require.EqualValues(t, rangeID, after.RangeID)
			require.EqualValues(t, firstID+2, ackLevel(g, after.TaskQueueInfo.Subqueues[1]))
		})
	}
}

// TestDeleteOfBothPlacesLeavesOtherTasksUnread has more tasks above the bound than a delete may read: all of a backlog,
// each time that some of its tasks are done.
func TestDeleteOfBothPlacesLeavesOtherTasksUnread(t *testing.T) {
	const backlog, done, limit, few = 4_000, 20, 10, 500
	for _, g := range generations {
		t.Run(g.table, func(t *testing.T) {
			place := plain
			place.clear(t)
			both := g.manager(t, place.at(plugin.SubqueueTasksVitessReadBoth))
			queue := newTaskQueue(t, both, g, "queue", 2)
			for i, step := range []plugin.SubqueueTasks{plugin.SubqueueTasksUpstreamReadBoth, plugin.SubqueueTasksVitessReadBoth} {
				queue.write(t, g.manager(t, place.at(step)), 1, firstID+int64(i)*backlog, backlog)
			}
			exec(t, "ANALYZE TABLE plain."+g.table)
			read := func() (count int) {
				var name string
				require.NoError(t, mysqld.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Innodb_rows_read'").Scan(&name, &count))
				return count
			}
			before := read()
			deleted, err := both.CompleteTasksLessThan(t.Context(), &persistence.CompleteTasksLessThanRequest{
				NamespaceID: queue.info.NamespaceId, TaskQueueName: queue.info.Name, TaskType: queue.info.TaskType, Subqueue: 1,
				ExclusiveMaxPass: g.pass(), ExclusiveMaxTaskID: firstID + done, Limit: limit,
			})
			require.NoError(t, err)
			require.Equal(t, limit, deleted)
			require.Less(t, read()-before, few)
		})
	}
}

func TestToolRefusesToMoveUnderServersOnShardedKeyspaces(t *testing.T) {
	for _, flag := range []string{"--servers-read-both", "--back"} {
		_, err := sharded.rehash(t, flag)
		require.ErrorContains(t, err, "keyspace temporal has 2 Vitess shards, and both places of a task are on one only in an unsharded keyspace")
	}
}
