package faults

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

// callers add tasks and read, one history shard each, while something happens.
type callers struct {
	db            sqlplugin.DB
	historyShards int32
	nextTask      atomic.Int64

	mutex sync.Mutex
	// acknowledged tasks, and those of which nobody knows, by history shard.
	acknowledged, ambiguous map[int32][]int64
	// failed is what should not have.
	failed []error
	// again counts transactions that were lost before COMMIT, and done again as a whole.
	again int
}

// run calls until the context ends. A transaction that was lost before COMMIT is done again once, as Temporal's
// persistence clients do.
func (c *callers) run(ctx context.Context) {
	var all sync.WaitGroup
	for historyShard := int32(1); historyShard <= c.historyShards; historyShard++ {
		all.Go(func() {
			for ctx.Err() == nil {
				c.add(historyShard)
				if _, err := c.db.SelectFromShards(context.Background(), sqlplugin.ShardsFilter{ShardID: historyShard}); err != nil {
					c.fail(err)
				}
			}
		})
	}
	all.Wait()
}

func (c *callers) add(historyShard int32) {
	task := c.nextTask.Add(1)
	err := addTask(context.Background(), c.db, historyShard, task)
	again := safeToRetry(err)
	if again {
		err = addTask(context.Background(), c.db, historyShard, task)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if again {
		c.again++
	}
	var classified *outcome.Error
	switch {
	case err == nil:
		c.acknowledged[historyShard] = append(c.acknowledged[historyShard], task)
	case errors.As(err, &classified) && classified.Class == outcome.Ambiguous && classified.Holds == outcome.Committing:
		c.ambiguous[historyShard] = append(c.ambiguous[historyShard], task)
	default:
		c.failed = append(c.failed, err)
	}
}

func (c *callers) fail(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.failed = append(c.failed, err)
}

// done returns how many tasks were acknowledged.
func (c *callers) done() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	count := 0
	for _, tasks := range c.acknowledged {
		count += len(tasks)
	}
	return count
}

func TestOfTwoVTGatesOneIsDrainedThenOneKilled(t *testing.T) {
	bed := start(t, fullcluster.Config{VTGates: 2})
	c := &callers{db: open(t, bed.MainConfig()), historyShards: 16, acknowledged: map[int32][]int64{}, ambiguous: map[int32][]int64{}}
	createHistoryShards(t, c.db, 0, c.historyShards)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.run(ctx) })
	defer running.Wait()
	defer stop()
	// progress waits until that many more tasks are done.
	progress := func(more int) {
		t.Helper()
		until := c.done() + more
		require.Eventually(t, func() bool { return c.done() >= until }, waitTimeout, pollInterval)
	}

	progress(200)
	require.NoError(t, bed.VTGate(0).Terminate())
	progress(200)
	require.NoError(t, bed.VTGate(0).Wait(t.Context()))
	progress(200)
	require.NoError(t, bed.VTGate(0).Restart(t.Context()))
	require.NoError(t, bed.WaitServing(t.Context()))
	progress(500) // connections open to it as others are needed
	require.NoError(t, bed.VTGate(1).Kill())
	progress(500)
	require.NoError(t, bed.VTGate(1).Restart(t.Context()))
	progress(200)
	stop()
	running.Wait()

	require.Empty(t, c.failed)
	unknown := 0
	for historyShard := int32(1); historyShard <= c.historyShards; historyShard++ {
		found := tasks(t, c.db, historyShard)
		for _, task := range c.acknowledged[historyShard] {
			require.True(t, found[task], "task %d was acknowledged", task)
			delete(found, task)
		}
		for _, task := range c.ambiguous[historyShard] {
			delete(found, task)
		}
		require.Empty(t, found, "tasks that nobody was told of")
		unknown += len(c.ambiguous[historyShard])
	}
	t.Logf("%d tasks added; %d transactions were lost before COMMIT and done again, %d lost with COMMIT on the way", c.done(), c.again, unknown)
}
