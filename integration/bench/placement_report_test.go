package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
)

// newFilledPlacements returns results of one operation in two placements.
func newFilledPlacements() *placementResults {
	update := operation{Name: "update workflow"}
	r := newPlacementResults(settings{Rounds: 1, Batch: 2, Workflows: 9, WorkflowsAtOnce: 8}, []operation{update, {Name: "not measured"}})
	r.Machine, r.Placements = "a machine", []placement{{Name: "near", Title: "no distance"}, {Name: "far", Title: "a distance", ToVTTablet: time.Millisecond}}
	for i, c := range r.Configurations {
		s := &subject{configuration: c}
		r.Costs = append(r.Costs, costResult{
			wireResult: wireResult{Operation: update.Name, Configuration: c.Name, Counts: wire.Counts{RoundTrips: 13 - 8*int64(i), Statements: 13}},
			served:     served{Calls: 12 - int64(i), Commits: 2},
		})
		for k, commits := range r.Commits[:2] {
			for j, at := range r.Placements {
				p50 := time.Duration(4*(j+1)) * time.Millisecond / time.Duration(i+1)
				if k == 1 {
					p50 *= 10
				}
				r.addTiming(at, commits, newTiming(update.Name, s, at.ToVTTablet, 1, []time.Duration{p50, p50}, 2*p50))
			}
		}
	}
	return r
}

func TestTheReportAboutPlacementsHasAllFiguresOfAnOperation(t *testing.T) {
	report := newFilledPlacements().markdown()
	for _, line := range []string{
		"| far | a distance | 0 ms | 1 ms |",
		"|  | round trips: mysql8 | round trips: vitess | calls to a vttablet: mysql8 | calls to a vttablet: vitess | commits: mysql8 | commits: vitess |",
		"| update workflow | 13 | 5 | 12 | 11 | 2 | 2 |",
		"| update workflow | near | 4.00 | 2.00 | 0.50 |",
		"| update workflow | far | 8.00 (2.00) | 4.00 (2.00) | 0.50 |",
		"| update workflow | near | 40.0 | 20.0 | 0.50 |", // commits that flush
		"| update workflow | far | 80.0 (2.00) | 40.0 (2.00) | 0.50 |",
	} {
		require.Contains(t, report, line+"\n")
	}
	require.NotContains(t, report, "not measured")
	require.NotContains(t, report, "%!", "a format that does not fit its values")
}

func TestAReportAboutPlacementsIsWrittenAsFiles(t *testing.T) {
	folder := t.TempDir()
	written := newFilledPlacements()
	require.NoError(t, written.write(folder))
	data, err := os.ReadFile(filepath.Join(folder, placementJSONFile))
	require.NoError(t, err)
	var read placementResults
	require.NoError(t, json.Unmarshal(data, &read))
	require.Equal(t, written.Timings, read.Timings)
	require.Equal(t, written.Costs, read.Costs)
	require.FileExists(t, filepath.Join(folder, placementMarkdownFile))
}
