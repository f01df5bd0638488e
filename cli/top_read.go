package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirhq/weir/rest"
)

const (
	topWindow     = 2 * time.Minute  // of rates; the last minute may not be counted yet
	topLongWindow = 15 * time.Minute // of percentiles and failures
	topTimeout    = 10 * time.Second // of all calls of a refresh
	topWaitCalls  = 2                // queues of which a refresh reads how long jobs wait
	topSlowAfter  = 10 * time.Second // a queue with a job that waits longer than this is asked why
	topFresh      = 2 * time.Minute  // how long an answer of a call that is made in turn counts
)

// topSnapshot is what a node has answered.
type topSnapshot struct {
	at       time.Time
	queues   []topQueue
	total    topRates
	wait     *topWait // of all queues
	workers  []worker
	breakers []breaker
	failures []topFailure
	whys     map[string]topWhy // by queue
	behind   time.Duration     // how old the newest numbers are
}

// topQueue is a queue with what it does.
type topQueue struct {
	queue
	topRates
	wait *topWait // nil: not read lately
}

// topCounts are what happened in the window.
type topCounts struct {
	Name      string `json:"name"`
	Enqueued  int64  `json:"enqueued"`
	Completed int64  `json:"completed"`
	Failed    int64  `json:"failed"`
	TimedOut  int64  `json:"timed_out"`
	Lost      int64  `json:"lost"`
}

// topRates are what happens a second. They are those of the time that is counted, which on a busy node ends a minute ago.
type topRates struct {
	in, out       float64
	ended, failed int64 // attempts: all, and those that failed
}

func (r *topRates) add(c topCounts, counted time.Duration) {
	if counted > 0 {
		r.in += float64(c.Enqueued) / counted.Seconds()
		r.out += float64(c.Completed) / counted.Seconds()
	}
	failed := c.Failed + c.TimedOut + c.Lost
	r.failed += failed
	r.ended += failed + c.Completed
}

// failing is the fraction of the attempts that failed.
func (r topRates) failing() float64 {
	if r.ended == 0 {
		return 0
	}
	return float64(r.failed) / float64(r.ended)
}

// topWait is how long jobs of a queue waited.
type topWait struct {
	at    time.Time
	Total struct {
		Count int64   `json:"count"`
		P95   float64 `json:"p95_seconds"`
	} `json:"total"`
}

// topFailure is a class of failures.
type topFailure struct {
	Kind         string    `json:"kind"`
	Event        string    `json:"event"`
	Type         string    `json:"type"`
	Attempts     int64     `json:"attempts"`
	LastSeenAt   time.Time `json:"last_seen_at"`
	ExampleJobID string    `json:"example_job_id"`
}

// topWhy is why jobs of a queue do not run.
type topWhy struct {
	at      time.Time
	Reasons []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Jobs    int64  `json:"jobs"`
	} `json:"reasons"`
}

// topReader reads a node. A refresh makes at most seven calls: three for what changes all the time, one for circuit breakers
// or failures, two for the waits of queues in turn, and one to ask a slow queue why.
type topReader struct {
	weir     *rest.Client
	round    int
	waited   int // queues whose waits were read
	asked    int // slow queues that were asked
	waits    map[string]*topWait
	whys     map[string]topWhy
	slow     []string
	breakers []breaker
	failures []topFailure
}

// topCalls are the calls of a refresh, made at once.
type topCalls struct {
	ctx   context.Context
	weir  *rest.Client
	group *errgroup.Group
}

// get makes a call and decodes its answer into a value. A call that need not succeed may be refused: the key may not see it, or it is gone.
func (c topCalls) get(call rest.Call, into any, must bool) {
	c.group.Go(func() error {
		answer, err := rest.Do[json.RawMessage](c.ctx, c.weir, call)
		if err != nil {
			if !must && rest.Refused(err) {
				return nil
			}
			return err
		}
		if err := json.Unmarshal(answer, into); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		return nil
	})
}

func ofWindow(path string, window time.Duration) rest.Call {
	return rest.Get(path).With("window_seconds", strconv.Itoa(int(window.Seconds())))
}

// read makes the calls of a refresh. wanted are the queues whose waits the screen shows.
func (r *topReader) read(ctx context.Context, wanted []string) (*topSnapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, topTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	calls := topCalls{ctx, r.weir, group}
	var queues struct{ Items []queue }
	var workers struct{ Items []worker }
	var shares struct {
		Since        time.Time   `json:"since"`
		Until        time.Time   `json:"until"`
		CountedUntil time.Time   `json:"counted_until"`
		Queues       []topCounts `json:"queues"`
	}
	calls.get(rest.Get("/v1/queues").With("limit", "1000"), &queues, true)
	calls.get(ofWindow("/v1/stats/distribution", topWindow), &shares, true)
	calls.get(rest.Get("/v1/workers").With("limit", "500"), &workers, false)
	var breakers struct{ Items []breaker }
	var failures struct {
		Classes []topFailure `json:"classes"`
	}
	if r.round%2 == 0 {
		calls.get(rest.Get("/v1/breakers").With("limit", "500"), &breakers, false)
	} else {
		calls.get(ofWindow("/v1/stats/failures", topLongWindow), &failures, false)
	}
	names := inTurn(append([]string{""}, wanted...), &r.waited, topWaitCalls)
	waits := make([]topWait, len(names))
	for i, name := range names {
		calls.get(ofWindow("/v1/stats/wait-times", topLongWindow).With("queue", name), &waits[i], false)
	}
	asked := inTurn(r.slow, &r.asked, 1)
	why := topWhy{at: time.Now()}
	for _, name := range asked {
		calls.get(rest.Get(rest.Path("queues", name, "why")), &why, false)
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if r.round%2 == 0 {
		r.breakers = breakers.Items
	} else {
		r.failures = failures.Classes
	}
	r.round++
	for i, name := range names {
		waits[i].at = time.Now()
		r.waits[name] = &waits[i]
	}
	for _, name := range asked {
		r.whys[name] = why
	}
	s := r.snapshot(queues.Items, shares.Queues, shares.CountedUntil.Sub(shares.Since))
	s.workers, s.behind = workers.Items, shares.Until.Sub(shares.CountedUntil)
	return s, nil
}

// inTurn takes the next few of some names, and goes round.
func inTurn(names []string, turn *int, most int) (next []string) {
	for range min(most, len(names)) {
		next = append(next, names[*turn%len(names)])
		*turn++
	}
	return next
}

// snapshot puts together what came now, and what came in turn and is still fresh.
func (r *topReader) snapshot(queues []queue, counts []topCounts, counted time.Duration) *topSnapshot {
	now := time.Now()
	for name, wait := range r.waits {
		if now.Sub(wait.at) > topFresh {
			delete(r.waits, name)
		}
	}
	s := &topSnapshot{at: now, breakers: r.breakers, failures: r.failures, whys: map[string]topWhy{}, wait: r.waits[""]}
	of := map[string]topRates{}
	for _, c := range counts { // with the sum of the others, which has no name
		var rates topRates
		rates.add(c, counted)
		of[c.Name] = rates
		s.total.add(c, counted)
	}
	r.slow = nil
	for _, q := range queues {
		s.queues = append(s.queues, topQueue{queue: q, topRates: of[q.Name], wait: r.waits[q.Name]})
		if q.Available > 0 && Seconds(q.OldestAvailableSeconds) > topSlowAfter {
			r.slow = append(r.slow, q.Name)
		}
	}
	for name, why := range r.whys {
		if now.Sub(why.at) > topFresh || !slices.Contains(r.slow, name) {
			delete(r.whys, name)
		}
	}
	maps.Copy(s.whys, r.whys)
	return s
}
