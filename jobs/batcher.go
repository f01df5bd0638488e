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
	asidePause = 50 * time.Millisecond // between two tries of a call that waits for a lock
)

// groups is how calls of one sort are committed together: single ones by themselves, which gather and never wait behind many jobs, and those of several.
type groups[T, R any] struct{ single, several *batcher[T, R] }

func newGroups[T, R any](run func(context.Context, []T) ([]R, error), bytes func(T) int, queue int, m *metrics, operation string) groups[T, R] {
	b := func(gathers bool, flights int, operation string) *batcher[T, R] {
		return &batcher[T, R]{
			run: run, weigh: func(item T) int { return 1 + bytes(item)/heavyBytes }, lone: make(chan struct{}, loneFlights), size: groupSize,
			flights: flights, queue: queue, gathers: gathers, observe: m.group(operation),
		}
	}
	return groups[T, R]{single: b(true, groupFlights, operation), several: b(false, manyFlights, operation+"_many")}
}

// batcher is group commit: calls that arrive while a statement is under way go out together in the next one, because the
// statement and its commit, not the work, are what a small call costs. A call that arrives alone goes at once.
type batcher[T, R any] struct {
	// run does the items of several calls in one transaction and answers in their order, or does nothing and returns an error.
	run  func(ctx context.Context, items []T) ([]R, error)
	lone chan struct{} // bounds what is done aside at once
	// weigh is what an item counts for: 1, and more if it is large. A batch is of calls that together weigh no more than size, or is one call.
	weigh func(item T) int
	size  int
	// flights is how many batches are under way at once, and queue how many calls wait before new ones are refused.
	flights, queue int
	// gathers is for calls of one item: then one batch is under way, another only if it takes long, and after it the next waits for those who were just
	// answered.
	gathers bool
	observe func(size int)

	mu      sync.Mutex
	waiting []*pending[T, R]
	flying  int
	aside   int           // calls of batches that were refused, until they are done again
	left    time.Time     // when the last batch did
	wanted  int           // while a batch gathers: how many calls it hopes for
	enough  chan struct{} // closed when they are there; nil: no batch gathers
}

// pending is a call that waits for its answer.
type pending[T, R any] struct {
	items  []T
	weight int
	done   chan outcome[R]
}

type outcome[R any] struct {
	results []R
	err     error
}

// do returns what became of one item, once that is committed. If ctx ends first, the item may still be done.
func (b *batcher[T, R]) do(ctx context.Context, item T) (R, error) {
	results, err := b.doAll(ctx, []T{item})
	if err != nil {
		var none R
		return none, err
	}
	return results[0], nil
}

// doAll is do for a call of several items, which are done in one transaction.
func (b *batcher[T, R]) doAll(ctx context.Context, items []T) ([]R, error) {
	p := &pending[T, R]{items: items, weight: b.weight(items), done: make(chan outcome[R], 1)}
	b.mu.Lock()
	if len(b.waiting)+b.aside >= b.queue {
		b.mu.Unlock()
		return nil, &Error{Code: Overloaded, Message: "too many requests wait for the database", Hint: "Try again a little later."}
	}
	b.waiting = append(b.waiting, p)
	if b.enough != nil && len(b.waiting) >= b.wanted {
		close(b.enough)
		b.enough = nil
	}
	if b.flying == 0 || b.flying < b.flights && (!b.gathers || b.enough == nil && time.Since(b.left) > slowAfter) {
		b.flying++
		go b.fly()
	}
	b.mu.Unlock()
	select {
	case o := <-p.done:
		return o.results, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fills says whether a call is a batch by itself.
func (b *batcher[T, R]) fills(items []T) bool { return b.weight(items) >= b.size }

func (b *batcher[T, R]) weight(items []T) (sum int) {
	for _, item := range items {
		sum += b.weigh(item)
	}
	return sum
}

// fly sends batches until nothing waits.
func (b *batcher[T, R]) fly() {
	for {
		b.mu.Lock()
		b.enough = nil
		batch := b.next()
		if len(batch) == 0 {
			b.flying--
			b.mu.Unlock()
			return
		}
		more := len(b.waiting)
		b.left = time.Now()
		b.mu.Unlock()
		b.observe(countOf(batch))
		b.send(batch)
		if b.gathers && len(batch) > 1 && more == 0 {
			b.gather(len(batch))
		}
	}
}

// next takes the calls of a batch out of the line.
func (b *batcher[T, R]) next() []*pending[T, R] {
	n, weight := 0, 0
	for n < len(b.waiting) && (n == 0 || weight+b.waiting[n].weight <= b.size) {
		weight += b.waiting[n].weight
		n++
	}
	batch := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n)
	return batch
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

// settle says whether that was all for a batch: not, if it was refused and has several calls. If it had to wait for a lock of somebody else's, each of its
// calls does that by itself.
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

// redo does a batch that was refused by halves, and what is refused of these by halves again, so that a bad call fails alone.
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

// sendAside tries one call until the lock is free, or for as long as a call waits for a lock. In between it makes room for others.
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
	items := itemsOf(batch)
	ctx, cancel := context.WithTimeout(context.Background(), batchFor)
	defer cancel()
	return b.run(ctx, items)
}

func itemsOf[T, R any](batch []*pending[T, R]) (items []T) {
	if len(batch) == 1 {
		return batch[0].items
	}
	items = make([]T, 0, countOf(batch))
	for _, p := range batch {
		items = append(items, p.items...)
	}
	return items
}

func countOf[T, R any](batch []*pending[T, R]) (n int) {
	for _, p := range batch {
		n += len(p.items)
	}
	return n
}

func answer[T, R any](batch []*pending[T, R], results []R, err error) {
	for _, p := range batch {
		o := outcome[R]{err: err}
		if err == nil {
			o.results, results = results[:len(p.items):len(p.items)], results[len(p.items):]
		}
		p.done <- o
	}
}
