package tests

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTAJobThatWaitsCanBeChanged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Job(id)
		j := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10, "max_attempts": 9, "timeout_seconds": 77, "tags": ["x", "y"]}`).Want(http.StatusOK))
		if j.State != state || j.Priority != 10 || j.MaxAttempts != 9 || j.TimeoutSeconds != 77 || !slices.Equal(j.Tags, []string{"x", "y"}) ||
			(j.RunAt == nil) != (before.RunAt == nil) || j.RunAt != nil && !j.RunAt.Equal(*before.RunAt) || j.Attempt != before.Attempt {
			t.Errorf("%s: %+v", state, j)
		}
		if j := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"tags": []}`).Want(http.StatusOK)); len(j.Tags) != 0 || j.Priority != 10 || j.MaxAttempts != 9 {
			t.Errorf("%s, without tags: %+v", state, j)
		}
		later := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
		put := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, obj{"run_at": later}).Want(http.StatusOK))
		if put.RunAt == nil || !put.RunAt.Equal(later) || put.State != map[string]string{"available": "scheduled", "scheduled": "scheduled", "retryable": "retryable"}[state] {
			t.Errorf("%s, put off: %+v", state, put)
		}
		if got := s.Claim(1, state); len(got) != 0 {
			t.Errorf("%s: claimed though put off", state)
		}
		if j := weirtest.Decode[weirtest.Job](s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"run_at": "2020-01-01T00:00:00Z"}`).Want(http.StatusOK)); j.State != "available" || j.RunAt != nil {
			t.Errorf("%s, brought forward: %+v", state, j)
		}
		got := s.ClaimOne(state)
		if got.ID != id || got.MaxAttempts != 9 || got.TimeoutSeconds != 77 {
			t.Errorf("%s: claimed as %+v", state, got)
		}
	}
}

func TestRESTAChangedPriorityCounts(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := s.EnqueueAll([]obj{{"kind": "a"}, {"kind": "b"}, {"kind": "c"}})
	s.Do(http.MethodPatch, "/v1/jobs/"+ids[2], `{"priority": 6}`).Want(http.StatusOK)
	s.Do(http.MethodPatch, "/v1/jobs/"+ids[0], `{"priority": 4}`).Want(http.StatusOK)
	s.Settle()
	for _, want := range []string{ids[2], ids[1], ids[0]} {
		if got := s.ClaimOne("default"); got.ID != want {
			t.Errorf("claimed job %s, want %s", got.ID, want)
		}
	}
}

func TestRESTAJobThatRunsOrHasEndedCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"running", "completed", "cancelled", "dead"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Get("/v1/jobs/" + id)
		s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"priority": 10}`).Problem(http.StatusConflict, "job_not_editable")
		if after := s.Get("/v1/jobs/" + id); !bytes.Equal(before.Body, after.Body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.Body, after.Body)
		}
	}
}

func TestRESTAWaitingJobIsCancelledAtOnce(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := weirtest.MakeJobInState[state](s, state)
		if j := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)); j.ID != id || j.State != "cancelled" || j.FinishedAt == nil {
			t.Errorf("%s: %+v", state, j)
		}
		if got := s.Claim(10, state); len(got) != 0 {
			t.Errorf("%s: it was claimed after it was cancelled", state)
		}
	}
	for _, state := range []string{"completed", "cancelled", "dead"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Get("/v1/jobs/" + id)
		s.Post("/v1/jobs/"+id+"/cancel", nil).Problem(http.StatusConflict, "job_ended")
		if after := s.Get("/v1/jobs/" + id); !bytes.Equal(before.Body, after.Body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.Body, after.Body)
		}
	}
}

func TestRESTTheWorkerOfACancelledJobLearnsItAtItsNextHeartbeat(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for how, want := range map[string]string{"complete": "completed", "fail": "cancelled", "snooze": "cancelled", "release": "cancelled"} {
		id := s.Enqueue(obj{"kind": "k", "queue": how})
		got := s.ClaimOne(how)
		beat := func() bool {
			t.Helper()
			r := s.Post("/v1/jobs/"+id+"/heartbeat", obj{"token": got.Token}).Want(http.StatusOK)
			return weirtest.Decode[struct {
				CancelRequested bool `json:"cancel_requested"`
			}](r).CancelRequested
		}
		if beat() {
			t.Fatal("cancel_requested before anybody asked for it")
		}
		if j := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)); j.State != "running" || !j.CancelAsked {
			t.Errorf("cancelling a running job: %+v", j)
		}
		s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK) // once more changes nothing
		if !beat() {
			t.Error("the worker does not learn that its job is cancelled")
		}
		s.Post("/v1/jobs/"+id+"/"+how, obj{
			"complete": obj{"token": got.Token}, "release": obj{"token": got.Token}, "snooze": obj{"token": got.Token, "delay_seconds": 1},
			"fail": obj{"token": got.Token, "error": obj{"message": "stopped"}},
		}[how]).Want(http.StatusOK)
		if j := s.Job(id); j.State != want || j.FinishedAt == nil {
			t.Errorf("after %s: %+v", how, j)
		}
	}
}

func TestRESTAJobCanBeRunAgain(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"completed", "cancelled", "dead", "scheduled", "retryable"} {
		for _, reset := range []bool{false, true} {
			queue := fmt.Sprintf("%s-%t", state, reset)
			id := weirtest.MakeJobInState[state](s, queue)
			before := s.Job(id)
			var body any
			if reset {
				body = obj{"reset_attempts": true}
			}
			j := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs/"+id+"/retry", body).Want(http.StatusOK))
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
			got := s.ClaimOne(queue)
			if got.ID != id || got.Attempt != want+1 {
				t.Errorf("%s: claimed as %+v", queue, got)
			}
			s.Post("/v1/jobs/"+id+"/complete", obj{"token": got.Token}).Want(http.StatusOK)
		}
	}
	for _, state := range []string{"available", "running"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Get("/v1/jobs/" + id)
		s.Post("/v1/jobs/"+id+"/retry", nil).Problem(http.StatusConflict, "job_not_retryable")
		if after := s.Get("/v1/jobs/" + id); !bytes.Equal(before.Body, after.Body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.Body, after.Body)
		}
	}
	if page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?state=dead").Want(http.StatusOK)); len(page.Items) != 0 {
		t.Errorf("still among the dead: %+v", page.Items)
	}
}
