package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// check compares what Temporal and the mysqlds say, once all is over, with what was acknowledged.
func (l *Load) check(ctx context.Context, r *Result) error {
	census, err := l.awaitEnded(ctx)
	if err != nil {
		return err
	}
	r.Strays, r.Abandoned = append(r.Strays, census.strays...), census.abandoned
	for i := range l.bed.VTGateAddrs() {
		multi, err := l.bed.multiCommits(ctx, i)
		if err != nil {
			return err
		}
		if multi > 0 {
			r.Defects = append(r.Defects, fmt.Sprintf("vtgate %d has committed %d transactions over several Vitess shards", i, multi))
		}
	}
	if unknown := l.bed.server.Statements()["unknown"]; unknown > 0 {
		r.Defects = append(r.Defects, fmt.Sprintf("the plugin could not route %d statements", unknown))
	}
	visible, err := l.awaitVisible(ctx, census, r)
	if err != nil {
		return err
	}
	l.checkAccounts(visible, r)
	l.checkKinds(visible, r)
	checkSchedule(visible, r)
	return l.checkHistories(ctx, census, r)
}

// awaitEnded returns what the mysqlds have once all of the load's runs have ended, or should have.
func (l *Load) awaitEnded(ctx context.Context) (census *census, err error) {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_ = again(limited, func() error {
		if census, err = l.bed.takeCensus(ctx); err != nil {
			return final{err}
		}
		for _, run := range census.of(l.namespaceID) {
			if ofLoad(run) && census.runs[run].status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
				return fmt.Errorf("%v has not ended", run) // which awaitVisible reports
			}
		}
		return nil
	})
	return census, err
}

func (r *Result) wrong(format string, arguments ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, arguments...))
}

// visibleRun is what visibility says of a run.
type visibleRun struct {
	workflowID string
	kinds.Closed
}

// ofLoad reports whether a run is one of the load's own, and not of the scheduler.
func ofLoad(run execution) bool {
	return run.workflowID != scheduleID && !strings.HasPrefix(run.workflowID, "temporal-sys-")
}

// awaitVisible returns when visibility has each of the load's runs once, closed as the mysqlds have it, and no other; after
// some time what it has differently is wrong.
func (l *Load) awaitVisible(ctx context.Context, census *census, r *Result) (map[execution]visibleRun, error) {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var visible map[execution]visibleRun
	var differences []string
	err := again(limited, func() error {
		var err error
		visible, differences, err = l.readVisibility(limited)
		if err != nil {
			return err
		}
		for _, run := range census.of(l.namespaceID) {
			if !ofLoad(run) {
				continue
			}
			status := census.runs[run].status
			if status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
				differences = append(differences, fmt.Sprintf("%v has not ended", run))
			}
			if found, ok := visible[run]; !ok || found.Status != status {
				differences = append(differences, fmt.Sprintf("%v is %v, but visibility has it as %q", run, status, found.Status))
			}
		}
		for run := range visible {
			if _, ok := census.runs[run]; !ok {
				differences = append(differences, fmt.Sprintf("visibility has %v, which is no run", run))
			}
		}
		if len(differences) > 0 {
			return errors.New("visibility differs")
		}
		return nil
	})
	if err != nil && len(differences) == 0 {
		return nil, fmt.Errorf("read visibility: %w", err)
	}
	r.Wrong = append(r.Wrong, differences...)
	return visible, nil
}

func (l *Load) readVisibility(ctx context.Context) (visible map[execution]visibleRun, doubled []string, err error) {
	visible = map[execution]visibleRun{}
	request := &workflowservice.ListWorkflowExecutionsRequest{Namespace: l.namespace, PageSize: 500}
	for {
		page, err := l.target.ListWorkflow(ctx, request)
		if err != nil {
			return nil, nil, err
		}
		for _, info := range page.Executions {
			run := execution{l.namespaceID, info.Execution.WorkflowId, info.Execution.RunId}
			if _, ok := visible[run]; ok {
				doubled = append(doubled, fmt.Sprintf("visibility has %v twice", run))
			}
			visible[run] = visibleRun{run.workflowID, kinds.Closed{Type: info.Type.Name, Status: info.Status}}
		}
		if request.NextPageToken = page.NextPageToken; len(page.NextPageToken) == 0 {
			return visible, doubled, nil
		}
	}
}

// closed counts the runs that belong to a workflow, by type and status.
func closed(visible map[execution]visibleRun, belongs func(workflowID string) bool) map[kinds.Closed]int {
	counts := map[kinds.Closed]int{}
	for _, run := range visible {
		if belongs(run.workflowID) {
			counts[run.Closed]++
		}
	}
	return counts
}

// checkAccounts looks at the ledger workflows.
func (l *Load) checkAccounts(visible map[execution]visibleRun, r *Result) {
	ended := 0
	for _, a := range l.accounts {
		runs := closed(visible, func(id string) bool { return id == a.id || id == a.id+"-child" })
		var notFound *serviceerror.NotFound
		switch {
		case a.runID == "" && a.wrong == nil && a.result == nil:
			if len(runs) > 0 {
				r.wrong("%s was not found, but has runs %v", a.id, runs)
			}
			continue
		case errors.As(a.wrong, &notFound):
			r.Lost = append(r.Lost, fmt.Sprintf("the start of %s/%s: %v", a.id, a.runID, a.wrong))
			continue
		case a.wrong != nil:
			r.wrong("%s has no result: %v", a.id, a.wrong)
			continue
		}
		ended++
		if a.runID != "" {
			r.Workflows++
			if _, ok := visible[execution{l.namespaceID, a.id, a.runID}]; !ok {
				r.Lost = append(r.Lost, fmt.Sprintf("the run %s/%s", a.id, a.runID))
			}
		}
		if want := (map[kinds.Closed]int{
			{Type: ledgerType, Status: enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW}: 1,
			{Type: ledgerType, Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}:        1,
			{Type: childType, Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}:         1,
		}); !maps.Equal(runs, want) {
			r.wrong("%s has runs %v, not %v", a.id, runs, want)
		}
		a.check(r)
	}
	operations := closed(visible, func(id string) bool { return strings.HasPrefix(id, operationType+"-") })
	if want := (map[kinds.Closed]int{{Type: operationType, Status: enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}: ended}); !maps.Equal(operations, want) {
		r.wrong("Nexus operations %v, not %v", operations, want)
	}
}

// check compares the result of a ledger workflow with what it was told.
func (a *account) check(r *Result) {
	for message, acknowledged := range a.told {
		switch effects := a.result.Effects[message]; {
		case acknowledged && effects == 0:
			r.Lost = append(r.Lost, message)
		case effects > 1:
			r.Doubled = append(r.Doubled, fmt.Sprintf("%s had its effect %d times", message, effects))
		}
	}
	for message := range a.result.Effects {
		if _, ok := a.told[message]; !ok {
			r.wrong("%s counted %q, which nobody has sent", a.id, message)
		}
	}
	if want := wantSum(a.number, a.size); a.result.Sum != want || a.result.Number != a.number {
		r.wrong("the steps of %s gave %d, not %d", a.id, a.result.Sum, want)
	}
	if !slices.Equal(a.result.Payload, payload(a.size)) {
		r.wrong("%s has another payload than it was started with", a.id)
	}
}

// checkKinds looks at the workflows of package kinds. One whose client has met an error of the server may have ended
// otherwise.
func (l *Load) checkKinds(visible map[execution]visibleRun, r *Result) {
	for _, k := range l.kinds {
		var fromServer serviceerror.ServiceError
		switch {
		case errors.As(k.err, &fromServer):
			continue
		case k.err != nil:
			r.wrong("%v", k.err)
			continue
		}
		r.Workflows++
		if runs := closed(visible, k.of); !maps.Equal(runs, k.kind.Leaves) {
			r.wrong("%s has runs %v, not %v", k.id(), runs, k.kind.Leaves)
		}
	}
}

// checkSchedule requires that each time of the schedule has its workflow, up to the last one.
func checkSchedule(visible map[execution]visibleRun, r *Result) {
	var times []time.Time
	for _, run := range visible {
		text, ok := strings.CutPrefix(run.workflowID, scheduledType+"-")
		if !ok {
			continue
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil || run.Status != enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			r.wrong("%s is %v", run.workflowID, run.Status)
			continue
		}
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		if times[i].Sub(times[i-1]) != scheduleEvery {
			r.wrong("the schedule has workflows of %v and %v, and none between", times[i-1], times[i])
		}
	}
	if len(times) == 0 {
		r.wrong("the schedule has started nothing")
	}
}

// lastEvents are how a history ends.
var lastEvents = map[enumspb.WorkflowExecutionStatus]enumspb.EventType{
	enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:        enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
	enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:           enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
	enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:         enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
	enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:       enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
	enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
	enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:        enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
}

// checkHistories reads each history to its end.
func (l *Load) checkHistories(ctx context.Context, census *census, r *Result) error {
	const atOnce = 4
	runs := slices.DeleteFunc(census.of(l.namespaceID), func(run execution) bool { return !ofLoad(run) })
	wrong := make([]string, len(runs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, run := range runs {
		group.Go(func() error {
			events := l.target.GetWorkflowHistory(ctx, run.workflowID, run.runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			next, last := int64(1), enumspb.EVENT_TYPE_UNSPECIFIED
			for ; events.HasNext(); next++ {
				event, err := events.Next()
				if err != nil {
					return fmt.Errorf("history of %v: %w", run, err)
				}
				if event.EventId != next && wrong[i] == "" {
					wrong[i] = fmt.Sprintf("the history of %v has event %d where %d should be", run, event.EventId, next)
				}
				last = event.EventType
			}
			switch found := census.runs[run]; {
			case wrong[i] != "":
			case next != found.nextEventID:
				wrong[i] = fmt.Sprintf("the history of %v ends before event %d, not %d", run, next, found.nextEventID)
			case last != lastEvents[found.status]:
				wrong[i] = fmt.Sprintf("the history of %v, which is %v, ends with %v", run, found.status, last)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, text := range wrong {
		if text != "" {
			r.wrong("%s", text)
		}
	}
	return nil
}
