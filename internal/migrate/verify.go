package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"vitess.io/vitess/go/protoutil"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/vtctl/workflow"
	"vitess.io/vitess/go/vt/vttablet/tabletmanager/vdiff"
)

// Compared is how far a comparison of all rows (a VDiff) is, or what it came to.
type Compared struct {
	Move
	UUID string
	// State is VDiff's word: pending, started, stopped, error or completed.
	State string
	// Back tells that it compares what the target has with what the way back has written to the source.
	Back         bool
	RowsCompared int64
	// TablesCompared are those that are done, of Tables; each counts once for each Vitess shard that compares it.
	TablesCompared, Tables int
	// Differs has a line for each table with differing rows, Errors for each Vitess shard that could not compare.
	Differs, Errors []string
	CompletedAt     string
}

// Clean reports whether all rows were compared, and are equal.
func (c Compared) Clean() bool {
	return c.State == "completed" && len(c.Differs) == 0 && len(c.Errors) == 0
}

// bufferedEvents' primary key begins with its id on the target, where that is the only key that a copy of VReplication may have on
// the column, and ends with it on the source. VDiff compares rows in the order of one side's key, so it cannot compare these: before
// Vitess 24.0.4 it finds most of them missing, and from then on it refuses (sourceOrderCoversComparisonKey in
// go/vt/vttablet/tabletmanager/vdiff/table_differ.go). [Migration.VerifyRows] compares them.
const bufferedEventsTable = "buffered_events"

// diffed are the tables that VDiff can compare.
func (m Move) diffed() []string {
	return slices.DeleteFunc(slices.Clone(m.Tables), func(table string) bool { return table == bufferedEventsTable })
}

// active is the workflow that is at work.
func (s State) active() (keyspace, workflow string, back bool) {
	if s.Traffic == Target {
		return s.Source, s.reverse(), true
	}
	return s.Target, s.Workflow, false
}

// Comparison returns the last comparison of a move's active workflow, nil if there is none.
func (m *Migration) Comparison(ctx context.Context, state State) (*Compared, error) {
	keyspace, name, back := state.active()
	response, err := m.Vitess.VTCtld.VDiffShow(ctx, &vtctldatapb.VDiffShowRequest{TargetKeyspace: keyspace, Workflow: name, Arg: "last"})
	if err != nil {
		return nil, fmt.Errorf("VDiff of %s: %w", state.Move, err)
	}
	id := ""
	for _, tablet := range response.TabletResponses {
		if tablet.GetVdiffUuid() != "" {
			id = tablet.VdiffUuid
		}
	}
	if id == "" {
		return nil, nil
	}
	var without []string
	for _, shard := range slices.Sorted(maps.Keys(response.TabletResponses)) {
		if tablet := response.TabletResponses[shard]; tablet.GetVdiffUuid() != id || tablet.GetOutput() == nil {
			without = append(without, shard+": it has not compared its rows")
		}
	}
	summary, err := workflow.BuildSummary(keyspace, name, id, response, true)
	if err != nil {
		return nil, fmt.Errorf("VDiff of %s: %w", state.Move, err)
	}
	c := &Compared{Move: state.Move, UUID: id, State: string(summary.State), Back: back, RowsCompared: summary.RowsCompared, CompletedAt: summary.CompletedAt}
	for _, shard := range summary.ShardSummaries {
		c.Tables += len(state.diffed())
		for name, table := range shard.TableStates {
			if table.State == vdiff.CompletedState && name != bufferedEventsTable {
				c.TablesCompared++
			}
		}
	}
	if summary.HasMismatch {
		for _, table := range summary.SortedTableSummaries() {
			if differing := table.MismatchedRows + table.ExtraRowsSource + table.ExtraRowsTarget; differing > 0 {
				c.Differs = append(c.Differs, fmt.Sprintf("%s: of %d rows %d differ, %d are only in %s, %d only in %s",
					table.TableName, table.RowsCompared, table.MismatchedRows, table.ExtraRowsSource, from(state, back), table.ExtraRowsTarget, keyspace))
			}
		}
		if len(c.Differs) == 0 {
			c.Differs = []string{"rows differ; vtctldclient VDiff show has more"}
		}
	}
	c.Errors = without
	for _, shard := range slices.Sorted(maps.Keys(summary.Errors)) {
		c.Errors = append(c.Errors, shard+": "+summary.Errors[shard])
	}
	return c, nil
}

// from is the keyspace that a comparison takes for the source.
func from(state State, back bool) string {
	if back {
		return state.Target
	}
	return state.Source
}

// verifyPoll is the time between two looks at comparisons.
const verifyPoll = time.Second

// Verify compares all rows of all moves, but for buffered_events, one move after the other, and calls report now and then, and with each result. A
// comparison that runs already, such as one whose command was interrupted, is waited for. An error says that something differs, or
// could not be compared.
func (m *Migration) Verify(ctx context.Context, report func(Compared)) error {
	states, err := m.State(ctx)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return errors.New("no move to these keyspaces is under way")
	}
	var unequal []string
	for _, state := range states {
		if state.Phase != Following && state.Phase != Switched {
			return fmt.Errorf("%s is %s: rows can be compared once all are copied", state.Move, state.Phase)
		}
		result, err := m.compare(ctx, state, report)
		if err != nil {
			return err
		}
		if !result.Clean() {
			unequal = append(unequal, fmt.Sprintf("%s (%s)", state.Move, strings.Join(append(result.Differs, result.Errors...), "; ")))
		}
	}
	if len(unequal) > 0 {
		return fmt.Errorf("not equal: %s", strings.Join(unequal, ", "))
	}
	return nil
}

func (m *Migration) compare(ctx context.Context, state State, report func(Compared)) (*Compared, error) {
	last, err := m.Comparison(ctx, state)
	if err != nil {
		return nil, err
	}
	if last == nil || last.State != "pending" && last.State != "started" {
		keyspace, name, _ := state.active()
		_, err := m.Vitess.VTCtld.VDiffCreate(ctx, &vtctldatapb.VDiffCreateRequest{
			Workflow: name, TargetKeyspace: keyspace, Uuid: uuid.NewString(),
			FilteredReplicationWaitTime: protoutil.DurationToProto(workflow.DefaultTimeout),
			Tables:                      state.diffed(),
			MaxExtraRowsToCompare:       1000, // vtctldclient's defaults
			MaxReportSampleRows:         10,
			AutoRetry:                   true,
		})
		if err != nil {
			return nil, fmt.Errorf("VDiff of %s: %w", state.Move, err)
		}
	}
	for {
		c, err := m.Comparison(ctx, state)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, fmt.Errorf("VDiff of %s is gone", state.Move)
		}
		report(*c)
		if c.State != "pending" && c.State != "started" && c.State != "unknown" {
			return c, nil
		}
		select {
		case <-time.After(verifyPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
