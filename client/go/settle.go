package weir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirhq/weir/jobs/batch"
	"github.com/weirhq/weir/jobs/clock"
)

const (
	ackBatch    = 1000 // acks that are sent together,
	heavyBytes  = 4096 // an ack counts for one more with each of these bytes of its result
	ackFlights  = 2
	ackInFlight = 1_000_000 // acks that may wait; maxUnacked bounds them
)

// groupAcks makes the group that sends the acks of jobs that end together in one call: the group commit of package jobs.
func (w *Worker) groupAcks() *batch.Group[ack, ackStatus] {
	return batch.New(batch.Config[ack, ackStatus]{
		Run:     w.client.t.ack,
		Weigh:   func(a ack) int { return 1 + len(a.Result)/heavyBytes },
		Bytes:   func(a ack) int { return len(a.Result) },
		Locked:  func(error) bool { return false },
		Away:    isAway,
		Aside:   make(chan struct{}, ackFlights),
		Size:    ackBatch,
		Flights: ackFlights,
		Queue:   ackInFlight,
		Gathers: true,
		Observe: func(int) {},
		Log:     w.log,
		Clock:   clock.Clock{},
	})
}

// settle tells weir how a job ended, and lets go of it.
func (r *run) settle(a *ack, cause error, ran time.Duration) {
	r.mu.Lock()
	lost, abandoned := r.isLost, r.abandoned
	r.mu.Unlock()
	ending := Ending{Err: cause, Ran: ran}
	switch {
	case abandoned:
		return
	case lost:
		ending.Outcome, ending.Err = "lost", errors.Join(ErrLeaseLost, cause)
	case a == nil:
		ending.Outcome = ackComplete
		if r.w.verify(r) {
			break
		}
		a = &ack{ID: r.job.ID, Token: r.job.Token, Outcome: ackFail, Error: &failure{
			Type: "uncommitted", Message: "the handler completed the job in a transaction, returned nil, and did not commit",
		}}
		ending.Err = errors.New(a.Error.Message)
		fallthrough
	default:
		accepted, err := r.w.send(*a)
		if ending.Outcome = a.Outcome; a.Cancel {
			ending.Outcome = outcomeCancel
		}
		if !accepted {
			ending.Outcome, ending.Err = "lost", errors.Join(err, cause)
			r.w.log.Warn("weir did not accept the end of a job", "job", r.job.ID, "kind", r.job.Kind, "outcome", a.Outcome, "error", err)
		}
	}
	r.w.letGo(r)
	if told := r.w.config.Hooks.Ended; told != nil {
		told(r.w.base, r.raw, ending)
	}
}

// letGo forgets a job.
func (w *Worker) letGo(r *run) {
	w.mu.Lock()
	delete(w.held, r)
	if w.latest[r.job.ID] == r {
		delete(w.latest, r.job.ID)
	}
	r.lane.acking--
	w.mu.Unlock()
	w.touch()
	r.lane.hurry()
}

// send sends an ack until weir has answered, or the shutdown gives up. If an ack was accepted and its answer was lost, it is stale the second time,
// which changes nothing.
func (w *Worker) send(a ack) (accepted bool, err error) {
	for p := (pauses{}); ; {
		status, err := w.sendOnce(a)
		switch {
		case w.ackCtx.Err() != nil:
			w.mu.Lock()
			w.unsent++
			w.mu.Unlock()
			return false, errors.New("the worker ended before weir answered")
		case err != nil && isAway(err), errors.Is(err, batch.ErrFull):
			w.acking.note(err)
			sleep(w.ackCtx, p.next(err))
			continue
		case err == nil && status.accepted:
			w.acking.over()
			return true, nil
		case err == nil && status.err == nil:
			w.acking.over()
			return false, ErrLeaseLost
		case err == nil:
			err = status.err
		}
		if next, ok := a.without(err); ok {
			a = next
			continue
		}
		w.log.Error("weir refuses an ack; the job's lease will run out", "job", a.ID, "outcome", a.Outcome, "error", err)
		return false, err
	}
}

// sendOnce sends an ack with those of others. A completion that adds something goes alone: what it adds may be refused, or wait for a lock.
func (w *Worker) sendOnce(a ack) (ackStatus, error) {
	if a.adds == nil {
		return w.acks.One(w.ackCtx, a)
	}
	err := w.client.t.completeWith(w.ackCtx, a, a.adds)
	switch {
	case errors.Is(err, ErrLeaseLost):
		return ackStatus{}, nil
	case isAway(err):
		return ackStatus{}, err
	}
	return ackStatus{accepted: err == nil, err: err}, nil
}

// without is an ack in place of one whose values weir refuses: what was refused would be refused again.
func (a ack) without(why error) (ack, bool) {
	switch {
	case a.adds != nil:
		return ack{ID: a.ID, Token: a.Token, Outcome: ackFail, Error: &failure{
			Type: "follow_up", Message: "weir refuses what the completion adds: " + why.Error(),
		}}, true
	case a.Outcome == ackComplete && a.Result != nil:
		no := false
		return ack{ID: a.ID, Token: a.Token, Outcome: ackFail, Retry: &no, Error: &failure{
			Type: "result", Message: "weir refuses the result: " + why.Error(),
		}}, true
	case a.Outcome == ackFail && a.Error.Type != "report":
		return ack{ID: a.ID, Token: a.Token, Outcome: ackFail, Retry: a.Retry, Error: &failure{
			Type: "report", Message: "the attempt failed, and weir refuses the reason: " + why.Error(),
		}}, true
	}
	return a, false
}

// outage logs that something does not work, once, and that it works again.
type outage struct {
	log  *slog.Logger
	what string
	tell func(error)

	mu    sync.Mutex
	since time.Time
}

func (o *outage) note(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if o.tell != nil {
		o.tell(fmt.Errorf("%s: %w", o.what, err))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
		o.log.Warn(o.what+" does not work; trying again", "error", err)
	}
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		o.log.Info(o.what+" works again", "after", time.Since(o.since).Round(time.Millisecond).String())
		o.since = time.Time{}
	}
}
