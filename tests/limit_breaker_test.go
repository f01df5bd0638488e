package tests

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A queue with limits and a circuit breaker: what the breaker holds is not in flight, and what it lets go waits in its line like any other, and is let through all the same.
func TestAnOpenBreakerLeavesRoomInAQueueWithLimits(t *testing.T) {
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
