package pipelining

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/dgryski/go-farm"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"

	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// operation is a call of sqlplugin.Tx. Its result is a text, so that results can be compared.
type operation struct {
	name string
	// table that it writes, if any.
	table string
	// interpreted: upstream asks of its error whether it is a duplicate key.
	interpreted bool
	do          func(ctx context.Context, tx sqlplugin.Tx) (string, error)
}

// model draws transactions on few rows, so that they meet each other's.
type model struct {
	random       *rand.Rand
	historyShard []int32
	namespace    primitives.UUID
	runs         []primitives.UUID
	taskQueues   [][]byte
}

// newModel returns a model whose rows are no other's, and in both Vitess shards.
func newModel(seed int64, subject int) *model {
	first := int32(1000 + 100*subject + 2*int(seed))
	m := &model{random: rand.New(rand.NewSource(seed)), historyShard: []int32{first, first + 1}}
	uuid := func() primitives.UUID {
		id := make(primitives.UUID, 16)
		m.random.Read(id)
		return id
	}
	m.namespace = uuid()
	for queue := range 2 {
		m.runs = append(m.runs, uuid())
		m.taskQueues = append(m.taskQueues, slices.Concat(m.namespace, fmt.Appendf(nil, "queue-%d-%d", subject, queue), []byte{1}))
	}
	return m
}

// data has quotes, backslashes and any other byte.
func (m *model) data() []byte {
	data := make([]byte, 1+m.random.Intn(40))
	m.random.Read(data)
	return data
}

func (m *model) transaction() (operations []operation, commit bool) {
	draw := m.matching()
	if m.random.Intn(5) > 0 {
		draw = m.history()
	}
	for range 1 + m.random.Intn(9) {
		operations = append(operations, draw())
	}
	return operations, m.random.Intn(6) > 0
}

// counted returns the row count of a write, if it is asked for.
func counted(ask bool, result sql.Result, err error) (string, error) {
	if err != nil || !ask {
		return "", err
	}
	affected, err := result.RowsAffected()
	return fmt.Sprint(affected, " rows"), err
}

// read returns rows; that there are none is a result, too.
func read[T any](rows T, err error) (string, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return "none", nil
	}
	return fmt.Sprintf("%+v", rows), err
}

// history draws operations of one transaction on a history shard.
func (m *model) history() func() operation {
	historyShard := m.historyShard[m.random.Intn(len(m.historyShard))]
	// A row that is gone is not updated: it would break what the connection has promised, which upstream never does.
	executionGone, currentGone := map[string]bool{}, false
	return func() operation {
		workflow, run, data, ask := fmt.Sprintf("w'%d", m.random.Intn(2)), m.runs[m.random.Intn(len(m.runs))], m.data(), m.random.Intn(2) == 0
		id := int64(m.random.Intn(12))
		key := sqlplugin.ExecutionsFilter{ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run}
		row := execution(key, data)
		row.NextEventID, row.DBRecordVersion = id, id
		currentKey := sqlplugin.CurrentExecutionsFilter{ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run, ArchetypeID: 1}
		current := &sqlplugin.CurrentExecutionsRow{
			ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run, ArchetypeID: 1,
			CreateRequestID: fmt.Sprint("request?", id), LastWriteVersion: id, State: 1, Status: 1, Data: data, DataEncoding: "Proto3",
		}
		activity := sqlplugin.ActivityInfoMapsRow{
			ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run, ScheduleID: id, Data: data, DataEncoding: "Proto3",
		}
		timer := sqlplugin.TimerInfoMapsRow{
			ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run, TimerID: fmt.Sprint("timer\\", id), Data: data, DataEncoding: "Proto3",
		}
		activities := sqlplugin.ActivityInfoMapsAllFilter(key)
		timers := sqlplugin.TimerInfoMapsAllFilter(key)
		buffered := sqlplugin.BufferedEventsFilter(key)
		node := sqlplugin.HistoryNodeRow{
			ShardID: historyShard, TreeID: run, BranchID: run, NodeID: id, TxnID: id % 3, Data: data, DataEncoding: "Proto3",
		}
		var tasks []sqlplugin.TransferTasksRow
		for i := range 1 + id%3 {
			tasks = append(tasks, sqlplugin.TransferTasksRow{ShardID: historyShard, TaskID: 4*id + i, Data: data, DataEncoding: "Proto3"})
		}
		shard := &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: id, Data: data, DataEncoding: "Proto3"}
		shardKey := sqlplugin.ShardsFilter{ShardID: historyShard}

		operations := []operation{
			{"WriteLockShards", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.WriteLockShards(ctx, shardKey))
			}},
			{"ReadLockShards", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.ReadLockShards(ctx, shardKey))
			}},
			{"InsertIntoShards", "shards", true, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoShards(ctx, shard)
				return counted(ask, result, err)
			}},
			{"UpdateShards", "shards", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.UpdateShards(ctx, shard)
				return counted(ask, result, err)
			}},
			{"WriteLockExecutions", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				version, next, err := tx.WriteLockExecutions(ctx, key)
				return read([]int64{version, next}, err)
			}},
			{"InsertIntoExecutions", "executions", true, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoExecutions(ctx, row)
				return counted(ask, result, err)
			}},
			{"SelectFromExecutions", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.SelectFromExecutions(ctx, key))
			}},
			{"LockCurrentExecutions", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.LockCurrentExecutions(ctx, currentKey))
			}},
			{"LockCurrentExecutionsJoinExecutions", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.LockCurrentExecutionsJoinExecutions(ctx, currentKey))
			}},
			{"InsertIntoCurrentExecutions", "current_executions", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoCurrentExecutions(ctx, current)
				return counted(ask, result, err)
			}},
			{"ReplaceIntoActivityInfoMaps", "activity_info_maps", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.ReplaceIntoActivityInfoMaps(ctx, []sqlplugin.ActivityInfoMapsRow{activity})
				return counted(ask, result, err)
			}},
			{"DeleteAllFromActivityInfoMaps", "activity_info_maps", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.DeleteAllFromActivityInfoMaps(ctx, activities)
				return counted(ask, result, err)
			}},
			{"SelectAllFromActivityInfoMaps", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.SelectAllFromActivityInfoMaps(ctx, activities))
			}},
			{"ReplaceIntoTimerInfoMaps", "timer_info_maps", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.ReplaceIntoTimerInfoMaps(ctx, []sqlplugin.TimerInfoMapsRow{timer})
				return counted(ask, result, err)
			}},
			{"DeleteFromTimerInfoMaps", "timer_info_maps", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.DeleteFromTimerInfoMaps(ctx, sqlplugin.TimerInfoMapsFilter{
					ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run, TimerIDs: []string{timer.TimerID, "timer\\1"},
				})
				return counted(ask, result, err)
			}},
			{"DeleteAllFromTimerInfoMaps", "timer_info_maps", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.DeleteAllFromTimerInfoMaps(ctx, timers)
				return counted(ask, result, err)
			}},
			{"InsertIntoBufferedEvents", "buffered_events", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoBufferedEvents(ctx, []sqlplugin.BufferedEventsRow{{
					ShardID: historyShard, NamespaceID: m.namespace, WorkflowID: workflow, RunID: run, Data: data, DataEncoding: "Proto3",
				}})
				return counted(ask, result, err)
			}},
			{"SelectFromBufferedEvents", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.SelectFromBufferedEvents(ctx, buffered))
			}},
			{"DeleteFromBufferedEvents", "buffered_events", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.DeleteFromBufferedEvents(ctx, buffered)
				return counted(ask, result, err)
			}},
			{"InsertIntoTransferTasks", "transfer_tasks", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoTransferTasks(ctx, tasks)
				return counted(ask, result, err)
			}},
			{"RangeDeleteFromTransferTasks", "transfer_tasks", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.RangeDeleteFromTransferTasks(ctx, sqlplugin.TransferTasksRangeFilter{
					ShardID: historyShard, InclusiveMinTaskID: id, ExclusiveMaxTaskID: id + 20,
				})
				return counted(ask, result, err)
			}},
			{"RangeSelectFromTransferTasks", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.RangeSelectFromTransferTasks(ctx, sqlplugin.TransferTasksRangeFilter{
					ShardID: historyShard, InclusiveMinTaskID: id, ExclusiveMaxTaskID: id + 20, PageSize: 10,
				}))
			}},
			{"InsertIntoHistoryNode", "history_node", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				node := node // upstream changes it
				result, err := tx.InsertIntoHistoryNode(ctx, &node)
				affected, err := counted(ask, result, err)
				// Upstream takes 1 for inserted and 2 for updated alike.
				return strings.Replace(affected, "2", "1", 1), err
			}},
			{"DeleteFromHistoryNode", "history_node", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				node := node
				result, err := tx.DeleteFromHistoryNode(ctx, &node)
				return counted(ask, result, err)
			}},
			{"RangeDeleteFromHistoryNode", "history_node", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.RangeDeleteFromHistoryNode(ctx, sqlplugin.HistoryNodeDeleteFilter{
					ShardID: historyShard, TreeID: run, BranchID: run, MinNodeID: id,
				})
				return counted(ask, result, err)
			}},
			{"InsertIntoHistoryTree", "history_tree", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoHistoryTree(ctx, &sqlplugin.HistoryTreeRow{
					ShardID: historyShard, TreeID: run, BranchID: run, Data: data, DataEncoding: "Proto3",
				})
				affected, err := counted(ask, result, err)
				return strings.Replace(affected, "2", "1", 1), err
			}},
		}
		if !executionGone[workflow+string(run)] {
			operations = append(operations,
				operation{"UpdateExecutions", "executions", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
					result, err := tx.UpdateExecutions(ctx, row)
					return counted(ask, result, err)
				}},
				operation{"DeleteFromExecutions", "executions", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
					result, err := tx.DeleteFromExecutions(ctx, key)
					return counted(ask, result, err)
				}})
		}
		if !currentGone {
			operations = append(operations,
				operation{"UpdateCurrentExecutions", "current_executions", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
					result, err := tx.UpdateCurrentExecutions(ctx, current)
					return counted(ask, result, err)
				}},
				operation{"DeleteFromCurrentExecutions", "current_executions", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
					result, err := tx.DeleteFromCurrentExecutions(ctx, currentKey)
					return counted(ask, result, err)
				}})
		}
		drawn := operations[m.random.Intn(len(operations))]
		switch drawn.name {
		case "DeleteFromExecutions":
			executionGone[workflow+string(run)] = true
		case "DeleteFromCurrentExecutions":
			currentGone = true
		}
		return drawn
	}
}

// matching draws operations of one transaction on a task queue.
func (m *model) matching() func() operation {
	queue := m.taskQueues[m.random.Intn(len(m.taskQueues))]
	hash := farm.Fingerprint32(queue)
	filter := sqlplugin.TaskQueuesFilter{RangeHash: hash, TaskQueueID: queue}
	return func() operation {
		id, data, ask := int64(m.random.Intn(30)), m.data(), m.random.Intn(2) == 0
		row := &sqlplugin.TaskQueuesRow{RangeHash: hash, TaskQueueID: queue, RangeID: id, Data: data, DataEncoding: "Proto3"}
		operations := []operation{
			{"LockTaskQueues", "", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				return read(tx.LockTaskQueues(ctx, filter, sqlplugin.MatchingTaskVersion1))
			}},
			{"InsertIntoTaskQueues", "task_queues", true, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoTaskQueues(ctx, row, sqlplugin.MatchingTaskVersion1)
				return counted(ask, result, err)
			}},
			{"UpdateTaskQueues", "task_queues", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.UpdateTaskQueues(ctx, row, sqlplugin.MatchingTaskVersion1)
				return counted(ask, result, err)
			}},
			{"InsertIntoTasks", "tasks", false, func(ctx context.Context, tx sqlplugin.Tx) (string, error) {
				result, err := tx.InsertIntoTasks(ctx, []sqlplugin.TasksRow{
					{RangeHash: hash, TaskQueueID: queue, TaskID: id, Data: data, DataEncoding: "Proto3"},
					{RangeHash: hash, TaskQueueID: queue, TaskID: id + 30, Data: data, DataEncoding: "Proto3"},
				})
				return counted(ask, result, err)
			}},
		}
		return operations[m.random.Intn(len(operations))]
	}
}

// result is what a transaction did.
type result struct {
	// results of the operations that succeeded. If err is not nil the next one, or COMMIT, failed.
	results   []string
	err       error
	committed bool
}

// sameAs reports whether another result of the transaction has the same answers up to where one of them failed, and is committed
// like it.
func (r result) sameAs(other result) bool {
	answers := min(len(r.results), len(other.results))
	return slices.Equal(r.results[:answers], other.results[:answers]) && r.committed == other.committed
}

// play does what upstream does: after an error it rolls back.
func play(t *testing.T, db sqlplugin.DB, operations []operation, commit bool) result {
	t.Helper()
	ctx := context.Background()
	tx := begin(t, ctx, db)
	o := result{results: []string{}}
	for _, operation := range operations {
		result, err := operation.do(ctx, tx)
		if err != nil {
			o.err = err
			require.NoError(t, tx.Rollback())
			return o
		}
		o.results = append(o.results, result)
	}
	if !commit {
		require.NoError(t, tx.Rollback())
		return o
	}
	o.err = tx.Commit()
	o.committed = o.err == nil
	return o
}

// rows returns all rows of the model's part of a table in some databases, sorted.
func (m *model) rows(t *testing.T, mysqld *sql.DB, table string, databases []string) []string {
	t.Helper()
	column, values := "shard_id", fmt.Sprintf("%d, %d", m.historyShard[0], m.historyShard[1])
	if table == "tasks" || table == "task_queues" {
		column, values = "range_hash", fmt.Sprintf("%d, %d", farm.Fingerprint32(m.taskQueues[0]), farm.Fingerprint32(m.taskQueues[1]))
	}
	all := []string{}
	for _, database := range databases {
		rows, err := mysqld.Query(fmt.Sprintf("SELECT * FROM `%s`.%s WHERE %s IN (%s)", database, table, column, values))
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			row := make([]sql.RawBytes, len(columns))
			targets := make([]any, len(columns))
			for i := range row {
				targets[i] = &row[i]
			}
			require.NoError(t, rows.Scan(targets...))
			var text strings.Builder
			for i, column := range columns {
				if table != "buffered_events" || column != "id" { // which MySQL assigns
					fmt.Fprintf(&text, "%s=%q ", column, row[i])
				}
			}
			all = append(all, text.String())
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
	}
	slices.Sort(all)
	return all
}

func TestRandomTransactionsDoWhatTheyDoOnPlainMySQL(t *testing.T) {
	const transactions = 250
	seeds := []int64{1, 2}
	ctx := context.Background()
	mysqld := openMySQL(t)
	vitessShards := []string{database(lowerHistoryShard), database(upperHistoryShard)}

	throughPlugin, err := bed.PlainConfig(ctx, "model_plugin")
	require.NoError(t, err)
	throughPlugin.PluginName = plugin.Name
	throughPlugin = with(throughPlugin, "vitess_global_keyspace", throughPlugin.DatabaseName)

	// another owner gives rows another range ID now and then, as a process does that takes a history shard or task queue over.
	takeOver := func(m *model, databases []string) {
		rangeID := m.random.Intn(12)
		historyShard, queue := m.historyShard[m.random.Intn(len(m.historyShard))], m.taskQueues[m.random.Intn(len(m.taskQueues))]
		for _, database := range databases {
			_, err := mysqld.Exec(fmt.Sprintf("UPDATE `%s`.shards SET range_id = ? WHERE shard_id = ?", database), rangeID, historyShard)
			require.NoError(t, err)
			_, err = mysqld.Exec(fmt.Sprintf("UPDATE `%s`.task_queues SET range_id = ? WHERE range_hash = ? AND task_queue_id = ?", database),
				rangeID, farm.Fingerprint32(queue), queue)
			require.NoError(t, err)
		}
	}

	for i, subject := range []struct {
		name      string
		cfg       *config.SQL
		databases []string
		pipelined bool
	}{
		{"pipelined through vtgate", bed.MainConfig(), vitessShards, true},
		{"pipelined, with DELETEs in chunks and SELECTs in pages", with(bed.MainConfig(), "vitess_max_rows", "3"), vitessShards, true},
		{"pipelined, without what packets may have besides", with(bed.MainConfig(), "vitess_pipelining", "packets"), vitessShards, true},
		{"not pipelined through vtgate", with(bed.MainConfig(), "vitess_pipelining", "off"), vitessShards, false},
		{"pipelined on a plain MySQL", throughPlugin, []string{"model_plugin"}, true},
	} {
		t.Run(subject.name, func(t *testing.T) {
			twinName := fmt.Sprintf("model_twin_%d", i)
			twinCfg, err := bed.PlainConfig(ctx, twinName)
			require.NoError(t, err)
			twin := openStore(t, sqlplugin.DbKindMain, twinCfg, metrics.NoopMetricsHandler)
			db := openStore(t, sqlplugin.DbKindMain, subject.cfg, metrics.NoopMetricsHandler)
			done, failed, duplicates, lost := 0, 0, 0, 0
			for _, seed := range seeds {
				m := newModel(seed, i)
				for number := range transactions {
					operations, commit := m.transaction()
					var names []string
					for _, operation := range operations {
						names = append(names, operation.name)
					}
					what := fmt.Sprintf("seed %d, transaction %d: %v, commit %t", seed, number, names, commit)
					if m.random.Intn(4) == 0 {
						takeOver(m, append(slices.Clone(subject.databases), twinName))
					}
					want, got := play(t, twin, operations, commit), play(t, db, operations, commit)
					if !got.committed && subject.pipelined && !want.sameAs(got) {
						// It may have been told who the owner was before. Then it is not committed, and the next attempt asks.
						lost++
						got = play(t, db, operations, commit)
					}
					done += len(operations)

					// What succeeds on plain MySQL does here, with the same result; what waits may fail later.
					require.GreaterOrEqual(t, len(got.results), len(want.results), "%s: %v", what, got.err)
					require.Equal(t, want.results, got.results[:len(want.results)], what)
					require.Equal(t, want.committed, got.committed, "%s: %v, here %v", what, want.err, got.err)
					if want.err != nil {
						failed++
						if commit {
							require.Error(t, got.err, what)
						}
						if at := len(want.results); at < len(operations) && operations[at].interpreted {
							duplicates++
							require.True(t, twin.IsDupEntryError(want.err), "%s: %v", what, want.err)
							require.Len(t, got.results, at, what)
							require.True(t, db.IsDupEntryError(got.err), "%s: %v", what, got.err)
						} else {
							require.False(t, db.IsDupEntryError(got.err) && subject.pipelined, "%s: %v", what, got.err)
						}
					}
					for _, operation := range operations {
						if operation.table != "" {
							require.Equal(t, m.rows(t, mysqld, operation.table, []string{twinName}),
								m.rows(t, mysqld, operation.table, subject.databases), "%s: %s", what, operation.table)
						}
					}
				}
			}
			t.Logf("%d operations in %d transactions, of which %d failed, %d by a duplicate key that upstream interprets",
				done, transactions*len(seeds), failed, duplicates)
			t.Logf("%d transactions met an owner that was not known", lost)
			require.Positive(t, duplicates)
			require.Greater(t, failed, duplicates)
			require.Equal(t, strings.Contains(subject.name, "in chunks") || subject.cfg.ConnectAttributes["vitess_pipelining"] == "" && subject.pipelined, lost > 0)
		})
	}
}
