package main

import (
	"fmt"
	"strings"
)

// Files of the report about placements, in its folder.
const (
	placementMarkdownFile = "placement.md"
	placementJSONFile     = "placement.json"
)

// placementResults are what is written as JSON. Times are in milliseconds.
type placementResults struct {
	Machine        string          `json:"machine"`
	Settings       settings        `json:"settings"`
	Placements     []placement     `json:"placements"`
	Commits        []commits       `json:"commits"`
	Configurations []configuration `json:"configurations"`
	Operations     []string        `json:"operations"` // in the order of the report
	Costs          []costResult    `json:"costs"`
	Timings        []placedTiming  `json:"timings"`
}

// costResult is what one call costs, wherever vtgate stands.
type costResult struct {
	wireResult
	served
}

// placedTiming is how long calls take where vtgate has that place.
type placedTiming struct {
	Placement string `json:"placement"`
	Commits   string `json:"commits"`
	timingResult
}

func newPlacementResults(s settings, operations []operation) *placementResults {
	r := &placementResults{Machine: machine(), Settings: s, Placements: placements, Commits: kindsOfCommits, Configurations: placedConfigurations}
	for _, operation := range operations {
		r.Operations = append(r.Operations, operation.Name)
	}
	r.Operations = append(r.Operations, wholeWorkflow)
	return r
}

func (r *placementResults) addTiming(at placement, commits commits, timing timingResult) {
	r.Timings = append(r.Timings, placedTiming{Placement: at.Name, Commits: commits.Name, timingResult: timing})
}

func (r *placementResults) cost(operation, configuration string) (costResult, bool) {
	for _, result := range r.Costs {
		if result.Operation == operation && result.Configuration == configuration {
			return result, true
		}
	}
	return costResult{}, false
}

func (r *placementResults) timing(operation, configuration, placement, commits string) (placedTiming, bool) {
	for _, result := range r.Timings {
		if result.Operation == operation && result.Configuration == configuration && result.Placement == placement && result.Commits == commits {
			return result, true
		}
	}
	return placedTiming{}, false
}

// write writes the report into a folder, which it makes if need be.
func (r *placementResults) write(folder string) error {
	return writeReport(folder, placementJSONFile, r, map[string]string{placementMarkdownFile: r.markdown()})
}

// markdown is the report for people.
func (r *placementResults) markdown() string {
	var out strings.Builder
	printf := func(format string, args ...any) { fmt.Fprintf(&out, format, args...) }

	printf("# Benchmark: where vtgate stands\n\nWritten by `make bench-placement`, in one run, on one machine: %s. "+
		"The figures are in [%s](%[2]s); what follows from them is in [performance](../performance.md).\n\n", r.Machine, placementJSONFile)
	printf("A Vitess of many processes with one vtgate. Each keyspace that is measured has %d tablets, with a vttablet and a mysqld each. "+
		"In all placements a proxy stands before each vttablet; one before vtgate where that is at a distance.\n\n", distributedReplicas+1)
	printf("| | configuration |\n|---|---|\n")
	for _, c := range r.Configurations {
		printf("| %s | %s |\n", c.Name, c.Title)
	}
	printf("\n| placement | | Temporal to vtgate and back | vtgate to vttablet and back |\n|---|---|---|---|\n")
	for _, p := range r.Placements {
		printf("| %s | %s | %g ms | %g ms |\n", p.Name, p.Title, milliseconds(p.ToVTGate), milliseconds(p.ToVTTablet))
	}

	printf("\n## What a call costs\n\nRound trips before vtgate, calls from vtgate to a vttablet, and commits. They do not depend on the placement. " +
		"Calls are counted by the vttablets (`Queries` in /debug/vars, without `BEGIN`, which travels with a statement): statements, and COMMIT. " +
		"Commits are counted by the primaries' mysqlds (`Rpl_semi_sync_source_yes_tx`): those for which a replica answered, in transactions and outside of them.\n\n")
	printf("|  |")
	for _, cost := range []string{"round trips", "calls to a vttablet", "commits"} {
		for _, c := range r.Configurations {
			printf(" %s: %s |", cost, c.Name)
		}
	}
	printf("\n|---|%s\n", strings.Repeat("---|", 3*len(r.Configurations)))
	for _, operation := range r.Operations {
		var cells []string
		for _, value := range []func(costResult) int64{
			func(c costResult) int64 { return c.RoundTrips },
			func(c costResult) int64 { return c.served.Calls },
			func(c costResult) int64 { return c.Commits },
		} {
			for _, c := range r.Configurations {
				if cost, ok := r.cost(operation, c.Name); ok {
					cells = append(cells, fmt.Sprint(value(cost)))
				}
			}
		}
		if len(cells) > 0 {
			printf("| %s | %s |\n", operation, strings.Join(cells, " | "))
		}
	}

	for _, commits := range r.Commits {
		printf("\n## %s\n\n%s\n\n", commits.Title, r.explain(commits))
		r.table(printf, commits)
	}
	return out.String()
}

func (r *placementResults) explain(commits commits) string {
	if commits.Durable {
		return fmt.Sprintf("`innodb_flush_log_at_trx_commit = 1`, `sync_binlog = 1`, and semi_sync with one of two replicas, %g ms from the primary and back. "+
			"Times and ratios as above.", milliseconds(commits.ToReplica))
	}
	return fmt.Sprintf("`innodb_flush_log_at_trx_commit = 2`, `sync_binlog = 0`, and no semi_sync. p50 in ms of %d calls of one caller, and of %d workflows, %d at a time, from the start until the client knows the result; in brackets the ratio to %s. The last column is the ratio of the two.",
		r.Settings.Rounds*r.Settings.Batch, r.Settings.Workflows, r.Settings.WorkflowsAtOnce, r.Placements[0].Name)
}

// table has a row for each operation and placement.
func (r *placementResults) table(printf func(string, ...any), commits commits) {
	first, second := r.Configurations[0].Name, r.Configurations[1].Name
	printf("| | placement | %s | %s | %[2]s to %[1]s |\n|---|---|---|---|---|\n", first, second)
	for _, operation := range r.Operations {
		for _, at := range r.Placements {
			base, ok := r.timing(operation, first, at.Name, commits.Name)
			if !ok {
				continue
			}
			other, _ := r.timing(operation, second, at.Name, commits.Name)
			printf("| %s | %s | %s | %s | %.2f |\n", operation, at.Name, r.p50(base), r.p50(other), other.P50/base.P50)
		}
	}
}

func (r *placementResults) p50(t placedTiming) string {
	if t.Placement == r.Placements[0].Name {
		return number(t.P50)
	}
	near, _ := r.timing(t.Operation, t.Configuration, r.Placements[0].Name, t.Commits)
	return fmt.Sprintf("%s (%.2f)", number(t.P50), t.P50/near.P50)
}
