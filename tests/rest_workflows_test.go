package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// stepOf is a step for a REST body.
func stepOf(name, queue string, after ...string) obj {
	s := obj{"name": name, "kind": name, "queue": queue}
	if len(after) > 0 {
		s["depends_on"] = after
	}
	return s
}

func TestRESTAWorkflowRunsFromSubmissionToItsEnd(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := s.Post("/v1/workflows", obj{"name": "order", "metadata": obj{"n": 1}, "steps": []obj{stepOf("a", "q"), stepOf("b", "q", "a"), stepOf("c", "q", "a"), stepOf("d", "q", "b", "c")}}).Want(http.StatusCreated)
	w := weirtest.Decode[weirtest.Workflow](r)
	if w.State != "running" || w.Steps != 4 || w.Waiting != 4 || r.Header.Get("Location") != "/v1/workflows/"+w.ID {
		t.Errorf("%v, Location %s", r, r.Header.Get("Location"))
	}
	run := func(kind string, result any) {
		t.Helper()
		claimed := s.Post("/v1/claims", obj{"worker": "w-1", "queues": []string{"q"}, "wait_seconds": 20}).Want(http.StatusOK)
		j := weirtest.Decode[struct {
			Jobs []struct {
				ID, Token, Kind string
				Dependencies    json.RawMessage
			}
		}](claimed).Jobs
		if len(j) != 1 || j[0].Kind != kind {
			t.Fatalf("%v\nwant %s", claimed, kind)
		}
		if want := map[string]string{"a": "{}", "b": `{"a": 1}`, "c": `{"a": 1}`, "d": `{"b": 2, "c": 3}`}[kind]; string(compact(j[0].Dependencies)) != string(compact([]byte(want))) {
			t.Errorf("%s comes with %s, want %s", kind, j[0].Dependencies, want)
		}
		s.Post("/v1/jobs/"+j[0].ID+"/complete", obj{"token": j[0].Token, "result": result}).Want(http.StatusOK)
	}
	run("a", 1)
	if w := s.Workflow(w.ID); w.Progress != 25 || w.Completed != 1 || w.Waiting != 3 {
		t.Errorf("after the first step it is %+v", w)
	}
	g := weirtest.Decode[weirtest.Graph](s.Get("/v1/workflows/" + w.ID + "/graph").Want(http.StatusOK))
	if fmt.Sprint(g.Nodes) != "[{a completed} {b available} {c available} {d held}]" || len(g.Edges) != 4 {
		t.Errorf("the graph is %+v", g)
	}
	run("b", 2)
	run("c", 3)
	run("d", nil)
	done := s.Workflow(w.ID)
	if done.State != "completed" || done.Progress != 100 {
		t.Errorf("at the end it is %+v", done)
	}
	g = weirtest.Decode[weirtest.Graph](s.Get("/v1/workflows/" + w.ID + "/graph").Want(http.StatusOK))
	if !slices.Equal(g.CriticalPath, []string{"a", "c", "d"}) {
		t.Errorf("the critical path is %q: c ended after b", g.CriticalPath)
	}
	steps := weirtest.Decode[weirtest.Page[weirtest.Step]](s.Get("/v1/workflows/" + w.ID + "/steps?limit=3").Want(http.StatusOK))
	if len(steps.Items) != 3 || steps.NextCursor == nil || steps.Items[1].Name != "b" || string(steps.Items[1].Result) != "2" || steps.Items[1].Worker != "w-1" {
		t.Errorf("the first steps are %+v", steps)
	}
	rest := weirtest.Decode[weirtest.Page[weirtest.Step]](s.Get("/v1/workflows/" + w.ID + "/steps?limit=3&cursor=" + *steps.NextCursor).Want(http.StatusOK))
	if len(rest.Items) != 1 || rest.Items[0].Name != "d" || rest.NextCursor != nil {
		t.Errorf("the last steps are %+v", rest)
	}
	if page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?workflow_id=" + w.ID).Want(http.StatusOK)); len(page.Items) != 4 {
		t.Errorf("%d jobs belong to the workflow, want 4", len(page.Items))
	}
	moments := weirtest.Decode[weirtest.Page[struct{ Event, Step string }]](s.Get("/v1/workflows/" + w.ID + "/timeline").Want(http.StatusOK)).Items
	if len(moments) == 0 || moments[0].Event != "workflow_submitted" || moments[len(moments)-1].Event != "workflow_completed" || !slices.Contains(moments, struct{ Event, Step string }{"completed", "d"}) {
		t.Errorf("the timeline is %+v", moments)
	}
}

func compact(text []byte) []byte {
	var x any
	_ = json.Unmarshal(text, &x)
	text, _ = json.Marshal(x)
	return text
}

func TestRESTWhatIsWrongWithAWorkflowIsNamed(t *testing.T) {
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

func TestRESTASubmissionIsIdempotent(t *testing.T) {
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

func TestRESTAStepAddsStepsWithItsCompletion(t *testing.T) {
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

func TestRESTSignalsTimersAndDeadlinesNeedNoWorker(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, obj{"name": "ok", "wait_for": obj{"signal": "go"}}, obj{"name": "pause", "wait_for": obj{"seconds": 0.2}, "depends_on": []string{"ok"}},
		obj{"name": "never", "wait_for": obj{"signal": "x", "timeout_seconds": 0.1, "on_timeout": "continue"}})
	late := s.Submit(obj{"deadline_seconds": 0.3}, stepOf("a", "nobody"))
	if got := weirtest.Decode[struct{ Ended int }](s.Post("/v1/workflows/"+w+"/signals/go", `{"payload": {"by": "ann"}}`).Want(http.StatusOK)); got.Ended != 1 {
		t.Errorf("%d steps waited for the signal", got.Ended)
	}
	weirtest.Eventually(t, "the timers end", func() bool { return s.Workflow(w).State == "completed" })
	weirtest.Eventually(t, "the deadline passes", func() bool { return s.Workflow(late).State == "failed" })
	if f := s.Workflow(late).Failure; f == nil || f.Type != "deadline" {
		t.Errorf("it failed because of %+v", f)
	}
	s.Post("/v1/workflows/"+w+"/signals/go", nil).Problem(http.StatusConflict, "workflow_ended")
}

func TestRESTAWorkflowIsCancelledRetriedAndForked(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, stepOf("a", "q"), stepOf("b", "q", "a"))
	j := s.ClaimOne("q")
	if got := weirtest.Decode[weirtest.Workflow](s.Post("/v1/workflows/"+w+"/cancel", nil).Want(http.StatusOK)); got.State != "stopping" || got.Cancelled != 1 || got.Running != 1 {
		t.Errorf("cancelled while a step runs it is %+v", got)
	}
	beat := weirtest.Decode[struct {
		CancelRequested bool `json:"cancel_requested"`
	}](s.Post("/v1/jobs/"+j.ID+"/heartbeat", obj{"token": j.Token}).Want(http.StatusOK))
	if !beat.CancelRequested {
		t.Error("the worker is not told to stop")
	}
	s.Post("/v1/workflows/"+w+"/retry", nil).Problem(http.StatusConflict, "workflow_ended")
	s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "stopped"}}).Want(http.StatusOK)
	if got := s.Workflow(w); got.State != "cancelled" {
		t.Errorf("then it is %+v", got)
	}
	if got := weirtest.Decode[weirtest.Workflow](s.Post("/v1/workflows/"+w+"/retry", `{"by": "ann"}`).Want(http.StatusOK)); got.State != "running" || got.Waiting != 2 {
		t.Errorf("retried it is %+v", got)
	}
	for range 2 {
		j := s.ClaimOne("q")
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	}
	s.Post("/v1/workflows/"+w+"/retry", nil).Problem(http.StatusConflict, "workflow_not_failed")
	f := weirtest.Decode[weirtest.Workflow](s.Post("/v1/workflows/"+w+"/fork", `{"from": ["b"]}`).Want(http.StatusCreated))
	if f.ForkedFrom != w || f.Completed != 1 || f.Waiting != 1 {
		t.Errorf("the fork is %+v", f)
	}
	list := weirtest.Decode[weirtest.Page[weirtest.Workflow]](s.Get("/v1/workflows?state=running&limit=1").Want(http.StatusOK))
	if len(list.Items) != 1 || list.Items[0].ID != f.ID || list.NextCursor != nil {
		t.Errorf("the running ones are %+v", list)
	}
	list = weirtest.Decode[weirtest.Page[weirtest.Workflow]](s.Get("/v1/workflows?limit=1&name=w").Want(http.StatusOK))
	if list.NextCursor == nil || list.Items[0].ID != f.ID {
		t.Fatalf("the first page is %+v", list)
	}
	list = weirtest.Decode[weirtest.Page[weirtest.Workflow]](s.Get("/v1/workflows?limit=1&name=w&cursor=" + *list.NextCursor).Want(http.StatusOK))
	if list.NextCursor != nil || list.Items[0].ID != w {
		t.Errorf("the second page is %+v", list)
	}
}

func TestRESTAGraphIsAMermaidFlowchartToo(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, obj{"name": `a "quoted" <b>`, "kind": "k", "compensation": "undo"}, obj{"name": "wait", "wait_for": obj{"signal": "x"}, "depends_on": []string{`a "quoted" <b>`}}, stepOf("undo", "q"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/workflows/"+w+"/graph", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/vnd.mermaid")
	answer, err := s.SendRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	text := string(answer.Want(http.StatusOK).Body)
	if kind := answer.Header.Get("Content-Type"); kind != "text/vnd.mermaid" {
		t.Errorf("it is %s", kind)
	}
	for _, want := range []string{"flowchart TD\n", `s0["a #quot;quoted#quot; #lt;b#gt;"]:::available`, `s1(["wait"]):::held`, "s0 --> s1", "s0 -.->|undone by| s2", "classDef dead"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestRESTWorkflowsAreToldAsEvents(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, stepOf("a", "q"), obj{"name": "ok", "wait_for": obj{"signal": "go"}, "depends_on": []string{"a"}})
	events, hangUp := s.WatchEvents("event=completed,workflow_signal,workflow_completed&workflow_id="+w, "")
	defer hangUp()
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	s.Post("/v1/workflows/"+w+"/signals/go", nil).Want(http.StatusOK)
	got := weirtest.EventNames(s.NextEvents(events, 4))
	slices.Sort(got)
	if want := []string{"completed", "completed", "workflow_completed", "workflow_signal"}; !slices.Equal(got, want) {
		t.Errorf("the stream tells %q, want %q", got, want)
	}
}

func TestRESTWhySaysWhatAStepWaitsFor(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	w := s.Submit(nil, stepOf("a", "q"), stepOf("b", "q"), stepOf("c", "q", "a", "b"), obj{"name": "s", "wait_for": obj{"signal": "go"}})
	for name, want := range map[string]string{"c": "it waits for 2 of the 2 steps that it depends on, to complete: a, b", "s": "it waits for a signal: go"} {
		id := fmt.Sprint(s.Count("select job_id from weir.workflow_step where workflow_id = $1::bigint and name = $2", w, name))
		reasons := weirtest.Decode[struct {
			Reasons []struct{ Code, Message string }
		}](s.Get("/v1/jobs/" + id + "/why").Want(http.StatusOK)).Reasons
		if len(reasons) == 0 || reasons[0].Message != want {
			t.Errorf("of %s it says %+v, want %s", name, reasons, want)
		}
	}
}
