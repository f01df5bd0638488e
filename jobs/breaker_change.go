package jobs

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// BreakerTrip opens a circuit breaker by hand. All may be left out.
type BreakerTrip struct {
	By          string   `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who does it." example:"ann"`
	Reason      string   `json:"reason,omitempty" minLength:"1" maxLength:"500" doc:"Why." example:"they announced maintenance"`
	OpenSeconds *float64 `json:"open_seconds,omitempty" minimum:"0.1" maximum:"31536000" doc:"How long before it is probed. Defaults to its settings."`
}

// BreakerReset closes a circuit breaker by hand. All may be left out.
type BreakerReset struct {
	By     string `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who does it." example:"ann"`
	Reason string `json:"reason,omitempty" minLength:"1" maxLength:"500" doc:"Why." example:"their status page is green"`
}

// BreakerPin fixes the state of a circuit breaker.
type BreakerPin struct {
	State      string   `json:"state" enum:"open,closed,none" doc:"open or closed: the state stays, whatever happens. none: the pin ends."`
	By         string   `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who does it." example:"ann"`
	Reason     string   `json:"reason,omitempty" minLength:"1" maxLength:"500" doc:"Why."`
	ForSeconds *float64 `json:"for_seconds,omitempty" minimum:"0.1" maximum:"315360000" doc:"How long the pin lasts. Defaults to no end."`
}

// BreakerReport reports outcomes of calls made outside jobs.
type BreakerReport struct {
	Outcome string   `json:"outcome" enum:"success,failure" doc:"Their outcome."`
	Error   *Failure `json:"error,omitempty" doc:"With failure: what went wrong. Whether it counts depends on the breaker."`
	Calls   int      `json:"calls,omitempty" minimum:"1" maximum:"1000000" doc:"How many calls. Defaults to 1."`
}

// BreakerEvent is a change of a circuit breaker.
type BreakerEvent struct {
	ID        ID              `json:"id" doc:"Grows with time."`
	At        time.Time       `json:"at" doc:"When it happened, by the database's clock."`
	Breaker   string          `json:"breaker" doc:"The circuit breaker." example:"stripe"`
	Event     string          `json:"event" enum:"opened,half_opened,closed,recovered,pinned,unpinned,set,deleted" doc:"What happened. recovered: all jobs that it held are back. set: its settings were changed."`
	FromState BreakerState    `json:"from_state" enum:"closed,open,half_open" doc:"Its state before."`
	State     BreakerState    `json:"state" enum:"closed,open,half_open" doc:"Its state since."`
	By        string          `json:"by,omitempty" doc:"Who did it, if that was given."`
	Reason    string          `json:"reason,omitempty" doc:"Why, in words." example:"5 of 9 calls failed within 60 seconds"`
	Detail    json.RawMessage `json:"detail" doc:"More about it, depending on the event: ok and failed in the window, wait_seconds, until, settings."`
}

// TripBreaker opens a circuit breaker. Errors: BreakerNotFound, BreakerPinned, InvalidArgument.
func (e *Engine) TripBreaker(ctx context.Context, ref Ref, t BreakerTrip) (Breaker, error) {
	if err := e.changes.TripBreaker(ctx, db.TripBreakerParams{Name: ref.of(ctx).within(ctx), By: nonZero(t.By), Reason: nonZero(t.Reason), OpenSeconds: t.OpenSeconds}); err != nil {
		return Breaker{}, fromDB("tripping a circuit breaker", err)
	}
	return e.Breaker(ctx, ref)
}

// ResetBreaker closes a circuit breaker. Errors: BreakerNotFound, BreakerPinned, InvalidArgument.
func (e *Engine) ResetBreaker(ctx context.Context, ref Ref, r BreakerReset) (Breaker, error) {
	if err := e.changes.ResetBreaker(ctx, db.ResetBreakerParams{Name: ref.of(ctx).within(ctx), By: nonZero(r.By), Reason: nonZero(r.Reason)}); err != nil {
		return Breaker{}, fromDB("resetting a circuit breaker", err)
	}
	return e.Breaker(ctx, ref)
}

// PinBreaker fixes the state of a circuit breaker, or ends a pin. Errors: BreakerNotFound, InvalidArgument.
func (e *Engine) PinBreaker(ctx context.Context, ref Ref, p BreakerPin) (Breaker, error) {
	if err := e.changes.PinBreaker(ctx, db.PinBreakerParams{Name: ref.of(ctx).within(ctx), State: p.State, By: nonZero(p.By), Reason: nonZero(p.Reason), ForSeconds: p.ForSeconds}); err != nil {
		return Breaker{}, fromDB("pinning a circuit breaker", err)
	}
	return e.Breaker(ctx, ref)
}

// ReportBreaker records the outcome of calls for a circuit breaker, and returns the breaker. Errors: BreakerNotFound, InvalidArgument.
func (e *Engine) ReportBreaker(ctx context.Context, ref Ref, r BreakerReport) (Breaker, error) {
	var failure json.RawMessage
	if r.Error != nil {
		var err error
		if failure, err = json.Marshal(r.Error); err != nil {
			return Breaker{}, err
		}
	}
	if _, err := e.changes.ReportBreaker(ctx, db.ReportBreakerParams{Name: ref.of(ctx).within(ctx), Outcome: r.Outcome, Error: failure, Calls: int32(max(r.Calls, 1))}); err != nil {
		return Breaker{}, fromDB("reporting to a circuit breaker", err)
	}
	return e.Breaker(ctx, ref)
}

// BreakerEvents lists what happened to a circuit breaker, newest first, before an id (0: from the newest). It returns up to limit. Errors: BreakerNotFound.
func (e *Engine) BreakerEvents(ctx context.Context, ref Ref, before ID, limit int) ([]BreakerEvent, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" && ref.of(ctx).Tenant != p.Tenant {
		return nil, noBreaker(ref)
	}
	rows, err := e.reads.ListBreakerEvents(ctx, db.ListBreakerEventsParams{Reference: ref.of(ctx).joined(), Before: int64(before), MaxEvents: int32(limit)})
	if err != nil {
		return nil, fromDB("reading the events of a circuit breaker", err)
	}
	if len(rows) == 0 {
		if _, err := e.Breaker(ctx, ref); err != nil {
			return nil, err
		}
	}
	events := make([]BreakerEvent, len(rows))
	for i, r := range rows {
		events[i] = BreakerEvent{
			ID: ID(r.ID), At: r.At.UTC(), Breaker: shownBreaker(ctx, r.Breaker), Event: r.Event, FromState: BreakerState(r.FromState), State: BreakerState(r.State), By: r.By, Reason: r.Reason, Detail: r.Detail,
		}
	}
	return events, nil
}

const breakerBatch = 2000 // jobs that one step releases for each breaker

// tickBreakers does what is due for all circuit breakers: probes, and jobs that come back.
func (e *Engine) tickBreakers(ctx context.Context) (time.Duration, error) {
	row, err := e.loops.TickBreakers(ctx, breakerBatch)
	switch {
	case err != nil:
		return 0, fromDB("ticking circuit breakers", err)
	case row.Moved >= breakerBatch:
		return 10 * time.Millisecond, nil
	case row.Breakers > 0:
		return 100 * time.Millisecond, nil
	}
	return e.due.rest(200 * time.Millisecond), nil
}

// sweepBreakers sums up the samples of circuit breakers.
func (e *Engine) sweepBreakers(ctx context.Context) (time.Duration, error) {
	_, err := e.loops.SweepBreakers(ctx, MaxBatch)
	return 5 * time.Second, fromDB("summing up the samples of circuit breakers", err)
}
