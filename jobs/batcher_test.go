package jobs

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// withTestBatcher does a test by a clock that stands still while anybody works. The batches take as long as the slowest of their items.
func withTestBatcher(t *testing.T, test func(b *batcher[time.Duration, time.Duration], sizes *[]int)) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		var mu sync.Mutex
		var sizes []int
		test(&batcher[time.Duration, time.Duration]{
			run: func(_ context.Context, items []time.Duration) ([]time.Duration, error) {
				time.Sleep(slices.Max(items))
				if slices.Contains(items, badItem) {
					return nil, errBadItem
				}
				return items, nil
			},
			weigh: func(time.Duration) int { return 1 }, lone: make(chan struct{}, 1), size: 100, flights: 2, queue: 1000, gathers: true, observe: func(n int) {
				mu.Lock()
				defer mu.Unlock()
				sizes = append(sizes, n)
			},
		}, &sizes)
		time.Sleep(time.Second) // all batches are done
	})
}

// badItem is one that a batch with it is refused for.
const badItem = 1111 * time.Microsecond

var errBadItem = invalid("item", "is bad")

func TestABadItemFailsAloneAndHoldsNobodyUp(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], _ *[]int) {
		var callers sync.WaitGroup
		callers.Go(func() { _, _ = b.do(context.Background(), 5*time.Millisecond) }) // meanwhile the others gather
		time.Sleep(time.Millisecond)
		for i := range 64 {
			callers.Go(func() {
				item := time.Millisecond
				if i == 40 {
					item = badItem
				}
				result, err := b.do(context.Background(), item)
				if bad := err != nil; bad != (i == 40) || !bad && result != item {
					t.Errorf("item %d: %s, %v", i, result, err)
				}
			})
		}
		time.Sleep(6 * time.Millisecond) // they have left, and are refused a little later
		began := time.Now()
		if _, err := b.do(context.Background(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("another item waited for %s", took)
		}
		callers.Wait()
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("to find a bad one of 64 took %s", took)
		}
	})
}

func TestALoneItemGoesAtOnce(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], _ *[]int) {
		began := time.Now()
		for range 10 {
			if _, err := b.do(context.Background(), time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("ten of a millisecond took %s", took)
		}
	})
}

func TestItemsThatCameTogetherComeTogetherAgain(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], sizes *[]int) {
		began := time.Now()
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				for range 10 {
					time.Sleep(time.Duration(i+1) * 100 * time.Microsecond) // the answers go out one by one
					_, _ = b.do(context.Background(), time.Millisecond)
				}
			})
		}
		callers.Wait()
		if len(*sizes) > 12 || !slices.Contains(*sizes, 8) {
			t.Errorf("the sizes of the batches of 8 callers with 10 items each: %v", *sizes)
		}
		// 0.8 ms until all are back, 1 ms for the batch; the first and the last of the line go by themselves.
		if took := time.Since(began); took > 24*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

func TestWhoDoesNotComeAgainIsNotWaitedForLong(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], sizes *[]int) {
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() { _, _ = b.do(context.Background(), time.Millisecond) })
		}
		callers.Wait()
		for _, want := range []time.Duration{gatherFor + time.Millisecond, time.Millisecond} {
			began := time.Now()
			if _, err := b.do(context.Background(), time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("it took %s, not %s; batches: %v", took, want, *sizes)
			}
		}
	})
}

func TestASlowBatchDoesNotKeepOthersFromLeaving(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], _ *[]int) {
		began := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() { _, _ = b.do(context.Background(), 200*time.Millisecond) })
		time.Sleep(2 * slowAfter)
		_, _ = b.do(context.Background(), time.Millisecond)
		if took := time.Since(began); took != 2*slowAfter+time.Millisecond {
			t.Errorf("it took %s", took)
		}
		slow.Wait()
	})
}

func TestCallsOfSeveralItemsGoTogetherWhereAllBatchesAreUnderWay(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], sizes *[]int) {
		b.gathers = false
		call := func(items int, item time.Duration) []time.Duration {
			results, err := b.doAll(context.Background(), slices.Repeat([]time.Duration{item}, items))
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
		if want := []int{30, 150, 99, 66}; !slices.Equal(*sizes, want) {
			t.Errorf("batches of %v, not %v", *sizes, want)
		}
	})
}

func TestABadCallFailsWithAllItsItemsAndAlone(t *testing.T) {
	withTestBatcher(t, func(b *batcher[time.Duration, time.Duration], sizes *[]int) {
		b.gathers = false
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() { _, _ = b.do(context.Background(), 5*time.Millisecond) })
			time.Sleep(time.Microsecond) // each is a batch by itself
		}
		for i := range 4 {
			callers.Go(func() {
				items := []time.Duration{time.Millisecond, time.Millisecond}
				if i == 2 {
					items[1] = badItem
				}
				if results, err := b.doAll(context.Background(), items); (err != nil) != (i == 2) || err == nil && len(results) != 2 {
					t.Errorf("call %d: %v, %v", i, results, err)
				}
			})
		}
		callers.Wait()
		if !slices.Contains(*sizes, 8) {
			t.Errorf("they did not go together: %v", *sizes)
		}
	})
}
