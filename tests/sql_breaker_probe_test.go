package tests

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestFiftyConnectionsTripAndProbeOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	setBreaker(t, d, "b", `{"failure_threshold": 10, "half_open_probes": 4, "close_after": 4, "open_seconds": 600, "max_open_seconds": 600}`)
	enqueue(t, d, slices.Repeat([]string{needing("q", "b")}, 70)...)
	jobs := claim(t, d, "q", 50)
	race := func(statement func(i int) (string, []any), then func(asker)) {
		t.Helper()
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range 50 {
			conn := d.connect()
			all.Go(func() {
				<-start
				sql, args := statement(i)
				if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
					t.Error(err)
				} else if then != nil {
					then(conn)
				}
			})
		}
		close(start)
		all.Wait()
	}
	race(func(i int) (string, []any) {
		return "select weir.fail($1, $2, '{\"type\": \"Timeout\", \"message\": \"no\"}')", []any{jobs[i].ID, jobs[i].Token}
	}, nil)
	do(t, d, "select weir.tick_breakers()") // the last ones may have seen each other's failures uncommitted, as long as fewer than 10 were committed
	if got := breakerHistory(t, d, "b"); got != "opened" {
		t.Fatalf("50 failures at once: %s", got)
	}
	if n := len(claim(t, d, "q", 100)); n != 0 {
		t.Fatalf("%d jobs were claimed while it was open", n)
	}
	do(t, d, "update weir.breaker set next_probe_at = clock_timestamp()") // as if its time were over
	var probes []held
	var mu sync.Mutex
	race(func(int) (string, []any) { return "select weir.tick_breakers()", nil }, func(q asker) {
		got, err := tryClaim(q, "q", 10)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		probes = append(probes, got...)
	})
	probes = append(probes, claim(t, d, "q", 100)...)
	if got := breakerHistory(t, d, "b"); got != "opened half_opened" {
		t.Errorf("50 ticks at once: %s", got)
	}
	if n := ask[int](t, d, "select count(*)::int from weir.job_event where kind = 'let_through'"); len(probes) != 4 || n != 4 {
		t.Fatalf("%d probes were sent, and %d claimed", n, len(probes))
	}
	race(func(i int) (string, []any) {
		if i < 4 {
			return "select weir.complete($1, $2)", []any{probes[i].ID, probes[i].Token}
		}
		return "select weir.tick_breakers()", nil
	}, nil)
	do(t, d, "select weir.tick_breakers()")
	if got := breakerHistory(t, d, "b"); got != "opened half_opened closed" && got != "opened half_opened closed recovered" {
		t.Errorf("four probes succeeded: %s", got)
	}
	if got := ask[string](t, d, "select times_opened || ' ' || changes from weir.breakers"); got != "1 3" {
		t.Errorf("it opened, and changed its state, this often: %s", got)
	}
	// Of the 50 that ran one attempt is gone, of the 20 others none.
	if got := ask[string](t, d, "select count(*) || ' ' || sum(attempt - (state = 'completed')::int) from weir.jobs"); got != "70 50" {
		t.Errorf("jobs and lost attempts: %s", got)
	}
}

// Whoever is just changing the breaker dies, as a node that is killed does: its connection ends without a word.
func TestAnotherSessionTakesOverFromOneThatDiesInHalfOpen(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	setBreaker(t, d, "b", "{}")
	trip(t, d, "q", "b")
	enqueue(t, d, needing("q", "b"))
	claim(t, d, "q", 1)
	time.Sleep(120 * time.Millisecond)
	conn := d.connect()
	do(t, conn, "begin")
	do(t, conn, "select weir.tick_breakers()") // half-open, and the probe sent, for this session only
	do(t, d, "select weir.tick_breakers()")
	wantBreaker(t, d, "b", "open")
	died := time.Now()
	if err := conn.PgConn().Conn().Close(); err != nil {
		t.Fatal(err)
	}
	tickUntil(t, d, "b", "half_open")
	t.Logf("another took over after %s", time.Since(died))
	eventually(t, "the probe is there", func() bool { do(t, d, "select weir.tick_breakers()"); return len(claim(t, d, "q", 1)) == 1 })
}

func TestAProbeWhoseWorkerDiesIsReplaced(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	setBreaker(t, d, "b", "{}")
	trip(t, d, "q", "b")
	enqueue(t, d, needing("q", "b"), needing("q", "b"))
	claim(t, d, "q", 10)
	tickUntil(t, d, "b", "half_open")
	first := claimOne(t, d, "q")
	do(t, d, "select weir.tick_breakers()")
	if n := len(claim(t, d, "q", 10)); n != 0 {
		t.Fatalf("%d more probes", n)
	}
	do(t, d, "update weir.job_lease set expires_at = clock_timestamp()")
	do(t, d, "select weir.expire_leases()")
	claim(t, d, "q", 10) // it is held again
	wantBreaker(t, d, "b", "half_open")
	do(t, d, "select weir.tick_breakers()")
	second := claimOne(t, d, "q")
	if second.ID == first.ID {
		t.Errorf("job %d is the probe again, before the other", first.ID)
	}
	complete(t, d, second)
	wantBreaker(t, d, "b", "closed recovering")
}

// A job of high priority that fails whatever the dependency does must not be every probe.
func TestAJobThatAlwaysFailsDoesNotKeepABreakerOpen(t *testing.T) {
	t.Parallel()
	for _, queue := range []string{"own", "shared"} {
		d := newDatabase(t)
		do(t, d, `select weir.set_queue('own', '{"breaker": "b"}')`)
		setBreaker(t, d, "b", "{}")
		do(t, d, "select weir.trip_breaker('b', open_seconds => 0.1)")
		poison := enqueue(t, d, fmt.Sprintf(`{"kind": "x", "queue": %q, "breaker": "b", "priority": 10}`, queue))[0]
		well := enqueue(t, d, fmt.Sprintf(`{"kind": "x", "queue": %q, "breaker": "b"}`, queue))[0]
		for _, want := range []int64{poison, well} {
			claim(t, d, queue, 10)
			tickUntil(t, d, "b", "half_open")
			do(t, d, "select weir.tick_breakers()")
			j := claimOne(t, d, queue)
			if j.ID != want {
				t.Fatalf("in queue %s job %d is the probe, want %d", queue, j.ID, want)
			}
			if want == poison {
				failWith(t, d, j, "Timeout")
			} else {
				complete(t, d, j)
			}
		}
		wantBreaker(t, d, "b", "closed recovering")
	}
}
