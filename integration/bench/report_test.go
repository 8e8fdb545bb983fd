package main

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i) // 100 to 1
	}
	for _, test := range []struct {
		name      string
		durations []time.Duration
		p         int
		expected  time.Duration
	}{
		{"of nothing", nil, 50, 0},
		{"of one", []time.Duration{7}, 99, 7},
		{"median of an even number is the lower one", []time.Duration{4, 1, 3, 2}, 50, 2},
		{"median of an odd number", []time.Duration{3, 1, 2}, 50, 2},
		{"99 of a hundred", hundred, 99, 99},
		{"99 of few is the highest", []time.Duration{3, 1, 2}, 99, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.expected, percentile(test.durations, test.p))
		})
	}
}

func TestCPUTimeOfAProcessWhoseNameHasSpaces(t *testing.T) {
	stat := "42 (my (odd) name) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 100"
	require.Equal(t, 2*time.Second, parseStat(stat))
}

// newFilled returns results of one operation in two configurations at one distance.
func newFilled() *results {
	update := operation{Name: "update workflow"}
	r := &results{
		Machine:        "a machine",
		Settings:       settings{Delays: []time.Duration{time.Millisecond}, Rounds: 1, Batch: 2, Callers: 32, WorkflowsAtOnce: 8},
		Configurations: []configuration{{Name: plainMySQL, Title: "plain <MySQL>"}, {Name: unsharded, Title: "unsharded"}, {Name: "c1", Title: "plugin"}},
		Operations:     []string{update.Name, "not measured"},
	}
	for i, milliseconds := range []time.Duration{20, 25, 10} {
		s := &subject{configuration: r.Configurations[i]}
		samples := []time.Duration{milliseconds * time.Millisecond, milliseconds * time.Millisecond}
		r.addTiming(update, s, time.Millisecond, 1, samples, sum(samples))
		r.addTiming(update, s, time.Millisecond, 32, samples, time.Second)
		r.addWire(update, s, wire.Counts{RoundTrips: int64(milliseconds / 5), Statements: 5})
		r.addCPU(s, 2, map[string]time.Duration{clientProcess: time.Second, vitessProcess: 0},
			map[string]time.Duration{clientProcess: 1001 * time.Millisecond, vitessProcess: 3 * time.Millisecond})
	}
	return r
}

func TestTheReportHasAllFiguresOfAnOperation(t *testing.T) {
	report := newFilled().markdown()
	for _, line := range []string{
		"| update workflow | 4 (5) | 5 | 2 (5) |",                                         // round trips (statements)
		"| update workflow | 20.0 | 25.0 (1.25) | 10.0 (0.50, 0.40) |",                    // p50 (to plain MySQL, to unsharded)
		"| update workflow | 50.0 (1.00) | 40.0 (0.80) | 100 (2.00) |",                    // calls per second (to plain MySQL)
		"| update workflow | 2.00 (20.0, 20.0) | 2.00 (25.0, 25.0) | 2.00 (10.0, 10.0) |", // many callers
		"| client | 0.50 (25 %) | 0.50 (25 %) | 0.50 (25 %) |",
		"| vtcombo | 1.50 (75 %) | 1.50 (75 %) | 1.50 (75 %) |",
	} {
		require.Contains(t, report, line+"\n")
	}
	require.NotContains(t, report, "not measured")
	require.NotContains(t, report, "%!", "a format that does not fit its values")
}

func TestTheChartHasABarForEachConfiguration(t *testing.T) {
	chart := newFilled().chart()
	decoder := xml.NewDecoder(strings.NewReader(chart))
	titles := 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "title" {
			titles++
		}
	}
	require.Equal(t, 3, titles)
	require.NotContains(t, chart, "%!", "a format that does not fit its values")
}

func TestAReportIsWrittenAsFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "folder")
	written := newFilled()
	require.NoError(t, written.write(folder))
	data, err := os.ReadFile(filepath.Join(folder, jsonFile))
	require.NoError(t, err)
	var read results
	require.NoError(t, json.Unmarshal(data, &read))
	require.Equal(t, written.Timings, read.Timings)
	require.Equal(t, written.Wire, read.Wire)
	for _, name := range []string{markdownFile, chartFile} {
		require.FileExists(t, filepath.Join(folder, name))
	}
}
