package stats

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestLatenessOfSchedules(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for _, name := range []string{"early", "late"} {
		s.Post("/v1/schedules", obj{"name": name, "every_seconds": 86400, "job": obj{"kind": "k", "queue": name}}).Want(http.StatusCreated)
	}
	s.Exec(`insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at)
		select s.id, now() - make_interval(mins => i), case when i = 10 then 'skipped' else 'enqueued' end, now() - make_interval(mins => i),
			now() - make_interval(mins => i) + make_interval(secs => case s.name when 'late' then i else 0 end)
		from weir.schedule s, generate_series(1, 10) i`)
	s.Post("/v1/schedules/early/trigger", nil).Want(http.StatusCreated)
	type stats struct {
		Schedules []struct {
			Name                                   string
			Runs, Manual, Skipped, Missed, Refused int
			Mean                                   float64 `json:"mean_seconds"`
			P50                                    float64 `json:"p50_seconds"`
			P95                                    float64 `json:"p95_seconds"`
			Longest                                float64 `json:"longest_seconds"`
		}
		Previous *struct{ Schedules []struct{} }
	}
	got := get[stats](s, "schedules", "compare=previous")
	if want := "[{late 9 0 1 0 0 5 5 9 9} {early 10 1 1 0 0 0 0 0 0}]"; fmt.Sprint(got.Schedules) != want || got.Previous == nil || len(got.Previous.Schedules) != 0 {
		t.Errorf("got %+v, want %s", got, want)
	}
	bound := s.AsNew("bound", obj{"queues": []string{"early"}}, "reader")
	if got := get[stats](bound, "schedules", ""); len(got.Schedules) != 1 || got.Schedules[0].Name != "early" {
		t.Errorf("a bound key gets %+v", got)
	}
	s.Get("/v1/stats/schedules?queue=early").Problem(http.StatusUnprocessableEntity, "invalid_argument")
}

func TestEndsOfWorkflows(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	acme := s.AsNew("acme", obj{"tenant": "acme"}, "producer", "reader")
	for range 5 {
		s.Submit(nil, obj{"name": "x", "kind": "k", "queue": "ours"})
	}
	s.Submit(nil, obj{"name": "x", "kind": "k", "queue": "running"})
	acme.Submit(nil, obj{"name": "x", "kind": "k", "queue": "theirs"})
	s.Settle()
	weirtest.Complete(t, s.DB, weirtest.Claim(t, s.DB, "ours", 5)...)
	weirtest.ClaimOne(t, s.DB, "theirs").Call(t, s.DB, `fail($1, $2, '{"message": "m"}', retry => false)`)
	weirtest.Eventually(t, "six workflows to end", func() bool { return s.Count("select count(*) from weir.workflow where finished_at is not null") == 6 })
	s.Exec("update weir.workflow set name = coalesce(tenant, 'ours'), created_at = created_at - interval '100 s'")
	type stats struct {
		Ended, Other int
		Workflows    []struct {
			Name                         string
			Completed, Failed, Cancelled int
			P50                          float64 `json:"p50_seconds"`
		}
	}
	got := get[stats](s, "workflows", "")
	if got.Ended != 6 || len(got.Workflows) != 2 || got.Workflows[0].Name != "ours" || got.Workflows[0].Completed != 5 || got.Workflows[0].P50 < 100 || got.Workflows[0].P50 > 130 || got.Workflows[1].Failed != 1 {
		t.Errorf("got %+v", got)
	}
	if got := get[stats](acme, "workflows", ""); got.Ended != 1 || got.Workflows[0].Name != "acme" {
		t.Errorf("a tenant gets %+v", got)
	}
}
