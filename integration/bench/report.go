package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of a report, in its folder.
const (
	markdownFile = "README.md"
	jsonFile     = "results.json"
	chartFile    = "chart.svg"
)

// write writes the report into a folder, which it makes if need be.
func (r *results) write(folder string) error {
	return writeReport(folder, jsonFile, r, map[string]string{markdownFile: r.markdown(), chartFile: r.chart()})
}

// writeReport writes files, and results as JSON, into a folder, which it makes if need be.
func writeReport(folder, jsonFile string, results any, files map[string]string) error {
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	files[jsonFile] = string(data) + "\n"
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// markdown is the report for people.
func (r *results) markdown() string {
	var out strings.Builder
	printf := func(format string, args ...any) { fmt.Fprintf(&out, format, args...) }

	printf("# Benchmark\n\nWritten by `make bench`, in one run, on one machine: %s. The figures are in [%s](%[2]s). Where vtgate stands between Temporal and the vttablets, and what commits cost that wait for a replica, is measured [apart](%s).\n\n", r.Machine, jsonFile, placementMarkdownFile)
	printf("| | configuration |\n|---|---|\n")
	for _, c := range r.Configurations {
		printf("| %s | %s |\n", c.Name, c.Title)
	}

	printf("\n![p50 with one caller](%s)\n", chartFile)
	printf("\n## On the wire\n\nRound trips of one call, and how many statements they carry where that is another number. They do not depend on the distance.\n\n" +
		"What is one statement cannot take less than a round trip.\n\n")
	r.table(printf, "", r.Operations, func(operation, configuration string) string {
		result, ok := r.wire(operation, configuration)
		switch {
		case !ok:
			return ""
		case result.Statements == result.RoundTrips:
			return fmt.Sprint(result.RoundTrips)
		default:
			return fmt.Sprintf("%d (%d)", result.RoundTrips, result.Statements)
		}
	})

	printf("\n## One caller, one history shard\n\nTimes in ms of %d calls each. In brackets stand the ratios to %s and %s in the same run, of the rate to %[2]s only. "+
		"An operation of one statement leaves nothing to pipeline: what it costs more than %[3]s it costs upstream's plugin on a sharded keyspace as well (b1), but for some hundredths of a millisecond either way.\n",
		r.Settings.Rounds*r.Settings.Batch, plainMySQL, unsharded)
	for _, delay := range r.Settings.Delays {
		printf("\n### %s to the database and back\n\n", delay)
		r.table(printf, "p50", r.Operations, func(operation, configuration string) string { return r.p50(operation, configuration, delay) })
		printf("\n")
		r.table(printf, "p99", r.Operations, r.timingCell(delay, 1, func(t timingResult) string { return number(t.P99) }))
		printf("\n")
		r.table(printf, "calls per second", r.Operations, r.timingCell(delay, 1, func(t timingResult) string {
			plain, _ := r.timing(t.Operation, plainMySQL, delay, 1)
			return fmt.Sprintf("%s (%.2f)", number(t.PerSecond), t.PerSecond/plain.PerSecond)
		}))
	}

	printf("\n## %d callers, one history shard each\n\nCalls per second of all together, with p50 and p99 in ms.\n", r.Settings.Callers)
	for _, delay := range r.Settings.Delays {
		printf("\n")
		r.table(printf, delay.String(), r.Operations, r.timingCell(delay, r.Settings.Callers, func(t timingResult) string {
			return fmt.Sprintf("%s (%s, %s)", number(t.PerSecond), number(t.P50), number(t.P99))
		}))
	}
	if len(r.Workflows) > 0 {
		printf("\n## Whole workflows\n\nA %s on a Temporal server, %d at once: from the start until the client knows the result, in ms.\n\n", wholeWorkflow, r.Settings.WorkflowsAtOnce)
		printf("| network | configuration | p50 | p99 | workflows per second |\n|---|---|---|---|---|\n")
		for _, t := range r.Workflows {
			printf("| %g ms | %s | %s | %s | %s |\n", t.Delay, t.Configuration, number(t.P50), number(t.P99), number(t.PerSecond))
		}
	}
	if len(r.Isolation) > 0 {
		printf("\n## While another Vitess shard fails\n\nOperations (%s) of %d callers on history shards of one Vitess shard, while as many are on another that fails: all through one pool of %d connections, and with a patience of %s. "+
			"The 99th percentile is in ms, and in brackets its ratio to that without a fault.\n\n",
			isolationOperation, isolationCallers/2, isolationConnections, isolationPatience)
		printf("| | the other Vitess shard | operations | failed | p99 |\n|---|---|---|---|---|\n")
		calm := 0.0
		for _, i := range r.Isolation {
			ratio := ""
			if i.Fault == "" {
				calm = i.P99
			} else {
				ratio = fmt.Sprintf(" (%.2f)", i.P99/calm)
			}
			printf("| %s | %s | %d | %d | %s%s |\n", i.Title, orNone(i.Fault), i.Calls, i.Failed, number(i.P99), ratio)
		}
	}
	if len(r.CPU) > 0 {
		printf("\n## CPU time\n\nOf %d callers without delay, all operations together: ms for each call, and the share.\n\n", r.Settings.Callers)
		r.table(printf, "", []string{clientProcess, vitessProcess, mysqlProcess}, r.cpuCell)
	}
	return out.String()
}

// table writes a table with a column for each configuration. Rows without a figure are left out.
func (r *results) table(printf func(string, ...any), corner string, rows []string, cell func(row, configuration string) string) {
	printf("| %s |", corner)
	for _, c := range r.Configurations {
		printf(" %s |", c.Name)
	}
	printf("\n|---|%s\n", strings.Repeat("---|", len(r.Configurations)))
	for _, row := range rows {
		var cells []string
		for _, c := range r.Configurations {
			cells = append(cells, cell(row, c.Name))
		}
		if strings.Join(cells, "") != "" {
			printf("| %s | %s |\n", row, strings.Join(cells, " | "))
		}
	}
}

// p50 is a cell of the tables for one caller.
func (r *results) p50(operation, configuration string, delay time.Duration) string {
	timing, ok := r.timing(operation, configuration, delay, 1)
	if !ok {
		return ""
	}
	plain, _ := r.timing(operation, plainMySQL, delay, 1)
	base, _ := r.timing(operation, unsharded, delay, 1)
	switch configuration {
	case plainMySQL:
		return number(timing.P50)
	case unsharded:
		return fmt.Sprintf("%s (%.2f)", number(timing.P50), timing.P50/plain.P50)
	default:
		return fmt.Sprintf("%s (%.2f, %.2f)", number(timing.P50), timing.P50/plain.P50, timing.P50/base.P50)
	}
}

func (r *results) timingCell(delay time.Duration, callers int, format func(timingResult) string) func(operation, configuration string) string {
	return func(operation, configuration string) string {
		timing, ok := r.timing(operation, configuration, delay, callers)
		if !ok {
			return ""
		}
		return format(timing)
	}
}

func (r *results) cpuCell(process, configuration string) string {
	for _, result := range r.CPU {
		if result.Configuration != configuration || result.Calls == 0 {
			continue
		}
		var total float64
		for _, time := range result.Processes {
			total += time
		}
		return fmt.Sprintf("%.2f (%.0f %%)", result.Processes[process]/float64(result.Calls), 100*result.Processes[process]/total)
	}
	return ""
}

// number formats a figure with three digits or, if that is more, all before the point.
func number(value float64) string {
	switch {
	case value < 10:
		return fmt.Sprintf("%.2f", value)
	case value < 100:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.0f", value)
	}
}
