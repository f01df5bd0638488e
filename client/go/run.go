package weir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// phase is how far the worker is with a job.
type phase int

const (
	phaseWaiting phase = iota
	phaseRunning
	phaseEnded // and to be acked
)

// run is a job that the worker holds: from its claim until its ack is answered, or its lease is lost.
type run struct {
	w       *Worker
	lane    *lane
	handler *handler // nil: there is none of its kind
	job     *claimedJob
	raw     *RawJob

	phase   phase     // guarded by the worker's lock
	beatDue time.Time // only keepLeases touches it

	mu        sync.Mutex
	end       context.CancelCauseFunc // of the handler's context; nil: it has none yet
	ended     error                   // why it was told to end, before it had one
	progress  *progress               // to be sent
	result    json.RawMessage
	adds      *additions // to be stored with its completion; nil: nothing
	inTx      bool       // a transaction of the application settles it
	isLost    bool
	abandoned bool // its handler does not return, and the worker ends without it
	lines     []logLine
	dropped   int

	logTurn   sync.Mutex  // held while lines are sent
	verifying atomic.Bool // its transaction is over, and a heartbeat is to tell whether it was committed
	verified  chan bool
}

func newRun(l *lane, j *claimedJob) *run {
	r := &run{w: l.w, lane: l, job: j, handler: l.w.handlers[j.Kind], raw: newRawJob(j, l.w.config.Name)}
	r.raw.run = r
	r.beatDue = j.claimedAt.Add(l.w.config.Lease / 3)
	return r
}

// deadline is when the job's timeout ends its handler. weir counts from the claim and takes the job back at that time, so the worker is a little
// early: only it knows what the handler said.
func (r *run) deadline() time.Time {
	return r.job.claimedAt.Add(r.raw.Timeout - min(r.raw.Timeout/10, 500*time.Millisecond))
}

// work runs the handler and settles the job.
func (r *run) work() {
	ctx, end := context.WithCancelCause(r.w.base)
	ctx, cancel := context.WithDeadlineCause(ctx, r.deadline(), ErrTimeout)
	r.mu.Lock()
	r.end = end
	if r.ended != nil {
		end(r.ended)
	}
	r.mu.Unlock()
	if started := r.w.config.Hooks.Started; started != nil {
		started(ctx, r.raw)
	}
	began := time.Now()
	err := r.call(ctx)
	ran := time.Since(began)
	a := r.ackOf(ctx, err)
	cancel()
	end(nil)
	r.lane.ended(r, ran)
	r.sendLines()
	r.settle(a, err, ran)
}

// call calls the handler. A panic is an error with its stack, and so is a handler that ends its goroutine.
func (r *run) call(ctx context.Context) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if p == nil {
			// runtime.Goexit runs on after this function, so the rest of work happens on another goroutine.
			err = &panicError{value: "the handler ended its goroutine", stack: string(debug.Stack())}
			go r.afterGoexit(ctx, err)
			return
		}
		err = &panicError{value: p, stack: string(debug.Stack())}
	}()
	err = r.handler.work(ctx, r.raw)
	returned = true
	return err
}

// afterGoexit settles a job whose handler called runtime.Goexit, as t.FailNow does.
func (r *run) afterGoexit(ctx context.Context, err error) {
	a := r.ackOf(ctx, err)
	r.lane.ended(r, 0)
	r.sendLines()
	r.settle(a, err, 0)
}

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprint(p.value) }

func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

func (p *panicError) ErrorType() string { return "panic" }

// longest is the longest delay that weir takes, 10 years.
const longest = 315_360_000

func seconds(d time.Duration) *float64 {
	s := min(max(d.Seconds(), 0), longest)
	return &s
}

// ackOf is what to tell weir after the handler has returned; nil: nothing, because a transaction has told it.
func (r *run) ackOf(ctx context.Context, err error) *ack {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &ack{ID: r.job.ID, Token: r.job.Token}
	cause := context.Cause(ctx)
	o := wanted(err)
	switch {
	case err == nil && r.inTx:
		return nil
	case err == nil:
		a.Outcome, a.Result, a.adds = ackComplete, r.result, r.adds
		return a
	case o != nil && o.what == outcomeSnooze:
		a.Outcome, a.DelaySeconds = ackSnooze, seconds(o.delay)
		return a
	case errors.Is(cause, ErrShutdown) && (o == nil || o.what != outcomeCancel):
		a.Outcome = ackRelease
		return a
	}
	a.Outcome, a.Error = ackFail, failureOf(err)
	switch {
	case errors.Is(cause, ErrTimeout):
		a.Error.Type = "timeout"
	case o != nil && o.what == outcomeCancel:
		if a.Cancel = true; o.err == nil {
			a.Error.Type = "cancelled"
		}
	case o != nil && o.what == outcomeRetry:
		a.RetryInSeconds = seconds(o.delay)
	case o != nil && o.what == outcomeDiscard:
		a.Retry = new(bool)
	}
	return a
}

func failureOf(err error) *failure {
	f := &failure{Message: err.Error(), Type: typeOf(err)}
	var p *panicError
	if errors.As(err, &p) {
		f.Stack = p.stack
	}
	if f.Message == "" {
		f.Message = f.Type
	}
	return f
}

// stop ends the handler's context, and says why.
func (r *run) stop(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended == nil {
		r.ended = cause
	}
	if r.end != nil {
		r.end(cause)
	}
}

// lose notes that the lease is lost, and ends the handler's context.
func (r *run) lose() {
	r.mu.Lock()
	r.isLost = true
	r.mu.Unlock()
	r.stop(ErrLeaseLost)
}

// abandon gives back a job whose handler does not return. What the handler says later is not told to weir.
func (r *run) abandon() {
	r.w.mu.Lock()
	runs := r.phase == phaseRunning
	r.w.mu.Unlock()
	if !runs {
		return
	}
	r.mu.Lock()
	r.abandoned = true
	lost := r.isLost
	r.mu.Unlock()
	if !lost {
		_, _ = r.w.send(ack{ID: r.job.ID, Token: r.job.Token, Outcome: ackRelease})
	}
}

// gone says whether the worker no longer waits for the job.
func (r *run) gone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.abandoned
}

func (r *run) setProgress(p *progress) {
	p.Percent = min(max(p.Percent, 0), 100)
	r.mu.Lock()
	r.progress = p
	r.mu.Unlock()
}
