package tests

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestAStaleTokenChangesNothingInEveryFunction(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	stale := weirtest.JobsInEachState(t, d)
	other := stale["running"]

	weirtest.EnqueueOne(t, d, "again")
	first := weirtest.ClaimOne(t, d, "again")
	weirtest.Exec(t, d, "select weir.release($1, $2)", first.ID, first.Token)
	weirtest.ClaimOne(t, d, "again")
	stale["running again with another token"] = first
	stale["running, with its id as the token"] = weirtest.Lease{ID: first.ID, Token: first.ID}
	stale["running, with another job's token"] = weirtest.Lease{ID: first.ID, Token: other.Token}
	stale["running, without a token"] = weirtest.Lease{ID: other.ID, Token: 0}
	delete(stale, "running")
	stale["unknown"] = weirtest.Lease{ID: 1 << 40, Token: 1 << 40}
	stale["unknown, with another job's token"] = weirtest.Lease{ID: 1 << 40, Token: other.Token}
	stale["unknown, negative"] = weirtest.Lease{ID: -1, Token: -1}

	for situation, j := range stale {
		code := "WR001"
		if j.ID < 0 || j.ID == 1<<40 {
			code = "WR002"
		}
		refusing := []string{
			"select weir.complete($1, $2)",
			`select weir.complete($1, $2, '{"result": 1}')`,
			`select weir.fail($1, $2, '{"message": "no"}')`,
			"select weir.fail($1, $2, null, '1 s', false)",
			"select weir.snooze($1, $2, '1 s')",
			"select weir.snooze($1, $2, '0')",
			"select weir.release($1, $2)",
			"select weir.assert_lease($1, $2)",
		}
		ignoring := []string{
			"select * from weir.complete_many(array[$1::bigint], array[$2::bigint])",
			"select * from weir.complete_many(array[$1::bigint], array[$2::bigint], array['1'::jsonb])",
			`select job_id from weir.fail_many(array[$1::bigint], array[$2::bigint], array['{"message": "no"}'::jsonb])`,
			"select job_id from weir.fail_many(array[$1::bigint], array[$2::bigint], array[null::jsonb], array['1 s'::interval], array[false])",
			"select * from weir.snooze_many(array[$1::bigint], array[$2::bigint], array['1 s'::interval])",
			"select * from weir.release_many(array[$1::bigint], array[$2::bigint])",
			"select job_id from weir.heartbeat(array[$1::bigint], array[$2::bigint])",
			`select job_id from weir.heartbeat(array[$1::bigint], array[$2::bigint], 3600, array['{"percent": 5}'::jsonb])`,
		}
		d.Unchanged("a call about a job that is "+situation, func() { // looked at once after all of them: a row that is put back is another one
			for _, sql := range refusing {
				weirtest.WantSQLState(t, weirtest.TryExec(d, sql, j.ID, j.Token), code)
			}
			for _, sql := range ignoring {
				if got := weirtest.Values[int64](t, d, sql, j.ID, j.Token); len(got) != 0 {
					t.Errorf("%s: %s accepted %v", situation, sql, got)
				}
			}
		})
	}
}

func TestOfManyOnlyTheStaleOnesAreRefused(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"complete":             "select * from weir.complete_many($1, $2)",
		"complete with result": "select * from weir.complete_many($1, $2, array_fill('1'::jsonb, array[cardinality($1::bigint[])]))",
		"fail":                 "select job_id from weir.fail_many($1, $2, array_fill('{\"message\": \"no\"}'::jsonb, array[cardinality($1::bigint[])]))",
		"snooze":               "select * from weir.snooze_many($1, $2, array_fill('5 s'::interval, array[cardinality($1::bigint[])]))",
		"release":              "select * from weir.release_many($1, $2)",
		"heartbeat":            "select job_id from weir.heartbeat($1, $2)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			states := weirtest.JobsInEachState(t, d)
			for range 4 {
				weirtest.EnqueueOne(t, d, "q")
			}
			good := weirtest.Claim(t, d, "q", 4)
			mixed := []weirtest.Lease{
				good[2], states["completed"],
				{ID: 1 << 40, Token: good[0].Token},
				good[0],
				{ID: states["running"].ID, Token: good[3].Token},
				states["dead"], states["scheduled"], good[1], states["new"],
			}
			got := weirtest.Values[int64](t, d, sql, weirtest.IDs(mixed), weirtest.Tokens(mixed))
			slices.Sort(got)
			if want := weirtest.IDs(good[:3]); !slices.Equal(got, want) {
				t.Errorf("accepted %v, want %v", got, want)
			}
			for _, state := range []string{"completed", "dead", "scheduled", "running"} {
				weirtest.WantState(t, d, states[state].ID, state)
			}
			weirtest.WantState(t, d, states["new"].ID, "available")
			weirtest.WantState(t, d, good[3].ID, "running")
		})
	}
}

func TestTwiceTheSameJobInOneCallCountsOnce(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for i, sql := range []string{
		"select job_id from weir.heartbeat($1, $2)",
		"select * from weir.release_many($1, $2)",
		"select * from weir.complete_many($1, $2, array_fill('1'::jsonb, array[cardinality($1::bigint[])]))",
		"select * from weir.complete_many($1, $2)",
		"select job_id from weir.fail_many($1, $2, array_fill('{\"message\": \"no\"}'::jsonb, array[cardinality($1::bigint[])]))",
		"select * from weir.snooze_many($1, $2, array_fill('5 s'::interval, array[cardinality($1::bigint[])]))",
	} {
		queue := fmt.Sprint("q", i)
		id := weirtest.EnqueueOne(t, d, queue)
		j := weirtest.ClaimOne(t, d, queue)
		if got := weirtest.Values[int64](t, d, sql, []int64{id, id, id}, []int64{j.Token, j.Token, j.Token}); !slices.Equal(got, []int64{id}) {
			t.Errorf("%s: accepted %v, want %d once", sql, got, id)
		}
	}
}

func TestNothingIsDoneToNoJobs(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.JobsInEachState(t, d)
	for _, sql := range []string{
		"select * from weir.complete_many('{}', '{}')", "select * from weir.complete_many('{}', '{}', '{}')", "select * from weir.complete_many(null, null)",
		"select job_id from weir.fail_many('{}', '{}', '{}')", "select * from weir.snooze_many('{}', '{}', '{}')", "select * from weir.release_many('{}', '{}')",
		"select job_id from weir.heartbeat('{}', '{}')", "select job_id from weir.heartbeat(null, null)",
	} {
		d.Unchanged(sql, func() {
			if got := weirtest.Values[int64](t, d, sql); len(got) != 0 {
				t.Errorf("%s: accepted %v", sql, got)
			}
		})
	}
}

func TestArraysOfDifferentLengthsAreRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.EnqueueOne(t, d, "q")
	jobs := weirtest.Claim(t, d, "q", 2)
	for _, sql := range []string{
		"select weir.complete_many($1, $2[1:1])", "select weir.complete_many($1[1:1], $2)", "select weir.complete_many($1, $2, array['1'::jsonb])",
		"select weir.fail_many($1, $2[1:1], array['1', '2']::jsonb[])", "select weir.fail_many($1, $2, array['1'::jsonb])",
		"select weir.fail_many($1, $2, array['1', '2']::jsonb[], array['1 s'::interval])", "select weir.fail_many($1, $2, array['1', '2']::jsonb[], null, array[true])",
		"select weir.snooze_many($1, $2, array['1 s'::interval])", "select weir.snooze_many($1[1:1], $2, array['1 s', '2 s']::interval[])",
		"select weir.release_many($1, $2[1:1])", "select weir.heartbeat($1, $2[1:1])", "select weir.heartbeat($1, $2, null, array['1'::jsonb])",
	} {
		d.Unchanged(sql, func() {
			weirtest.WantSQLState(t, weirtest.TryExec(d, strings.NewReplacer("$1", "($1::bigint[])", "$2", "($2::bigint[])").Replace(sql), weirtest.IDs(jobs), weirtest.Tokens(jobs)), "WR010")
		})
	}
}

func TestAHeartbeatMovesTheExpiry(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 40, "timeout_seconds": 100}')`)
	for range 2 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 2)
	leaseOf := func(j weirtest.Lease) time.Time {
		return weirtest.Value[time.Time](t, d, "select lease_expires_at from weir.jobs where id = $1", j.ID)
	}
	for _, c := range []struct {
		seconds string
		want    time.Duration
	}{{"null", 40 * time.Second}, {"7", 7 * time.Second}, {"null", 7 * time.Second}, {"90", 90 * time.Second}} {
		before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		told := weirtest.Value[time.Time](t, d, "select expires_at from weir.heartbeat(array[$1::bigint], array[$2::bigint], "+c.seconds+")", jobs[0].ID, jobs[0].Token)
		after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
		if kept := leaseOf(jobs[0]); !kept.Equal(told) || kept.Before(before.Add(c.want)) || kept.After(after.Add(c.want)) {
			t.Errorf("lease_seconds %s: told %s, kept %s, want %s after a time from %s to %s", c.seconds, told, kept, c.want, before, after)
		}
	}
	if lease := leaseOf(jobs[1]); !lease.Equal(jobs[1].Expires) {
		t.Errorf("the lease of the other job has moved from %s to %s", jobs[1].Expires, lease)
	}

	weirtest.Exec(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 3600)", jobs[0].ID, jobs[0].Token)
	deadline := weirtest.Value[time.Time](t, d, "select leased_at + interval '100 s' from weir.job_lease where job_id = $1", jobs[0].ID)
	if lease := leaseOf(jobs[0]); !lease.Equal(deadline) {
		t.Errorf("a heartbeat moved the expiry to %s, past the timeout at %s", lease, deadline)
	}
}

func TestAHeartbeatKeepsProgressAndTellsOfACancel(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 3 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 3)
	weirtest.Exec(t, d, "select weir.cancel($1)", jobs[1].ID)
	got := weirtest.Values[string](t, d, `select concat_ws(' ', job_id, cancel_requested) from weir.heartbeat($1, $2, null, array['{"percent": 5}', null, '{"percent": 7}']::jsonb[]) order by job_id`,
		[]int64{jobs[2].ID, jobs[0].ID, jobs[1].ID}, []int64{jobs[2].Token, jobs[0].Token, jobs[1].Token})
	if want := []string{fmt.Sprint(jobs[0].ID, " f"), fmt.Sprint(jobs[1].ID, " t"), fmt.Sprint(jobs[2].ID, " f")}; !slices.Equal(got, want) {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	weirtest.Exec(t, d, "select weir.heartbeat($1, $2)", weirtest.IDs(jobs), weirtest.Tokens(jobs)) // keeps what was said before
	progress := weirtest.Values[string](t, d, "select coalesce(progress ->> 'percent', 'none') from weir.jobs order by id")
	if want := []string{"none", "7", "5"}; !slices.Equal(progress, want) {
		t.Errorf("the progress is %q, want %q", progress, want)
	}
	for _, seconds := range []int{0, -1, 3601} {
		d.Unchanged("a bad heartbeat", func() {
			weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.heartbeat($1, $2, $3)", weirtest.IDs(jobs), weirtest.Tokens(jobs), seconds), "WR010")
		})
	}
}

func TestALeaseThatRanOutIsTakenBack(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 60}')`)
	lost := weirtest.EnqueueOne(t, d, "q")
	last := weirtest.Value[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => 1)")
	cancelled := weirtest.EnqueueOne(t, d, "q")
	kept := weirtest.EnqueueOne(t, d, "q")
	jobs := weirtest.Claim(t, d, "q", 4)
	weirtest.Exec(t, d, "select weir.cancel($1)", cancelled)
	beat := func() {
		weirtest.Exec(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 200)", kept, jobs[3].Token)
	}
	beat()
	if n := weirtest.Value[int](t, d, "select expired from weir.expire_leases()"); n != 0 {
		t.Fatalf("%d leases were taken back before their time", n)
	}
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = expires_at - interval '60 s'") // as if a minute had passed
	if n := weirtest.Value[int](t, d, "select expired from weir.expire_leases()"); n != 3 {
		t.Fatalf("%d leases were taken back, want three", n)
	}
	weirtest.WantState(t, d, lost, "available")
	weirtest.WantState(t, d, last, "dead")
	weirtest.WantState(t, d, cancelled, "cancelled")
	weirtest.WantState(t, d, kept, "running")
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', j.state, j.error ->> 'type', errors -> 0 ->> 'kind', errors -> 0 ->> 'attempt', errors -> 0 ->> 'worker') from weir.jobs j where id = $1", last); got != "dead lost lost 1 worker" {
		t.Errorf("the one that is dead is %q", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_dead where job_id = $1", last); n != 1 {
		t.Errorf("%d dead letters of it", n)
	}
	if kinds := weirtest.Values[string](t, d, "select kind::text from weir.job_event where job_id = $1 order by at", cancelled); !slices.Equal(kinds, []string{"cancel_requested", "lost"}) {
		t.Errorf("the events of the one that was cancelled are %q", kinds)
	}

	again := weirtest.ClaimOne(t, d, "q")
	if again.ID != lost || again.Attempt != 2 || again.Token == jobs[0].Token {
		t.Errorf("claimed job %d at attempt %d with token %d, want %d at 2 with another token than %d", again.ID, again.Attempt, again.Token, lost, jobs[0].Token)
	}
	d.Unchanged("what the first worker says late", func() {
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", lost, jobs[0].Token), "WR001")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.fail($1, $2, null)", lost, jobs[0].Token), "WR001")
	})
	weirtest.Complete(t, d, again)
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", last, jobs[1].Token), "WR001")
}

func TestAJobPastItsTimeoutIsTakenBackDespiteHeartbeats(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	ids := weirtest.Enqueue(t, d,
		`{"kind": "a", "queue": "q", "timeout_seconds": 1, "retry": {"strategy": "fixed", "base_seconds": 500, "jitter": false}}`,
		`{"kind": "a", "queue": "q", "timeout_seconds": 1, "max_attempts": 1}`,
		`{"kind": "a", "queue": "q", "timeout_seconds": 60}`)
	jobs := weirtest.Claim(t, d, "q", 3)
	weirtest.Eventually(t, "two are taken back", func() bool {
		weirtest.Exec(t, d, "select weir.heartbeat($1, $2, 30)", weirtest.IDs(jobs), weirtest.Tokens(jobs))
		weirtest.Exec(t, d, "select weir.expire_leases()")
		return weirtest.State(t, d, ids[0]) != "running" && weirtest.State(t, d, ids[1]) != "running"
	})
	weirtest.WantState(t, d, ids[0], "retryable")
	weirtest.WantState(t, d, ids[1], "dead")
	weirtest.WantState(t, d, ids[2], "running")
	if wait := weirtest.Value[float64](t, d, "select extract(epoch from run_at - clock_timestamp())::float8 from weir.jobs where id = $1", ids[0]); wait < 470 || wait > 500 {
		t.Errorf("it is tried again in %g s, want about 500, as its policy says", wait)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', errors -> 0 ->> 'kind', errors -> 0 ->> 'type', errors -> 0 ->> 'message') from weir.jobs where id = $1", ids[0]); got != "timed_out timeout ran past its timeout of 1 seconds" {
		t.Errorf("its error is %q", got)
	}
}

func TestWhatIsKeptByAnOpenTransactionIsTakenBackAfterwards(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]string{
		"asserted":  "select weir.assert_lease($1, $2)",
		"completed": "select weir.complete($1, $2)",
		"failed":    "select weir.fail($1, $2, null)",
		"beaten":    "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 600)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
			id, beside := weirtest.EnqueueOne(t, d, "q"), weirtest.EnqueueOne(t, d, "q")
			j := weirtest.Claim(t, d, "q", 2)[0]
			e := weirtest.Expirer{After: weirtest.Value[time.Time](t, d, "select clock_timestamp()")}
			weirtest.Eventually(t, "the lease has run out", func() bool {
				return weirtest.Value[bool](t, d, "select bool_and(expires_at < clock_timestamp()) from weir.job_lease")
			})
			weirtest.Settle(t, d)
			tx := d.Tx()
			weirtest.Exec(t, tx, keep, j.ID, j.Token)
			for range 5 { // as the service does: each look begins where the last one ended
				weirtest.Tick(t, d)
				e.Look(t, d)
			}
			weirtest.WantState(t, d, beside, "available")
			weirtest.WantState(t, d, id, "running")
			weirtest.Rollback(t, tx)
			weirtest.Eventually(t, "it is taken back after the transaction", func() bool {
				weirtest.Tick(t, d)
				e.Look(t, d)
				return weirtest.State(t, d, id) == "available"
			})
		})
	}
}

func TestAManyPartedExpiryLeavesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 100)")
	for range 10 {
		weirtest.Claim(t, d, "q", 10)
	}
	nodes, expired := make([]weirtest.Expirer, 3), 0
	for i := range nodes {
		nodes[i].After = time.Unix(0, 0)
	}
	weirtest.Eventually(t, "all leases are taken back", func() bool {
		var wg sync.WaitGroup
		var mu sync.Mutex
		weirtest.Tick(t, d)
		for i := range nodes {
			wg.Go(func() {
				n := nodes[i].Look(t, d)
				mu.Lock()
				expired += n
				mu.Unlock()
			})
		}
		wg.Wait()
		return expired >= 100
	})
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_ready where attempt = 1"); n != 100 || expired != 100 {
		t.Errorf("%d leases were taken back, %d jobs are available at attempt 1, want 100 and 100", expired, n)
	}
}

func TestAssertLeaseFencesATransaction(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	tx := d.Tx()
	weirtest.Exec(t, tx, "select weir.assert_lease($1, $2)", j.ID, j.Token)
	other := d.ConnectWithLockTimeout()
	weirtest.Exec(t, other, "select weir.heartbeat(array[$1::bigint], array[$2::bigint])", j.ID, j.Token)
	weirtest.Exec(t, other, "select weir.cancel($1)", j.ID)
	weirtest.Exec(t, other, "select weir.assert_lease($1, $2)", j.ID, j.Token)
	if err := weirtest.TryExec(other, "select weir.release($1, $2)", j.ID, j.Token); !weirtest.HasSQLState(err, "55P03") {
		t.Errorf("the lease was given back below a transaction that has asserted it: %v", err)
	}
	weirtest.Exec(t, tx, "select weir.complete($1, $2)", j.ID, j.Token)
	weirtest.Commit(t, tx)
	weirtest.WantState(t, d, j.ID, "completed")
}
