package bulkhead

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// take takes places until one would have to be waited for, at most that many, and returns how many they were.
func take(t *testing.T, b *Bulkhead, group string, most int) int {
	t.Helper()
	for taken := range most {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		err := b.Acquire(ctx, group)
		cancel()
		if err != nil {
			return taken
		}
	}
	return most
}

func give(b *Bulkhead, group string, places int) {
	for range places {
		b.Release(group, true)
	}
}

// inBubble runs a test whose clock stands still but for its own sleeps.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func TestAGroupAloneHasAllPlaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := New(20)
		give(b, "", take(t, b, "", 3))
		require.Equal(t, 20, take(t, b, "a", 30), "nothing is kept for work without a group")
	})
}

func TestAGroupThatHangsHoldsHalf(t *testing.T) {
	for size, half := range map[int]int{1: 1, 2: 1, 3: 2, 20: 10, 21: 11} {
		inBubble(t, func(t *testing.T) {
			b := New(size)
			give(b, "b", take(t, b, "b", 1))
			require.Equal(t, half, take(t, b, "a", 30))
		})
	}
}

func TestAGroupWhoseWorkEndsBorrowsWhatOthersDoNotUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := New(20)
		give(b, "b", take(t, b, "b", 8))
		give(b, "a", take(t, b, "a", 1))
		require.Equal(t, 12, take(t, b, "a", 30), "the other used 8 lately")
		give(b, "a", 12)

		time.Sleep(2*window + time.Second)
		give(b, "a", take(t, b, "a", 1))
		require.Equal(t, 15, take(t, b, "a", 30), "the other used none lately, but may come back")
		require.Equal(t, 5, take(t, b, "b", 30))
	})
}

func TestAGroupThatBorrowedAndHangsGetsNoMoreThanHalfAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := New(20)
		give(b, "b", take(t, b, "b", 1))
		give(b, "a", take(t, b, "a", 1))
		require.Equal(t, 15, take(t, b, "a", 30))
		time.Sleep(10 * time.Second)
		for range 15 { // their callers give up
			b.Release("a", false)
		}
		require.Equal(t, 10, take(t, b, "a", 30))
		require.Equal(t, 10, take(t, b, "b", 30))
	})
}

func TestAFreePlaceGoesToTheGroupThatHoldsFewest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := New(4)
		require.Equal(t, 2, take(t, b, "b", 2))
		require.Equal(t, 2, take(t, b, "a", 2))
		got := make(chan string, 4)
		wait := func(group string) {
			go func() {
				if b.Acquire(t.Context(), group) == nil {
					got <- group
				}
			}()
			synctest.Wait()
		}
		wait("a")
		wait("a")
		wait("b")
		wait("b")
		require.Equal(t, 4, b.waitingCallers())
		b.Release("b", true)
		synctest.Wait()
		require.Equal(t, "b", <-got, "though the others have waited for longer")
		b.Release("a", true)
		synctest.Wait()
		require.Equal(t, "a", <-got)
		b.Release("b", true)
		b.Release("a", true)
		synctest.Wait()
		require.ElementsMatch(t, []string{"a", "b"}, []string{<-got, <-got})
		require.Zero(t, b.waitingCallers())
	})
}

func TestWhoGivesUpLosesNoPlace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := New(1)
		require.NoError(t, b.Acquire(t.Context(), "a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Acquire(ctx, "a"), context.DeadlineExceeded)
		require.Zero(t, b.waitingCallers())
		b.Release("a", true)
		require.NoError(t, b.Acquire(t.Context(), "b"))
		require.ErrorIs(t, b.Acquire(ctx, "b"), context.DeadlineExceeded, "a context that has ended")
	})
}

// waitingCallers returns how many callers wait for a place.
func (b *Bulkhead) waitingCallers() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	waiting := 0
	for _, g := range b.groups {
		waiting += len(g.waiting)
	}
	return waiting
}
