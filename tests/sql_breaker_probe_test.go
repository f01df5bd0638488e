package tests

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFiftyConnectionsTripAndProbeOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": 10, "half_open_probes": 4, "close_after": 4, "open_seconds": 600, "max_open_seconds": 600}`)
	weirtest.Enqueue(t, d, slices.Repeat([]string{needing("q", "b")}, 70)...)
	jobs := weirtest.Claim(t, d, "q", 50)
	race := func(statement func(i int) (string, []any), then func(weirtest.Querier)) {
		t.Helper()
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range 50 {
			conn := d.Connect()
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
	weirtest.Exec(t, d, "select weir.tick_breakers()") // the last ones may have seen each other's failures uncommitted, as long as fewer than 10 were committed
	if got := breakerHistory(t, d, "b"); got != "opened" {
		t.Fatalf("50 failures at once: %s", got)
	}
	if n := len(weirtest.Claim(t, d, "q", 100)); n != 0 {
		t.Fatalf("%d jobs were claimed while it was open", n)
	}
	weirtest.Exec(t, d, "update weir.breaker set next_probe_at = clock_timestamp()") // as if its time were over
	var probes []weirtest.Lease
	var mu sync.Mutex
	race(func(int) (string, []any) { return "select weir.tick_breakers()", nil }, func(q weirtest.Querier) {
		got, err := weirtest.TryClaim(q, "q", 10)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		probes = append(probes, got...)
	})
	probes = append(probes, weirtest.Claim(t, d, "q", 100)...)
	if got := breakerHistory(t, d, "b"); got != "opened half_opened" {
		t.Errorf("50 ticks at once: %s", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.job_event where kind = 'let_through'"); len(probes) != 4 || n != 4 {
		t.Fatalf("%d probes were sent, and %d claimed", n, len(probes))
	}
	race(func(i int) (string, []any) {
		if i < 4 {
			return "select weir.complete($1, $2)", []any{probes[i].ID, probes[i].Token}
		}
		return "select weir.tick_breakers()", nil
	}, nil)
	weirtest.Exec(t, d, "select weir.tick_breakers()")
	if got := breakerHistory(t, d, "b"); got != "opened half_opened closed" && got != "opened half_opened closed recovered" {
		t.Errorf("four probes succeeded: %s", got)
	}
	if got := weirtest.Value[string](t, d, "select times_opened || ' ' || changes from weir.breakers"); got != "1 3" {
		t.Errorf("it opened, and changed its state, this often: %s", got)
	}
	// Of the 50 that ran one attempt is gone, of the 20 others none.
	if got := weirtest.Value[string](t, d, "select count(*) || ' ' || sum(attempt - (state = 'completed')::int) from weir.jobs"); got != "70 50" {
		t.Errorf("jobs and lost attempts: %s", got)
	}
}

// Whoever is just changing the breaker dies, as a node that is killed does: its connection ends without a word.
func TestAnotherSessionTakesOverFromOneThatDiesInHalfOpen(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", "{}")
	trip(t, d, "q", "b")
	weirtest.Enqueue(t, d, needing("q", "b"))
	weirtest.Claim(t, d, "q", 1)
	time.Sleep(120 * time.Millisecond)
	conn := d.Connect()
	weirtest.Exec(t, conn, "begin")
	weirtest.Exec(t, conn, "select weir.tick_breakers()") // half-open, and the probe sent, for this session only
	weirtest.Exec(t, d, "select weir.tick_breakers()")
	wantBreaker(t, d, "b", "open")
	died := time.Now()
	if err := conn.PgConn().Conn().Close(); err != nil {
		t.Fatal(err)
	}
	tickUntil(t, d, "b", "half_open")
	t.Logf("another took over after %s", time.Since(died))
	weirtest.Eventually(t, "the probe is there", func() bool {
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		return len(weirtest.Claim(t, d, "q", 1)) == 1
	})
}

func TestAProbeWhoseWorkerDiesIsReplaced(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", "{}")
	trip(t, d, "q", "b")
	weirtest.Enqueue(t, d, needing("q", "b"), needing("q", "b"))
	weirtest.Claim(t, d, "q", 10)
	tickUntil(t, d, "b", "half_open")
	first := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.tick_breakers()")
	if n := len(weirtest.Claim(t, d, "q", 10)); n != 0 {
		t.Fatalf("%d more probes", n)
	}
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = clock_timestamp()")
	weirtest.Exec(t, d, "select weir.expire_leases()")
	weirtest.Claim(t, d, "q", 10) // it is held again
	wantBreaker(t, d, "b", "half_open")
	weirtest.Exec(t, d, "select weir.tick_breakers()")
	second := weirtest.ClaimOne(t, d, "q")
	if second.ID == first.ID {
		t.Errorf("job %d is the probe again, before the other", first.ID)
	}
	weirtest.Complete(t, d, second)
	wantBreaker(t, d, "b", "closed recovering")
}

// A job of high priority that fails whatever the dependency does must not be every probe.
func TestAJobThatAlwaysFailsDoesNotKeepABreakerOpen(t *testing.T) {
	t.Parallel()
	for _, queue := range []string{"own", "shared"} {
		d := weirtest.New(t)
		weirtest.Exec(t, d, `select weir.set_queue('own', '{"breaker": "b"}')`)
		setBreaker(t, d, "b", "{}")
		weirtest.Exec(t, d, "select weir.trip_breaker('b', open_seconds => 0.1)")
		poison := weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "x", "queue": %q, "breaker": "b", "priority": 10}`, queue))[0]
		well := weirtest.Enqueue(t, d, fmt.Sprintf(`{"kind": "x", "queue": %q, "breaker": "b"}`, queue))[0]
		for _, want := range []int64{poison, well} {
			weirtest.Claim(t, d, queue, 10)
			tickUntil(t, d, "b", "half_open")
			weirtest.Exec(t, d, "select weir.tick_breakers()")
			j := weirtest.ClaimOne(t, d, queue)
			if j.ID != want {
				t.Fatalf("in queue %s job %d is the probe, want %d", queue, j.ID, want)
			}
			if want == poison {
				failWith(t, d, j, "Timeout")
			} else {
				weirtest.Complete(t, d, j)
			}
		}
		wantBreaker(t, d, "b", "closed recovering")
	}
}
