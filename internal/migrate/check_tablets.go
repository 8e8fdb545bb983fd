package migrate

import (
	"context"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

var tabletsServe = Check{
	Name:   "tablets",
	Title:  "vtgate sees a serving primary of each Vitess shard",
	Why:    "Once routing rules lead to a keyspace, statements fail on what vtgate does not see. It sees a new tablet after up to a minute.",
	Fix:    "Start what is down, or wait until vtgate sees it (--tablet-refresh-interval). An unmanaged tablet becomes a primary by vtctldclient TabletExternallyReparented.",
	Before: []Command{Start, Switch, Reverse},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		serving := map[string]bool{}
		var cell, keyspace, shard, tabletType, state, alias, hostname, since string
		err := live.EachRow(ctx, i.Vitess.DB, "SHOW VITESS_TABLETS", nil, func() error {
			if tabletType == "PRIMARY" && state == "SERVING" {
				serving[keyspace+"/"+shard] = true
			}
			return nil
		}, &cell, &keyspace, &shard, &tabletType, &state, &alias, &hostname, &since)
		if err != nil {
			return err
		}
		sources, targets := i.keyspaces()
		for _, keyspace := range append(sources, targets...) {
			primaries, err := i.primaries(ctx, keyspace)
			if err != nil {
				seen.problem("%v", err)
				continue
			}
			for _, on := range primaries {
				if !serving[on.String()] {
					seen.problem("%s has no serving primary for vtgate", on)
				}
			}
		}
		return nil
	},
}
