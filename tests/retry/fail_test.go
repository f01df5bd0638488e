package retry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFailureMayDecideItsRetry(t *testing.T) {
	t.Parallel()
	t.Run("SQL", failureMayDecideItsRetrySQL)
	t.Run("REST", failureMayDecideItsRetryREST)
}

func failureMayDecideItsRetrySQL(t *testing.T) {
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

func failureMayDecideItsRetryREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	fail := func(body obj) (weirtest.AckResult, weirtest.Job) {
		t.Helper()
		j := s.EnqueueAndClaim("q")
		ack := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+j.ID+"/fail", weirtest.With(body, obj{"token": j.Token, "error": obj{"message": "no"}})).Want(http.StatusOK))
		return ack, s.Job(j.ID)
	}
	if ack, j := fail(obj{"retry": false}); ack.State != "dead" || j.State != "dead" || j.Attempt != 1 {
		t.Errorf("not to be retried: %+v, %+v", ack, j)
	}
	if ack, j := fail(obj{"retry_in_seconds": 1234.5}); ack.State != "retryable" || ack.RunAt.Sub(j.Errors[0].At).Round(time.Second) != 1235*time.Second && ack.RunAt.Sub(j.Errors[0].At).Round(time.Second) != 1234*time.Second {
		t.Errorf("retried in 1234.5 s: %+v, %+v", ack, j)
	}
	if ack, j := fail(obj{"retry_in_seconds": 0, "retry": true}); ack.State != "available" || j.State != "available" || j.Attempt != 1 {
		t.Errorf("retried at once: %+v, %+v", ack, j)
	}
}

func TestErrorsAreKeptInOrderAndBounded(t *testing.T) {
	t.Parallel()
	t.Run("SQL", errorsAreKeptInOrderAndBoundedSQL)
	t.Run("REST", errorsAreKeptInOrderAndBoundedREST)
}

func errorsAreKeptInOrderAndBoundedSQL(t *testing.T) {
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

func errorsAreKeptInOrderAndBoundedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	j := s.EnqueueAndClaim("q")
	long := obj{"message": strings.Repeat("m", 100000), "type": strings.Repeat("t", 1000), "stack": strings.Repeat("s", 100000)}
	s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": long, "retry": false}).Want(http.StatusOK)
	e := s.Job(j.ID).Errors[0]
	if len(e.Message) != 8192 || len(e.Type) != 200 || len(e.Stack) != 16384 {
		t.Errorf("a message of %d, a type of %d, a stack of %d characters are kept", len(e.Message), len(e.Type), len(e.Stack))
	}
}

func TestFailManyTakesErrorAndWaitPerJob(t *testing.T) {
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

func TestSnoozeAndReleaseCostNoAttempt(t *testing.T) {
	t.Parallel()
	t.Run("SQL", snoozeAndReleaseCostNoAttemptSQL)
	t.Run("REST", snoozeAndReleaseCostNoAttemptREST)
}

func snoozeAndReleaseCostNoAttemptSQL(t *testing.T) {
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

func snoozeAndReleaseCostNoAttemptREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(`{"kind": "k", "max_attempts": 2}`)
	for i := range 6 {
		got := s.ClaimOne("default")
		if got.ID != id || got.Attempt != 1 {
			t.Fatalf("round %d: claimed as %+v", i, got)
		}
		if i%2 == 0 {
			s.Post("/v1/jobs/"+id+"/release", obj{"token": got.Token}).Want(http.StatusOK)
			if j := s.Job(id); j.State != "available" || j.Attempt != 0 || len(j.Errors) != 0 {
				t.Errorf("released: %+v", j)
			}
			continue
		}
		s.Post("/v1/jobs/"+id+"/snooze", obj{"token": got.Token, "delay_seconds": 0.5}).Want(http.StatusOK)
		if j := s.Job(id); j.State != "scheduled" && j.State != "available" || j.Attempt != 0 || len(j.Errors) != 0 {
			t.Errorf("snoozed: %+v", j)
		}
	}
}
