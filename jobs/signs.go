package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	signsLook  = time.Second     // how often it is looked who has signs to be written
	signsEvery = 5 * time.Second // how often one worker's are
	signsKept  = time.Minute     // how long a worker that is not seen any more is remembered
	signsBatch = 500             // workers a statement
)

// signs remembers when each worker last claimed through this node. A step writes that down every few seconds for all of them together, so
// that a claim pays nothing for it.
type signs struct {
	mu   sync.Mutex
	seen map[string]*sign

	writing sync.Mutex // held by the step while it writes, and by forget
}

type sign struct{ seen, written time.Time }

func newSigns() *signs { return &signs{seen: map[string]*sign{}} }

func (s *signs) note(worker string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.seen[worker]; known != nil {
		known.seen = now
		return
	}
	s.seen[worker] = &sign{seen: now}
}

// forget makes sure that no claim of before brings a worker back that is to be removed. On other nodes one might.
func (s *signs) forget(worker string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, worker)
}

// due returns up to signsBatch workers with signs to be written, and how many seconds ago each was seen.
func (s *signs) due() db.SeeWorkersParams {
	now := time.Now()
	var params db.SeeWorkersParams
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, sign := range s.seen {
		switch {
		case len(params.Names) == signsBatch:
			return params
		case sign.seen.After(sign.written) && now.Sub(sign.written) >= signsEvery:
			params.Names = append(params.Names, name)
			params.SecondsAgo = append(params.SecondsAgo, now.Sub(sign.seen).Seconds())
			sign.written = now
		case now.Sub(sign.seen) > signsKept:
			delete(s.seen, name)
		}
	}
	return params
}

// signsStep writes signs of life. A claim that waits is one all the time.
func (e *Engine) signsStep(ctx context.Context) (time.Duration, error) {
	for _, worker := range e.waitingWorkers() {
		e.signs.note(worker)
	}
	e.signs.writing.Lock()
	defer e.signs.writing.Unlock()
	params := e.signs.due()
	if len(params.Names) == 0 {
		return signsLook, nil
	}
	if err := e.loops.SeeWorkers(ctx, params); err != nil {
		return 0, fromDB("noting signs of life", err)
	}
	if len(params.Names) == signsBatch {
		return 0, nil
	}
	return signsLook, nil
}

// waitingWorkers names those whose claims wait on this node.
func (e *Engine) waitingWorkers() []string {
	var names []string
	e.eachClaimer(func(c *claimer) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, w := range slices.Concat(c.waiting, c.refused) {
			names = append(names, w.worker)
		}
	})
	return names
}
