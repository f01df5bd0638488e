package tests

import (
	"fmt"
	"slices"
	"testing"
)

// A job that its breaker holds makes room for others of the same queue, and goes by its line once more when it comes back.
func TestABreakerAndLimitsHoldAJobEachForItself(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	govern(t, d, "q", `{"concurrency": 7, "per_key": 1}`)
	setBreaker(t, d, "b", `{"half_open_probes": 2, "close_after": 2}`)
	var broken, others []int64
	for i := range 6 {
		broken = append(broken, enqueue(t, d, fmt.Sprintf(`{"kind": "x", "queue": "q", "breaker": "b", "concurrency_key": "k%d"}`, i%3))...)
	}
	do(t, d, "select weir.pin_breaker('b', 'open')")
	for i := range 4 {
		others = append(others, enqueue(t, d, fmt.Sprintf(`{"kind": "y", "queue": "q", "concurrency_key": "other%d"}`, i))...)
	}
	var got []held
	eventually(t, "the others are claimed, and all of the breaker's held", func() bool {
		admit(t, d, "q", 10)
		got = append(got, claim(t, d, "q", 10)...)
		return len(got) == len(others) && ask[int](t, d, "select held::int from weir.breakers") == len(broken)
	})
	if !slices.Equal(idsOf(got), others) {
		t.Errorf("claimed %v, want %v", idsOf(got), others)
	}
	agree(t, d)
	complete(t, d, got...)
	do(t, d, "select weir.pin_breaker('b', 'none')")
	finished := 0
	for finished < len(broken) {
		eventually(t, "more jobs come", func() bool {
			do(t, d, "select weir.tick_breakers()")
			admit(t, d, "q", 10)
			jobs := claim(t, d, "q", 10)
			if len(jobs) > 7 {
				t.Fatalf("%d in flight", len(jobs))
			}
			keys := ask[int](t, d, "select count(distinct concurrency_key)::int from weir.jobs where id = any ($1)", idsOf(jobs))
			if keys != len(jobs) {
				t.Fatalf("%d jobs of %d keys are in flight", len(jobs), keys)
			}
			complete(t, d, jobs...)
			finished += len(jobs)
			return len(jobs) > 0
		})
		agree(t, d)
	}
	tickUntil(t, d, "b", "closed")
	for _, id := range append(broken, others...) {
		wantState(t, d, id, "completed")
	}
}

// The same with the breaker of the queue itself.
func TestAQueueWithLimitsIsHeldByItsOwnBreaker(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	govern(t, d, "q", `{"concurrency": 3}`)
	setBreaker(t, d, "b", `{"half_open_probes": 2, "close_after": 2}`)
	do(t, d, `select weir.set_queue('q', '{"breaker": "b"}')`)
	admit(t, d, "q", 0)
	enqueue(t, d, slices.Repeat([]string{`{"kind": "x", "queue": "q"}`}, 8)...)
	do(t, d, "select weir.trip_breaker('b', open_seconds => 0.3)")
	admit(t, d, "q", 10)
	if n := len(claim(t, d, "q", 10)); n != 0 {
		t.Errorf("%d jobs were claimed", n)
	}
	finished := 0
	for finished < 8 {
		eventually(t, "more jobs come", func() bool {
			do(t, d, "select weir.tick_breakers()")
			admit(t, d, "q", 10)
			jobs := claim(t, d, "q", 10)
			if len(jobs) > 3 {
				t.Fatalf("%d in flight", len(jobs))
			}
			complete(t, d, jobs...)
			finished += len(jobs)
			return len(jobs) > 0
		})
		agree(t, d)
	}
	tickUntil(t, d, "b", "closed")
}

func TestABreakerReroutesIntoAQueueWithLimits(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	govern(t, d, "backup", `{"concurrency": 2}`)
	govern(t, d, "q", `{"concurrency": 4}`)
	openWith(t, d, "b", `{"policy": "reroute", "queue": "backup"}`)
	enqueue(t, d, slices.Repeat([]string{needing("q", "b")}, 5)...)
	finished := 0
	for finished < 5 {
		eventually(t, "more jobs come", func() bool {
			admit(t, d, "q", 10)
			if n := len(claim(t, d, "q", 10)); n != 0 {
				t.Fatalf("%d jobs were claimed from q", n)
			}
			admit(t, d, "backup", 10)
			jobs := claim(t, d, "backup", 10)
			if len(jobs) > 2 {
				t.Fatalf("%d in flight", len(jobs))
			}
			complete(t, d, jobs...)
			finished += len(jobs)
			return len(jobs) > 0
		})
		agree(t, d)
	}
}
