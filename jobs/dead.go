package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// DeadFilter chooses dead letters. A zero value does not restrict it.
type DeadFilter struct {
	Queue       string     `json:"queue,omitempty" minLength:"1" maxLength:"128" doc:"Only letters of this queue."`
	Kind        string     `json:"kind,omitempty" minLength:"1" maxLength:"200" doc:"Only letters of this kind."`
	Tenant      string     `json:"tenant,omitempty" minLength:"1" maxLength:"200" doc:"Only letters of this tenant."`
	Tag         string     `json:"tag,omitempty" minLength:"1" maxLength:"200" doc:"Only letters with this tag."`
	ErrorType   string     `json:"error_type,omitempty" minLength:"1" maxLength:"200" doc:"Only letters whose last error is of this type."`
	Text        string     `json:"q,omitempty" minLength:"1" maxLength:"200" doc:"Only letters with this text in their kind, args or errors, whatever its case."`
	DiedAfter   *time.Time `json:"died_after,omitempty" doc:"Only letters of jobs that died then or later."`
	DiedBefore  *time.Time `json:"died_before,omitempty" doc:"Only letters of jobs that died earlier."`
	MinAttempts int        `json:"min_attempts,omitempty" minimum:"1" maximum:"100" doc:"Only letters with at least this many attempts."`
}

// DeadLetter is a job that died and was neither run again nor purged.
type DeadLetter struct {
	Job
	DiedAt time.Time `json:"died_at" doc:"When it died."`
}

// DeadLetterHistory is a dead letter with its timeline.
type DeadLetterHistory struct {
	DeadLetter
	Timeline []Moment `json:"timeline" doc:"What happened to it, in order: each attempt, each time it was run again, and by whom; at most the first 1000 moments."`
}

// DeadPosition is a place in the list of dead letters: after this one. The zero value is before the newest.
type DeadPosition struct {
	DiedAt time.Time
	ID     ID
}

// DeadPage is one page of the list of dead letters, newest first.
type DeadPage struct {
	Letters []DeadLetter
	Next    *DeadPosition // where the next page begins; nil: there is none
	// SearchedBackTo is set if the search ran out of time: dead letters from before then have not been searched yet.
	SearchedBackTo *time.Time
	// EncryptedSkipped says that a search for text did not see into args and errors that are encrypted.
	EncryptedSkipped bool
}

// DeadLetters lists up to limit dead letters that match a filter, newest first, from a position. Like List it may return fewer, and a position to continue from.
func (e *Engine) DeadLetters(ctx context.Context, f DeadFilter, from DeadPosition, limit int) (DeadPage, error) {
	filter, err := f.encode(ctx)
	if err != nil {
		return DeadPage{}, err
	}
	if from.DiedAt.IsZero() {
		from = DeadPosition{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxInt64}
	}
	page, stride := DeadPage{Letters: []DeadLetter{}, EncryptedSkipped: f.skipsEncrypted(ctx, e.vault)}, newStride(f.Text != "")
	for began := e.clock.Now(); ; {
		size, since := stride.size, e.clock.Now()
		candidates, err := e.deadCandidates(ctx, f.Queue, from, size)
		if err != nil {
			return DeadPage{}, fromDB("listing dead letters", err)
		}
		if len(candidates) == 0 {
			return page, nil
		}
		found, next, err := e.readLetters(ctx, candidates, filter, limit-len(page.Letters))
		if stride.failed(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return DeadPage{}, fromDB("listing dead letters", err)
		}
		stride.took(e.clock.Since(since))
		page.Letters = append(page.Letters, found...)
		if next != nil {
			page.Next = next
			return page, nil
		}
		if len(candidates) < size {
			return page, nil
		}
		last := candidates[len(candidates)-1]
		from = DeadPosition{last.DiedAt, ID(last.JobID)}
		if e.clock.Since(began) > listFor {
			page.Next, page.SearchedBackTo = &from, utc(&last.DiedAt)
			return page, nil
		}
	}
}

// encode writes a filter as SQL takes it, with the bounds of the caller.
func (f DeadFilter) encode(ctx context.Context) (json.RawMessage, error) {
	if err := checkSearch(ctx, "q", f.Text != ""); err != nil {
		return nil, err
	}
	text, err := json.Marshal(struct {
		DeadFilter
		Bounds *bounds `json:"bounds,omitempty"`
	}{f, boundsOf(ctx)})
	if err != nil {
		return nil, fmt.Errorf("encoding a filter: %w", err)
	}
	return text, nil
}

func (f DeadFilter) skipsEncrypted(ctx context.Context, v *vault) bool {
	var queues []string
	if f.Queue != "" {
		queues = []string{f.Queue}
	}
	return f.Text != "" && v.skips(ctx, queues)
}

func (e *Engine) deadCandidates(ctx context.Context, queue string, from DeadPosition, size int) ([]db.ScanDeadLettersRow, error) {
	if queue == "" {
		return e.reads.ScanDeadLetters(ctx, db.ScanDeadLettersParams{Before: from.DiedAt, BeforeID: int64(from.ID), MaxIds: int32(size)})
	}
	rows, err := e.reads.ScanDeadLettersOfQueue(ctx, db.ScanDeadLettersOfQueueParams{Queue: queue, Before: from.DiedAt, BeforeID: int64(from.ID), MaxIds: int32(size)})
	same := make([]db.ScanDeadLettersRow, len(rows))
	for i, r := range rows {
		same[i] = db.ScanDeadLettersRow(r)
	}
	return same, err
}

// readLetters returns the first `limit` of the candidates that match a filter, and where to continue if there are more.
func (e *Engine) readLetters(ctx context.Context, candidates []db.ScanDeadLettersRow, filter json.RawMessage, limit int) ([]DeadLetter, *DeadPosition, error) {
	ids := make([]int64, len(candidates))
	for i, c := range candidates {
		ids[i] = c.JobID
	}
	passing, err := e.reads.FilterDeadLetterIDs(ctx, db.FilterDeadLetterIDsParams{JobIds: ids, Filter: filter})
	if err != nil {
		return nil, nil, err
	}
	chosen := slices.DeleteFunc(slices.Clone(candidates), func(c db.ScanDeadLettersRow) bool { return !slices.Contains(passing, c.JobID) })
	var next *DeadPosition
	if len(chosen) > limit {
		chosen = chosen[:limit]
		next = &DeadPosition{chosen[limit-1].DiedAt, ID(chosen[limit-1].JobID)}
	}
	ids = ids[:0]
	for _, c := range chosen {
		ids = append(ids, c.JobID)
	}
	rows, err := e.reads.GetDeadLetters(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	if n := len(rows); n > 0 && IsCut(ctx) {
		last := slices.Index(ids, rows[n-1].ID)
		chosen = chosen[:last+1]
		next = &DeadPosition{chosen[last].DiedAt, ID(chosen[last].JobID)}
	}
	var letters []DeadLetter
	for _, c := range chosen {
		at := slices.IndexFunc(rows, func(r db.WeirJobs) bool { return r.ID == c.JobID })
		if at < 0 || rows[at].State == nil || *rows[at].State != db.JobStateDead {
			continue // it was run again just now
		}
		job, err := e.jobFromRow(ctx, rows[at])
		if err != nil {
			return nil, nil, err
		}
		letters = append(letters, DeadLetter{job, c.DiedAt.UTC()})
	}
	return letters, next, nil
}

// DeadLetter returns a dead letter with its history. Errors: DeadLetterNotFound.
func (e *Engine) DeadLetter(ctx context.Context, id ID) (DeadLetterHistory, error) {
	diedAt, err := e.q.DiedAt(ctx, int64(id))
	if err != nil {
		return DeadLetterHistory{}, noLetterOr(err, id)
	}
	row, err := e.q.GetJob(ctx, int64(id))
	if err != nil {
		return DeadLetterHistory{}, noLetterOr(err, id)
	}
	job, err := e.jobFromRow(ctx, row)
	if err != nil {
		return DeadLetterHistory{}, err
	}
	timeline, err := e.Timeline(ctx, id, 0, 1000)
	if err != nil {
		return DeadLetterHistory{}, err
	}
	return DeadLetterHistory{DeadLetter{job, diedAt.UTC()}, timeline}, nil
}

func noLetter(id ID) error {
	return &Error{
		Code: DeadLetterNotFound, Message: "there is no dead letter " + id.String(),
		Hint: "It never died, or has since been redriven, purged or routed to another queue. The job shows its state.",
	}
}

func noLetterOr(err error, id ID) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return noLetter(id)
	}
	return fromDB("reading a dead letter", err)
}

// Redrive runs a dead letter again. Attempts are counted from 0, unless keepAttempts. Errors: DeadLetterNotFound, InvalidArgument.
func (e *Engine) Redrive(ctx context.Context, id ID, by string, keepAttempts bool) (Job, error) {
	if _, err := e.changes.RedriveJob(ctx, db.RedriveJobParams{JobID: int64(id), By: nonZero(by), KeepAttempts: keepAttempts}); err != nil {
		return Job{}, fromDB("redriving a dead letter", err)
	}
	return e.Job(ctx, id)
}

// PurgeDead removes a dead letter; its job stays dead. Errors: DeadLetterNotFound, InvalidArgument.
func (e *Engine) PurgeDead(ctx context.Context, id ID, by string) error {
	return fromDB("purging a dead letter", e.changes.PurgeDead(ctx, db.PurgeDeadParams{JobID: int64(id), By: nonZero(by)}))
}
