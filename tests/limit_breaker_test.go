package tests

import "testing"

// A queue with limits and a circuit breaker: what the breaker holds is not in flight, and what it lets go waits in its line like any other, and is let through all the same.
func TestAnOpenBreakerLeavesRoomInAQueueWithLimits(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	govern(t, d, "q", `{"concurrency": 1}`)
	do(t, d, `select weir.set_breaker('b', '{"failure_threshold": 1, "half_open_probes": 1, "close_after": 1}')`)
	held := enqueue(t, d, `{"kind": "w", "queue": "q", "breaker": "b"}`)
	free := enqueueOne(t, d, "q")
	do(t, d, "select weir.trip_breaker('b')")
	admit(t, d, "q", 1)
	if n := len(claim(t, d, "q", 1)); n != 0 {
		t.Fatalf("claimed %d of an open breaker", n)
	}
	admit(t, d, "q", 1)
	job := claimOne(t, d, "q")
	if job.ID != free {
		t.Fatalf("claimed %d, want %d, which has no breaker", job.ID, free)
	}
	agree(t, d)
	do(t, d, "select weir.reset_breaker('b')")
	eventually(t, "the breaker lets its job go", func() bool {
		do(t, d, "select weir.tick_breakers()")
		admit(t, d, "q", 1)
		return stateOf(t, d, held[0]) == "held" && ask[string](t, d, "select coalesce(held_reason, 'line') from weir.jobs where id = $1", held[0]) == "line"
	})
	if n := len(claim(t, d, "q", 1)); n != 0 {
		t.Errorf("%d was claimed where one is running", n)
	}
	complete(t, d, job)
	admit(t, d, "q", 1)
	if job = claimOne(t, d, "q"); job.ID != held[0] {
		t.Errorf("claimed %d, want %d", job.ID, held[0])
	}
	agree(t, d)
}
