package tenant

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// needing is a job of a queue that needs the breaker `dep`.
func needing(queue string) obj { return obj{"kind": "k", "queue": queue, "breaker": "dep"} }

// twoTenants are keys of two tenants that share queues; s calls as an admin who is bound to nothing.
func twoTenants(t *testing.T) (s, a, b *weirtest.Node) {
	t.Helper()
	s = weirtest.StartNodeWithAuth(t)
	return s, s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, all...), s.AsNew("b", obj{"tenant": "b", "queues": []string{"*"}}, all...)
}

// TestATenantsFailuresOpenItsOwnBreaker, and not the one of the same name that another tenant has, nor the shared one.
func TestATenantsFailuresOpenItsOwnBreaker(t *testing.T) {
	t.Parallel()
	s, a, b := twoTenants(t)
	a.Do(http.MethodPut, "/v1/breakers/dep", obj{"failure_threshold": 2}).Want(http.StatusOK)
	stored := weirtest.Decode[struct{ ID, Breaker string }](a.Post("/v1/jobs", needing("qa")).Want(http.StatusCreated))
	batch := a.EnqueueAll([]obj{needing("qa"), needing("qa")})
	theirs, shared := b.Enqueue(needing("qb")), s.Enqueue(needing("qs"))
	for range 2 {
		j := a.ClaimOne("qa")
		a.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "m"}}).Want(http.StatusOK)
	}
	b.Get("/v1/breakers/dep").Want(http.StatusOK)
	a.WaitForBreaker("dep", "open")
	if got := a.Breaker("dep"); got.State != "open" || got.Name != "dep" || got.Tenant != "a" {
		t.Errorf("the tenant's breaker is %+v", got)
	}
	if got := b.Breaker("dep"); got.State != "closed" || got.Tenant != "b" {
		t.Errorf("the other tenant's breaker is %+v", got)
	}
	for query, want := range map[string]string{"": "closed ", "?tenant=a": "open a", "?tenant=b": "closed b"} {
		if got := s.Breaker("dep" + query); got.State+" "+got.Tenant != want || got.Name != "dep" {
			t.Errorf("an admin sees %q as %+v", query, got)
		}
	}
	if got := a.Claim(10, "qa"); len(got) != 0 {
		t.Errorf("jobs of an open breaker run: %+v", got)
	}
	for who, queue := range map[*weirtest.Node]string{b: "qb", s: "qs"} {
		if got := who.Claim(10, queue); len(got) != 1 {
			t.Errorf("%d jobs of others run in %s, want 1", len(got), queue)
		}
	}

	held := batch[1]
	for path, want := range map[string]string{"": `"breaker":"dep"`, "/why": "its circuit breaker dep is open", "/timeline": `"key":"dep"`} {
		if text := string(a.Get("/v1/jobs/" + held + path).Want(http.StatusOK).Body); !strings.Contains(text, want) || strings.Contains(text, "a/dep") {
			t.Errorf("%q tells the tenant %s", path, text)
		}
		if text := string(s.Get("/v1/jobs/" + held + path).Want(http.StatusOK).Body); !strings.Contains(text, "a/dep") {
			t.Errorf("%q tells an admin %s", path, text)
		}
	}
	if text := string(a.Get("/v1/jobs").Want(http.StatusOK).Body); strings.Count(text, `"breaker":"dep"`) != 3 {
		t.Errorf("the tenant lists %s", text)
	}
	if stored.Breaker != "dep" || b.Job(theirs).ID != theirs || s.Job(shared).ID != shared {
		t.Errorf("the answer to an enqueue has the breaker %q", stored.Breaker)
	}
	if got := breakersOf(t, s); !slices.Equal(got, []string{"a/dep", "b/dep", "dep"}) {
		t.Errorf("the jobs have the breakers %v", got)
	}
	lists(t, a, "/v1/breakers", "dep/a")
	lists(t, a, "/v1/breakers?tenant=b")
	lists(t, s, "/v1/breakers", "dep/a", "dep/b", "dep")
	lists(t, s, "/v1/breakers?tenant=b", "dep/b")
	lists(t, s, "/v1/breakers?limit=2", "dep/a", "dep/b")
	if s.Metric("weir_breaker_state", "breaker", "a/dep", "state", "open") != 1 {
		t.Error("the metrics do not have the tenant's breaker")
	}
}

// TestBreakersOfOthersAreNotFound, by any operation, with and without the parameter tenant.
func TestBreakersOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	s, a, b := twoTenants(t)
	b.Do(http.MethodPut, "/v1/breakers/of_b", obj{}).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/breakers/plain", obj{}).Want(http.StatusOK)
	s.DB.Unchanged("calls about breakers of others", func() {
		for _, query := range []string{"", "?tenant=b"} {
			for _, name := range []string{"of_b", "plain"} {
				for call, body := range map[string]obj{
					"GET ": nil, "PATCH ": {"open_seconds": 7}, "DELETE ": nil, "GET /events": nil, "POST /trip": {}, "POST /reset": {},
					"POST /pin": {"state": "open"}, "POST /report": {"outcome": "failure"},
				} {
					method, below, _ := strings.Cut(call, " ")
					hidden(t, a, method, "/v1/breakers/NAME"+below+query, name, body, "breaker_not_found")
				}
			}
		}
	})
	// A name is the caller's own, whatever the request says.
	a.Do(http.MethodPut, "/v1/breakers/of_b?tenant=b", obj{"failure_threshold": 9}).Want(http.StatusOK)
	if own, theirs := a.Breaker("of_b"), b.Breaker("of_b"); own.FailureThreshold != 9 || theirs.FailureThreshold != 5 {
		t.Errorf("the tenant has %+v, the other %+v", own, theirs)
	}
	for _, call := range []string{
		`PATCH  {"open_seconds": 7}`, `POST /trip {"reason": "r"}`, `POST /reset {}`, `POST /report {"outcome": "failure"}`, `POST /pin {"state": "closed"}`,
	} {
		part := strings.SplitN(call, " ", 3)
		if r := a.Do(part[0], "/v1/breakers/of_b"+part[1], part[2]).Want(http.StatusOK); !strings.Contains(string(r.Body), `"name":"of_b","tenant":"a"`) {
			t.Errorf("%s: %v", call, r)
		}
	}
	for call, code := range map[string]string{"POST /trip": "breaker_pinned", "POST /reset": "breaker_pinned"} {
		method, below, _ := strings.Cut(call, " ")
		if p := a.Do(method, "/v1/breakers/of_b"+below, obj{}).Problem(http.StatusConflict, code); strings.Contains(p.Detail, "a/") {
			t.Errorf("it is told %q", p.Detail)
		}
	}
	a.Post("/v1/breakers/of_b/pin", obj{"state": "none"}).Want(http.StatusOK)
	if text := string(a.Get("/v1/breakers/of_b/events").Want(http.StatusOK).Body); !strings.Contains(text, `"breaker":"of_b"`) || strings.Contains(text, "a/of_b") {
		t.Errorf("its events are %s", text)
	}
	if got := s.Count("select count(*) from weir.audit where object = 'breakers/of_b?tenant=a'"); got < 5 {
		t.Errorf("the audit trail has %d entries of it", got)
	}
	s.Eventually("the tenant deletes its own", func() bool {
		return a.Do(http.MethodDelete, "/v1/breakers/of_b", nil).Status == http.StatusNoContent
	})
	b.Get("/v1/breakers/of_b").Want(http.StatusOK)
}

// TestKeysOfQueuesHaveNoBreakers: a breaker serves all queues of its tenant.
func TestKeysOfQueuesHaveNoBreakers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for i, bound := range []obj{{"queues": []string{"q*"}}, {"queues": []string{"q*"}, "tenant": "a"}} {
		key := s.AsNew(fmt.Sprint("k", i), bound, all...)
		key.Get("/v1/breakers").Problem(http.StatusForbidden, "forbidden")
		key.Do(http.MethodPut, "/v1/breakers/x", obj{}).Problem(http.StatusForbidden, "forbidden")
		key.Post("/v1/breakers/x/report", obj{"outcome": "failure"}).Problem(http.StatusForbidden, "forbidden")
		key.Enqueue(needing("q"))
	}
	if got := breakersOf(t, s); !slices.Equal(got, []string{"a/dep", "dep"}) {
		t.Errorf("the jobs have the breakers %v", got)
	}
	worker := s.AsNew("w", obj{"tenant": "a"}, "worker")
	worker.Post("/v1/breakers/dep/report", obj{"outcome": "failure"}).Want(http.StatusOK)
	worker.Post("/v1/breakers/dep/trip", obj{}).Problem(http.StatusForbidden, "forbidden")
}

// TestATenantsQueueHasItsBreaker, and no queue has that of another tenant.
func TestATenantsQueueHasItsBreaker(t *testing.T) {
	t.Parallel()
	s, a, _ := twoTenants(t)
	own(t, s.DB, "qa")
	for _, breaker := range []string{"dep", "a/dep"} {
		q := weirtest.Decode[struct{ Breaker string }](a.Do(http.MethodPatch, "/v1/queues/qa", obj{"breaker": breaker}).Want(http.StatusOK))
		if q.Breaker != "dep" {
			t.Errorf("the tenant sees its queue with the breaker %q", q.Breaker)
		}
	}
	if q := weirtest.Decode[struct{ Breaker string }](s.Get("/v1/queues/qa")); q.Breaker != "a/dep" {
		t.Errorf("an admin sees the queue with the breaker %q", q.Breaker)
	}
	if got := a.Breaker("dep").Queues; !slices.Equal(got, []string{"qa"}) {
		t.Errorf("the breaker has the queues %v", got)
	}
	a.Enqueue(obj{"kind": "k", "queue": "qa"})
	a.Post("/v1/breakers/dep/trip", obj{}).Want(http.StatusOK)
	if got := a.Claim(1, "qa"); len(got) != 0 {
		t.Errorf("a queue of an open breaker gives %v", got)
	}
	s.DB.Unchanged("breakers of others", func() {
		refusedAt(t, a.Do(http.MethodPatch, "/v1/queues/qa", obj{"breaker": "b/dep"}), "body.breaker")
		refusedAt(t, s.Do(http.MethodPatch, "/v1/queues/qa", obj{"breaker": "b/dep"}), "body.breaker")
		refusedAt(t, s.Do(http.MethodPut, "/v1/queues/shared", obj{"breaker": "a/dep"}), "body.breaker")
		refusedAt(t, s.Do(http.MethodPatch, "/v1/queues/qa", obj{"tenant": ""}), "body.tenant")
	})
	s.Do(http.MethodPatch, "/v1/queues/qa", obj{"breaker": "shared"}).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/queues/other", obj{"tenant": "a", "breaker": "a/dep"}).Want(http.StatusOK)
}

// TestATenantsBreakerSendsJobsToItsQueues, or to shared ones, and that of another to none of its queues.
func TestATenantsBreakerSendsJobsToItsQueues(t *testing.T) {
	t.Parallel()
	s, a, b := twoTenants(t)
	own(t, s.DB, "qa")
	reroute := func(queue string) obj {
		return obj{"failure_threshold": 1, "while_open": obj{"policy": "reroute", "queue": queue}}
	}
	s.DB.Unchanged("routes into a queue of another", func() {
		refusedAt(t, b.Do(http.MethodPut, "/v1/breakers/dep", reroute("qa")), "body.while_open.queue")
		refusedAt(t, s.Do(http.MethodPut, "/v1/breakers/dep", reroute("qa")), "body.while_open.queue")
	})
	for _, queue := range []string{"spare", "qa"} {
		a.Do(http.MethodPut, "/v1/breakers/dep", reroute(queue)).Want(http.StatusOK)
		a.Do(http.MethodPut, "/v1/breakers/dep", reroute(queue)).Want(http.StatusOK)
	}
	a.Post("/v1/breakers/dep/trip", obj{}).Want(http.StatusOK)
	id := a.Enqueue(needing("q"))
	a.Claim(1, "q")
	if j := a.Job(id); j.Queue != "qa" {
		t.Errorf("the job is in %s", j.Queue)
	}
	if text := string(a.Get("/v1/jobs/" + id + "/timeline").Body); !strings.Contains(text, `"breaker":"dep"`) || strings.Contains(text, "a/dep") {
		t.Errorf("its timeline is %s", text)
	}
	// A queue that a breaker sends jobs to gets that breaker's tenant, and no other.
	b.Do(http.MethodPut, "/v1/breakers/dep", reroute("qb")).Want(http.StatusOK)
	refusedAt(t, s.Do(http.MethodPatch, "/v1/queues/qb", obj{"tenant": "a"}), "body.tenant")
	s.Do(http.MethodPatch, "/v1/queues/qb", obj{"tenant": "b"}).Want(http.StatusOK)
	if got := weirtest.Values[string](t, s.DB, "select name from weir.queue where declared and name in ('spare', 'qb') order by 1"); !slices.Equal(got, []string{"qb"}) {
		t.Errorf("queues that an operator is said to have created: %v", got)
	}
	// It does not expire, so that jobs do not go nowhere.
	s.Exec("update weir.queue set created_at = now() - interval '30 days'")
	s.Exec("update weir.breaker set while_open = '{\"policy\": \"reroute\", \"queue\": \"spare\"}' where name = 'a/dep'")
	s.Exec("select weir.expire_names()")
	if n := s.Count("select count(*) from weir.queue where name = 'spare' and deleted_at is null"); n != 1 {
		t.Error("a queue that a breaker sends jobs to has expired")
	}
}

// TestNoTenantGetsAnothersResult: with the policy complete_last_result, of a breaker that tenants share.
func TestNoTenantGetsAnothersResult(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/breakers/dep", obj{"while_open": obj{"policy": "complete_last_result"}}).Want(http.StatusOK)
	job := func(tenant string) obj {
		j := needing("q")
		if tenant != "" {
			j["tenant"] = tenant
		}
		return j
	}
	s.Enqueue(job("a"))
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "result": obj{"of": "a"}}).Want(http.StatusOK)
	s.Post("/v1/breakers/dep/trip", obj{}).Want(http.StatusOK)
	ids := s.EnqueueAll([]obj{job("a"), job("b"), job("")})
	var states []string
	s.Eventually("the jobs have left the queue", func() bool {
		s.Claim(3, "q")
		states = nil
		for _, id := range ids {
			states = append(states, s.Job(id).State)
		}
		return !slices.Contains(states, "available")
	})
	if !slices.Equal(states, []string{"completed", "held", "held"}) {
		t.Errorf("jobs of a, b and none are %v", states)
	}
}

// TestATenantHearsOfItsBreakers: of no other's, and by their names.
func TestATenantHearsOfItsBreakers(t *testing.T) {
	t.Parallel()
	s, a, b := twoTenants(t)
	for _, who := range []*weirtest.Node{s, a, b} {
		who.Do(http.MethodPut, "/v1/breakers/dep", obj{}).Want(http.StatusOK)
	}
	live, hangUp := a.WatchEvents("", "")
	defer hangUp()
	every, hangUpAll := s.WatchEvents("", "")
	defer hangUpAll()
	a.Enqueue(obj{"kind": "k"})
	a.NextEvents(live, 1)
	s.NextEvents(every, 1)
	for _, who := range []*weirtest.Node{s, b, a} {
		who.Post("/v1/breakers/dep/trip", obj{}).Want(http.StatusOK)
	}
	if e := a.NextEvents(live, 1)[0]; e.Name != "breaker_opened" || e.Data.Breaker != "dep" {
		t.Errorf("the tenant hears %+v", e)
	}
	var heard []string
	for _, e := range s.NextEvents(every, 3) {
		heard = append(heard, e.Data.Breaker)
	}
	slices.Sort(heard)
	if !slices.Equal(heard, []string{"a/dep", "b/dep", "dep"}) {
		t.Errorf("an admin hears of %v", heard)
	}
}
