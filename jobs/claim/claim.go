// Package claim serves the claims of a node. All claims for the same set of queues share one claimer, which runs one statement at a time:
// claims that arrive while it runs go into the next one. When its queues are empty a claimer parks, that is, it asks the database to be
// notified, and sleeps until a notification or its next poll.
//
// It imports db and jobs/clock, and does not know jobs: what it needs of the engine comes in through Config.
package claim

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/clock"
)

// The errors of a claim that did not get as far as its jobs.
var (
	ErrDraining = errors.New("this node takes no more claims")
	ErrFull     = errors.New("claims for too many different sets of queues wait on this node")
	ErrSlow     = errors.New("the database did not answer the claim in time")
)

const (
	maxSets  = 5000             // sets of queues that a node claims from at once
	slowIn   = 10 * time.Second // how long a claim that does not wait for jobs waits for its turn
	graceFor = 5 * time.Second  // how long a claim waits, when its time is over, for the statement that is looking for its jobs
)

// Store is what claims need of the database. *db.Queries has it.
type Store interface {
	ClaimBatch(context.Context, db.ClaimBatchParams) ([]db.ClaimBatchRow, error)
	Admit(context.Context, db.AdmitParams) (db.AdmitRow, error)
	Park(context.Context, db.ParkParams) error
	Unpark(context.Context, db.UnparkParams) error
}

// Observer counts what claims do.
type Observer interface {
	Claimed(jobs int) // by one statement
	Parked()
	Woken()
	Admitted(db.AdmitRow)
}

// Config is how Claimers are set up. Everything but Clock is required.
type Config struct {
	Store   Store
	Node    string
	Log     *slog.Logger
	Clock   clock.Clock
	Observe Observer
	// Notified says whether notifications arrive. While they do not, claimers poll more often.
	Notified func() bool
	// Tick moves the frontier past all transactions that write at the moment, or has it follow them.
	Tick func(context.Context) error
	// GiveBack releases jobs whose caller has gone.
	GiveBack func([]db.ClaimBatchRow)
}

// Request asks for jobs on behalf of one worker. The engine has checked it.
type Request struct {
	Worker       string
	Queues       []string
	Limit        int
	LeaseSeconds int // 0: the queue's
	Wait         time.Duration
	Principal    int32 // who claims: weir.principal.id, or 0
}

// Claimers are the claimers of a node.
type Claimers struct {
	Config
	governed atomic.Pointer[map[string]bool]
	logged   atomic.Int64 // when a failure was last logged, in Unix nanoseconds

	mu       sync.Mutex
	sets     map[string]*claimer
	count    atomic.Int64 // of sets
	draining bool
}

// New makes Claimers.
func New(c Config) *Claimers { return &Claimers{Config: c, sets: map[string]*claimer{}} }

// Claim takes up to Limit jobs. If there are none, or the worker may have none, it waits, up to Wait, and then returns none. The error may be
// one of the database, one of the above, or a Refusal where the worker is the reason.
func (cs *Claimers) Claim(ctx context.Context, r Request) ([]db.ClaimBatchRow, error) {
	queues := slices.Clone(r.Queues)
	slices.Sort(queues)
	queues = slices.Compact(queues)
	w := &waiter{worker: r.Worker, limit: r.Limit, leaseSeconds: r.LeaseSeconds, principal: r.Principal, patient: r.Wait > 0, done: make(chan answer, 1)}
	c, err := cs.join(queues, w)
	if err != nil {
		return nil, err
	}
	patience := r.Wait
	if !w.patient {
		patience = slowIn
	}
	timer := cs.Clock.Timer(patience)
	defer timer.Stop()
	select {
	case got := <-w.done:
		return cs.handOver(ctx, got)
	case <-timer.C:
	case <-ctx.Done():
	}
	if c.leave(w) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, w.outcome()
	}
	return cs.finish(ctx, w)
}

// finish waits for a statement that looks for jobs of a claim whose time is over. A caller that has gone does not wait: what the statement
// takes is given back.
func (cs *Claimers) finish(ctx context.Context, w *waiter) ([]db.ClaimBatchRow, error) {
	timer := cs.Clock.Timer(graceFor)
	defer timer.Stop()
	err := ErrSlow
	select {
	case got := <-w.done:
		return cs.handOver(ctx, got)
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	go func() {
		if got := <-w.done; len(got.rows) > 0 {
			cs.GiveBack(got.rows)
		}
	}()
	return nil, err
}

// handOver gives jobs to a caller, or back to the queue if the caller has gone.
func (cs *Claimers) handOver(ctx context.Context, got answer) ([]db.ClaimBatchRow, error) {
	if got.err == nil && ctx.Err() != nil && len(got.rows) > 0 {
		go cs.GiveBack(got.rows)
		return nil, ctx.Err()
	}
	return got.rows, got.err
}

// join adds a waiter to the claimer of these queues, which it starts if there is none.
func (cs *Claimers) join(queues []string, w *waiter) (*claimer, error) {
	key := strings.Join(queues, ",")
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.draining {
		return nil, ErrDraining
	}
	c := cs.sets[key]
	if c == nil {
		if len(cs.sets) >= maxSets {
			return nil, ErrFull
		}
		c = newClaimer(cs, key, queues)
		cs.sets[key] = c
		cs.count.Store(int64(len(cs.sets)))
		go c.run()
	}
	c.add(w)
	return c, nil
}

// Wake makes the claimers of these queues claim again; no queues: all claimers.
func (cs *Claimers) Wake(queues []string) {
	cs.Observe.Woken()
	cs.each(func(c *claimer) {
		if len(queues) == 0 || slices.ContainsFunc(queues, func(q string) bool { return slices.Contains(c.queues, q) }) {
			c.wake()
		}
	})
}

// WorkerChanged ends the back-off of claims that were refused because of this worker.
func (cs *Claimers) WorkerChanged(name string) {
	cs.each(func(c *claimer) { c.hasten(func(w *waiter) bool { return w.worker == name }, 0) })
}

// JobsEnded shortens the back-off of claims whose workers were at capacity: one of the jobs may have been theirs.
func (cs *Claimers) JobsEnded() {
	cs.each(func(c *claimer) {
		c.hasten(func(w *waiter) bool { return w.refusal == RefusedAtCapacity }, refusedFirst)
	})
}

// Drain ends all claims, with what they have, and refuses new ones with ErrDraining.
func (cs *Claimers) Drain() {
	cs.mu.Lock()
	cs.draining = true
	cs.mu.Unlock()
	cs.each((*claimer).drain)
}

// Draining says whether Drain was called.
func (cs *Claimers) Draining() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.draining
}

// AnyParked says whether some claim of this node waits to be notified.
func (cs *Claimers) AnyParked() (parked bool) {
	cs.each(func(c *claimer) { parked = parked || c.hasWaiters() })
	return parked
}

// Waiting is how many claims wait.
func (cs *Claimers) Waiting() (n int) {
	cs.each(func(c *claimer) { n += c.waitingNow() })
	return n
}

// Workers names the workers whose claims wait.
func (cs *Claimers) Workers() (names []string) {
	cs.each(func(c *claimer) { names = c.appendWorkers(names) })
	return names
}

// each must not be called with the mutex of a claimer held: the order is Claimers, then claimer.
func (cs *Claimers) each(do func(*claimer)) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.sets {
		do(c)
	}
}
