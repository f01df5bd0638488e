package claim

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/weirhq/weir/db"
)

// round is one claim statement and what it found.
type round struct {
	served   []*waiter
	counts   []int32
	jobs     [][]db.ClaimBatchRow // by slot, that is, by place in served
	refusals []Refusal            // by slot
	sifting  bool                 // it met more jobs of open circuit breakers than one claim moves, or more bytes: there are others behind them
	short    bool                 // there were fewer jobs than it wanted
}

// serveSafely is serve, but a panic is an error for the waiters and not the end of the node.
func (c *claimer) serveSafely(ctx context.Context, served []*waiter, counts []int32) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		c.Log.Error("a claim panicked; its callers get an error", "queues", c.queues, "panic", p, "stack", string(debug.Stack()))
		c.mu.Lock()
		defer c.mu.Unlock()
		there := func(w *waiter) bool { return slices.Contains(served, w) }
		c.waiting, c.refused = slices.DeleteFunc(c.waiting, there), slices.DeleteFunc(c.refused, there)
		for _, w := range served {
			select {
			case w.done <- answer{err: fmt.Errorf("a claim panicked: %v", p)}:
			default: // it has its answer
			}
		}
	}()
	c.serve(ctx, served, counts)
}

// serve claims for some waiters with one statement. Patient waiters that get nothing go back in line, or back off.
func (c *claimer) serve(ctx context.Context, served []*waiter, counts []int32) {
	ahead := c.admit(ctx, served, counts)
	if c.pointless(served) {
		c.putBack(served, nil)
		return
	}
	wasParked := c.Clock.Now().Before(c.parkedUntil)
	r := round{served: served, counts: counts}
	if err := c.claim(ctx, &r); err != nil {
		c.fail(ctx, served, counts, err)
		return
	}
	if r.short {
		c.hint.forget(noTick, c.Clock.Now()) // an empty queue is read from its frontier: there may be what another claim gave back
	}
	waiting := c.answer(&r)
	c.follow(ctx, &r, waiting, ahead, wasParked)
}

// claim runs the statement.
func (c *claimer) claim(ctx context.Context, r *round) error {
	c.claimedAt = c.Clock.Now()
	if c.claimedAt.Sub(c.hint.since) > hintFor {
		c.hint.forget(noTick, c.claimedAt)
	}
	params := db.ClaimBatchParams{Queues: c.queues, Counts: r.counts, AfterTick: c.hint.tick, AfterPositions: c.hint.positions}
	for _, w := range r.served {
		params.Workers = append(params.Workers, w.worker)
		params.Leases = append(params.Leases, int32(w.leaseSeconds))
		params.Principals = append(params.Principals, w.principal)
	}
	bounded, cancel := statement(ctx)
	defer cancel()
	bounded, page := db.WithThinRows(bounded, statementBytes)
	rows, err := c.Store.ClaimBatch(bounded, params)
	if err != nil {
		if db.IsTimeout(err) {
			c.most = max(c.most/8, 1) // large args may be the cause
		}
		return err
	}
	rows, thin := c.fit(rows, page)
	r.jobs, r.refusals = make([][]db.ClaimBatchRow, len(r.served)), make([]Refusal, len(r.served))
	taken := 0
	for _, row := range rows {
		switch row.Refusal {
		case "":
			taken++
			c.hint.learn(c.queues, row, c.claimedAt)
			r.jobs[row.Slot-1] = append(r.jobs[row.Slot-1], row)
		case "sifting":
			r.sifting = true
		default:
			r.refusals[row.Slot-1] = Refusal(row.Refusal)
		}
	}
	c.Observe.Claimed(taken)
	if len(thin) > 0 {
		c.GiveBack(thin)
		c.hint.forget(noTick, c.Clock.Now()) // they may stand before those that were claimed
		r.sifting = true
	}
	for i := range r.served {
		r.short = r.short || r.refusals[i] == "" && len(r.jobs[i]) < int(r.counts[i])
	}
	return nil
}

// fit splits off the jobs that came without their args, because there were too many bytes of them, and has the next statements take as many as
// fit.
func (c *claimer) fit(rows []db.ClaimBatchRow, page *db.Page) (whole, thin []db.ClaimBatchRow) {
	n := page.Whole()
	switch {
	case n > 0 && n < len(rows):
		c.most = n
		return rows[:n], rows[n:]
	case len(rows) > 0 && page.Left() > statementBytes/2:
		c.most = min(2*c.most, statementJobs)
	}
	return rows, nil
}

// answer hands out jobs and refusals, puts the other waiters back, and says whether some of them wait for jobs to arrive.
func (c *claimer) answer(r *round) (waiting bool) {
	var unserved, refused []*waiter
	for i, w := range r.served {
		w.refusal, w.failure = r.refusals[i], nil
		switch {
		case len(r.jobs[i]) > 0 || !w.patient && (!r.sifting || w.refusal != ""):
		case w.refusal != "":
			w.backOff(c.Clock.Now())
			refused = append(refused, w)
		default:
			w.pause = 0
			unserved = append(unserved, w)
		}
	}
	waiting = len(unserved) > 0
	c.putBack(unserved, refused) // before the others are answered: a caller may count how many wait
	for i, w := range r.served {
		switch {
		case len(r.jobs[i]) > 0:
			w.answer(r.jobs[i], nil)
		case w.patient || r.sifting && r.refusals[i] == "":
		case r.refusals[i] != "":
			w.answer(nil, r.refusals[i])
		default:
			w.answer(nil, nil)
		}
	}
	return waiting
}

// follow decides whether to claim again at once, and parks where nothing is left.
func (c *claimer) follow(ctx context.Context, r *round, waiting, ahead, wasParked bool) {
	if !r.short || r.sifting {
		c.setWoken() // there may be more
		c.admitAhead(r.counts)
		if wasParked && c.Clock.Since(c.emptyAt) > 2*time.Second {
			c.unpark(ctx)
		}
		return
	}
	c.emptyAt = c.Clock.Now()
	switch {
	case ahead:
		c.setWoken() // the pass was made before the jobs that have arrived since
	case waiting && !wasParked:
		c.await(ctx)
	case !wasParked:
		c.setWoken() // nothing notifies of what comes now, so the next claim that waits is served and parks
	}
}

// fail answers after an error. While the database is away, impatient waiters get the error and patient ones wait on. Where the database refused the
// statement, one waiter may be the cause, so they are served one by one.
func (c *claimer) fail(ctx context.Context, served []*waiter, counts []int32, err error) {
	away := db.IsAway(err) || db.IsConflict(err)
	if !away && len(served) > 1 {
		for i := range served {
			c.serve(ctx, served[i:i+1], counts[i:i+1])
		}
		return
	}
	c.setServing(0)
	patient := slices.Clone(served)
	patient = slices.DeleteFunc(patient, func(w *waiter) bool {
		if !w.patient || !away {
			w.answer(nil, err)
			return true
		}
		w.failure = err
		return false
	})
	if len(patient) == 0 {
		return
	}
	c.warn("claiming failed; trying again", c, err)
	c.putBack(patient, nil)
	_ = c.Clock.Sleep(ctx, failedPause)
	c.setWoken()
}
