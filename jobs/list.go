package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// Page is one page of a list of jobs.
type Page struct {
	Jobs []Job
	Next ID // where the next page begins; 0: there is none
	// SearchedBackTo is set if the search ran out of time: jobs enqueued before then (after then, of the oldest) have not been searched yet.
	SearchedBackTo *time.Time
	// EncryptedSkipped says that a search for text did not see into args and errors that are encrypted.
	EncryptedSkipped bool
}

// List returns up to limit jobs that match a filter, newest first, with ids below before (0: from the newest). A search that takes too long ends
// with the jobs found so far, perhaps none, and the place to continue from; so does a page that would be too long (see WithPage).
func (e *Engine) List(ctx context.Context, f Filter, before ID, limit int) (Page, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return e.list(ctx, f, before, false, limit)
}

// Oldest is List from the oldest on, with ids above after.
func (e *Engine) Oldest(ctx context.Context, f Filter, after ID, limit int) (Page, error) {
	return e.list(ctx, f, after, true, limit)
}

func (e *Engine) list(ctx context.Context, f Filter, start ID, rising bool, limit int) (Page, error) {
	f, err := f.withPreset(ctx, e)
	if err != nil {
		return Page{}, err
	}
	filter, err := f.encode(ctx)
	if err != nil {
		return Page{}, err
	}
	if err := e.checkFilter(ctx, filter); err != nil {
		return Page{}, err
	}
	page, stride := Page{Jobs: []Job{}, EncryptedSkipped: f.skipsEncrypted(ctx, e.vault)}, newStride(f.Text != "" || f.Error != "")
	stride.size = min(stride.size, 4*limit) // where most match, the first step has a page
	first := start
	for began := e.clock.Now(); ; {
		size, from := stride.size, e.clock.Now()
		rows, step, err := e.listStep(ctx, filter, start, rising, size, limit-len(page.Jobs))
		if stride.failed(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return Page{}, fromDB("listing jobs", err)
		}
		stride.took(e.clock.Since(from))
		for _, r := range rows {
			job, err := e.jobFromRow(ctx, r)
			if err != nil {
				return Page{}, err
			}
			page.Jobs = append(page.Jobs, job)
		}
		last := ID(step.Reached)
		switch n := len(page.Jobs); {
		case n == limit || n > 0 && IsCut(ctx):
			page.Next = page.Jobs[n-1].ID
			return page, nil
		case last == 0:
			return page, nil
		}
		start = last
		took := e.clock.Since(began)
		if took > listFor || step.IsOpen && took > openFor && max(first-last, last-first) > openLeast {
			page.Next = start
			if rising {
				last++
			}
			page.SearchedBackTo, err = e.createdFrom(ctx, last)
			return page, err
		}
	}
}

// createdFrom is when the first job was enqueued whose id is this one or a higher one.
func (e *Engine) createdFrom(ctx context.Context, id ID) (*time.Time, error) {
	at, err := e.reads.CreatedFrom(ctx, int64(id))
	return utc(&at), fromDB("listing jobs", err)
}

// checkFilter returns InvalidArgument, with the place, unless SQL takes a filter.
func (e *Engine) checkFilter(ctx context.Context, filter json.RawMessage) error {
	problem, err := e.reads.FilterProblem(ctx, filter)
	if err != nil {
		return fromDB("checking a filter", err)
	}
	if len(problem) == 2 {
		return &Error{Code: InvalidArgument, Field: problem[0], Message: strings.TrimPrefix(problem[0], "filter.") + " " + problem[1]}
	}
	return nil
}

// listStep looks at the next candidates.
func (e *Engine) listStep(ctx context.Context, filter json.RawMessage, start ID, rising bool, size, limit int) (rows []db.WeirJobs, step db.SearchStepRow, err error) {
	step, err = e.reads.SearchStep(ctx, db.SearchStepParams{Filter: filter, Start: int64(start), MaxIds: int32(size), Rising: rising})
	if err != nil || len(step.Ids) == 0 {
		return nil, step, err
	}
	rows, err = e.reads.ListJobs(ctx, db.ListJobsParams{Ids: step.Ids, Filter: filter, MaxJobs: int32(limit), Rising: rising})
	return rows, step, err
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

func (e *Engine) jobFromRow(ctx context.Context, r db.WeirJobs) (Job, error) {
	v := e.vault
	j := Job{
		ID: ID(r.ID), Kind: r.Kind, Queue: r.Queue, Args: v.shown(ctx, argsField, r.Args), Priority: int(r.Priority), HeldReason: value(r.HeldReason), Attempt: int(r.Attempt),
		MaxAttempts: int(r.MaxAttempts), TimeoutSeconds: int(r.TimeoutSeconds), CreatedAt: r.CreatedAt.UTC(), RunAt: utc(r.RunAt), StartedAt: utc(r.StartedAt),
		FinishedAt: utc(r.FinishedAt), Worker: value(r.Worker), LeaseExpiresAt: utc(r.LeaseExpiresAt), CancelRequest: r.CancelRequestedAt != nil,
		Result: v.shown(ctx, resultField, r.Result), Error: v.decryptError(ctx, r.Error), Errors: []AttemptError{}, Tags: r.Tags, Metadata: r.Metadata, UniqueKey: value(r.UniqueKey), Tenant: value(r.Tenant),
		ConcurrencyKey: value(r.ConcurrencyKey), Breaker: shownBreaker(ctx, value(r.Breaker)), WorkflowID: ID(value(r.WorkflowID)), Step: value(r.Step),
		ParentID: ID(value(r.ParentID)), ResultTTL: int(value(r.ResultTtlSeconds)), ResultUntil: utc(r.ResultUntil), Redrives: int(r.Redrives), RedrivenBy: value(r.RedrivenBy), Schedule: value(r.Schedule), Slot: utc(r.Slot), ReplayOf: ID(value(r.ReplayOf)),
	}
	if r.State != nil {
		j.State = State(*r.State)
	}
	for _, part := range []struct {
		text json.RawMessage
		into any
	}{{v.decryptErrors(ctx, r.Errors), &j.Errors}, {r.Progress, &j.Progress}, {r.Retry, &j.Retry}} {
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
