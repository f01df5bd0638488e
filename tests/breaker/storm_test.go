package breaker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Workers, nodes and operators use one breaker at once, in two queues, one of which has it as its own. In any order of
// events no call fails, and after the storm every job ends once.
func TestStormAroundBreakerLosesNoJob(t *testing.T) {
	weirtest.Long(t, "it works many jobs")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('own', '{"breaker": "b"}'), weir.set_queue('shared', '{"max_attempts": 100}')`)
	setBreaker(t, d, "b", `{"failure_threshold": 3, "half_open_probes": 3, "close_after": 2, "window_seconds": 1, "max_open_seconds": 0.2}`)
	policies := []string{
		`{"policy": "hold"}`, `{"policy": "hold"}`, `{"policy": "reroute", "queue": "backup"}`, `{"policy": "throttle", "per_second": 200}`, `{"policy": "postpone", "delay_seconds": 0.1}`,
		`{"policy": "degraded", "for_seconds": 0.2}`, `{"policy": "complete_default", "result": 1}`, `{"policy": "complete_last_result"}`,
	}
	var enqueued atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var all sync.WaitGroup
	each := func(n int, what string, step func(*weirtest.Database) error) {
		for range n {
			all.Go(func() {
				for ctx.Err() == nil {
					if err := step(d); err != nil {
						t.Errorf("%s: %v", what, err)
						return
					}
				}
			})
		}
	}
	work := func(q weirtest.Querier, well func() bool) error {
		jobs, err := weirtest.TryClaim(q, "own,shared,backup", 1+rand.IntN(20))
		if err != nil {
			return err
		}
		for _, j := range jobs {
			switch {
			case rand.IntN(20) == 0:
				err = weirtest.TryExec(q, "select weir.release($1, $2)", j.ID, j.Token)
			case rand.IntN(50) == 0:
				err = weirtest.TryExec(q, "select weir.snooze($1, $2, '0.05 s')", j.ID, j.Token)
			case well():
				err = weirtest.TryExec(q, "select weir.complete($1, $2, '{}')", j.ID, j.Token)
			default:
				err = weirtest.TryExec(q, "select weir.fail($1, $2, '{\"type\": \"T\", \"message\": \"m\"}', '0')", j.ID, j.Token)
			}
			if err != nil && !weirtest.HasSQLState(err, "WR001") { // it was cancelled, or its lease was taken
				return err
			}
		}
		return nil
	}
	each(2, "enqueueing", func(d *weirtest.Database) error {
		time.Sleep(5 * time.Millisecond)
		enqueued.Add(3)
		return weirtest.TryExec(d, "select weir.enqueue_many($1)", fmt.Sprintf(`[{"kind": "a", "queue": "own", "max_attempts": 100}, {"kind": "b", "queue": "shared", "breaker": "b", "priority": %d}, {"kind": "c", "queue": "shared"}]`, 1+rand.IntN(10)))
	})
	each(4, "working", func(d *weirtest.Database) error { return work(d, func() bool { return rand.IntN(3) > 0 }) })
	each(2, "ticking", func(d *weirtest.Database) error {
		time.Sleep(20 * time.Millisecond)
		return weirtest.TryExec(d, "select weir.advance_frontier('10 ms'), weir.promote_due(), weir.tick_breakers(), weir.expire_leases(), weir.sweep_breakers()")
	})
	each(1, "changing the policy", func(d *weirtest.Database) error {
		time.Sleep(100 * time.Millisecond)
		return weirtest.TryExec(d, "select weir.set_breaker('b', jsonb_build_object('while_open', $1::jsonb))", policies[rand.IntN(len(policies))])
	})
	each(1, "meddling", func(d *weirtest.Database) error {
		time.Sleep(150 * time.Millisecond)
		return weirtest.TryExec(d, []string{"select weir.trip_breaker('b')", "select weir.reset_breaker('b')", "select weir.report_breaker('b', 'failure', calls => 5)"}[rand.IntN(3)])
	})
	each(1, "cancelling", func(d *weirtest.Database) error {
		time.Sleep(20 * time.Millisecond)
		err := weirtest.TryExec(d, "select weir.cancel(j.id) from weir.jobs j where j.id = (select max(h.job_id) from weir.job_held h)")
		if weirtest.HasSQLState(err, "WR003") {
			return nil // it has ended meanwhile
		}
		return err
	})
	all.Wait()
	cancel()
	weirtest.Exec(t, d, `select weir.set_breaker('b', '{"while_open": {"policy": "hold"}}'), weir.reset_breaker('b')`)
	weirtest.Eventually(t, "every job has ended", func() bool {
		weirtest.Exec(t, d, "select weir.advance_frontier('0 s'), weir.promote_due(), weir.tick_breakers()")
		if err := work(d, func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		return weirtest.Value[int64](t, d, "select count(*) from weir.job_outcome") == enqueued.Load()
	})
	tickUntil(t, d, "b", "closed")
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_probe"); n > 0 {
		weirtest.Exec(t, d, "select weir.trip_breaker('b', open_seconds => 0.1)")
		tickUntil(t, d, "b", "half_open")
		weirtest.Exec(t, d, "select weir.tick_breakers()")
		if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_probe"); n > 0 {
			t.Errorf("%d probes are left", n)
		}
	}
	t.Logf("%d jobs; the breaker changed its state %d times", enqueued.Load(), weirtest.Value[int](t, d, "select changes from weir.breakers"))
	for _, kind := range []string{"completed", "dead"} {
		t.Logf("%s: %d", kind, weirtest.Value[int](t, d, "select count(*)::int from weir.job_outcome where state = $1::weir.job_state", kind))
	}
}
