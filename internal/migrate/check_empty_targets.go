package migrate

import (
	"context"
	"slices"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/internal/apply"
)

var emptyTargets = Check{
	Name:   "targets",
	Title:  "the keyspaces to move to are setup-schema's, and empty",
	Why:    "MoveTables makes what is missing as the source has it, without the keys that sharded tables need; and what is there already would be mixed with the source's rows.",
	Fix:    "Take new keyspaces, for migrate start to set up. A set-up with other tables is brought to the newest schema by update-schema.",
	Before: []Command{Start},
	Final:  true,
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		stores, setUp, begun := apply.Stores(), true, Begun(i.states)
		if begun { // and so all was set up before; tables that have a move are denied meanwhile
			stores = nil
		}
		for _, store := range stores {
			state, err := apply.Look(ctx, i.Vitess, store, i.Keyspaces)
			if err != nil {
				return err
			}
			if state.Version() == "" {
				setUp = false
				if !state.Empty() {
					seen.note("the set-up of the %s store is unfinished: migrate start goes on with it", store)
				}
				continue
			}
			actions, err := apply.Update(state, "", false)
			if err != nil {
				seen.problem("%v", err)
			} else if len(actions) > 0 {
				seen.problem("the tables of the %s store are not as setup-schema makes them: %s lacks %q", store, actions[0].Keyspace, actions[0].SQL)
			}
		}
		if !setUp {
			return nil
		}
		for _, state := range i.states {
			if state.Phase != NotBegun {
				continue
			}
			primaries, err := i.primaries(ctx, state.Target)
			if err != nil {
				return err
			}
			for _, on := range primaries {
				there, err := i.column(ctx, on, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
				if err != nil {
					return err
				}
				move := state.Move
				for _, table := range move.Tables {
					if begun && !slices.Contains(there, table) {
						seen.problem("%s has no %s: these are not the keyspaces that the first migrate start has set up", on, table)
					}
				}
				move.Tables = slices.DeleteFunc(slices.Clone(move.Tables), func(table string) bool { return !slices.Contains(there, table) })
				used, err := i.used(ctx, on, move)
				if err != nil {
					return err
				}
				if len(used) > 0 {
					seen.problem("%s: rows in %s", on, strings.Join(used, ", "))
				}
			}
		}
		return nil
	},
}
