package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// heartbeats keep the leases of what the worker holds, and bring word of cancelled jobs.
type heartbeats struct {
	client  *client
	every   time.Duration
	answers chan beatAnswer
	outage  outage
}

// beatAnswer is what became of a heartbeat.
type beatAnswer struct {
	h         *holding
	err       error
	cancelled bool
}

func newHeartbeats(client *client, log *slog.Logger, leaseSeconds, slots int) *heartbeats {
	return &heartbeats{
		client: client, every: time.Duration(leaseSeconds) * time.Second / 3, answers: make(chan beatAnswer, slots),
		outage: outage{log: log, what: "sending heartbeats"},
	}
}

// send sends those that are due.
func (b *heartbeats) send(held map[string]*holding, now time.Time) {
	for _, h := range held {
		if h.beating || now.Before(h.beatDue) {
			continue
		}
		h.beating = true
		go func() {
			var answer struct {
				CancelRequested bool `json:"cancel_requested"`
			}
			err := b.client.call(context.Background(), http.MethodPost, "/v1/jobs/"+h.job.ID+"/heartbeat", map[string]any{"token": h.job.Token}, &answer, 0)
			b.answers <- beatAnswer{h: h, err: err, cancelled: answer.CancelRequested}
		}()
	}
}

// take notes what became of a heartbeat and says whether the lease is lost. While the service cannot be reached it is not known
// whether it is, and the command goes on: if nobody reaches the service, nobody takes the job.
func (b *heartbeats) take(a beatAnswer) (lost bool) {
	a.h.beating = false
	a.h.beatDue = time.Now().Add(b.every)
	switch statusOf(a.err) {
	case http.StatusConflict, http.StatusNotFound:
		return true
	}
	if a.err != nil {
		b.outage.note(a.err)
		a.h.beatDue = time.Now().Add(min(b.every/2, 2*time.Second))
		return false
	}
	b.outage.over()
	return false
}
