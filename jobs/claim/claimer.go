package claim

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/loop"
)

const (
	statementBytes = 16 << 20         // about how much of them it reads: what is beyond goes back into the queue
	statementJobs  = 1000             // the most jobs that one statement takes
	idleFor        = 30 * time.Second // a claimer without waiters ends after this,
	idleSets       = 100              // or at once where a node has more claimers than this
	pollEvery      = time.Second      // the fallback while notifications arrive
	pollBlind      = 100 * time.Millisecond
	pollGap        = 5 * time.Millisecond // between the polls of a node, on average: with many claimers each polls less often
	failedPause    = 200 * time.Millisecond
)

// claimer serves all claims of a node for one set of queues.
type claimer struct {
	*Claimers
	key    string
	queues []string
	nudge  loop.Signal // something changed under mu

	mu      sync.Mutex
	waiting []*waiter // in the order of their arrival
	refused []*waiter // back off, because their workers may have no jobs: in the line they would keep others from being served
	woken   bool      // jobs may have become available since the last statement
	drained bool
	serving int // waiters that are out of the line because a statement runs for them

	// Only run touches these.
	parkedUntil time.Time
	renewAt     time.Time // while parked with waiters: when to park again
	emptyAt     time.Time // when a statement last found fewer jobs than it wanted
	polledAt    time.Time // the last statement, or the last poll without waiters
	claimedAt   time.Time // the last claim statement
	admitAt     time.Time // when a rate limit allows more jobs; zero: no rate limit holds any back
	advance     chan allowance
	allowed     allowance // of the last passes
	most        int       // the most jobs of the next statement; less than statementJobs while jobs are large
	hint        hint
}

func newClaimer(cs *Claimers, key string, queues []string) *claimer {
	return &claimer{Claimers: cs, key: key, queues: queues, nudge: loop.NewSignal(), woken: true, most: statementJobs, hint: newHint(len(queues))}
}

func (c *claimer) wake() {
	c.setWoken()
	c.nudge.Raise()
}

func (c *claimer) setWoken() {
	c.mu.Lock()
	c.woken = true
	c.mu.Unlock()
}

func (c *claimer) drain() {
	c.mu.Lock()
	c.drained = true
	c.mu.Unlock()
	c.nudge.Raise()
}

// run serves waiters until there have been none for a while. Its statements are short and end with the pool, so nothing cancels them.
func (c *claimer) run() {
	ctx := context.Background()
	idle := c.Clock.Now()
	for {
		served, counts := c.take()
		switch {
		case len(served) > 0:
			idle = c.Clock.Now()
			c.polledAt = idle
			c.serveSafely(ctx, served, counts)
			c.setServing(0)
		case c.finished(idle):
			c.unpark(ctx)
			return
		default:
			c.sleep(ctx)
		}
	}
}

// take picks the waiters of the next statement, in order, and how many jobs each may get: statementJobs in all, and at least one for each
// that does not wait. It picks none if all are patient and nothing can have become available since the last statement. Those that back off
// come last, each at its own time.
func (c *claimer) take() (served []*waiter, counts []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drained {
		for _, w := range slices.Concat(c.waiting, c.refused) {
			w.answer(nil, nil)
		}
		c.waiting, c.refused = nil, nil
		return nil, nil
	}
	left := c.most
	pick := func(from []*waiter, due func(*waiter) bool) (others []*waiter) {
		for _, w := range from {
			count := min(w.limit, left)
			if !due(w) || count == 0 && w.patient {
				others = append(others, w)
				continue
			}
			count = max(count, 1)
			left = max(left-count, 0)
			served = append(served, w)
			counts = append(counts, int32(count))
		}
		return others
	}
	if c.woken || slices.ContainsFunc(c.waiting, func(w *waiter) bool { return !w.patient }) {
		c.woken = c.woken && len(c.waiting) == 0
		c.waiting = pick(c.waiting, func(*waiter) bool { return true })
	}
	now := c.Clock.Now()
	c.refused = pick(c.refused, func(w *waiter) bool { return !now.Before(w.retryAt) })
	c.serving = len(served)
	return served, counts
}

func (c *claimer) setServing(n int) {
	c.mu.Lock()
	c.serving = n
	c.mu.Unlock()
}

// sleep waits for a nudge, for the next waiter whose back-off ends, or for the next poll, which makes up for a notification that was lost.
func (c *claimer) sleep(ctx context.Context) {
	wakeAt := c.polledAt.Add(c.pollEvery())
	if !c.admitAt.IsZero() && c.admitAt.Before(wakeAt) {
		wakeAt = c.admitAt
	}
	at := c.nextRetry(wakeAt)
	if c.parked() && c.renewAt.Before(at) && c.hasWaiters() {
		at = c.renewAt // polls may be further apart than a parking lasts, and without one nothing notifies the claimer
	}
	timer := c.Clock.Timer(c.Clock.Until(at))
	defer timer.Stop()
	select {
	case <-c.nudge:
	case <-timer.C:
		if now := c.Clock.Now(); !now.Before(wakeAt) {
			c.polledAt = now
			c.admitAt = time.Time{}
			c.setWoken()
		}
	}
	if c.parked() && !c.Clock.Now().Before(c.renewAt) && c.hasWaiters() {
		_ = c.park(ctx)
	}
}

// pollEvery bounds the polls of a node, however many sets of queues its clients name.
func (c *claimer) pollEvery() time.Duration {
	every := pollEvery
	if !c.Notified() {
		every = pollBlind
	}
	return max(every, time.Duration(c.count.Load())*pollGap)
}

// nextRetry is when a back-off ends, or a time, whichever comes first.
func (c *claimer) nextRetry(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.refused {
		if w.retryAt.Before(at) {
			at = w.retryAt
		}
	}
	return at
}

// finished says whether the claimer may end, and if so takes it out of the node's.
func (c *claimer) finished(idle time.Time) bool {
	c.Claimers.mu.Lock()
	defer c.Claimers.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	lingers := !c.drained && len(c.sets) <= idleSets && c.Clock.Since(idle) < idleFor
	if len(c.waiting)+len(c.refused) > 0 || lingers {
		return false
	}
	delete(c.sets, c.key)
	c.count.Store(int64(len(c.sets)))
	return true
}

// warn logs a failure, but one every few seconds for the whole node: while the database is away every claim meets it.
func (cs *Claimers) warn(message string, c *claimer, err error) {
	now := cs.Clock.Now()
	last := cs.logged.Load()
	if now.Sub(time.Unix(0, last)) > warnEvery && cs.logged.CompareAndSwap(last, now.UnixNano()) {
		cs.Log.Warn(message, "queues", c.queues, "error", err)
	}
}

const warnEvery = 10 * time.Second

// statement bounds one statement. One that takes longer is given up; jobs that it took come back when their leases expire.
func statement(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, statementFor)
}

const statementFor = 30 * time.Second

var _ Store = (*db.Queries)(nil)
