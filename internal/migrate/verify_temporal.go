package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sums are what a query returns of a keyspace: numbers by key.
type sums map[string]int64

// rangeIDs are queries for what only grows. A row's owner is who wrote the highest number: a side where it is lower would let two
// owners in.
var rangeIDs = map[string]string{
	"shards":         "SELECT shard_id, range_id FROM shards",
	"task_queues":    "SELECT CONCAT(range_hash, ' ', HEX(task_queue_id)), range_id FROM task_queues",
	"task_queues_v2": "SELECT CONCAT(range_hash, ' ', HEX(task_queue_id)), range_id FROM task_queues_v2",
	"namespaces":     "SELECT CONCAT(HEX(id), ' ', name), notification_version FROM namespaces",
}

// VerifyRangeIDs looks whether the side that follows has all namespaces, and the range IDs of all history shards and task queues,
// as the side with the traffic has them: none lower than when it began to look, and none higher than when it ended.
func (m *Migration) VerifyRangeIDs(ctx context.Context, report func(string)) error {
	states, err := m.State(ctx)
	if err != nil {
		return err
	}
	for _, state := range states {
		leader, follower := state.Source, state.Target
		if state.Traffic == Target {
			leader, follower = follower, leader
		}
		for _, table := range slices.Sorted(maps.Keys(rangeIDs)) {
			if !state.has(table) {
				continue
			}
			before, err := m.sums(ctx, leader, rangeIDs[table])
			if err != nil {
				return err
			}
			err = poll(ctx, func() error {
				followed, err := m.sums(ctx, follower, rangeIDs[table])
				if err != nil {
					return err
				}
				after, err := m.sums(ctx, leader, rangeIDs[table])
				if err != nil {
					return err
				}
				if wrong := notBetween(before, followed, after); len(wrong) > 0 {
					const shown = 5
					return fmt.Errorf("%s: %s of %s: %s", state.Move, table, follower, strings.Join(wrong[:min(shown, len(wrong))], ", "))
				}
				return nil
			})
			if err != nil {
				return err
			}
			report(fmt.Sprintf("%s: the %d rows of %s follow", state.Move, len(before), table))
		}
	}
	return nil
}

// sums reads a query's two columns from all Vitess shards of a keyspace.
func (m *Migration) sums(ctx context.Context, keyspace, query string) (sums, error) {
	primaries, err := m.primaries(ctx, keyspace)
	if err != nil {
		return nil, err
	}
	all := sums{}
	for _, on := range primaries {
		rows, err := m.dba(ctx, on, query)
		if err != nil {
			return nil, err
		}
		for _, row := range rows.Rows {
			number, err := row[1].ToCastInt64()
			if err != nil {
				return nil, err
			}
			all[row[0].ToString()] = number
		}
	}
	return all, nil
}

// notBetween returns what is wrong with numbers that follow growing ones, read before and after.
func notBetween(before, followed, after sums) []string {
	var wrong []string
	for key, least := range before {
		number, ok := followed[key]
		_, stays := after[key]
		switch {
		case !ok && stays:
			wrong = append(wrong, key+" is missing")
		case ok && number < least:
			wrong = append(wrong, fmt.Sprintf("%s is %d, and should be %d or more", key, number, least))
		}
	}
	for key, number := range followed {
		if most, ok := after[key]; ok && number > most {
			wrong = append(wrong, fmt.Sprintf("%s is %d, and should be %d or less", key, number, most))
		}
	}
	slices.Sort(wrong)
	return wrong
}
