package jobs

import (
	"context"
	"time"
)

// frontierStep is one tick of the frontier (see sql/functions/frontier.sql).
type frontierStep struct {
	e        *Engine
	lateTick int64
	busy     bool // the last tick saw open transactions that write, or the frontier move far
}

const (
	tickEvery = 200 * time.Millisecond // while transactions write, or the frontier moves far
	// While a claimer is parked and transactions write, one of them may be an enqueue that saw no claimer parked.
	tickQuick  = 20 * time.Millisecond
	tickWithin = 10 * time.Second
)

func (s *frontierStep) step(ctx context.Context) (time.Duration, error) {
	parked := s.e.claims.AnyParked()
	calm := s.e.due.tick()
	every := tickEvery
	switch {
	case calm && !s.busy:
		every = tickCalm
	case parked:
		every = tickQuick
	}
	row, err := s.e.loops.AdvanceFrontier(ctx, (every * 9 / 10).Seconds())
	if err != nil {
		return 0, fromDB("advancing the frontier", err)
	}
	s.e.tickedAt.Set(s.e.clock.Now().Add(-time.Duration(row.AgeSeconds * float64(time.Second))))
	s.e.metrics.writers.Set(float64(row.Holders))
	if row.LateTick != s.lateTick {
		s.lateTick = row.LateTick
		if parked {
			s.e.claims.Wake(nil)
		}
	}
	many := row.Fresh && row.Passed >= tickDrawn
	if many {
		s.e.due.livelyAt.Set(s.e.clock.Now())
	}
	s.busy = row.Holders > 0 || many
	switch {
	case !s.busy && !row.Fresh:
		return tickCalm, nil // the other node's tick may have come before what this one should see
	case !s.busy:
		return s.e.due.rest(tickEvery), nil
	case row.Holders > 0 && parked:
		return tickQuick, nil
	}
	return tickEvery, nil
}

// tickNow makes a tick that sees every transaction that was writing when it was called, and has the loop follow those. While another session
// makes a tick it tries again, for as long as a tick normally takes; a slower one is left to the poll.
func (e *Engine) tickNow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tickWithin)
	defer cancel()
	for deadline := e.clock.Now().Add(tickQuick); ; {
		row, err := e.loops.AdvanceFrontier(ctx, 0)
		if err != nil {
			return fromDB("advancing the frontier", err)
		}
		if row.Fresh || e.clock.Now().After(deadline) {
			if row.Holders > 0 || !row.Fresh {
				e.tickSoon.Raise()
			}
			return nil
		}
		_ = e.clock.Sleep(ctx, time.Millisecond)
	}
}
