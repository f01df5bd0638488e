package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// Filter chooses jobs. A zero value does not restrict it.
type Filter struct {
	State          State      `json:"state,omitempty" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Only jobs in this state."`
	Queue          string     `json:"queue,omitempty" maxLength:"128" doc:"Only jobs of this queue."`
	Kind           string     `json:"kind,omitempty" maxLength:"200" doc:"Only jobs of this kind."`
	Tenant         string     `json:"tenant,omitempty" maxLength:"200" doc:"Only jobs of this tenant."`
	Tag            string     `json:"tag,omitempty" maxLength:"200" doc:"Only jobs with this tag."`
	Worker         string     `json:"worker,omitempty" maxLength:"200" doc:"Only jobs that this worker has or had last."`
	Parent         ID         `json:"parent_id,omitempty" doc:"Only jobs that belong to this one."`
	Workflow       ID         `json:"workflow_id,omitempty" doc:"Only steps of this workflow."`
	Priority       int        `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"Only jobs of this priority."`
	CreatedAfter   *time.Time `json:"created_after,omitempty" doc:"Only jobs enqueued then or later."`
	CreatedBefore  *time.Time `json:"created_before,omitempty" doc:"Only jobs enqueued earlier."`
	FinishedAfter  *time.Time `json:"finished_after,omitempty" doc:"Only jobs that ended then or later."`
	FinishedBefore *time.Time `json:"finished_before,omitempty" doc:"Only jobs that ended earlier."`
	MinAttempts    int        `json:"min_attempts,omitempty" minimum:"1" maximum:"100" doc:"Only jobs with at least this many attempts."`
	HasError       *bool      `json:"has_error,omitempty" doc:"Only jobs with a failed attempt (true), or without one (false)."`
	Text           string     `json:"q,omitempty" maxLength:"200" doc:"Only jobs with this text in their kind, args or errors, whatever its case."`
}

// Page is one page of a list of jobs, newest first.
type Page struct {
	Jobs []Job
	Next ID // where the next page begins; 0: there is none
	// SearchedBackTo is set if the search ran out of time: jobs enqueued before then have not been searched yet.
	SearchedBackTo *time.Time
}

// List returns up to limit jobs that match a filter, newest first, with ids below before (0: from the newest). A search that takes too long ends
// with the jobs found so far, perhaps none, and the place to continue from; so does a page that would be too long (see WithPage).
func (e *Engine) List(ctx context.Context, f Filter, before ID, limit int) (Page, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	filter, err := f.encode(ctx)
	if err != nil {
		return Page{}, err
	}
	page, stride := Page{Jobs: []Job{}}, newStride(f.Text)
	for began := e.clock.Now(); ; {
		size, from := stride.size, e.clock.Now()
		rows, last, err := e.listStep(ctx, filter, before, size, limit-len(page.Jobs))
		if stride.failed(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return Page{}, fromDB("listing jobs", err)
		}
		stride.took(e.clock.Since(from))
		for _, r := range rows {
			job, err := jobFromRow(r)
			if err != nil {
				return Page{}, err
			}
			page.Jobs = append(page.Jobs, job)
		}
		switch n := len(page.Jobs); {
		case n == limit || n > 0 && IsCut(ctx):
			page.Next = page.Jobs[n-1].ID
			return page, nil
		case last == 0:
			return page, nil
		}
		before = last
		if e.clock.Since(began) > listFor {
			page.Next = before
			at, err := e.reads.JobCreatedAt(ctx, int64(before))
			if err != nil && !errors.Is(err, pgx.ErrNoRows) { // retention may just have dropped it
				return Page{}, fromDB("listing jobs", err)
			}
			if err == nil {
				page.SearchedBackTo = utc(&at)
			}
			return page, nil
		}
	}
}

// listStep looks at the next candidates. last is the last of them; 0: there are no more.
func (e *Engine) listStep(ctx context.Context, filter json.RawMessage, before ID, size, limit int) (rows []db.WeirJobs, last ID, err error) {
	ids, err := e.reads.NewestJobIDs(ctx, db.NewestJobIDsParams{Filter: filter, Before: int64(before), MaxIds: int32(size)})
	if err != nil || len(ids) == 0 {
		return nil, 0, err
	}
	rows, err = e.reads.ListJobs(ctx, db.ListJobsParams{Ids: ids, Filter: filter, MaxJobs: int32(limit)})
	if len(ids) == size {
		last = ID(ids[size-1])
	}
	return rows, last, err
}

// Children lists the jobs that belong to one. Errors: JobNotFound.
func (e *Engine) Children(ctx context.Context, parent, before ID, limit int) (Page, error) {
	exist, err := e.q.JobsThatExist(ctx, []int64{int64(parent)})
	if err != nil {
		return Page{}, fromDB("looking up a job", err)
	}
	if len(exist) == 0 {
		return Page{}, refusalOf(parent, false)
	}
	return e.List(ctx, Filter{Parent: parent}, before, limit)
}

// encode writes a filter as SQL takes it, with the bounds of the caller: PostgreSQL knows fewer offsets from UTC than RFC 3339.
func (f Filter) encode(ctx context.Context) (json.RawMessage, error) {
	if err := checkSearch(ctx, f.Text); err != nil {
		return nil, err
	}
	f.CreatedAfter, f.CreatedBefore, f.FinishedAfter, f.FinishedBefore = utc(f.CreatedAfter), utc(f.CreatedBefore), utc(f.FinishedAfter), utc(f.FinishedBefore)
	text, err := json.Marshal(struct {
		Filter
		Bounds *bounds `json:"bounds,omitempty"`
	}{f, boundsOf(ctx)})
	if err != nil {
		return nil, fmt.Errorf("encoding a filter: %w", err)
	}
	return text, nil
}

func jobFromRow(r db.WeirJobs) (Job, error) {
	j := Job{
		ID: ID(r.ID), Kind: r.Kind, Queue: r.Queue, Args: r.Args, Priority: int(r.Priority), HeldReason: value(r.HeldReason), Attempt: int(r.Attempt),
		MaxAttempts: int(r.MaxAttempts), TimeoutSeconds: int(r.TimeoutSeconds), CreatedAt: r.CreatedAt.UTC(), RunAt: utc(r.RunAt), StartedAt: utc(r.StartedAt),
		FinishedAt: utc(r.FinishedAt), Worker: value(r.Worker), LeaseExpiresAt: utc(r.LeaseExpiresAt), CancelRequest: r.CancelRequestedAt != nil,
		Result: r.Result, Error: r.Error, Errors: []AttemptError{}, Tags: r.Tags, Metadata: r.Metadata, UniqueKey: value(r.UniqueKey), Tenant: value(r.Tenant),
		ConcurrencyKey: value(r.ConcurrencyKey), Breaker: value(r.Breaker), WorkflowID: ID(value(r.WorkflowID)), Step: value(r.Step),
		ParentID: ID(value(r.ParentID)), ResultTTL: int(value(r.ResultTtlSeconds)), ResultUntil: utc(r.ResultUntil), Redrives: int(r.Redrives), RedrivenBy: value(r.RedrivenBy), Schedule: value(r.Schedule), Slot: utc(r.Slot),
	}
	if r.State != nil {
		j.State = State(*r.State)
	}
	for _, part := range []struct {
		text json.RawMessage
		into any
	}{{r.Errors, &j.Errors}, {r.Progress, &j.Progress}, {r.Retry, &j.Retry}} {
		if len(part.text) > 0 {
			if err := json.Unmarshal(part.text, part.into); err != nil {
				return Job{}, fmt.Errorf("reading job %d: %w", r.ID, err)
			}
		}
	}
	for i := range j.Errors {
		j.Errors[i].At, j.Errors[i].StartedAt = j.Errors[i].At.UTC(), j.Errors[i].StartedAt.UTC()
	}
	return j, nil
}

func notFoundOr(err error, id ID, doing string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return refusalOf(id, false)
	}
	return fromDB(doing, err)
}
