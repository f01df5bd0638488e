package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// servedQueue is a Queue as clients see it.
type servedQueue struct {
	Name                   string
	Paused                 bool
	Priority               int
	MaxAttempts            int `json:"max_attempts"`
	TimeoutSeconds         int `json:"timeout_seconds"`
	LeaseSeconds           int `json:"lease_seconds"`
	Retry                  json.RawMessage
	RetentionSeconds       int       `json:"retention_seconds"`
	MaxDepth               *int      `json:"max_depth"`
	CreatedAt              time.Time `json:"created_at"`
	Available, Running     int
	Scheduled, Retryable   int
	Held, Dead             int
	OldestAvailableSeconds float64 `json:"oldest_available_seconds"`
}

func (s *service) queue(name string) servedQueue {
	s.t.Helper()
	return readAs[servedQueue](s.get("/v1/queues/" + name).want(http.StatusOK))
}

const servedRetry = `{"strategy": "exponential", "base_seconds": 2, "max_seconds": 3600, "jitter": true}`

func TestRESTAQueueComesIntoBeingAtItsFirstJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.get("/v1/queues/mail").problem(http.StatusNotFound, "queue_not_found")
	s.enqueue(`{"kind": "k", "queue": "mail"}`)
	q := s.queue("mail")
	if q.Name != "mail" || q.Paused || q.Priority != 5 || q.MaxAttempts != 5 || q.TimeoutSeconds != 300 || q.LeaseSeconds != 30 || q.RetentionSeconds != 604800 ||
		q.MaxDepth != nil || q.Available != 1 || q.Running+q.Scheduled+q.Retryable+q.Held+q.Dead != 0 || q.CreatedAt.IsZero() || !sameJSON(t, q.Retry, []byte(servedRetry)) {
		t.Errorf("%+v", q)
	}
	// A claim does not make one.
	s.claim(1, "claimed")
	s.get("/v1/queues/claimed").problem(http.StatusNotFound, "queue_not_found")
}

func TestRESTTheSettingsOfAQueueAreThoseOfItsJobs(t *testing.T) {
	t.Parallel()
	s := startService(t)
	all := `{"priority": 8, "max_attempts": 2, "timeout_seconds": 60, "lease_seconds": 20, "retention_seconds": 86400, "max_depth": 100,
		"retry": {"strategy": "fixed", "base_seconds": 1000, "max_seconds": 2000, "jitter": false}}`
	q := readAs[servedQueue](s.do(http.MethodPut, "/v1/queues/q", all).want(http.StatusOK))
	if q.Name != "q" || q.Priority != 8 || q.MaxAttempts != 2 || q.TimeoutSeconds != 60 || q.LeaseSeconds != 20 || q.RetentionSeconds != 86400 || q.MaxDepth == nil || *q.MaxDepth != 100 ||
		!sameJSON(t, q.Retry, []byte(`{"strategy": "fixed", "base_seconds": 1000, "max_seconds": 2000, "jitter": false}`)) {
		t.Errorf("put: %+v", q)
	}
	j := s.job(s.enqueue(`{"kind": "k", "queue": "q"}`))
	if j.Priority != 8 || j.MaxAttempts != 2 || j.TimeoutSeconds != 60 {
		t.Errorf("a job of it: %+v", j)
	}
	own := s.job(s.enqueue(`{"kind": "k", "queue": "q", "priority": 1, "max_attempts": 9, "timeout_seconds": 9}`))
	if own.Priority != 1 || own.MaxAttempts != 9 || own.TimeoutSeconds != 9 {
		t.Errorf("a job with settings of its own: %+v", own)
	}
	got := s.claimOne("q")
	if got.ID != j.ID || got.LeaseExpiresAt.Sub(*s.job(got.ID).StartedAt) != 20*time.Second {
		t.Errorf("claimed %+v", got)
	}
	failed := readAs[servedAck](s.post("/v1/jobs/"+got.ID+"/fail", obj{"token": got.Token, "error": obj{"message": "no"}}).want(http.StatusOK))
	if wait := failed.RunAt.Sub(s.job(got.ID).Errors[0].At).Round(10 * time.Second); wait != 1000*time.Second {
		t.Errorf("it is retried after %v", wait)
	}

	// PATCH changes what it names.
	q = readAs[servedQueue](s.do(http.MethodPatch, "/v1/queues/q", `{"priority": 3, "retry": {"base_seconds": 7}}`).want(http.StatusOK))
	if q.Priority != 3 || q.MaxAttempts != 2 || q.LeaseSeconds != 20 || q.MaxDepth == nil || !sameJSON(t, q.Retry, []byte(`{"strategy": "fixed", "base_seconds": 7, "max_seconds": 2000, "jitter": false}`)) {
		t.Errorf("patched: %+v", q)
	}
	if q = readAs[servedQueue](s.do(http.MethodPatch, "/v1/queues/q", `{}`).want(http.StatusOK)); q.Priority != 3 {
		t.Errorf("patched with nothing: %+v", q)
	}
	s.do(http.MethodPatch, "/v1/queues/slip", `{"priority": 3}`).problem(http.StatusNotFound, "queue_not_found")
	s.get("/v1/queues/slip").problem(http.StatusNotFound, "queue_not_found")

	// PUT puts back what it does not name.
	q = readAs[servedQueue](s.do(http.MethodPut, "/v1/queues/q", `{"lease_seconds": 40}`).want(http.StatusOK))
	if q.Priority != 5 || q.MaxAttempts != 5 || q.LeaseSeconds != 40 || q.MaxDepth != nil || q.RetentionSeconds != 604800 || !sameJSON(t, q.Retry, []byte(servedRetry)) {
		t.Errorf("put once more: %+v", q)
	}
}

func TestRESTQueuesAreListedByNamePageByPage(t *testing.T) {
	t.Parallel()
	s := startService(t)
	if page := readAs[servedPage[servedQueue]](s.get("/v1/queues").want(http.StatusOK)); page.Items == nil || len(page.Items) != 0 || page.NextCursor != nil {
		t.Errorf("no queues: %+v", page)
	}
	var want []string
	for i := range 23 {
		name := fmt.Sprintf("q%02d", i)
		want = append(want, name)
		s.enqueue(obj{"kind": "k", "queue": name})
	}
	for _, limit := range []int{1, 5, 22, 23, 24, 1000} {
		var got []string
		cursor := ""
		for range 30 {
			page := readAs[servedPage[servedQueue]](s.get(fmt.Sprintf("/v1/queues?limit=%d&cursor=%s", limit, url.QueryEscape(cursor))).want(http.StatusOK))
			if len(page.Items) > limit {
				t.Fatalf("limit %d: a page of %d", limit, len(page.Items))
			}
			for _, q := range page.Items {
				got = append(got, q.Name)
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}

func TestRESTAQueueSaysHowManyJobsAreWhere(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for state, enter := range servedStates {
		if state != "available" { // last, so that the others claim their own
			enter(s, "q")
		}
	}
	s.enqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q", "priority": 9}, {"kind": "k", "queue": "other"}})
	check := func(what string, q servedQueue) {
		t.Helper()
		if q.Available != 2 || q.Running != 1 || q.Scheduled != 1 || q.Retryable != 1 || q.Dead != 1 || q.Held != 0 || q.OldestAvailableSeconds < 0 {
			t.Errorf("%s: %+v", what, q)
		}
	}
	check("the queue", s.queue("q"))
	for _, q := range readAs[servedPage[servedQueue]](s.get("/v1/queues").want(http.StatusOK)).Items {
		if q.Name == "q" {
			check("the list", q)
		}
	}
	stats := readAs[struct {
		Queue   servedQueue
		Windows []struct {
			WindowSeconds      int `json:"window_seconds"`
			Completed          int
			Dead               int
			Cancelled          int
			CompletedPerSecond float64 `json:"completed_per_second"`
			MeanRunSeconds     float64 `json:"mean_run_seconds"`
			P95RunSeconds      float64 `json:"p95_run_seconds"`
		}
		Failures []struct {
			Kind, Event, Type, Message string
			Count                      int
			LastAt                     time.Time `json:"last_at"`
			LastJobID                  string    `json:"last_job_id"`
		}
	}](s.get("/v1/queues/q/stats").want(http.StatusOK))
	check("the stats", stats.Queue)
	if len(stats.Windows) != 3 {
		t.Fatalf("%+v", stats.Windows)
	}
	for i, w := range stats.Windows {
		if w.WindowSeconds != []int{60, 300, 3600}[i] || w.Completed != 1 || w.Dead != 1 || w.Cancelled != 1 || w.MeanRunSeconds <= 0 || w.P95RunSeconds <= 0 {
			t.Errorf("%+v", w)
		}
	}
	if len(stats.Failures) != 1 || stats.Failures[0].Count != 2 || stats.Failures[0].Message != "no" || stats.Failures[0].Kind != "k" || stats.Failures[0].Event != "failed" || stats.Failures[0].LastJobID == "" {
		t.Errorf("%+v", stats.Failures)
	}
	if empty := s.get("/v1/queues/other/stats").want(http.StatusOK); !strings.Contains(string(empty.body), `"failures":[]`) {
		t.Errorf("nothing has failed: %v", empty)
	}
}

func TestRESTPauseAndResume(t *testing.T) {
	t.Parallel()
	s := startService(t)
	running := s.leased("q")
	for range 2 { // twice is as good as once
		if q := readAs[servedQueue](s.post("/v1/queues/q/pause", nil).want(http.StatusOK)); !q.Paused {
			t.Errorf("paused: %+v", q)
		}
	}
	s.enqueue(`{"kind": "k", "queue": "q"}`) // goes on
	s.post("/v1/jobs/"+running.ID+"/heartbeat", obj{"token": running.Token}).want(http.StatusOK)
	s.post("/v1/jobs/"+running.ID+"/complete", obj{"token": running.Token}).want(http.StatusOK)
	if got := s.claim(1, "q"); len(got) != 0 {
		t.Errorf("claimed %+v from a paused queue", got)
	}
	for range 2 {
		if q := readAs[servedQueue](s.post("/v1/queues/q/resume", nil).want(http.StatusOK)); q.Paused {
			t.Errorf("resumed: %+v", q)
		}
	}
	s.claimOne("q")
}

func TestRESTAPurgeCancelsWhatIsAvailable(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ids := map[string]string{}
	for state, enter := range servedStates {
		if state != "available" {
			ids[state] = enter(s, "q")
		}
	}
	waiting := s.enqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 50))
	other := s.enqueue(`{"kind": "k", "queue": "other"}`)
	r := s.post("/v1/queues/q/purge", `{"state": "available"}`).want(http.StatusOK)
	if n := readAs[struct{ Purged int }](r).Purged; n != 50 {
		t.Errorf("purged %d", n)
	}
	for _, id := range []string{waiting[0], waiting[49]} {
		if j := s.job(id); j.State != "cancelled" || j.FinishedAt == nil {
			t.Errorf("%+v", j)
		}
	}
	for state, id := range ids {
		if j := s.job(id); j.State != state {
			t.Errorf("a job that was %s is %s", state, j.State)
		}
	}
	if j := s.job(other); j.State != "available" {
		t.Errorf("a job of another queue is %s", j.State)
	}
	if n := readAs[struct{ Purged int }](s.post("/v1/queues/q/purge", `{"state": "available"}`).want(http.StatusOK)).Purged; n != 0 {
		t.Errorf("purged %d once more", n)
	}
}

func TestRESTAQueueIsDeletedOnlyWithoutJobs(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"available", "scheduled", "running", "retryable"} {
		servedStates[state](s, state)
		s.do(http.MethodDelete, "/v1/queues/"+state, nil).problem(http.StatusConflict, "queue_not_empty")
		s.queue(state)
	}
	s.do(http.MethodPut, "/v1/queues/q", `{"priority": 9}`).want(http.StatusOK)
	id := s.ended("q", "complete", obj{})
	if r := s.do(http.MethodDelete, "/v1/queues/q", nil).want(http.StatusNoContent); len(r.body) != 0 {
		t.Error(r)
	}
	s.get("/v1/queues/q").problem(http.StatusNotFound, "queue_not_found")
	s.do(http.MethodDelete, "/v1/queues/q", nil).problem(http.StatusNotFound, "queue_not_found")
	for _, q := range readAs[servedPage[servedQueue]](s.get("/v1/queues").want(http.StatusOK)).Items {
		if q.Name == "q" {
			t.Error("it is still in the list")
		}
	}
	if j := s.job(id); j.Queue != "q" || j.State != "completed" {
		t.Errorf("a job that had ended: %+v", j)
	}
	if j := s.job(s.enqueue(`{"kind": "k", "queue": "q"}`)); j.Priority != 5 {
		t.Errorf("a job of the queue that is back: %+v", j)
	}
	if q := s.queue("q"); q.Priority != 5 || q.Available != 1 {
		t.Errorf("the queue that is back: %+v", q)
	}
}

func TestRESTAFullQueueRefusesJobs(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/queues/q", `{"max_depth": 3}`).want(http.StatusOK)
	full := func(path string, body any) {
		t.Helper()
		r := s.post(path, body)
		var p servedProblem
		if err := json.Unmarshal(r.body, &p); err != nil || p.Code != "queue_full" || r.status < 400 || r.status == http.StatusInternalServerError || p.Hint == "" {
			t.Errorf("%v; want a problem with code queue_full and a hint", r)
		}
	}
	full("/v1/jobs/batch", obj{"jobs": slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 4)})
	s.enqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 2))
	s.enqueue(`{"kind": "k", "queue": "q"}`)
	full("/v1/jobs", `{"kind": "k", "queue": "q"}`)
	full("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "other"}, {"kind": "k", "queue": "q"}]}`)
	if n := s.count(`select count(*) from weir.job`); n != 3 {
		t.Errorf("%d jobs are stored", n)
	}
	s.enqueue(`{"kind": "k", "queue": "other"}`)
	s.claimOne("q")
	s.settle()
	s.enqueue(`{"kind": "k", "queue": "q"}`) // there is room again
	full("/v1/jobs", `{"kind": "k", "queue": "q"}`)
	if q := readAs[servedQueue](s.do(http.MethodPatch, "/v1/queues/q", `{"max_depth": 0}`).want(http.StatusOK)); q.MaxDepth != nil {
		t.Errorf("without a limit: %+v", q)
	}
	s.enqueue(`{"kind": "k", "queue": "q"}`)
}

func TestRESTAQueueThatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, call := range []string{
		"GET /v1/queues/none", "GET /v1/queues/none/stats", "DELETE /v1/queues/none", "POST /v1/queues/none/pause", "POST /v1/queues/none/resume",
	} {
		method, path, _ := strings.Cut(call, " ")
		s.do(method, path, nil).problem(http.StatusNotFound, "queue_not_found")
	}
	s.post("/v1/queues/none/purge", `{"state": "available"}`).problem(http.StatusNotFound, "queue_not_found")
	s.do(http.MethodPatch, "/v1/queues/none", `{"priority": 1}`).problem(http.StatusNotFound, "queue_not_found")
	if n := s.count(`select count(*) from weir.queue`); n != 0 {
		t.Errorf("%d queues came into being", n)
	}
}
