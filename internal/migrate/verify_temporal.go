package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// sums are what a query returns of a keyspace: numbers by key.
type sums map[string]int64

// byRow are queries for the tables that are compared row by row, and how: see [notBetween] and [notEqual].
var byRow = map[string]struct {
	query string
	wrong func(before, followed, after sums) []string
}{
	// What only grows. A row's owner is who wrote the highest number: a side where it is lower would let two owners in.
	"shards":         {"SELECT shard_id, range_id FROM shards", notBetween},
	"task_queues":    {"SELECT CONCAT(range_hash, ' ', HEX(task_queue_id)), range_id FROM task_queues", notBetween},
	"task_queues_v2": {"SELECT CONCAT(range_hash, ' ', HEX(task_queue_id)), range_id FROM task_queues_v2", notBetween},
	"namespaces":     {"SELECT CONCAT(HEX(id), ' ', name), notification_version FROM namespaces", notBetween},
	// What VDiff cannot compare.
	bufferedEventsTable: {"SELECT CONCAT_WS(' ', shard_id, HEX(namespace_id), workflow_id, HEX(run_id), id), CRC32(CONCAT(data_encoding, COALESCE(data, ''))) FROM " + bufferedEventsTable, notEqual},
}

// VerifyRows looks whether the side that follows has all namespaces and buffered events, and the range IDs of all history shards and
// task queues, as the side with the traffic has them: none lower than when it began to look, and none higher than when it ended.
func (m *Migration) VerifyRows(ctx context.Context, report func(string)) error {
	states, err := m.State(ctx)
	if err != nil {
		return err
	}
	for _, state := range states {
		for _, table := range slices.Sorted(maps.Keys(byRow)) {
			if !state.has(table) {
				continue
			}
			count, err := m.verifyTable(ctx, state, table)
			if err != nil {
				return err
			}
			report(fmt.Sprintf("%s: the %d rows of %s follow", state.Move, count, table))
		}
	}
	return nil
}

// verifyTable looks at a table of [byRow], and returns how many it has on the side with the traffic.
func (m *Migration) verifyTable(ctx context.Context, state State, table string) (int, error) {
	leader, follower := state.Source, state.Target
	if state.Traffic == Target {
		leader, follower = follower, leader
	}
	compared, began := byRow[table], time.Now()
	before, err := m.sums(ctx, leader, compared.query)
	if err != nil {
		return 0, err
	}
	// Streams are a little behind, so that a row that has just come or gone may seem wrong. Trouble is what stays wrong.
	var stuck []string
	for first := true; ; first = false {
		followed, err := m.sums(ctx, follower, compared.query)
		if err != nil {
			return 0, err
		}
		after, err := m.sums(ctx, leader, compared.query)
		if err != nil {
			return 0, err
		}
		wrong := compared.wrong(before, followed, after)
		if first {
			stuck = wrong
		}
		stuck = slices.DeleteFunc(stuck, func(line string) bool { return !slices.Contains(wrong, line) })
		if len(stuck) == 0 {
			return len(before), nil
		}
		select {
		case <-time.After(settlePoll):
			if time.Since(began) < settleTimeout {
				continue
			}
			const shown = 5
			return 0, fmt.Errorf("%s: %s of %s: %s", state.Move, table, follower, strings.Join(stuck[:min(shown, len(stuck))], ", "))
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
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

// notEqual returns what is wrong with rows that follow others, which come and go but never change, read before and after.
func notEqual(before, followed, after sums) []string {
	var wrong []string
	for key, sum := range before {
		number, ok := followed[key]
		_, stays := after[key]
		switch {
		case !ok && stays:
			wrong = append(wrong, key+" is missing")
		case ok && number != sum:
			wrong = append(wrong, key+" differs")
		}
	}
	for key, number := range followed {
		if _, ok := before[key]; ok {
			continue
		}
		if sum, ok := after[key]; !ok {
			wrong = append(wrong, key+" should not be there")
		} else if number != sum {
			wrong = append(wrong, key+" differs")
		}
	}
	slices.Sort(wrong)
	return wrong
}
