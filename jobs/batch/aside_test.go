package batch

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var errLockTimeout = errors.New("lock timeout")

const lockTimeout = 250 * time.Millisecond

// lockable is a group of items with keys, which stand for themselves, where one key is locked by another transaction: a batch with it waits and
// is refused.
func lockable(g *group, key time.Duration) (unlock func()) {
	var unlocked atomic.Bool
	g.Keys = func(item time.Duration) []string { return []string{strconv.FormatInt(int64(item), 10)} }
	g.Run = func(_ context.Context, items []time.Duration) ([]time.Duration, error) {
		if slices.Contains(items, key) && !unlocked.Load() {
			time.Sleep(lockTimeout)
			return nil, errLockTimeout
		}
		time.Sleep(3 * time.Millisecond)
		return items, nil
	}
	return func() { unlocked.Store(true) }
}

func TestCallersBehindALockedKeyAreAnsweredInTimeAndDelayNoOther(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		const locked = time.Second
		lockable(g, locked)
		var callers sync.WaitGroup
		var slowest atomic.Int64
		for i := range 600 {
			callers.Go(func() {
				began := time.Now()
				if i%6 == 0 {
					if _, err := g.One(context.Background(), time.Duration(i)); err != nil {
						t.Errorf("an innocent call: %v", err)
					}
					slowest.Store(max(slowest.Load(), int64(time.Since(began))))
					return
				}
				_, err := g.One(context.Background(), locked)
				took := time.Since(began)
				if !errors.Is(err, ErrLocked) && !errors.Is(err, ErrFull) || took > patience+lockTimeout {
					t.Errorf("a call that needs the locked key: %v after %s", err, took)
				}
			})
		}
		time.Sleep(2 * time.Second)
		for i := range 100 { // the lock is known by now
			began := time.Now()
			callers.Go(func() { _, _ = g.One(context.Background(), locked) })
			if _, err := g.One(context.Background(), time.Duration(i)); err != nil || time.Since(began) > 20*time.Millisecond {
				t.Errorf("an innocent call: %v after %s", err, time.Since(began))
			}
		}
		callers.Wait()
		if took := time.Duration(slowest.Load()); took > 2*time.Second {
			t.Errorf("an innocent call took %s", took)
		}
		if g.aside != 0 || len(g.waiting) != 0 {
			t.Errorf("%d calls aside and %d in line are left", g.aside, len(g.waiting))
		}
	})
}

func TestCallersBehindALockShareABatchOnceItIsFree(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		const locked = time.Second
		unlock := lockable(g, locked)
		var callers sync.WaitGroup
		for range 90 {
			callers.Go(func() {
				if _, err := g.One(context.Background(), locked); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(3 * time.Second)
		unlock()
		began := time.Now()
		callers.Wait()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the last was answered %s after the lock was free", took)
		}
	})
}

func TestTooManyCallersBehindALockAreRefused(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		const locked = time.Second
		lockable(g, locked)
		g.MaxAside = 10
		var callers sync.WaitGroup
		var refused atomic.Int32
		call := func() {
			if _, err := g.One(context.Background(), locked); errors.Is(err, ErrFull) {
				refused.Add(1)
			}
		}
		callers.Go(call)
		time.Sleep(2*lockTimeout + time.Millisecond) // it was refused with its batch, and then alone: the lock is known to be held
		for range 50 {
			callers.Go(call)
		}
		time.Sleep(time.Second)
		if n := refused.Load(); n != 41 {
			t.Errorf("%d of 50 were refused while one waited", n)
		}
		if _, err := g.One(context.Background(), time.Millisecond); err != nil {
			t.Errorf("an innocent call: %v", err)
		}
		callers.Wait()
	})
}

func TestCallsThatNeedALockWithoutANameAreAnsweredInTime(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		lockable(g, time.Second)
		g.Keys = func(time.Duration) []string { return nil }
		var callers sync.WaitGroup
		for range 300 {
			callers.Go(func() {
				began := time.Now()
				if _, err := g.One(context.Background(), time.Second); !errors.Is(err, ErrLocked) || time.Since(began) > patience+lockTimeout {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		}
		callers.Wait()
	})
}

// TestALockedKeyHoldsUpOnlyItsOwn: an error that tells which of the keys of a call is locked does not keep calls aside that share another one.
func TestALockedKeyHoldsUpOnlyItsOwn(t *testing.T) {
	withGroup(t, func(g *group, sizes func() []int) {
		const locked = time.Second
		unlock := lockable(g, locked)
		g.Keys = func(item time.Duration) []string { return []string{strconv.FormatInt(int64(item), 10), "shared"} }
		g.Blames = func(_ error, key string) bool { return key != "shared" }
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := g.One(context.Background(), locked); err != nil {
				t.Errorf("the locked call: %v", err)
			}
		})
		time.Sleep(4 * lockTimeout) // it has been tried alone
		before := len(sizes())
		began := time.Now()
		if _, err := g.One(context.Background(), time.Millisecond); err != nil || len(sizes()) != before+1 {
			t.Errorf("a call that shares the other key did not go with a batch: %v after %s", err, time.Since(began))
		}
		unlock()
		callers.Wait()
	})
}
