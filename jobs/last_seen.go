package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/clock"
	"github.com/weirhq/weir/jobs/loop"
)

const (
	seenCheck = time.Second     // how often last-seen times that are due are saved
	seenEvery = 5 * time.Second // how often one worker's is saved
	seenKept  = time.Minute     // how long a worker that claims no more is remembered
	seenBatch = 500             // the most workers in one statement
)

// lastSeen remembers when each worker last claimed through this node. A step saves that every few seconds for all of them together, so that
// a claim pays nothing for it.
type lastSeen struct {
	clock clock.Clock

	mu      sync.Mutex
	workers map[string]*seen

	saving sync.Mutex // held by the step while it saves, and by forget
	wake   loop.Signal
}

type seen struct{ at, saved time.Time }

func newLastSeen(c clock.Clock) *lastSeen {
	return &lastSeen{clock: c, workers: map[string]*seen{}, wake: loop.NewSignal()}
}

func (l *lastSeen) note(worker string) {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.workers[worker]; known != nil {
		known.at = now
		return
	}
	l.workers[worker] = &seen{at: now}
	l.wake.Raise() // so that a new worker is listed at once
}

// forget makes sure that no earlier claim brings back a worker that is being removed. On other nodes one might.
func (l *lastSeen) forget(worker string) {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.workers, worker)
}

// due returns up to seenBatch workers whose times are due to be saved, and how many seconds ago each was seen.
func (l *lastSeen) due() db.TouchWorkersParams {
	now := l.clock.Now()
	var params db.TouchWorkersParams
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, s := range l.workers {
		switch {
		case len(params.Names) == seenBatch:
			return params
		case s.at.After(s.saved) && now.Sub(s.saved) >= seenEvery:
			params.Names = append(params.Names, name)
			params.SecondsAgo = append(params.SecondsAgo, now.Sub(s.at).Seconds())
			s.saved = now
		case now.Sub(s.at) > seenKept:
			delete(l.workers, name)
		}
	}
	return params
}

// saveLastSeen saves last-seen times. A worker whose claim waits is seen all the time.
func (e *Engine) saveLastSeen(ctx context.Context) (time.Duration, error) {
	for _, worker := range e.claims.Workers() {
		e.seen.note(worker)
	}
	e.seen.saving.Lock()
	defer e.seen.saving.Unlock()
	params := e.seen.due()
	if len(params.Names) == 0 {
		return seenCheck, nil
	}
	if err := e.loops.TouchWorkers(ctx, params); err != nil {
		return 0, fromDB("saving when workers were last seen", err)
	}
	if len(params.Names) == seenBatch {
		return 0, nil
	}
	return seenCheck, nil
}
