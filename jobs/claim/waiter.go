package claim

import (
	"slices"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	refusedFirst = 50 * time.Millisecond // the back-off of a claim whose worker may have no jobs; it doubles each time,
	refusedLast  = time.Second           // up to this
)

// Refusal is the error of a claim that got nothing because of its worker, whatever jobs there are.
type Refusal string

// The refusals.
const (
	RefusedPaused     Refusal = "paused"
	RefusedDraining   Refusal = "draining"
	RefusedTaken      Refusal = "taken"       // another caller registered a worker of this name
	RefusedAtCapacity Refusal = "at_capacity" // it has as many jobs as it may, or another claim of it is being decided
)

func (r Refusal) Error() string { return "the worker is not accepting jobs: " + string(r) }

// waiter is one claim that waits to be served.
type waiter struct {
	worker       string
	limit        int
	leaseSeconds int
	principal    int32 // weir.principal.id, or 0
	patient      bool  // it waits for jobs
	gone         bool  // its caller's time is over; guarded by claimer.mu
	done         chan answer

	refusal Refusal       // of the last statement for it
	failure error         // of the last statement for it, if the database was away
	retryAt time.Time     // while it backs off: when it is served again
	pause   time.Duration // the last back-off
}

// answer is what a claim gets.
type answer struct {
	rows []db.ClaimBatchRow
	err  error
}

// outcome is the error of a claim that leaves without jobs, and nil where there were simply none.
func (w *waiter) outcome() error {
	switch {
	case w.refusal != "":
		return w.refusal
	case w.failure != nil:
		return w.failure
	case !w.patient:
		return ErrSlow
	}
	return nil
}

func (w *waiter) answer(rows []db.ClaimBatchRow, err error) { w.done <- answer{rows, err} }

// backOff delays the next try.
func (w *waiter) backOff(now time.Time) {
	w.pause = min(max(2*w.pause, refusedFirst), refusedLast)
	w.retryAt = now.Add(w.pause)
}

func (c *claimer) add(w *waiter) {
	c.mu.Lock()
	c.waiting = append(c.waiting, w)
	c.mu.Unlock()
	c.nudge.Raise()
}

// leave takes a waiter out, and says whether it was still there. If not, it is being served, and is answered even if it gets nothing.
func (c *claimer) leave(w *waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range []*[]*waiter{&c.waiting, &c.refused} {
		if i := slices.Index(*list, w); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			return true
		}
	}
	w.gone = true
	return false
}

// hasten shortens the back-off of matching waiters to this long.
func (c *claimer) hasten(which func(*waiter) bool, pause time.Duration) {
	c.mu.Lock()
	found := false
	for _, w := range c.refused {
		if w.pause > pause && which(w) {
			w.retryAt = w.retryAt.Add(pause - w.pause)
			w.pause = pause
			found = true
		}
	}
	c.mu.Unlock()
	if found {
		c.nudge.Raise()
	}
}

// putBack returns waiters that got nothing to the head of the line, or to those that back off. It answers those whose time is over.
func (c *claimer) putBack(unserved, refused []*waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := func(w *waiter) bool {
		if w.gone {
			w.answer(nil, w.outcome())
		}
		return w.gone
	}
	c.waiting = slices.Insert(c.waiting, 0, slices.DeleteFunc(unserved, gone)...)
	c.refused = append(c.refused, slices.DeleteFunc(refused, gone)...)
	c.serving = 0
}

// hasWaiters says whether some claim waits for jobs to arrive.
func (c *claimer) hasWaiters() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0 || c.serving > 0
}

func (c *claimer) waitingNow() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) + len(c.refused) + c.serving
}

func (c *claimer) appendWorkers(names []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range slices.Concat(c.waiting, c.refused) {
		if w.refusal != RefusedTaken {
			names = append(names, w.worker)
		}
	}
	return names
}
