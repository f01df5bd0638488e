package queue

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type queueReason struct {
	Code, Message string
	Jobs          int
	Detail        map[string]any
}

// whyQueue returns the reasons of a queue, in short form too: code=jobs.
func whyQueue(s *weirtest.Node, name string) (reasons []queueReason, short string) {
	s.T.Helper()
	answer := weirtest.Decode[struct{ Reasons []queueReason }](s.Get("/v1/queues/" + name + "/why").Want(http.StatusOK))
	for _, r := range answer.Reasons {
		short += fmt.Sprintf("%s=%d ", r.Code, r.Jobs)
		if r.Message == "" {
			s.T.Errorf("%s has no message", r.Code)
		}
	}
	return answer.Reasons, strings.TrimSpace(short)
}

// TestEachReasonOfAQueueIsCounted brings a queue into each state that keeps jobs from running.
func TestEachReasonOfAQueueIsCounted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	want := func(queue, want string) []queueReason {
		t.Helper()
		reasons, got := whyQueue(s, queue)
		if got != want {
			t.Errorf("the reasons of %s are %s, want %s", queue, got, want)
		}
		return reasons
	}
	s.Get("/v1/queues/none/why").Problem(http.StatusNotFound, "queue_not_found")

	s.Do(http.MethodPut, "/v1/queues/q", weirtest.Object{}).Want(http.StatusOK)
	want("q", "next=0")
	s.EnqueueAll([]weirtest.Object{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q", "delay_seconds": 3600}})
	if r := want("q", "no_worker=2 scheduled=1"); len(r) == 2 && (r[0].Detail["oldest_seconds"] == nil || r[1].Detail["next_run_at"] == nil) {
		t.Errorf("the details are %v and %v", r[0].Detail, r[1].Detail)
	}
	held := s.ClaimOne("q")
	if r := want("q", "waiting=1 scheduled=1"); len(r) == 2 && r[0].Detail["running"] != 1.0 {
		t.Errorf("the detail is %v", r[0].Detail)
	}
	s.Post("/v1/jobs/"+held.ID+"/fail", weirtest.Object{"token": held.Token, "error": weirtest.Object{"message": "no"}, "retry_in_seconds": 1000}).Want(http.StatusOK)
	s.Post("/v1/queues/q/pause", weirtest.Object{"reason": "maintenance"}).Want(http.StatusOK)
	if r := want("q", "queue_paused=1 scheduled=1 retry_wait=1"); len(r) == 3 && r[0].Detail["reason"] != "maintenance" {
		t.Errorf("the detail is %v", r[0].Detail)
	}
	if text := s.CLI("queue", "why", "q").Stdout; !strings.Contains(text, "queue_paused") || !strings.Contains(text, "maintenance") {
		t.Errorf("weir queue why prints:\n%s", text)
	}
	if sql := weirtest.Value[string](t, s.DB, "select string_agg(code || '=' || jobs, ' ') from weir.why_queue('q')"); sql != "queue_paused=1 scheduled=1 retry_wait=1" {
		t.Errorf("over SQL the reasons are %s", sql)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.why_queue('none')"), "WR011")
}

// TestHeldJobsOfAQueueAreCountedByTheirReason: limits, circuit breakers and dependencies.
func TestHeldJobsOfAQueueAreCountedByTheirReason(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/breakers/stripe", weirtest.Object{}).Want(http.StatusOK)
	s.Post("/v1/breakers/stripe/trip", weirtest.Object{"reason": "down"}).Want(http.StatusOK)
	s.EnqueueAll([]weirtest.Object{{"kind": "k", "queue": "q", "breaker": "stripe"}, {"kind": "k", "queue": "q", "breaker": "stripe"}})
	s.Post("/v1/workflows", weirtest.Object{"name": "w", "steps": []weirtest.Object{
		{"name": "a", "kind": "k", "queue": "other"}, {"name": "b", "kind": "k", "queue": "q", "depends_on": []string{"a"}},
	}}).Want(http.StatusCreated)
	s.Settle()
	if jobs := s.Claim(10, "q"); len(jobs) != 0 {
		t.Fatalf("%d jobs of an open circuit breaker were claimed", len(jobs))
	}
	reasons, short := whyQueue(s, "q")
	if short != "held_breaker=2 held_dependency=1" || reasons[0].Detail["breaker"] != "stripe" || reasons[0].Detail["state"] != "open" {
		text, _ := json.Marshal(reasons)
		t.Errorf("the reasons are %s: %s", short, text)
	}

	s.SetLimits("lines", `{"concurrency": 1}`)
	s.EnqueueAll([]weirtest.Object{{"kind": "k", "queue": "lines"}, {"kind": "k", "queue": "lines"}, {"kind": "k", "queue": "lines"}})
	s.ClaimOne("lines")
	s.Eventually("the others wait in their line", func() bool {
		reasons, short := whyQueue(s, "lines")
		return short == "held_line=2" && reasons[0].Detail["in_flight"] == 1.0
	})

	s.Do(http.MethodPut, "/v1/queues/held", weirtest.Object{"breaker": "stripe"}).Want(http.StatusOK)
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "held"})
	if _, short := whyQueue(s, "held"); short != "queue_held=1" {
		t.Errorf("the reasons of a queue that its circuit breaker holds are %s", short)
	}
}

// TestJobsOfAQueueWithLimitsAreCountedBeforeANodeLinesThemUp: the limits come after the jobs, and no node runs here, so the
// jobs are in no line yet.
func TestJobsOfAQueueWithLimitsAreCountedBeforeANodeLinesThemUp(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.enqueue('k', queue => 'q') from generate_series(1, 3)`)
	weirtest.Exec(t, d, `select weir.set_queue('q', '{"limits": {"concurrency": 1}}')`)
	if got := weirtest.Value[string](t, d, "select string_agg(code || '=' || jobs, ' ') from weir.why_queue('q')"); got != "held_line=3" {
		t.Errorf("the reasons are %s", got)
	}
}
