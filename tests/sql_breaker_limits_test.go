package tests

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A job that its breaker holds makes room for others of the same queue, and goes by its line once more when it comes back.
func TestABreakerAndLimitsHoldAJobEachForItself(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 7, "per_key": 1}`)
	setBreaker(t, d, "b", `{"half_open_probes": 2, "close_after": 2}`)
	var broken, others []int64
	for i := range 6 {
		broken = append(broken, weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "x", "queue": "q", "breaker": "b", "concurrency_key": "k%d"}`, i%3))...)
	}
	weirtest.Exec(t, d, "select weir.pin_breaker('b', 'open')")
	for i := range 4 {
		others = append(others, weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "y", "queue": "q", "concurrency_key": "other%d"}`, i))...)
	}
	var got []weirtest.Lease
	weirtest.Eventually(t, "the others are claimed, and all of the breaker's held", func() bool {
		weirtest.Admit(t, d, "q", 10)
		got = append(got, weirtest.Claim(t, d, "q", 10)...)
		return len(got) == len(others) && weirtest.Value[int](t, d, "select held::int from weir.breakers") == len(broken)
	})
	if !slices.Equal(weirtest.IDs(got), others) {
		t.Errorf("claimed %v, want %v", weirtest.IDs(got), others)
	}
	weirtest.CheckLimits(t, d)
	weirtest.Complete(t, d, got...)
	weirtest.Exec(t, d, "select weir.pin_breaker('b', 'none')")
	finished := 0
	for finished < len(broken) {
		weirtest.Eventually(t, "more jobs come", func() bool {
			weirtest.Exec(t, d, "select weir.tick_breakers()")
			weirtest.Admit(t, d, "q", 10)
			jobs := weirtest.Claim(t, d, "q", 10)
			if len(jobs) > 7 {
				t.Fatalf("%d in flight", len(jobs))
			}
			keys := weirtest.Value[int](t, d, "select count(distinct concurrency_key)::int from weir.jobs where id = any ($1)", weirtest.IDs(jobs))
			if keys != len(jobs) {
				t.Fatalf("%d jobs of %d keys are in flight", len(jobs), keys)
			}
			weirtest.Complete(t, d, jobs...)
			finished += len(jobs)
			return len(jobs) > 0
		})
		weirtest.CheckLimits(t, d)
	}
	tickUntil(t, d, "b", "closed")
	for _, id := range append(broken, others...) {
		weirtest.WantState(t, d, id, "completed")
	}
}

// The same with the breaker of the queue itself.
func TestAQueueWithLimitsIsHeldByItsOwnBreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 3}`)
	setBreaker(t, d, "b", `{"half_open_probes": 2, "close_after": 2}`)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"breaker": "b"}')`)
	weirtest.Admit(t, d, "q", 0)
	weirtest.Enqueue(t, d, slices.Repeat([]string{`{"kind": "x", "queue": "q"}`}, 8)...)
	weirtest.Exec(t, d, "select weir.trip_breaker('b', open_seconds => 0.3)")
	weirtest.Admit(t, d, "q", 10)
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Errorf("%d jobs were claimed", n)
	}
	finished := 0
	for finished < 8 {
		weirtest.Eventually(t, "more jobs come", func() bool {
			weirtest.Exec(t, d, "select weir.tick_breakers()")
			weirtest.Admit(t, d, "q", 10)
			jobs := weirtest.Claim(t, d, "q", 10)
			if len(jobs) > 3 {
				t.Fatalf("%d in flight", len(jobs))
			}
			weirtest.Complete(t, d, jobs...)
			finished += len(jobs)
			return len(jobs) > 0
		})
		weirtest.CheckLimits(t, d)
	}
	tickUntil(t, d, "b", "closed")
}

func TestABreakerReroutesIntoAQueueWithLimits(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "backup", `{"concurrency": 2}`)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 4}`)
	openWith(t, d, "b", `{"policy": "reroute", "queue": "backup"}`)
	weirtest.Enqueue(t, d, slices.Repeat([]string{needing("q", "b")}, 5)...)
	finished := 0
	for finished < 5 {
		weirtest.Eventually(t, "more jobs come", func() bool {
			weirtest.Admit(t, d, "q", 10)
			if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
				t.Fatalf("%d jobs were claimed from q", n)
			}
			weirtest.Admit(t, d, "backup", 10)
			jobs := weirtest.Claim(t, d, "backup", 10)
			if len(jobs) > 2 {
				t.Fatalf("%d in flight", len(jobs))
			}
			weirtest.Complete(t, d, jobs...)
			finished += len(jobs)
			return len(jobs) > 0
		})
		weirtest.CheckLimits(t, d)
	}
}
