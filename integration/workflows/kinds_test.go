package workflows

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// TestKinds runs many workflows of each kind side by side, and then looks for all of them in visibility.
func TestKinds(t *testing.T) {
	t.Parallel()
	const perKind, sideBySide = 5, 10
	forEachProfile(t, func(t *testing.T, namespace string) {
		target := newTarget(t, namespace, "kinds")
		group, ctx := errgroup.WithContext(t.Context())
		group.SetLimit(sideBySide)
		want := map[kinds.Closed]int{}
		for number := range perKind {
			for _, kind := range kinds.All() {
				group.Go(func() error { return kind.Run(ctx, target, number) })
				for closed, count := range kind.Leaves {
					want[closed] += count
				}
			}
		}
		require.NoError(t, group.Wait())
		require.NoError(t, kinds.AwaitVisible(t.Context(), target, want))
	})
}
