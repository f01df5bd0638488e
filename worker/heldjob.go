package worker

import (
	"slices"
	"time"
)

// slotWait is how long a job may wait here for a slot. Then it goes back to its queue, for others: its timeout is
// running.
const slotWait = 2 * time.Second

// phase is how far the worker is with a job that it holds.
type phase int

const (
	waiting phase = iota // for a slot
	running
	ended // and to be acked
)

// heldJob is a job that the worker holds: from its claim until its ack is answered, or its lease is lost.
type heldJob struct {
	job       *claimedJob
	claimedAt time.Time // when the claim was answered, a little after the lease began
	phase     phase
	beatDue   time.Time
	beating   bool            // a heartbeat is under way
	beatAt    time.Time       // when the last was sent
	reports   *reports        // what the program reports; nil before it is started
	stop      chan stopReason // to the program; two fit, and more never come
	ack       ack             // once it has ended
	stopped   stopReason
	told      stopReason // why it was told to stop; notStopped: it was not
}

func newHeldJob(job *claimedJob, now time.Time, beatInterval time.Duration) *heldJob {
	return &heldJob{job: job, claimedAt: now, beatDue: now.Add(beatInterval), stop: make(chan stopReason, 2)}
}

// deadline is when the job's timeout stops the program. The service counts from the claim and takes the job back at
// that time, so the worker is a little early: only it knows what the program wrote to standard error.
func (h *heldJob) deadline() time.Time {
	timeout := time.Duration(h.job.TimeoutSeconds) * time.Second
	return h.claimedAt.Add(timeout - min(timeout/10, 500*time.Millisecond))
}

// tell gives a running program a reason to stop.
func (h *heldJob) tell(reason stopReason) {
	h.told = reason
	select {
	case h.stop <- reason:
	default:
	}
}

func (h *heldJob) releaseAck() ack { return ack{ID: h.job.ID, Token: h.job.Token, Outcome: release} }

// hold takes over claimed jobs.
func (w *Worker) hold(claimed []*claimedJob) {
	now := time.Now()
	for _, job := range claimed {
		h := newHeldJob(job, now, w.heartbeats.interval)
		w.held[job.Token] = h
		if w.stopping {
			w.end(h, h.releaseAck(), shuttingDown)
		} else {
			w.queue = append(w.queue, h)
		}
	}
}

// claim asks for more jobs, if there is room for them.
func (w *Worker) claim() {
	if w.stopping || len(w.ended) > maxUnacked {
		return
	}
	if limit, patient := w.claimer.wanted(w.busy+len(w.queue), time.Now()); limit > 0 {
		w.claimer.ask(limit, patient)
	}
}

// start gives waiting jobs to free slots.
func (w *Worker) start() {
	for w.running < w.Slots && len(w.queue) > 0 {
		h := w.queue[0]
		if time.Now().After(h.deadline()) { // it timed out before it began
			w.release(h, notStopped)
			continue
		}
		r := w.gather(h)
		w.running++
		w.busy += len(r.jobs)
		for _, h := range r.jobs {
			h.phase = running
			w.log.Debug("started", "job", h.job.ID, "kind", h.job.Kind, "queue", h.job.Queue, "attempt", h.job.Attempt)
		}
		w.starts <- r
	}
}

// runEnded takes in the outcome of a run.
func (w *Worker) runEnded(r *run, o outcome) {
	w.running--
	w.busy -= len(r.jobs)
	if o.started && o.stopped == notStopped {
		w.claimer.ran(o.took)
	}
	for _, h := range r.jobs {
		if h.phase == running {
			w.jobEnded(h, r.outcomeOf(h, o))
		}
	}
}

// jobEnded takes in the outcome of a job.
func (w *Worker) jobEnded(h *heldJob, o outcome) {
	switch a, ok := o.ack(h.job, w.Program.Exits); {
	case ok:
		w.end(h, a, o.stopped)
	case o.stopped == leaseLost:
		w.drop(h)
	default:
		w.settled(h)
	}
	w.log.Debug("ended", "job", h.job.ID, "kind", h.job.Kind, "outcome", h.ack.Outcome, "stopped", o.stopped.String(),
		"took", o.took.Round(time.Microsecond).String(), "error", h.ack.Error.message(), "stderr", o.stderr)
}

// end queues the job's ack for sending.
func (w *Worker) end(h *heldJob, a ack, stopped stopReason) {
	h.phase, h.ack, h.stopped = ended, a, stopped
	if len(w.ended) == 0 {
		w.endedAt = time.Now()
	}
	w.ended = append(w.ended, h)
}

// release gives a waiting job back to its queue at the service.
func (w *Worker) release(h *heldJob, reason stopReason) {
	w.unqueue(h)
	w.end(h, h.releaseAck(), reason)
}

// releaseOverdue releases the jobs that have waited too long for a slot.
func (w *Worker) releaseOverdue(now time.Time) {
	for len(w.queue) > 0 && now.Sub(w.queue[0].claimedAt) > slotWait {
		w.claimer.ran(slotWait) // runs take longer than expected: claim fewer ahead of need
		w.release(w.queue[0], notStopped)
	}
}

// drop forgets a job whose lease is lost.
func (w *Worker) drop(h *heldJob) {
	w.tally.lost++
	delete(w.held, h.job.Token)
	w.log.Warn("lost the lease of a job; another worker may run it", "job", h.job.ID, "attempt", h.job.Attempt)
}

// settled forgets a job of which the program itself has told the service how it ended.
func (w *Worker) settled(h *heldJob) {
	w.tally.settled++
	h.phase = ended
	delete(w.held, h.job.Token)
}

func (w *Worker) unqueue(h *heldJob) {
	w.queue = slices.DeleteFunc(w.queue, func(other *heldJob) bool { return other == h })
}

// beaten takes in the answer to a heartbeat.
func (w *Worker) beaten(a beatAnswer) {
	lost := w.heartbeats.take(a)
	h := a.job
	switch {
	case h.phase == ended: // the answer to its ack tells
	case lost && h.phase == waiting:
		w.unqueue(h)
		h.phase = ended
		w.drop(h)
	case lost:
		h.tell(leaseLost)
	case a.cancelled && h.phase == waiting:
		w.release(h, jobCancelled)
	case a.cancelled:
		h.tell(jobCancelled)
	}
}
