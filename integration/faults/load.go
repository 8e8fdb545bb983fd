package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/server/common"

	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

const (
	ledgerTaskQueue = "ledger" // with fairness
	kindsTaskQueue  = "kinds"

	// usualPace is the time between two starts of ledger workflows, and of workflows of package kinds.
	usualPace = time.Second
	// messages is how many signals and updates a ledger workflow gets, and pause the time between them.
	messages = 4
	pause    = 700 * time.Millisecond
	// largePayload is that of each fifth ledger workflow.
	largePayload = 256 << 10

	scheduleID    = "schedule"
	scheduleEvery = 2 * time.Second

	// settling is how long the end of a workflow may take once nothing is broken any more.
	settling = 2 * time.Minute
)

// Load is steady work on a Temporal server, in a namespace of its own. Its clients have the SDK's own timeouts and retries.
type Load struct {
	bed         *Bed
	pace        time.Duration
	namespace   string
	namespaceID string
	client      client.Client
	target      kinds.Target
	endpoint    *nexuspb.Endpoint
	schedule    client.ScheduleHandle
	closers     []func()

	stopStarting context.CancelFunc
	giveUp       context.CancelFunc // on workflows of package kinds, whose clients wait without a limit
	starting     sync.WaitGroup     // the loops that start workflows
	running      sync.WaitGroup     // a goroutine for each workflow

	mutex      sync.Mutex
	operations []call
	accounts   []*account
	kinds      []kindRun
}

// updating is what a call does that updates a workflow.
const updating = "update"

// call is a call to Temporal, the SDK's retries included.
type call struct {
	what         string
	historyShard int32
	began, ended time.Time
	err          error
}

// account is what a client knows of a ledger workflow.
type account struct {
	id     string
	number int
	size   int // of the payload
	// runID is that of the first run if the start was acknowledged, else "".
	runID string
	// told are the messages, and whether they were acknowledged.
	told map[string]bool
	// result is set if there is one, else wrong or, where the start was not acknowledged, neither.
	result *ledger
	wrong  error
}

// kindRun is a workflow of package kinds.
type kindRun struct {
	kind   kinds.Kind
	number int
	err    error
}

// startLoad returns when workflows are being started, one of the ledger and one of package kinds each pace.
func (b *Bed) startLoad(ctx context.Context, pace time.Duration) (*Load, error) {
	l := &Load{bed: b, pace: cmp.Or(pace, usualPace), namespace: "faults-" + uuid.NewString()[:8]}
	if err := l.prepare(ctx); err != nil {
		l.close()
		return nil, fmt.Errorf("prepare the load: %w", err)
	}
	starting, stop := context.WithCancel(ctx)
	waiting, giveUp := context.WithCancel(ctx)
	l.stopStarting, l.giveUp = stop, giveUp
	l.starting.Go(func() {
		l.keepStarting(starting, func(number int) { l.runLedger(ctx, number) })
	})
	l.starting.Go(func() {
		all := kinds.All()
		l.keepStarting(starting, func(number int) {
			kind := all[number%len(all)]
			err := kind.Run(waiting, l.target, number)
			if err != nil && waiting.Err() != nil {
				err = fmt.Errorf("%s does not end: %v", kindRun{kind: kind, number: number}.id(), err) // not the server's error
			}
			l.mutex.Lock()
			defer l.mutex.Unlock()
			l.kinds = append(l.kinds, kindRun{kind, number, err})
		})
	})
	return l, nil
}

// keepStarting calls run at the pace, in goroutines of their own, until the context ends.
func (l *Load) keepStarting(ctx context.Context, run func(number int)) {
	ticker := time.NewTicker(l.pace)
	defer ticker.Stop()
	for number := 0; ; number++ {
		l.running.Go(func() { run(number) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Load) prepare(ctx context.Context) error {
	server := l.bed.server
	if err := server.CreateNamespace(ctx, l.namespace); err != nil {
		return err
	}
	patient, err := server.Dial(l.namespace)
	if err != nil {
		return err
	}
	l.closers = append(l.closers, patient.Close)
	// A workflow task whose start was lost with a connection, or came too late, is given again when it times out.
	l.target = kinds.Target{Client: patient, Namespace: l.namespace, TaskQueue: kindsTaskQueue, WorkflowTaskTimeout: patience}
	l.client, err = client.NewLazyClient(client.Options{
		HostPort: server.FrontendAddr(), Namespace: l.namespace, Logger: sdklog.NewStructuredLogger(discard),
	})
	if err != nil {
		return err
	}
	l.closers = append(l.closers, l.client.Close)

	description, err := patient.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: l.namespace})
	if err != nil {
		return err
	}
	l.namespaceID = description.GetNamespaceInfo().GetId()
	_, err = patient.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        l.namespace,
		SearchAttributes: map[string]enumspb.IndexedValueType{ledgerNumber.GetName(): ledgerNumber.GetValueType()},
	})
	if err != nil {
		return err
	}
	err = again(ctx, func() error { // the server sees it when it reads namespaces again
		_, err := patient.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: l.namespace, Query: ledgerNumber.GetName() + " = 0"})
		return err
	})
	if err != nil {
		return err
	}
	created, err := patient.OperatorService().CreateNexusEndpoint(ctx, &operatorservice.CreateNexusEndpointRequest{Spec: &nexuspb.EndpointSpec{
		Name: l.namespace,
		Target: &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_Worker_{
			Worker: &nexuspb.EndpointTarget_Worker{Namespace: l.namespace, TaskQueue: ledgerTaskQueue},
		}},
	}})
	if err != nil {
		return err
	}
	l.endpoint = created.Endpoint

	kindsWorker := kinds.NewWorker(l.target)
	ledgerWorker, err := newLedgerWorker(patient, ledgerTaskQueue)
	if err != nil {
		return err
	}
	for _, w := range []interface {
		Start() error
		Stop()
	}{kindsWorker, ledgerWorker} {
		if err := w.Start(); err != nil {
			return err
		}
		l.closers = append(l.closers, w.Stop)
	}
	l.schedule, err = patient.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:      scheduleID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: scheduleEvery}}},
		Action:  &client.ScheduleWorkflowAction{ID: scheduledType, Workflow: scheduledType, TaskQueue: ledgerTaskQueue},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
	})
	return err
}

// close ends workers and connections, the last first.
func (l *Load) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
}

// do records a call.
func (l *Load) do(ctx context.Context, what, workflowID string, do func(ctx context.Context) error) error {
	// The SDK ends a call after 10 s, but an update only when its context does.
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	began := time.Now()
	err := do(ctx)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.operations = append(l.operations, call{
		what: what, historyShard: common.WorkflowIDToHistoryShard(l.namespaceID, workflowID, HistoryShards),
		began: began, ended: time.Now(), err: err,
	})
	return err
}

// acknowledged returns how many calls were.
func (l *Load) acknowledged() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	count := 0
	for _, operation := range l.operations {
		if operation.err == nil {
			count++
		}
	}
	return count
}

// runLedger runs a ledger workflow to its end.
func (l *Load) runLedger(ctx context.Context, number int) {
	a := &account{id: fmt.Sprintf("%s-%d", ledgerType, number), number: number, told: map[string]bool{}}
	if number%5 == 0 {
		a.size = largePayload
	}
	l.mutex.Lock()
	l.accounts = append(l.accounts, a)
	l.mutex.Unlock()
	err := l.do(ctx, "start", a.id, func(ctx context.Context) error {
		run, err := l.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: a.id, TaskQueue: ledgerTaskQueue,
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			Priority: temporal.Priority{
				PriorityKey: number%5 + 1, FairnessKey: fmt.Sprintf("tenant-%d", number%3), FairnessWeight: 1 + float32(number%3),
			},
		}, ledgerType, ledger{Number: number, Payload: payload(a.size), NexusEndpoint: l.endpoint.Spec.Name})
		if err == nil {
			a.runID = run.GetRunID()
		}
		return err
	})
	for i := 0; i < messages && err == nil; i++ {
		time.Sleep(pause)
		message := fmt.Sprintf("%s message %d", a.id, i)
		if i%2 == 0 {
			a.told[message] = nil == l.do(ctx, "signal", a.id, func(ctx context.Context) error {
				return l.client.SignalWorkflow(ctx, a.id, "", tell, message)
			})
			continue
		}
		a.told[message] = nil == l.do(ctx, updating, a.id, func(ctx context.Context) error {
			handle, err := l.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
				WorkflowID: a.id, UpdateID: message, UpdateName: tell, Args: []any{message}, WaitForStage: client.WorkflowUpdateStageCompleted,
			})
			if err != nil {
				return err
			}
			return handle.Get(ctx, nil)
		})
	}
	if err == nil {
		a.result, a.wrong = l.settle(ctx, a)
	}
}

// payload returns bytes that do not compress well, the same for each size.
func payload(size int) []byte {
	random := rand.NewChaCha8([32]byte{})
	data := make([]byte, size)
	_, _ = random.Read(data)
	return data
}

// settle tells a ledger workflow to end, and returns its result; an error if it has none.
func (l *Load) settle(ctx context.Context, a *account) (*ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	err := again(ctx, func() error {
		err := l.target.SignalWorkflow(ctx, a.id, "", tell, closing)
		if notFound := (*serviceerror.NotFound)(nil); errors.As(err, &notFound) {
			return nil // it has ended, or never began
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tell it to end: %w", err)
	}
	var result ledger
	var failed *temporal.WorkflowExecutionError
	err = again(ctx, func() error {
		err := l.target.GetWorkflow(ctx, a.id, a.runID).Get(ctx, &result)
		if notFound := (*serviceerror.NotFound)(nil); errors.As(err, &failed) || errors.As(err, &notFound) {
			return final{err}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// final is an error after which again does not try again.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// again tries until there is no error, it is final, or the context ends.
func again(ctx context.Context, try func() error) error {
	return every(ctx, 200*time.Millisecond, try)
}

func every(ctx context.Context, pause time.Duration, try func() error) error {
	for {
		err := try()
		if err == nil || errors.As(err, &final{}) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// stop starts nothing more, and returns when all workflows have ended, or should have.
func (l *Load) stop(ctx context.Context) error {
	l.stopStarting()
	l.starting.Wait()
	patient := time.AfterFunc(2*settling, l.giveUp)
	l.running.Wait()
	patient.Stop()
	// What a call that failed may have started is there by now, or never will be.
	for _, a := range l.accounts {
		if a.runID != "" {
			continue
		}
		l.running.Go(func() {
			var notFound *serviceerror.NotFound
			if a.result, a.wrong = l.settle(ctx, a); errors.As(a.wrong, &notFound) {
				a.wrong = nil
			}
		})
	}
	l.running.Wait()
	// A kind that lost its client waits for ever.
	for _, k := range l.kinds {
		if k.err != nil {
			_ = l.target.TerminateWorkflow(ctx, k.id(), "", "its client has given up")
		}
	}
	err := again(ctx, func() error {
		return l.schedule.Pause(ctx, client.SchedulePauseOptions{})
	})
	if err != nil {
		return fmt.Errorf("pause the schedule: %w", err)
	}
	return nil
}

func (k kindRun) id() string { return fmt.Sprintf("%s-%d", k.kind.Name, k.number) }

// of reports whether a workflow is this one, or a child of it.
func (k kindRun) of(workflowID string) bool {
	return workflowID == k.id() || strings.HasPrefix(workflowID, k.id()+"-child-")
}
