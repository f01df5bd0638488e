package tenant

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// refusedAt fails the test unless a call is refused as an invalid argument at a place.
func refusedAt(t *testing.T, r *weirtest.Response, place string) {
	t.Helper()
	if p := r.Problem(http.StatusUnprocessableEntity, "invalid_argument"); len(p.Errors) != 1 || p.Errors[0].Location != place {
		t.Errorf("%v: want it at %s", r, place)
	}
}

// breakersOf are the references of the breakers of the jobs and steps that were stored.
func breakersOf(t *testing.T, s *weirtest.Node) []string {
	t.Helper()
	return weirtest.Values[string](t, s.DB, "select distinct coalesce(breaker, 'none') collate \"C\" from weir.job order by 1")
}

// TestATenantNamesItsOwnBreakers, by name or by reference, at every door that makes jobs. Another's reference is refused.
func TestATenantNamesItsOwnBreakers(t *testing.T) {
	t.Parallel()
	s, a, _ := twoTenants(t)
	a.Do(http.MethodPut, "/v1/schedules/s", obj{"every_seconds": 3600, "job": needing("q")}).Want(http.StatusOK)
	doors := map[string]struct {
		make  func(breaker string) *weirtest.Response
		place string
	}{
		"a job": {func(b string) *weirtest.Response { return a.Post("/v1/jobs", obj{"kind": "k", "breaker": b}) }, "body.breaker"},
		"a batch": {func(b string) *weirtest.Response {
			return a.Post("/v1/jobs/batch", obj{"jobs": []obj{{"kind": "k"}, {"kind": "k", "breaker": b}}})
		}, "body.jobs[1].breaker"},
		"a batch in other letters": {func(b string) *weirtest.Response {
			return a.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "\u0062reaker": "`+b+`"}]}`)
		}, "body.jobs[0].breaker"},
		"a workflow": {func(b string) *weirtest.Response {
			return a.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "x", "kind": "k", "breaker": b}}})
		}, "body.steps[0].breaker"},
		"a workflow in a workflow": {func(b string) *weirtest.Response {
			return a.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "x", "workflow": obj{"name": "v", "steps": []obj{{"name": "y", "kind": "k", "breaker": b}}}}}})
		}, "body.steps[0].workflow.steps[0].breaker"},
		"a schedule": {func(b string) *weirtest.Response {
			return a.Do(http.MethodPut, "/v1/schedules/made", obj{"every_seconds": 3600, "job": obj{"kind": "k", "breaker": b}})
		}, "body.job.breaker"},
		"a schedule of workflows": {func(b string) *weirtest.Response {
			return a.Do(http.MethodPatch, "/v1/schedules/s", obj{"workflow": obj{"name": "w", "steps": []obj{{"name": "x", "kind": "k", "breaker": b}, {"name": "z", "workflow": obj{"name": "v", "steps": []obj{{"name": "y", "kind": "k", "breaker": b}}}}}}})
		}, "body.workflow.steps[0].breaker"},
	}
	for door, d := range doors {
		for _, foreign := range []string{"b/dep", "a/b/dep", "A/dep", "/dep"} {
			s.DB.Unchanged(door+" of "+foreign, func() {
				r := d.make(foreign)
				if foreign != "/dep" || r.Status != http.StatusUnprocessableEntity {
					refusedAt(t, r, d.place)
				}
			})
		}
		for _, own := range []string{"dep", "a/dep"} {
			if r := d.make(own); r.Status >= 300 {
				t.Errorf("%s with %s: %v", door, own, r)
			}
		}
	}
	for _, name := range []string{"made", "s"} {
		a.Post("/v1/schedules/"+name+"/trigger", nil).Want(http.StatusCreated)
		text := string(a.Get("/v1/schedules/" + name).Want(http.StatusOK).Body)
		if !strings.Contains(text, `"breaker":"dep"`) || strings.Contains(text, "a/dep") {
			t.Errorf("the schedule is shown as %s", text)
		}
		if text := string(s.Get("/v1/schedules/" + name + "?tenant=a").Want(http.StatusOK).Body); !strings.Contains(text, `"breaker":"a/dep"`) {
			t.Errorf("an admin sees the schedule as %s", text)
		}
		a.Do(http.MethodPatch, "/v1/schedules/"+name, obj{"max_runs": 7}).Want(http.StatusOK)
	}
	s.Eventually("the workflows in workflows have started", func() bool {
		return s.Count("select count(*) from weir.workflow where parent_job_id is not null") == 3
	})
	if got := breakersOf(t, s); !slices.Equal(got, []string{"a/dep", "none"}) {
		t.Errorf("the jobs have the breakers %v", got)
	}
}

// TestStepsOfARunningWorkflowHaveTheWorkersBreakers, and so has a fork of it.
func TestStepsOfARunningWorkflowHaveTheWorkersBreakers(t *testing.T) {
	t.Parallel()
	s, a, b := twoTenants(t)
	id := a.Submit(nil, obj{"name": "x", "kind": "k", "queue": "q", "breaker": "dep"})
	j := a.ClaimOne("q")
	step := func(name, breaker string) []obj {
		return []obj{{"name": name, "kind": "k", "queue": "q", "breaker": breaker}}
	}
	refusedAt(t, a.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "add_steps": step("y", "b/dep")}), "body.add_steps[0].breaker")
	a.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "add_steps": step("y", "dep")}).Want(http.StatusOK)
	j = a.ClaimOne("q")
	a.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	a.Post("/v1/workflows/"+id+"/fork", obj{"from": []string{"x"}}).Want(http.StatusCreated)
	if got := weirtest.Values[string](t, s.DB, "select breaker from weir.job where step is not null"); !slices.Equal(got, []string{"a/dep", "a/dep", "a/dep", "a/dep"}) {
		t.Errorf("the steps have the breakers %v", got)
	}
	// The worker of another tenant, which may claim here, brings no breaker of its own into this workflow.
	j = b.ClaimOne("q")
	refusedAt(t, b.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "add_steps": step("z", "dep")}), "body.add_steps[0].breaker")
}

// TestCallersWithoutATenantNameEveryBreaker: shared ones by name, and a tenant's by its reference, for its jobs.
func TestCallersWithoutATenantNameEveryBreaker(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	own(t, s.DB, "qa")
	job := obj{"kind": "k", "tenant": "a", "breaker": "a/dep"}
	for _, r := range []*weirtest.Response{
		s.Post("/v1/jobs", job), s.Post("/v1/jobs/batch", obj{"jobs": []obj{job}}), s.Post("/v1/jobs", obj{"kind": "k", "queue": "qa", "breaker": "a/dep"}),
		s.Post("/v1/jobs", obj{"kind": "k", "tenant": "a", "breaker": "dep"}),
		s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "x", "kind": "k", "tenant": "a", "breaker": "a/dep"}}}),
	} {
		if text := string(r.Want(http.StatusCreated).Body); strings.Contains(text, `"breaker":"dep"`) && strings.Contains(text, "a/dep") {
			t.Errorf("the answer is %s", text)
		}
	}
	s.DB.Unchanged("breakers of other tenants than the jobs'", func() {
		refusedAt(t, s.Post("/v1/jobs", obj{"kind": "k", "breaker": "a/dep"}), "body.breaker")
		refusedAt(t, s.Post("/v1/jobs", obj{"kind": "k", "tenant": "b", "breaker": "a/dep"}), "body.breaker")
		refusedAt(t, s.Post("/v1/jobs/batch", obj{"jobs": []obj{job, {"kind": "k", "breaker": "a/dep"}}}), "body.jobs[1].breaker")
		refusedAt(t, s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "x", "kind": "k", "breaker": "a/dep"}}}), "body.steps[0].breaker")
		err := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.enqueue('k', options => '{"breaker": "a/dep"}')`), "WR010")
		if err.ColumnName != "jobs[0].breaker" {
			t.Errorf("SQL says %+v", err)
		}
	})
	// A label of a tenant may have slashes.
	s.Do(http.MethodPut, "/v1/breakers/dep?tenant=a%2Fb", obj{}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "tenant": "a/b", "breaker": "a/b/dep"})
	lists(t, s, "/v1/breakers", "dep/a/b", "dep/a", "dep")
	for _, call := range []string{"trip", "reset", "report"} {
		s.Post("/v1/breakers/dep/"+call+"?tenant=a", map[string]obj{"report": {"outcome": "success"}}[call]).Want(http.StatusOK)
	}
	weirtest.Exec(t, s.DB, "select weir.trip_breaker('a/dep', by => 'ann')")
	if got := weirtest.Values[string](t, s.DB, "select breaker || ' ' || coalesce(tenant, 'none') || ' ' || state collate \"C\" from weir.breakers order by 1"); !slices.Equal(got, []string{"a/b/dep a/b closed", "a/dep a open", "dep none closed"}) {
		t.Errorf("the view has %v", got)
	}
	if n := s.Count("select count(*) from weir.breaker_events where tenant = 'a' and breaker = 'a/dep' and event <> 'recovered'"); n != 3 {
		t.Errorf("its history has %d events", n)
	}
	s.CLI("breakers", "--tenant", "a").Says(0, "dep of a", "open")
	s.CLI("breakers", "show", "dep", "--tenant", "a").Says(0, "open")
	s.CLI("breakers", "reset", "dep", "--tenant", "a", "--reason", "r").Says(0, "closed")
	s.CLI("breakers", "set", "dep", "--tenant", "a", "close_after=2").Says(0)
	s.CLI("breakers", "events", "dep", "--tenant", "a").Says(0, "closed")
	s.CLI("breakers", "show", "dep", "--tenant", "c").Says(1, "dep")
}

// TestOneTenantTakesATenthOfTheNames that jobs may bring.
func TestOneTenantTakesATenthOfTheNames(t *testing.T) {
	t.Parallel()
	s, a, b := twoTenants(t)
	s.Exec("do $$ begin execute format('alter database %I set weir.max_implicit_breakers = 30', current_database()); end $$")
	for i := range 3 {
		a.Enqueue(obj{"kind": "k", "breaker": fmt.Sprint("x", i)})
	}
	p := a.Post("/v1/jobs", obj{"kind": "k", "breaker": "x3"}).Problem(http.StatusConflict, "too_many_names")
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.breaker" || strings.Contains(p.Detail, "a/x3") {
		t.Errorf("it is told %+v", p)
	}
	a.Enqueue(obj{"kind": "k", "breaker": "x2"})
	b.Enqueue(obj{"kind": "k", "breaker": "x3"})
	s.Enqueue(obj{"kind": "k", "breaker": "x3"})
	s.Do(http.MethodPut, "/v1/breakers/x3?tenant=a", obj{}).Want(http.StatusOK)
	a.Enqueue(obj{"kind": "k", "breaker": "x3"})

	// The queue that its breaker sends jobs to counts as one that jobs have named.
	s.Exec("do $$ begin execute format('alter database %I set weir.max_implicit_queues = 1', current_database()); end $$")
	reroute := obj{"while_open": obj{"policy": "reroute", "queue": "new"}}
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		a.Do(method, "/v1/breakers/x0", reroute).Problem(http.StatusConflict, "too_many_names")
	}
	s.Do(http.MethodPut, "/v1/breakers/x0", reroute).Want(http.StatusOK)
	a.Do(http.MethodPut, "/v1/breakers/x0", reroute).Want(http.StatusOK)
}
