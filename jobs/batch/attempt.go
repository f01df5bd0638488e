package batch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// errDefect is in the chain of errors that are a defect of weir's. A batch that ends so may have been committed, so nothing is attempted again.
var errDefect = errors.New("a defect")

// send attempts a batch. What it has to do again it does aside, so that the next batch need not wait.
func (g *Group[T, R]) send(batch []*call[T, R]) {
	results, err := g.attempt(batch)
	switch {
	case g.Locked(err):
		g.count(len(batch))
		for _, c := range batch {
			go g.tryAlone(c)
		}
	case g.splits(batch, err):
		g.count(len(batch))
		go func() {
			g.split(batch)
			g.count(-len(batch))
		}()
	default:
		g.answer(batch, results, err)
	}
}

// splits says whether a batch was refused for one of its calls.
func (g *Group[T, R]) splits(batch []*call[T, R], err error) bool {
	return err != nil && len(batch) > 1 && !g.Away(err) && !g.Locked(err) && !errors.Is(err, errDefect)
}

// split attempts a batch that was refused in halves, and what is refused of these in halves again, so that a bad call fails alone.
func (g *Group[T, R]) split(batch []*call[T, R]) {
	for half := range slices.Chunk(batch, (len(batch)+1)/2) {
		g.Aside <- struct{}{}
		results, err := g.attempt(half)
		<-g.Aside
		switch {
		case g.splits(half, err):
			g.split(half)
		case g.Locked(err):
			g.count(len(half))
			for _, c := range half {
				go g.tryAlone(c)
			}
		default:
			g.answer(half, results, err)
		}
	}
}

// count adds to the calls that wait aside.
func (g *Group[T, R]) count(calls int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.aside += calls
}

// attempt runs the items of some calls. A panic, and a wrong number of results, are errors, which the callers get; the node goes on.
func (g *Group[T, R]) attempt(batch []*call[T, R]) (results []R, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.Log.Error("a batch panicked; its calls failed", "panic", p, "stack", string(debug.Stack()))
			results, err = nil, fmt.Errorf("%w: a batch panicked: %v", errDefect, p)
		}
	}()
	items := itemsOf(batch)
	ctx, cancel := context.WithTimeout(context.Background(), attemptIn)
	defer cancel()
	results, err = g.Run(ctx, items)
	if err == nil && len(results) != len(items) {
		return nil, fmt.Errorf("%w: a batch of %d items returned %d results", errDefect, len(items), len(results))
	}
	return results, err
}

func itemsOf[T, R any](batch []*call[T, R]) (items []T) {
	if len(batch) == 1 {
		return batch[0].items
	}
	items = make([]T, 0, countOf(batch))
	for _, c := range batch {
		items = append(items, c.items...)
	}
	return items
}

// answer hands each call its part of the results, of which there is one for each item.
func (g *Group[T, R]) answer(batch []*call[T, R], results []R, err error) {
	for _, c := range batch {
		g.letGo(c)
		o := outcome[R]{err: err}
		if err == nil {
			n := len(c.items)
			o.results, results = results[:n:n], results[n:]
		}
		c.done <- o
	}
}
