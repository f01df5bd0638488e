package batch

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/jobs/clock"
)

// ErrLocked is the error of a call that waited for a lock of another transaction until its patience ended.
var ErrLocked = errors.New("another transaction holds a lock that this call needs")

const (
	probePause = 100 * time.Millisecond // between two attempts at the same lock
	lockedFor  = time.Second            // how long after a refused attempt a lock counts as held
)

// tryAlone attempts a call until its lock is free or its patience ends. Of the calls that need the same lock one tries, and the others wait for
// what it finds: if the lock is free, they go back in line and share a batch. So a lock takes one place aside, however many calls need it.
func (g *Group[T, R]) tryAlone(c *call[T, R]) {
	alone, keys := []*call[T, R]{c}, g.keysOf(c)
	patient := g.Clock.Timer(patience - g.Clock.Since(c.arrived))
	defer patient.Stop()
	for waited := false; ; waited = true {
		turn, pause := g.locks.take(keys, waited)
		switch turn {
		case turnFree:
			g.count(-1)
			g.mu.Lock()
			g.line(c)
			g.mu.Unlock()
			return
		case turnMine:
			select {
			case g.Aside <- struct{}{}:
			case <-patient.C:
				g.locks.give(keys, keys)
				g.count(-1)
				g.answer(alone, nil, ErrLocked)
				return
			}
			results, err := g.attempt(alone)
			<-g.Aside
			locked := g.Locked(err)
			g.locks.give(keys, g.blamed(keys, err))
			if !locked {
				g.count(-1)
				g.answer(alone, results, err)
				return
			}
			pause = probePause
		}
		timer := g.Clock.Timer(pause)
		select {
		case <-timer.C:
		case <-patient.C:
			timer.Stop()
			g.count(-1)
			g.answer(alone, nil, ErrLocked)
			return
		}
	}
}

func (g *Group[T, R]) keysOf(c *call[T, R]) []string {
	if c.keys == nil && g.Keys != nil {
		for _, item := range c.items {
			c.keys = append(c.keys, g.Keys(item)...)
		}
	}
	return c.keys
}

// locks knows which keys calls wait for.
type locks struct {
	clock clock.Clock
	known atomic.Int64 // how many keys

	mu      sync.Mutex
	keys    map[string]*lock
	sweptAt time.Time
}

// lock is one key that some call is being tried for, or was refused for lately.
type lock struct {
	trying bool
	until  time.Time // it counts as held until then
	next   time.Time // the next attempt
}

// turn is what a call that is aside does next.
type turn int

const (
	turnMine  turn = iota // attempt it, then call give
	turnLater             // wait: another call tries, or has just tried
	turnFree              // nothing holds it any more
)

func newLocks(c clock.Clock) *locks { return &locks{clock: c, keys: map[string]*lock{}} }

// any says whether some key is known. It costs a call nothing while no call waits for a lock.
func (l *locks) any() bool { return l.known.Load() > 0 }

// held says whether an attempt at one of the keys was refused lately.
func (l *locks) held(keys []string) bool {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if k := l.keys[key]; k != nil && k.until.After(now) {
			return true
		}
	}
	return false
}

// take says whose turn it is. waited says that the call was told to wait before.
func (l *locks) take(keys []string, waited bool) (turn, time.Duration) {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	free := waited && len(keys) > 0
	for _, key := range keys {
		k := l.keys[key]
		if k == nil {
			continue
		}
		if k.trying || k.next.After(now) {
			return turnLater, max(k.next.Sub(now), probePause)
		}
		free = free && !k.until.After(now)
	}
	if free {
		return turnFree, 0
	}
	for _, key := range keys {
		if l.keys[key] == nil {
			l.keys[key] = &lock{}
		}
		l.keys[key].trying = true
	}
	l.known.Store(int64(len(l.keys)))
	return turnMine, 0
}

// blamed are those of some keys that a failed attempt is about: all, where the error does not tell.
func (g *Group[T, R]) blamed(keys []string, err error) []string {
	if !g.Locked(err) {
		return nil
	}
	var blamed []string
	for _, key := range keys {
		if g.Blames != nil && g.Blames(err, key) {
			blamed = append(blamed, key)
		}
	}
	if blamed == nil {
		return keys
	}
	return blamed
}

// give ends an attempt at some keys, which was refused because of some of them.
func (l *locks) give(keys, refused []string) {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if slices.Contains(refused, key) {
			*l.keys[key] = lock{until: now.Add(lockedFor), next: now.Add(probePause)}
		} else {
			delete(l.keys, key)
		}
	}
	if now.Sub(l.sweptAt) > lockedFor {
		l.sweptAt = now
		for key, k := range l.keys {
			if !k.trying && now.After(k.until) {
				delete(l.keys, key)
			}
		}
	}
	l.known.Store(int64(len(l.keys)))
}
