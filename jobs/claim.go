package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ClaimRequest asks for jobs on behalf of one worker.
type ClaimRequest struct {
	Worker       string   // its name, 1 to 200 characters
	Queues       []string // 1 to 100 names; a queue need not exist yet
	Limit        int      // at most so many jobs, 1 to 1000; 0: 1
	Wait         time.Duration
	LeaseSeconds int // 1 to 3600; 0: the queue's
}

// ClaimedJob is a job that a worker now has.
type ClaimedJob struct {
	ID             ID              `json:"id" doc:"The job." example:"4711"`
	Token          ID              `json:"token" doc:"Names the lease in everything the worker says about the job." example:"4711"`
	Kind           string          `json:"kind" doc:"What to do." example:"send_receipt"`
	Queue          string          `json:"queue" doc:"The queue it came from." example:"mail"`
	Args           json.RawMessage `json:"args" doc:"What to do it with: any JSON."`
	Attempt        int             `json:"attempt" doc:"Which attempt this is: 1, 2, …"`
	MaxAttempts    int             `json:"max_attempts" doc:"After this many failed attempts it is dead."`
	Priority       int             `json:"priority" doc:"1 to 10."`
	TimeoutSeconds int             `json:"timeout_seconds" doc:"This attempt is taken back after so long, heartbeats or not."`
	LeaseExpiresAt time.Time       `json:"lease_expires_at" doc:"It is taken back then unless a heartbeat comes, by the database's clock."`
	CreatedAt      time.Time       `json:"created_at" doc:"When it was enqueued."`
	Tags           []string        `json:"tags" doc:"Its labels."`
	Metadata       json.RawMessage `json:"metadata" doc:"What its producer wanted to keep with it."`
	Dependencies   json.RawMessage `json:"dependencies,omitempty" doc:"Of a step of a workflow: the results of the completed steps that it depends on, by name; null where they are more than 8 MiB together: listDependencies has them."`
	Degraded       bool            `json:"degraded,omitempty" doc:"Its circuit breaker is open: do it without that dependency."`
}

// MaxClaim is how many jobs one claim takes.
const MaxClaim = 1000

// MaxWait is how long a claim waits.
const MaxWait = 60 * time.Second

var queueName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$`)

func (r *ClaimRequest) check() error {
	if r.Limit == 0 {
		r.Limit = 1
	}
	switch {
	case r.Worker == "" || len([]rune(r.Worker)) > 200:
		return invalid("worker", "must be a name of 1 to 200 characters")
	case strings.ContainsRune(r.Worker, 0): // the database would refuse it, and with it all claims of the same statement
		return invalid("worker", "must not contain a zero character")
	case len(r.Queues) == 0 || len(r.Queues) > 100:
		return invalid("queues", "must name 1 to 100 queues")
	case r.Limit < 1 || r.Limit > MaxClaim:
		return invalid("limit", fmt.Sprintf("must be from 1 to %d", MaxClaim))
	case r.Wait < 0 || r.Wait > MaxWait:
		return invalid("wait_seconds", "must be from 0 to 60")
	case r.LeaseSeconds < 0 || r.LeaseSeconds > 3600:
		return invalid("lease_seconds", "must be from 1 to 3600")
	}
	for i, q := range r.Queues {
		if !queueName.MatchString(q) {
			return invalid(fmt.Sprintf("queues[%d]", i), "must be 1 to 128 letters, digits or _ . : -")
		}
	}
	return nil
}

// Claim takes up to Limit jobs for a worker. If there are none, or the worker is to get none, it waits, up to Wait, and then returns an empty list. All
// claims of a node for the same queues go through one claimer, in the order in which they came. Errors: InvalidArgument, Unavailable; a Refusal where it was
// the worker's fault that it got nothing.
func (e *Engine) Claim(ctx context.Context, r ClaimRequest) ([]ClaimedJob, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	e.signs.note(r.Worker)
	queues := slices.Clone(r.Queues)
	slices.Sort(queues)
	queues = slices.Compact(queues)

	w := &waiter{worker: r.Worker, limit: r.Limit, leaseSeconds: r.LeaseSeconds, patient: r.Wait > 0, done: make(chan claimed, 1)}
	c, err := e.join(queues, w)
	if err != nil {
		return nil, err
	}
	var timeout <-chan time.Time
	if w.patient {
		timer := time.NewTimer(r.Wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case got := <-w.done:
		return e.handOver(ctx, got)
	case <-timeout:
	case <-ctx.Done():
	}
	if c.leave(w) {
		if w.refusal != "" {
			return nil, w.refusal
		}
		return []ClaimedJob{}, ctx.Err()
	}
	return e.handOver(ctx, <-w.done) // it was being served when the time was up
}

// handOver gives jobs to a caller, or back to the queue if the caller has gone.
func (e *Engine) handOver(ctx context.Context, got claimed) ([]ClaimedJob, error) {
	if got.err != nil {
		return nil, got.err
	}
	if ctx.Err() != nil && len(got.jobs) > 0 {
		e.giveBack(got.jobs)
		return nil, ctx.Err()
	}
	return got.jobs, nil
}

// giveBack releases jobs that nobody is there to work on. If that fails their leases run out.
func (e *Engine) giveBack(jobs []ClaimedJob) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	acks := make([]Ack, len(jobs))
	for i, j := range jobs {
		acks[i] = Ack{ID: j.ID, Token: j.Token, Outcome: Release}
	}
	if _, err := e.Ack(ctx, acks); err != nil {
		e.log.Warn("could not release jobs whose worker had gone; their leases run out", "jobs", len(jobs), "error", err)
	}
}

// join adds a waiter to the claimer of these queues, which it starts if there is none.
func (e *Engine) join(queues []string, w *waiter) (*claimer, error) {
	key := strings.Join(queues, ",")
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.draining {
		return nil, shuttingDown()
	}
	c := e.claimers[key]
	if c == nil {
		c = newClaimer(e, key, queues)
		e.claimers[key] = c
		go c.run()
	}
	c.add(w)
	return c, nil
}

// wake makes the claimers of these queues look again; no queues: all claimers.
func (e *Engine) wake(queues []string) {
	e.metrics.wakes.Inc()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.claimers {
		if len(queues) == 0 || slices.ContainsFunc(queues, func(q string) bool { return slices.Contains(c.queues, q) }) {
			c.wake()
		}
	}
}

// workerChanged lets claims of a worker look again at once that were refused because of it.
func (e *Engine) workerChanged(name string) {
	e.eachClaimer(func(c *claimer) { c.retry(func(w *waiter) bool { return w.worker == name }, 0) })
}

// jobsEnded lets claims look again soon whose workers had as many jobs as they may: some job was one of theirs, perhaps.
func (e *Engine) jobsEnded() {
	e.eachClaimer(func(c *claimer) {
		c.retry(func(w *waiter) bool { return w.refusal == RefusedAtCapacity }, refusedFirst)
	})
}

func (e *Engine) eachClaimer(do func(*claimer)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.claimers {
		do(c)
	}
}
