//go:build migratechecks

// `make test-migrate` runs these tests, which take 10 minutes and are not among those of `make test`.

package migration

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

const (
	// counters are rows of shards that belong to no server.
	firstCounter, counterCount = 1000, 4
	writePause                 = 20 * time.Millisecond
)

// writer counts in rows through vtgate, under the final names, and in its memory.
type writer struct {
	db      *sql.DB
	end     context.CancelFunc
	running sync.WaitGroup

	mu sync.Mutex
	// acknowledged and unknown are by row: those whose answer was lost may have been counted.
	acknowledged, unknown map[int]int64
	last                  time.Time
	longest               time.Duration
	errors                []error
}

func startWriter(t *testing.T, on vitess) *writer {
	t.Helper()
	w := &writer{db: open(t, on.VTGateAddrs()[0], "temporal", ""), acknowledged: map[int]int64{}, unknown: map[int]int64{}}
	var ctx context.Context
	ctx, w.end = context.WithCancel(t.Context())
	for i := range counterCount {
		id := firstCounter + i
		w.exec(t, fmt.Sprintf("INSERT INTO `%s`.shards (shard_id, range_id, data, data_encoding) VALUES (%d, 0, '', '')", testbed.Main, id))
		w.running.Go(func() {
			for ctx.Err() == nil {
				w.count(id)
				time.Sleep(writePause)
			}
		})
	}
	return w
}

func (w *writer) exec(t *testing.T, statement string) {
	t.Helper()
	eventually(t, func() bool {
		_, err := w.db.ExecContext(t.Context(), statement)
		return err == nil
	})
}

func (w *writer) count(id int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	began := time.Now()
	_, err := w.db.ExecContext(ctx, fmt.Sprintf("UPDATE `%s`.shards SET range_id = range_id + 1 WHERE shard_id = %d", testbed.Main, id))
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.unknown[id]++
		w.errors = append(w.errors, err)
		return
	}
	w.acknowledged[id]++
	w.longest = max(w.longest, time.Since(began))
	w.last = time.Now()
}

// longestWait returns the longest wait of a write since the last call.
func (w *writer) longestWait() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := w.longest
	w.longest = 0
	return longest
}

// goesOn returns when each row was counted again.
func (w *writer) goesOn(t *testing.T) {
	t.Helper()
	counts := func() map[int]int64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		all := map[int]int64{}
		for id, count := range w.acknowledged {
			all[id] = count
		}
		return all
	}
	before := counts()
	eventually(t, func() bool {
		now := counts()
		for i := range counterCount {
			if now[firstCounter+i] <= before[firstCounter+i] {
				return false
			}
		}
		return true
	})
}

// stop ends it, and compares the rows with what was acknowledged.
func (w *writer) stop(t *testing.T) {
	t.Helper()
	w.end()
	w.running.Wait()
	for i := range counterCount {
		id := firstCounter + i
		var counted int64
		require.NoError(t, w.db.QueryRowContext(context.WithoutCancel(t.Context()), fmt.Sprintf("SELECT range_id FROM `%s`.shards WHERE shard_id = %d", testbed.Main, id)).Scan(&counted))
		t.Logf("row %d: %d acknowledged, %d unknown, %d counted", id, w.acknowledged[id], w.unknown[id], counted)
		require.GreaterOrEqual(t, counted, w.acknowledged[id], "writes are lost")
		require.LessOrEqual(t, counted, w.acknowledged[id]+w.unknown[id], "writes are doubled")
	}
}

// open connects for the time of a test.
func open(t *testing.T, addr, user, database string) *sql.DB {
	t.Helper()
	db, err := cluster.Open(user, addr, database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}
