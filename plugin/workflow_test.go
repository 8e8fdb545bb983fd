package plugin

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

func newReads() *workflowReads {
	return &workflowReads{reads: map[workflowKey]*workflowRead{}}
}

func (w *workflowReads) count() int {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.reads)
}

var someRun = sqlplugin.ExecutionsFilter{ShardID: 1, NamespaceID: []byte("namespace"), WorkflowID: "workflow", RunID: []byte("run")}

func TestReadsOfAWorkflowAreForgotten(t *testing.T) {
	for name, end := range map[string]func(reads *workflowReads, ctx context.Context, cancel func()){
		"when their context ends": func(_ *workflowReads, _ context.Context, cancel func()) { cancel() },
		"when all have followed": func(reads *workflowReads, ctx context.Context, _ func()) {
			require.NotEqual(t, ctx, reads.follow(ctx, someRun))
			require.NotEqual(t, ctx, reads.follow(ctx, someRun))
		},
	} {
		t.Run(name, func(t *testing.T) {
			reads := newReads()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			read, key := reads.begin(ctx, someRun)
			read.left = 2
			reads.keep(key, read)
			require.Equal(t, 1, reads.count())
			end(reads, ctx, cancel)
			require.Eventually(t, func() bool { return reads.count() == 0 }, time.Minute, time.Millisecond)
			require.Equal(t, ctx, reads.follow(ctx, someRun))
		})
	}
}

func TestOfTwoReadsOfAWorkflowTheLaterCounts(t *testing.T) {
	for _, laterFirst := range []bool{false, true} {
		reads := newReads()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		earlier, key := reads.begin(ctx, someRun)
		later, _ := reads.begin(ctx, someRun)
		earlier.left, later.left = 8, 8
		if laterFirst {
			reads.keep(key, later)
			reads.keep(key, earlier)
		} else {
			reads.keep(key, earlier)
			reads.keep(key, later)
		}
		require.Same(t, later, reads.reads[key])
	}
}

func TestReadsOfOtherWorkflowsOrContextsAreNotMixed(t *testing.T) {
	reads := newReads()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	read, key := reads.begin(ctx, someRun)
	read.left = 8
	reads.keep(key, read)
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

func TestCallsThatCannotBeToldApartReadAsUpstream(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, ctx := range []context.Context{context.Background(), structContext{Context: ctx}} {
		reads := newReads()
		read, _ := reads.begin(ctx, someRun)
		require.Nil(t, read)
		require.Equal(t, ctx, reads.follow(ctx, someRun))
	}
	var off *workflowReads
	read, _ := off.begin(ctx, someRun)
	require.Nil(t, read)
	require.Equal(t, ctx, off.follow(ctx, someRun))
}
