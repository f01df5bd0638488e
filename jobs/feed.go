package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/loop"
)

const (
	feedEvery  = 250 * time.Millisecond // while somebody listens
	feedIdle   = time.Hour              // while nobody does; the first who comes cuts it short
	feedWindow = 10 * time.Second       // how far back each look goes for transactions that commit late; for older ones one look goes further when they end
	feedKnown  = 200_000                // events that are remembered so as not to be told again
	feedRing   = 10_000                 // events kept to resume from without the database
	feedBuffer = 10_000                 // events that a listener may lag behind
	feedReplay = time.Hour              // how far back a listener may resume,
	feedMost   = 100_000                // and with how many events; a look that finds more ends the streams
	feedRoll   = time.Second            // how often the states of the workers are looked at
)

// feed looks for events on behalf of all listeners of this node: one statement a few times a second, only while somebody listens.
type feed struct {
	e    *Engine
	soon loop.Signal

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
	broken map[int64]bool        // the latest events of circuit breakers; nil: nobody listened
}

func newFeed(e *Engine) *feed {
	f := &feed{e: e, soon: loop.NewSignal(), listeners: map[*Listener]struct{}{}}
	f.tag = f.newTag()
	return f
}

func (f *feed) newTag() string { return fmt.Sprintf("%08x", uint32(f.e.clock.Uint64())) }

// count is how many listen.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners)
}

func (f *feed) drain() {
	f.mu.Lock()
	f.drained = true
	f.mu.Unlock()
	f.dropAll()
}

// dropAll ends all listeners. What follows is told to nobody, so nobody can resume from the ring.
func (f *feed) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring, f.tag = nil, f.newTag()
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
	f.tell(events, position)
	if f.e.clock.Since(f.rolled) < feedRoll {
		return feedEvery, nil
	}
	changes, err := f.roll(ctx, now.Now)
	f.tell(changes, position)
	if err != nil {
		return feedEvery, err
	}
	changes, err = f.breakers(ctx, now.Now)
	f.tell(changes, position)
	return feedEvery, err
}

// rest says whether nobody listens. What comes then is told to nobody, so nobody can resume from the ring.
func (f *feed) rest() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.listeners) > 0 {
		return false
	}
	f.last, f.debt, f.states, f.broken = nil, nil, nil, nil
	f.ring, f.tag = nil, f.newTag()
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
	rows, err = f.e.loops.EventsSince(ctx, db.EventsSinceParams{AfterAt: from.SettledAt, AfterID: from.Seq, Most: feedMost + 1})
	if err != nil {
		f.debt = debt
		return now, nil, fromDB("looking for events", err)
	}
	if len(rows) > feedMost {
		f.e.log.Warn("too much has happened since the last look for events; ending the streams", "since", from.SettledAt)
		f.dropAll()
		rows = nil
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
	f.states, f.rolled = states, f.e.clock.Now()
	return changes, nil
}

// breakers returns what has happened to circuit breakers since the last time. They are so few that each look goes back by feedWindow.
func (f *feed) breakers(ctx context.Context, now time.Time) (changes []*Event, err error) {
	rows, err := f.e.loops.BreakerEventsSince(ctx, now.Add(-feedWindow))
	if err != nil {
		return nil, fromDB("looking at the circuit breakers", err)
	}
	seen := make(map[int64]bool, len(rows))
	for _, r := range rows {
		seen[r.ID] = true
		if f.broken != nil && !f.broken[r.ID] {
			ev := &Event{At: r.At.UTC(), Event: "breaker_" + r.Event, Breaker: r.Breaker, By: r.By, Reason: r.Reason}
			ev.Text, _ = json.Marshal(ev)
			changes = append(changes, ev)
		}
	}
	f.broken = seen
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
		if l.told != nil && f.e.clock.Now().After(l.until) {
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
