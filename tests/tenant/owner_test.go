package tenant

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// own gives a queue to tenant a.
func own(t *testing.T, q weirtest.Querier, queue string) {
	t.Helper()
	weirtest.Exec(t, q, `select weir.set_queue($1, '{"tenant": "a"}')`, queue)
}

// TestAQueueOfATenantTakesOnlyItsJobs, at every door that makes jobs.
func TestAQueueOfATenantTakesOnlyItsJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	own(t, s.DB, "q")
	tenantOf := func(id string) string { return s.Job(id).Tenant }
	stored := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", obj{"kind": "k", "queue": "q"}).Want(http.StatusCreated))
	if stored.Tenant != "a" || tenantOf(stored.ID) != "a" {
		t.Errorf("a job without a tenant has %q, and then %q", stored.Tenant, tenantOf(stored.ID))
	}
	unique := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", obj{"kind": "k", "queue": "q", "unique": obj{"key": "u"}}).Want(http.StatusCreated))
	if unique.Tenant != "a" {
		t.Errorf("one with a unique key has %q", unique.Tenant)
	}
	for _, id := range s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q", "tenant": "a"}}) {
		if got := tenantOf(id); got != "a" {
			t.Errorf("one of a batch has %q", got)
		}
	}
	s.Submit(nil, obj{"name": "x", "kind": "k", "queue": "q"}, obj{"name": "y", "kind": "k", "queue": "shared"})
	if n := s.Count("select count(*) from weir.jobs where step = 'x' and tenant = 'a'"); n != 1 {
		t.Error("a step has another tenant")
	}
	theirs := obj{"kind": "k", "queue": "q", "tenant": "b"}
	s.DB.Unchanged("a job of another tenant", func() {
		for _, r := range []struct {
			*weirtest.Response
			place string
		}{
			{s.Post("/v1/jobs", theirs), "body.queue"},
			{s.Post("/v1/jobs/batch", obj{"jobs": []obj{{"kind": "k"}, theirs}}), "body.jobs[1].queue"},
			{s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "x", "kind": "k"}, {"name": "y", "kind": "k", "queue": "q", "tenant": "b"}}}), "body.steps[1].queue"},
		} {
			if p := r.Problem(http.StatusConflict, "tenant_mismatch"); len(p.Errors) != 1 || p.Errors[0].Location != r.place {
				t.Errorf("%v: want it at %s", r, r.place)
			}
		}
		err := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.enqueue_many('[{"kind": "k", "queue": "q", "tenant": "b"}]')`), "WR018")
		if err.ColumnName != "jobs[0].queue" || err.Hint == "" {
			t.Errorf("SQL says %+v", err)
		}
	})
	weirtest.Exec(t, s.DB, `select weir.set_schedule('own', '{"every_seconds": 3600, "job": {"kind": "own", "queue": "q"}}'),
		weir.set_schedule('theirs', '{"every_seconds": 3600, "job": {"kind": "k", "queue": "q", "tenant": "b"}}')`)
	s.Post("/v1/schedules/own/trigger", nil).Want(http.StatusCreated)
	s.Post("/v1/schedules/theirs/trigger", nil).Problem(http.StatusConflict, "tenant_mismatch")
	if n := s.Count("select count(*) from weir.jobs where kind = 'own' and tenant = 'a'"); n != 1 {
		t.Error("the job of a schedule has another tenant")
	}
}

// TestAQueueWithJobsOfOthersGetsNoTenant: in each place that a job can be in, and also where its transaction ends later.
func TestAQueueWithJobsOfOthersGetsNoTenant(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	refuse := func(queue string) {
		t.Helper()
		p := s.Do(http.MethodPatch, "/v1/queues/"+queue, obj{"tenant": "a"}).Problem(http.StatusConflict, "queue_not_empty")
		if !strings.Contains(p.Detail, "other tenants") {
			t.Errorf("it says %q", p.Detail)
		}
	}
	s.Enqueue(obj{"kind": "k", "queue": "ready"})
	s.Enqueue(obj{"kind": "k", "queue": "later", "delay_seconds": 3600, "tenant": "b"})
	s.Enqueue(obj{"kind": "k", "queue": "runs"})
	s.ClaimOne("runs")
	s.Kill(obj{"kind": "k", "queue": "died"})
	s.Submit(nil, obj{"name": "x", "kind": "k"}, obj{"name": "y", "kind": "k", "queue": "held", "depends_on": []string{"x"}})
	weirtest.Exec(t, s.DB, `select weir.set_queue('lines', '{"limits": {"concurrency": 1}}')`)
	s.EnqueueAll([]obj{{"kind": "k", "queue": "lines"}, {"kind": "k", "queue": "lines"}})
	for _, queue := range []string{"ready", "later", "runs", "died", "held", "lines"} {
		refuse(queue)
	}
	weirtest.Exec(t, s.DB, `select weir.set_queue('open', '{}')`)
	commit := s.ExecUncommitted(`select weir.enqueue('k', queue => 'open')`)
	s.Do(http.MethodPatch, "/v1/queues/open", obj{"tenant": "a"}).Problem(http.StatusServiceUnavailable, "unavailable")
	commit()
	refuse("open")
	s.Enqueue(obj{"kind": "k", "queue": "own", "tenant": "a"})
	s.EndedJob("ended", "complete", obj{})
	for _, queue := range []string{"own", "ended"} {
		s.Do(http.MethodPatch, "/v1/queues/"+queue, obj{"tenant": "a"}).Want(http.StatusOK)
	}
	s.Do(http.MethodPatch, "/v1/queues/own", obj{"tenant": "b"}).Problem(http.StatusConflict, "queue_not_empty")
	s.Do(http.MethodPatch, "/v1/queues/own", obj{"tenant": ""}).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "own", "tenant": "b"})
}

// TestJobsOfOthersDoNotComeBack into a queue that has got a tenant since they ended.
func TestJobsOfOthersDoNotComeBack(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(obj{"kind": "k", "queue": "q", "tenant": "b"})
	workflow := s.Submit(nil, obj{"name": "x", "kind": "k", "queue": "q"})
	s.Post("/v1/workflows/"+workflow+"/cancel", nil).Want(http.StatusOK)
	s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)
	own(t, s.DB, "q")
	s.Post("/v1/jobs/"+id+"/retry", nil).Problem(http.StatusConflict, "tenant_mismatch")
	s.Post("/v1/workflows/"+workflow+"/retry", nil).Problem(http.StatusConflict, "tenant_mismatch")
	s.Post("/v1/workflows/"+workflow+"/fork", obj{"from": []string{"x"}}).Problem(http.StatusConflict, "tenant_mismatch")
}

// TestNoWayLeadsIntoAnothersQueue: neither dead letters nor a circuit breaker.
func TestNoWayLeadsIntoAnothersQueue(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	own(t, d, "a1")
	for statement, column := range map[string]string{
		`weir.set_queue('x', '{"dead_letter_queue": "a1"}')`:                            "dead_letter_queue",
		`weir.set_queue('x', '{"dead_letter_queue": "a1", "tenant": "b"}')`:             "dead_letter_queue",
		`weir.set_breaker('x', '{"while_open": {"policy": "reroute", "queue": "a1"}}')`: "while_open.queue",
		`weir.set_queue('default', '{"tenant": "a"}')`:                                  "tenant",
		`weir.set_queue('x', '{"tenant": 1}')`:                                          "tenant",
		`weir.set_queue('x', jsonb_build_object('tenant', repeat('x', 201)))`:           "tenant",
	} {
		if err := weirtest.WantSQLState(t, weirtest.TryExec(d, "select "+statement), "WR010"); err.ColumnName != column {
			t.Errorf("%s: %+v", statement, err)
		}
	}
	weirtest.Exec(t, d, `select weir.set_queue('a2', '{"dead_letter_queue": "a1", "tenant": "a"}'), weir.set_queue('x', '{"dead_letter_queue": "y"}'),
		weir.set_breaker('b', '{"while_open": {"policy": "reroute", "queue": "z"}}')`)
	for _, queue := range []string{"y", "z"} {
		weirtest.WantSQLState(t, weirtest.TryExec(d, `select weir.set_queue($1, '{"tenant": "a"}')`, queue), "WR010")
	}
}

// TestATenantsKeysUseItsQueues: they see its figures, run it, and claim from it without naming it. Others do not.
func TestATenantsKeysUseItsQueues(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	own(t, s.DB, "q_a")
	weirtest.Exec(t, s.DB, "select weir.set_queue('shared')")
	a, b := s.AsNew("a", obj{"tenant": "a"}, all...), s.AsNew("b", obj{"tenant": "b"}, all...)
	a.Enqueue(obj{"kind": "k", "queue": "q_a"})
	listed := func(who *weirtest.Node) (names []string) {
		for _, q := range weirtest.Decode[struct {
			Items []struct{ Name, Tenant string }
		}](who.Get("/v1/queues").Want(http.StatusOK)).Items {
			names = append(names, q.Name+":"+q.Tenant)
		}
		return names
	}
	if got := listed(a); !slices.Equal(got, []string{"q_a:a"}) {
		t.Errorf("its key lists %v", got)
	}
	if got := listed(b); len(got) != 0 {
		t.Errorf("another's key lists %v", got)
	}
	for _, path := range []string{"", "/stats", "/limits", "/lines"} {
		a.Get("/v1/queues/q_a" + path).Want(http.StatusOK)
		hidden, missing := b.Get("/v1/queues/q_a"+path).Problem(http.StatusNotFound, "queue_not_found"), b.Get("/v1/queues/none"+path).Problem(http.StatusNotFound, "queue_not_found")
		if strings.Replace(hidden.Detail, "q_a", "none", 1) != missing.Detail {
			t.Errorf("another's queue gives %q, none %q", hidden.Detail, missing.Detail)
		}
		a.Get("/v1/queues/shared"+path).Problem(http.StatusNotFound, "queue_not_found")
	}
	for _, call := range []string{"POST /pause", "POST /resume", "POST /purge", "DELETE ", "PATCH "} {
		method, path, _ := strings.Cut(call, " ")
		b.Do(method, "/v1/queues/q_a"+path, obj{}).Problem(http.StatusNotFound, "queue_not_found")
	}
	a.Post("/v1/queues/q_a/pause", nil).Want(http.StatusOK)
	a.Post("/v1/queues/q_a/resume", nil).Want(http.StatusOK)
	a.Do(http.MethodPatch, "/v1/queues/q_a", obj{"priority": 7}).Want(http.StatusOK)
	a.Do(http.MethodPut, "/v1/queues/q_a", obj{"priority": 8}).Want(http.StatusOK)
	for _, tenant := range []string{"b", ""} {
		a.Do(http.MethodPatch, "/v1/queues/q_a", obj{"tenant": tenant}).Problem(http.StatusForbidden, "forbidden")
	}
	if got := weirtest.Value[string](t, s.DB, "select tenant from weir.queue where name = 'q_a'"); got != "a" {
		t.Errorf("the queue belongs to %q", got)
	}

	if got := a.Post("/v1/claims", obj{"worker": "w", "queues": []string{"q_a"}}).Want(http.StatusOK); !strings.Contains(string(got.Body), `"kind":"k"`) {
		t.Errorf("its worker claims %v", got)
	}
	for who, queue := range map[*weirtest.Node]string{a: "shared", b: "q_a"} {
		who.Post("/v1/claims", obj{"worker": "w", "queues": []string{queue}}).Problem(http.StatusForbidden, "forbidden")
	}
	named := s.AsNew("named", obj{"tenant": "b", "queues": []string{"*"}}, "worker")
	named.Post("/v1/claims", obj{"worker": "w", "queues": []string{"shared", "q_a"}}).Problem(http.StatusForbidden, "forbidden")
	named.Post("/v1/claims", obj{"worker": "w", "queues": []string{"shared"}}).Want(http.StatusOK)
	// Another's name is refused without a word of whose it is.
	if p := b.Post("/v1/jobs", obj{"kind": "k", "queue": "q_a"}).Problem(http.StatusConflict, "tenant_mismatch"); strings.Contains(fmt.Sprint(p), `"a"`) {
		t.Errorf("it tells %+v", p)
	}

	// In its own queue it may know what comes before a job.
	for range 2 {
		s.Enqueue(obj{"kind": "k", "queue": "q_a", "priority": 9})
	}
	id := a.Enqueue(obj{"kind": "k", "queue": "q_a", "priority": 1})
	if text := string(a.Get("/v1/jobs/" + id + "/why").Want(http.StatusOK).Body); !strings.Contains(text, `"ahead":2`) {
		t.Errorf("it is told %s", text)
	}
}

func TestAQueueGetsItsTenantOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("queue", "set", "q", "--replace", "--tenant", "acme").Says(0)
	s.CLI("queue", "show", "q").Says(0, "acme")
	s.CLI("queue", "set", "q", "priority=7").Says(0)
	s.CLI("queue", "set", "q", "--tenant", "").Says(0)
	s.CLI("queue", "set", "q").Says(2, "give a setting")
	if got := weirtest.Value[string](t, s.DB, "select coalesce(tenant, 'none') || priority from weir.queue where name = 'q'"); got != "none7" {
		t.Errorf("the queue is %s", got)
	}
}
