package migrate

import (
	"context"
)

var streamsRun = Check{
	Name:   "streams",
	Title:  "all rows are copied, and every stream runs without a message",
	Why:    "A stream that has stopped, or cannot write, says so in its message only; its state may be Running.",
	Fix:    "See migrate status. What a message names has to be mended; streams that have stopped go on by vtctldclient MoveTables … start.",
	Before: []Command{Switch, Reverse},
	Final:  true,
	run: func(_ context.Context, i *inspection, seen *seen) error {
		for _, state := range i.states {
			switch state.Phase {
			case Following, Switched, Held: // an interrupted switch has stopped streams, and goes on with them
			default:
				seen.problem("%s is %s", state.Move, state.Phase)
				continue
			}
			for _, trouble := range state.Troubles() {
				seen.problem("%s: %s", state.Move, trouble)
			}
		}
		return nil
	},
}
