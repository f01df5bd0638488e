package weir

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Event is something that happened to a job, a workflow, a worker or a circuit breaker. docs/rest.md lists the events.
type Event struct {
	// At is when it happened, by the database's clock.
	At time.Time `json:"at"`
	// Event is what happened, such as completed.
	Event      string          `json:"event"`
	JobID      ID              `json:"job_id"`
	Queue      string          `json:"queue"`
	Kind       string          `json:"kind"`
	Attempt    int             `json:"attempt"`
	Worker     string          `json:"worker"`
	WorkflowID ID              `json:"workflow_id"`
	Step       string          `json:"step"`
	RunAt      *time.Time      `json:"run_at"`
	Error      json.RawMessage `json:"error"`

	// Position is where to resume after this event: see [EventFilter].
	Position string `json:"-"`
}

// EventFilter chooses events. A zero value does not restrict them.
type EventFilter struct {
	Queue, Kind string
	JobID       ID
	WorkflowID  ID
	Events      []string
	// After resumes after an event of up to an hour ago: its Position. Defaults to what happens from now on.
	After string
}

// Events are the events that pass a filter, as they happen, until ctx ends or the loop is left. If the stream breaks off, it goes on after the last
// event; around that place an event may come twice. An error is the last thing that comes: weir refuses the call.
//
// Over SQL it takes a login with access as a reader. There are no events of workers and circuit breakers then, and an event comes once, about half a
// second after it happened, or when the transactions that wrote before it have ended: see weir.events_after in docs/sql.md. A Position is of use over
// the way that it came from.
//
//	for event, err := range client.Events(ctx, weir.EventFilter{Queue: "mail"}) {
//		…
//	}
func (c *Client) Events(ctx context.Context, f EventFilter) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		wants := true
		err := c.t.events(ctx, f, func(e Event) bool {
			wants = yield(e, nil)
			return wants
		})
		if err != nil && wants && ctx.Err() == nil {
			yield(Event{}, err)
		}
	}
}
