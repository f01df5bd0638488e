package jobs

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

const (
	replayFor     = time.Hour // how far back a listener may resume
	replayRows    = 500       // events that one page of a replay holds,
	replayBytes   = 1 << 20   // and about this many bytes of errors
	replayMargin  = 2 * feedWindow
	replayStride  = time.Second // of a replay's first page; later ones adapt
	longestStride = 10 * time.Minute
)

// EventListener hands on the events that pass a filter. It keeps a place in the feed, and no events of its own. One goroutine uses it.
type EventListener struct {
	feed    *feed
	filter  EventFilter
	joined  chan struct{} // closed when the feed holds everything that commits from then on
	after   int64         // the number of the last event of the feed that it has passed; -1: it has not joined
	resumed bool          // it joined where it left off
	replay  *replay       // nil: it is over, or was not needed
	told    map[eventKey]struct{}
	until   time.Time // how long the feed may repeat what is in told
}

// replay is a place in the events of the database, up to where a listener joined the feed.
type replay struct {
	place
	key     *string       // of the last event, if the last page was cut short
	visible time.Time     // when it began, everything before this time was visible
	end     time.Time     // the database's time then
	stride  time.Duration // of the next page
}

// place is where a listener resumes. settled and seq say how far back the database is read, so a position carries a seal over
// them, with the secret that all nodes share: no client can make up one that reads every job there is.
type place struct {
	settled time.Time
	seq     int64
	tag     string
	number  int64
}

func (s *sealer) readPosition(text string) (*place, error) {
	if text == "" {
		return nil, nil
	}
	var at int64
	p := &place{}
	var seal string
	if n, err := fmt.Sscanf(strings.ReplaceAll(text, "-", " "), "%d %d %16s %8s %d", &at, &p.seq, &seal, &p.tag, &p.number); err != nil || n != 5 {
		return nil, invalid("Last-Event-ID", "must be the id of an event")
	}
	p.settled = time.UnixMicro(at)
	if subtle.ConstantTimeCompare([]byte(seal), []byte(s.sealPosition(at, p.seq))) != 1 {
		return nil, invalid("Last-Event-ID", "must be the id of an event, as it was sent")
	}
	return p, nil
}

// positionIn is where to read the database from: the part of an event's id that all nodes understand.
func (s *sealer) positionIn(settled time.Time, seq int64) string {
	at := settled.UnixMicro()
	return fmt.Sprintf("%d-%d-%s", at, seq, s.sealPosition(at, seq))
}

// Listen returns a listener for the events that pass a filter, from now on or after a position: that of an event which any node sent up to
// an hour ago. Around such a position an event may come twice. Call leave when done. Errors: InvalidArgument, Unavailable.
func (e *Engine) Listen(ctx context.Context, filter EventFilter, position string) (l *EventListener, leave func(), err error) {
	if err := e.keyring.ready(ctx); err != nil {
		return nil, nil, err
	}
	from, err := e.keyring.sealer.Load().readPosition(position)
	if err != nil {
		return nil, nil, err
	}
	if from != nil && e.clock.Since(from.settled) > replayFor {
		return nil, nil, invalid("Last-Event-ID", "is more than an hour old: listen without it, and read the jobs instead")
	}
	if boundsOf(ctx) != nil {
		filter.bound = access.From(ctx)
	}
	l = &EventListener{feed: e.feed, filter: filter, joined: make(chan struct{})}
	if err := e.feed.add(l, from); err != nil {
		return nil, nil, err
	}
	leave = func() { e.feed.drop(l) }
	select {
	case <-l.joined:
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
	if from != nil && !l.resumed { // the feed does not reach back that far
		if err := l.startReplay(ctx, *from); err != nil {
			leave()
			return nil, nil, err
		}
	}
	return l, leave, nil
}

func (l *EventListener) startReplay(ctx context.Context, from place) error {
	now, err := l.feed.e.q.Settled(ctx)
	if err != nil {
		return fromDB("replaying events", err)
	}
	l.replay = &replay{place: from, visible: now.SettledAt, end: now.Now, stride: replayStride}
	l.told = map[eventKey]struct{}{}
	l.until = l.feed.e.clock.Now().Add(replayMargin)
	return nil
}

// Next waits for events up to a duration and returns those that came, or none. open is false when the stream ends, because
// the listener is too slow or the node shuts down: resume from the last position. Errors: those of the database.
func (l *EventListener) Next(ctx context.Context, wait time.Duration) (events []*Event, open bool, err error) {
	for l.replay != nil {
		if events, err = l.nextPage(ctx); err != nil || len(events) > 0 {
			return events, err == nil, err
		}
	}
	timer := l.feed.e.clock.Timer(wait)
	defer timer.Stop()
	for {
		fresh, more, open := l.feed.after(l)
		for _, ev := range fresh {
			if _, told := l.told[ev.key()]; !told && l.filter.passes(ev) {
				events = append(events, ev)
			}
		}
		if l.told != nil && l.feed.e.clock.Now().After(l.until) {
			l.told = nil
		}
		if !open || len(events) > 0 {
			return events, open, nil
		}
		select {
		case <-more:
		case <-timer.C:
			return nil, true, nil
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// nextPage returns the next events of a replay. Pages cover longer times where little happened, and shorter ones where much did.
func (l *EventListener) nextPage(ctx context.Context) ([]*Event, error) {
	r := l.replay
	filter, err := json.Marshal(struct {
		EventFilter
		Bounds *bounds `json:"bounds,omitempty"`
	}{l.filter, boundsOf(ctx)})
	if err != nil {
		return nil, fmt.Errorf("encoding a filter: %w", err)
	}
	until, last := r.settled.Add(r.stride), false
	if !until.Before(r.end) {
		until, last = endOfTime, true
	}
	rows, err := l.feed.e.q.EventsSince(ctx, db.EventsSinceParams{
		AfterAt: r.settled, AfterID: r.seq, AfterKey: r.key, UntilAt: until, Filter: filter, Most: replayRows, MostBytes: replayBytes,
	})
	if err != nil {
		return nil, fromDB("replaying events", err)
	}
	events := make([]*Event, len(rows))
	bytes := 0
	for i, row := range rows {
		ev := l.feed.e.eventFromRow(ctx, row)
		ev.Position = r.positionAt(l.feed.sealer(), ev.At)
		if ev.At.After(r.end.Add(-replayMargin)) && len(l.told) < feedKnown {
			l.told[ev.key()] = struct{}{}
		}
		bytes += len(row.Error)
		events[i] = ev
	}
	switch {
	case len(rows) == replayRows || bytes > replayBytes*3/4: // it may have been cut short
		end := rows[len(rows)-1]
		r.key = new(keyOf(end))
		r.stride = max(end.At.Sub(r.settled), time.Millisecond)
		r.settled = end.At
	case last:
		l.replay = nil
	default:
		r.key = nil
		r.settled = until
		r.stride = min(4*r.stride, longestStride)
	}
	return events, nil
}

// keyOf is the order of an event among those of one time; see weir.events_since.
func keyOf(r db.EventsSinceRow) string {
	id := r.JobID
	if id == 0 {
		id = r.WorkflowID
	}
	key := fmt.Sprintf("%d %s %d", id, r.Event, r.Attempt)
	if r.Step != "" {
		key += " " + r.Step
	}
	return key
}

// positionAt is where to resume after an event of a replay: all events up to then were sent, or were not visible when it began.
func (r *replay) positionAt(s *sealer, at time.Time) string {
	before := at.Add(-time.Microsecond)
	if before.After(r.visible) {
		before = r.visible
	}
	return s.positionIn(before, r.seq) + "-replayed-0"
}

// positionOf is not as far back as the oldest transaction that writes, if that has been open for long.
func (s *sealer) positionOf(r db.SettledRow) string {
	at := r.SettledAt
	if oldest := r.Now.Add(-replayFor / 4); at.Before(oldest) {
		at = oldest
	}
	return s.positionIn(at, r.Seq)
}
