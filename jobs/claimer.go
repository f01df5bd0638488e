package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	batchLimit   = 1000             // jobs one claim statement takes
	parkFor      = 30 * time.Second // how long a parking lasts; renewed at half time
	idleFor      = 30 * time.Second // a claimer without waiters ends after this
	pollEvery    = time.Second      // the fallback while notifications come in
	pollBlind    = 100 * time.Millisecond
	hintFor      = 500 * time.Millisecond
	statementFor = 30 * time.Second      // a claim that takes longer is given up; what it took goes back when the leases run out
	refusedFirst = 50 * time.Millisecond // a claim whose worker is to get nothing looks again after this, and then after twice as long each time,
	refusedLast  = time.Second           // up to this
	hintMargin   = 128                   // places behind the last one claimed to look again: others may have drawn earlier and committed later
)

// claimer serves all claims of this node for one set of queues, with one statement at a time: what arrives while a statement is under
// way goes into the next. When the queues are empty it parks (see migrations/0006_wake.sql) and sleeps until it is woken.
type claimer struct {
	e      *Engine
	key    string
	queues []string
	nudge  chan struct{} // capacity 1: something changed under mu

	mu      sync.Mutex
	waiting []*waiter // in the order of their coming
	refused []*waiter // stand aside, because their workers are to get nothing: in the line they would keep others from being served
	woken   bool      // something may have become available since the last look
	drained bool
	serving int // waiters that are out of the line because a statement looks for them

	// Only run touches these.
	parkedUntil time.Time
	emptyAt     time.Time
	polledAt    time.Time // the last look, or poll that led to none
	hint        frontierHint
	admitAt     time.Time // when a rate allows more jobs; zero: no rate keeps any
	advance     chan allowance
	allowed     allowance // of the last passes
	claimedAt   time.Time // the last claim
}

// waiter is one claim that waits to be served.
type waiter struct {
	worker       string
	limit        int
	leaseSeconds int
	patient      bool // it would rather wait than get nothing
	gone         bool // nobody waits for it any more; guarded by claimer.mu
	done         chan claimed

	refusal Refusal       // of the last look for it
	retryAt time.Time     // while it stands aside: when it is looked for again
	pause   time.Duration // since the last look
}

type claimed struct {
	jobs []ClaimedJob
	err  error
}

// frontierHint is how far this claimer has claimed, in each queue and priority. It is good for one tick of the watermark, and not for
// long: a claim that rolls back makes no tick, and leaves jobs behind.
type frontierHint struct {
	tick      int64
	since     time.Time
	positions []int64
}

func newClaimer(e *Engine, key string, queues []string) *claimer {
	return &claimer{e: e, key: key, queues: queues, nudge: make(chan struct{}, 1), woken: true, hint: frontierHint{tick: -1, positions: make([]int64, 10*len(queues))}}
}

func (c *claimer) add(w *waiter) {
	c.mu.Lock()
	c.waiting = append(c.waiting, w)
	c.mu.Unlock()
	c.prod()
}

// leave takes a waiter out, and says whether it was still there: if not, it is being served, and is answered even if it gets nothing.
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

// retry brings forward the next look for some of those that stand aside, to at least so long after their last.
func (c *claimer) retry(which func(*waiter) bool, after time.Duration) {
	c.mu.Lock()
	found := false
	for _, w := range c.refused {
		if w.pause > after && which(w) {
			w.retryAt = w.retryAt.Add(after - w.pause)
			w.pause = after
			found = true
		}
	}
	c.mu.Unlock()
	if found {
		c.prod()
	}
}

func (c *claimer) wake() {
	c.mu.Lock()
	c.woken = true
	c.mu.Unlock()
	c.prod()
}

func (c *claimer) drain() {
	c.mu.Lock()
	c.drained = true
	c.mu.Unlock()
	c.prod()
}

func (c *claimer) prod() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

func (c *claimer) run() {
	ctx := context.Background() // its statements are short, and end with the pool
	idle := time.Now()
	for {
		served, counts, look := c.take()
		switch {
		case look:
			idle = time.Now()
			c.polledAt = idle
			c.serve(ctx, served, counts)
			c.setServing(0)
		case c.finished(idle):
			c.unpark(ctx)
			return
		default:
			c.sleep(ctx)
		}
	}
}

// take picks the waiters of the next statement, in order, and how many jobs each may get: batchLimit in all, and at least one for each that
// does not wait. look is false if nobody waits, or if everybody is patient and nothing can have become available since the last look. Those that stand
// aside come last, each at its own time.
func (c *claimer) take() (served []*waiter, counts []int32, look bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drained {
		for _, w := range slices.Concat(c.waiting, c.refused) {
			w.done <- claimed{jobs: []ClaimedJob{}}
		}
		c.waiting, c.refused = nil, nil
		return nil, nil, false
	}
	left := batchLimit
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
	now := time.Now()
	c.refused = pick(c.refused, func(w *waiter) bool { return !now.Before(w.retryAt) })
	c.serving = len(served)
	return served, counts, len(served) > 0
}

// serve claims for some waiters with one statement. The patient ones that get nothing go back to the head of the line, or aside.
func (c *claimer) serve(ctx context.Context, served []*waiter, counts []int32) {
	if time.Since(c.hint.since) > hintFor {
		c.hint.forget(-1)
	}
	params := db.ClaimBatchParams{Queues: c.queues, Counts: counts, AfterTick: c.hint.tick, AfterPositions: c.hint.positions}
	for _, w := range served {
		params.Workers = append(params.Workers, w.worker)
		params.Leases = append(params.Leases, int32(w.leaseSeconds))
	}
	ahead := c.admit(ctx, served, counts)
	if c.inVain(served) {
		c.putBack(served, nil)
		return
	}
	c.claimedAt = time.Now()
	wasParked := time.Now().Before(c.parkedUntil)
	bounded, cancel := context.WithTimeout(ctx, statementFor)
	defer cancel()
	rows, err := c.e.q.ClaimBatch(bounded, params)
	if err != nil {
		c.refuse(ctx, served, counts, fromDB("claiming", err))
		return
	}
	refusals := make([]Refusal, len(served)) // of slots that were to get less than they asked for
	sifting := false                         // jobs of open circuit breakers were in the way, more than one claim moves; there may be others behind them
	rows = slices.DeleteFunc(rows, func(r db.ClaimBatchRow) bool {
		switch {
		case r.JobID == 0 && r.Refusal == "sifting":
			sifting = true
		case r.JobID == 0:
			refusals[r.Slot-1] = Refusal(r.Refusal)
		}
		return r.JobID == 0
	})
	c.e.metrics.claimed(len(rows))
	c.hint.learn(c.queues, rows)

	bySlot := make([][]ClaimedJob, len(served))
	for _, r := range rows {
		bySlot[r.Slot-1] = append(bySlot[r.Slot-1], claimedFromRow(r))
	}
	short := false // there were not enough jobs
	var unserved, refused []*waiter
	for i, w := range served {
		short = short || refusals[i] == "" && len(bySlot[i]) < int(counts[i])
		w.refusal = refusals[i]
		switch {
		case len(bySlot[i]) > 0 || !w.patient && (!sifting || w.refusal != ""):
		case w.refusal != "":
			w.pause = min(max(2*w.pause, refusedFirst), refusedLast)
			w.retryAt = time.Now().Add(w.pause)
			refused = append(refused, w)
		default:
			w.pause = 0
			unserved = append(unserved, w)
		}
	}
	if short {
		c.hint.forget(-1) // an empty queue is looked at from its frontier: there may be what another claim gave back
	}
	c.putBack(unserved, refused) // before the others are answered, who may look how many wait
	for i, w := range served {
		switch {
		case len(bySlot[i]) > 0:
			w.done <- claimed{jobs: bySlot[i]}
		case w.patient || sifting && refusals[i] == "":
		case refusals[i] != "":
			w.done <- claimed{err: refusals[i]}
		default:
			w.done <- claimed{jobs: []ClaimedJob{}}
		}
	}
	if !short || sifting {
		c.setWoken() // there may be more
		c.admitAhead(counts)
		if wasParked && time.Since(c.emptyAt) > 2*time.Second {
			c.unpark(ctx)
		}
		return
	}
	c.emptyAt = time.Now()
	if ahead {
		c.setWoken() // the pass was made before what came since
		return
	}
	if len(unserved) > 0 && !wasParked {
		c.park(ctx)
		// What was enqueued before the parking was notified to nobody. A transaction that saw nobody parked and is open at this tick is a writer
		// there, and its end wakes us; one that has ended by then is found by the next look.
		if err := c.e.tickNow(ctx); err != nil {
			c.e.log.Warn("looking who writes failed; polling", "queues", c.queues, "error", err)
		}
		c.setWoken()
	}
}

// refuse answers after an error. Where the database is away, the impatient learn it and the patient go on waiting, a little later. Where it
// refuses the statement, that may be the fault of one waiter, so they are served one by one.
func (c *claimer) refuse(ctx context.Context, served []*waiter, counts []int32, err error) {
	if CodeOf(err) != Unavailable && len(served) > 1 {
		for i := range served {
			c.serve(ctx, served[i:i+1], counts[i:i+1])
		}
		return
	}
	var patient []*waiter
	c.setServing(0)
	for _, w := range served {
		if w.patient && CodeOf(err) == Unavailable {
			patient = append(patient, w)
		} else {
			w.done <- claimed{err: err}
		}
	}
	if len(patient) > 0 {
		c.e.log.Warn("claiming failed; trying again", "queues", c.queues, "error", err)
		c.putBack(patient, nil)
		time.Sleep(200 * time.Millisecond)
		c.setWoken()
	}
}

// putBack lets waiters that got nothing wait on, at the head of the line or aside, but for those whose time ran out in the meantime.
func (c *claimer) putBack(unserved, refused []*waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := func(w *waiter) bool {
		switch {
		case w.gone && w.refusal != "":
			w.done <- claimed{err: w.refusal}
		case w.gone:
			w.done <- claimed{jobs: []ClaimedJob{}}
		}
		return w.gone
	}
	c.waiting = slices.Insert(c.waiting, 0, slices.DeleteFunc(unserved, gone)...)
	c.refused = append(c.refused, slices.DeleteFunc(refused, gone)...)
	c.serving = 0
}

func (c *claimer) setServing(n int) {
	c.mu.Lock()
	c.serving = n
	c.mu.Unlock()
}

func (c *claimer) setWoken() {
	c.mu.Lock()
	c.woken = true
	c.mu.Unlock()
}

// sleep waits for a nudge, for the next look for one that stands aside, or for the next poll, which makes up for a notification that was lost.
func (c *claimer) sleep(ctx context.Context) {
	every := pollEvery
	if !c.e.listener.up() {
		every = pollBlind
	}
	poll := c.polledAt.Add(every)
	wakeAt := poll
	if !c.admitAt.IsZero() && c.admitAt.Before(poll) {
		wakeAt = c.admitAt
	}
	timer := time.NewTimer(time.Until(c.nextRetry(wakeAt)))
	defer timer.Stop()
	select {
	case <-c.nudge:
	case now := <-timer.C:
		if !now.Before(wakeAt) {
			c.polledAt = now
			c.admitAt = time.Time{}
			c.setWoken()
		}
	}
	if left := time.Until(c.parkedUntil); left > 0 && left < parkFor/2 && c.hasWaiters() {
		c.park(ctx)
	}
}

// nextRetry is when one that stands aside is looked for again, or a time, whichever comes first.
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

// hasWaiters says whether somebody waits for a job to come.
func (c *claimer) hasWaiters() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0 || c.serving > 0
}

// finished says whether the claimer may end, and if so takes it out of the engine's map.
func (c *claimer) finished(idle time.Time) bool {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting)+len(c.refused) > 0 || !c.drained && time.Since(idle) < idleFor {
		return false
	}
	delete(c.e.claimers, c.key)
	return true
}

func (c *claimer) park(ctx context.Context) {
	if err := c.e.q.Park(ctx, db.ParkParams{Queues: c.queues, Node: c.node(), Seconds: int32(parkFor / time.Second)}); err != nil {
		c.e.log.Warn("parking failed; polling", "queues", c.queues, "error", err)
		return
	}
	c.parkedUntil = time.Now().Add(parkFor)
	c.e.metrics.parked.Inc()
}

func (c *claimer) unpark(ctx context.Context) {
	if time.Now().After(c.parkedUntil) {
		return
	}
	c.parkedUntil = time.Time{}
	if err := c.e.q.Unpark(ctx, db.UnparkParams{Queues: c.queues, Node: c.node()}); err != nil {
		c.e.log.Debug("unparking failed; the parking runs out", "queues", c.queues, "error", err)
	}
}

func (c *claimer) node() string { return c.e.node + "/" + c.key }

// learn notes how far a claim came. With a new tick everything before is forgotten.
func (h *frontierHint) learn(queues []string, rows []db.ClaimBatchRow) {
	for _, r := range rows {
		if r.Tick != h.tick {
			h.forget(r.Tick)
		}
		i := slices.Index(queues, r.Queue)*10 + int(r.Priority) - 1
		h.positions[i] = max(h.positions[i], r.Token-hintMargin)
	}
}

func (h *frontierHint) forget(tick int64) {
	h.tick, h.since = tick, time.Now()
	clear(h.positions)
}

func claimedFromRow(r db.ClaimBatchRow) ClaimedJob {
	j := ClaimedJob{
		ID: ID(r.JobID), Token: ID(r.Token), Kind: r.Kind, Queue: r.Queue, Args: r.Args, Attempt: int(r.Attempt), MaxAttempts: int(r.MaxAttempts),
		Priority: int(r.Priority), TimeoutSeconds: int(r.TimeoutSeconds), LeaseExpiresAt: r.LeaseExpiresAt.UTC(), CreatedAt: r.CreatedAt.UTC(), Tags: r.Tags, Metadata: r.Metadata, Dependencies: r.Dependencies, Degraded: r.Degraded,
	}
	if j.Tags == nil {
		j.Tags = []string{}
	}
	if j.Metadata == nil {
		j.Metadata = []byte("{}")
	}
	return j
}
