// Package bulkhead divides a limited number of places among groups, so that one group whose work hangs cannot take them
// all: package conn divides a store's connections among Vitess shards.
//
// A group may always hold its share, which is half of the places, rounded up. Beyond it, a group borrows what the others
// have not used lately, up to three quarters of all, as long as its own work comes to an end: once it hangs, what it has
// borrowed comes back as its callers give up, and it holds the half, whatever their patience. A group alone has all. A place
// that becomes free goes to the group that waits with the fewest. Nothing is kept for the group "", whose work cannot hang
// for long.
package bulkhead

import (
	"context"
	"sync"
	"time"
)

const (
	// window is for how long, once or twice, the most that a group has held counts as used lately.
	window = 10 * time.Second
	// prompt is how long ago the last place of a group that borrows may have come back.
	prompt = 100 * time.Millisecond
)

// Bulkhead hands out places. It is safe for concurrent use.
type Bulkhead struct {
	mutex  sync.Mutex
	size   int
	held   int
	groups map[string]*group
}

// group is a part of the callers. Groups are never forgotten: they are few.
type group struct {
	held    int
	waiting []*waiter // in order of arrival
	// released is when a place last came back from work that had ended.
	released time.Time
	// most that was held, in the window that began at since, and in the one before.
	most, mostBefore int
	since            time.Time
}

// waiter is a caller without a place. Its channel is closed once it has got one.
type waiter struct{ admitted chan struct{} }

// New returns a bulkhead with that many places, at least 1.
func New(size int) *Bulkhead {
	return &Bulkhead{size: size, groups: map[string]*group{}}
}

// Acquire takes a place for a group, and waits for it if need be. Its only error is that of the context. Each success
// has to be followed by a call of Release.
func (b *Bulkhead) Acquire(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mutex.Lock()
	g := b.group(name)
	if len(g.waiting) == 0 && b.admits(g) {
		b.admit(g)
		b.mutex.Unlock()
		return nil
	}
	w := &waiter{admitted: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	b.mutex.Unlock()

	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for i := range g.waiting {
		if g.waiting[i] == w {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	b.release(g) // it was admitted meanwhile
	return ctx.Err()
}

// Release gives a place of a group back. Ended says that the work for which it was taken came to an end by itself, well
// or not, and not because its caller had no more patience.
func (b *Bulkhead) Release(name string, ended bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	g := b.group(name)
	if ended {
		g.released = time.Now()
	}
	b.release(g)
}

func (b *Bulkhead) group(name string) *group {
	g := b.groups[name]
	if g == nil {
		g = &group{}
		b.groups[name] = g
	}
	return g
}

func (b *Bulkhead) admit(g *group) {
	b.held++
	g.held++
	g.age(time.Now())
	g.most = max(g.most, g.held)
}

// release hands the places that are free to those who wait and may have them.
func (b *Bulkhead) release(g *group) {
	b.held--
	g.held--
	for b.held < b.size {
		var next *group
		for _, g := range b.groups {
			if len(g.waiting) > 0 && (next == nil || g.held < next.held) && b.admits(g) {
				next = g
			}
		}
		if next == nil {
			return
		}
		b.admit(next)
		close(next.waiting[0].admitted)
		next.waiting = next.waiting[1:]
	}
}

// admits reports whether a group may have one place more.
func (b *Bulkhead) admits(g *group) bool {
	free := b.size - b.held
	if free < 1 || g.held < (b.size+1)/2 {
		return free > 0
	}
	now := time.Now()
	others, used := 0, 0
	for name, other := range b.groups {
		if other != g && name != "" {
			others++
			other.age(now)
			used += max(0, max(other.most, other.mostBefore)-other.held)
		}
	}
	// A quarter is kept at the least, for a group that comes back.
	return others == 0 || free > max(used, (b.size+3)/4) && now.Sub(g.released) <= prompt
}

// age forgets what was held long ago.
func (g *group) age(now time.Time) {
	switch elapsed := now.Sub(g.since); {
	case elapsed < window:
	case elapsed < 2*window:
		g.mostBefore, g.most, g.since = g.most, g.held, now
	default:
		g.mostBefore, g.most, g.since = g.held, g.held, now
	}
}
