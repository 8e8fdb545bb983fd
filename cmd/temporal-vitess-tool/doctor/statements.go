package doctor

import (
	"context"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/internal/planner"
)

func checkStatements(ctx context.Context, e *examination, seen *observations) error {
	calls, err := inventory.Of(e.Keyspaces, e.Profile)
	if err != nil {
		return err
	}
	plans, err := planner.New(e.vitess)
	if err != nil {
		return err
	}
	all, err := plans.All(ctx, calls)
	if err != nil {
		return err
	}
	for _, planned := range all {
		switch {
		case planned.Route.Refused:
			seen.fail("%s: %s", planned.Call, planned.Route.Why)
		case planned.Faulty():
			seen.fail("%s: goes to %d Vitess shards, as %s: %s", planned.Call, planned.Route.VitessShards, planned.Route.Why, planned.Statement)
		}
	}
	seen.good(len(all), "statements go to one Vitess shard each, but for background work that says so")
	return nil
}
