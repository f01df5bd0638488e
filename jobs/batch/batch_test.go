package batch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// group is a Group whose items are durations: a batch takes as long as the slowest of its items.
type group = Group[time.Duration, time.Duration]

// badItem is an item that refuses its batch.
const badItem = 1111 * time.Microsecond

var errBadItem = errors.New("an item is bad")

// withGroup runs a test with a clock that stands still while any goroutine works. sizes returns those of the batches, without what is tried aside.
func withGroup(t *testing.T, test func(g *group, sizes func() []int)) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		var mu sync.Mutex
		var sizes []int
		test(New(Config[time.Duration, time.Duration]{
			Run: func(_ context.Context, items []time.Duration) ([]time.Duration, error) {
				time.Sleep(slices.Max(items))
				if slices.Contains(items, badItem) {
					return nil, errBadItem
				}
				return items, nil
			},
			Weigh:  func(time.Duration) int { return 1 },
			Locked: func(err error) bool { return errors.Is(err, errLockTimeout) },
			Away:   func(error) bool { return false },
			Aside:  make(chan struct{}, 1), Size: 100, Flights: 2, Queue: 1000, Gathers: true,
			Observe: func(n int) {
				mu.Lock()
				defer mu.Unlock()
				sizes = append(sizes, n)
			},
			Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}), func() []int {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(sizes)
		})
		time.Sleep(time.Second) // all batches are done
	})
}

func TestABadItemFailsAloneAndDelaysNoOther(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		var callers sync.WaitGroup
		callers.Go(func() { _, _ = g.One(context.Background(), 5*time.Millisecond) }) // meanwhile the others gather
		time.Sleep(time.Millisecond)
		for i := range 64 {
			callers.Go(func() {
				item := time.Millisecond
				if i == 40 {
					item = badItem
				}
				result, err := g.One(context.Background(), item)
				if bad := err != nil; bad != (i == 40) || !bad && result != item {
					t.Errorf("item %d: %s, %v", i, result, err)
				}
			})
		}
		time.Sleep(6 * time.Millisecond) // they have left, and are refused a little later
		began := time.Now()
		if _, err := g.One(context.Background(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("another item waited for %s", took)
		}
		callers.Wait()
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("finding a bad one of 64 took %s", took)
		}
	})
}

func TestALoneItemGoesAtOnce(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		began := time.Now()
		for range 10 {
			if _, err := g.One(context.Background(), time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("ten of a millisecond took %s", took)
		}
	})
}

func TestCallersAnsweredTogetherShareTheNextBatch(t *testing.T) {
	withGroup(t, func(g *group, sizes func() []int) {
		began := time.Now()
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				for range 10 {
					time.Sleep(time.Duration(i+1) * 100 * time.Microsecond) // the answers go out one by one
					_, _ = g.One(context.Background(), time.Millisecond)
				}
			})
		}
		callers.Wait()
		if len(sizes()) > 12 || !slices.Contains(sizes(), 8) {
			t.Errorf("the sizes of the batches of 8 callers with 10 items each: %v", sizes())
		}
		// 0.8 ms until all have called again, 1 ms for the batch; the first and the last of the line go alone.
		if took := time.Since(began); took > 24*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

func TestCallersThatDoNotCallAgainAreNotAwaitedForLong(t *testing.T) {
	withGroup(t, func(g *group, sizes func() []int) {
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() { _, _ = g.One(context.Background(), time.Millisecond) })
		}
		callers.Wait()
		for _, want := range []time.Duration{gatherFor + time.Millisecond, time.Millisecond} {
			began := time.Now()
			if _, err := g.One(context.Background(), time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("it took %s, not %s; batches: %v", took, want, sizes())
			}
		}
	})
}

func TestASlowBatchDoesNotKeepOthersFromLeaving(t *testing.T) {
	withGroup(t, func(g *group, _ func() []int) {
		began := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() { _, _ = g.One(context.Background(), 200*time.Millisecond) })
		time.Sleep(2 * slowAfter)
		_, _ = g.One(context.Background(), time.Millisecond)
		if took := time.Since(began); took != 2*slowAfter+time.Millisecond {
			t.Errorf("it took %s", took)
		}
		slow.Wait()
	})
}

func TestCallsOfSeveralItemsShareABatchWhileAllFlightsAreBusy(t *testing.T) {
	withGroup(t, func(g *group, sizes func() []int) {
		g.Gathers = false
		call := func(items int, item time.Duration) []time.Duration {
			results, err := g.All(context.Background(), slices.Repeat([]time.Duration{item}, items))
			if err != nil || len(results) != items {
				t.Errorf("%d answers, %v", len(results), err)
			}
			return results
		}
		var callers sync.WaitGroup
		for _, items := range []int{30, 150} { // each is alone, and no batch of one call is too large
			callers.Go(func() { call(items, 5*time.Millisecond) })
			time.Sleep(time.Microsecond)
		}
		for i := range 5 { // three of these are a batch, four would be too much
			callers.Go(func() {
				item := time.Duration(i+1) * time.Millisecond
				if got := call(33, item); got[0] != item || got[32] != item {
					t.Errorf("call %d was answered with %s and %s", i, got[0], got[32])
				}
			})
			time.Sleep(time.Microsecond)
		}
		callers.Wait()
		if want := []int{30, 150, 99, 66}; !slices.Equal(sizes(), want) {
			t.Errorf("batches of %v, not %v", sizes(), want)
		}
	})
}

func TestABadCallFailsAloneWithAllItsItems(t *testing.T) {
	withGroup(t, func(g *group, sizes func() []int) {
		g.Gathers = false
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() { _, _ = g.One(context.Background(), 5*time.Millisecond) })
			time.Sleep(time.Microsecond) // each is a batch of one
		}
		for i := range 4 {
			callers.Go(func() {
				items := []time.Duration{time.Millisecond, time.Millisecond}
				if i == 2 {
					items[1] = badItem
				}
				if results, err := g.All(context.Background(), items); (err != nil) != (i == 2) || err == nil && len(results) != 2 {
					t.Errorf("call %d: %v, %v", i, results, err)
				}
			})
		}
		callers.Wait()
		if !slices.Contains(sizes(), 8) {
			t.Errorf("they did not share a batch: %v", sizes())
		}
	})
}

func TestADefectOfABatchIsAnErrorAndIsNotRepeated(t *testing.T) {
	for name, run := range map[string]func([]time.Duration) []time.Duration{
		"too few results": func(items []time.Duration) []time.Duration { return items[1:] },
		"too many":        func(items []time.Duration) []time.Duration { return append(items, 0) },
		"a panic":         func([]time.Duration) []time.Duration { panic("a defect") },
	} {
		t.Run(name, func(t *testing.T) {
			withGroup(t, func(g *group, _ func() []int) {
				g.Gathers = false
				g.Flights = 1
				runs := 0
				g.Run = func(_ context.Context, items []time.Duration) ([]time.Duration, error) {
					runs++ // one flight, so one at a time
					time.Sleep(time.Millisecond)
					return run(slices.Clone(items)), nil
				}
				var callers sync.WaitGroup
				for range 8 {
					callers.Go(func() {
						if _, err := g.One(context.Background(), time.Millisecond); !errors.Is(err, errDefect) {
							t.Errorf("a caller got %v", err)
						}
					})
				}
				callers.Wait()
				if runs > 2 {
					t.Errorf("there were %d runs for two batches: what may have been committed was done again", runs)
				}
			})
		})
	}
}
