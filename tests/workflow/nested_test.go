package workflow

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestStepAddsStepsWithItsCompletion(t *testing.T) {
	t.Parallel()
	t.Run("SQL", stepAddsStepsWithItsCompletionSQL)
	t.Run("REST", stepAddsStepsWithItsCompletionREST)
}

func stepAddsStepsWithItsCompletionSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("list", ""), step("other", ""), step("report", "list"))
	list := claimStep(t, d, "list")
	add := func(q weirtest.Querier, steps ...string) error {
		return weirtest.TryExec(q, "select weir.add_steps($1, $2, $3)", list.ID, list.Token, "["+strings.Join(steps, ",")+"]")
	}
	tx := d.Tx()
	if err := add(tx, step("m1", "list"), step("m2", "list"), step("join", "m1,m2,other")); err != nil {
		t.Fatal(err)
	}
	list.Call(t, tx, "complete($1, $2, '[1, 2]')")
	weirtest.Commit(t, tx)
	wantStates(t, d, w, "list completed, other available, report available, m1 available, m2 available, join held")
	if got := weirtest.Value[string](t, d, "select added_by from weir.workflow_steps where name = 'm1'"); got != "list" {
		t.Errorf("m1 was added by %s", got)
	}
	weirtest.WantSQLState(t, add(d, step("m3", "")), "WR001")

	m1 := claimStep(t, d, "m1")
	list = m1
	for field, steps := range map[string][]string{
		"steps[1].name":          {step("x", ""), step("other", "")},
		"steps[0].depends_on[0]": {step("x", "nobody")},
		"steps[0].kind":          {`{"name": "x"}`},
	} {
		if e := weirtest.WantSQLState(t, add(d, steps...), "WR010"); e.ColumnName != field {
			t.Errorf("the field is %q, want %q: %s", e.ColumnName, field, e.Message)
		}
	}
	// On a step that has ended, on one that is held, on none.
	if err := add(d, step("x", "other,m1"), step("y", "report"), step("z", ""), step("end", "join,y,z")); err != nil {
		t.Fatal(err)
	}
	wantStates(t, d, w, "list completed, other available, report available, m1 running, m2 available, join held, x held, y held, z available, end held")
	weirtest.Complete(t, d, m1)
	runSteps(t, d, "other,report,m2,x,y,z,join,end")
	wantWorkflow(t, d, w, "completed")

	plain := weirtest.EnqueueOne(t, d, "plain")
	j := weirtest.ClaimOne(t, d, "plain")
	if plain == j.ID {
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.add_steps($1, $2, $3)", j.ID, j.Token, "["+step("x", "")+"]"), "WR054")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.start_workflow($1, $2, $3)", j.ID, j.Token, definition("", step("x", ""))), "WR054")
	}
}

func stepAddsStepsWithItsCompletionREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, stepOf("list", "q"))
	j := s.ClaimOne("q")
	complete := func(token string, steps ...obj) *weirtest.Response {
		return s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": token, "result": []int{1, 2}, "add_steps": steps})
	}
	p := complete(j.Token, stepOf("m1", "q", "list"), stepOf("m2", "q", "nobody")).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if p.Errors[0].Location != "body.add_steps[1].depends_on[0]" {
		t.Errorf("%+v", p)
	}
	complete("1234567", stepOf("m1", "q")).Problem(http.StatusConflict, "stale_token")
	if got := s.Workflow(w); got.Steps != 1 || got.Running != 1 {
		t.Errorf("a refused completion left %+v", got)
	}
	complete(j.Token, stepOf("m1", "q", "list"), stepOf("m2", "q", "list"), stepOf("join", "q", "m1", "m2")).Want(http.StatusOK)
	if got := s.Workflow(w); got.Steps != 4 || got.Completed != 1 {
		t.Errorf("after it the workflow is %+v", got)
	}
	for range 3 {
		j := s.ClaimOne("q")
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	}
	if got := s.Workflow(w); got.State != "completed" {
		t.Errorf("at the end it is %+v", got)
	}
	plain := s.Enqueue(obj{"kind": "k", "queue": "plain"})
	j = s.ClaimOne("plain")
	complete(j.Token, stepOf("x", "q")).Problem(http.StatusConflict, "not_a_step")
	s.Post("/v1/jobs/"+plain+"/workflow", obj{"token": j.Token, "workflow": obj{"name": "v", "steps": []obj{stepOf("x", "q")}}}).Problem(http.StatusConflict, "not_a_step")
}

func TestNestedWorkflowEndsItsStep(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), `{"name": "sub", "depends_on": ["a"], "workflow": `+definition("", step("p", ""), step("q", "p"))+`}`, step("z", "sub"))
	runSteps(t, d, "a")
	child := weirtest.Value[int64](t, d, "select child_workflow_id from weir.workflow_steps where name = 'sub'")
	wantStates(t, d, w, "a completed, sub held, z held")
	wantStates(t, d, child, "p available, q held")
	runSteps(t, d, "!p")
	wantWorkflow(t, d, child, "failed")
	wantWorkflow(t, d, w, "failed")

	weirtest.Exec(t, d, "select weir.retry_workflow($1)", w) // continues the workflow that it has
	wantStates(t, d, w, "a completed, sub held, z held")
	wantStates(t, d, child, "p available, q held")
	runSteps(t, d, "p,q")
	got := weirtest.Values[string](t, d, "select dependencies::text from weir.claim(array['default'], 'w', 10)")
	if want := fmt.Sprintf(`{"sub": {"state": "completed", "results": {"q": "q"}, "workflow_id": "%d"}}`, child); len(got) != 1 || got[0] != want {
		t.Fatalf("the step after it gets %q, want %s", got, want)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	wantWorkflow(t, d, w, "completed")
}

func TestRunningStepStartsWorkflowAndWaits(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", "a"))
	a := claimStep(t, d, "a")
	child := weirtest.Value[int64](t, d, "select weir.start_workflow($1, $2, $3)", a.ID, a.Token, definition("", step("p", "")))
	wantStates(t, d, w, "a held, b held")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", a.ID, a.Token), "WR001")
	p := claimStep(t, d, "p")
	grandchild := weirtest.Value[int64](t, d, "select weir.start_workflow($1, $2, $3)", p.ID, p.Token, definition("", step("q", "")))
	if got := weirtest.Value[string](t, d, "select array_agg(id order by id)::text from weir.workflows where parent_workflow_id is not null"); got != fmt.Sprintf("{%d,%d}", child, grandchild) {
		t.Errorf("the workflows within are %s", got)
	}
	runSteps(t, d, "q,b")
	wantWorkflow(t, d, grandchild, "completed")
	wantWorkflow(t, d, child, "completed")
	wantWorkflow(t, d, w, "completed")
}

func TestCancelReachesNestedWorkflows(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	inner := definition("", step("p", ""), `{"name": "deep", "workflow": `+definition("", step("q", ""))+`}`)
	w := submit(t, d, "", `{"name": "sub", "workflow": `+inner+`}`, step("z", "sub"))
	q := claimStep(t, d, "q")
	weirtest.Exec(t, d, "select weir.cancel_workflow($1)", w)
	if got := weirtest.Value[string](t, d, "select string_agg(state, ', ' order by id) from weir.workflows"); got != "cancelled, cancelled, stopping" {
		t.Errorf("the workflows are %s", got)
	}
	weirtest.Exec(t, d, "select weir.release($1, $2)", q.ID, q.Token)
	if got := weirtest.Value[string](t, d, "select string_agg(state, ', ' order by id) from weir.workflows"); got != "cancelled, cancelled, cancelled" {
		t.Errorf("the workflows are %s", got)
	}
	weirtest.CheckWorkflows(t, d)
}
