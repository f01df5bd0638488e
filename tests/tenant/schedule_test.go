package tenant

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func scheduleOf(queue string) obj {
	return obj{"every_seconds": 3600, "job": obj{"kind": "k", "queue": queue}}
}

func names(r *weirtest.Response) (list []string) {
	for _, item := range weirtest.Decode[struct {
		Items []struct{ Name, Tenant string }
	}](r.Want(http.StatusOK)).Items {
		list = append(list, strings.TrimSuffix(item.Name+"/"+item.Tenant, "/"))
	}
	return list
}

// lists fails the test unless a list has exactly these names, each with its tenant behind a slash, in this order.
func lists(t *testing.T, who *weirtest.Node, path string, want ...string) {
	t.Helper()
	if got := names(who.Get(path)); !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", path, got, want)
	}
}

// hidden fails the test unless a caller is told the same of a record that is another's as of one that is not there.
func hidden(t *testing.T, who *weirtest.Node, method, path, name string, body any, code string) {
	t.Helper()
	theirs := who.Do(method, strings.ReplaceAll(path, "NAME", name), body).Problem(http.StatusNotFound, code)
	none := who.Do(method, strings.ReplaceAll(path, "NAME", "none"), body).Problem(http.StatusNotFound, code)
	if strings.ReplaceAll(theirs.Detail, name, "none") != none.Detail {
		t.Errorf("%s %s: another's is %q, none is %q", method, path, theirs.Detail, none.Detail)
	}
}

func TestSchedulesOfOthersAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		a.Post("/v1/schedules", obj{"name": "of_a", "every_seconds": 3600, "job": obj{"kind": "k", "queue": a.queue, "tenant": "b"}}).Want(http.StatusCreated)
		b.Do(http.MethodPut, "/v1/schedules/of_b", scheduleOf(b.queue)).Want(http.StatusOK)
		s.Do(http.MethodPut, "/v1/schedules/plain", scheduleOf("of_admin")).Want(http.StatusOK)
		if got := names(a.Get("/v1/schedules")); len(got) != 1 || !strings.HasPrefix(got[0], "of_a") {
			t.Errorf("a lists %v", got)
		}
		if got := names(s.Get("/v1/schedules")); len(got) != 3 {
			t.Errorf("an admin lists %v", got)
		}
		for _, query := range []string{"", "?tenant=b"} {
			for _, name := range []string{"of_b", "plain"} {
				hidden(t, a.Node, http.MethodGet, "/v1/schedules/NAME"+query, name, nil, "schedule_not_found")
				hidden(t, a.Node, http.MethodGet, "/v1/schedules/NAME/runs"+query, name, nil, "schedule_not_found")
				hidden(t, a.Node, http.MethodGet, "/v1/schedules/NAME/preview"+query, name, nil, "schedule_not_found")
				hidden(t, a.Node, http.MethodPatch, "/v1/schedules/NAME"+query, name, obj{"every_seconds": 7}, "schedule_not_found")
				hidden(t, a.Node, http.MethodDelete, "/v1/schedules/NAME"+query, name, nil, "schedule_not_found")
				for _, action := range []string{"pause", "resume", "trigger"} {
					hidden(t, a.Node, http.MethodPost, "/v1/schedules/NAME/"+action+query, name, nil, "schedule_not_found")
				}
			}
		}
		if n := s.Count("select count(*) from weir.schedules where definition ->> 'every_seconds' = '3600' and state = 'active'"); n != 3 {
			t.Errorf("%d schedules are as they were, want 3", n)
		}
		for _, call := range []func() *weirtest.Response{
			func() *weirtest.Response { return a.Get("/v1/schedules/of_a") },
			func() *weirtest.Response {
				return a.Do(http.MethodPatch, "/v1/schedules/of_a", obj{"every_seconds": 7})
			},
			func() *weirtest.Response { return a.Post("/v1/schedules/of_a/pause", nil) },
			func() *weirtest.Response { return a.Post("/v1/schedules/of_a/resume", nil) },
			func() *weirtest.Response { return a.Get("/v1/schedules/of_a/preview") },
			func() *weirtest.Response { return a.Post("/v1/schedules/of_a/trigger", nil) },
			func() *weirtest.Response { return a.Get("/v1/schedules/of_a/runs") },
			func() *weirtest.Response { return a.Do(http.MethodDelete, "/v1/schedules/of_a", nil) },
		} {
			if r := call(); r.Status >= 300 {
				t.Errorf("its own: %v", r)
			}
		}
	})
}

func TestScheduleHasTheTenantOfItsKey(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", obj{"tenant": "{{schedule}}"}, "operator"), s.AsNew("b", obj{"tenant": "b"}, "operator")
	const steps = `{"name": "w", "steps": [{"name": "x", "kind": "k", "tenant": "b"}, {"name": "y", "workflow": {"name": "v", "steps": [{"name": "z", "kind": "k", "tenant": "b"}]}}]}`
	for _, who := range []*weirtest.Node{a, b, s} { // each has names of its own
		who.Post("/v1/schedules?tenant=other", `{"name": "b", "every_seconds": 3600, "job": {"kind": "k", "tenant": "b", "args": {"at": "{{scheduled_at}}"}}}`).Want(http.StatusCreated)
		who.Post("/v1/schedules?tenant=other", `{"name": "b", "every_seconds": 3600, "job": {"kind": "k"}}`).Problem(http.StatusConflict, "schedule_exists")
		who.Do(http.MethodPut, "/v1/schedules/w?tenant=other", `{"every_seconds": 3600, "workflow": `+steps+`}`).Want(http.StatusOK)
	}
	lists(t, s, "/v1/schedules", "b/b", "w/b", "b/other", "w/other", "b/{{schedule}}", "w/{{schedule}}")
	lists(t, s, "/v1/schedules?limit=1", "b/b")
	lists(t, s, "/v1/schedules?tenant=other", "b/other", "w/other")
	lists(t, a, "/v1/schedules?tenant=other")
	for _, who := range []*weirtest.Node{a, b} {
		who.Post("/v1/schedules/b/trigger", nil).Want(http.StatusCreated)
		who.Post("/v1/schedules/w/trigger", nil).Want(http.StatusCreated)
	}
	s.Post("/v1/schedules/b/trigger", nil).Problem(http.StatusNotFound, "schedule_not_found")
	s.Post("/v1/schedules/b/trigger?tenant=other", nil).Want(http.StatusCreated)
	s.Exec("update weir.schedule set next_slot_at = clock_timestamp(), due_at = clock_timestamp() where tenant is distinct from 'b'")
	s.Exec("select weir.fire_due()")
	for tenant, want := range map[string]int{"b": 4, "{{schedule}}": 8, "other": 5} {
		if n := s.Count("select count(*) from weir.job where tenant = $1", tenant); n < want {
			t.Errorf("tenant %s has %d jobs, want %d", tenant, n, want)
		}
		if n := s.Count("select count(*) from weir.workflow where tenant = $1", tenant); n == 0 {
			t.Errorf("tenant %s has no workflow", tenant)
		}
	}
	if n := s.Count("select count(*) from weir.job where tenant is null or tenant not in ('b', 'other', '{{schedule}}')"); n != 0 {
		t.Errorf("%d jobs have another tenant", n)
	}
	if n := s.Count("select count(*) from weir.audit where object = 'schedules/b?tenant=other'"); n != 2 {
		t.Errorf("the audit trail has %d entries of the schedule of another tenant, want 2", n)
	}
}

func TestScheduleKeepsToTheQueuesOfItsKey(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"queues": []string{"q_*"}}, "operator")
	step := func(queue string) obj {
		return obj{"every_seconds": 3600, "workflow": obj{"name": "w", "steps": []obj{
			{"name": "x", "kind": "k", "queue": "q_a"}, {"name": "y", "workflow": obj{"name": "v", "steps": []obj{{"name": "z", "kind": "k", "queue": queue}}}},
		}}}
	}
	for _, definition := range []any{scheduleOf("secret"), step("secret"), `{"every_seconds": 60, "job": {"kind": "k"}}`} {
		a.Do(http.MethodPut, "/v1/schedules/mine", definition).Problem(http.StatusNotFound, "queue_not_found")
	}
	a.Do(http.MethodPut, "/v1/schedules/mine", step("q_b")).Want(http.StatusOK)
	a.Do(http.MethodPatch, "/v1/schedules/mine", obj{"workflow": step("secret")["workflow"]}).Problem(http.StatusNotFound, "queue_not_found")
	a.Do(http.MethodPatch, "/v1/schedules/mine", obj{"job": obj{"kind": "k", "queue": "secret"}}).Problem(http.StatusNotFound, "queue_not_found")
	s.Do(http.MethodPatch, "/v1/schedules/mine", obj{"workflow": step("secret")["workflow"]}).Want(http.StatusOK)
	hidden(t, a, http.MethodGet, "/v1/schedules/NAME", "mine", nil, "schedule_not_found")
	a.Do(http.MethodPut, "/v1/schedules/mine", step("q_b")).Problem(http.StatusConflict, "schedule_exists") // names are no queue's
	lists(t, a, "/v1/schedules")
}

// TestNodesAloneWriteThePrincipal: by SQL a schedule could name whom its jobs are from.
func TestNodesAloneWriteThePrincipal(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for definition, field := range map[string]string{
		`{"every_seconds": 60, "job": {"kind": "k", "principal": 1}}`: "job.principal",
		`{"every_seconds": 60, "workflow": {"name": "w", "steps": [{"name": "a", "workflow": {"name": "v", "steps": [{"name": "b", "kind": "k", "principal": 1}]}}]}}`: "workflow",
	} {
		if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_schedule('s', $1)", definition), "WR010"); refusal.ColumnName != field {
			t.Errorf("%s is refused at %q, want %q", definition, refusal.ColumnName, field)
		}
	}
}
