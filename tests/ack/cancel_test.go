package ack

import (
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A worker ends its own job as cancelled: it is no failure and no dead letter, and its reason is kept.
func TestWorkersCancelTheirJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	claim := func() weirtest.ClaimedJob {
		s.Enqueue(obj{"kind": "k", "queue": "q", "max_attempts": 1})
		return s.ClaimOne("q")
	}
	reason := obj{"message": "the order is paid already", "type": "NotNeeded"}
	doors := map[string]func(id, token string){
		"POST /v1/jobs/{id}/fail": func(id, token string) {
			got := weirtest.Decode[struct{ State string }](s.Post("/v1/jobs/"+id+"/fail", obj{"token": token, "error": reason, "cancel": true}).Want(http.StatusOK))
			if got.State != "cancelled" {
				t.Errorf("it answers with the state %s", got.State)
			}
		},
		"POST /v1/acks": func(id, token string) {
			other := claim()
			s.Post("/v1/acks", obj{"acks": []obj{
				{"id": id, "token": token, "outcome": "fail", "error": reason, "cancel": true, "retry": false},
				{"id": other.ID, "token": other.Token, "outcome": "fail", "error": reason},
			}}).Want(http.StatusOK)
			if j := s.Job(other.ID); j.State != "dead" {
				t.Errorf("the failed job beside it is %s", j.State)
			}
		},
		"weir.fail": func(id, token string) {
			if state := weirtest.Value[string](t, s.DB, "select weir.fail($1, $2, $3, cancel => true)", id, token, reason); state != "cancelled" {
				t.Errorf("it returns %s", state)
			}
		},
		"weir.fail_many": func(id, token string) {
			weirtest.Exec(t, s.DB, "select weir.fail_many(array[$1::bigint], array[$2::bigint], array[$3::jsonb], cancels => array[true])", id, token, reason)
		},
	}
	for door, end := range doors {
		j := claim()
		s.DB.Unchanged(door+" with a stale token", func() {
			s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": "999", "error": reason, "cancel": true}).Problem(http.StatusConflict, "stale_token")
			weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.fail($1, 999, $2, cancel => true)", j.ID, reason), "WR001")
		})
		end(j.ID, j.Token)
		ended := weirtest.Value[string](t, s.DB, `select concat_ws(' ', state, attempt, error ->> 'message', coalesce(jsonb_array_length(errors), 0)) from weir.jobs where id = $1`, j.ID)
		if ended != "cancelled 1 the order is paid already 0" {
			t.Errorf("after %s the job is: %s", door, ended)
		}
		if letters := weirtest.Value[int](t, s.DB, "select count(*)::int from weir.dead_letters where job_id = $1", j.ID); letters != 0 {
			t.Errorf("after %s it is a dead letter", door)
		}
		moments := weirtest.Values[string](t, s.DB, "select event || coalesce(' by ' || cause, '') from weir.timeline($1) where event like 'cancel%'", j.ID)
		if len(moments) != 2 || moments[0] != "cancel_requested" || moments[1] != "cancelled by cancel_requested" {
			t.Errorf("after %s its life has %q", door, moments)
		}
	}
}
