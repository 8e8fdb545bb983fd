package persistence

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// queueKinds are the two versions of upstream's queues.
var queueKinds = []struct {
	name string
	// table has the messages.
	table string
	// open returns calls that enqueue a message and read the ids and texts of all.
	open func(*testing.T, *database) (func(context.Context, string) error, func() ([]int64, []string))
	// lock asks for the last message's id, for update.
	lock func(context.Context, sqlplugin.Tx) (int64, error)
}{
	{
		name:  "v1",
		table: "queue",
		open: func(t *testing.T, db *database) (func(context.Context, string) error, func() ([]int64, []string)) {
			queue, err := db.factory(t).NewQueue(persistence.NamespaceReplicationQueueType)
			require.NoError(t, err)
			return func(ctx context.Context, text string) error { return queue.EnqueueMessage(ctx, blob(text)) },
				func() (ids []int64, texts []string) {
					messages, err := queue.ReadMessages(t.Context(), persistence.EmptyQueueMessageID, 1000)
					require.NoError(t, err)
					for _, message := range messages {
						ids, texts = append(ids, message.ID), append(texts, string(message.Data))
					}
					return ids, texts
				}
		},
		lock: func(ctx context.Context, tx sqlplugin.Tx) (int64, error) {
			return tx.GetLastEnqueuedMessageIDForUpdate(ctx, persistence.NamespaceReplicationQueueType)
		},
	},
	{
		name:  "v2",
		table: "queue_messages",
		open: func(t *testing.T, db *database) (func(context.Context, string) error, func() ([]int64, []string)) {
			queue, err := db.factory(t).NewQueueV2()
			require.NoError(t, err)
			_, err = queue.CreateQueue(t.Context(), &persistence.InternalCreateQueueRequest{QueueType: persistence.QueueTypeHistoryDLQ, QueueName: "queue"})
			require.NoError(t, err)
			return func(ctx context.Context, text string) error {
					_, err := queue.EnqueueMessage(ctx, &persistence.InternalEnqueueMessageRequest{
						QueueType: persistence.QueueTypeHistoryDLQ, QueueName: "queue", Blob: blob(text),
					})
					return err
				}, func() (ids []int64, texts []string) {
					response, err := queue.ReadMessages(t.Context(), &persistence.InternalReadMessagesRequest{
						QueueType: persistence.QueueTypeHistoryDLQ, QueueName: "queue", PageSize: 1000,
					})
					require.NoError(t, err)
					for _, message := range response.Messages {
						ids, texts = append(ids, message.MetaData.ID), append(texts, string(message.Data.Data))
					}
					return ids, texts
				}
		},
		lock: func(ctx context.Context, tx sqlplugin.Tx) (int64, error) {
			return tx.GetLastEnqueuedMessageIDForUpdateV2(ctx, sqlplugin.QueueV2Filter{QueueType: persistence.QueueTypeHistoryDLQ, QueueName: "queue"})
		},
	},
}

// TestQueueLock shows that reading the last message's id for update keeps others from reading it.
func TestQueueLock(t *testing.T) {
	for _, kind := range queueKinds {
		t.Run(kind.name, func(t *testing.T) {
			db := onVitess(t, bed(t, 4))
			db.clear(t)
			enqueue, _ := kind.open(t, db)
			require.NoError(t, enqueue(t.Context(), "first"))

			store := db.open(t, sqlplugin.DbKindMain)
			holder, err := store.BeginTx(t.Context())
			require.NoError(t, err)
			id, err := kind.lock(t.Context(), holder)
			require.NoError(t, err)
			enqueued := make(chan error, 1)
			go func() { enqueued <- enqueue(context.WithoutCancel(t.Context()), "second") }()
			waits := 0
			require.Eventually(t, func() bool {
				err := db.mysqld.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM performance_schema.data_lock_waits`).Scan(&waits)
				return err == nil && waits > 0
			}, waitTimeout, waitTick)
			require.NoError(t, holder.Commit())
			require.NoError(t, <-enqueued)
			next, err := store.BeginTx(t.Context())
			require.NoError(t, err)
			defer func() { _ = next.Rollback() }()
			last, err := kind.lock(t.Context(), next)
			require.NoError(t, err)
			assert.Equal(t, id+1, last)
		})
	}
}

// errno finds MySQL's error in a text of upstream's, which does not wrap it.
var errno = regexp.MustCompile(`Error \d+ \(\w+\)`)

// TestQueueConcurrency writes to a queue from many goroutines. Some of them fail with deadlocks or duplicate ids, as on
// plain MySQL; what is told to be written is there, once.
func TestQueueConcurrency(t *testing.T) {
	const writers, messagesPerWriter = 16, 20
	running := bed(t, 4)
	for _, kind := range queueKinds {
		for _, database := range databases {
			t.Run(kind.name+" "+database.name, func(t *testing.T) {
				db := database.open(t, running)
				db.clear(t)
				enqueue, read := kind.open(t, db)
				var mutex sync.Mutex
				written := []string{}
				failures := map[string]int{}
				var wg sync.WaitGroup
				for writer := range writers {
					wg.Go(func() {
						for message := range messagesPerWriter {
							text := fmt.Sprint(writer, message)
							err := enqueue(t.Context(), text)
							mutex.Lock()
							if err != nil {
								failures[errno.FindString(err.Error())]++
							} else {
								written = append(written, text)
							}
							mutex.Unlock()
						}
					})
				}
				wg.Wait()
				t.Logf("%d written, failures: %v", len(written), failures)
				ids, texts := read()
				slices.Sort(texts)
				slices.Sort(written)
				assert.Equal(t, written, texts)
				assert.NotEmpty(t, written)
				assert.True(t, slices.IsSortedFunc(ids, func(a, b int64) int { return int(a - b) }))
				assert.Len(t, slices.Compact(ids), len(written))
			})
		}
	}
}
