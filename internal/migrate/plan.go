package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Plan is what a migration is, and takes. Without a vtctld it has neither sizes nor findings.
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

// Step is what a command of this tool does, in commands of vtctldclient or pscale.
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
	plan := &Plan{Steps: steps(moves, m.PScale)}
	if m.Vitess.VTCtld == nil {
		for _, move := range moves {
			plan.Moves = append(plan.Moves, PlannedMove{Move: move})
		}
		return plan, nil
	}
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

// PScale is a branch of a database at PlanetScale, where pscale stands for vtctldclient; nil elsewhere.
type PScale struct{ Database, Branch string }

// command is that of a client for a move: for vtctldclient and pscale alike but for the form.
func (p *PScale) command(object, verb string, move Move, flags string) string {
	named := fmt.Sprintf("--workflow %s --target-keyspace %s", move.Workflow, move.Target)
	if p == nil {
		return strings.TrimSpace(fmt.Sprintf("vtctldclient %s %s %s %s", object, named, strings.ReplaceAll(verb, "-", ""), flags))
	}
	object = map[string]string{"MoveTables": "move-tables", "VDiff": "vdiff"}[object]
	return strings.TrimSpace(fmt.Sprintf("pscale branch vtctl %s %s %s %s %s %s", object, verb, p.Database, p.Branch, named, flags))
}

// steps are those of all commands, in order.
func steps(moves []Move, pscale *PScale) []Step {
	all := []Step{
		{Command: Start, What: "the keyspaces get their tables (temporal-vitess-tool setup-schema), rows are copied, then followed"},
		{Command: "verify", What: "all rows are compared, but for buffered_events, which VDiff cannot compare"},
		{Command: Switch, What: "the traffic goes to the keyspaces, and the source follows them"},
		{Command: Reverse, What: "the way back, as often as it takes"},
		{Command: Complete, What: "the end; no way back after it"},
		{Command: Cancel, What: "the end instead, with the traffic on the source"},
	}
	for _, move := range moves {
		tables := ""
		if diffed := move.diffed(); len(diffed) < len(move.Tables) {
			tables = "--tables " + strings.Join(diffed, ",")
		}
		if conditions, _, err := firstRows(move); err == nil {
			for _, table := range slices.Sorted(maps.Keys(conditions)) {
				all[0].Commands = append(all[0].Commands, fmt.Sprintf("# in %s, whose tables have to be empty: DELETE FROM %s WHERE %s", move.Target, table, conditions[table]))
			}
		}
		for i, command := range []string{
			pscale.command("MoveTables", "create", move, fmt.Sprintf("--source-keyspace %s --tables %s", move.Source, strings.Join(move.Tables, ","))),
			pscale.command("VDiff", "create", move, tables),
			pscale.command("MoveTables", "switch-traffic", move, ""),
			pscale.command("MoveTables", "reverse-traffic", move, ""),
			pscale.command("MoveTables", "complete", move, "--keep-data"),
			pscale.command("MoveTables", "cancel", move, "--keep-data"),
		} {
			all[i].Commands = append(all[i].Commands, command)
		}
	}
	return all
}
