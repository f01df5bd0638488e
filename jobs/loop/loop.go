// Package loop runs the engine's loops. A loop runs on every node and moves jobs: a step, a wait, the next step. Steps skip the work
// that another node holds, so that any number of nodes run the same loops. (A chore is upkeep, and runs through River: see jobs/chores.)
//
// It imports jobs/clock, and knows neither jobs nor the database: a step is a function, and can be tested without its loop.
package loop

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/jobs/clock"
)

const (
	backOff     = 250 * time.Millisecond // times the number of failures in a row
	longestWait = 5 * time.Second        // after a failure
	logEvery    = 20                     // of many failures in a row, the first and each 20th are logged
	stuckAfter  = time.Minute            // a step that takes longer is a problem
)

// Signal wakes a loop before its wait is over. It holds one wake-up: raising it again before the loop has seen it changes nothing.
// Its zero value, nil, is never seen and must not be raised.
type Signal chan struct{}

// NewSignal makes a Signal.
func NewSignal() Signal { return make(Signal, 1) }

// Raise wakes the loop. It does not block.
func (s Signal) Raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Loop is a step that is run again and again.
type Loop struct {
	Name string
	// Step does one portion of work and returns how long to wait before the next one; 0: not at all.
	Step func(ctx context.Context) (wait time.Duration, err error)
	// Wake cuts the wait short. Defaults to nothing.
	Wake Signal
}

// Runner runs loops, and knows which of them do not work. Log and Observe are required.
type Runner struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Observe is told how long each step took and how it ended.
	Observe func(loop string, took time.Duration, err error)
	// Describe says in a few words what an error is, for Problem. Defaults to its text.
	Describe func(error) string

	mu     sync.Mutex
	began  map[string]time.Time // when the step under way began
	failed map[string]error     // the error of the last step, if it failed
}

// Run runs the loops until ctx ends and every step under way has returned.
func (r *Runner) Run(ctx context.Context, loops ...Loop) {
	var running sync.WaitGroup
	for _, l := range loops {
		running.Go(func() { r.run(ctx, l) })
	}
	running.Wait()
}

// run waits a little longer after each failure in a row.
func (r *Runner) run(ctx context.Context, l Loop) {
	failures := 0
	for ctx.Err() == nil {
		wait, err := r.step(ctx, l)
		switch {
		case err != nil && ctx.Err() == nil:
			failures++
			wait = min(time.Duration(failures)*backOff, longestWait)
			if failures == 1 || failures%logEvery == 0 {
				r.Log.Warn("a loop's step failed; retrying", "loop", l.Name, "failures", failures, "error", err)
			}
		case failures > 0:
			r.Log.Info("a loop works again", "loop", l.Name, "failures", failures)
			failures = 0
		}
		r.wait(ctx, l, wait)
	}
}

func (r *Runner) step(ctx context.Context, l Loop) (time.Duration, error) {
	began := r.Clock.Now()
	r.begin(l.Name, began)
	wait, err := l.Step(ctx)
	r.end(l.Name, err)
	r.Observe(l.Name, r.Clock.Since(began), err)
	return wait, err
}

// wait adds up to a tenth, so that the nodes do not all run their steps at the same moment.
func (r *Runner) wait(ctx context.Context, l Loop, wait time.Duration) {
	if wait <= 0 {
		return
	}
	timer := r.Clock.Timer(wait + r.Clock.Jitter(wait/10+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.Wake:
	case <-timer.C:
	}
}

func (r *Runner) begin(loop string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.began == nil {
		r.began, r.failed = map[string]time.Time{}, map[string]error{}
	}
	r.began[loop] = now
}

func (r *Runner) end(loop string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.began, loop)
	if err == nil {
		delete(r.failed, loop)
	} else {
		r.failed[loop] = err
	}
}

// Problem says which loops are stuck or failed last; nothing if all of them work.
func (r *Runner) Problem() string {
	describe := r.Describe
	if describe == nil {
		describe = error.Error
	}
	now := r.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var problems []string
	for loop, at := range r.began {
		if took := now.Sub(at); took > stuckAfter {
			problems = append(problems, fmt.Sprintf("a step of loop %s has taken %d s so far", loop, int(took.Seconds())))
		}
	}
	for loop, err := range r.failed {
		problems = append(problems, fmt.Sprintf("the last step of loop %s failed: %s", loop, describe(err)))
	}
	slices.Sort(problems)
	return strings.Join(problems, "; ")
}
