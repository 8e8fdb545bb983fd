package main

import (
	"context"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	enumsspb "go.temporal.io/server/api/enums/v1"
	historyspb "go.temporal.io/server/api/history/v1"
	persistencespb "go.temporal.io/server/api/persistence/v1"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/definition"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/service/history/tasks"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	version = common.EmptyVersion // of events, in a cluster without replication

	running   = enumsspb.WORKFLOW_EXECUTION_STATE_RUNNING
	completed = enumsspb.WORKFLOW_EXECUTION_STATE_COMPLETED

	workflowType = "workflow-type"
	// Each update schedules the same activity and starts the same timer anew, so that updates stay alike.
	activityID = int64(5)
	timerID    = "timer"
	timerDelay = 24 * time.Hour
)

var archetype = chasm.WorkflowArchetypeID

// execution is a workflow execution as far as it has been written, or is about to be.
type execution struct {
	caller      *caller
	key         definition.WorkflowKey
	branchToken []byte
	nextEventID int64
	// lastTransaction is that of the last events, to which the next ones refer.
	lastTransaction int64
	recordVersion   int64
}

// newExecution returns an execution that is not written yet.
func (c *caller) newExecution() (*execution, error) {
	w := &execution{caller: c, key: definition.NewWorkflowKey(c.namespaceID, uuid.NewString(), "")}
	return w, w.startRun()
}

// startRun makes it a workflow at the beginning of a new run.
func (w *execution) startRun() (err error) {
	w.key.RunID = uuid.NewString()
	w.nextEventID, w.lastTransaction, w.recordVersion = common.FirstEventID, 0, 0
	w.branchToken, err = w.caller.direct.executions.GetHistoryBranchUtil().NewHistoryBranch(
		w.key.NamespaceID, w.key.WorkflowID, w.key.RunID, uuid.NewString(), nil, nil, 0, 0, 0)
	return err
}

// create writes a new workflow to the stores.
func (w *execution) create(ctx context.Context, s *stores) error {
	_, err := s.executions.CreateWorkflowExecution(ctx, w.createRequest())
	return err
}

func (w *execution) createRequest() *persistence.CreateWorkflowExecutionRequest {
	events := w.events(startEvents())
	return &persistence.CreateWorkflowExecutionRequest{
		ShardID:             w.caller.historyShard,
		RangeID:             w.caller.rangeID,
		Mode:                persistence.CreateWorkflowModeBrandNew,
		ArchetypeID:         archetype,
		NewWorkflowSnapshot: *w.snapshot(running, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING),
		NewWorkflowEvents:   events,
	}
}

// startEvents are those of a new run.
func startEvents() []*historypb.HistoryEvent {
	return []*historypb.HistoryEvent{
		{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
			Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
				WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
					WorkflowType: &commonpb.WorkflowType{Name: workflowType}, Input: newPayloads(),
				},
			},
		},
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED},
	}
}

// updateEvents are those of a workflow task that schedules an activity and starts a timer.
func updateEvents() []*historypb.HistoryEvent {
	return []*historypb.HistoryEvent{
		{EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED},
		{
			EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
			Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
				ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
					ActivityType: &commonpb.ActivityType{Name: "activity-type"}, Input: newPayloads(),
				},
			},
		},
		{EventType: enumspb.EVENT_TYPE_TIMER_STARTED},
	}
}

// events gives the events their place at the end of the workflow's history.
func (w *execution) events(events []*historypb.HistoryEvent) []*persistence.WorkflowEvents {
	for _, event := range events {
		event.EventId, event.Version, event.EventTime = w.nextEventID, version, now()
		w.nextEventID++
	}
	batch := &persistence.WorkflowEvents{
		NamespaceID: w.key.NamespaceID,
		WorkflowID:  w.key.WorkflowID,
		RunID:       w.key.RunID,
		BranchToken: w.branchToken,
		PrevTxnID:   w.lastTransaction,
		TxnID:       w.caller.nextID(),
		Events:      events,
	}
	w.lastTransaction = batch.TxnID
	return []*persistence.WorkflowEvents{batch}
}

// update appends events to the current run and changes its state.
func (w *execution) update(state enumsspb.WorkflowExecutionState, status enumspb.WorkflowExecutionStatus) *persistence.UpdateWorkflowExecutionRequest {
	events := w.events(updateEvents()) // first, as they move the run's next event
	return &persistence.UpdateWorkflowExecutionRequest{
		ShardID:                w.caller.historyShard,
		RangeID:                w.caller.rangeID,
		Mode:                   persistence.UpdateWorkflowModeUpdateCurrent,
		ArchetypeID:            archetype,
		UpdateWorkflowMutation: *w.mutation(state, status),
		UpdateWorkflowEvents:   events,
	}
}

// snapshot is the state of a new run: no activity, no timer.
func (w *execution) snapshot(state enumsspb.WorkflowExecutionState, status enumspb.WorkflowExecutionStatus) *persistence.WorkflowSnapshot {
	w.recordVersion++
	return &persistence.WorkflowSnapshot{
		ExecutionInfo:   w.info(),
		ExecutionState:  w.state(state, status),
		NextEventID:     w.nextEventID,
		DBRecordVersion: w.recordVersion,
		Tasks:           w.tasks(),
	}
}

// fullSnapshot is the state of a run that waits for an activity and a timer.
func (w *execution) fullSnapshot() *persistence.WorkflowSnapshot {
	snapshot := w.snapshot(running, enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)
	snapshot.ActivityInfos, snapshot.TimerInfos = w.activities(), w.timers()
	return snapshot
}

// mutation schedules an activity and starts a timer.
func (w *execution) mutation(state enumsspb.WorkflowExecutionState, status enumspb.WorkflowExecutionStatus) *persistence.WorkflowMutation {
	w.recordVersion++
	return &persistence.WorkflowMutation{
		ExecutionInfo:       w.info(),
		ExecutionState:      w.state(state, status),
		NextEventID:         w.nextEventID,
		DBRecordVersion:     w.recordVersion,
		UpsertActivityInfos: w.activities(),
		UpsertTimerInfos:    w.timers(),
		Tasks:               w.tasks(),
	}
}

func (w *execution) info() *persistencespb.WorkflowExecutionInfo {
	return &persistencespb.WorkflowExecutionInfo{
		NamespaceId:      w.key.NamespaceID,
		WorkflowId:       w.key.WorkflowID,
		TaskQueue:        w.caller.taskQueue.Name,
		WorkflowTypeName: workflowType,
		StartTime:        now(),
		ExecutionStats:   &persistencespb.ExecutionStats{},
		Memo:             map[string]*commonpb.Payload{"memo": newPayloads().Payloads[0]},
		VersionHistories: &historyspb.VersionHistories{Histories: []*historyspb.VersionHistory{{
			BranchToken: w.branchToken,
			Items:       []*historyspb.VersionHistoryItem{{EventId: w.nextEventID - 1, Version: version}},
		}}},
	}
}

func (w *execution) state(state enumsspb.WorkflowExecutionState, status enumspb.WorkflowExecutionStatus) *persistencespb.WorkflowExecutionState {
	return &persistencespb.WorkflowExecutionState{
		CreateRequestId: uuid.NewString(), RunId: w.key.RunID, State: state, Status: status, StartTime: now(),
	}
}

func (w *execution) activities() map[int64]*persistencespb.ActivityInfo {
	return map[int64]*persistencespb.ActivityInfo{activityID: {
		ScheduledEventId: activityID, ActivityId: "activity", TaskQueue: w.caller.taskQueue.Name, ScheduledTime: now(),
	}}
}

func (w *execution) timers() map[string]*persistencespb.TimerInfo {
	return map[string]*persistencespb.TimerInfo{timerID: {TimerId: timerID, ExpiryTime: timestamppb.New(time.Now().Add(timerDelay))}}
}

// tasks are a transfer, a timer and a visibility task.
func (w *execution) tasks() map[tasks.Category][]tasks.Task {
	return map[tasks.Category][]tasks.Task{
		tasks.CategoryTransfer: {&tasks.ActivityTask{
			WorkflowKey: w.key, VisibilityTimestamp: time.Now(), TaskID: w.caller.nextID(), TaskQueue: w.caller.taskQueue.Name,
			ScheduledEventID: activityID, Version: version,
		}},
		tasks.CategoryTimer: {&tasks.UserTimerTask{
			WorkflowKey: w.key, VisibilityTimestamp: time.Now().Add(timerDelay), TaskID: w.caller.nextID(), EventID: w.nextEventID - 1,
		}},
		tasks.CategoryVisibility: {&tasks.UpsertExecutionVisibilityTask{
			WorkflowKey: w.key, VisibilityTimestamp: time.Now(), TaskID: w.caller.nextID(),
		}},
	}
}
