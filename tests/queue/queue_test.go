package queue

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

const servedRetry = `{"strategy": "exponential", "base_seconds": 2, "max_seconds": 3600, "jitter": true}`

func TestQueueIsCreatedByItsFirstJob(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Get("/v1/queues/mail").Problem(http.StatusNotFound, "queue_not_found")
	s.Enqueue(`{"kind": "k", "queue": "mail"}`)
	q := s.Queue("mail")
	if q.Name != "mail" || q.Paused || q.Priority != 5 || q.MaxAttempts != 5 || q.TimeoutSeconds != 300 || q.LeaseSeconds != 30 || q.RetentionSeconds != 604800 ||
		q.MaxDepth != nil || q.Available != 1 || q.Running+q.Scheduled+q.Retryable+q.Held+q.Dead != 0 || q.CreatedAt.IsZero() || !weirtest.SameJSON(t, q.Retry, []byte(servedRetry)) {
		t.Errorf("%+v", q)
	}
	// A claim does not create a queue.
	s.Claim(1, "claimed")
	s.Get("/v1/queues/claimed").Problem(http.StatusNotFound, "queue_not_found")
}

func TestQueueSettingsApplyToItsJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	all := `{"priority": 8, "max_attempts": 2, "timeout_seconds": 60, "lease_seconds": 20, "retention_seconds": 86400, "max_depth": 100,
		"retry": {"strategy": "fixed", "base_seconds": 1000, "max_seconds": 2000, "jitter": false}}`
	q := weirtest.Decode[weirtest.Queue](s.Do(http.MethodPut, "/v1/queues/q", all).Want(http.StatusOK))
	if q.Name != "q" || q.Priority != 8 || q.MaxAttempts != 2 || q.TimeoutSeconds != 60 || q.LeaseSeconds != 20 || q.RetentionSeconds != 86400 || q.MaxDepth == nil || *q.MaxDepth != 100 ||
		!weirtest.SameJSON(t, q.Retry, []byte(`{"strategy": "fixed", "base_seconds": 1000, "max_seconds": 2000, "jitter": false}`)) {
		t.Errorf("put: %+v", q)
	}
	j := s.Job(s.Enqueue(`{"kind": "k", "queue": "q"}`))
	if j.Priority != 8 || j.MaxAttempts != 2 || j.TimeoutSeconds != 60 {
		t.Errorf("a job of it: %+v", j)
	}
	own := s.Job(s.Enqueue(`{"kind": "k", "queue": "q", "priority": 1, "max_attempts": 9, "timeout_seconds": 9}`))
	if own.Priority != 1 || own.MaxAttempts != 9 || own.TimeoutSeconds != 9 {
		t.Errorf("a job with settings of its own: %+v", own)
	}
	s.Settle()
	got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["q"]}`).Want(http.StatusOK)).Jobs[0]
	if got.ID != j.ID || got.LeaseExpiresAt.Sub(*s.Job(got.ID).StartedAt) != 20*time.Second {
		t.Errorf("claimed %+v", got)
	}
	failed := weirtest.Decode[weirtest.AckResult](s.Post("/v1/jobs/"+got.ID+"/fail", obj{"token": got.Token, "error": obj{"message": "no"}}).Want(http.StatusOK))
	if wait := failed.RunAt.Sub(s.Job(got.ID).Errors[0].At).Round(10 * time.Second); wait != 1000*time.Second {
		t.Errorf("it is retried after %v", wait)
	}

	// PATCH changes the fields that it names.
	q = weirtest.Decode[weirtest.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{"priority": 3, "retry": {"base_seconds": 7}}`).Want(http.StatusOK))
	if q.Priority != 3 || q.MaxAttempts != 2 || q.LeaseSeconds != 20 || q.MaxDepth == nil || !weirtest.SameJSON(t, q.Retry, []byte(`{"strategy": "fixed", "base_seconds": 7, "max_seconds": 2000, "jitter": false}`)) {
		t.Errorf("patched: %+v", q)
	}
	if q = weirtest.Decode[weirtest.Queue](s.Do(http.MethodPatch, "/v1/queues/q", `{}`).Want(http.StatusOK)); q.Priority != 3 {
		t.Errorf("patched with nothing: %+v", q)
	}
	s.Do(http.MethodPatch, "/v1/queues/slip", `{"priority": 3}`).Problem(http.StatusNotFound, "queue_not_found")
	s.Get("/v1/queues/slip").Problem(http.StatusNotFound, "queue_not_found")

	// PUT resets the fields that it does not name.
	q = weirtest.Decode[weirtest.Queue](s.Do(http.MethodPut, "/v1/queues/q", `{"lease_seconds": 40}`).Want(http.StatusOK))
	if q.Priority != 5 || q.MaxAttempts != 5 || q.LeaseSeconds != 40 || q.MaxDepth != nil || q.RetentionSeconds != 604800 || !weirtest.SameJSON(t, q.Retry, []byte(servedRetry)) {
		t.Errorf("put once more: %+v", q)
	}
}

func TestQueuesAreListedByName(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	if page := weirtest.Decode[weirtest.Page[weirtest.Queue]](s.Get("/v1/queues").Want(http.StatusOK)); page.Items == nil || len(page.Items) != 0 || page.NextCursor != nil {
		t.Errorf("no queues: %+v", page)
	}
	var want []string
	for i := range 23 {
		name := fmt.Sprintf("q%02d", i)
		want = append(want, name)
		s.Enqueue(obj{"kind": "k", "queue": name})
	}
	for _, limit := range []int{1, 5, 22, 23, 24, 1000} {
		var got []string
		cursor := ""
		for range 30 {
			page := weirtest.Decode[weirtest.Page[weirtest.Queue]](s.Get(fmt.Sprintf("/v1/queues?limit=%d&cursor=%s", limit, url.QueryEscape(cursor))).Want(http.StatusOK))
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

func TestQueueCountsItsJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for state, enter := range weirtest.MakeJobInState {
		if state != "available" { // last, so that the others claim their own jobs
			enter(s, "q")
		}
	}
	s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q", "priority": 9}, {"kind": "k", "queue": "other"}})
	check := func(what string, q weirtest.Queue) {
		t.Helper()
		if q.Available != 2 || q.Running != 1 || q.Scheduled != 1 || q.Retryable != 1 || q.Dead != 1 || q.Held != 0 || q.OldestAvailableSeconds < 0 {
			t.Errorf("%s: %+v", what, q)
		}
	}
	check("the queue", s.Queue("q"))
	for _, q := range weirtest.Decode[weirtest.Page[weirtest.Queue]](s.Get("/v1/queues").Want(http.StatusOK)).Items {
		if q.Name == "q" {
			check("the list", q)
		}
	}
	stats := weirtest.Decode[struct {
		Queue   weirtest.Queue
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
	}](s.Get("/v1/queues/q/stats").Want(http.StatusOK))
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
	if empty := s.Get("/v1/queues/other/stats").Want(http.StatusOK); !strings.Contains(string(empty.Body), `"failures":[]`) {
		t.Errorf("nothing has failed: %v", empty)
	}
}

func TestQueueWithJobsIsNotDeleted(t *testing.T) {
	t.Parallel()
	t.Run("SQL", queueWithJobsIsNotDeletedSQL)
	t.Run("REST", queueWithJobsIsNotDeletedREST)
}

func queueWithJobsIsNotDeletedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	for state := range jobs {
		if state == "completed" || state == "cancelled" || state == "dead" {
			weirtest.Exec(t, d, "select weir.delete_queue($1)", state)
			continue
		}
		d.Unchanged("deleting a queue with a job that is "+state, func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.delete_queue($1)", state), "WR012") })
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.delete_queue('completed')"), "WR011")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.pause_queue('completed')"), "WR011")
	weirtest.WantState(t, d, jobs["completed"].ID, "completed")
	if queues := weirtest.Values[string](t, d, "select queue from weir.queue_depth order by 1"); slices.Contains(queues, "dead") || !slices.Contains(queues, "held") {
		t.Errorf("the queues are %q", queues)
	}

	weirtest.Exec(t, d, `select weir.set_queue('brief', '{"priority": 9, "max_depth": 5, "retention_seconds": 60}')`)
	weirtest.Exec(t, d, "select weir.pause_queue('brief')")
	weirtest.Exec(t, d, "select weir.delete_queue('brief')")
	if j := weirtest.Claim(t, d, "brief", 1); len(j) != 0 {
		t.Errorf("claimed %v", j)
	}
	id := weirtest.EnqueueOne(t, d, "brief") // creates it again, with the settings of a new queue
	if j := weirtest.ClaimOne(t, d, "brief"); j.ID != id || j.Priority != 5 {
		t.Errorf("claimed %+v, want job %d of priority 5", j, id)
	}
}

func queueWithJobsIsNotDeletedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"available", "scheduled", "running", "retryable"} {
		weirtest.MakeJobInState[state](s, state)
		s.Do(http.MethodDelete, "/v1/queues/"+state, nil).Problem(http.StatusConflict, "queue_not_empty")
		s.Queue(state)
	}
	s.Do(http.MethodPut, "/v1/queues/q", `{"priority": 9}`).Want(http.StatusOK)
	id := s.EndedJob("q", "complete", obj{})
	if r := s.Do(http.MethodDelete, "/v1/queues/q", nil).Want(http.StatusNoContent); len(r.Body) != 0 {
		t.Error(r)
	}
	s.Get("/v1/queues/q").Problem(http.StatusNotFound, "queue_not_found")
	s.Do(http.MethodDelete, "/v1/queues/q", nil).Problem(http.StatusNotFound, "queue_not_found")
	for _, q := range weirtest.Decode[weirtest.Page[weirtest.Queue]](s.Get("/v1/queues").Want(http.StatusOK)).Items {
		if q.Name == "q" {
			t.Error("it is still in the list")
		}
	}
	if j := s.Job(id); j.Queue != "q" || j.State != "completed" {
		t.Errorf("a job that had ended: %+v", j)
	}
	if j := s.Job(s.Enqueue(`{"kind": "k", "queue": "q"}`)); j.Priority != 5 {
		t.Errorf("a job of the queue that is back: %+v", j)
	}
	if q := s.Queue("q"); q.Priority != 5 || q.Available != 1 {
		t.Errorf("the queue that is back: %+v", q)
	}
}

func TestUnknownQueueIsNotFound(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, call := range []string{
		"GET /v1/queues/none", "GET /v1/queues/none/stats", "DELETE /v1/queues/none", "POST /v1/queues/none/pause", "POST /v1/queues/none/resume",
	} {
		method, path, _ := strings.Cut(call, " ")
		s.Do(method, path, nil).Problem(http.StatusNotFound, "queue_not_found")
	}
	s.Post("/v1/queues/none/purge", `{"state": "available"}`).Problem(http.StatusNotFound, "queue_not_found")
	s.Do(http.MethodPatch, "/v1/queues/none", `{"priority": 1}`).Problem(http.StatusNotFound, "queue_not_found")
	if n := s.Count(`select count(*) from weir.queue`); n != 0 {
		t.Errorf("%d queues were created, want none", n)
	}
}
