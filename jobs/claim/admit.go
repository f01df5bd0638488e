package claim

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"github.com/weirhq/weir/db"
)

const admitMost = 1000 // the most jobs that one claim has admitted

// allowance is the result of admission passes for a claim.
type allowance struct {
	next time.Time // when a rate limit allows more; zero: none holds any back
	none bool      // rate limits hold back everything, so that a claim would find nothing
}

// SetGoverned says which queues have limits. It is called by the loop that admits jobs.
func (cs *Claimers) SetGoverned(queues map[string]bool) { cs.governed.Store(&queues) }

// Governed says whether a queue has limits, as far as this node knows.
func (cs *Claimers) Governed(queue string) bool {
	governed := cs.governed.Load()
	return governed != nil && (*governed)[queue]
}

// admitFor has jobs of queues with limits admitted for a claim.
func (c *claimer) admitFor(ctx context.Context, counts []int32) (got allowance) {
	var wanted int32
	for _, n := range counts {
		wanted += n
	}
	wanted = min(wanted, admitMost)
	got.none = true
	for _, queue := range c.queues {
		if !c.Governed(queue) {
			got.none = false
			continue
		}
		bounded, cancel := statement(ctx)
		row, err := c.Store.Admit(bounded, db.AdmitParams{Queue: queue, Wanted: &wanted})
		cancel()
		if err != nil {
			c.warn("admitting jobs for a claim failed; the loop does it", c, err)
			got.none = false
			continue
		}
		c.Observe.Admitted(row)
		got.none = got.none && row.HeldBy == "rate" && row.Available == 0
		next := time.Duration(row.NextIn * float64(time.Second))
		if at := c.Clock.Now().Add(max(next, time.Millisecond)); row.NextIn >= 0 && (got.next.IsZero() || at.Before(got.next)) {
			got.next = at
		}
	}
	return got
}

// admit has jobs admitted for a claim. If that was done ahead, while the workers had the jobs of the last claim, and every waiter is patient, it
// is not done again.
func (c *claimer) admit(ctx context.Context, served []*waiter, counts []int32) (ahead bool) {
	if c.advance != nil {
		c.allowed = <-c.advance
		c.advance = nil
		ahead = !slices.ContainsFunc(served, func(w *waiter) bool { return !w.patient })
	}
	if !ahead {
		c.allowed = c.admitFor(ctx, counts)
	}
	c.admitAt = c.allowed.next
	return ahead
}

// pointless says whether to skip a claim: rate limits hold back everything, and every waiter is patient. Once a second it is made nevertheless,
// so that waiters learn what else may hold jobs back.
func (c *claimer) pointless(served []*waiter) bool {
	return c.allowed.none && c.Clock.Since(c.claimedAt) < time.Second &&
		!slices.ContainsFunc(served, func(w *waiter) bool { return !w.patient || w.refusal != "" })
}

// admitAhead begins a pass for the next claim.
func (c *claimer) admitAhead(counts []int32) {
	if !slices.ContainsFunc(c.queues, c.Governed) {
		return
	}
	done := make(chan allowance, 1)
	c.advance = done
	go func() {
		var got allowance
		defer func() {
			if p := recover(); p != nil {
				c.Log.Error("admitting jobs panicked", "queues", c.queues, "panic", p, "stack", string(debug.Stack()))
			}
			done <- got
		}()
		got = c.admitFor(context.Background(), counts)
	}()
}
