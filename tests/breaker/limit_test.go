package breaker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A job that its breaker holds leaves room for others of its queue, and returns through its line.
func TestBreakerAndLimitsHoldJobIndependently(t *testing.T) {
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

// The same with the queue's own breaker.
func TestQueueWithLimitsIsHeldByItsBreaker(t *testing.T) {
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

func TestBreakerReroutesIntoQueueWithLimits(t *testing.T) {
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

// In a queue with limits and a breaker, held jobs are not in flight. Once released, they wait in their line as others
// do.
func TestOpenBreakerLeavesRoomInQueueWithLimits(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.SetLimits(t, d, "q", `{"concurrency": 1}`)
	weirtest.Exec(t, d, `select weir.set_breaker('b', '{"failure_threshold": 1, "half_open_probes": 1, "close_after": 1}')`)
	held := weirtest.Enqueue(t, d, `{"kind": "w", "queue": "q", "breaker": "b"}`)
	free := weirtest.EnqueueOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.trip_breaker('b')")
	weirtest.Admit(t, d, "q", 1)
	if n := len(weirtest.Claim(t, d, "q", 1)); n != 0 {
		t.Fatalf("claimed %d of an open breaker", n)
	}
	weirtest.Admit(t, d, "q", 1)
	job := weirtest.ClaimOne(t, d, "q")
	if job.ID != free {
		t.Fatalf("claimed %d, want %d, which has no breaker", job.ID, free)
	}
	weirtest.CheckLimits(t, d)
	weirtest.Exec(t, d, "select weir.reset_breaker('b')")
	weirtest.Eventually(t, "the breaker lets its job go", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		weirtest.Admit(t, d, "q", 1)
		return weirtest.State(t, d, held[0]) == "held" && weirtest.Value[string](t, d, "select coalesce(held_reason, 'line') from weir.jobs where id = $1", held[0]) == "line"
	})
	if n := len(weirtest.Claim(t, d, "q", 1)); n != 0 {
		t.Errorf("%d was claimed where one is running", n)
	}
	weirtest.Complete(t, d, job)
	weirtest.Admit(t, d, "q", 1)
	if job = weirtest.ClaimOne(t, d, "q"); job.ID != held[0] {
		t.Errorf("claimed %d, want %d", job.ID, held[0])
	}
	weirtest.CheckLimits(t, d)
}
