package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/clock"
)

const loopBatch = 1000 // jobs that one step of a loop moves

// lookback is the lower bound of a scan of a hot table by time: where the last look ended. Now and then it looks at everything, in
// case the database's clock was set back.
type lookback struct {
	clock  clock.Clock
	mu     sync.Mutex
	after  time.Time
	fullAt time.Time
}

func (l *lookback) from() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clock.Since(l.fullAt) > time.Minute {
		l.fullAt = l.clock.Now()
		l.after = time.Time{}
	}
	return l.after
}

func (l *lookback) get() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.after
}

func (l *lookback) set(after time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after = after
}

// promoteStep makes scheduled jobs available whose time has come.
type promoteStep struct {
	e    *Engine
	look *lookback
}

func (s *promoteStep) step(ctx context.Context) (time.Duration, error) {
	row, err := s.e.loops.PromoteDue(ctx, db.PromoteDueParams{MaxJobs: loopBatch, After: s.look.from()})
	if err != nil {
		return 0, fromDB("promoting due jobs", err)
	}
	s.look.set(row.LookedUntil)
	s.e.metrics.promoted.Add(float64(row.Promoted))
	if row.Promoted == loopBatch {
		return 0, nil
	}
	return s.e.due.rest(100 * time.Millisecond), nil
}
