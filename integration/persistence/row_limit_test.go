package persistence

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"
)

const (
	// manyRows is more than twice Vitess' row limit of 10,000, and no multiple of it.
	manyRows = 25_000
	// rowsPerInsert stays below it, as Temporal does.
	rowsPerInsert = 1_000

	encoding = "Proto3"
)

// workflow is whose mutable state the rows belong to. Filters for all rows of a workflow have the same fields in all
// tables.
var workflow = sqlplugin.ActivityInfoMapsAllFilter{
	ShardID: 5, NamespaceID: primitives.NewUUID(), WorkflowID: "workflow", RunID: primitives.NewUUID(),
}

// bigTables are tables of which upstream deletes, and in part reads, any number of rows with one statement.
var bigTables = []struct {
	name string
	// insert writes the rows of these numbers.
	insert func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error
	// read returns the rows as text makes them, in the database's order; nil if upstream reads the table by pages.
	read func(ctx context.Context, db sqlplugin.TableCRUD) ([]string, error)
	// ordered tells that the order of the rows is that of their numbers.
	ordered bool
	delete  func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error)
}{
	{
		name: "activity_info_maps",
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.ReplaceIntoActivityInfoMaps(ctx, rows(numbers, func(number int) sqlplugin.ActivityInfoMapsRow {
				return sqlplugin.ActivityInfoMapsRow{
					ShardID: workflow.ShardID, NamespaceID: workflow.NamespaceID, WorkflowID: workflow.WorkflowID, RunID: workflow.RunID,
					ScheduleID: int64(number) - manyRows/2, Data: data(number), DataEncoding: encoding,
				}
			}))
			return err
		},
		read: func(ctx context.Context, db sqlplugin.TableCRUD) ([]string, error) {
			return texts(func(row sqlplugin.ActivityInfoMapsRow) string { return string(row.Data) })(
				db.SelectAllFromActivityInfoMaps(ctx, workflow))
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.DeleteAllFromActivityInfoMaps(ctx, workflow)
		},
	},
	{
		name: "timer_info_maps", // by a text
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.ReplaceIntoTimerInfoMaps(ctx, rows(numbers, func(number int) sqlplugin.TimerInfoMapsRow {
				return sqlplugin.TimerInfoMapsRow{
					ShardID: workflow.ShardID, NamespaceID: workflow.NamespaceID, WorkflowID: workflow.WorkflowID, RunID: workflow.RunID,
					TimerID: textKey(number), Data: data(number), DataEncoding: encoding,
				}
			}))
			return err
		},
		read: func(ctx context.Context, db sqlplugin.TableCRUD) ([]string, error) {
			return texts(func(row sqlplugin.TimerInfoMapsRow) string { return string(row.Data) })(
				db.SelectAllFromTimerInfoMaps(ctx, sqlplugin.TimerInfoMapsAllFilter(workflow)))
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.DeleteAllFromTimerInfoMaps(ctx, sqlplugin.TimerInfoMapsAllFilter(workflow))
		},
	},
	{
		name: "chasm_node_maps", // by bytes
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.ReplaceIntoChasmNodeMaps(ctx, rows(numbers, func(number int) sqlplugin.ChasmNodeMapsRow {
				return sqlplugin.ChasmNodeMapsRow{
					ShardID: workflow.ShardID, NamespaceID: workflow.NamespaceID, WorkflowID: workflow.WorkflowID, RunID: workflow.RunID,
					ChasmPath: textKey(number), Metadata: data(number), MetadataEncoding: encoding, Data: data(number), DataEncoding: encoding,
				}
			}))
			return err
		},
		read: func(ctx context.Context, db sqlplugin.TableCRUD) ([]string, error) {
			return texts(func(row sqlplugin.ChasmNodeMapsRow) string { return string(row.Data) })(
				db.SelectAllFromChasmNodeMaps(ctx, sqlplugin.ChasmNodeMapsAllFilter(workflow)))
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.DeleteAllFromChasmNodeMaps(ctx, sqlplugin.ChasmNodeMapsAllFilter(workflow))
		},
	},
	{
		name: "signals_requested_sets", // nothing but its key
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.ReplaceIntoSignalsRequestedSets(ctx, rows(numbers, func(number int) sqlplugin.SignalsRequestedSetsRow {
				return sqlplugin.SignalsRequestedSetsRow{
					ShardID: workflow.ShardID, NamespaceID: workflow.NamespaceID, WorkflowID: workflow.WorkflowID, RunID: workflow.RunID,
					SignalID: string(data(number)),
				}
			}))
			return err
		},
		read: func(ctx context.Context, db sqlplugin.TableCRUD) ([]string, error) {
			return texts(func(row sqlplugin.SignalsRequestedSetsRow) string { return row.SignalID })(
				db.SelectAllFromSignalsRequestedSets(ctx, sqlplugin.SignalsRequestedSetsAllFilter(workflow)))
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.DeleteAllFromSignalsRequestedSets(ctx, sqlplugin.SignalsRequestedSetsAllFilter(workflow))
		},
	},
	{
		name: "buffered_events",
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.InsertIntoBufferedEvents(ctx, rows(numbers, func(number int) sqlplugin.BufferedEventsRow {
				return sqlplugin.BufferedEventsRow{
					ShardID: workflow.ShardID, NamespaceID: workflow.NamespaceID, WorkflowID: workflow.WorkflowID, RunID: workflow.RunID,
					Data: data(number), DataEncoding: encoding,
				}
			}))
			return err
		},
		read: func(ctx context.Context, db sqlplugin.TableCRUD) ([]string, error) {
			return texts(func(row sqlplugin.BufferedEventsRow) string { return string(row.Data) })(
				db.SelectFromBufferedEvents(ctx, sqlplugin.BufferedEventsFilter(workflow)))
		},
		ordered: true,
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.DeleteFromBufferedEvents(ctx, sqlplugin.BufferedEventsFilter(workflow))
		},
	},
	{
		name: "history_immediate_tasks",
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.InsertIntoHistoryImmediateTasks(ctx, rows(numbers, func(number int) sqlplugin.HistoryImmediateTasksRow {
				return sqlplugin.HistoryImmediateTasksRow{ShardID: 5, CategoryID: 1, TaskID: int64(number), Data: data(number), DataEncoding: encoding}
			}))
			return err
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.RangeDeleteFromHistoryImmediateTasks(ctx, sqlplugin.HistoryImmediateTasksRangeFilter{ShardID: 5, CategoryID: 1, ExclusiveMaxTaskID: math.MaxInt64})
		},
	},
	{
		name: "timer_tasks",
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.InsertIntoTimerTasks(ctx, rows(numbers, func(number int) sqlplugin.TimerTasksRow {
				return sqlplugin.TimerTasksRow{
					ShardID: 5, VisibilityTimestamp: epoch.Add(time.Duration(number/10) * time.Second), TaskID: int64(number), Data: data(number), DataEncoding: encoding,
				}
			}))
			return err
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.RangeDeleteFromTimerTasks(ctx, sqlplugin.TimerTasksRangeFilter{
				ShardID: 5, InclusiveMinVisibilityTimestamp: epoch, ExclusiveMaxVisibilityTimestamp: epoch.Add(manyRows * time.Second),
			})
		},
	},
	{
		name: "history_node", // for which upstream has no insert of many
		insert: func(_ context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			statement := "INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, prev_txn_id, data, data_encoding) VALUES " +
				strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?), ", len(numbers)-1) + "(?, ?, ?, ?, ?, ?, ?, ?)"
			var values []any
			for _, number := range numbers {
				values = append(values, workflow.ShardID, []byte(workflow.RunID), []byte(workflow.RunID), number, -number, number-1, data(number), encoding)
			}
			return db.(sqlplugin.AdminDB).Exec(statement, values...)
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.RangeDeleteFromHistoryNode(ctx, sqlplugin.HistoryNodeDeleteFilter{
				ShardID: workflow.ShardID, TreeID: workflow.RunID, BranchID: workflow.RunID, MinNodeID: 0,
			})
		},
	},
	{
		name: "queue",
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.InsertIntoMessages(ctx, rows(numbers, func(number int) sqlplugin.QueueMessageRow {
				return sqlplugin.QueueMessageRow{QueueType: 1, MessageID: int64(number), MessagePayload: data(number), MessageEncoding: encoding}
			}))
			return err
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.RangeDeleteFromMessages(ctx, sqlplugin.QueueMessagesRangeFilter{QueueType: 1, MinMessageID: persistence.EmptyQueueMessageID, MaxMessageID: manyRows})
		},
	},
	{
		name: "queue_messages",
		insert: func(ctx context.Context, db sqlplugin.TableCRUD, numbers []int) error {
			_, err := db.InsertIntoQueueV2Messages(ctx, rows(numbers, func(number int) sqlplugin.QueueV2MessageRow {
				return sqlplugin.QueueV2MessageRow{QueueType: 1, QueueName: "queue", MessageID: int64(number), MessagePayload: data(number), MessageEncoding: encoding}
			}))
			return err
		},
		delete: func(ctx context.Context, db sqlplugin.TableCRUD) (sql.Result, error) {
			return db.RangeDeleteFromQueueV2Messages(ctx, sqlplugin.QueueV2MessagesFilter{QueueType: 1, QueueName: "queue", MaxMessageID: manyRows})
		},
	},
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func rows[Row any](numbers []int, row func(number int) Row) []Row {
	made := make([]Row, len(numbers))
	for i, number := range numbers {
		made[i] = row(number)
	}
	return made
}

func data(number int) []byte { return fmt.Appendf(nil, "row %05d", number) }

// textKey has an order as text under a collation that differs from that of its bytes.
func textKey(number int) string {
	return []string{"Timer", "tIMER", "tïmer", "ТАЙМЕР", "таймер's", "\\時計", "?"}[number%7] + fmt.Sprint(number)
}

func texts[Row any](text func(Row) string) func([]Row, error) ([]string, error) {
	return func(rows []Row, err error) ([]string, error) {
		var all []string
		for _, row := range rows {
			all = append(all, text(row))
		}
		return all, err
	}
}

// TestManyRows reads and deletes more rows with one call than Vitess lets one statement touch.
func TestManyRows(t *testing.T) {
	running := bed(t, 4)
	db := onVitess(t, running)
	db.clear(t)
	numbers := make([]int, manyRows)
	want := make([]string, manyRows)
	for number := range manyRows {
		numbers[number] = number
		want[number] = string(data(number))
	}
	store := db.open(t, sqlplugin.DbKindMain)

	for _, table := range bigTables {
		t.Run(table.name, func(t *testing.T) {
			for batch := range slices.Chunk(numbers, rowsPerInsert) {
				require.NoError(t, table.insert(t.Context(), store, batch))
			}
			read := func() {
				if table.read == nil {
					return
				}
				got, err := table.read(t.Context(), store)
				require.NoError(t, err)
				if !table.ordered {
					slices.Sort(got)
				}
				assert.Equal(t, want, got)
			}
			remove := func(db sqlplugin.TableCRUD, rows int64) {
				result, err := table.delete(t.Context(), db)
				require.NoError(t, err)
				affected, err := result.RowsAffected()
				require.NoError(t, err)
				assert.Equal(t, rows, affected)
			}

			read()
			tx, err := store.BeginTx(t.Context())
			require.NoError(t, err)
			remove(tx, manyRows)
			remove(tx, 0)
			require.NoError(t, tx.Rollback())
			read()
			remove(store, manyRows)
			remove(store, 0)
		})
	}

	t.Run("through upstream's plugin", func(t *testing.T) {
		stock := onVitessWithStock(t, running).open(t, sqlplugin.DbKindMain)
		table := bigTables[0]
		for batch := range slices.Chunk(numbers, rowsPerInsert) {
			require.NoError(t, table.insert(t.Context(), stock, batch))
		}
		_, err := table.read(t.Context(), stock)
		require.ErrorContains(t, err, "count exceeded 10000")
		_, err = table.delete(t.Context(), stock)
		require.ErrorContains(t, err, "count exceeded 10000")
	})
}
