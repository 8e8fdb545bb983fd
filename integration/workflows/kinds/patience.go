package kinds

import (
	"context"
	"fmt"
	"time"
)

const (
	// patience is how long nothing may change on a slow and busy machine, and limit how long a wait may take in any case.
	patience = 2 * time.Minute
	limit    = 10 * time.Minute
)

// Patience says how long to wait: on and on, while what is observed changes.
type Patience struct {
	observed       string
	began, changed time.Time
}

// Ends returns an error if it is time to give up, seeing what is observed now.
func (p *Patience) Ends(observed string) error {
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	if p.changed.IsZero() || observed != p.observed {
		p.observed, p.changed = observed, now
	}
	switch {
	case now.Sub(p.changed) > patience:
		return fmt.Errorf("nothing has changed for %v", patience)
	case now.Sub(p.began) > limit:
		return fmt.Errorf("it has taken more than %v", limit)
	}
	return nil
}

// withPatience returns a context that ends when patience does, which is its cause then.
func withPatience(ctx context.Context, observe func(context.Context) string) (context.Context, context.CancelFunc) {
	const every = 5 * time.Second
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		var p Patience
		for {
			select {
			case <-time.After(every):
			case <-ctx.Done():
				return
			}
			if err := p.Ends(observe(ctx)); err != nil {
				cancel(err)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
