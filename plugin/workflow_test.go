package plugin

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
)

func newReads() *workflowReads {
	return &workflowReads{queries: conn.NewQueries(nil), reads: map[workflowKey]*workflowRead{}}
}

func (w *workflowReads) count() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.reads)
}

var someRun = sqlplugin.ExecutionsFilter{ShardID: 1, NamespaceID: []byte("namespace"), WorkflowID: "workflow", RunID: []byte("run")}

// keyOf returns the key of a call that can be told from others.
func keyOf(t *testing.T, ctx context.Context, filter sqlplugin.ExecutionsFilter) workflowKey {
	t.Helper()
	key, ok := newWorkflowKey(ctx, filter)
	require.True(t, ok)
	return key
}

// read has the reads hold what one call has read.
func (w *workflowReads) read(t *testing.T, key workflowKey) *workflowRead {
	t.Helper()
	read, fills := w.begin(key)
	require.True(t, fills)
	w.end(key, read, false)
	return read
}

func TestReadsOfAWorkflowAreForgotten(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, reads *workflowReads, read *workflowRead, ctx context.Context, cancel func()){
		"when their context ends": func(_ *testing.T, _ *workflowReads, _ *workflowRead, _ context.Context, cancel func()) { cancel() },
		"when all have followed": func(t *testing.T, reads *workflowReads, read *workflowRead, ctx context.Context, _ func()) {
			for range workflowFollowers {
				require.NotEqual(t, ctx, reads.follow(ctx, someRun))
			}
			require.False(t, read.stop(), "the context still holds the read")
		},
	} {
		t.Run(name, func(t *testing.T) {
			reads := newReads()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			read := reads.read(t, keyOf(t, ctx, someRun))
			require.Equal(t, 1, reads.count())
			end(t, reads, read, ctx, cancel)
			require.Eventually(t, func() bool { return reads.count() == 0 }, time.Minute, time.Millisecond)
			require.Equal(t, ctx, reads.follow(ctx, someRun))
		})
	}
}

func TestReadsUnderAContextThatDoesNotEndAreForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := newReads()
		ctx := context.Background()
		reads.read(t, keyOf(t, ctx, someRun))
		require.NotEqual(t, ctx, reads.follow(ctx, someRun))
		time.Sleep(leftOver)
		synctest.Wait()
		require.Zero(t, reads.count())
		require.Equal(t, ctx, reads.follow(ctx, someRun))
	})
}

func TestAReadThatFailedIsForgotten(t *testing.T) {
	reads := newReads()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key := keyOf(t, ctx, someRun)
	read, _ := reads.begin(key)
	reads.end(key, read, true)
	require.Zero(t, reads.count())
	require.Equal(t, ctx, reads.follow(ctx, someRun))
}

func TestALaterReadTakesThePlaceOfAnEarlierOne(t *testing.T) {
	reads := newReads()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key := keyOf(t, ctx, someRun)
	earlier := reads.read(t, key)
	later, fills := reads.begin(key)
	require.True(t, fills)
	require.False(t, earlier.stop())
	require.Equal(t, ctx, reads.follow(ctx, someRun), "rows of before the later one began")
	reads.end(key, later, false)
	require.NotEqual(t, ctx, reads.follow(ctx, someRun))
	require.Same(t, later, reads.reads[key])
}

// One of them could be answered from what another read before its own row of executions.
func TestReadsOfAWorkflowThatOverlapAreNotShared(t *testing.T) {
	for _, firstEndsFirst := range []bool{false, true} {
		reads := newReads()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		key := keyOf(t, ctx, someRun)
		read, fills := reads.begin(key)
		require.True(t, fills)
		second, fills := reads.begin(key)
		require.False(t, fills)
		ended, open := read, second
		if !firstEndsFirst {
			ended, open = second, read
		}
		reads.end(key, ended, false)
		require.Equal(t, ctx, reads.follow(ctx, someRun))
		third, fills := reads.begin(key)
		require.False(t, fills, "it would overlap the other")
		reads.end(key, open, false)
		require.Equal(t, ctx, reads.follow(ctx, someRun))
		reads.end(key, third, false)
		require.Zero(t, reads.count())
	}
}

func TestReadsOfOtherWorkflowsOrContextsAreNotMixed(t *testing.T) {
	reads := newReads()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reads.read(t, keyOf(t, ctx, someRun))
	other, cancelOther := context.WithCancel(context.Background())
	defer cancelOther()
	require.Equal(t, other, reads.follow(other, someRun))
	for _, change := range []func(*sqlplugin.ExecutionsFilter){
		func(f *sqlplugin.ExecutionsFilter) { f.ShardID++ },
		func(f *sqlplugin.ExecutionsFilter) { f.NamespaceID = []byte("other") },
		func(f *sqlplugin.ExecutionsFilter) { f.WorkflowID = "other" },
		func(f *sqlplugin.ExecutionsFilter) { f.RunID = []byte("other") },
	} {
		filter := someRun
		change(&filter)
		require.Equal(t, ctx, reads.follow(ctx, filter))
	}
}

// structContext is a context that cannot be a key of a map.
type structContext struct {
	context.Context
	_ []string
}

// wrappedContext can be one only if what it wraps can.
type wrappedContext struct{ context.Context }

func TestCallsThatCannotBeToldApartReadAsUpstream(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	uncomparable := structContext{Context: ctx}
	for _, ctx := range []context.Context{uncomparable, wrappedContext{uncomparable}} {
		_, ok := newWorkflowKey(ctx, someRun)
		require.False(t, ok)
		require.Equal(t, ctx, newReads().follow(ctx, someRun))
	}
	var off *workflowReads
	require.Equal(t, ctx, off.follow(ctx, someRun))
}
