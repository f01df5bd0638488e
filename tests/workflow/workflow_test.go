package workflow

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// submit stores a workflow with these steps, each a JSON text, and returns its id. fields are more fields of the workflow.
func submit(t testing.TB, q weirtest.Querier, fields string, steps ...string) int64 {
	t.Helper()
	return weirtest.Value[int64](t, q, "select weir.submit_workflow($1)", definition(fields, steps...))
}

func definition(fields string, steps ...string) string {
	if fields != "" {
		fields = ", " + fields
	}
	return `{"name": "w", "steps": [` + strings.Join(steps, ",") + "]" + fields + "}"
}

// step returns a step as JSON, whose kind is its name. after lists names, separated by commas.
func step(name, after string, fields ...string) string {
	s := fmt.Sprintf(`{"name": %q, "kind": %q`, name, name)
	if after != "" {
		s += `, "depends_on": ["` + strings.ReplaceAll(after, ",", `","`) + `"]`
	}
	for _, f := range fields {
		s += ", " + f
	}
	return s + "}"
}

// statesOf returns the states of a workflow's steps, such as "a completed, b held".
func statesOf(t testing.TB, q weirtest.Querier, workflow int64) string {
	t.Helper()
	return weirtest.Value[string](t, q, "select string_agg(name || ' ' || state, ', ' order by number, job_id) from weir.workflow_steps where workflow_id = $1", workflow)
}

func wantStates(t testing.TB, q weirtest.Querier, workflow int64, want string) {
	t.Helper()
	if got := statesOf(t, q, workflow); got != want {
		t.Errorf("the steps are %s\nwant %s", got, want)
	}
	weirtest.CheckWorkflows(t, q)
}

func wantWorkflow(t testing.TB, q weirtest.Querier, workflow int64, want string) {
	t.Helper()
	if got := weirtest.Value[string](t, q, "select state from weir.workflows where id = $1", workflow); got != want {
		t.Errorf("the workflow is %s, want %s: %s", got, want, statesOf(t, q, workflow))
	}
	weirtest.CheckWorkflows(t, q)
}

// claimStep claims the available step of this name.
func claimStep(t testing.TB, q weirtest.Querier, name string) weirtest.Lease {
	t.Helper()
	var found []weirtest.Lease
	for _, j := range weirtest.Claim(t, q, "default", 1000) {
		if j.Kind == name {
			found = append(found, j)
		} else {
			j.Call(t, q, "release($1, $2)")
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d available steps are called %s, want one", len(found), name)
	}
	return found[0]
}

// runSteps completes these steps one after the other, with their names as results. A step whose name ends with ! dies.
func runSteps(t testing.TB, q weirtest.Querier, names string) {
	t.Helper()
	for name := range strings.SplitSeq(names, ",") {
		name, dies := strings.CutPrefix(name, "!")
		j := claimStep(t, q, name)
		if dies {
			weirtest.Exec(t, q, `select weir.fail($1, $2, '{"message": "no"}', retry => false)`, j.ID, j.Token)
		} else {
			weirtest.Exec(t, q, "select weir.complete($1, $2, to_jsonb($3::text))", j.ID, j.Token, name)
		}
	}
}

// stepOf returns a step for a REST body.
func stepOf(name, queue string, after ...string) obj {
	s := obj{"name": name, "kind": name, "queue": queue}
	if len(after) > 0 {
		s["depends_on"] = after
	}
	return s
}

func compact(text []byte) []byte {
	var x any
	_ = json.Unmarshal(text, &x)
	text, _ = json.Marshal(x)
	return text
}

func TestStepsRunAfterTheirDependencies(t *testing.T) {
	t.Parallel()
	t.Run("SQL", stepsRunAfterTheirDependenciesSQL)
	t.Run("REST", stepsRunAfterTheirDependenciesREST)
}

func stepsRunAfterTheirDependenciesSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, `"metadata": {"order": 42}`, step("d", "b,c"), step("b", "a", `"priority": 9`), step("c", "a", `"queue": "default"`), step("a", ""))
	wantStates(t, d, w, "d held, b held, c held, a available")
	runSteps(t, d, "a")
	wantStates(t, d, w, "d held, b available, c available, a completed")
	if p := weirtest.Value[float64](t, d, "select progress from weir.workflows where id = $1", w); p != 25 {
		t.Errorf("progress is %v, want 25", p)
	}
	runSteps(t, d, "c,b")
	wantStates(t, d, w, "d available, b completed, c completed, a completed")
	wantWorkflow(t, d, w, "running")
	runSteps(t, d, "d")
	wantWorkflow(t, d, w, "completed")
	if got := weirtest.Value[string](t, d, "select format('%s %s %s %s %s %s', steps, completed, dead, cancelled, progress, metadata) from weir.workflows where id = $1", w); got != `4 4 0 0 100 {"order": 42}` {
		t.Errorf("the workflow is %s", got)
	}
	if got := weirtest.Value[int](t, d, "select priority from weir.workflow_steps s join weir.jobs j on j.id = s.job_id where s.workflow_id = $1 and s.name = 'b'", w); got != 9 {
		t.Errorf("the priority of step b is %d, want 9: step options are job options", got)
	}
}

func stepsRunAfterTheirDependenciesREST(t *testing.T) {
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

func TestClaimCarriesResultsOfDependencies(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	submit(t, d, `"on_failure": "continue"`, step("a", ""), step("b", ""), step("c", "", `"max_attempts": 1`), step("end", "a,b,c", `"needs": "ended"`))
	plain := weirtest.Value[*string](t, d, "select dependencies::text from (select weir.enqueue('plain', queue => 'plain')) e cross join lateral (select dependencies from weir.claim(array['plain'], 'w')) c")
	if plain != nil {
		t.Errorf("a plain job comes with dependencies %s", *plain)
	}
	runSteps(t, d, "a,!c")
	j := claimStep(t, d, "b")
	j.Call(t, d, "complete($1, $2)")
	got := weirtest.Values[string](t, d, "select dependencies::text from weir.claim(array['default'], 'w', 10)")
	if len(got) != 1 || got[0] != `{"a": "a", "b": null}` {
		t.Errorf("the claim carries %q, want those that completed", got)
	}
	all := weirtest.Values[string](t, d, "select format('%s %s %s %s', step, state, result, error) from weir.dependencies((select job_id from weir.job_lease where attempt = 1 and queue_id = (select id from weir.queue where name = 'default')))")
	if want := []string{`a completed "a" `, `b completed  `, `c dead  {"message": "no"}`}; !slices.Equal(all, want) {
		t.Errorf("the dependencies are %q, want %q", all, want)
	}
}

func TestStepNeedsDecideWhenItRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ needs, run, want string }{
		"all completed":               {"completed", "a,b", "available"},
		"one died, the other waits":   {"completed", "!a", "cancelled"},
		"one died after the other":    {"completed", "a,!b", "cancelled"},
		"ended: one waits":            {"ended", "!a", "held"},
		"ended: all ended":            {"ended", "!a,b", "available"},
		"any: the first completed":    {"any", "a", "available"},
		"any: one died, one waits":    {"any", "!a", "held"},
		"any: the second completed":   {"any", "!a,b", "available"},
		"any: none completed":         {"any", "!a,!b", "cancelled"},
		"any: both completed":         {"any", "a,b", "available"},
		"completed: the last one did": {"completed", "b,a", "available"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			w := submit(t, d, `"on_failure": "continue"`, step("a", ""), step("b", ""), step("x", "a,b", fmt.Sprintf(`"needs": %q`, c.needs)), step("after", "x"))
			runSteps(t, d, c.run)
			states := strings.Split(statesOf(t, d, w), ", ")
			if states[2] != "x "+c.want {
				t.Errorf("after %s: %v, want x %s", c.run, states, c.want)
			}
			if c.want == "cancelled" && states[3] != "after cancelled" {
				t.Errorf("what depends on a skipped step: %v", states)
			}
			weirtest.CheckWorkflows(t, d)
			for len(weirtest.Claim(t, d, "default", 0+1)) > 0 {
				weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
			}
			state := weirtest.Value[string](t, d, "select state from weir.workflows")
			if want := map[bool]string{true: "failed", false: "completed"}[strings.Contains(c.run, "!")]; state != want {
				t.Errorf("the workflow is %s, want %s: %s", state, want, statesOf(t, d, w))
			}
			weirtest.CheckWorkflows(t, d)
		})
	}
}

func TestWideFanOutAndFanInIsReleasedInBatches(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const width = 500
	steps, names := []string{step("root", "")}, make([]string, width)
	for i := range names {
		names[i] = fmt.Sprint("m", i)
		steps = append(steps, step(names[i], "root"))
	}
	w := submit(t, d, "", append(steps, step("join", strings.Join(names, ",")))...)
	runSteps(t, d, "root")
	for range 5 {
		weirtest.Exec(t, d, `select count(*) from (select array_agg(job_id) as ids, array_agg(token) as tokens, array_agg('{"n": 1}'::jsonb) as results from weir.claim(array['default'], 'w', 100)) c
			cross join lateral weir.complete_many(c.ids, c.tokens, c.results)`)
	}
	// One update a call, however many jobs it completes.
	join := weirtest.Values[string](t, d, "select dependencies::text from weir.claim(array['default'], 'w', 10)")
	var results map[string]json.RawMessage
	if len(join) != 1 || json.Unmarshal([]byte(join[0]), &results) != nil || len(results) != width {
		t.Fatalf("the join carries %d results of %d claims, want %d", len(results), len(join), width)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	wantWorkflow(t, d, w, "completed")
}
