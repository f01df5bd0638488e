package db

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrBusy is the error of a caller that finds too many others waiting for a connection.
var ErrBusy = errors.New("too many callers wait for a connection")

// gate lets a number of callers through at once, the others in the order of their arrival. The number can change.
type gate struct {
	mu      sync.Mutex
	limit   int
	longest int // the most that wait; 0: any number
	inside  int
	line    []chan struct{} // closed when it is a caller's turn
	waited  int64
	took    time.Duration
}

func newGate(limit int) *gate { return &gate{limit: limit} }

func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.inside < g.limit && len(g.line) == 0 {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	if g.longest > 0 && len(g.line) >= g.longest {
		g.mu.Unlock()
		return ErrBusy
	}
	turn := make(chan struct{})
	g.line = append(g.line, turn)
	g.waited++
	g.mu.Unlock()
	began := time.Now()
	select {
	case <-turn:
		g.mu.Lock()
		g.took += time.Since(began)
		g.mu.Unlock()
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.line, turn); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
	} else { // its turn came at the same moment
		g.inside--
		g.admit()
	}
	return ctx.Err()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.admit()
}

// admit lets callers in while there is room, with mu held.
func (g *gate) admit() {
	n := min(g.limit-g.inside, len(g.line))
	if n <= 0 {
		return
	}
	for _, turn := range g.line[:n] {
		close(turn)
	}
	g.inside += n
	g.line = slices.Delete(g.line, 0, n)
}

func (g *gate) set(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	g.admit()
}

func (g *gate) most() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit
}

func (g *gate) waits() (int64, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waited, g.took
}
