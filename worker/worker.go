package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"
)

const (
	// lookEvery is how often the worker looks at what is due: heartbeats, waits that are over, the bounds of its end.
	lookEvery = 100 * time.Millisecond

	// waitLimit is how long a job may wait here for a slot. Then it goes back to the queue, for others: its timeout is running.
	waitLimit = 2 * time.Second

	// maxUnreported is how many jobs may wait for their report before no more are claimed.
	maxUnreported = 2000

	// lastClaim is how long, at the end, a claim under way may still be answered. One that has not been by then waits at an empty
	// queue, and can be broken off without losing jobs.
	lastClaim = 500 * time.Millisecond

	// lastReports and lastReportsInsisted are how long, at the end, reporting is tried.
	lastReports         = 15 * time.Second
	lastReportsInsisted = 3 * time.Second
)

// workerConfig is how a worker is set up. Everything is required.
type workerConfig struct {
	client       *client
	log          *slog.Logger
	name         string
	fleeting     bool // the name is this process's own
	queues       []string
	slots        int // how many commands run at once
	leaseSeconds int
	grace        time.Duration // how long commands may go on when the worker is told to end
	command      *command
}

// worker runs a command for each job that it claims. One goroutine, run, owns all that is here; calls and commands run in others,
// and send it what came of them.
type worker struct {
	workerConfig
	claiming   *claiming
	heartbeats *heartbeats
	reporter   *reporter
	presence   *presence

	held    map[string]*holding // all, by token
	queue   []*holding          // those that wait for a slot, in order
	running int
	over    []*holding // those to be reported, in order
	overAt  time.Time  // since when there are such
	tally   tally

	starts  chan *holding
	endings chan runEnding

	stopping bool
	killAt   time.Time // when the grace of the running commands is over; zero: it is not running
	giveUpAt time.Time // when reporting is given up; zero: not yet
}

// tally counts how jobs ended here.
type tally struct{ done, failed, cancelled, released, lost int }

// runEnding is what came of a run.
type runEnding struct {
	h      *holding
	ending ending
}

func newWorker(c workerConfig) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	return &worker{
		workerConfig: c,
		claiming: &claiming{
			client: c.client, log: c.log, worker: c.name, queues: c.queues, slots: c.slots, leaseSeconds: c.leaseSeconds,
			answers: make(chan claimAnswer, 1), ctx: ctx, cancel: cancel, outage: outage{log: c.log, what: "claiming"},
		},
		heartbeats: newHeartbeats(c.client, c.log, c.leaseSeconds, c.slots),
		reporter:   newReporter(c.client, c.log),
		// Room for the jobs that run, those that are claimed ahead of need, and as many that are over and yet to be reported.
		presence: newPresence(c.client, c.log, c.name, c.queues, c.slots+2*mostAhead(c.slots)),
		held:     map[string]*holding{},
		starts:   make(chan *holding, c.slots),
		endings:  make(chan runEnding, c.slots),
	}
}

// run works until it is told to stop, and then until everything that it holds is reported, or cannot be.
func (w *worker) run(stop *stop) error {
	for range w.slots {
		go w.slot()
	}
	defer close(w.starts)
	defer w.claiming.cancel()
	defer w.reporter.cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	asked, insisted := stop.asked.Done(), stop.insisted.Done()
	var fatal error
	for {
		w.start()
		w.claim()
		gathered := w.report()
		if w.finished() {
			if w.fleeting {
				w.presence.leave()
			}
			return w.sumUp(fatal)
		}
		select {
		case a := <-w.claiming.answers:
			if err := w.claiming.take(a); err != nil {
				fatal = err
				w.windDown()
			}
			w.hold(a.jobs)
		case e := <-w.endings:
			w.runEnded(e)
		case a := <-w.heartbeats.answers:
			w.beaten(a)
		case a := <-w.reporter.answers:
			w.reported(a)
		case a := <-w.presence.answers:
			w.presence.take(a)
		case <-gathered:
		case now := <-ticker.C:
			w.look(now)
		case <-asked:
			asked = nil
			w.log.Info("stopping: no more claims, waiting for what runs; a second signal ends at once", "running", w.running, "grace", w.grace.String())
			w.windDown()
		case <-insisted:
			insisted = nil
			w.cutShort()
		}
	}
}

// slot runs one command at a time. Its thread is its own for good, because on Linux a command is killed when the thread that started
// it ends; see processGroup.
func (w *worker) slot() {
	runtime.LockOSThread()
	for h := range w.starts {
		w.endings <- runEnding{h, w.command.run(h.job, h.deadline(), h.stop)}
	}
}

// hold takes in jobs that were claimed.
func (w *worker) hold(claimed []*claimedJob) {
	now := time.Now()
	for _, job := range claimed {
		h := newHolding(job, now, w.heartbeats.every)
		w.held[job.Token] = h
		if w.stopping {
			w.finish(h, ack{ID: job.ID, Token: job.Token, Outcome: release}, shuttingDown)
		} else {
			w.queue = append(w.queue, h)
		}
	}
}

// start gives waiting jobs to free slots.
func (w *worker) start() {
	for w.running < w.slots && len(w.queue) > 0 {
		h := w.queue[0]
		if time.Now().After(h.deadline()) { // its timeout is over before it began
			w.leave(h, notStopped)
			continue
		}
		w.queue = w.queue[1:]
		h.phase = running
		w.running++
		w.log.Debug("started", "job", h.job.ID, "kind", h.job.Kind, "queue", h.job.Queue, "attempt", h.job.Attempt)
		w.starts <- h
	}
}

func (w *worker) claim() {
	if w.stopping || len(w.over) > maxUnreported {
		return
	}
	if limit, patient := w.claiming.wanted(w.running+len(w.queue), time.Now()); limit > 0 {
		w.claiming.ask(limit, patient)
	}
}

func (w *worker) runEnded(e runEnding) {
	w.running--
	if e.ending.started && e.ending.stopped == notStopped {
		w.claiming.ran(e.ending.took)
	}
	if a, ok := e.ending.ack(e.h.job); ok {
		w.finish(e.h, a, e.ending.stopped)
	} else {
		w.drop(e.h)
	}
	w.log.Debug("ended", "job", e.h.job.ID, "kind", e.h.job.Kind, "outcome", e.h.ack.Outcome, "stopped", e.ending.stopped.String(),
		"took", e.ending.took.Round(time.Microsecond).String(), "error", message(e.h.ack.Error), "stderr", e.ending.stderr)
}

func message(f *failure) string {
	if f == nil {
		return ""
	}
	return f.Message
}

// finish has a job's end reported.
func (w *worker) finish(h *holding, a ack, why stopReason) {
	h.phase, h.ack, h.why = over, a, why
	if len(w.over) == 0 {
		w.overAt = time.Now()
	}
	w.over = append(w.over, h)
}

// report sends what is over. While there is more in hand it waits a little for others to go along, and returns when to look again.
func (w *worker) report() (gathered <-chan time.Time) {
	more := w.running+len(w.queue) > 0 && !w.stopping && len(w.over) < 4*w.slots
	if left := time.Until(w.overAt.Add(gatherFor)); more && len(w.over) > 0 && left > 0 {
		return time.After(left)
	}
	w.reporter.sendNext(&w.over)
	return nil
}

// drop forgets a job that is no longer this worker's.
func (w *worker) drop(h *holding) {
	w.tally.lost++
	delete(w.held, h.job.Token)
	w.log.Warn("lost the lease of a job; it runs elsewhere, or did", "job", h.job.ID, "attempt", h.job.Attempt)
}

// leave takes a waiting job out of the line, to release it.
func (w *worker) leave(h *holding, why stopReason) {
	w.queue = slices.DeleteFunc(w.queue, func(other *holding) bool { return other == h })
	w.finish(h, ack{ID: h.job.ID, Token: h.job.Token, Outcome: release}, why)
}

// beaten takes in what a heartbeat brought.
func (w *worker) beaten(a beatAnswer) {
	lost := w.heartbeats.take(a)
	h := a.h
	switch {
	case h.phase == over: // its report tells
	case lost && h.phase == waiting:
		w.queue = slices.DeleteFunc(w.queue, func(other *holding) bool { return other == h })
		h.phase = over
		w.drop(h)
	case lost:
		h.tell(leaseLost)
	case a.cancelled && h.phase == waiting:
		w.leave(h, jobCancelled)
	case a.cancelled:
		h.tell(jobCancelled)
	}
}

// reported takes in what became of reports.
func (w *worker) reported(a reportAnswer) {
	w.reporter.take(a)
	for i, h := range a.batch {
		delete(w.held, h.job.Token)
		h.ack = a.results[i].ack
		switch a.results[i].status {
		case ackOK:
			w.count(h)
		case ackStale, ackNotFound:
			w.tally.lost++
			w.log.Warn("a report came too late: the lease had run out, or the report had come through before and only the answer was lost", "job", h.job.ID, "outcome", h.ack.Outcome)
		default:
			w.tally.lost++
		}
	}
}

func (w *worker) count(h *holding) {
	switch {
	case h.ack.Outcome == complete:
		w.tally.done++
	case h.ack.Outcome == fail:
		w.tally.failed++
		w.log.Info("a job failed", "job", h.job.ID, "kind", h.job.Kind, "attempt", h.job.Attempt, "of", h.job.MaxAttempts, "error", shorten(oneLine(message(h.ack.Error)), 200))
	case h.why == jobCancelled:
		w.tally.cancelled++
		w.log.Info("stopped a job that was cancelled", "job", h.job.ID, "kind", h.job.Kind)
	default:
		w.tally.released++
	}
}

// look does what is due at this time.
func (w *worker) look(now time.Time) {
	w.heartbeats.send(w.held, now)
	w.presence.send(float64(w.running)/float64(w.slots), now)
	for len(w.queue) > 0 && now.Sub(w.queue[0].since) > waitLimit {
		w.claiming.ran(waitLimit) // runs take longer than thought: claim less ahead of need
		w.leave(w.queue[0], notStopped)
	}
	if !w.stopping {
		return
	}
	if !w.killAt.IsZero() && now.After(w.killAt) {
		w.killAt = time.Time{}
		w.tellAll(shuttingDown)
	}
	if w.running == 0 && w.giveUpAt.IsZero() {
		w.giveUpAt = now.Add(lastReports)
	}
	if w.running == 0 && now.After(w.giveUpAt) {
		w.reporter.cancel()
	}
}

func (w *worker) tellAll(reason stopReason) {
	for _, h := range w.held {
		if h.phase == running {
			h.tell(reason)
		}
	}
}

// windDown takes no more jobs, puts back what waits, and gives what runs its grace.
func (w *worker) windDown() {
	if w.stopping {
		return
	}
	w.stopping = true
	w.killAt = time.Now().Add(w.grace)
	time.AfterFunc(lastClaim, w.claiming.cancel)
	for len(w.queue) > 0 {
		w.leave(w.queue[0], shuttingDown)
	}
}

// cutShort kills what runs.
func (w *worker) cutShort() {
	w.log.Info("ending at once", "running", w.running)
	w.windDown()
	w.claiming.cancel()
	w.killAt = time.Time{}
	w.tellAll(cutShort)
	w.giveUpAt = time.Now().Add(lastReportsInsisted)
}

func (w *worker) finished() bool {
	return w.stopping && w.running == 0 && !w.claiming.underWay && len(w.over) == 0 && !w.reporter.underWay
}

// sumUp logs how it went, and returns an error if it did not end well.
func (w *worker) sumUp(fatal error) error {
	t := w.tally
	w.log.Info("stopped", "done", t.done, "failed", t.failed, "cancelled", t.cancelled, "released", t.released, "lost", t.lost)
	if fatal == nil && w.reporter.unsent > 0 {
		fatal = fmt.Errorf("%d jobs could not be reported, because the service did not answer; they run again when their leases run out", w.reporter.unsent)
	}
	return errors.Join(fatal)
}
