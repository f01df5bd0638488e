package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	feedEvery  = 250 * time.Millisecond // while somebody listens
	feedIdle   = time.Hour              // while nobody does; the first who comes cuts it short
	feedWindow = 10 * time.Second       // how far back each look goes for transactions that commit late; for older ones one look goes further when they end
	feedKnown  = 200_000                // events that are remembered so as not to be told again
	feedRing   = 10_000                 // events kept to resume from without the database
	feedBuffer = 10_000                 // events that a listener may lag behind
	feedReplay = time.Hour              // how far back a listener may resume
	feedRoll   = time.Second            // how often the states of the workers are looked at
)

// Event is something that happened to a job, or to a worker.
type Event struct {
	At      time.Time       `json:"at" doc:"When it happened, by the database's clock."`
	Event   string          `json:"event" doc:"What: enqueued, started, completed, cancelled, dead, failed, timed_out, lost, snoozed, released, retried, edited, cancel_requested, …; worker_active, worker_paused, worker_draining, worker_lost, worker_removed" example:"completed"`
	JobID   ID              `json:"job_id,omitempty" doc:"To which job." example:"4711"`
	Queue   string          `json:"queue,omitempty" doc:"Its queue." example:"mail"`
	Kind    string          `json:"kind,omitempty" doc:"Its kind." example:"send_receipt"`
	Attempt int             `json:"attempt,omitempty" doc:"Attempts made by then."`
	Worker  string          `json:"worker,omitempty" doc:"The worker that had it, or to which it happened." example:"mailer-1"`
	RunAt   *time.Time      `json:"run_at,omitempty" doc:"When it becomes available, where it was scheduled."`
	Error   json.RawMessage `json:"error,omitempty" doc:"Of a failed attempt: {message, type, stack}."`

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
	return eventKey{ev.JobID, ev.Event, ev.Attempt, ev.At.UnixMicro()}
}

// EventFilter chooses events. An empty field chooses all.
type EventFilter struct {
	Queue, Kind string
	JobID       ID
	Events      []string
}

func (f *EventFilter) passes(ev *Event) bool {
	if f.Queue != "" && f.Queue != ev.Queue || f.Kind != "" && f.Kind != ev.Kind || f.JobID != 0 && f.JobID != ev.JobID {
		return false
	}
	for _, name := range f.Events {
		if name == ev.Event {
			return true
		}
	}
	return len(f.Events) == 0
}

// feed looks for events on behalf of all listeners of this node: one statement a few times a second, only while somebody listens.
type feed struct {
	e    *Engine
	soon chan struct{} // capacity 1

	mu        sync.Mutex
	listeners map[*Listener]struct{}
	ring      []*Event // the last feedRing, oldest first
	tag       string   // names, in positions, the time since the feed began to look
	number    int64    // of the last event
	drained   bool

	// Only step touches these.
	last   *db.SettledRow        // of the last look; nil: nobody listened
	debt   *db.SettledRow        // the state before transactions that are open for longer than feedWindow
	known  map[eventKey]struct{} // what was told and is not settled, as far as feedKnown goes
	states map[string]string     // of the workers,
	rolled time.Time             // and when they were looked at
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

func newFeed(e *Engine) *feed {
	return &feed{e: e, tag: newTag(), soon: make(chan struct{}, 1), listeners: map[*Listener]struct{}{}}
}

func newTag() string { return fmt.Sprintf("%08x", rand.Uint32()) }

// count is how many listen.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners)
}

func (f *feed) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = true
	for l := range f.listeners {
		f.drop(l)
	}
}

// drop ends a listener. Call it with mu held.
func (f *feed) drop(l *Listener) {
	if _, there := f.listeners[l]; there {
		delete(f.listeners, l)
		close(l.events)
	}
}

func (f *feed) step(ctx context.Context) (time.Duration, error) {
	if f.rest() {
		return feedIdle, nil
	}
	now, rows, err := f.look(ctx)
	if err != nil {
		return 0, err
	}
	position := positionOf(now)
	if f.last != nil {
		position = positionOf(*f.last) // what was not yet settled may have to be told again
	}
	var events []*Event
	if f.last != nil { // the first look is where the listeners join
		events = f.fresh(rows)
	}
	f.last = &now
	if time.Since(f.rolled) >= feedRoll {
		changes, err := f.roll(ctx, now.Now)
		if err != nil {
			return 0, err
		}
		events = append(events, changes...)
	}
	f.tell(events, position)
	return feedEvery, nil
}

// rest says whether nobody listens. What comes then is told to nobody, so nobody can resume from the ring.
func (f *feed) rest() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) > 0 {
		return false
	}
	f.last, f.debt, f.states = nil, nil, nil
	f.ring, f.tag = nil, newTag()
	return true
}

// look returns how far everything is visible, and what there is from how far it was at the last look. Read the other way round they would miss rows.
func (f *feed) look(ctx context.Context) (now db.SettledRow, rows []db.EventsSinceRow, err error) {
	if f.last == nil {
		if err := f.e.tickNow(ctx); err != nil { // the last tick may be of days ago, when no service ran
			return now, nil, err
		}
	}
	if now, err = f.e.loops.Settled(ctx); err != nil {
		return now, nil, fromDB("looking how far events are settled", err)
	}
	debt := f.debt
	from := f.from(now)
	rows, err = f.e.loops.EventsSince(ctx, db.EventsSinceParams{AfterAt: from.SettledAt, AfterID: from.Seq})
	if err != nil {
		f.debt = debt
		return now, nil, fromDB("looking for events", err)
	}
	if f.last == nil {
		f.known = map[eventKey]struct{}{}
		f.fresh(rows)
	}
	return now, rows, nil
}

// fresh returns the events that were not told before.
func (f *feed) fresh(rows []db.EventsSinceRow) (events []*Event) {
	for _, r := range rows {
		ev := eventFromRow(r)
		if _, known := f.known[ev.key()]; known {
			continue
		}
		if len(f.known) < feedKnown {
			f.known[ev.key()] = struct{}{}
		}
		events = append(events, ev)
	}
	return events
}

// roll returns how the states of workers have changed since the last time.
func (f *feed) roll(ctx context.Context, now time.Time) (changes []*Event, err error) {
	rows, err := f.e.loops.WorkerStates(ctx)
	if err != nil {
		return nil, fromDB("looking at the workers", err)
	}
	states := make(map[string]string, len(rows))
	change := func(name, state string) {
		if f.states != nil {
			ev := &Event{At: now.UTC(), Event: "worker_" + state, Worker: name}
			ev.Text, _ = json.Marshal(ev)
			changes = append(changes, ev)
		}
	}
	for _, r := range rows {
		states[r.Name] = r.State
		if f.states[r.Name] != r.State {
			change(r.Name, r.State)
		}
	}
	for name := range f.states {
		if _, there := states[name]; !there {
			change(name, "removed")
		}
	}
	f.states, f.rolled = states, time.Now()
	return changes, nil
}

// from is how far back this look must go. Where a transaction has been open for long, going back to its beginning each time would read
// more and more: only when it has ended is that done, once.
func (f *feed) from(now db.SettledRow) db.SettledRow {
	recent := now.Now.Add(-feedWindow)
	var from db.SettledRow
	switch {
	case f.last == nil:
		return db.SettledRow{SettledAt: maxTime(now.SettledAt, recent), Seq: now.Seq}
	case f.debt != nil && now.SettledAt.After(f.debt.SettledAt):
		from, f.debt = *f.debt, nil
	case f.last.SettledAt.After(recent):
		from = *f.last
	default:
		if f.debt == nil {
			f.debt = f.last
		}
		return db.SettledRow{SettledAt: recent, Seq: f.last.Seq}
	}
	for key := range f.known {
		if key.at <= from.SettledAt.UnixMicro() {
			delete(f.known, key)
		}
	}
	return from
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// tell gives events to the listeners. position is where the database would have to be asked to resume before them.
func (f *feed) tell(events []*Event, position string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range events {
		f.number++
		ev.number = f.number
		ev.Position = fmt.Sprintf("%s-%s-%d", position, f.tag, f.number)
	}
	f.ring = append(f.ring, events...)
	if over := len(f.ring) - feedRing; over > 0 {
		f.ring = append([]*Event(nil), f.ring[over:]...)
	}
	for l := range f.listeners {
		if !l.joined {
			l.joined = true
			close(l.ready)
			continue
		}
		if l.told != nil && time.Now().After(l.until) {
			l.told = nil
		}
		for _, ev := range events {
			if !l.filter.passes(ev) || l.told[ev.key()] {
				continue
			}
			select {
			case l.events <- ev:
				continue
			default:
			}
			f.drop(l)
			break
		}
	}
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
	ev := &Event{At: r.At.UTC(), Event: r.Event, JobID: ID(r.JobID), Queue: r.Queue, Kind: r.Kind, Attempt: int(r.Attempt), Worker: value(r.Worker), Error: r.Error}
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
	select {
	case f.soon <- struct{}{}:
	default:
	}
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
	if time.Since(from.settled) > feedReplay {
		return invalid("Last-Event-ID", "is of more than an hour ago: listen without it, and look at the jobs themselves")
	}
	rows, err := f.e.q.EventsSince(ctx, db.EventsSinceParams{AfterAt: from.settled, AfterID: from.seq})
	if err != nil {
		return fromDB("replaying events", err)
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
	l.until = time.Now().Add(2 * feedWindow)
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
