package weir

import (
	"context"
	"os"
	"strconv"
	"time"
)

const (
	// aliveEvery is how often a worker says that it is alive: three times within the time after which it counts as lost.
	aliveEvery = 10 * time.Second
	// farewellIn bounds a worker's last call, which nothing depends on.
	farewellIn = 2 * time.Second
)

// keepRegistered makes the worker known to weir, and learns when it is paused or draining. The worker works without it too.
func (w *Worker) keepRegistered(ctx context.Context) {
	host, _ := os.Hostname()
	settings := workerSettings{
		Hostname: host, Version: w.config.Version, Queues: w.Queues(),
		Labels: map[string]string{"client": "go", "concurrency": strconv.Itoa(w.slots())},
	}
	known, state := false, "active"
	var p pauses
	for ctx.Err() == nil {
		var err error
		var now string
		if known {
			now, err = w.client.t.heartbeatWorker(ctx, w.config.Name, w.load())
			known = err != nil || now != ""
		} else if err = w.client.t.registerWorker(ctx, w.config.Name, settings); err == nil {
			known, now = true, state
		}
		switch {
		case err != nil && ctx.Err() == nil:
			w.log.Debug("registering the worker does not work", "error", err)
			sleep(ctx, max(p.next(err), time.Second))
			continue
		case err == nil && !known:
			w.log.Warn("the worker was removed and its jobs went back to their queues; registering again")
			continue
		case err == nil && now != state:
			state = now
			w.log.Info("the worker's state has changed", "state", state)
			if tell := w.config.Hooks.State; tell != nil {
				tell(state)
			}
		}
		p = pauses{}
		sleep(ctx, aliveEvery)
	}
	if w.ephemeral && known {
		ctx, cancel := context.WithTimeout(w.base, farewellIn)
		defer cancel()
		if err := w.client.t.removeWorker(ctx, w.config.Name); err != nil {
			w.log.Debug("the worker stays in the list until it is forgotten", "error", err)
		}
	}
}

func (w *Worker) slots() (n int) {
	for _, l := range w.lanes {
		n += l.slots
	}
	return n
}

// load is the share of slots that are busy.
func (w *Worker) load() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	busy := 0
	for _, l := range w.lanes {
		busy += l.running
	}
	return float64(busy) / float64(w.slots())
}
