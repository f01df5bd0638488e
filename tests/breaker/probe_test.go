package breaker

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFiftyConnectionsTripAndProbeOnce(t *testing.T) {
	weirtest.Long(t, "it opens fifty connections")
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
	weirtest.Exec(t, d, "select weir.tick_breakers()") // the last sessions may have seen each other's failures uncommitted, while fewer than 10 were committed
	if got := breakerHistory(t, d, "b"); got != "opened" {
		t.Fatalf("50 failures at once: %s", got)
	}
	if n := len(weirtest.Claim(t, d, "q", 100)); n != 0 {
		t.Fatalf("%d jobs were claimed while it was open", n)
	}
	weirtest.Exec(t, d, "update weir.breaker set next_probe_at = clock_timestamp()") // as if its time had passed
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
	// The 50 jobs that ran lost one attempt, the 20 others none.
	if got := weirtest.Value[string](t, d, "select count(*) || ' ' || sum(attempt - (state = 'completed')::int) from weir.jobs"); got != "70 50" {
		t.Errorf("jobs and lost attempts: %s", got)
	}
}

// The session that is changing the breaker dies as on a killed node: its connection ends without a word.
func TestAnotherSessionTakesOverHalfOpenBreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", "{}")
	trip(t, d, "q", "b")
	weirtest.Enqueue(t, d, needing("q", "b"))
	weirtest.Claim(t, d, "q", 1)
	time.Sleep(120 * time.Millisecond)
	conn := d.Connect()
	weirtest.Exec(t, conn, "begin")
	weirtest.Exec(t, conn, "select weir.tick_breakers()") // half-open with the probe sent, as this session alone sees it
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

// A probe whose worker cancels it is cancelled, and not given back as one that failed.
func TestCancelledProbeStaysCancelled(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", "{}")
	trip(t, d, "q", "b")
	weirtest.Enqueue(t, d, needing("q", "b"))
	weirtest.Claim(t, d, "q", 10)
	tickUntil(t, d, "b", "half_open")
	probe := weirtest.ClaimOne(t, d, "q")
	if state := weirtest.Value[string](t, d, `select weir.fail($1, $2, '{"message": "not needed"}', cancel => true)`, probe.ID, probe.Token); state != "cancelled" {
		t.Errorf("the probe is %s", state)
	}
	wantBreaker(t, d, "b", "half_open")
}

func TestLostProbeIsReplaced(t *testing.T) {
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

// A job of high priority that always fails must not become every probe.
func TestFailingJobDoesNotKeepBreakerOpen(t *testing.T) {
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

// A node is killed inside the transaction that holds the lock of a half-open breaker, while it waits for another
// session's lock. The other node must get the breaker's lock and do the due work within two seconds of the kill (more
// if the machine stalls). A session that does not notice the kill would keep the lock until its own wait ends, which
// happens only later.
func TestNodeTakesOverBreakerOfKilledNode(t *testing.T) {
	weirtest.Long(t, "it kills nodes")
	t.Parallel()
	const inTime = weirtest.Soon
	for name, c := range map[string]struct {
		// stop makes the next node with work for the breaker block while it holds the breaker's lock, until the
		// returned function is called.
		stop func(d *weirtest.Database, s *weirtest.Node, probe weirtest.ClaimedJob) (release func())
		// done returns when the due work was done, if it was.
		done string
	}{
		"SendingAProbe": {
			stop: func(d *weirtest.Database, s *weirtest.Node, _ weirtest.ClaimedJob) func() {
				ready := d.Tx()
				weirtest.Exec(t, ready, "lock table weir.job_ready in share mode")
				s.Do(http.MethodPatch, "/v1/breakers/b", `{"half_open_probes": 2}`).Want(http.StatusOK)
				return func() { weirtest.Commit(t, ready) }
			},
			done: "select max(p.sent_at) from weir.breaker_probe p having count(*) = 2",
		},
		"ClosingIt": {
			stop: func(d *weirtest.Database, s *weirtest.Node, probe weirtest.ClaimedJob) func() {
				hand := d.Tx() // another session changes it by hand, so no session judges the probe's success
				weirtest.Exec(t, hand, "select weir.lock_breaker('b')")
				s.Post("/v1/jobs/"+probe.ID+"/complete", obj{"token": probe.Token}).Want(http.StatusOK)
				history := d.Tx()
				weirtest.Exec(t, history, "lock table weir.breaker_event in share mode")
				weirtest.Commit(t, hand)
				return func() { weirtest.Commit(t, history) }
			},
			done: "select max(e.at) from weir.breaker_events e where e.event = 'closed'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			first, child := weirtest.StartServe(t, d)
			first.Do(http.MethodPut, "/v1/breakers/b", `{"open_seconds": 0.1, "max_open_seconds": 0.1, "ramp_per_second": 1000}`).Want(http.StatusOK)
			first.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q", "breaker": "b"}}, 5))
			first.Post("/v1/breakers/b/trip", nil).Want(http.StatusOK)
			var probes []weirtest.ClaimedJob
			first.Eventually("a probe is with a worker", func() bool { probes = first.Claim(10, "q"); return len(probes) > 0 })
			first.Eventually("the others are held", func() bool { return first.Breaker("b").Held == 4 })
			if b := first.Breaker("b"); b.State != "half_open" || b.Probes != 1 || len(probes) != 1 {
				t.Fatalf("%+v, and %d were claimed", b, len(probes))
			}

			release := c.stop(d, first, probes[0])
			holder := func() int {
				pids := weirtest.Values[int](t, d, `select l.pid from pg_locks l join pg_stat_activity a on a.pid = l.pid
					join weir.breaker b on b.xmax = l.transactionid
					where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted and a.application_name = 'weir loops' and exists (select from pg_locks w where w.pid = l.pid and not w.granted)`)
				if len(pids) == 0 {
					return 0
				}
				return pids[0]
			}
			var doomed int
			weirtest.Eventually(t, "the node waits, with the breaker's lock", func() bool { doomed = holder(); return doomed != 0 })
			second, _ := weirtest.StartServe(t, d)
			looks := func() float64 {
				return second.MetricOrZero("weir_loop_step_duration_seconds_count", `loop="breakers"`)
			}
			before := looks()
			second.Eventually("the other node has checked the breaker without effect", func() bool { return looks() >= before+3 })
			if still := holder(); still != doomed || breakerState(t, d, "b") != "half_open" {
				t.Fatalf("session %d has the lock, want %d of the first node; the breaker is %s", still, doomed, breakerState(t, d, "b"))
			}

			killed, killedAt := time.Now(), weirtest.Value[time.Time](t, d, "select clock_timestamp()")
			child.Kill()
			for heir := doomed; heir == doomed || heir == 0; time.Sleep(5 * time.Millisecond) {
				if heir = holder(); time.Since(killed) > inTime {
					t.Fatalf("%s after the node was killed session %d has the lock; its own was %d", time.Since(killed), heir, doomed)
				}
			}
			free := time.Since(killed)
			release()
			var done time.Time
			weirtest.Eventually(t, "the other node does what is due", func() bool {
				at := weirtest.Values[*time.Time](t, d, c.done)
				if len(at) == 1 && at[0] != nil {
					done = *at[0]
				}
				return !done.IsZero()
			})
			if took := done.Sub(killedAt); took > inTime {
				t.Errorf("it was done %s after the node was killed", took)
			} else {
				t.Logf("the other node had the lock %s after the first was killed, and it was done after %s", free, took)
			}

			// All five run, the first one once.
			if name == "SendingAProbe" {
				second.Post("/v1/jobs/"+probes[0].ID+"/complete", obj{"token": probes[0].Token}).Want(http.StatusOK)
			}
			second.Eventually("all are completed", func() bool {
				for _, j := range second.Claim(10, "q") {
					second.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
				}
				return weirtest.Value[int](t, d, "select count(*)::int from weir.jobs where state = 'completed' and attempt = 1") == 5
			})
			if got := breakerHistory(t, d, "b"); got != "opened half_opened closed" && got != "opened half_opened closed recovered" {
				t.Errorf("its history: %s", got)
			}
		})
	}
}
