package worker

import "time"

const (
	// lastClaim is how long, during a shutdown, a claim under way may still be answered. After that it waits at an
	// empty queue, and can be broken off without losing jobs.
	lastClaim = 500 * time.Millisecond

	// lastAcks and lastAcksInsisted are how long a shutdown tries to send acks.
	lastAcks         = 15 * time.Second
	lastAcksInsisted = 3 * time.Second
)

// windDown claims no more jobs, releases those that wait, and starts the grace of those that run.
func (w *Worker) windDown() {
	if w.stopping {
		return
	}
	w.stopping = true
	w.killAt = time.Now().Add(w.Grace)
	time.AfterFunc(lastClaim, w.claimer.cancel)
	for len(w.queue) > 0 {
		w.release(w.queue[0], shuttingDown)
	}
}

// tickShutdown does what is due at this time of a shutdown.
func (w *Worker) tickShutdown(now time.Time) {
	if !w.killAt.IsZero() && now.After(w.killAt) {
		w.killAt = time.Time{}
		w.tellAll(shuttingDown)
	}
	if w.running == 0 && w.giveUpAt.IsZero() {
		w.giveUpAt = now.Add(lastAcks)
	}
	if w.running == 0 && now.After(w.giveUpAt) {
		w.acker.cancel()
	}
}

// cutShort kills what runs.
func (w *Worker) cutShort() {
	w.log.Info("ending at once", "running", w.running)
	w.windDown()
	w.claimer.cancel()
	w.killAt = time.Time{}
	w.tellAll(cutShort)
	w.giveUpAt = time.Now().Add(lastAcksInsisted)
}

func (w *Worker) tellAll(reason stopReason) {
	for _, h := range w.held {
		if h.phase == running {
			h.tell(reason)
		}
	}
}

func (w *Worker) finished() bool {
	return w.stopping && w.running == 0 && !w.claimer.underWay && len(w.ended) == 0 && !w.acker.underWay
}
