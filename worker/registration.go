package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	// beatEvery is how often a worker says that it lives: three times in the time after which it is taken for lost.
	beatEvery = 10 * time.Second

	// leavePatience bounds the last word of a worker, which nothing depends on.
	leavePatience = 2 * time.Second
)

// presence makes the worker known to the service, and brings word that somebody paused it or lets it drain. The worker does its work
// without it too: what goes wrong here is only logged.
type presence struct {
	client   *client
	log      *slog.Logger
	path     string
	settings map[string]any

	answers  chan presenceAnswer // capacity 1
	underWay bool
	known    bool // it has registered, and has not been removed since
	due      time.Time
	state    string // as the service said last
	outage   outage
}

// presenceAnswer is what became of a registration or a heartbeat.
type presenceAnswer struct {
	state      string
	registered bool
	err        error
}

func newPresence(client *client, log *slog.Logger, name string, queues []string, capacity int) *presence {
	host, _ := os.Hostname()
	return &presence{
		client: client, log: log, path: "/v1/workers/" + url.PathEscape(name), answers: make(chan presenceAnswer, 1), state: "active",
		settings: map[string]any{"hostname": host, "capacity": capacity, "queues": queues, "version": readBuild().version},
		outage:   outage{log: log, what: "saying that this worker lives"},
	}
}

// send says that the worker lives, if that is due; load is how busy it is, 1 where all slots are.
func (p *presence) send(load float64, now time.Time) {
	if p.underWay || now.Before(p.due) {
		return
	}
	p.underWay = true
	known := p.known
	go func() {
		var answer struct {
			State      string `json:"state"`
			Registered bool   `json:"registered"`
		}
		var err error
		if known {
			err = p.client.post(context.Background(), p.path+"/heartbeat", map[string]any{"load": load}, &answer)
		} else {
			err = p.client.call(context.Background(), http.MethodPut, p.path, p.settings, &answer, 0)
		}
		p.answers <- presenceAnswer{answer.State, answer.Registered || !known, err}
	}()
}

// take notes what became of it.
func (p *presence) take(a presenceAnswer) {
	p.underWay = false
	p.due = time.Now().Add(beatEvery)
	removed := p.known && (a.err == nil && !a.registered || statusOf(a.err) == http.StatusNotFound)
	switch {
	case a.err == nil && !removed:
		p.outage.over()
		p.known = true
		p.tell(a.state)
	case removed:
		p.log.Warn("somebody removed this worker; its jobs went back, and it begins anew")
		p.known = false
		p.due = time.Now()
	default:
		p.outage.note(a.err)
	}
}

func (p *presence) tell(state string) {
	if state == p.state {
		return
	}
	switch state {
	case "paused":
		p.log.Info("paused: no more jobs until somebody resumes this worker")
	case "draining":
		p.log.Info("draining: no more jobs; what is here is finished")
	case "active":
		p.log.Info("resumed")
	}
	p.state = state
}

// leave has the service forget a worker that ends as it should, and whose name does not come back.
func (p *presence) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	if p.underWay {
		select {
		case a := <-p.answers:
			p.take(a)
		case <-ctx.Done():
		}
	}
	if !p.known {
		return
	}
	if err := p.client.call(ctx, http.MethodDelete, p.path, nil, nil, 0); err != nil {
		p.log.Debug("could not take leave", "error", err)
	}
}
