package migrate

import (
	"context"
)

var bufferedEvents = Check{
	Name:   "buffered-events",
	Title:  "buffered_events.id is not unique in the source",
	Why:    "After the switch each Vitess shard makes ids of its own, so the same comes from several: a unique key in the source ends the streams back for good.",
	Fix:    "On the source, online: ALTER TABLE buffered_events ADD INDEX id_plain (id), DROP INDEX id, ALGORITHM=INPLACE, LOCK=NONE",
	Before: []Command{Start, Switch},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		const table = "buffered_events"
		for _, state := range i.states {
			if !state.has(table) {
				continue
			}
			primaries, err := i.primaries(ctx, state.Source)
			if err != nil {
				return err
			}
			for _, on := range primaries {
				keys, err := i.column(ctx, on, "SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '"+table+"' AND non_unique = 0"+
					" GROUP BY index_name HAVING GROUP_CONCAT(column_name) = 'id'")
				if err != nil {
					return err
				}
				for _, key := range keys {
					seen.problem("%s: the unique key %s of %s", on, key, table)
				}
			}
		}
		return nil
	},
}
