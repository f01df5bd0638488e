package worker

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/weirhq/weir/rest"
)

const (
	// aliveInterval is how often a worker says that it is alive: three times within the time after which it counts as
	// lost.
	aliveInterval = 10 * time.Second

	// removeTimeout bounds a worker's last call, which nothing depends on.
	removeTimeout = 2 * time.Second
)

// registration makes the worker known to the service, and learns when it is paused or draining. The worker works
// without it too: errors here are only logged.
type registration struct {
	client   *rest.Client
	log      *slog.Logger
	name     string
	settings map[string]any

	answers  chan registrationAnswer // capacity 1
	underWay bool
	known    bool // it has registered, and has not been removed since
	due      time.Time
	state    string // in the service's last answer
	outage   outage
}

// registrationAnswer is the answer to a registration or a heartbeat of the worker.
type registrationAnswer struct {
	state      string
	registered bool
	err        error
}

func newRegistration(c Config, capacity int) *registration {
	host, _ := os.Hostname()
	return &registration{
		client: c.Client, log: c.Logger, name: c.Name, answers: make(chan registrationAnswer, 1), state: "active",
		settings: map[string]any{"hostname": host, "capacity": capacity, "queues": c.Queues, "version": c.Version},
		outage:   outage{log: c.Logger, what: "registering this worker"},
	}
}

// send says that the worker is alive, if that is due. load is the share of slots that are busy.
func (r *registration) send(load float64, now time.Time) {
	if r.underWay || now.Before(r.due) {
		return
	}
	r.underWay = true
	known := r.known
	call := rest.Call{Method: http.MethodPut, Path: rest.Path("workers", r.name), Body: r.settings}
	if known {
		call = rest.Post(rest.Path("workers", r.name, "heartbeat"), map[string]any{"load": load})
	}
	go func() {
		answer, err := rest.Do[struct {
			State      string `json:"state"`
			Registered bool   `json:"registered"`
		}](context.Background(), r.client, call)
		r.answers <- registrationAnswer{answer.State, answer.Registered || !known, err}
	}()
}

// take takes in an answer.
func (r *registration) take(a registrationAnswer) {
	r.underWay = false
	r.due = time.Now().Add(aliveInterval)
	removed := r.known && (a.err == nil && !a.registered || rest.Status(a.err) == http.StatusNotFound)
	switch {
	case a.err == nil && !removed:
		r.outage.over()
		r.known = true
		r.logState(a.state)
	case removed:
		r.log.Warn("this worker was removed and its jobs went back to their queues; registering again")
		r.known = false
		r.due = time.Now()
	default:
		r.outage.note(a.err)
	}
}

func (r *registration) logState(state string) {
	if state == r.state {
		return
	}
	switch state {
	case "paused":
		r.log.Info("paused: no new jobs until this worker is resumed")
	case "draining":
		r.log.Info("draining: no new jobs; finishing those that are here")
	case "active":
		r.log.Info("resumed")
	}
	r.state = state
}

// remove has the service forget the worker.
func (r *registration) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if r.underWay {
		select {
		case a := <-r.answers:
			r.take(a)
		case <-ctx.Done():
		}
	}
	if !r.known {
		return
	}
	if _, err := rest.Do[struct{}](ctx, r.client, rest.Delete(rest.Path("workers", r.name))); err != nil {
		r.log.Debug("could not remove this worker from the list", "error", err)
	}
}
