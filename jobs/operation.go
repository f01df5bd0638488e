package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/db"
)

// OperationKind is what an operation does.
type OperationKind string

// The kinds of operations.
const (
	RedriveDead OperationKind = "redrive_dead"
	PurgeDead   OperationKind = "purge_dead"
)

// OperationState is how far an operation is.
type OperationState string

// OperationDryRun is the state of an operation that is only thought of.
const OperationDryRun OperationState = "dry_run"

// Operation is work on many jobs that goes on in the background, in batches.
type Operation struct {
	ID            ID             `json:"id,omitempty" doc:"Names it; absent in the answer to a dry run."`
	Kind          OperationKind  `json:"kind" enum:"redrive_dead,purge_dead" doc:"What it does."`
	State         OperationState `json:"state" enum:"dry_run,pending,running,completed,cancelled" doc:"How far it is; dry_run: nothing is stored, and nothing is done."`
	Filter        DeadFilter     `json:"filter" doc:"Which dead letters, of those that died before created_at."`
	KeepAttempts  bool           `json:"keep_attempts,omitempty" doc:"Of a redrive: the attempts so far count."`
	By            string         `json:"by,omitempty" doc:"Who asked for it, if they said."`
	RatePerSecond float64        `json:"rate_per_second,omitempty" doc:"At most so many a second; absent: as fast as they can be done."`
	Total         int64          `json:"total" doc:"How many there were when it was asked for."`
	Done          int64          `json:"done" doc:"How many are done."`
	Failed        int64          `json:"failed" doc:"At its end: how many it did not find any more, because somebody else was quicker."`
	CreatedAt     time.Time      `json:"created_at" doc:"When it was asked for."`
	StartedAt     *time.Time     `json:"started_at,omitempty" doc:"When it began."`
	FinishedAt    *time.Time     `json:"finished_at,omitempty" doc:"When it was completed or cancelled."`
}

// OperationRequest is what StartOperation does, and to which dead letters.
type OperationRequest struct {
	Kind          OperationKind
	Filter        DeadFilter
	KeepAttempts  bool
	By            string  // up to 200 characters
	RatePerSecond float64 // 0: as fast as they can be done
	DryRun        bool    // only count
}

// OperationFilter chooses operations for a list. A zero value does not restrict it.
type OperationFilter struct {
	Kind  OperationKind
	State OperationState
}

const operationBatch = 500 // jobs that one transaction of an operation is about

// StartOperation asks for work on all dead letters that pass a filter, or with DryRun only counts them. The chores do it. Errors: InvalidArgument.
func (e *Engine) StartOperation(ctx context.Context, r OperationRequest) (Operation, error) {
	filter, err := json.Marshal(r.Filter)
	if err != nil {
		return Operation{}, fmt.Errorf("encoding a filter: %w", err)
	}
	if r.DryRun {
		total, err := e.q.CountDead(ctx, filter)
		return Operation{
			Kind: r.Kind, State: OperationDryRun, Filter: r.Filter, KeepAttempts: r.KeepAttempts, By: r.By, RatePerSecond: r.RatePerSecond, Total: total, CreatedAt: time.Now().UTC(),
		}, fromDB("counting dead letters", err)
	}
	id, err := e.q.StartOperation(ctx, db.StartOperationParams{
		Kind: string(r.Kind), Filter: filter, RatePerSecond: nonZero(r.RatePerSecond), KeepAttempts: r.KeepAttempts, By: nonZero(r.By),
	})
	if err != nil {
		return Operation{}, fromDB("starting an operation", err)
	}
	return e.Operation(ctx, ID(id))
}

// Operation returns one. Errors: OperationNotFound.
func (e *Engine) Operation(ctx context.Context, id ID) (Operation, error) {
	wanted := int64(id)
	found, err := e.operations(ctx, db.ListOperationsParams{ID: &wanted, Before: math.MaxInt64, MaxOperations: 1})
	if err != nil {
		return Operation{}, err
	}
	if len(found) == 0 {
		return Operation{}, &Error{Code: OperationNotFound, Message: "there is no operation " + id.String(), Hint: "Operations are kept for 30 days after their end."}
	}
	return found[0], nil
}

// Operations lists up to limit operations, newest first, with ids below before (0: from the newest).
func (e *Engine) Operations(ctx context.Context, f OperationFilter, before ID, limit int) ([]Operation, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return e.operations(ctx, db.ListOperationsParams{
		Before: int64(before), Kind: nonZero(string(f.Kind)), State: nonZero(string(f.State)), MaxOperations: int32(limit),
	})
}

func (e *Engine) operations(ctx context.Context, params db.ListOperationsParams) ([]Operation, error) {
	rows, err := e.q.ListOperations(ctx, params)
	if err != nil {
		return nil, fromDB("listing operations", err)
	}
	operations := make([]Operation, len(rows))
	for i, r := range rows {
		operations[i] = Operation{
			ID: ID(r.ID), Kind: OperationKind(r.Kind), State: OperationState(r.State), KeepAttempts: r.KeepAttempts, By: value(r.RequestedBy), RatePerSecond: value(r.RatePerSecond),
			Total: r.Total, Done: r.Done, Failed: r.Failed, CreatedAt: r.CreatedAt.UTC(), StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt),
		}
		if err := json.Unmarshal(r.Filter, &operations[i].Filter); err != nil {
			return nil, fmt.Errorf("reading operation %d: %w", r.ID, err)
		}
	}
	return operations, nil
}

// CancelOperation ends an operation; what it did stays done. Errors: OperationNotFound, OperationEnded.
func (e *Engine) CancelOperation(ctx context.Context, id ID) (Operation, error) {
	if err := e.q.CancelOperation(ctx, int64(id)); err != nil {
		return Operation{}, fromDB("cancelling an operation", err)
	}
	return e.Operation(ctx, id)
}

// IdleOperations names operations without an end that nobody is at: they have not begun, or whoever was at them is gone.
func (e *Engine) IdleOperations(ctx context.Context) ([]ID, error) {
	rows, err := e.loops.IdleOperations(ctx)
	if err != nil {
		return nil, fromDB("looking for operations", err)
	}
	ids := make([]ID, len(rows))
	for i, r := range rows {
		ids[i] = ID(r)
	}
	return ids, nil
}

// WorkOperation does the next batch of an operation. It says whether nothing is left for the caller to do, or how long to wait before the next batch.
func (e *Engine) WorkOperation(ctx context.Context, id ID) (over bool, wait time.Duration, err error) {
	row, err := e.q.WorkOperation(ctx, db.WorkOperationParams{OperationID: int64(id), Most: operationBatch})
	if err != nil {
		return false, 0, fromDB("working an operation", err)
	}
	return row.Over, time.Duration(row.WaitSeconds * float64(time.Second)), nil
}
