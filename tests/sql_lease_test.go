package tests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// inEachState makes a job in each state that a job can be in; each has been claimed before, but for the new one.
func inEachState(t *testing.T, d *database) map[string]held {
	t.Helper()
	jobs := map[string]held{}
	for state, calls := range map[string][]string{
		"available": {"release($1, $2)"},
		"scheduled": {"snooze($1, $2, '1 hour')"},
		"retryable": {`fail($1, $2, '{"message": "no"}', '1 hour')`},
		"held":      {"release($1, $2)"},
		"running":   {"heartbeat(array[$1::bigint], array[$2::bigint])"},
		"completed": {`complete($1, $2, '"done"')`},
		"cancelled": {"release($1, $2)", "cancel($1)"},
		"dead":      {`fail($1, $2, '{"message": "no"}', retry => false)`},
	} {
		do(t, d, "select weir.enqueue('a', queue => $1, priority => 4)", state)
		j := claimOne(t, d, state)
		for _, call := range calls {
			j.call(t, d, call)
		}
		jobs[state] = j
	}
	hold(t, d, jobs["held"].ID)
	do(t, d, "select weir.enqueue('a', queue => 'new')")
	id := ask[int64](t, d, "select id from weir.jobs where queue = 'new'")
	jobs["new"] = held{ID: id, Token: id}
	for state, j := range jobs {
		if state != "new" {
			wantState(t, d, j.ID, state)
		}
	}
	return jobs
}

// hold lets an available job wait for a signal, which no function does yet.
func hold(t *testing.T, d asker, id int64) {
	t.Helper()
	do(t, d, `with taken as (delete from weir.job_ready where coalesce(job_id, seq) = $1 returning *)
		insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key) select coalesce(job_id, seq), queue_id, priority, attempt, 'signal', 'go' from taken`, id)
}

func TestAStaleTokenChangesNothingInEveryFunction(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	stale := inEachState(t, d)
	other := stale["running"]

	enqueueOne(t, d, "again")
	first := claimOne(t, d, "again")
	do(t, d, "select weir.release($1, $2)", first.ID, first.Token)
	claimOne(t, d, "again")
	stale["running again with another token"] = first
	stale["running, with its id as the token"] = held{ID: first.ID, Token: first.ID}
	stale["running, with another job's token"] = held{ID: first.ID, Token: other.Token}
	stale["running, without a token"] = held{ID: other.ID, Token: 0}
	delete(stale, "running")
	stale["unknown"] = held{ID: 1 << 40, Token: 1 << 40}
	stale["unknown, with another job's token"] = held{ID: 1 << 40, Token: other.Token}
	stale["unknown, negative"] = held{ID: -1, Token: -1}

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
		d.unchanged("a call about a job that is "+situation, func() { // looked at once after all of them: a row that is put back is another one
			for _, sql := range refusing {
				refused(t, try(d, sql, j.ID, j.Token), code)
			}
			for _, sql := range ignoring {
				if got := askAll[int64](t, d, sql, j.ID, j.Token); len(got) != 0 {
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
			d := newDatabase(t)
			states := inEachState(t, d)
			for range 4 {
				enqueueOne(t, d, "q")
			}
			good := claim(t, d, "q", 4)
			mixed := []held{
				good[2], states["completed"],
				{ID: 1 << 40, Token: good[0].Token},
				good[0],
				{ID: states["running"].ID, Token: good[3].Token},
				states["dead"], states["scheduled"], good[1], states["new"],
			}
			got := askAll[int64](t, d, sql, idsOf(mixed), tokensOf(mixed))
			slices.Sort(got)
			if want := idsOf(good[:3]); !slices.Equal(got, want) {
				t.Errorf("accepted %v, want %v", got, want)
			}
			for _, state := range []string{"completed", "dead", "scheduled", "running"} {
				wantState(t, d, states[state].ID, state)
			}
			wantState(t, d, states["new"].ID, "available")
			wantState(t, d, good[3].ID, "running")
		})
	}
}

func TestTwiceTheSameJobInOneCallCountsOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for i, sql := range []string{
		"select job_id from weir.heartbeat($1, $2)",
		"select * from weir.release_many($1, $2)",
		"select * from weir.complete_many($1, $2, array_fill('1'::jsonb, array[cardinality($1::bigint[])]))",
		"select * from weir.complete_many($1, $2)",
		"select job_id from weir.fail_many($1, $2, array_fill('{\"message\": \"no\"}'::jsonb, array[cardinality($1::bigint[])]))",
		"select * from weir.snooze_many($1, $2, array_fill('5 s'::interval, array[cardinality($1::bigint[])]))",
	} {
		queue := fmt.Sprint("q", i)
		id := enqueueOne(t, d, queue)
		j := claimOne(t, d, queue)
		if got := askAll[int64](t, d, sql, []int64{id, id, id}, []int64{j.Token, j.Token, j.Token}); !slices.Equal(got, []int64{id}) {
			t.Errorf("%s: accepted %v, want %d once", sql, got, id)
		}
	}
}

func TestNothingIsDoneToNoJobs(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	inEachState(t, d)
	for _, sql := range []string{
		"select * from weir.complete_many('{}', '{}')", "select * from weir.complete_many('{}', '{}', '{}')", "select * from weir.complete_many(null, null)",
		"select job_id from weir.fail_many('{}', '{}', '{}')", "select * from weir.snooze_many('{}', '{}', '{}')", "select * from weir.release_many('{}', '{}')",
		"select job_id from weir.heartbeat('{}', '{}')", "select job_id from weir.heartbeat(null, null)",
	} {
		d.unchanged(sql, func() {
			if got := askAll[int64](t, d, sql); len(got) != 0 {
				t.Errorf("%s: accepted %v", sql, got)
			}
		})
	}
}

func TestArraysOfDifferentLengthsAreRefused(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	enqueueOne(t, d, "q")
	enqueueOne(t, d, "q")
	jobs := claim(t, d, "q", 2)
	for _, sql := range []string{
		"select weir.complete_many($1, $2[1:1])", "select weir.complete_many($1[1:1], $2)", "select weir.complete_many($1, $2, array['1'::jsonb])",
		"select weir.fail_many($1, $2[1:1], array['1', '2']::jsonb[])", "select weir.fail_many($1, $2, array['1'::jsonb])",
		"select weir.fail_many($1, $2, array['1', '2']::jsonb[], array['1 s'::interval])", "select weir.fail_many($1, $2, array['1', '2']::jsonb[], null, array[true])",
		"select weir.snooze_many($1, $2, array['1 s'::interval])", "select weir.snooze_many($1[1:1], $2, array['1 s', '2 s']::interval[])",
		"select weir.release_many($1, $2[1:1])", "select weir.heartbeat($1, $2[1:1])", "select weir.heartbeat($1, $2, null, array['1'::jsonb])",
	} {
		d.unchanged(sql, func() {
			refused(t, try(d, strings.NewReplacer("$1", "($1::bigint[])", "$2", "($2::bigint[])").Replace(sql), idsOf(jobs), tokensOf(jobs)), "WR010")
		})
	}
}

func TestAHeartbeatMovesTheExpiry(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.set_queue('q', '{"lease_seconds": 40, "timeout_seconds": 100}')`)
	for range 2 {
		enqueueOne(t, d, "q")
	}
	jobs := claim(t, d, "q", 2)
	leaseOf := func(j held) time.Time {
		return ask[time.Time](t, d, "select lease_expires_at from weir.jobs where id = $1", j.ID)
	}
	for _, c := range []struct {
		seconds string
		want    time.Duration
	}{{"null", 40 * time.Second}, {"7", 7 * time.Second}, {"null", 7 * time.Second}, {"90", 90 * time.Second}} {
		before := ask[time.Time](t, d, "select clock_timestamp()")
		told := ask[time.Time](t, d, "select expires_at from weir.heartbeat(array[$1::bigint], array[$2::bigint], "+c.seconds+")", jobs[0].ID, jobs[0].Token)
		after := ask[time.Time](t, d, "select clock_timestamp()")
		if kept := leaseOf(jobs[0]); !kept.Equal(told) || kept.Before(before.Add(c.want)) || kept.After(after.Add(c.want)) {
			t.Errorf("lease_seconds %s: told %s, kept %s, want %s after a time from %s to %s", c.seconds, told, kept, c.want, before, after)
		}
	}
	if lease := leaseOf(jobs[1]); !lease.Equal(jobs[1].Expires) {
		t.Errorf("the lease of the other job has moved from %s to %s", jobs[1].Expires, lease)
	}

	do(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 3600)", jobs[0].ID, jobs[0].Token)
	deadline := ask[time.Time](t, d, "select leased_at + interval '100 s' from weir.job_lease where job_id = $1", jobs[0].ID)
	if lease := leaseOf(jobs[0]); !lease.Equal(deadline) {
		t.Errorf("a heartbeat moved the expiry to %s, past the timeout at %s", lease, deadline)
	}
}

func TestAHeartbeatKeepsProgressAndTellsOfACancel(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for range 3 {
		enqueueOne(t, d, "q")
	}
	jobs := claim(t, d, "q", 3)
	do(t, d, "select weir.cancel($1)", jobs[1].ID)
	got := askAll[string](t, d, `select concat_ws(' ', job_id, cancel_requested) from weir.heartbeat($1, $2, null, array['{"percent": 5}', null, '{"percent": 7}']::jsonb[]) order by job_id`,
		[]int64{jobs[2].ID, jobs[0].ID, jobs[1].ID}, []int64{jobs[2].Token, jobs[0].Token, jobs[1].Token})
	if want := []string{fmt.Sprint(jobs[0].ID, " f"), fmt.Sprint(jobs[1].ID, " t"), fmt.Sprint(jobs[2].ID, " f")}; !slices.Equal(got, want) {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	do(t, d, "select weir.heartbeat($1, $2)", idsOf(jobs), tokensOf(jobs)) // keeps what was said before
	progress := askAll[string](t, d, "select coalesce(progress ->> 'percent', 'none') from weir.jobs order by id")
	if want := []string{"none", "7", "5"}; !slices.Equal(progress, want) {
		t.Errorf("the progress is %q, want %q", progress, want)
	}
	for _, seconds := range []int{0, -1, 3601} {
		d.unchanged("a bad heartbeat", func() {
			refused(t, try(d, "select weir.heartbeat($1, $2, $3)", idsOf(jobs), tokensOf(jobs), seconds), "WR010")
		})
	}
}

func TestALeaseThatRanOutIsTakenBack(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.set_queue('q', '{"lease_seconds": 60}')`)
	lost := enqueueOne(t, d, "q")
	last := ask[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => 1)")
	cancelled := enqueueOne(t, d, "q")
	kept := enqueueOne(t, d, "q")
	jobs := claim(t, d, "q", 4)
	do(t, d, "select weir.cancel($1)", cancelled)
	beat := func() {
		do(t, d, "select weir.heartbeat(array[$1::bigint], array[$2::bigint], 200)", kept, jobs[3].Token)
	}
	beat()
	if n := ask[int](t, d, "select expired from weir.expire_leases()"); n != 0 {
		t.Fatalf("%d leases were taken back before their time", n)
	}
	do(t, d, "update weir.job_lease set expires_at = expires_at - interval '60 s'") // as if a minute had passed
	if n := ask[int](t, d, "select expired from weir.expire_leases()"); n != 3 {
		t.Fatalf("%d leases were taken back, want three", n)
	}
	wantState(t, d, lost, "available")
	wantState(t, d, last, "dead")
	wantState(t, d, cancelled, "cancelled")
	wantState(t, d, kept, "running")
	if got := ask[string](t, d, "select concat_ws(' ', j.state, j.error ->> 'type', errors -> 0 ->> 'kind', errors -> 0 ->> 'attempt', errors -> 0 ->> 'worker') from weir.jobs j where id = $1", last); got != "dead lost lost 1 worker" {
		t.Errorf("the one that is dead is %q", got)
	}
	if n := ask[int](t, d, "select count(*) from weir.job_dead where job_id = $1", last); n != 1 {
		t.Errorf("%d dead letters of it", n)
	}
	if kinds := askAll[string](t, d, "select kind::text from weir.job_event where job_id = $1 order by at", cancelled); !slices.Equal(kinds, []string{"cancel_requested", "lost"}) {
		t.Errorf("the events of the one that was cancelled are %q", kinds)
	}

	again := claimOne(t, d, "q")
	if again.ID != lost || again.Attempt != 2 || again.Token == jobs[0].Token {
		t.Errorf("claimed job %d at attempt %d with token %d, want %d at 2 with another token than %d", again.ID, again.Attempt, again.Token, lost, jobs[0].Token)
	}
	d.unchanged("what the first worker says late", func() {
		refused(t, try(d, "select weir.complete($1, $2)", lost, jobs[0].Token), "WR001")
		refused(t, try(d, "select weir.fail($1, $2, null)", lost, jobs[0].Token), "WR001")
	})
	complete(t, d, again)
	refused(t, try(d, "select weir.complete($1, $2)", last, jobs[1].Token), "WR001")
}

func TestAJobPastItsTimeoutIsTakenBackDespiteHeartbeats(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	ids := enqueue(t, d,
		`{"kind": "a", "queue": "q", "timeout_seconds": 1, "retry": {"strategy": "fixed", "base_seconds": 500, "jitter": false}}`,
		`{"kind": "a", "queue": "q", "timeout_seconds": 1, "max_attempts": 1}`,
		`{"kind": "a", "queue": "q", "timeout_seconds": 60}`)
	jobs := claim(t, d, "q", 3)
	eventually(t, "two are taken back", func() bool {
		do(t, d, "select weir.heartbeat($1, $2, 30)", idsOf(jobs), tokensOf(jobs))
		do(t, d, "select weir.expire_leases()")
		return stateOf(t, d, ids[0]) != "running" && stateOf(t, d, ids[1]) != "running"
	})
	wantState(t, d, ids[0], "retryable")
	wantState(t, d, ids[1], "dead")
	wantState(t, d, ids[2], "running")
	if wait := ask[float64](t, d, "select extract(epoch from run_at - clock_timestamp())::float8 from weir.jobs where id = $1", ids[0]); wait < 470 || wait > 500 {
		t.Errorf("it is tried again in %g s, want about 500, as its policy says", wait)
	}
	if got := ask[string](t, d, "select concat_ws(' ', errors -> 0 ->> 'kind', errors -> 0 ->> 'type', errors -> 0 ->> 'message') from weir.jobs where id = $1", ids[0]); got != "timed_out timeout ran past its timeout of 1 seconds" {
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
			d := newDatabase(t)
			do(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
			id, beside := enqueueOne(t, d, "q"), enqueueOne(t, d, "q")
			j := claim(t, d, "q", 2)[0]
			e := expirer{after: ask[time.Time](t, d, "select clock_timestamp()")}
			eventually(t, "the lease has run out", func() bool {
				return ask[bool](t, d, "select bool_and(expires_at < clock_timestamp()) from weir.job_lease")
			})
			settle(t, d)
			tx := d.begin()
			do(t, tx, keep, j.ID, j.Token)
			for range 5 { // as the service does: each look begins where the last one ended
				tick(t, d)
				e.look(t, d)
			}
			wantState(t, d, beside, "available")
			wantState(t, d, id, "running")
			rollback(t, tx)
			eventually(t, "it is taken back after the transaction", func() bool {
				tick(t, d)
				e.look(t, d)
				return stateOf(t, d, id) == "available"
			})
		})
	}
}

// expirer looks for leases that ran out as each node of the service does.
type expirer struct{ after time.Time }

func (e *expirer) look(t testing.TB, q asker) int {
	t.Helper()
	rows, err := q.Query(context.Background(), "select expired, looked_until from weir.expire_leases(7, $1)", e.after)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var n int
	for rows.Next() {
		if err := rows.Scan(&n, &e.after); err != nil {
			t.Fatal(err)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return n
}

func TestAManyPartedExpiryLeavesNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.set_queue('q', '{"lease_seconds": 1}')`)
	do(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, 100)")
	for range 10 {
		claim(t, d, "q", 10)
	}
	nodes, expired := make([]expirer, 3), 0
	for i := range nodes {
		nodes[i].after = time.Unix(0, 0)
	}
	eventually(t, "all leases are taken back", func() bool {
		var wg sync.WaitGroup
		var mu sync.Mutex
		tick(t, d)
		for i := range nodes {
			wg.Go(func() {
				n := nodes[i].look(t, d)
				mu.Lock()
				expired += n
				mu.Unlock()
			})
		}
		wg.Wait()
		return expired >= 100
	})
	if n := ask[int](t, d, "select count(*) from weir.job_ready where attempt = 1"); n != 100 || expired != 100 {
		t.Errorf("%d leases were taken back, %d jobs are available at attempt 1, want 100 and 100", expired, n)
	}
}

func TestAssertLeaseFencesATransaction(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	enqueueOne(t, d, "q")
	j := claimOne(t, d, "q")
	tx := d.begin()
	do(t, tx, "select weir.assert_lease($1, $2)", j.ID, j.Token)
	other := d.impatient()
	do(t, other, "select weir.heartbeat(array[$1::bigint], array[$2::bigint])", j.ID, j.Token)
	do(t, other, "select weir.cancel($1)", j.ID)
	do(t, other, "select weir.assert_lease($1, $2)", j.ID, j.Token)
	if err := try(other, "select weir.release($1, $2)", j.ID, j.Token); !hasCode(err, "55P03") {
		t.Errorf("the lease was given back below a transaction that has asserted it: %v", err)
	}
	do(t, tx, "select weir.complete($1, $2)", j.ID, j.Token)
	commit(t, tx)
	wantState(t, d, j.ID, "completed")
}
