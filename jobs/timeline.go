package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// Moment is something that happened to a job.
type Moment struct {
	At      time.Time       `json:"at" doc:"When it happened."`
	Event   string          `json:"event" doc:"What happened: enqueued, available, started, failed, timed_out, lost, snoozed, released, held, cancel_requested, edited, retried, completed, cancelled, dead, redriven, purged, routed or replayed. New ones may come." example:"failed"`
	Attempt int             `json:"attempt" doc:"Attempts made by then, the running one included."`
	Worker  string          `json:"worker,omitempty" doc:"The worker that had it."`
	Cause   string          `json:"cause,omitempty" doc:"What it follows from. Of available: enqueued, due (its time had come), or the event that made it so. Of dead and cancelled: how the last attempt ended."`
	RunAt   *time.Time      `json:"run_at,omitempty" doc:"When it was to become available, if it had to wait for a time from then on."`
	Detail  json.RawMessage `json:"detail,omitempty" doc:"More about it: of a failed attempt its error (message, type, stack), of an edit the changes, of a retry the earlier outcome, of a redrive or purge who did it, of a routed letter and of a replayed job the id of the copy, of the copy replay_of."`
}

// Timeline returns up to limit moments of a job's life in order, after the first `after`. Errors: JobNotFound.
func (e *Engine) Timeline(ctx context.Context, id ID, after, limit int) ([]Moment, error) {
	params := db.TimelineParams{JobID: int64(id), After: int64(after), MaxMoments: int32(limit)}
	if p := access.From(ctx); p != nil {
		params.Tenant = nonZero(p.Tenant)
	}
	rows, err := e.reads.Timeline(ctx, params)
	if err != nil {
		return nil, fromDB("reading a timeline", err)
	}
	moments := make([]Moment, len(rows))
	for i, r := range rows {
		moments[i] = Moment{At: r.At.UTC(), Event: r.Event, Attempt: int(r.Attempt), Worker: r.Worker, Cause: r.Cause, RunAt: utc(r.RunAt), Detail: e.vault.decryptError(ctx, r.Detail)}
	}
	return moments, nil
}
