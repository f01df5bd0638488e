package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// promoter looks for due jobs as each node of the service does: each look begins where the last one ended.
type promoter struct{ after time.Time }

func (p *promoter) look(t testing.TB, q asker) (promoted int) {
	t.Helper()
	rows, err := q.Query(context.Background(), "select promoted, looked_until from weir.promote_due(25, $1)", p.after)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&promoted, &p.after}, func() error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return promoted
}

// settle lets the watermark come to know of all that has happened.
func settle(t *testing.T, d *database) {
	t.Helper()
	enqueueOne(t, d, "another") // or the tick may see nothing new
	now := ask[time.Time](t, d, "select clock_timestamp()")
	eventually(t, "the watermark has settled", func() bool {
		tick(t, d)
		return ask[bool](t, d, "select settled_at >= $1 from weir.watermark", now)
	})
}

func TestDueJobsBecomeAvailableInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	var jobs []string
	for _, n := range rand.Perm(40) {
		jobs = append(jobs, fmt.Sprintf(`{"kind": "%02d", "queue": "q", "delay_seconds": %d}`, n, 1000+n))
	}
	enqueue(t, d, jobs...)
	enqueue(t, d, `{"kind": "not yet", "queue": "q", "delay_seconds": 5000}`)
	do(t, d, "update weir.job_scheduled set run_at = run_at - interval '1500 s'") // as if that time had passed
	for _, c := range []struct{ most, want int }{{15, 15}, {20, 20}, {100, 5}, {100, 0}} {
		if got := ask[int](t, d, "select promoted from weir.promote_due($1)", c.most); got != c.want {
			t.Errorf("%d were promoted of at most %d, want %d", got, c.most, c.want)
		}
	}
	var kinds []string
	for _, j := range claim(t, d, "q", 100) {
		kinds = append(kinds, j.Kind)
	}
	if !slices.IsSorted(kinds) || len(kinds) != 40 {
		t.Errorf("they were claimed in the order %q", kinds)
	}
}

func TestAPromotedJobKeepsWhatItIs(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	id := enqueue(t, d, `{"kind": "a", "queue": "q", "priority": 8, "delay_seconds": 0.05, "args": {"x": 1}}`)[0]
	var p promoter
	eventually(t, "it is promoted", func() bool { return p.look(t, d) == 1 })
	if got := ask[string](t, d, "select concat_ws(' ', state, priority, attempt, args, run_at) from weir.jobs where id = $1", id); got != `available 8 0 {"x": 1}` {
		t.Errorf("it is %q", got)
	}
	j := claimOne(t, d, "q")
	do(t, d, "select weir.fail($1, $2, null, '50 ms')", j.ID, j.Token)
	wantState(t, d, id, "retryable")
	eventually(t, "it is promoted again", func() bool { return p.look(t, d) == 1 })
	if j = claimOne(t, d, "q"); j.ID != id || j.Attempt != 2 || j.Priority != 8 {
		t.Errorf("claimed %+v, want job %d at attempt 2", j, id)
	}
}

func TestALookBeginsBehindItsLowerBound(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	early, late := enqueue(t, d, `{"kind": "a", "delay_seconds": 100}`)[0], enqueue(t, d, `{"kind": "a", "delay_seconds": 200}`)[0]
	between := ask[time.Time](t, d, "select run_at from weir.jobs where id = $1", early)
	do(t, d, "update weir.job_scheduled set run_at = run_at - interval '1000 s'")
	do(t, d, "select weir.promote_due(10, $1)", between.Add(-1000*time.Second))
	wantState(t, d, early, "scheduled")
	wantState(t, d, late, "available")
}

func TestADelayedJobOfALateCommitterIsNotForgotten(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.set_queue('q')")
	for _, enqueueing := range []string{
		`select weir.enqueue('a', queue => 'q', options => '{"delay_seconds": 0.05}')`,
		`select weir.enqueue('a', queue => 'q', run_at => clock_timestamp() + interval '50 ms')`,
		`select weir.enqueue('a', queue => 'q', options => '{"delay_seconds": 0.05, "unique": {"key": "k"}}')`,
	} {
		var p promoter
		tick(t, d)
		p.look(t, d)
		tx := d.begin()
		id := ask[int64](t, tx, enqueueing)
		for range 3 { // looks pass the time at which it is due
			tick(t, d)
			p.look(t, d)
			before := ask[time.Time](t, d, "select clock_timestamp()")
			eventually(t, "its time has passed", func() bool {
				return ask[bool](t, d, "select clock_timestamp() > $1::timestamptz + interval '60 ms'", before)
			})
		}
		commit(t, tx)
		eventually(t, "it is promoted", func() bool {
			tick(t, d)
			p.look(t, d)
			return stateOf(t, d, id) == "available"
		})
	}
}

func TestWhatSomebodyHasLockedIsPromotedAfterwards(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"cancelled": "select weir.cancel($1)",
		"retried":   "select weir.retry($1)",
		"edited":    `select weir.edit($1, '{"priority": 9}')`,
		"promoted":  "select weir.promote_due() where $1 > 0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			var p promoter
			id := enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 0.05}`)[0]
			at := ask[time.Time](t, d, "select run_at from weir.jobs where id = $1", id)
			eventually(t, "it is due", func() bool { return ask[bool](t, d, "select clock_timestamp() > $1", at) })
			settle(t, d)
			tx := d.begin()
			do(t, tx, sql, id)
			for range 5 {
				tick(t, d)
				p.look(t, d)
			}
			rollback(t, tx)
			eventually(t, "it is promoted", func() bool {
				tick(t, d)
				p.look(t, d)
				return stateOf(t, d, id) == "available"
			})
		})
	}
}

// Whoever waits for a table's lock has read the clock already, or not yet: it may not matter.
func TestADelayThatPassesWhileALockIsWaitedForIsNotForgotten(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"job", "job_ready", "job_scheduled", "job_lease", "job_event"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			for range 3 {
				enqueueOne(t, d, "q")
			}
			jobs := claim(t, d, "q", 3)
			blocker := d.begin()
			do(t, blocker, "lock table weir."+table+" in share mode")
			var wg sync.WaitGroup
			calls := []func(q asker){
				func(q asker) { enqueue(t, q, `{"kind": "a", "queue": "q", "delay_seconds": 0.1}`) },
				func(q asker) { do(t, q, "select weir.snooze($1, $2, '100 ms')", jobs[0].ID, jobs[0].Token) },
				func(q asker) { do(t, q, "select weir.fail($1, $2, null, '100 ms')", jobs[1].ID, jobs[1].Token) },
			}
			for _, call := range calls {
				wg.Go(func() { call(d) })
			}
			eventually(t, "they wait, or are done", func() bool {
				waiting := ask[int](t, d, "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())")
				return waiting+ask[int](t, d, "select count(*) from weir.job_scheduled") == len(calls)
			})
			var p promoter
			before := ask[time.Time](t, d, "select clock_timestamp()")
			eventually(t, "the delays have passed", func() bool {
				tick(t, d)
				p.look(t, d)
				return ask[bool](t, d, "select clock_timestamp() > $1::timestamptz + interval '200 ms'", before)
			})
			rollback(t, blocker)
			wg.Wait()
			eventually(t, "all are promoted", func() bool {
				tick(t, d)
				p.look(t, d)
				return ask[int](t, d, "select count(*) from weir.job_ready") == 3
			})
		})
	}
}

func TestATickInTheMiddleOfALookHidesNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
	enqueueOne(t, d, "q")
	leased := claimOne(t, d, "q")
	id := enqueue(t, d, `{"kind": "a", "queue": "other", "delay_seconds": 1}`)[0]
	blocker := d.begin()
	do(t, blocker, "lock table weir.watermark in access exclusive mode")
	p, e := promoter{}, expirer{after: time.Unix(0, 0)}
	var wg sync.WaitGroup
	wg.Go(func() { p.look(t, d) })
	wg.Go(func() { e.look(t, d) })
	eventually(t, "both looks wait", func() bool {
		return ask[int](t, d, "select count(*) from pg_locks where not granted and relation = 'weir.watermark'::regclass") == 2
	})
	eventually(t, "both times have passed", func() bool {
		return ask[bool](t, d, "select clock_timestamp() > greatest((select max(run_at) from weir.job_scheduled), (select max(expires_at) from weir.job_lease))")
	})
	tick(t, blocker)
	commit(t, blocker)
	wg.Wait()
	eventually(t, "both are found", func() bool {
		tick(t, d)
		p.look(t, d)
		e.look(t, d)
		return stateOf(t, d, id) == "available" && stateOf(t, d, leased.ID) == "available"
	})
}

// Delays and leases of a tenth of a second to a second, transactions that last as long, some of which roll back, and two nodes
// that never look behind the end of their last look.
func TestNoDueJobAndNoLostLeaseIsEverForgotten(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.set_queue('q', '{"lease_seconds": 1, "max_attempts": 100, "retry": {"base_seconds": 0.2, "strategy": "fixed"}}')`)
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
			conn := d.connect()
			for acting.Err() == nil {
				tx, err := conn.Begin(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				for range 1 + rng.IntN(3) {
					switch rng.IntN(4) {
					case 0:
						enqueue(t, tx, fmt.Sprintf(`{"kind": "a", "queue": "q", "delay_seconds": %f}`, rng.Float64()/2), `{"kind": "a", "queue": "q"}`)
					case 1:
						claim(t, tx, "q", 3) // and forgotten
					default:
						for _, j := range claim(t, tx, "q", 3) {
							j.call(t, tx, []string{"fail($1, $2, null)", "snooze($1, $2, '100 ms')", "assert_lease($1, $2)", "heartbeat(array[$1::bigint], array[$2::bigint])", "complete($1, $2)"}[rng.IntN(5)])
						}
					}
					time.Sleep(upTo(rng, []time.Duration{time.Millisecond, 20 * time.Millisecond, 600 * time.Millisecond}[rng.IntN(3)]))
				}
				if rng.IntN(3) == 0 {
					rollback(t, tx)
				} else {
					commit(t, tx)
				}
			}
		})
	}
	for i := range 2 {
		rng := rand.New(rand.NewPCG(seed, uint64(100+i)))
		nodes.Go(func() {
			conn := d.connect()
			p, e := promoter{}, expirer{after: time.Unix(0, 0)}
			for running.Err() == nil {
				switch rng.IntN(4) {
				case 0, 1:
					tick(t, conn)
				case 2:
					p.look(t, conn)
				case 3:
					e.look(t, conn)
				}
				time.Sleep(upTo(rng, 20*time.Millisecond))
			}
		})
	}
	actors.Wait()
	eventually(t, "all jobs are available or ended", func() bool {
		return ask[int](t, d, "select (select count(*) from weir.job_scheduled) + (select count(*) from weir.job_lease)") == 0
	})
	end()
	nodes.Wait()
}
