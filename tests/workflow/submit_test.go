package workflow

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestInvalidWorkflowIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", invalidWorkflowIsRefusedSQL)
	t.Run("REST", invalidWorkflowIsRefusedREST)
}

func invalidWorkflowIsRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	many := make([]string, 11)
	for i := range many {
		many[i] = step(fmt.Sprint("s", i), "")
	}
	for name, c := range map[string]struct{ definition, field, says string }{
		"no object":                {`[]`, "definition", "must be an object"},
		"no name":                  {`{"steps": []}`, "name", "must be"},
		"no steps":                 {`{"name": "w", "steps": []}`, "steps", "at least one"},
		"unknown field":            {definition(`"x": 1`, step("a", "")), "x", "is not a field"},
		"policy":                   {definition(`"on_failure": "hope"`, step("a", "")), "on_failure", "must be fail_fast, continue or compensate"},
		"deadline":                 {definition(`"deadline_seconds": -1`, step("a", "")), "deadline_seconds", "must be"},
		"step is no object":        {definition("", `7`), "steps[0]", "must be an object"},
		"no kind":                  {definition("", `{"name": "a"}`), "steps[0].kind", "is required"},
		"two kinds":                {definition("", step("a", "", `"wait_for": {"signal": "s"}`)), "steps[0].kind", "in its place"},
		"a job's field":            {definition("", step("a", ""), step("b", "", `"priority": 11`)), "steps[1].priority", "1 to 10"},
		"unknown field of a step":  {definition("", step("a", "", `"depends": []`)), "steps[0].depends", "is no field"},
		"unique key":               {definition("", step("a", "", `"unique": {"key": "k"}`)), "steps[0].unique", "not a field of a step"},
		"needs":                    {definition("", step("a", "", `"needs": "some"`)), "steps[0].needs", "completed, ended or any"},
		"dependencies no array":    {definition("", step("a", "", `"depends_on": "b"`)), "steps[0].depends_on", "array of names"},
		"duplicate name":           {definition("", step("a", ""), step("b", ""), step("a", "")), "steps[2].name", "is the name of steps[0] too"},
		"unknown name":             {definition("", step("a", ""), step("b", "a,c")), "steps[1].depends_on[1]", "names no step"},
		"twice the same":           {definition("", step("a", ""), step("b", "a,a")), "steps[1].depends_on[1]", "the same step twice"},
		"itself":                   {definition("", step("a", "a")), "steps[0].depends_on[0]", "is the step itself"},
		"cycle of two":             {definition("", step("a", "b"), step("b", "a")), "steps[0].depends_on[0]", "closes a cycle: a -> b -> a"},
		"cycle behind others":      {definition("", step("x", "c"), step("r", ""), step("a", "r,c"), step("b", "a"), step("c", "b")), "steps[2].depends_on[1]", "closes a cycle: a -> b -> c -> a"},
		"wait for nothing":         {definition("", `{"name": "a", "wait_for": {}}`), "steps[0].wait_for", "one of signal, seconds and until"},
		"wait for two":             {definition("", `{"name": "a", "wait_for": {"signal": "s", "seconds": 1}}`), "steps[0].wait_for", "one of"},
		"timeout without signal":   {definition("", `{"name": "a", "wait_for": {"seconds": 1, "timeout_seconds": 1}}`), "steps[0].wait_for", "only with a signal"},
		"a worker's delay":         {definition("", `{"name": "a", "wait_for": {"seconds": 1}, "delay_seconds": 1}`), "steps[0].delay_seconds", "goes only with a kind"},
		"unknown compensation":     {definition("", step("a", "", `"compensation": "b"`)), "steps[0].compensation", "must name another"},
		"compensation with others": {definition("", step("a", "", `"compensation": "c"`), step("b", ""), step("c", "b")), "steps[0].compensation", "has dependencies"},
		"compensation of two":      {definition("", step("a", "", `"compensation": "c"`), step("b", "", `"compensation": "c"`), step("c", "")), "steps[1].compensation", "already the compensation of another"},
		"a workflow within":        {definition("", `{"name": "a", "workflow": {"name": "i", "steps": [{"name": "x", "kind": "x", "depends_on": ["y"]}]}}`), "steps[0].workflow.steps[0].depends_on[0]", "names no step"},
		"a workflow without steps": {definition("", `{"name": "a", "workflow": {"name": "i"}}`), "steps[0].workflow.steps", "must be an array"},
	} {
		t.Run(name, func(t *testing.T) {
			e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.submit_workflow($1)", c.definition), "WR010")
			if e.ColumnName != c.field || !strings.Contains(e.Message, c.says) {
				t.Errorf("the field is %q, the message %q; want %q and %q", e.ColumnName, e.Message, c.field, c.says)
			}
		})
	}
	weirtest.Exec(t, d, fmt.Sprintf("alter database %s set weir.max_steps = 10", d.Config().ConnConfig.Database))
	tx := d.Tx()
	weirtest.Exec(t, tx, "set local weir.max_steps = 1000000") // no session raises it
	e := weirtest.WantSQLState(t, weirtest.TryExec(tx, "select weir.submit_workflow($1)", definition("", many...)), "WR010")
	if e.ColumnName != "steps" || !strings.Contains(e.Message, "more than 10 steps") {
		t.Errorf("too many steps: %q %q", e.ColumnName, e.Message)
	}
	weirtest.Rollback(t, tx)
	if n := weirtest.Value[int](t, d, "select (select count(*) from weir.job) + (select count(*) from weir.workflow) + (select count(*) from weir.workflow_step) + (select count(*) from weir.queue)"); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
}

func invalidWorkflowIsRefusedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, c := range []struct {
		body     any
		location string
		says     string
	}{
		{obj{"name": "w", "steps": []obj{stepOf("a", "q", "b"), stepOf("b", "q", "a")}}, "body.steps[0].depends_on[0]", "closes a cycle: a -> b -> a"},
		{obj{"name": "w", "steps": []obj{stepOf("a", "q", "zz")}}, "body.steps[0].depends_on[0]", "names no step"},
		{obj{"name": "w", "steps": []obj{stepOf("a", "q"), stepOf("a", "q")}}, "body.steps[1].name", "is the name of steps[0] too"},
		{`{"name": "w", "steps": [{"name": "a", "kind": "k", "prio": 1}]}`, "body.steps[0].prio", "unexpected property"},
		{`{"name": "w", "steps": [{"name": "a", "kind": "k", "priority": 11}]}`, "body.steps[0].priority", "<= 10"},
		{`{"name": "w", "steps": [{"name": "a", "workflow": {"name": "v", "steps": [{"name": "b"}]}}]}`, "body.steps[0].workflow.steps[0].kind", "is required"},
		{`{"name": "w", "steps": []}`, "body.steps", ""},
		{`{"name": "w", "steps": [{"name": "a", "wait_for": {"signal": "s", "seconds": 1}}]}`, "body.steps[0].wait_for", "one of signal"},
	} {
		p := s.Post("/v1/workflows", c.body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) == 0 || p.Errors[0].Location != c.location || !strings.Contains(p.Errors[0].Message, c.says) {
			t.Errorf("%v: %+v, want %s: %s", c.body, p.Errors, c.location, c.says)
		}
	}
	if n := s.Count("select count(*) from weir.workflow"); n != 0 {
		t.Errorf("%d workflows were stored", n)
	}
	for _, path := range []string{"", "/graph", "/steps", "/timeline"} {
		s.Get("/v1/workflows/4711"+path).Problem(http.StatusNotFound, "workflow_not_found")
	}
	for _, path := range []string{"/cancel", "/retry", "/signals/x"} {
		s.Post("/v1/workflows/4711"+path, nil).Problem(http.StatusNotFound, "workflow_not_found")
	}
	s.Post("/v1/workflows/4711/fork", `{"from": ["a"]}`).Problem(http.StatusNotFound, "workflow_not_found")
}

func TestLongCycleIsFound(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	steps := make([]string, 3000)
	for i := range steps {
		steps[i] = step(fmt.Sprint("s", i), fmt.Sprint("s", (i+len(steps)-1)%len(steps)))
	}
	e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.submit_workflow($1)", definition("", steps...)), "WR010")
	if !strings.Contains(e.Message, "s0 -> s1 -> s2 -> ") && !strings.Contains(e.Message, " -> s2998 -> s2999 -> s0") {
		t.Errorf("the message is %q", e.Message)
	}
}

func TestSubmissionIsIdempotent(t *testing.T) {
	t.Parallel()
	t.Run("SQL", submissionIsIdempotentSQL)
	t.Run("REST", submissionIsIdempotentREST)
}

func submissionIsIdempotentSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	first := submit(t, d, `"idempotency_key": "k"`, step("a", ""))
	if again := submit(t, d, `"idempotency_key": "k"`, step("a", "")); again != first {
		t.Errorf("the second submission is workflow %d, want %d", again, first)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.submit_workflow($1)", definition(`"idempotency_key": "k"`, step("b", ""))), "WR006")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.workflow_step"); n != 1 {
		t.Errorf("%d steps are stored, want 1", n)
	}
}

func submissionIsIdempotentREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	send := func(body string) *weirtest.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/workflows", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		answer, err := s.SendRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	first := weirtest.Decode[weirtest.Workflow](send(`{"name": "w", "steps": [{"name": "a", "kind": "k"}]}`).Want(http.StatusCreated))
	again := weirtest.Decode[weirtest.Workflow](send(`{"name": "w", "steps": [{"kind": "k", "name": "a"}]}`).Want(http.StatusOK))
	if again.ID != first.ID || !again.Duplicate || first.Duplicate {
		t.Errorf("first %+v, then %+v", first, again)
	}
	send(`{"name": "w", "steps": [{"name": "b", "kind": "k"}]}`).Problem(http.StatusConflict, "idempotency_mismatch")
}

func TestSubmissionRollsBackWithItsTransaction(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	tx := d.Tx()
	submit(t, tx, "", step("a", ""), step("b", "a"))
	weirtest.Rollback(t, tx)
	tx = d.Tx()
	w := submit(t, tx, "", step("a", ""), step("b", "a"))
	weirtest.Commit(t, tx)
	runSteps(t, d, "a,b")
	wantWorkflow(t, d, w, "completed")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.workflows"); n != 1 {
		t.Errorf("%d workflows, want 1", n)
	}
}
