package migrate

import (
	"context"
)

var compared = Check{
	Name:   "vdiff",
	Title:  "all rows were compared, and are equal",
	Why:    "What the streams did not copy right is found by comparing only.",
	Fix:    "migrate verify",
	Before: []Command{Switch},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		for _, state := range i.states {
			if state.Phase != Following {
				continue
			}
			last, err := i.Comparison(ctx, state)
			switch {
			case err != nil:
				return err
			case last == nil:
				seen.problem("%s: its rows were not compared yet", state.Move)
			case last.State != "completed":
				seen.problem("%s: the comparison is %s", state.Move, last.State)
			case last.TablesCompared < last.Tables:
				seen.problem("%s: only %d of %d tables were compared", state.Move, last.TablesCompared, last.Tables)
			}
			if last != nil {
				for _, line := range append(last.Differs, last.Errors...) {
					seen.problem("%s: %s", state.Move, line)
				}
			}
			if state.has(bufferedEventsTable) {
				if _, err := i.verifyTable(ctx, state, bufferedEventsTable); ctx.Err() != nil {
					return ctx.Err()
				} else if err != nil {
					seen.problem("%v", err)
				}
			}
		}
		return nil
	},
}
