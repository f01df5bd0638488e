package job

import (
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestViewOfJobsShowsEveryState(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
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
		got := weirtest.Value[string](t, d, `select concat_ws(' ', state, attempt, case when run_at is null then '-' else 'run_at' end, case when started_at is null then '-' else 'started' end,
			case when finished_at is null then '-' else 'finished' end, coalesce(worker, '-'), case when lease_expires_at is null then '-' else 'lease' end, case when errors is null then '-' else 'errors' end)
			from weir.jobs where id = $1`, jobs[state].ID)
		if got != want {
			t.Errorf("the one that is %s shows\n%s\nwant\n%s", state, got, want)
		}
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', held_reason, result #>> '{}', error ->> 'message') from weir.jobs where id = $1", jobs["held"].ID); got != "signal" {
		t.Errorf("the held one shows %q, want its reason", got)
	}
	if got := weirtest.Value[string](t, d, "select string_agg(concat_ws(' ', result #>> '{}', error ->> 'message'), ', ' order by state) from weir.jobs where state in ('completed', 'dead')"); got != "done, no" {
		t.Errorf("the result and the error are %q", got)
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs"); n != len(jobs) {
		t.Errorf("the view has %d rows, want %d", n, len(jobs))
	}
}

func TestViewsOfQueuesCount(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q', priority => 1 + i % 10) from generate_series(1, 20) i")
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q', run_at => now() + interval '1 hour') from generate_series(1, 4) i")
	jobs := weirtest.Claim(t, d, "q", 11)
	jobs[0].Call(t, d, "complete($1, $2)")
	jobs[1].Call(t, d, "complete($1, $2)")
	jobs[2].Call(t, d, `fail($1, $2, '{"message": "broken", "type": "T"}', '1 hour')`)
	jobs[3].Call(t, d, `fail($1, $2, '{"message": "broken", "type": "T"}', retry => false)`)
	jobs[4].Call(t, d, "release($1, $2)")
	weirtest.Exec(t, d, "select weir.cancel($1)", jobs[4].ID)
	weirtest.Exec(t, d, "select weir.set_queue('empty')")
	weirtest.Exec(t, d, "select weir.pause_queue('empty')")

	got := weirtest.Values[string](t, d, "select concat_ws(' ', queue, paused, available, running, scheduled, retryable, held, dead) from weir.queue_depth order by queue")
	if want := []string{"empty t 0 0 0 0 0 0", "q f 9 6 4 1 0 1"}; !slices.Equal(got, want) {
		t.Errorf("queue_depth shows %q, want %q", got, want)
	}
	if sane := weirtest.Value[bool](t, d, "select oldest_available between '0' and '1 minute' and oldest_running between '0' and '1 minute' and next_run_at > now() + interval '59 minutes' from weir.queue_depth where queue = 'q'"); !sane {
		t.Errorf("queue_depth shows %s", weirtest.Value[string](t, d, "select to_jsonb(x)::text from weir.queue_depth x where queue = 'q'"))
	}
	got = weirtest.Values[string](t, d, "select concat_ws(' ', worker, queue, kind, attempt, lease_left > '0') from weir.running")
	if len(got) != 6 || got[0] != "worker q a 1 t" {
		t.Errorf("running shows %q", got)
	}
}

func TestHorizonShowsItsHolders(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	conn := d.Connect()
	weirtest.Exec(t, conn, "set application_name = 'the one'")
	weirtest.Exec(t, conn, "begin isolation level repeatable read")
	weirtest.Exec(t, conn, "select pg_current_xact_id()")
	if got := weirtest.Values[string](t, d, "select concat_ws(' ', what, state) from weir.horizon where application = 'the one'"); !slices.Equal(got, []string{"transaction idle in transaction"}) {
		t.Errorf("the horizon shows %q of the transaction", got)
	}
	weirtest.Exec(t, conn, "rollback")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.horizon where application = 'the one'"); n != 0 {
		t.Error("the horizon shows a transaction that has ended")
	}
}

func TestTimesAreTheDatabases(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.Complete(t, d, weirtest.ClaimOne(t, d, "q"))
	after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	times := weirtest.Values[time.Time](t, d, "select unnest(array[created_at, started_at, finished_at]) from weir.jobs where id = $1", id)
	times = append(append([]time.Time{before}, times...), after)
	if !slices.IsSortedFunc(times, time.Time.Compare) {
		t.Errorf("the times are %v, want them in order", times)
	}
}
