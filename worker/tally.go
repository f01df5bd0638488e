package worker

import (
	"fmt"

	"github.com/weirhq/weir/terminal"
)

// tally counts how jobs ended here.
type tally struct{ done, failed, cancelled, released, settled, lost int }

// count counts a job whose ack was accepted.
func (w *Worker) count(h *heldJob) {
	switch {
	case h.ack.Outcome == complete:
		w.tally.done++
	case h.ack.Cancel:
		w.tally.cancelled++
		w.log.Info("a command cancelled its job", "job", h.job.ID, "kind", h.job.Kind)
	case h.ack.Outcome == fail:
		w.tally.failed++
		w.log.Info("a job failed", "job", h.job.ID, "kind", h.job.Kind, "attempt", h.job.Attempt,
			"of", h.job.MaxAttempts, "error", terminal.Shorten(terminal.OneLine(h.ack.Error.message()), 200))
	case h.stopped == jobCancelled:
		w.tally.cancelled++
		w.log.Info("stopped a cancelled job", "job", h.job.ID, "kind", h.job.Kind)
	default:
		w.tally.released++
	}
}

// sumUp logs the tally, and returns an error if the worker failed or could not send all acks.
func (w *Worker) sumUp(fatal error) error {
	t := w.tally
	w.log.Info("stopped",
		"done", t.done, "failed", t.failed, "cancelled", t.cancelled, "released", t.released, "lost", t.lost, "settled", t.settled)
	if fatal == nil && w.acker.unsent > 0 {
		return fmt.Errorf("could not report %d jobs, because the service did not answer; "+
			"they run again when their leases run out", w.acker.unsent)
	}
	return fatal
}
