package weir

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// claimWait is how long a claim waits at weir for a job.
	claimWait = 20 * time.Second
	// aheadFor is how much work is claimed ahead of free slots, as a time: enough to keep them busy during a claim, and too little for a job to wait
	// here that another worker could start.
	aheadFor = 100 * time.Millisecond
	// maxClaim is the most jobs of one claim.
	maxClaim = 1000
	// maxUnacked is how many jobs may have ended and not be acked before no more are claimed.
	maxUnacked = 4000
	// slotWait is how long a job waits here for a slot before it goes back: its timeout is running.
	slotWait = 2 * time.Second
)

// lane is some queues of a worker and the slots that their jobs share. What it counts is guarded by the worker's lock.
type lane struct {
	w      *Worker
	queues []string
	slots  int
	nudge  chan struct{} // capacity 1: there may be room for another claim

	waiting []*run // for a slot, in order
	running int
	acking  int
	meanRun time.Duration // of the last runs; 0: none yet
	dry     bool          // the last claim ahead of need found nothing
}

func newLane(w *Worker, queues []string, slots int) *lane {
	return &lane{w: w, queues: queues, slots: slots, nudge: make(chan struct{}, 1)}
}

// fetch claims until stop ends. Its error says that weir refuses the claims for good.
func (l *lane) fetch(stop context.Context) error {
	var p pauses
	accepted := false
	for stop.Err() == nil {
		limit, patient := l.wanted()
		if limit == 0 {
			select {
			case <-l.nudge:
			case <-stop.Done():
			}
			continue
		}
		r := claimRequest{Worker: l.w.config.Name, Queues: l.queues, Limit: limit, LeaseSeconds: int(l.w.config.Lease / time.Second)}
		if patient {
			r.WaitSeconds = claimWait.Seconds()
		}
		began := time.Now()
		jobs, err := l.w.client.t.claim(stop, r)
		l.take(jobs, patient)
		switch {
		case err == nil:
			accepted = true
			l.w.claiming.over()
			if !patient || len(jobs) > 0 || time.Since(began) > time.Second {
				p = pauses{}
				continue
			}
			// It did not wait: its node may be shutting down.
			sleep(stop, p.next(nil))
		case stop.Err() != nil:
		case !accepted && refusesWorker(err):
			return fmt.Errorf("weir refuses the claims of worker %s: %w", l.w.config.Name, err)
		default:
			l.w.claiming.note(err)
			sleep(stop, p.next(err))
		}
	}
	return nil
}

// refusesWorker says whether claims will never be accepted as they are.
func refusesWorker(err error) bool {
	var e *Error
	if !errors.As(err, &e) || isAway(err) {
		return false
	}
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusConflict || e.Status == 0
}

// wanted is how many jobs to claim now, and whether to wait for them. A claim waits only for slots that are free. Ahead of need the lane asks again
// when half of what is ahead is used up, and not after a claim that found nothing.
func (l *lane) wanted() (limit int, patient bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.stopping || l.acking >= maxUnacked {
		return 0, false
	}
	has, ahead := l.running+len(l.waiting), l.ahead()
	missing := min(l.slots+ahead-has, maxClaim)
	if has < l.slots {
		return missing, true
	}
	if l.dry || missing < max(1, ahead/2) {
		return 0, false
	}
	return missing, false
}

// ahead is how many jobs to hold besides those that run: what the slots work off in aheadFor, and at most twice the slots. It is 0 until the first
// run has ended.
func (l *lane) ahead() int {
	if l.meanRun == 0 {
		return 0
	}
	return int(min(int64(max(2*l.slots, 8)), int64(l.slots)*int64(aheadFor)/int64(l.meanRun)))
}

// take takes over claimed jobs.
func (l *lane) take(jobs []*claimedJob, patient bool) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	l.dry = !patient && len(jobs) == 0
	for _, j := range jobs {
		r := newRun(l, j)
		if before := w.latest[j.ID]; before != nil && before.phase != phaseEnded && !before.unverified() {
			before.lose() // the job was taken back, and comes again before a heartbeat has told
		}
		w.held[r], w.latest[j.ID] = struct{}{}, r
		switch {
		case w.stopping:
			l.giveBack(r, ack{Outcome: ackRelease})
		case r.handler == nil:
			l.giveBack(r, ack{Outcome: ackFail, Error: &failure{
				Type: "unknown_kind", Message: fmt.Sprintf("worker %s has no handler of kind %s", w.config.Name, j.Kind),
			}})
		default:
			l.waiting = append(l.waiting, r)
		}
	}
	l.start()
}

// start starts jobs that wait, as far as there are slots for them. A job whose kind is at its concurrency lets others pass. The worker's lock is held.
func (l *lane) start() {
	left := l.waiting[:0]
	for _, r := range l.waiting {
		kind := r.handler.kind
		if l.running >= l.slots || r.handler.concurrency > 0 && l.w.running[kind] >= r.handler.concurrency {
			left = append(left, r)
			continue
		}
		l.running++
		l.w.running[kind]++
		r.phase = phaseRunning
		go r.work()
	}
	clear(l.waiting[len(left):])
	l.waiting = left
}

// ended frees the slot of a job, and starts the next.
func (l *lane) ended(r *run, ran time.Duration) {
	w := l.w
	w.mu.Lock()
	l.running--
	l.acking++
	w.running[r.handler.kind]--
	r.phase = phaseEnded
	if l.meanRun == 0 {
		l.meanRun = ran
	}
	l.meanRun = max(l.meanRun+(ran-l.meanRun)/8, 1)
	if !w.stopping {
		if l.start(); r.handler.concurrency > 0 { // another lane may have jobs of the kind that wait
			for _, other := range w.lanes {
				other.start()
			}
		}
	}
	w.mu.Unlock()
	w.touch()
	l.hurry()
}

// hurry has the lane look whether to claim.
func (l *lane) hurry() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// giveBack ends the lease of a job whose handler has not run. The worker's lock is held.
func (l *lane) giveBack(r *run, a ack) {
	r.phase = phaseEnded
	l.acking++
	a.ID, a.Token = r.job.ID, r.job.Token
	go r.settle(&a, nil, 0)
}

func (l *lane) giveBackWaiting() {
	for _, r := range l.waiting {
		l.giveBack(r, ack{Outcome: ackRelease})
	}
	l.waiting = nil
}

// giveBackOverdue gives back what has waited for a slot for too long. A job whose kind is at its concurrency comes back a little later. The worker's
// lock is held.
func (l *lane) giveBackOverdue(now time.Time) {
	left := l.waiting[:0]
	for _, r := range l.waiting {
		if now.Sub(r.job.claimedAt) < slotWait {
			left = append(left, r)
			continue
		}
		a := ack{Outcome: ackRelease}
		if r.handler.concurrency > 0 {
			delay := 1 + 2*rand.Float64()
			a = ack{Outcome: ackSnooze, DelaySeconds: &delay}
		}
		l.giveBack(r, a)
	}
	clear(l.waiting[len(left):])
	l.waiting = left
}
