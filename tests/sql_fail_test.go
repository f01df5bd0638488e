package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// delayAfterFailing lets a job fail at its n-th attempt and returns how long it then waits, at least and at most.
func delayAfterFailing(t *testing.T, d *weirtest.Database, job string, n int) (least, most time.Duration) {
	t.Helper()
	id := weirtest.Enqueue(t, d, job)[0]
	for range n - 1 {
		j := weirtest.ClaimOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.fail($1, $2, null, '0')", j.ID, j.Token)
	}
	j := weirtest.ClaimOne(t, d, "q")
	before := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	if state := weirtest.Value[string](t, d, `select weir.fail($1, $2, '{"message": "no"}')`, j.ID, j.Token); state != "retryable" && state != "available" {
		t.Fatalf("the job is %s", state)
	}
	after := weirtest.Value[time.Time](t, d, "select clock_timestamp()")
	if weirtest.State(t, d, id) == "available" {
		weirtest.Exec(t, d, "select weir.cancel($1)", id)
		return 0, after.Sub(before)
	}
	at := weirtest.Value[time.Time](t, d, "select run_at from weir.jobs where id = $1 and state = 'retryable'", id)
	return at.Sub(after), at.Sub(before)
}

func TestTheWaitFollowsTheRetryPolicy(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"max_attempts": 100, "retry": {"strategy": "linear", "base_seconds": 7, "jitter": false}}')`)
	for _, c := range []struct {
		policy  string // none: the queue's
		attempt int
		want    float64
	}{
		{"", 1, 7},
		{"", 3, 21},
		{`{"strategy": "fixed", "base_seconds": 5, "jitter": false}`, 1, 5},
		{`{"strategy": "fixed", "base_seconds": 5, "jitter": false}`, 4, 5},
		{`{"strategy": "linear", "base_seconds": 1.5, "jitter": false}`, 4, 6},
		{`{"strategy": "linear", "base_seconds": 10, "max_seconds": 25, "jitter": false}`, 3, 25},
		{`{"strategy": "exponential", "base_seconds": 3, "jitter": false}`, 1, 3},
		{`{"strategy": "exponential", "base_seconds": 3, "jitter": false}`, 5, 48},
		{`{"base_seconds": 3, "jitter": false}`, 2, 6},
		{`{"jitter": false}`, 1, 2},
		{`{"strategy": "exponential", "base_seconds": 10, "max_seconds": 12.5, "jitter": false}`, 2, 12.5},
		{`{"strategy": "fixed", "base_seconds": 50, "max_seconds": 20, "jitter": false}`, 1, 20},
		{`{"strategy": "fixed", "base_seconds": 0, "jitter": false}`, 1, 0},
	} {
		job := `{"kind": "a", "queue": "q"}`
		if c.policy != "" {
			job = `{"kind": "a", "queue": "q", "retry": ` + c.policy + `}`
		}
		least, most := delayAfterFailing(t, d, job, c.attempt)
		if want := time.Duration(c.want * float64(time.Second)); want < least || want > most {
			t.Errorf("policy %q, attempt %d: the wait is from %s to %s, want %s", c.policy, c.attempt, least, most, want)
		}
	}
	if got := weirtest.Value[float64](t, d, `select extract(epoch from weir.retry_delay('{"jitter": false}', 99))::float8`); got != 3600 {
		t.Errorf("the 99th wait is %g s, want 3600, the most", got)
	}
}

func TestAQueuesPolicyIsReadWhenTheAttemptFails(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"retry": {"strategy": "fixed", "base_seconds": 5000, "max_seconds": 9000, "jitter": false}}')`)
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.fail($1, $2, null)", j.ID, j.Token)
	if wait := weirtest.Value[float64](t, d, "select extract(epoch from run_at - clock_timestamp())::float8 from weir.jobs"); wait < 4900 || wait > 5000 {
		t.Errorf("the wait is %g s, want 5000", wait)
	}
}

func TestJitterIsAUniformPartOfTheWait(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, policy := range []string{`{"base_seconds": 16}`, `{"base_seconds": 16, "jitter": true}`, `{"strategy": "linear", "base_seconds": 32}`, `{"strategy": "fixed", "base_seconds": 999, "max_seconds": 64}`} {
		waits := weirtest.Values[float64](t, d, "select extract(epoch from weir.retry_delay($1, 3))::float8 / 64 from generate_series(1, 1000)", policy)
		if strings.Contains(policy, "linear") { // 96 s at the third attempt
			for i := range waits {
				waits[i] *= 64.0 / 96
			}
		}
		slices.Sort(waits)
		if waits[0] < 0 || waits[999] > 1 || waits[500] < 0.4 || waits[500] > 0.6 || waits[20] > 0.1 || waits[980] < 0.9 {
			t.Errorf("%s: the waits go from %g over %g (median) to %g of the whole", policy, waits[0], waits[500], waits[999])
		}
	}
}

func TestHowAFailedAttemptEnds(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, c := range []struct {
		max    int
		call   string
		cancel bool
		state  string
	}{
		{2, `fail($1, $2, '{"message": "no"}', '90 s')`, false, "retryable"},
		{2, `fail($1, $2, '{"message": "no"}', '0')`, false, "available"},
		{2, `fail($1, $2, '{"message": "no"}', '90 s', false)`, false, "dead"},
		{2, `fail($1, $2, '{"message": "no"}', '90 s', null)`, false, "retryable"},
		{1, `fail($1, $2, '{"message": "no"}')`, false, "dead"},
		{1, `fail($1, $2, '{"message": "no"}', '0')`, false, "dead"},
		{2, `fail($1, $2, '{"message": "no"}', '90 s')`, true, "cancelled"},
		{1, `fail($1, $2, '{"message": "no"}', '0', false)`, true, "cancelled"},
		{2, "release($1, $2)", true, "cancelled"},
		{2, "snooze($1, $2, '0')", true, "cancelled"},
		{2, "snooze($1, $2, '90 s')", true, "cancelled"},
		{2, `complete($1, $2)`, true, "completed"},
	} {
		what := fmt.Sprintf("max_attempts %d, cancel requested: %t, %s", c.max, c.cancel, c.call)
		id := weirtest.Value[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => $1)", c.max)
		j := weirtest.ClaimOne(t, d, "q")
		if c.cancel {
			if said := weirtest.Value[string](t, d, "select weir.cancel($1)", id); said != "running" {
				t.Errorf("cancel says %q", said)
			}
		}
		said := weirtest.Value[string](t, d, "select coalesce(weir."+c.call+"::text, '')", j.ID, j.Token)
		if got := weirtest.State(t, d, id); got != c.state || said != "" && said != got {
			t.Errorf("%s: the job is %s, and the call says %q; want %s", what, got, said, c.state)
		}
		if got, want := weirtest.Value[int](t, d, "select count(*) from weir.job_dead where job_id = $1", id), map[bool]int{true: 1}[c.state == "dead"]; got != want {
			t.Errorf("%s: %d dead letters, want %d", what, got, want)
		}
		if strings.HasPrefix(c.call, "fail") {
			if got := weirtest.Value[string](t, d, "select concat_ws(' ', e ->> 'attempt', e ->> 'worker', e ->> 'kind', e ->> 'message') from weir.jobs, jsonb_array_elements(errors) e where id = $1", id); got != "1 worker failed no" {
				t.Errorf("%s: the error is kept as %q", what, got)
			}
		}
		if c.state == "retryable" {
			if wait := weirtest.Value[float64](t, d, "select extract(epoch from run_at - clock_timestamp())::float8 from weir.jobs where id = $1", id); wait < 60 || wait > 90 {
				t.Errorf("%s: the wait is %g s, want 90", what, wait)
			}
		}
		weirtest.Exec(t, d, "select weir.purge_queue('q')")
	}
}

func TestErrorsAreKeptInOrderAndBounded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	fail := func(err string) {
		t.Helper()
		j := weirtest.ClaimOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.fail($1, $2, nullif($3, '')::jsonb, '0')", j.ID, j.Token, err)
	}
	fail(`{"message": "first", "type": "T", "stack": "a\nb", "more": [1]}`)
	fail(`"a text"`)
	fail(``)
	fail(`{"message": "` + strings.Repeat("m", 100_000) + `", "type": "` + strings.Repeat("t", 100_000) + `", "stack": "` + strings.Repeat("s", 1_000_000) + `", "more": "x"}`)
	fail(`{"no message": 1}`)
	kept := weirtest.Values[string](t, d, "select e - '{at,started_at,worker,kind}'::text[] from weir.jobs, jsonb_array_elements(errors) with ordinality u(e, n) where id = $1 order by n", id)
	for i, want := range []string{
		`{"more": [1], "type": "T", "stack": "a\nb", "attempt": 1, "message": "first"}`, `{"attempt": 2, "message": "a text"}`, `{"attempt": 3, "message": "failed"}`,
	} {
		if kept[i] != want {
			t.Errorf("error %d is kept as %s, want %s", i, kept[i], want)
		}
	}
	if len(kept) != 5 || len(kept[3]) > 32<<10 || !strings.Contains(kept[3], strings.Repeat("m", 8000)) || !strings.Contains(kept[3], strings.Repeat("s", 16000)) {
		t.Errorf("%d errors are kept; the large one has %d characters, want message, type and stack cut to some 24 KiB", len(kept), len(kept[3]))
	}
	if !strings.Contains(kept[4], `"message": "failed"`) {
		t.Errorf("an error without a message is kept as %s", kept[4])
	}
	weirtest.WantState(t, d, id, "dead")
	if got := weirtest.Value[string](t, d, "select error ->> 'no message' from weir.jobs where id = $1", id); got != "1" {
		t.Errorf("a dead job's error is %q, want that of its last attempt", got)
	}
	if n := weirtest.Value[int](t, d, "select sum(attempts)::int from weir.failures where queue = 'q' and kind = 'work'"); n != 5 {
		t.Errorf("weir.failures counts %d, want 5", n)
	}
}

func TestFailManyTakesEachItsOwnErrorAndWait(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 4 {
		weirtest.EnqueueOne(t, d, "q")
	}
	jobs := weirtest.Claim(t, d, "q", 4)
	slices.Reverse(jobs)
	got := weirtest.Values[string](t, d, `select concat_ws(' ', job_id - $3, state, round(extract(epoch from run_at - clock_timestamp()) / 100))
		from weir.fail_many($1, $2, array['{"message": "e0"}', '{"message": "e1"}', null, '{"message": "e3"}']::jsonb[], array['1000 s', '0', '2000 s', '3000 s']::interval[], array[true, null, false, true]) order by job_id desc`,
		weirtest.IDs(jobs), weirtest.Tokens(jobs), jobs[0].ID)
	if want := []string{"0 retryable 10", "-1 available", "-2 dead", "-3 retryable 30"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	errors := weirtest.Values[string](t, d, "select errors -> 0 ->> 'message' from weir.jobs order by id desc")
	if want := []string{"e0", "e1", "failed", "e3"}; !slices.Equal(errors, want) {
		t.Errorf("the errors are %q, want %q", errors, want)
	}
}

func TestASnoozedOrReleasedJobLosesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.Value[int64](t, d, "select weir.enqueue('a', queue => 'q', max_attempts => 1)")
	for range 3 {
		j := weirtest.ClaimOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.snooze($1, $2, '500 s')", j.ID, j.Token)
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, attempt, round(extract(epoch from run_at - clock_timestamp()) / 100)) from weir.jobs where id = $1", id); got != "scheduled 0 5" {
			t.Errorf("a snoozed job is %q, want scheduled at attempt 0 in 500 s", got)
		}
		weirtest.Exec(t, d, "select weir.retry($1)", id)
		j = weirtest.ClaimOne(t, d, "q")
		weirtest.Exec(t, d, "select weir.release($1, $2)", j.ID, j.Token)
		weirtest.WantState(t, d, id, "available")
	}
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where errors is not null"); n != 0 {
		t.Error("a snooze or a release counts as an error")
	}
	if kinds := weirtest.Values[string](t, d, "select kind::text from weir.job_event where job_id = $1 order by at limit 3", id); !slices.Equal(kinds, []string{"snoozed", "retried", "released"}) {
		t.Errorf("its events begin with %q", kinds)
	}
}

func TestBadWaitsAreRefused(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	for sql, field := range map[string]string{
		"select weir.fail($1, $2, null, '-1 s')":     "retry_in",
		"select weir.fail($1, $2, null, '11 years')": "retry_in",
		"select weir.snooze($1, $2, '-1 s')":         "delay",
		"select weir.snooze($1, $2, '11 years')":     "delay",
		"select weir.snooze($1, $2, null)":           "delay",
	} {
		d.Unchanged(sql, func() {
			if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, sql, j.ID, j.Token), "WR010"); refusal.ColumnName != field {
				t.Errorf("%s: the place is %q, want %q", sql, refusal.ColumnName, field)
			}
		})
	}
}
