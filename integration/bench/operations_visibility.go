package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/namespace"
	"go.temporal.io/server/common/persistence/visibility/manager"
	"go.temporal.io/server/common/persistence/visibility/store"
	"go.temporal.io/server/common/searchattribute"
)

// listed is the number of visibility records in the namespace that is listed and counted.
const listed = 50

var visibilityOperations = []operation{
	{Name: "record workflow started", Busy: true, setUp: func(_ context.Context, c *caller) (prepare, error) {
		return func(context.Context) (call, error) {
			record, err := c.newRecord(c.namespaceID)
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context) error {
				return c.measured.visibility.RecordWorkflowExecutionStarted(ctx, started(record))
			}, nil
		}, nil
	}},
	{Name: "record workflow closed", setUp: onRecord(func(c *caller, record *store.InternalVisibilityRequestBase) call {
		record.Status = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
		return func(ctx context.Context) error {
			return c.measured.visibility.RecordWorkflowExecutionClosed(ctx, &store.InternalRecordWorkflowExecutionClosedRequest{
				InternalVisibilityRequestBase: record, CloseTime: time.Now(), HistoryLength: 10, ExecutionDuration: time.Second,
			})
		}
	})},
	{Name: "upsert visibility record", setUp: onRecord(func(c *caller, record *store.InternalVisibilityRequestBase) call {
		return func(ctx context.Context) error {
			return c.measured.visibility.UpsertWorkflowExecution(ctx, &store.InternalUpsertWorkflowExecutionRequest{InternalVisibilityRequestBase: record})
		}
	})},
	{Name: "delete visibility record", setUp: onRecord(func(c *caller, record *store.InternalVisibilityRequestBase) call {
		return func(ctx context.Context) error {
			return c.measured.visibility.DeleteWorkflowExecution(ctx, &manager.VisibilityDeleteWorkflowExecutionRequest{
				NamespaceID: namespace.ID(record.NamespaceID), RunID: record.RunID, WorkflowID: record.WorkflowID, TaskID: record.TaskID,
			})
		}
	})},
	{Name: "get visibility record", setUp: onRecord(func(c *caller, record *store.InternalVisibilityRequestBase) call {
		return func(ctx context.Context) error {
			_, err := c.measured.visibility.GetWorkflowExecution(ctx, &manager.GetWorkflowExecutionRequest{
				NamespaceID: namespace.ID(record.NamespaceID), RunID: record.RunID, WorkflowID: record.WorkflowID,
			})
			return err
		}
	})},
	{Name: "list 20 workflows", setUp: onListed(func(c *caller, id namespace.ID) call {
		return func(ctx context.Context) error {
			response, err := c.measured.visibility.ListWorkflowExecutions(ctx, &manager.ListWorkflowExecutionsRequestV2{
				NamespaceID: id, Namespace: "bench", PageSize: 20, Query: "WorkflowType = '" + workflowType + "'",
			})
			if err == nil && len(response.Executions) != 20 {
				err = fmt.Errorf("listed %d workflows", len(response.Executions))
			}
			return err
		}
	})},
	{Name: "count workflows", setUp: onListed(func(c *caller, id namespace.ID) call {
		return func(ctx context.Context) error {
			response, err := c.measured.visibility.CountWorkflowExecutions(ctx, &manager.CountWorkflowExecutionsRequest{
				NamespaceID: id, Namespace: "bench", Query: "WorkflowType = '" + workflowType + "'",
			})
			if err == nil && response.Count != listed {
				err = fmt.Errorf("counted %d workflows", response.Count)
			}
			return err
		}
	})},
}

// onRecord prepares a new visibility record for each call.
func onRecord(newCall func(*caller, *store.InternalVisibilityRequestBase) call) func(context.Context, *caller) (prepare, error) {
	return func(_ context.Context, c *caller) (prepare, error) {
		return func(ctx context.Context) (call, error) {
			record, err := c.newRecord(c.namespaceID)
			if err != nil {
				return nil, err
			}
			if err := c.direct.visibility.RecordWorkflowExecutionStarted(ctx, started(record)); err != nil {
				return nil, err
			}
			later := *record
			later.TaskID = c.nextID()
			return newCall(c, &later), nil
		}, nil
	}
}

// onListed sets up a namespace of so many records that no call changes.
func onListed(newCall func(*caller, namespace.ID) call) func(context.Context, *caller) (prepare, error) {
	return func(ctx context.Context, c *caller) (prepare, error) {
		id := uuid.NewString()
		for range listed {
			record, err := c.newRecord(id)
			if err != nil {
				return nil, err
			}
			if err := c.direct.visibility.RecordWorkflowExecutionStarted(ctx, started(record)); err != nil {
				return nil, err
			}
		}
		return func(context.Context) (call, error) { return newCall(c, namespace.ID(id)), nil }, nil
	}
}

func started(record *store.InternalVisibilityRequestBase) *store.InternalRecordWorkflowExecutionStartedRequest {
	return &store.InternalRecordWorkflowExecutionStartedRequest{InternalVisibilityRequestBase: record}
}

func (c *caller) newRecord(namespaceID string) (*store.InternalVisibilityRequestBase, error) {
	types := searchattribute.TestNameTypeMap()
	attributes, err := searchattribute.Encode(map[string]any{"Keyword01": "value", "Int01": 1}, &types)
	if err != nil {
		return nil, err
	}
	return &store.InternalVisibilityRequestBase{
		NamespaceID:      namespaceID,
		WorkflowID:       uuid.NewString(),
		RunID:            uuid.NewString(),
		WorkflowTypeName: workflowType,
		StartTime:        time.Now(),
		ExecutionTime:    time.Now(),
		Status:           enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
		TaskID:           c.nextID(),
		Memo:             &commonpb.DataBlob{EncodingType: enumspb.ENCODING_TYPE_PROTO3, Data: newPayloads().Payloads[0].Data},
		TaskQueue:        c.taskQueue.Name,
		SearchAttributes: attributes,
	}, nil
}
