package jobs

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// Event is something that happened to a job, a workflow, a worker or a circuit breaker.
type Event struct {
	At         time.Time       `json:"at" doc:"When it happened, by the database's clock."`
	Event      string          `json:"event" doc:"What happened: enqueued, started, completed, cancelled, dead, failed, timed_out, lost, snoozed, released, retried, edited, cancel_requested, …; workflow_submitted, workflow_completed, workflow_failed, workflow_cancelled, workflow_signal, …; worker_active, worker_paused, worker_draining, worker_lost, worker_removed; breaker_opened, breaker_half_opened, breaker_closed, breaker_recovered, breaker_pinned, …" example:"completed"`
	JobID      ID              `json:"job_id,omitempty" doc:"The job." example:"4711"`
	Queue      string          `json:"queue,omitempty" doc:"The job's queue." example:"mail"`
	Kind       string          `json:"kind,omitempty" doc:"The job's kind." example:"send_receipt"`
	Attempt    int             `json:"attempt,omitempty" doc:"Attempts made by then."`
	Worker     string          `json:"worker,omitempty" doc:"The worker that ran the job, or the worker that the event is about." example:"mailer-1"`
	Breaker    string          `json:"breaker,omitempty" doc:"The circuit breaker." example:"stripe"`
	By         string          `json:"by,omitempty" doc:"Who did it, if a person did and gave a name."`
	Reason     string          `json:"reason,omitempty" doc:"Why the circuit breaker changed."`
	WorkflowID ID              `json:"workflow_id,omitempty" doc:"The workflow, or the one that the job is a step of." example:"4700"`
	Step       string          `json:"step,omitempty" doc:"The job's name in that workflow; with workflow_signal the name of the signal."`
	RunAt      *time.Time      `json:"run_at,omitempty" doc:"When the job becomes available, if it was scheduled."`
	Error      json.RawMessage `json:"error,omitempty" doc:"The error of a failed attempt: {message, type, stack}."`

	// Position is where to resume after this event.
	Position string `json:"-"`
	// Text is the event as JSON, encoded once for all listeners.
	Text json.RawMessage `json:"-"`

	// ownText is what listeners of the tenant of a circuit breaker get in its place.
	ownText json.RawMessage

	tenant string
	number int64 // its place in this node's feed; 0: it was replayed
}

// eventKey identifies an event.
type eventKey struct {
	id      ID
	event   string
	attempt int
	at      int64 // in microseconds
}

func (ev *Event) key() eventKey {
	id := ev.JobID
	if id == 0 {
		id = ev.WorkflowID // no job has the same
	}
	return eventKey{id, ev.Event, ev.Attempt, ev.At.UnixMicro()}
}

// EventFilter chooses events. An empty field chooses all.
type EventFilter struct {
	Queue      string   `json:"queue,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	JobID      ID       `json:"job_id,omitempty"`
	WorkflowID ID       `json:"workflow_id,omitempty"`
	Events     []string `json:"events,omitempty"`

	// bound is who listens, if a tenant or queues bind them.
	bound *access.Principal
}

func (f *EventFilter) passes(ev *Event) bool {
	return (f.Queue == "" || f.Queue == ev.Queue) && (f.Kind == "" || f.Kind == ev.Kind) &&
		(f.JobID == 0 || f.JobID == ev.JobID) && (f.WorkflowID == 0 || f.WorkflowID == ev.WorkflowID) &&
		(f.bound == nil || f.own(ev)) && (len(f.Events) == 0 || slices.Contains(f.Events, ev.Event))
}

// own says whether an event is of the caller's tenant and queues. Only events of jobs have a queue, and those of workers and
// circuit breakers that are no tenant's have no tenant.
func (f *EventFilter) own(ev *Event) bool {
	return f.bound.MayUse(ev.Queue) && (f.bound.Tenant == "" || f.bound.Tenant == ev.tenant) && (ev.Queue != "" || !f.bound.Limited())
}

// Said is the event as the caller may read it.
func (ev *Event) Said(ctx context.Context) json.RawMessage {
	if p := access.From(ctx); p != nil && p.Tenant != "" && ev.ownText != nil {
		return ev.ownText
	}
	return ev.Text
}

func (e *Engine) eventFromRow(ctx context.Context, r db.EventsSinceRow) *Event {
	ev := &Event{
		At: r.At.UTC(), Event: r.Event, JobID: ID(r.JobID), Queue: r.Queue, Kind: r.Kind, Attempt: int(r.Attempt), Worker: value(r.Worker), Error: e.vault.decryptError(ctx, r.Error),
		WorkflowID: ID(r.WorkflowID), Step: r.Step, tenant: r.Tenant,
	}
	if r.RunAt != nil {
		at := r.RunAt.UTC()
		ev.RunAt = &at
	}
	ev.Text, _ = json.Marshal(ev) // its one RawMessage is the database's
	return ev
}
