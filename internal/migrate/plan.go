package migrate

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Plan is what a migration is, and takes.
type Plan struct {
	Moves    []PlannedMove `json:"moves"`
	Disk     []Disk        `json:"disk"`
	Findings []Finding     `json:"findings"`
	Steps    []Step        `json:"steps"`
}

// PlannedMove is a move with its size, by MySQL's estimates.
type PlannedMove struct {
	Move
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
	// Copy is about how long the copying takes; see [copyTime].
	Copy time.Duration `json:"copy"`
}

// Disk is what a Vitess shard needs on disk: its part of the rows with their indexes, and as much again for the binary log that
// copying writes.
type Disk struct {
	VitessShard string `json:"vitessShard"`
	Bytes       int64  `json:"bytes"`
}

// Step is what a command of this tool does, in commands of vtctldclient.
type Step struct {
	Command  Command  `json:"command"`
	What     string   `json:"what"`
	Commands []string `json:"commands"`
}

// copyTime was measured on a machine with two cores, see docs/migration.md: a table takes about a second whatever its size is, and
// rows go at some thousands a second. Larger machines are quicker.
func copyTime(tables int, rows int64) time.Duration {
	const eachTable, rowsPerSecond = 1100 * time.Millisecond, 5000
	return (time.Duration(tables)*eachTable + time.Duration(rows)*time.Second/rowsPerSecond).Round(time.Second)
}

// Plan looks at everything, and changes nothing.
func (m *Migration) Plan(ctx context.Context, options CheckOptions) (*Plan, error) {
	moves, err := m.Planned(ctx)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Steps: steps(moves)}
	disk := map[string]int64{}
	for _, move := range moves {
		planned := PlannedMove{Move: move}
		primaries, err := m.primaries(ctx, move.Source)
		if err != nil {
			return nil, err
		}
		for _, on := range primaries {
			rows, err := m.dba(ctx, on, "SELECT table_name, table_rows, data_length + index_length FROM information_schema.tables WHERE table_schema = DATABASE()")
			if err != nil {
				return nil, err
			}
			for _, row := range rows.Rows {
				if !move.has(row[0].ToString()) {
					continue
				}
				count, err := row[1].ToCastInt64()
				if err != nil {
					return nil, err
				}
				size, err := row[2].ToCastInt64()
				if err != nil {
					return nil, err
				}
				planned.Rows += count
				planned.Bytes += size
			}
		}
		planned.Copy = copyTime(len(move.Tables), planned.Rows)
		plan.Moves = append(plan.Moves, planned)
		targets, err := m.primaries(ctx, move.Target)
		if err != nil {
			return nil, err
		}
		for _, on := range targets {
			if disk[on.String()] == 0 {
				plan.Disk = append(plan.Disk, Disk{VitessShard: on.String()})
			}
			disk[on.String()] += 2 * planned.Bytes / int64(len(targets))
		}
	}
	for i := range plan.Disk {
		plan.Disk[i].Bytes = disk[plan.Disk[i].VitessShard]
	}
	err = m.Inspect(ctx, Start, nil, options, func(f Finding) { plan.Findings = append(plan.Findings, f) })
	return plan, err
}

// steps are those of all commands, in order.
func steps(moves []Move) []Step {
	all := []Step{
		{Command: Start, What: "the keyspaces get their tables (temporal-vitess-tool setup-schema), rows are copied, then followed"},
		{Command: "verify", What: "all rows are compared"},
		{Command: Switch, What: "the traffic goes to the keyspaces, and the source follows them"},
		{Command: Reverse, What: "the way back, as often as it takes"},
		{Command: Complete, What: "the end; no way back after it"},
		{Command: Cancel, What: "the end instead, with the traffic on the source"},
	}
	for _, move := range moves {
		client := fmt.Sprintf("vtctldclient MoveTables --workflow %s --target-keyspace %s ", move.Workflow, move.Target)
		if conditions, _, err := firstRows(move); err == nil {
			for table, condition := range conditions {
				all[0].Commands = append(all[0].Commands, fmt.Sprintf("# in %s, whose tables have to be empty: DELETE FROM %s WHERE %s", move.Target, table, condition))
			}
		}
		for i, command := range []string{
			client + fmt.Sprintf("create --source-keyspace %s --tables %s", move.Source, strings.Join(move.Tables, ",")),
			fmt.Sprintf("vtctldclient VDiff --workflow %s --target-keyspace %s create", move.Workflow, move.Target),
			client + "switchtraffic",
			client + "reversetraffic",
			client + "complete --keep-data",
			client + "cancel --keep-data",
		} {
			all[i].Commands = append(all[i].Commands, command)
		}
	}
	return all
}
