package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// OperationKind is what an operation does.
type OperationKind string

// The kinds of operations.
const (
	RedriveDead      OperationKind = "redrive_dead"
	PurgeDead        OperationKind = "purge_dead"
	BulkCancel       OperationKind = "bulk_cancel"
	BulkRetry        OperationKind = "bulk_retry"
	BulkReprioritise OperationKind = "bulk_reprioritise"
	ExportJobs       OperationKind = "export_jobs"
)

// OperationState is the progress of an operation.
type OperationState string

// OperationDryRun is the state of an operation that only counts.
const OperationDryRun OperationState = "dry_run"

// Operation is background work on many jobs, in batches.
type Operation struct {
	ID            ID                `json:"id,omitempty" doc:"Its id; absent in the answer to a dry run."`
	Kind          OperationKind     `json:"kind" enum:"redrive_dead,purge_dead,bulk_cancel,bulk_retry,bulk_reprioritise,export_jobs" doc:"What it does."`
	State         OperationState    `json:"state" enum:"dry_run,pending,running,completed,cancelled" doc:"Its progress; dry_run: nothing is stored or changed."`
	Filter        json.RawMessage   `json:"filter" doc:"Which dead letters, of those that died before created_at, or which jobs, of those enqueued before."`
	Options       *OperationOptions `json:"options,omitempty" doc:"Further options of an operation on jobs."`
	KeepAttempts  bool              `json:"keep_attempts,omitempty" doc:"For a redrive: earlier attempts count."`
	By            string            `json:"by,omitempty" doc:"Who started it, if that was given."`
	RatePerSecond float64           `json:"rate_per_second,omitempty" doc:"The highest rate per second; absent: no limit."`
	Total         int64             `json:"total" doc:"How many jobs match, counted when it started. If total_exact is false, counting took more than two seconds and at least this many match: total grows with done, and is exact at the end."`
	TotalExact    bool              `json:"total_exact" doc:"Whether total is exact."`
	Done          int64             `json:"done" doc:"How many are done."`
	Failed        int64             `json:"failed" doc:"At its end: how many it no longer found, because another session took them."`
	CreatedAt     time.Time         `json:"created_at" doc:"When it was started."`
	StartedAt     *time.Time        `json:"started_at,omitempty" doc:"When its first batch began."`
	FinishedAt    *time.Time        `json:"finished_at,omitempty" doc:"When it was completed or cancelled."`
}

// OperationOptions are the options of operations on jobs besides their filter.
type OperationOptions struct {
	Priority      int    `json:"priority,omitempty" doc:"For bulk_reprioritise: the new priority."`
	ResetAttempts bool   `json:"reset_attempts,omitempty" doc:"For bulk_retry: attempts are counted from 0."`
	Format        string `json:"format,omitempty" doc:"For export_jobs: ndjson or csv."`
	Limit         int    `json:"limit,omitempty" doc:"For export_jobs: the most jobs to export."`
}

// OperationRequest is what StartOperation does, and to which dead letters or jobs.
type OperationRequest struct {
	Kind          OperationKind
	Letters       DeadFilter // of redrive_dead and purge_dead
	Jobs          Filter     // of the others
	Options       OperationOptions
	KeepAttempts  bool
	By            string  // up to 200 characters
	RatePerSecond float64 // 0: no limit
	DryRun        bool    // only count
}

// OperationFilter chooses operations for a list. A zero value does not restrict it.
type OperationFilter struct {
	Kind  OperationKind
	State OperationState
}

const operationBatch = 500 // jobs of one transaction of an operation

// StartOperation starts work on all dead letters or jobs that match a filter, or with DryRun only counts them. A chore runs it. Errors: InvalidArgument, PresetNotFound.
func (e *Engine) StartOperation(ctx context.Context, r OperationRequest) (Operation, error) {
	var err error
	if r.Jobs, err = r.Jobs.withPreset(ctx, e); err != nil {
		return Operation{}, err
	}
	filter, err := r.Jobs.encode(ctx)
	if r.Kind == RedriveDead || r.Kind == PurgeDead {
		filter, err = r.Letters.encode(ctx)
	}
	if err != nil {
		return Operation{}, err
	}
	options, err := json.Marshal(r.Options)
	if err != nil {
		return Operation{}, fmt.Errorf("encoding options: %w", err)
	}
	if r.DryRun {
		counted, err := e.countFor(ctx, r, filter, options)
		if err != nil {
			return Operation{}, err
		}
		filter, err = r.asked()
		return Operation{
			Kind: r.Kind, State: OperationDryRun, Filter: filter, Options: optionsOf(options), KeepAttempts: r.KeepAttempts, By: r.By, RatePerSecond: r.RatePerSecond,
			Total: counted.Total, TotalExact: counted.Exact, CreatedAt: counted.Now.UTC(),
		}, err
	}
	id, err := e.changes.StartOperation(ctx, db.StartOperationParams{
		Kind: string(r.Kind), Filter: filter, RatePerSecond: nonZero(r.RatePerSecond), KeepAttempts: r.KeepAttempts, By: nonZero(r.By), Options: options,
	})
	if err != nil {
		return Operation{}, fromDB("starting an operation", err)
	}
	return e.Operation(ctx, ID(id))
}

// asked is the filter as the caller gave it.
func (r OperationRequest) asked() (json.RawMessage, error) {
	if r.Kind == RedriveDead || r.Kind == PurgeDead {
		return r.Letters.encode(context.Background())
	}
	return r.Jobs.encode(context.Background())
}

// countFor counts the dead letters or jobs that an operation would cover. It counts jobs for two seconds; after that the count is not exact.
func (e *Engine) countFor(ctx context.Context, r OperationRequest, filter, options json.RawMessage) (db.CountFilteredJobsRow, error) {
	if r.Kind == RedriveDead || r.Kind == PurgeDead {
		counted, err := e.reads.CountDead(ctx, filter)
		return db.CountFilteredJobsRow{Total: counted.Total, Exact: true, Now: counted.Now}, fromDB("counting dead letters", err)
	}
	problem, err := e.q.OptionsProblem(ctx, db.OptionsProblemParams{Kind: string(r.Kind), Filter: filter, Options: options})
	if err != nil {
		return db.CountFilteredJobsRow{}, fromDB("checking an operation", err)
	}
	if len(problem) == 2 {
		return db.CountFilteredJobsRow{}, invalid(problem[0], problem[1])
	}
	counted, err := e.reads.CountFilteredJobs(ctx, db.CountFilteredJobsParams{Filter: filter, Kind: string(r.Kind)})
	if limit := int64(r.Options.Limit); limit > 0 && counted.Total >= limit {
		counted.Total, counted.Exact = limit, true
	}
	return counted, fromDB("counting jobs", err)
}

func optionsOf(text json.RawMessage) *OperationOptions {
	var options OperationOptions
	if json.Unmarshal(text, &options) != nil || options == (OperationOptions{}) {
		return nil
	}
	return &options
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
	if p := access.From(ctx); p != nil {
		params.Tenant = nonZero(p.Tenant)
		if p.Limited() { // other keys of its tenant may have other queues
			params.Principal = &p.ID
		}
	}
	rows, err := e.reads.ListOperations(ctx, params)
	if err != nil {
		return nil, fromDB("listing operations", err)
	}
	operations := make([]Operation, len(rows))
	for i, r := range rows {
		operations[i] = Operation{
			ID: ID(r.ID), Kind: OperationKind(r.Kind), State: OperationState(r.State), KeepAttempts: r.KeepAttempts, By: value(r.RequestedBy), RatePerSecond: value(r.RatePerSecond),
			Total: r.Total, TotalExact: r.TotalExact, Done: r.Done, Failed: r.Failed, CreatedAt: r.CreatedAt.UTC(), StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt),
			Filter: r.Filter, Options: optionsOf(r.Options),
		}
	}
	return operations, nil
}

// CancelOperation ends an operation; what it did stays done. Errors: OperationNotFound, OperationEnded.
func (e *Engine) CancelOperation(ctx context.Context, id ID) (Operation, error) {
	if _, err := e.Operation(ctx, id); err != nil {
		return Operation{}, err
	}
	if err := e.changes.CancelOperation(ctx, int64(id)); err != nil {
		return Operation{}, fromDB("cancelling an operation", err)
	}
	return e.Operation(ctx, id)
}

// IdleOperations returns unfinished operations without an owner: they have not started, or the node that ran them is gone.
func (e *Engine) IdleOperations(ctx context.Context) ([]ID, error) {
	rows, err := e.loops.IdleOperations(ctx)
	if err != nil {
		return nil, fromDB("finding idle operations", err)
	}
	ids := make([]ID, len(rows))
	for i, r := range rows {
		ids[i] = ID(r)
	}
	return ids, nil
}

// RunOperation runs the next batch of an operation. over: the caller is done with it; otherwise wait is the time before the next batch.
func (e *Engine) RunOperation(ctx context.Context, id ID) (over bool, wait time.Duration, err error) {
	row, err := e.q.RunOperation(ctx, db.RunOperationParams{OperationID: int64(id), Most: operationBatch})
	if err != nil {
		return false, 0, fromDB("running an operation", err)
	}
	return row.Over, seconds(row.WaitSeconds), nil
}
