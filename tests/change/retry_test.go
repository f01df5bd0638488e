package change

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestJobIsRetriedByHand(t *testing.T) {
	t.Parallel()
	t.Run("SQL", jobIsRetriedByHandSQL)
	t.Run("REST", jobIsRetriedByHandREST)
}

func jobIsRetriedByHandSQL(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"retry($1)", "retry($1, reset_attempts => true)"} {
		changes{
			"scheduled": "available", "retryable": "available", "completed": "available", "cancelled": "available", "dead": "available",
			"new": "WR005", "available": "WR005", "held": "WR005", "running": "WR005", "unknown": "WR002",
		}.check(t, call)
	}
}

func jobIsRetriedByHandREST(t *testing.T) {
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

func TestRetryRemovesDeadLetter(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	j := weirtest.ClaimOne(t, d, "q")
	j.Call(t, d, `fail($1, $2, '{"message": "why"}', retry => false)`)
	weirtest.Exec(t, d, "select weir.retry($1)", id)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_dead"); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', kind, detail ->> 'state', detail -> 'error' ->> 'message') from weir.job_event where job_id = $1 order by at desc limit 1", id); got != "retried dead why" {
		t.Errorf("the last event is %q", got)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, error, errors -> 0 ->> 'message') from weir.jobs where id = $1", id); got != "available why" {
		t.Errorf("the job is %q, want available, without an error of its own, and with the one of its first attempt", got)
	}
}
