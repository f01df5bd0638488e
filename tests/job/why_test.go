package job

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func why(t *testing.T, q weirtest.Querier, id int64) []string {
	t.Helper()
	return weirtest.Values[string](t, q, "select code from weir.why($1)", id)
}

func wantWhy(t *testing.T, q weirtest.Querier, id int64, want ...string) {
	t.Helper()
	if got := why(t, q, id); !slices.Equal(got, want) {
		t.Errorf("the reasons of job %d are %q, want %q", id, got, want)
	}
	for _, message := range weirtest.Values[string](t, q, "select message from weir.why($1)", id) {
		if len(message) < 10 || strings.Contains(message, "%") {
			t.Errorf("a reason says %q", message)
		}
	}
}

func TestWhyNamesReasonOfEachState(t *testing.T) {
	t.Parallel()
	t.Run("SQL", whyNamesReasonOfEachStateSQL)
	t.Run("REST", whyNamesReasonOfEachStateREST)
}

func whyNamesReasonOfEachStateSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	for state, want := range map[string][]string{
		"new": {"no_worker"}, "available": {"no_worker"}, "scheduled": {"scheduled", "no_worker"}, "retryable": {"retry_wait", "no_worker"},
		"held": {"held_signal", "no_worker"}, "running": {"running"}, "completed": {"ended"}, "cancelled": {"ended"}, "dead": {"ended"},
	} {
		wantWhy(t, d, jobs[state].ID, want...)
	}
	for state, want := range map[string]string{
		"scheduled": "run_at", "retryable": "attempt run_at", "held": "held_at key", "running": "lease_expires_at started_at worker", "dead": "finished_at state",
	} {
		if got := weirtest.Value[string](t, d, "select (select string_agg(k, ' ' order by k) from jsonb_object_keys(w.detail) k) from weir.why($1) w limit 1", jobs[state].ID); got != want {
			t.Errorf("the detail of the one that is %s has %q, want %q", state, got, want)
		}
	}
	for _, reason := range []string{"dependency", "line", "breaker", "signal"} {
		weirtest.Exec(t, d, "update weir.job_held set reason = $1", reason)
		wantWhy(t, d, jobs["held"].ID, "held_"+reason, "no_worker")
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.why(99999)"), "WR002")
}

func whyNamesReasonOfEachStateREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	type answer struct {
		Reasons []struct {
			Code, Message string
			Detail        obj
		}
	}
	codes := func(id string) string {
		t.Helper()
		var codes []string
		for _, r := range weirtest.Decode[answer](s.Get("/v1/jobs/" + id + "/why").Want(http.StatusOK)).Reasons {
			codes = append(codes, r.Code)
		}
		return strings.Join(codes, " ")
	}
	id := s.Enqueue(`{"kind": "k", "queue": "q", "priority": 4}`)
	for range 3 {
		s.Enqueue(`{"kind": "k", "queue": "q"}`)
	}
	s.Post("/v1/queues/q/pause", `{"reason": "deploying"}`).Want(http.StatusOK)
	if got := codes(id); got != "queue_paused backlog_ahead no_worker" {
		t.Errorf("the reasons are %s", got)
	}
	waiting := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 60})
	s.Eventually("the worker that waits is seen", func() bool { return codes(id) == "queue_paused backlog_ahead" })
	why := weirtest.Decode[answer](s.Get("/v1/jobs/" + id + "/why"))
	if why.Reasons[0].Detail["reason"] != "deploying" || fmt.Sprint(why.Reasons[1].Detail["ahead"]) != "3" || why.Reasons[1].Detail["or_more"] != false || why.Reasons[1].Message != "3 jobs of its queue come before it" {
		t.Errorf("it says %+v", why)
	}
	s.Post("/v1/queues/q/resume", nil).Want(http.StatusOK)
	running := s.Answer(waiting)[0]
	if got := codes(running.ID); got != "running" {
		t.Errorf("of a running job: %s", got)
	}
	s.Post("/v1/jobs/"+running.ID+"/complete", obj{"token": running.Token}).Want(http.StatusOK)
	if got := codes(running.ID); got != "ended" {
		t.Errorf("of an ended job: %s", got)
	}
	if got := codes(id); got != "backlog_ahead" {
		t.Errorf("with a worker that has just ended a job: %s", got)
	}
	s.Get("/v1/jobs/99999/why").Problem(http.StatusNotFound, "job_not_found")
}

func TestReasonsEndWithTheirCause(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	wantWhy(t, d, id, "no_worker")
	weirtest.Exec(t, d, "select weir.park(array['q'], 'other')")
	wantWhy(t, d, id, "next")
	weirtest.Exec(t, d, "update weir.parked set until = clock_timestamp() - interval '1 s'")
	wantWhy(t, d, id, "no_worker")
	other := weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	wantWhy(t, d, other, "next")
	weirtest.Complete(t, d, j)
	wantWhy(t, d, other, "next")
	weirtest.Exec(t, d, "update weir.job_outcome set finished_at = now() - interval '6 minutes'")
	wantWhy(t, d, other, "no_worker")

	weirtest.Exec(t, d, "select weir.pause_queue('q', 'the mail server is down', now() + interval '1 hour')")
	wantWhy(t, d, other, "queue_paused", "no_worker")
	if says := weirtest.Value[bool](t, d, "select message ~ 'queue q is paused until .*: the mail server is down' and detail ?& '{paused_at,reason,resume_at}' from weir.why($1) where code = 'queue_paused'", other); !says {
		t.Errorf("the pause is said to be %q", weirtest.Value[string](t, d, "select message || detail from weir.why($1) where code = 'queue_paused'", other))
	}
	weirtest.Exec(t, d, "select weir.edit($1, '{\"run_at\": \"2999-01-01T00:00:00Z\"}')", other)
	wantWhy(t, d, other, "scheduled", "queue_paused", "no_worker")
	weirtest.Exec(t, d, "update weir.queue set resume_at = clock_timestamp()")
	weirtest.Exec(t, d, "select weir.retry($1)", other)
	weirtest.Exec(t, d, "select weir.park(array['q'], 'other')")
	wantWhy(t, d, other, "next") // the pause is over, though no loop has noticed

	due := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 100}`)[0]
	wantWhy(t, d, due, "scheduled")
	weirtest.Exec(t, d, "update weir.job_scheduled set run_at = now() - interval '1 minute'")
	wantWhy(t, d, due, "scheduled", "no_node")
}

// Priority 10 comes first here as everywhere, and within a priority the job that became available first.
func TestJobsAheadAreCounted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, "select weir.park(array['q'], 'other')")
	ids := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "priority": 1}`, `{"kind": "a", "queue": "q", "priority": 5}`, `{"kind": "a", "queue": "q", "priority": 5}`, `{"kind": "a", "queue": "q", "priority": 10}`,
		`{"kind": "a", "queue": "q", "priority": 5}`, `{"kind": "a", "queue": "other", "priority": 10}`)
	ahead := func(id int64) int {
		return weirtest.Value[int](t, d, "select coalesce(max((detail ->> 'ahead')::int), 0) from weir.why($1)", id)
	}
	check := func(when string, want ...int) {
		t.Helper()
		var got []int
		for _, id := range ids[:5] {
			got = append(got, ahead(id))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s the numbers of jobs ahead are %v, want %v", when, got, want)
		}
	}
	check("at first", 4, 1, 2, 0, 3)
	weirtest.Tick(t, d)
	check("after a tick", 4, 1, 2, 0, 3)
	weirtest.Exec(t, d, `select weir.edit($1, '{"tags": ["x"]}')`, ids[1]) // goes to the end of its priority
	check("after an edit", 4, 3, 1, 0, 2)
	weirtest.Tick(t, d)
	order := weirtest.IDs(weirtest.Claim(t, d, "q", 10))
	if want := []int64{ids[3], ids[2], ids[4], ids[1], ids[0]}; !slices.Equal(order, want) {
		t.Errorf("claimed %v, want %v, the order that was counted", order, want)
	}
	wantWhy(t, d, ids[0], "running")
}

func TestCountOfJobsAheadIsBounded(t *testing.T) {
	weirtest.Long(t, "it counts a hundred thousand jobs")
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.enqueue_many((select jsonb_agg('{"kind": "a", "queue": "q"}'::jsonb) from generate_series(1, 10000))) from generate_series(1, 11)`)
	last := weirtest.EnqueueOne(t, d, "q")
	low := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "priority": 1}`)[0]
	for _, id := range []int64{last, low} {
		began := time.Now()
		if got := weirtest.Value[string](t, d, "select message || ' ' || detail from weir.why($1) where code = 'backlog_ahead'", id); got != `100000 jobs or more of its queue come before it {"ahead": 100000, "or_more": true}` {
			t.Errorf("it says %s", got)
		}
		if took := time.Since(began); took > weirtest.Soon {
			t.Errorf("it took %v", took)
		}
	}
}
