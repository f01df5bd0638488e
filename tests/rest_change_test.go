package tests

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// servedStates makes a job in each state that a job can be brought into over REST, and gives its id.
var servedStates = map[string]func(s *service, queue string) string{
	"available": func(s *service, queue string) string { return s.enqueue(obj{"kind": "k", "queue": queue}) },
	"scheduled": func(s *service, queue string) string {
		return s.enqueue(obj{"kind": "k", "queue": queue, "delay_seconds": 3600})
	},
	"running": func(s *service, queue string) string {
		s.enqueue(obj{"kind": "k", "queue": queue})
		return s.claimOne(queue).ID
	},
	"retryable": func(s *service, queue string) string {
		return s.ended(queue, "fail", obj{"error": obj{"message": "no"}, "retry_in_seconds": 3600})
	},
	"dead": func(s *service, queue string) string {
		return s.ended(queue, "fail", obj{"error": obj{"message": "no"}, "retry": false})
	},
	"completed": func(s *service, queue string) string { return s.ended(queue, "complete", obj{}) },
	"cancelled": func(s *service, queue string) string {
		id := s.enqueue(obj{"kind": "k", "queue": queue})
		s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)
		return id
	},
}

// ended makes a job, claims it and says what became of it.
func (s *service) ended(queue, how string, more obj) string {
	s.t.Helper()
	s.enqueue(obj{"kind": "k", "queue": queue})
	got := s.claimOne(queue)
	more["token"] = got.Token
	s.post("/v1/jobs/"+got.ID+"/"+how, more).want(http.StatusOK)
	return got.ID
}

func TestRESTAJobThatWaitsCanBeChanged(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := servedStates[state](s, state)
		before := s.job(id)
		j := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10, "max_attempts": 9, "timeout_seconds": 77, "tags": ["x", "y"]}`).want(http.StatusOK))
		if j.State != state || j.Priority != 10 || j.MaxAttempts != 9 || j.TimeoutSeconds != 77 || !slices.Equal(j.Tags, []string{"x", "y"}) ||
			(j.RunAt == nil) != (before.RunAt == nil) || j.RunAt != nil && !j.RunAt.Equal(*before.RunAt) || j.Attempt != before.Attempt {
			t.Errorf("%s: %+v", state, j)
		}
		if j := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, `{"tags": []}`).want(http.StatusOK)); len(j.Tags) != 0 || j.Priority != 10 || j.MaxAttempts != 9 {
			t.Errorf("%s, without tags: %+v", state, j)
		}
		later := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
		put := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, obj{"run_at": later}).want(http.StatusOK))
		if put.RunAt == nil || !put.RunAt.Equal(later) || put.State != map[string]string{"available": "scheduled", "scheduled": "scheduled", "retryable": "retryable"}[state] {
			t.Errorf("%s, put off: %+v", state, put)
		}
		if got := s.claim(1, state); len(got) != 0 {
			t.Errorf("%s: claimed though put off", state)
		}
		if j := readAs[servedJob](s.do(http.MethodPatch, "/v1/jobs/"+id, `{"run_at": "2020-01-01T00:00:00Z"}`).want(http.StatusOK)); j.State != "available" || j.RunAt != nil {
			t.Errorf("%s, brought forward: %+v", state, j)
		}
		got := s.claimOne(state)
		if got.ID != id || got.MaxAttempts != 9 || got.TimeoutSeconds != 77 {
			t.Errorf("%s: claimed as %+v", state, got)
		}
	}
}

func TestRESTAChangedPriorityCounts(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ids := s.enqueueAll([]obj{{"kind": "a"}, {"kind": "b"}, {"kind": "c"}})
	s.do(http.MethodPatch, "/v1/jobs/"+ids[2], `{"priority": 6}`).want(http.StatusOK)
	s.do(http.MethodPatch, "/v1/jobs/"+ids[0], `{"priority": 4}`).want(http.StatusOK)
	s.settle()
	for _, want := range []string{ids[2], ids[1], ids[0]} {
		if got := s.claimOne("default"); got.ID != want {
			t.Errorf("claimed job %s, want %s", got.ID, want)
		}
	}
}

func TestRESTAJobThatRunsOrHasEndedCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"running", "completed", "cancelled", "dead"} {
		id := servedStates[state](s, state)
		before := s.get("/v1/jobs/" + id)
		s.do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10}`).problem(http.StatusConflict, "job_not_editable")
		if after := s.get("/v1/jobs/" + id); !bytes.Equal(before.body, after.body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.body, after.body)
		}
	}
}

func TestRESTAWaitingJobIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := servedStates[state](s, state)
		if j := readAs[servedJob](s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)); j.ID != id || j.State != "cancelled" || j.FinishedAt == nil {
			t.Errorf("%s: %+v", state, j)
		}
		if got := s.claim(10, state); len(got) != 0 {
			t.Errorf("%s: it was claimed after it was cancelled", state)
		}
	}
	for _, state := range []string{"completed", "cancelled", "dead"} {
		id := servedStates[state](s, state)
		before := s.get("/v1/jobs/" + id)
		s.post("/v1/jobs/"+id+"/cancel", nil).problem(http.StatusConflict, "job_ended")
		if after := s.get("/v1/jobs/" + id); !bytes.Equal(before.body, after.body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.body, after.body)
		}
	}
}

func TestRESTTheWorkerOfACancelledJobLearnsItAtItsNextHeartbeat(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for how, want := range map[string]string{"complete": "completed", "fail": "cancelled", "snooze": "cancelled", "release": "cancelled"} {
		id := s.enqueue(obj{"kind": "k", "queue": how})
		got := s.claimOne(how)
		beat := func() bool {
			t.Helper()
			r := s.post("/v1/jobs/"+id+"/heartbeat", obj{"token": got.Token}).want(http.StatusOK)
			return readAs[struct {
				CancelRequested bool `json:"cancel_requested"`
			}](r).CancelRequested
		}
		if beat() {
			t.Fatal("cancel_requested before anybody asked for it")
		}
		if j := readAs[servedJob](s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK)); j.State != "running" || !j.CancelAsked {
			t.Errorf("cancelling a running job: %+v", j)
		}
		s.post("/v1/jobs/"+id+"/cancel", nil).want(http.StatusOK) // once more changes nothing
		if !beat() {
			t.Error("the worker does not learn that its job is cancelled")
		}
		s.post("/v1/jobs/"+id+"/"+how, obj{
			"complete": obj{"token": got.Token}, "release": obj{"token": got.Token}, "snooze": obj{"token": got.Token, "delay_seconds": 1},
			"fail": obj{"token": got.Token, "error": obj{"message": "stopped"}},
		}[how]).want(http.StatusOK)
		if j := s.job(id); j.State != want || j.FinishedAt == nil {
			t.Errorf("after %s: %+v", how, j)
		}
	}
}

func TestRESTAJobCanBeRunAgain(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, state := range []string{"completed", "cancelled", "dead", "scheduled", "retryable"} {
		for _, reset := range []bool{false, true} {
			queue := fmt.Sprintf("%s-%t", state, reset)
			id := servedStates[state](s, queue)
			before := s.job(id)
			var body any
			if reset {
				body = obj{"reset_attempts": true}
			}
			j := readAs[servedJob](s.post("/v1/jobs/"+id+"/retry", body).want(http.StatusOK))
			want := before.Attempt
			if reset {
				want = 0
			}
			if j.ID != id || j.State != "available" || j.Attempt != want || j.FinishedAt != nil || j.Result != nil || j.Error != nil {
				t.Errorf("%s: %+v", queue, j)
			}
			if len(j.Errors) != len(before.Errors) {
				t.Errorf("%s: its history is lost: %+v", queue, j.Errors)
			}
			got := s.claimOne(queue)
			if got.ID != id || got.Attempt != want+1 {
				t.Errorf("%s: claimed as %+v", queue, got)
			}
			s.post("/v1/jobs/"+id+"/complete", obj{"token": got.Token}).want(http.StatusOK)
		}
	}
	for _, state := range []string{"available", "running"} {
		id := servedStates[state](s, state)
		before := s.get("/v1/jobs/" + id)
		s.post("/v1/jobs/"+id+"/retry", nil).problem(http.StatusConflict, "job_not_retryable")
		if after := s.get("/v1/jobs/" + id); !bytes.Equal(before.body, after.body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.body, after.body)
		}
	}
	if page := readAs[servedPage[servedJob]](s.get("/v1/jobs?state=dead").want(http.StatusOK)); len(page.Items) != 0 {
		t.Errorf("still among the dead: %+v", page.Items)
	}
}
