package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/loop"
)

const (
	feedEvery  = 250 * time.Millisecond // while there are listeners
	feedIdle   = time.Hour              // while there are none; the first listener wakes the loop
	feedWindow = 10 * time.Second       // how far back each look goes for late commits; when an older transaction ends, one look goes back further
	feedPage   = 2000                   // events that one statement reads,
	feedBytes  = 4 << 20                // and about this many bytes of errors
	feedMost   = 100_000                // a look that finds more events ends the streams
	feedKnown  = 200_000                // events that are remembered so as not to be sent again
	ringEvents = 10_000                 // events kept for listeners: one that lags behind further is cut off
	ringBytes  = 16 << 20               // and their bytes
	stateEvery = time.Second            // how often workers and circuit breakers are read
)

// feed looks for events on behalf of all listeners of this node: a statement a few times a second, and only while there are listeners. It keeps
// the last events in a ring. Listeners read them there, so what they cost does not grow with their number.
type feed struct {
	e    *Engine
	soon loop.Signal
	// stale is set when the database's clock went back: positions and what is known are of other times.
	stale atomic.Bool

	mu        sync.Mutex
	listeners map[*EventListener]struct{}
	ring      []*Event      // the last events, oldest first
	bytes     int           // of the ring
	more      chan struct{} // closed when the ring changes
	tag       string        // names, in positions, the time since the feed began to look
	number    int64         // of the last event
	drained   bool

	// Only step uses these.
	last   *db.SettledRow        // of the last look; nil: there were no listeners
	debt   *db.SettledRow        // the state before transactions that have been open for longer than feedWindow
	known  map[eventKey]struct{} // what was sent and is not settled, up to feedKnown
	states map[string]string     // of the workers
	readAt time.Time             // when states and broken were read
	broken map[int64]bool        // the latest events of circuit breakers; nil: there were no listeners
}

func newFeed(e *Engine) *feed {
	f := &feed{e: e, soon: loop.NewSignal(), listeners: map[*EventListener]struct{}{}, more: make(chan struct{})}
	f.tag = f.newTag()
	return f
}

// sealer seals positions. It is there before the first listener is.
func (f *feed) sealer() *sealer { return f.e.keyring.sealer.Load() }

func (f *feed) newTag() string { return fmt.Sprintf("%08x", uint32(f.e.clock.Uint64())) }

// count returns the number of listeners.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners)
}

// add adds a listener. One that resumes from an event of this feed which the ring still reaches back to has joined at once.
func (f *feed) add(l *EventListener, from *place) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained {
		return shuttingDown()
	}
	f.listeners[l] = struct{}{}
	if from != nil && from.tag == f.tag && len(f.ring) > 0 && f.ring[0].number <= from.number+1 {
		l.after, l.resumed = from.number, true
		close(l.joined)
		return nil
	}
	l.after = -1
	f.soon.Raise()
	return nil
}

// drop ends a listener.
func (f *feed) drop(l *EventListener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.listeners, l)
}

func (f *feed) drain() {
	f.mu.Lock()
	f.drained = true
	f.mu.Unlock()
	f.dropAll()
}

// dropAll ends all listeners. The events that follow are not kept, so the ring cannot be resumed from.
func (f *feed) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.listeners)
	f.clearRing()
	f.announce()
}

// clearRing forgets the events. Call it with mu held.
func (f *feed) clearRing() {
	f.ring, f.bytes, f.tag = nil, 0, f.newTag()
}

// announce wakes the listeners that wait for more. Call it with mu held.
func (f *feed) announce() {
	close(f.more)
	f.more = make(chan struct{})
}

// after returns what follows a listener's place and moves the place on. more is closed when there is more. open is false for a listener that was
// dropped, or lags behind the ring.
func (f *feed) after(l *EventListener) (fresh []*Event, more <-chan struct{}, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.listeners[l]; !there {
		return nil, nil, false
	}
	first := f.number - int64(len(f.ring)) + 1 // the number of the oldest event in the ring
	if l.after+1 < first {
		delete(f.listeners, l)
		return nil, nil, false
	}
	fresh = f.ring[l.after+1-first:]
	l.after = f.number
	return fresh, f.more, true
}

func (f *feed) step(ctx context.Context) (time.Duration, error) {
	if f.stale.Swap(false) {
		f.dropAll()
	}
	if f.rest() {
		return feedIdle, nil
	}
	now, position, err := f.look(ctx)
	if err != nil {
		return 0, err
	}
	if f.e.clock.Since(f.readAt) < stateEvery {
		return feedEvery, nil
	}
	changes, err := f.workers(ctx, now.Now)
	f.tell(changes, position)
	if err != nil {
		return feedEvery, err
	}
	changes, err = f.breakers(ctx, now.Now)
	f.tell(changes, position)
	return feedEvery, err
}

// rest returns whether there are no listeners. The events that follow are not kept, so the ring cannot be resumed from.
func (f *feed) rest() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) > 0 {
		return false
	}
	f.last, f.debt, f.states, f.broken = nil, nil, nil, nil
	f.clearRing()
	return true
}

// look reads how far everything is visible, and then tells what came since the last look. In the other order it would miss rows. The first look
// tells nothing: it is where the listeners join.
func (f *feed) look(ctx context.Context) (now db.SettledRow, position string, err error) {
	first := f.last == nil
	if first {
		if err := f.e.tickNow(ctx); err != nil { // the last tick may be days old, if no service ran
			return now, "", err
		}
	}
	if now, err = f.e.loops.Settled(ctx); err != nil {
		return now, "", fromDB("reading how far events are settled", err)
	}
	position = f.sealer().positionOf(now)
	if first {
		f.known = map[eventKey]struct{}{}
	} else {
		position = f.sealer().positionOf(*f.last) // what was not settled yet may have to be sent again
	}
	debt := f.debt
	if err := f.read(ctx, f.from(now), position, first); err != nil {
		f.debt = debt
		return now, "", err
	}
	f.last = &now
	f.join()
	return now, position, nil
}

// read tells the events from there on, page by page. Where too many have piled up it ends the streams.
func (f *feed) read(ctx context.Context, from db.SettledRow, position string, silent bool) error {
	params := db.EventsSinceParams{AfterAt: from.SettledAt, AfterID: from.Seq, UntilAt: endOfTime, Filter: []byte("{}"), Most: feedPage, MostBytes: feedBytes}
	for total := 0; ; {
		rows, err := f.e.loops.EventsSince(ctx, params)
		if err != nil {
			return fromDB("reading events", err)
		}
		events, bytes := f.fresh(ctx, rows)
		if !silent {
			f.tell(events, position)
		}
		if len(rows) < feedPage && bytes <= feedBytes*3/4 {
			return nil
		}
		if total += len(rows); total > feedMost {
			f.e.log.Warn("too many events since the last look; ending the streams", "since", from.SettledAt)
			f.dropAll()
			return nil
		}
		end := rows[len(rows)-1]
		params.AfterAt, params.AfterKey = end.At, new(keyOf(end))
	}
}

// fresh returns the events that were not sent before, and the bytes of the errors of all.
func (f *feed) fresh(ctx context.Context, rows []db.EventsSinceRow) (events []*Event, bytes int) {
	for _, r := range rows {
		bytes += len(r.Error)
		ev := f.e.eventFromRow(ctx, r)
		if _, known := f.known[ev.key()]; known {
			continue
		}
		if len(f.known) < feedKnown {
			f.known[ev.key()] = struct{}{}
		}
		events = append(events, ev)
	}
	return events, bytes
}

// workers returns how the states of workers have changed since they were last read.
func (f *feed) workers(ctx context.Context, now time.Time) (changes []*Event, err error) {
	rows, err := f.e.loops.WorkerStates(ctx)
	if err != nil {
		return nil, fromDB("reading the states of the workers", err)
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
	f.states, f.readAt = states, f.e.clock.Now()
	return changes, nil
}

// breakers returns what has happened to circuit breakers since they were last read. There are few such events, so each look goes back by feedWindow.
func (f *feed) breakers(ctx context.Context, now time.Time) (changes []*Event, err error) {
	rows, err := f.e.loops.BreakerEventsSince(ctx, now.Add(-feedWindow))
	if err != nil {
		return nil, fromDB("reading the events of circuit breakers", err)
	}
	seen := make(map[int64]bool, len(rows))
	for _, r := range rows {
		seen[r.ID] = true
		if f.broken != nil && !f.broken[r.ID] {
			ev := &Event{At: r.At.UTC(), Event: "breaker_" + r.Event, Breaker: r.Breaker, By: r.By, Reason: r.Reason, tenant: r.Tenant}
			ev.Text, _ = json.Marshal(ev)
			if r.Tenant != "" {
				own := *ev
				own.Breaker = splitBreaker(r.Breaker).Name
				ev.ownText, _ = json.Marshal(&own)
			}
			changes = append(changes, ev)
		}
	}
	f.broken = seen
	return changes, nil
}

// from returns how far back this look must go. While a transaction stays open for long, going back to its beginning each time would read more
// and more; so that is done once, when it has ended.
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

// tell appends events to the ring. position is where the database would have to be read from to resume before them.
func (f *feed) tell(events []*Event, position string) {
	if len(events) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range events {
		f.number++
		ev.number = f.number
		ev.Position = fmt.Sprintf("%s-%s-%d", position, f.tag, f.number)
		f.bytes += len(ev.Text)
	}
	f.ring = append(f.ring, events...)
	over := 0
	for ; len(f.ring)-over > ringEvents || f.bytes > ringBytes; over++ {
		f.bytes -= len(f.ring[over].Text)
	}
	if over > 0 {
		f.ring = append([]*Event(nil), f.ring[over:]...)
	}
	f.announce()
}

// join lets the listeners in that came since the last look: whatever commits from now on will be in the ring.
func (f *feed) join() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.listeners {
		if l.after < 0 {
			l.after = f.number
			close(l.joined)
		}
	}
}
