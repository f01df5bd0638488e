// Package batch is group commit: calls that arrive while a statement runs go out together in the next one, because a small call costs a
// statement and its commit, not the work in it. A call that arrives alone goes at once.
//
// It imports jobs/clock, and knows neither jobs nor the database: what a batch does is a function, and can be tested without PostgreSQL.
package batch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/jobs/clock"
)

const (
	gatherFor = 2 * time.Millisecond  // how long a batch waits for the callers that were just answered
	slowAfter = 10 * time.Millisecond // a batch that takes longer, because of the disk or a lock, does not keep the next one from leaving
	attemptIn = 30 * time.Second      // the longest that one attempt of a batch takes

	// patience is how long a call waits for a lock of another transaction, from its arrival.
	patience = 10 * time.Second
)

// ErrFull is the error of a call that arrives while too many others wait.
var ErrFull = errors.New("too many calls wait for the database")

// Room bounds the bytes that the calls of some groups hold together, also those of callers that have gone.
type Room struct {
	most int64
	held atomic.Int64
}

// NewRoom makes a Room for that many bytes.
func NewRoom(most int64) *Room { return &Room{most: most} }

func (r *Room) take(n int64) bool {
	if r.held.Add(n) > r.most {
		r.held.Add(-n)
		return false
	}
	return true
}

// Config is how a Group is set up. Everything without a default is required.
type Config[T, R any] struct {
	// Run does the items of several calls in one transaction and returns their results in order, or changes nothing and returns an error.
	Run func(ctx context.Context, items []T) ([]R, error)
	// Weigh is what an item counts for: 1, and more if it is large.
	Weigh func(T) int
	// Bytes is the size of an item, for Room.
	Bytes func(T) int
	// Room bounds the bytes of the calls that are not answered yet; others get ErrFull. Groups may share it. Defaults to no bound.
	Room *Room
	// Keys names the locks that an item may have to wait for, such as its unique key. It is called only while some call waits for a lock.
	Keys func(T) []string
	// Locked says whether an error means that a lock was not free in time. Each call of the batch is then tried alone.
	Locked func(error) bool
	// Blames says whether such an error concerns the lock that a key names. Where it concerns none of the keys of a call, it counts for all. Defaults
	// to that.
	Blames func(err error, key string) bool
	// Away says whether an error concerns the database and not the items. Every call of the batch then gets it.
	Away func(error) bool
	// Aside bounds how many calls are tried apart from the batches at once. Groups that share connections share it.
	Aside chan struct{}

	Size     int // the most that the items of a batch weigh together, unless it is one call
	Flights  int // how many batches run at once
	Queue    int // how many calls wait before new ones get ErrFull
	MaxAside int // how many of them may wait for locks before new ones that need such a lock get ErrFull. Defaults to a tenth of Queue.

	// Gathers is for calls of one item: one batch runs at a time, another only if it is slow, and the next one waits for the callers that were
	// just answered.
	Gathers bool

	Observe func(size int) // is told the size of each batch
	Log     *slog.Logger   // for panics. Defaults to slog.Default().
	Clock   clock.Clock
}

// Group commits calls of one sort together.
type Group[T, R any] struct {
	Config[T, R]
	locks *locks

	mu      sync.Mutex
	waiting []*call[T, R]
	flying  int
	aside   int           // calls that a batch was refused for, until they are answered
	left    time.Time     // when the last batch left
	wanted  int           // while a batch gathers: how many calls it hopes for
	enough  chan struct{} // closed when they have arrived; nil: no batch gathers
}

// call is one call that waits for its answer.
type call[T, R any] struct {
	items   []T
	weight  int
	arrived time.Time
	bytes   int64    // held in Room
	keys    []string // set once the call is tried alone
	done    chan outcome[R]
}

type outcome[R any] struct {
	results []R
	err     error
}

// New makes a Group.
func New[T, R any](c Config[T, R]) *Group[T, R] {
	if c.MaxAside == 0 {
		c.MaxAside = max(c.Queue/10, 1)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Group[T, R]{Config: c, locks: newLocks(c.Clock)}
}

// One does one item, and returns once that is committed. If ctx ends first, the item may still be done.
func (g *Group[T, R]) One(ctx context.Context, item T) (R, error) {
	results, err := g.All(ctx, []T{item})
	if err != nil {
		var none R
		return none, err
	}
	return results[0], nil
}

// All does several items in one transaction.
func (g *Group[T, R]) All(ctx context.Context, items []T) ([]R, error) {
	c := &call[T, R]{items: items, weight: g.weight(items), arrived: g.Clock.Now(), done: make(chan outcome[R], 1)}
	if !g.hold(c) {
		return nil, ErrFull
	}
	if err := g.enter(c); err != nil {
		g.letGo(c)
		return nil, err
	}
	select {
	case o := <-c.done:
		return o.results, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hold takes room for the bytes of a call, if there is any.
func (g *Group[T, R]) hold(c *call[T, R]) bool {
	if g.Room == nil {
		return true
	}
	for _, item := range c.items {
		c.bytes += int64(g.Bytes(item))
	}
	return g.Room.take(c.bytes)
}

func (g *Group[T, R]) letGo(c *call[T, R]) {
	if g.Room != nil {
		g.Room.held.Add(-c.bytes)
	}
}

// Fills says whether items are a batch without any others.
func (g *Group[T, R]) Fills(items []T) bool { return g.weight(items) >= g.Size }

func (g *Group[T, R]) weight(items []T) (sum int) {
	for _, item := range items {
		sum += g.Weigh(item)
	}
	return sum
}

// enter puts a call in line. A call that needs a lock that others wait for does not: its batch would be refused with it.
func (g *Group[T, R]) enter(c *call[T, R]) error {
	locked := g.locks.any() && g.locks.held(g.keysOf(c))
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting)+g.aside >= g.Queue || locked && g.aside >= g.MaxAside {
		return ErrFull
	}
	if locked {
		g.aside++
		go g.tryAlone(c)
		return nil
	}
	g.line(c)
	return nil
}

// line puts a call at the end of the line, with mu held.
func (g *Group[T, R]) line(c *call[T, R]) {
	g.waiting = append(g.waiting, c)
	if g.enough != nil && len(g.waiting) >= g.wanted {
		close(g.enough)
		g.enough = nil
	}
	if g.flying == 0 || g.flying < g.Flights && (!g.Gathers || g.enough == nil && g.Clock.Since(g.left) > slowAfter) {
		g.flying++
		go g.fly()
	}
}

// fly sends batches until no call waits.
func (g *Group[T, R]) fly() {
	for {
		g.mu.Lock()
		g.enough = nil
		batch := g.next()
		if len(batch) == 0 {
			g.flying--
			g.mu.Unlock()
			return
		}
		more := len(g.waiting)
		g.left = g.Clock.Now()
		g.mu.Unlock()
		g.Observe(countOf(batch))
		g.send(batch)
		if g.Gathers && len(batch) > 1 && more == 0 {
			g.gather(len(batch))
		}
	}
}

// next takes the calls of a batch out of the line.
func (g *Group[T, R]) next() []*call[T, R] {
	n, weight := 0, 0
	for n < len(g.waiting) && (n == 0 || weight+g.waiting[n].weight <= g.Size) {
		weight += g.waiting[n].weight
		n++
	}
	batch := append([]*call[T, R](nil), g.waiting[:n]...)
	rest := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[rest:])
	g.waiting = g.waiting[:rest]
	return batch
}

// gather waits until the callers that were just answered have called again, or for a moment. Callers that are answered together tend to call
// again together; without the wait the first of them would leave in a batch of one.
func (g *Group[T, R]) gather(answered int) {
	enough := make(chan struct{})
	g.mu.Lock()
	g.enough, g.wanted = enough, min(len(g.waiting)+answered, g.Size)
	g.mu.Unlock()
	timer := g.Clock.Timer(gatherFor)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C:
	}
}

func countOf[T, R any](batch []*call[T, R]) (n int) {
	for _, c := range batch {
		n += len(c.items)
	}
	return n
}
