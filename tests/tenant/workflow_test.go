package tenant

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWorkflowsOfOthersAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		wait := obj{"name": "wait", "wait_for": obj{"signal": "go"}}
		mine := a.Submit(nil, obj{"name": "one", "kind": "k", "queue": a.queue}, wait)
		theirs := b.Submit(nil, obj{"name": "one", "kind": "k", "queue": b.queue})
		ofAdmin := s.Submit(nil, obj{"name": "one", "kind": "k"})
		sees(t, a.Node, "/v1/workflows", mine)
		sees(t, b.Node, "/v1/workflows", theirs)
		sees(t, b.Node, "/v1/workflows?state=running", theirs)
		sees(t, s, "/v1/workflows", mine, theirs, ofAdmin)
		for _, path := range []string{"", "/graph", "/timeline", "/steps"} {
			hidden := b.Get("/v1/workflows/"+mine+path).Problem(http.StatusNotFound, "workflow_not_found")
			missing := b.Get("/v1/workflows/999999"+path).Problem(http.StatusNotFound, "workflow_not_found")
			if strings.ReplaceAll(hidden.Detail, mine, "999999") != missing.Detail {
				t.Errorf("%s: another's workflow gives %q, none %q", path, hidden.Detail, missing.Detail)
			}
			a.Get("/v1/workflows/" + mine + path).Want(http.StatusOK)
			a.Get("/v1/workflows/"+ofAdmin+path).Problem(http.StatusNotFound, "workflow_not_found")
		}
		for path, body := range map[string]obj{"cancel": {}, "retry": {}, "fork": {"from": []string{"one"}}, "signals/go": {}} {
			b.Post("/v1/workflows/"+mine+"/"+path, body).Problem(http.StatusNotFound, "workflow_not_found")
		}
		if w := s.Workflow(mine); w.State != "running" || w.Waiting != 2 {
			t.Errorf("another has changed the workflow: %+v", w)
		}
		a.Post("/v1/workflows/"+mine+"/signals/go", obj{}).Want(http.StatusOK)
		fork := weirtest.Decode[weirtest.Workflow](a.Post("/v1/workflows/"+mine+"/fork", obj{"from": []string{"one"}}).Want(http.StatusCreated)).ID
		b.Get("/v1/workflows/"+fork).Problem(http.StatusNotFound, "workflow_not_found")
		sees(t, a.Node, "/v1/workflows", mine, fork)
		a.Post("/v1/workflows/"+mine+"/cancel", nil).Want(http.StatusOK)
	})
}

// TestStepsHaveTheTenantOfTheirWorkflow looks at steps, at those of child workflows, and at what is added or started while
// it runs.
func TestStepsHaveTheTenantOfTheirWorkflow(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", obj{"tenant": "a", "queues": []string{"*"}}, all...), s.AsNew("b", obj{"tenant": "b"}, all...)
	producer := s.AsNew("p", obj{"tenant": "a"}, "producer")
	step := func(name string) obj { return obj{"name": name, "kind": "k", "queue": "q", "tenant": "b"} }
	id := producer.Submit(nil, step("first"), obj{"name": "child", "workflow": obj{"name": "c", "steps": []obj{step("inner")}}})
	if w := weirtest.Decode[struct{ Tenant string }](producer.Get("/v1/workflows/" + id)); w.Tenant != "a" {
		t.Errorf("the workflow is of tenant %q", w.Tenant)
	}
	s.Eventually("the child workflow starts", func() bool { return s.Count("select count(*) from weir.workflow where parent_job_id is not null") == 1 })
	s.Settle()
	jobs := a.Claim(10, "q")
	i := slices.IndexFunc(jobs, func(j weirtest.ClaimedJob) bool {
		return s.Count("select count(*) from weir.job where id = $1 and step = 'first'", j.ID) == 1
	})
	if len(jobs) != 2 || i < 0 {
		t.Fatalf("claimed %+v", jobs)
	}
	first := jobs[i]
	a.Post("/v1/workflows/"+id+"/steps", obj{"job_id": first.ID, "token": first.Token, "steps": []obj{step("added")}}).Want(http.StatusCreated)
	a.Post("/v1/jobs/"+first.ID+"/complete", obj{"token": first.Token, "add_steps": []obj{step("added_2")}}).Want(http.StatusOK)
	for _, j := range a.Claim(1, "q") {
		a.Post("/v1/jobs/"+j.ID+"/workflow", obj{"token": j.Token, "workflow": obj{"name": "started", "steps": []obj{step("inner")}}}).Want(http.StatusCreated)
	}
	if n := s.Count("select count(*) from weir.job where tenant is distinct from 'a'"); n != 0 {
		t.Errorf("%d steps are not of the tenant", n)
	}
	if n := s.Count("select count(distinct id) from weir.workflow where tenant = 'a'"); n != 3 {
		t.Errorf("%d workflows are of the tenant, want 3", n)
	}
	if n := len(ids(producer.Get("/v1/workflows"))); n != 3 {
		t.Errorf("the producer sees %d workflows, want its own and its children: 3", n)
	}
	if n := len(ids(producer.Get("/v1/jobs"))); n != s.Count("select count(*) from weir.job") {
		t.Errorf("the producer sees %d jobs", n)
	}
	sees(t, b, "/v1/workflows")
	sees(t, b, "/v1/jobs")
}

// TestAWorkflowOfAnAdminBelongsToTheTenantOfAllItsSteps: to none if they differ.
func TestAWorkflowOfAnAdminBelongsToTheTenantOfAllItsSteps(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a"}, "reader")
	step := func(name string, tenant any) obj { return obj{"name": name, "kind": "k", "tenant": tenant} }
	mine := s.Submit(nil, step("one", "a"), step("two", "a"))
	s.Submit(nil, step("one", "a"), step("two", "b"))
	s.Submit(nil, step("one", "a"), obj{"name": "two", "kind": "k"})
	sees(t, a, "/v1/workflows", mine)
}

func TestQueuesOfStepsAreChecked(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"queues": []string{"mail*"}}, all...)
	good, bad := obj{"name": "a", "kind": "k", "queue": "mail"}, obj{"name": "b", "kind": "k", "queue": "other"}
	refused := func(place string, steps ...obj) {
		t.Helper()
		p := a.Post("/v1/workflows", obj{"name": "w", "steps": steps}).Problem(http.StatusForbidden, "forbidden")
		if len(p.Errors) != 1 || p.Errors[0].Location != place {
			t.Errorf("got %+v, want an error at %s", p, place)
		}
	}
	refused("body.steps[1].queue", good, bad)
	refused("body.steps[0].queue", obj{"name": "a", "kind": "k"})
	refused("body.steps[1].workflow.steps[0].queue", good, obj{"name": "c", "workflow": obj{"name": "x", "steps": []obj{bad}}})
	refused("body.steps[0].queue", obj{"name": "c", "queue": "other", "wait_for": obj{"signal": "s"}})
	id := a.Submit(nil, good, obj{"name": "c", "workflow": obj{"name": "x", "steps": []obj{good}}})
	j := a.ClaimOne("mail")
	a.Post("/v1/workflows/"+id+"/steps", obj{"job_id": j.ID, "token": j.Token, "steps": []obj{bad}}).Problem(http.StatusForbidden, "forbidden")
	a.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token, "add_steps": []obj{bad}}).Problem(http.StatusForbidden, "forbidden")
	a.Post("/v1/jobs/"+j.ID+"/workflow", obj{"token": j.Token, "workflow": obj{"name": "w", "steps": []obj{bad}}}).Problem(http.StatusForbidden, "forbidden")
	if n := s.Count("select count(*) from weir.job where step = 'b'"); n != 0 {
		t.Errorf("%d steps wait in a queue that the key may not use", n)
	}
}

// TestAProducerSeesOnlyWhatItSubmitted also signals.
func TestAProducerSeesOnlyWhatItSubmitted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a, b := s.AsNew("a", nil, "producer"), s.AsNew("b", nil, "producer")
	id := a.Submit(nil, obj{"name": "a", "wait_for": obj{"signal": "s"}})
	sees(t, a, "/v1/workflows", id)
	sees(t, b, "/v1/workflows")
	for _, path := range []string{"", "/graph", "/timeline", "/steps"} {
		a.Get("/v1/workflows/" + id + path).Want(http.StatusOK)
		b.Get("/v1/workflows/"+id+path).Problem(http.StatusNotFound, "workflow_not_found")
	}
	b.Post("/v1/workflows/"+id+"/signals/s", obj{}).Problem(http.StatusNotFound, "workflow_not_found")
	a.Post("/v1/workflows/"+id+"/signals/s", obj{}).Want(http.StatusOK)
	for _, more := range []obj{{"principal": 1}, {"tenant": "b"}} {
		body := obj{"name": "w", "steps": []obj{{"name": "a", "kind": "k"}}}
		for k, v := range more {
			body[k] = v
		}
		a.Post("/v1/workflows", body).Want(http.StatusUnprocessableEntity)
	}
	a.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "a", "kind": "k", "principal": 1}}}).Want(http.StatusUnprocessableEntity)
}

// TestAWorkflowsIdempotencyKeyIsItsTenants submits with the same key for two tenants.
func TestAWorkflowsIdempotencyKeyIsItsTenants(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	seen := map[string]bool{}
	for _, caller := range []*weirtest.Node{s, s.AsNew("a", obj{"tenant": "a"}, "producer"), s.AsNew("b", obj{"tenant": "b"}, "producer")} {
		var got [2]string
		for i := range got {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, caller.URL+"/v1/workflows", strings.NewReader(`{"name": "w", "steps": [{"name": "a", "kind": "k"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", "key")
			answer, err := caller.SendRequest(r)
			if err != nil {
				t.Fatal(err)
			}
			got[i] = weirtest.Decode[weirtest.Workflow](answer).ID
		}
		if got[0] == "" || got[0] != got[1] || seen[got[0]] {
			t.Errorf("the workflows are %v, those before %v", got, seen)
		}
		seen[got[0]] = true
	}
}
