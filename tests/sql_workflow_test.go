package tests

import (
	"encoding/json"
	"fmt"
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

// step is a step as JSON, whose kind is its name; after has names with commas between.
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

// statesOf says what the steps of a workflow are, such as "a completed, b held".
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

// claimStep claims the one step of this name that is available.
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

// runSteps completes these steps one after the other, with their names as results. A name with ! dies.
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

func TestStepsRunWhenThoseTheyDependOnAreDone(t *testing.T) {
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

func TestAClaimCarriesTheResultsOfTheDependencies(t *testing.T) {
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

func TestWhatAStepNeedsDecides(t *testing.T) {
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

func TestWhatIsWrongWithAWorkflowIsSaidBeforeAnythingIsStored(t *testing.T) {
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
		"unknown field":            {definition(`"x": 1`, step("a", "")), "x", "is no field"},
		"policy":                   {definition(`"on_failure": "hope"`, step("a", "")), "on_failure", "must be fail_fast, continue or compensate"},
		"deadline":                 {definition(`"deadline_seconds": -1`, step("a", "")), "deadline_seconds", "must be"},
		"step is no object":        {definition("", `7`), "steps[0]", "must be an object"},
		"no kind":                  {definition("", `{"name": "a"}`), "steps[0].kind", "is required"},
		"two kinds":                {definition("", step("a", "", `"wait_for": {"signal": "s"}`)), "steps[0].kind", "in its place"},
		"a job's field":            {definition("", step("a", ""), step("b", "", `"priority": 11`)), "steps[1].priority", "1 to 10"},
		"unknown field of a step":  {definition("", step("a", "", `"depends": []`)), "steps[0].depends", "is no field"},
		"unique key":               {definition("", step("a", "", `"unique": {"key": "k"}`)), "steps[0].unique", "no field of a step"},
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
		"a worker's delay":         {definition("", `{"name": "a", "wait_for": {"seconds": 1}, "delay_seconds": 1}`), "steps[0].delay_seconds", "goes with a kind"},
		"unknown compensation":     {definition("", step("a", "", `"compensation": "b"`)), "steps[0].compensation", "names no other"},
		"compensation with others": {definition("", step("a", "", `"compensation": "c"`), step("b", ""), step("c", "b")), "steps[0].compensation", "has dependencies"},
		"compensation of two":      {definition("", step("a", "", `"compensation": "c"`), step("b", "", `"compensation": "c"`), step("c", "")), "steps[1].compensation", "compensates another"},
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
	tx := d.Tx()
	weirtest.Exec(t, tx, "set local weir.max_steps = 10")
	e := weirtest.WantSQLState(t, weirtest.TryExec(tx, "select weir.submit_workflow($1)", definition("", many...)), "WR010")
	if e.ColumnName != "steps" || !strings.Contains(e.Message, "more than 10 steps") {
		t.Errorf("too many steps: %q %q", e.ColumnName, e.Message)
	}
	weirtest.Rollback(t, tx)
	if n := weirtest.Value[int](t, d, "select (select count(*) from weir.job) + (select count(*) from weir.workflow) + (select count(*) from weir.workflow_step) + (select count(*) from weir.queue)"); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
}

func TestTheLongestCycleIsFound(t *testing.T) {
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

func TestASubmissionWithAKnownIdempotencyKeyIsTheFirstOne(t *testing.T) {
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

func TestASubmissionGoesWithItsTransaction(t *testing.T) {
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

func TestAWideFanOutAndFanInIsReleasedByBatches(t *testing.T) {
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
	// One update a call, however many of them it completes.
	join := weirtest.Values[string](t, d, "select dependencies::text from weir.claim(array['default'], 'w', 10)")
	var results map[string]json.RawMessage
	if len(join) != 1 || json.Unmarshal([]byte(join[0]), &results) != nil || len(results) != width {
		t.Fatalf("the join carries %d results of %d claims, want %d", len(results), len(join), width)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	wantWorkflow(t, d, w, "completed")
}
