package tests

import (
	"slices"
	"testing"
	"time"
)

func TestTheViewOfJobsShowsEveryState(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	jobs := inEachState(t, d)
	for state, want := range map[string]string{
		"new":       "available 0 - - - - - -",
		"available": "available 0 - - - - - -",
		"scheduled": "scheduled 0 run_at - - - - -",
		"retryable": "retryable 1 run_at - - - - errors",
		"held":      "held 0 - - - - - -",
		"running":   "running 1 - started - worker lease -",
		"completed": "completed 1 - started finished worker - -",
		"cancelled": "cancelled 0 - - finished - - -",
		"dead":      "dead 1 - started finished worker - errors",
	} {
		got := ask[string](t, d, `select concat_ws(' ', state, attempt, case when run_at is null then '-' else 'run_at' end, case when started_at is null then '-' else 'started' end,
			case when finished_at is null then '-' else 'finished' end, coalesce(worker, '-'), case when lease_expires_at is null then '-' else 'lease' end, case when errors is null then '-' else 'errors' end)
			from weir.jobs where id = $1`, jobs[state].ID)
		if got != want {
			t.Errorf("the one that is %s shows\n%s\nwant\n%s", state, got, want)
		}
	}
	if got := ask[string](t, d, "select concat_ws(' ', held_reason, result #>> '{}', error ->> 'message') from weir.jobs where id = $1", jobs["held"].ID); got != "signal" {
		t.Errorf("the held one shows %q, want its reason", got)
	}
	if got := ask[string](t, d, "select string_agg(concat_ws(' ', result #>> '{}', error ->> 'message'), ', ' order by state) from weir.jobs where state in ('completed', 'dead')"); got != "done, no" {
		t.Errorf("the result and the error are %q", got)
	}
	if n := ask[int](t, d, "select count(*) from weir.jobs"); n != len(jobs) {
		t.Errorf("the view has %d rows, want %d", n, len(jobs))
	}
}

func TestTheViewsOfQueuesCount(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, "select weir.enqueue('a', queue => 'q', priority => 1 + i % 10) from generate_series(1, 20) i")
	do(t, d, "select weir.enqueue('a', queue => 'q', run_at => now() + interval '1 hour') from generate_series(1, 4) i")
	jobs := claim(t, d, "q", 11)
	jobs[0].call(t, d, "complete($1, $2)")
	jobs[1].call(t, d, "complete($1, $2)")
	jobs[2].call(t, d, `fail($1, $2, '{"message": "broken", "type": "T"}', '1 hour')`)
	jobs[3].call(t, d, `fail($1, $2, '{"message": "broken", "type": "T"}', retry => false)`)
	jobs[4].call(t, d, "release($1, $2)")
	do(t, d, "select weir.cancel($1)", jobs[4].ID)
	do(t, d, "select weir.set_queue('empty')")
	do(t, d, "select weir.pause_queue('empty')")

	got := askAll[string](t, d, "select concat_ws(' ', queue, paused, available, running, scheduled, retryable, held, dead) from weir.queue_depth order by queue")
	if want := []string{"empty t 0 0 0 0 0 0", "q f 9 6 4 1 0 1"}; !slices.Equal(got, want) {
		t.Errorf("queue_depth shows %q, want %q", got, want)
	}
	if sane := ask[bool](t, d, "select oldest_available between '0' and '1 minute' and oldest_running between '0' and '1 minute' and next_run_at > now() + interval '59 minutes' from weir.queue_depth where queue = 'q'"); !sane {
		t.Errorf("queue_depth shows %s", ask[string](t, d, "select to_jsonb(x)::text from weir.queue_depth x where queue = 'q'"))
	}
	got = askAll[string](t, d, "select concat_ws(' ', worker, queue, kind, attempt, lease_left > '0') from weir.running")
	if len(got) != 6 || got[0] != "worker q a 1 t" {
		t.Errorf("running shows %q", got)
	}
}

func TestTheHorizonShowsWhoHoldsItBack(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	conn := d.connect()
	do(t, conn, "set application_name = 'the one'")
	do(t, conn, "begin isolation level repeatable read")
	do(t, conn, "select pg_current_xact_id()")
	if got := askAll[string](t, d, "select concat_ws(' ', what, state) from weir.horizon where application = 'the one'"); !slices.Equal(got, []string{"transaction idle in transaction"}) {
		t.Errorf("the horizon shows %q of the transaction", got)
	}
	do(t, conn, "rollback")
	if n := ask[int](t, d, "select count(*) from weir.horizon where application = 'the one'"); n != 0 {
		t.Error("the horizon shows a transaction that has ended")
	}
}

func TestTimesAreTheDatabases(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	before := ask[time.Time](t, d, "select clock_timestamp()")
	id := enqueueOne(t, d, "q")
	complete(t, d, claimOne(t, d, "q"))
	after := ask[time.Time](t, d, "select clock_timestamp()")
	times := askAll[time.Time](t, d, "select unnest(array[created_at, started_at, finished_at]) from weir.jobs where id = $1", id)
	times = append(append([]time.Time{before}, times...), after)
	if !slices.IsSortedFunc(times, time.Time.Compare) {
		t.Errorf("the times are %v, want them in order", times)
	}
}
