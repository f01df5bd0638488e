package promote

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestDueJobsArePromotedInOrder(t *testing.T) {
	weirtest.Long(t, "it promotes many jobs")
	t.Parallel()
	d := weirtest.New(t)
	var jobs []string
	for _, n := range rand.Perm(40) {
		jobs = append(jobs, fmt.Sprintf(`{"kind": "%02d", "queue": "q", "delay_seconds": %d}`, n, 1000+n))
	}
	weirtest.Enqueue(t, d, jobs...)
	weirtest.Enqueue(t, d, `{"kind": "not yet", "queue": "q", "delay_seconds": 5000}`)
	weirtest.Exec(t, d, "update weir.job_scheduled set run_at = run_at - interval '1500 s'") // as if that time had passed
	for _, c := range []struct{ most, want int }{{15, 15}, {20, 20}, {100, 5}, {100, 0}} {
		if got := weirtest.Value[int](t, d, "select promoted from weir.promote_due($1)", c.most); got != c.want {
			t.Errorf("%d were promoted of at most %d, want %d", got, c.most, c.want)
		}
	}
	var kinds []string
	for _, j := range weirtest.Claim(t, d, "q", 100) {
		kinds = append(kinds, j.Kind)
	}
	if !slices.IsSorted(kinds) || len(kinds) != 40 {
		t.Errorf("they were claimed in the order %q", kinds)
	}
}

func TestPromotedJobKeepsItsFacts(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "priority": 8, "delay_seconds": 0.05, "args": {"x": 1}}`)[0]
	var p weirtest.Promoter
	weirtest.Eventually(t, "it is promoted", func() bool { return p.Look(t, d) == 1 })
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, priority, attempt, args, run_at) from weir.jobs where id = $1", id); got != `available 8 0 {"x": 1}` {
		t.Errorf("it is %q", got)
	}
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.fail($1, $2, null, '50 ms')", j.ID, j.Token)
	weirtest.WantState(t, d, id, "retryable")
	weirtest.Eventually(t, "it is promoted again", func() bool { return p.Look(t, d) == 1 })
	if j = weirtest.ClaimOne(t, d, "q"); j.ID != id || j.Attempt != 2 || j.Priority != 8 {
		t.Errorf("claimed %+v, want job %d at attempt 2", j, id)
	}
}

func TestPromotionStartsAtItsLowerBound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	early, late := weirtest.Enqueue(t, d, `{"kind": "a", "delay_seconds": 100}`)[0], weirtest.Enqueue(t, d, `{"kind": "a", "delay_seconds": 200}`)[0]
	between := weirtest.Value[time.Time](t, d, "select run_at from weir.jobs where id = $1", early)
	weirtest.Exec(t, d, "update weir.job_scheduled set run_at = run_at - interval '1000 s'")
	weirtest.Exec(t, d, "select weir.promote_due(10, $1)", between.Add(-1000*time.Second))
	weirtest.WantState(t, d, early, "scheduled")
	weirtest.WantState(t, d, late, "available")
}

func TestDelayedJobOfLateCommitterIsPromoted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.set_queue('q')")
	for _, enqueueing := range []string{
		`select weir.enqueue('a', queue => 'q', options => '{"delay_seconds": 0.05}')`,
		`select weir.enqueue('a', queue => 'q', run_at => clock_timestamp() + interval '50 ms')`,
		`select weir.enqueue('a', queue => 'q', options => '{"delay_seconds": 0.05, "unique": {"key": "k"}}')`,
	} {
		var p weirtest.Promoter
		weirtest.Tick(t, d)
		p.Look(t, d)
		tx := d.Tx()
		id := weirtest.Value[int64](t, tx, enqueueing)
		for range 3 { // promotions pass its due time
			weirtest.Tick(t, d)
			p.Look(t, d)
			before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
			weirtest.Eventually(t, "its time has passed", func() bool {
				return weirtest.Value[bool](t, d, "select clock_timestamp() > $1::timestamptz + interval '60 ms'", before)
			})
		}
		weirtest.Commit(t, tx)
		weirtest.Eventually(t, "it is promoted", func() bool {
			weirtest.Tick(t, d)
			p.Look(t, d)
			return weirtest.State(t, d, id) == "available"
		})
	}
}

func TestLockedJobIsPromotedAfterwards(t *testing.T) {
	weirtest.Long(t, "it waits for locks")
	t.Parallel()
	for name, sql := range map[string]string{
		"cancelled": "select weir.cancel($1)",
		"retried":   "select weir.retry($1)",
		"edited":    `select weir.edit($1, '{"priority": 9}')`,
		"promoted":  "select weir.promote_due() where $1 > 0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			var p weirtest.Promoter
			id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 0.05}`)[0]
			at := weirtest.Value[time.Time](t, d, "select run_at from weir.jobs where id = $1", id)
			weirtest.Eventually(t, "it is due", func() bool { return weirtest.Value[bool](t, d, "select clock_timestamp() > $1", at) })
			weirtest.Settle(t, d)
			tx := d.Tx()
			weirtest.Exec(t, tx, sql, id)
			for range 5 {
				weirtest.Tick(t, d)
				p.Look(t, d)
			}
			weirtest.Rollback(t, tx)
			weirtest.Eventually(t, "it is promoted", func() bool {
				weirtest.Tick(t, d)
				p.Look(t, d)
				return weirtest.State(t, d, id) == "available"
			})
		})
	}
}

// A transaction that waits for a table's lock may have read the clock before the wait or after it: both must work.
func TestJobThatComesDueDuringLockWaitIsPromoted(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"job", "job_ready", "job_scheduled", "job_lease", "job_event"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			for range 3 {
				weirtest.EnqueueOne(t, d, "q")
			}
			jobs := weirtest.Claim(t, d, "q", 3)
			blocker := d.Tx()
			weirtest.Exec(t, blocker, "lock table weir."+table+" in share mode")
			var wg sync.WaitGroup
			calls := []func(q weirtest.Querier){
				func(q weirtest.Querier) { weirtest.Enqueue(t, q, `{"kind": "a", "queue": "q", "delay_seconds": 0.1}`) },
				func(q weirtest.Querier) {
					weirtest.Exec(t, q, "select weir.snooze($1, $2, '100 ms')", jobs[0].ID, jobs[0].Token)
				},
				func(q weirtest.Querier) {
					weirtest.Exec(t, q, "select weir.fail($1, $2, null, '100 ms')", jobs[1].ID, jobs[1].Token)
				},
			}
			for _, call := range calls {
				wg.Go(func() { call(d) })
			}
			weirtest.Eventually(t, "they wait, or are done", func() bool {
				waiting := weirtest.Value[int](t, d, "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())")
				return waiting+weirtest.Value[int](t, d, "select count(*) from weir.job_scheduled") == len(calls)
			})
			var p weirtest.Promoter
			before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
			weirtest.Eventually(t, "the delays have passed", func() bool {
				weirtest.Tick(t, d)
				p.Look(t, d)
				return weirtest.Value[bool](t, d, "select clock_timestamp() > $1::timestamptz + interval '200 ms'", before)
			})
			weirtest.Rollback(t, blocker)
			wg.Wait()
			weirtest.Eventually(t, "all are promoted", func() bool {
				weirtest.Tick(t, d)
				p.Look(t, d)
				return weirtest.Value[int](t, d, "select count(*) from weir.job_ready") == 3
			})
		})
	}
}

func TestTickDuringPromotionHidesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
	weirtest.EnqueueOne(t, d, "q")
	leased := weirtest.ClaimOne(t, d, "q")
	id := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "other", "delay_seconds": 1}`)[0]
	blocker := d.Tx()
	weirtest.Exec(t, blocker, "lock table weir.watermark in access exclusive mode")
	p, e := weirtest.Promoter{}, weirtest.Expirer{After: time.Unix(0, 0)}
	var wg sync.WaitGroup
	wg.Go(func() { p.Look(t, d) })
	wg.Go(func() { e.Look(t, d) })
	weirtest.Eventually(t, "both looks wait", func() bool {
		return weirtest.Value[int](t, d, "select count(*) from pg_locks where not granted and relation = 'weir.watermark'::regclass") == 2
	})
	weirtest.Eventually(t, "both times have passed", func() bool {
		return weirtest.Value[bool](t, d, "select clock_timestamp() > greatest((select max(run_at) from weir.job_scheduled), (select max(expires_at) from weir.job_lease))")
	})
	weirtest.Tick(t, blocker)
	weirtest.Commit(t, blocker)
	wg.Wait()
	weirtest.Eventually(t, "both are found", func() bool {
		weirtest.Tick(t, d)
		p.Look(t, d)
		e.Look(t, d)
		return weirtest.State(t, d, id) == "available" && weirtest.State(t, d, leased.ID) == "available"
	})
}

// Delays and leases last a tenth of a second to a second. So do transactions, some of which roll back. Two nodes never
// go back behind the end of their last promotion.
func TestNoDueJobOrLostLeaseIsForgotten(t *testing.T) {
	weirtest.Long(t, "it promotes under load for a while")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1, "max_attempts": 100, "retry": {"base_seconds": 0.2, "strategy": "fixed"}}')`)
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	var actors, nodes sync.WaitGroup
	acting, stop := context.WithTimeout(context.Background(), 3*time.Second)
	defer stop()
	running, end := context.WithCancel(context.Background())
	defer end()
	for i := range 6 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		actors.Go(func() {
			conn := d.Connect()
			for acting.Err() == nil {
				tx, err := conn.Begin(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				for range 1 + rng.IntN(3) {
					switch rng.IntN(4) {
					case 0:
						weirtest.Enqueue(t, tx, fmt.Sprintf(`{"kind": "a", "queue": "q", "delay_seconds": %f}`, rng.Float64()/2), `{"kind": "a", "queue": "q"}`)
					case 1:
						weirtest.Claim(t, tx, "q", 3) // and forgotten
					default:
						for _, j := range weirtest.Claim(t, tx, "q", 3) {
							j.Call(t, tx, []string{"fail($1, $2, null)", "snooze($1, $2, '100 ms')", "assert_lease($1, $2)", "heartbeat(array[$1::bigint], array[$2::bigint])", "complete($1, $2)"}[rng.IntN(5)])
						}
					}
					time.Sleep(weirtest.RandomDuration(rng, []time.Duration{time.Millisecond, 20 * time.Millisecond, 600 * time.Millisecond}[rng.IntN(3)]))
				}
				if rng.IntN(3) == 0 {
					weirtest.Rollback(t, tx)
				} else {
					weirtest.Commit(t, tx)
				}
			}
		})
	}
	for i := range 2 {
		rng := rand.New(rand.NewPCG(seed, uint64(100+i)))
		nodes.Go(func() {
			conn := d.Connect()
			p, e := weirtest.Promoter{}, weirtest.Expirer{After: time.Unix(0, 0)}
			for running.Err() == nil {
				switch rng.IntN(4) {
				case 0, 1:
					weirtest.Tick(t, conn)
				case 2:
					p.Look(t, conn)
				case 3:
					e.Look(t, conn)
				}
				time.Sleep(weirtest.RandomDuration(rng, 20*time.Millisecond))
			}
		})
	}
	actors.Wait()
	weirtest.Eventually(t, "all jobs are available or ended", func() bool {
		return weirtest.Value[int](t, d, "select (select count(*) from weir.job_scheduled) + (select count(*) from weir.job_lease)") == 0
	})
	end()
	nodes.Wait()
}
