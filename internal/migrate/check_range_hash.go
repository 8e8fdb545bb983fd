package migrate

import (
	"context"
	"strconv"

	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
)

var rangeHash = Check{
	Name:   "range-hash",
	Title:  "tasks of subqueues are where the plugin looks for them",
	Why:    "Upstream's plugin stores the tasks of subqueues (priority, fairness) under another range_hash. Once the tables are sharded, the plugin cannot read both places at once.",
	Fix:    "Run rehash-task-queues, when all servers write the plugin's range hash.",
	Before: []Command{Switch},
	Final:  true,
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		for _, state := range i.states {
			if state.Traffic != Source {
				continue
			}
			for _, table := range []string{"tasks", "tasks_v2"} {
				if !state.has(table) {
					continue
				}
				primaries, err := i.primaries(ctx, state.Source)
				if err != nil {
					return err
				}
				for _, on := range primaries {
					rows, err := i.dba(ctx, on, "SELECT DISTINCT range_hash, task_queue_id FROM "+table)
					if err != nil {
						return err
					}
					subqueues := 0
					for _, row := range rows.Rows {
						id, err := row[1].ToBytes()
						if err != nil {
							return err
						}
						if row[0].ToString() != strconv.FormatUint(uint64(taskqueue.RangeHash(id)), 10) {
							subqueues++
						}
					}
					if subqueues > 0 {
						seen.problem("%s: %d subqueues in %s have tasks under upstream's range hash", on, subqueues, table)
					}
				}
			}
		}
		return nil
	},
}
