package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/db"
)

// Event is something that happened to a job, to a workflow, to a worker, or to a circuit breaker.
type Event struct {
	At         time.Time       `json:"at" doc:"When it happened, by the database's clock."`
	Event      string          `json:"event" doc:"What: enqueued, started, completed, cancelled, dead, failed, timed_out, lost, snoozed, released, retried, edited, cancel_requested, …; workflow_submitted, workflow_completed, workflow_failed, workflow_cancelled, workflow_signal, …; worker_active, worker_paused, worker_draining, worker_lost, worker_removed; breaker_opened, breaker_half_opened, breaker_closed, breaker_recovered, breaker_pinned, …" example:"completed"`
	JobID      ID              `json:"job_id,omitempty" doc:"To which job." example:"4711"`
	Queue      string          `json:"queue,omitempty" doc:"Its queue." example:"mail"`
	Kind       string          `json:"kind,omitempty" doc:"Its kind." example:"send_receipt"`
	Attempt    int             `json:"attempt,omitempty" doc:"Attempts made by then."`
	Worker     string          `json:"worker,omitempty" doc:"The worker that had it, or to which it happened." example:"mailer-1"`
	Breaker    string          `json:"breaker,omitempty" doc:"The circuit breaker to which it happened." example:"stripe"`
	By         string          `json:"by,omitempty" doc:"Who did that, if somebody did and said so."`
	Reason     string          `json:"reason,omitempty" doc:"Why it happened to the circuit breaker, in words."`
	WorkflowID ID              `json:"workflow_id,omitempty" doc:"The workflow that it happened to, or that the job is a step of." example:"4700"`
	Step       string          `json:"step,omitempty" doc:"The job's name in that workflow; of workflow_signal the name of the signal."`
	RunAt      *time.Time      `json:"run_at,omitempty" doc:"When it becomes available, where it was scheduled."`
	Error      json.RawMessage `json:"error,omitempty" doc:"Of a failed attempt: {message, type, stack}."`

	// Position is where to resume after this event.
	Position string `json:"-"`
	// Text is the event as JSON, made once for all listeners.
	Text json.RawMessage `json:"-"`

	number int64 // of this node's feed
}

// eventKey tells events apart.
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
	Queue, Kind string
	JobID       ID
	WorkflowID  ID
	Events      []string
}

func (f *EventFilter) passes(ev *Event) bool {
	if f.Queue != "" && f.Queue != ev.Queue || f.Kind != "" && f.Kind != ev.Kind || f.JobID != 0 && f.JobID != ev.JobID || f.WorkflowID != 0 && f.WorkflowID != ev.WorkflowID {
		return false
	}
	for _, name := range f.Events {
		if name == ev.Event {
			return true
		}
	}
	return len(f.Events) == 0
}

// Listener receives events. Events is closed when it lags too far behind, or the node shuts down: resume from the last position.
type Listener struct {
	Events <-chan *Event

	events chan *Event
	filter EventFilter
	ready  chan struct{} // closed when whatever commits from now on will be told
	joined bool
	told   map[eventKey]bool // what a replay told already,
	until  time.Time         // and how long that may come again
}

// positionOf is not as far back as the oldest transaction that writes, if that has been open for long.
func positionOf(s db.SettledRow) string {
	at := s.SettledAt
	if oldest := s.Now.Add(-feedReplay / 4); at.Before(oldest) {
		at = oldest
	}
	return fmt.Sprintf("%d-%d", at.UnixMicro(), s.Seq)
}

func eventFromRow(r db.EventsSinceRow) *Event {
	ev := &Event{
		At: r.At.UTC(), Event: r.Event, JobID: ID(r.JobID), Queue: r.Queue, Kind: r.Kind, Attempt: int(r.Attempt), Worker: value(r.Worker), Error: r.Error,
		WorkflowID: ID(r.WorkflowID), Step: r.Step,
	}
	if r.RunAt != nil {
		at := r.RunAt.UTC()
		ev.RunAt = &at
	}
	ev.Text, _ = json.Marshal(ev) // its one RawMessage is the database's
	return ev
}

// Listen tells of the events that pass a filter, from now on, or from a position: that of an event told before, by any node, up to an hour ago.
// Around such a place an event may be told twice. Call leave when it is of no more interest. Errors: InvalidArgument, Unavailable.
func (e *Engine) Listen(ctx context.Context, filter EventFilter, position string) (l *Listener, leave func(), err error) {
	from, err := readPosition(position)
	if err != nil {
		return nil, nil, err
	}
	f := e.feed
	events := make(chan *Event, feedBuffer)
	l = &Listener{Events: events, events: events, filter: filter, ready: make(chan struct{})}
	f.mu.Lock()
	if f.drained {
		f.mu.Unlock()
		return nil, nil, shuttingDown()
	}
	resumed := from != nil && f.resume(l, from)
	f.listeners[l] = struct{}{}
	f.mu.Unlock()
	leave = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drop(l)
	}
	if resumed {
		return l, leave, nil
	}
	f.soon.Raise()
	select {
	case <-l.ready:
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
	if from != nil {
		if err := f.replay(ctx, l, from); err != nil {
			leave()
			return nil, nil, err
		}
	}
	return l, leave, nil
}

type place struct {
	settled time.Time
	seq     int64
	tag     string
	number  int64
}

func readPosition(text string) (*place, error) {
	if text == "" {
		return nil, nil
	}
	var at int64
	p := &place{}
	if n, err := fmt.Sscanf(strings.ReplaceAll(text, "-", " "), "%d %d %8s %d", &at, &p.seq, &p.tag, &p.number); err != nil || n != 4 {
		return nil, invalid("Last-Event-ID", "must be the id of an event")
	}
	p.settled = time.UnixMicro(at)
	return p, nil
}

// resume goes on after an event of this node that the ring still reaches back to. Call it with mu held.
func (f *feed) resume(l *Listener, from *place) bool {
	if from.tag != f.tag || len(f.ring) == 0 || f.ring[0].number > from.number+1 {
		return false
	}
	for _, ev := range f.ring {
		if ev.number > from.number && l.filter.passes(ev) {
			l.events <- ev // there is room for the whole ring
		}
	}
	l.joined = true
	close(l.ready)
	return true
}

// replay tells what has happened since, from the database, before what is new.
func (f *feed) replay(ctx context.Context, l *Listener, from *place) error {
	if f.e.clock.Since(from.settled) > feedReplay {
		return invalid("Last-Event-ID", "is of more than an hour ago: listen without it, and look at the jobs themselves")
	}
	rows, err := f.e.q.EventsSince(ctx, db.EventsSinceParams{AfterAt: from.settled, AfterID: from.seq, Most: feedMost + 1})
	if err != nil {
		return fromDB("replaying events", err)
	}
	if len(rows) > feedMost {
		return invalid("Last-Event-ID", "is of before more events than are told again: listen without it, and look at the jobs themselves")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.listeners[l]; !there {
		return shuttingDown()
	}
	// What came in the meantime is told after the replay.
	var fresh []*Event
	for len(l.events) > 0 {
		fresh = append(fresh, <-l.events)
	}
	l.told = map[eventKey]bool{}
	l.until = f.e.clock.Now().Add(2 * feedWindow)
	position := fmt.Sprintf("%d-%d-replayed-0", from.settled.UnixMicro(), from.seq) // of all of them: the replay may break off
	told := make([]*Event, 0, len(rows)+len(fresh))
	for _, r := range rows {
		ev := eventFromRow(r)
		ev.Position = position
		l.told[ev.key()] = true
		if l.filter.passes(ev) {
			told = append(told, ev)
		}
	}
	for _, ev := range fresh {
		if !l.told[ev.key()] {
			told = append(told, ev)
		}
	}
	delete(f.listeners, l)
	l.events = make(chan *Event, len(told)+feedBuffer)
	l.Events = l.events
	for _, ev := range told {
		l.events <- ev
	}
	f.listeners[l] = struct{}{}
	return nil
}
