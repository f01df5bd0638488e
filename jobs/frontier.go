package jobs

import (
	"context"
	"time"
)

// frontierStep is one tick of the watermark (see migrations/0005_frontier.sql).
type frontierStep struct {
	e        *Engine
	lateTick int64
	busy     bool // the last tick saw somebody write, or the frontier move by much
}

const (
	tickEvery = 200 * time.Millisecond // while transactions are being written, or many places are passed
	// While somebody is parked and transactions are being written, one of them may be an enqueue that saw nobody parked: look more often.
	tickQuick = 20 * time.Millisecond
)

func (s *frontierStep) step(ctx context.Context) (time.Duration, error) {
	parked := s.e.anyParked()
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
	s.e.tickedAt.Set(s.e.clock.Now())
	s.e.metrics.writers.Set(float64(row.Holders))
	if row.LateTick != s.lateTick {
		s.lateTick = row.LateTick
		if parked {
			s.e.wake(nil)
		}
	}
	many := row.Fresh && row.Passed >= tickDrawn
	if many {
		s.e.due.livelyAt.Set(s.e.clock.Now())
	}
	s.busy = row.Holders > 0 || many
	switch {
	case !s.busy && !row.Fresh:
		return tickCalm, nil // that other tick may have been before what this one was to see
	case !s.busy:
		return s.e.due.rest(tickEvery), nil
	case row.Holders > 0 && parked:
		return tickQuick, nil
	}
	return tickEvery, nil
}

// tickNow makes a tick that sees everyone who was writing when it was called, and lets the loop follow them. While another session is at a
// tick it tries again, for as long as that may take; one that is held up longer is left to the poll.
func (e *Engine) tickNow(ctx context.Context) error {
	for deadline := time.Now().Add(tickQuick); ; time.Sleep(time.Millisecond) {
		row, err := e.loops.AdvanceFrontier(ctx, 0)
		if err != nil {
			return fromDB("advancing the frontier", err)
		}
		if row.Fresh || time.Now().After(deadline) {
			if row.Holders > 0 || !row.Fresh {
				e.tickSoon.Raise()
			}
			return nil
		}
	}
}

// anyParked says whether some claimer of this node waits to be woken.
func (e *Engine) anyParked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.claimers {
		if c.hasWaiters() {
			return true
		}
	}
	return false
}
