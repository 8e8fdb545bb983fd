package migrate

import (
	"context"
)

var lagIsShort = Check{
	Name:   "lag",
	Title:  "the streams are not behind",
	Why:    "Writes are held until the streams have caught up.",
	Fix:    "Wait until migrate status shows less, or give --max-lag.",
	Before: []Command{Switch, Reverse},
	Final:  true,
	run: func(_ context.Context, i *inspection, seen *seen) error {
		for _, state := range i.states {
			if state.Phase != Held && state.Lag > i.MaxLag {
				seen.problem("%s: %s, more than --max-lag %s", state.Move, state.Lag, i.MaxLag)
			}
		}
		return nil
	},
}
