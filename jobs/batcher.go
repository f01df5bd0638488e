package jobs

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	gatherFor  = 2 * time.Millisecond  // a batch waits so long for company
	slowAfter  = 10 * time.Millisecond // a batch that takes longer, because of the disk or a lock, does not keep others from leaving
	batchFor   = 30 * time.Second      // a batch may take so long before its callers are told that the database is away
	asidePause = 50 * time.Millisecond // between two tries of an item that waits for a lock
)

// batcher is group commit: items that arrive while a statement is under way go out together in the next one, because the
// statement and its commit, not the work, are what a single item costs. An item that arrives alone goes at once.
type batcher[T, R any] struct {
	// run does a batch in one transaction and answers in its order, or does nothing and returns an error.
	run  func(ctx context.Context, items []T) ([]R, error)
	lone chan struct{} // bounds what is done aside at once
	// most items of a batch, batches at once, and items waiting before new ones are refused.
	size, flights, queue int
	observe              func(size int)

	mu      sync.Mutex
	waiting []*pending[T, R]
	flying  int
	aside   int           // items of batches that were refused, until they are done again
	left    time.Time     // when the last batch did
	wanted  int           // while a batch gathers: how many items it hopes for
	enough  chan struct{} // closed when they are there; nil: no batch gathers
}

type pending[T, R any] struct {
	item T
	done chan outcome[R]
}

type outcome[R any] struct {
	result R
	err    error
}

// do returns what became of one item, once that is committed. If ctx ends first, the item may still be done.
func (b *batcher[T, R]) do(ctx context.Context, item T) (R, error) {
	var none R
	p := &pending[T, R]{item: item, done: make(chan outcome[R], 1)}
	b.mu.Lock()
	if len(b.waiting)+b.aside >= b.queue {
		b.mu.Unlock()
		return none, &Error{Code: Overloaded, Message: "too many requests wait for the database", Hint: "Try again a little later."}
	}
	b.waiting = append(b.waiting, p)
	if b.enough != nil && len(b.waiting) >= b.wanted {
		close(b.enough)
		b.enough = nil
	}
	if b.flying == 0 || b.flying < b.flights && b.enough == nil && time.Since(b.left) > slowAfter {
		b.flying++
		go b.fly()
	}
	b.mu.Unlock()
	select {
	case o := <-p.done:
		return o.result, o.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// fly sends batches until nothing waits.
func (b *batcher[T, R]) fly() {
	for {
		b.mu.Lock()
		b.enough = nil
		n := min(len(b.waiting), b.size)
		if n == 0 {
			b.flying--
			b.mu.Unlock()
			return
		}
		batch := slices.Clone(b.waiting[:n])
		b.waiting = slices.Delete(b.waiting, 0, n)
		b.left = time.Now()
		b.mu.Unlock()
		b.observe(n)
		b.send(batch)
		if 1 < n && n < b.size {
			b.gather(n)
		}
	}
}

// gather waits for those that were just answered: who came together comes back together, and if the first of them went at once, it would go
// alone. It waits no longer than until all are back.
func (b *batcher[T, R]) gather(answered int) {
	enough := make(chan struct{})
	b.mu.Lock()
	b.enough, b.wanted = enough, min(len(b.waiting)+answered, b.size)
	b.mu.Unlock()
	select {
	case <-enough:
	case <-time.After(gatherFor):
	}
}

// send does a batch. What must be done again is done aside, so that the next batch need not wait for that.
func (b *batcher[T, R]) send(batch []*pending[T, R]) {
	results, err := b.attempt(batch)
	if b.settle(batch, results, err) {
		return
	}
	b.mu.Lock()
	b.aside += len(batch)
	b.mu.Unlock()
	go func() {
		b.redo(batch)
		b.mu.Lock()
		b.aside -= len(batch)
		b.mu.Unlock()
	}()
}

// settle says whether that was all for a batch: not, if it was refused and has several items. If it had to wait for a lock of somebody else's, each of its
// items does that by itself.
func (b *batcher[T, R]) settle(batch []*pending[T, R], results []R, err error) bool {
	switch {
	case isBusy(err):
		for _, p := range batch {
			go b.sendAside(p)
		}
	case err != nil && len(batch) > 1 && CodeOf(err) != Unavailable:
		return false
	default:
		answer(batch, results, err)
	}
	return true
}

// redo does a batch that was refused by halves, and what is refused of these by halves again, so that a bad item fails alone.
func (b *batcher[T, R]) redo(batch []*pending[T, R]) {
	for half := range slices.Chunk(batch, (len(batch)+1)/2) {
		b.lone <- struct{}{}
		results, err := b.attempt(half)
		<-b.lone
		if !b.settle(half, results, err) {
			b.redo(half)
		}
	}
}

// sendAside tries one item until the lock is free, or for as long as a call waits for a lock. In between it makes room for others.
func (b *batcher[T, R]) sendAside(p *pending[T, R]) {
	alone := []*pending[T, R]{p}
	for deadline := time.Now().Add(callLockTimeout); ; time.Sleep(asidePause) {
		b.lone <- struct{}{}
		results, err := b.attempt(alone)
		<-b.lone
		if !isBusy(err) || time.Now().After(deadline) {
			answer(alone, results, err)
			return
		}
	}
}

func (b *batcher[T, R]) attempt(batch []*pending[T, R]) ([]R, error) {
	items := make([]T, len(batch))
	for i, p := range batch {
		items[i] = p.item
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchFor)
	defer cancel()
	return b.run(ctx, items)
}

func answer[T, R any](batch []*pending[T, R], results []R, err error) {
	for i, p := range batch {
		o := outcome[R]{err: err}
		if err == nil {
			o.result = results[i]
		}
		p.done <- o
	}
}
