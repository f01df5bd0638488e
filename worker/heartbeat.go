package worker

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/weirhq/weir/rest"
)

// heartbeats extend the leases of the held jobs, and learn which jobs are cancelled.
type heartbeats struct {
	client   *rest.Client
	interval time.Duration
	answers  chan beatAnswer
	outage   outage
}

// beatAnswer is the answer to a heartbeat.
type beatAnswer struct {
	job       *heldJob
	progress  *progress // that it told
	err       error
	cancelled bool
}

func newHeartbeats(client *rest.Client, log *slog.Logger, leaseSeconds, slots int) *heartbeats {
	return &heartbeats{
		client: client, interval: time.Duration(leaseSeconds) * time.Second / 3, answers: make(chan beatAnswer, slots),
		outage: outage{log: log, what: "sending heartbeats"},
	}
}

// progressEvery is how often a job's progress is told, at most.
const progressEvery = time.Second

// send sends the heartbeats that are due, and those that have progress to tell.
func (b *heartbeats) send(held map[string]*heldJob, now time.Time) {
	for _, h := range held {
		if h.beating {
			continue
		}
		var told *progress
		if now.Sub(h.beatAt) >= progressEvery {
			told = h.reports.takeProgress()
		}
		if told == nil && now.Before(h.beatDue) {
			continue
		}
		h.beating, h.beatAt = true, now
		body := map[string]any{"token": h.job.Token}
		if told != nil {
			body["progress"] = told
		}
		call := rest.Post(rest.Path("jobs", h.job.ID, "heartbeat"), body)
		go func() {
			answer, err := rest.Do[struct {
				CancelRequested bool `json:"cancel_requested"`
			}](context.Background(), b.client, call)
			b.answers <- beatAnswer{job: h, progress: told, err: err, cancelled: answer.CancelRequested}
		}()
	}
}

// take takes in an answer and reports whether the lease is lost. While the service cannot be reached, the worker cannot
// know, and the program goes on: other workers cannot reach the service either, or the lease runs out and the ack is
// refused.
func (b *heartbeats) take(a beatAnswer) (lost bool) {
	a.job.beating = false
	a.job.beatDue = time.Now().Add(b.interval)
	switch rest.Status(a.err) {
	case http.StatusConflict, http.StatusNotFound:
		return true
	}
	if a.err != nil {
		a.job.reports.keepProgress(a.progress)
		b.outage.note(a.err)
		a.job.beatDue = time.Now().Add(min(b.interval/2, 2*time.Second))
		return false
	}
	b.outage.over()
	return false
}
