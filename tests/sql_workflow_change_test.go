package tests

import (
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestAFailureStopsTheRestUnlessItNeedsOnlyTheEnd(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", ""), step("running", ""), step("later", "", `"delay_seconds": 3600`), step("after", "b"), step("clean", "a,running", `"needs": "ended"`))
	running := claimStep(t, d, "running")
	runSteps(t, d, "!a")
	wantStates(t, d, w, "a dead, b cancelled, running running, later cancelled, after cancelled, clean held")
	wantWorkflow(t, d, w, "stopping")
	if told := weirtest.Value[bool](t, d, "select cancel_requested from weir.heartbeat(array[$1::bigint], array[$2::bigint])", running.ID, running.Token); !told {
		t.Error("the worker of the step that runs is not told to stop")
	}
	weirtest.Complete(t, d, running)
	wantStates(t, d, w, "a dead, b cancelled, running completed, later cancelled, after cancelled, clean available")
	runSteps(t, d, "clean")
	wantWorkflow(t, d, w, "failed")
	if got := weirtest.Value[string](t, d, "select failure ->> 'message' from weir.workflows"); got != "step a is dead: no" {
		t.Errorf("it says %q", got)
	}
	if got := weirtest.Value[string](t, d, "select error ->> 'message' from weir.workflow_steps where name = 'after'"); got != "its workflow failed: step a is dead: no" {
		t.Errorf("the step that was cancelled says %q", got)
	}
}

func TestAStepThatMayFailLetsTheRestGoOn(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", "", `"on_failure": "continue"`), step("b", ""), step("c", "a"), step("e", "b"))
	runSteps(t, d, "!a,b,e")
	wantStates(t, d, w, "a dead, b completed, c cancelled, e completed")
	wantWorkflow(t, d, w, "failed")
	if got := weirtest.Value[string](t, d, "select error ->> 'message' from weir.workflow_steps where name = 'c'"); got != "step a, which it depends on, did not complete" {
		t.Errorf("the step that was skipped says %q", got)
	}
}

func TestAnAttemptThatIsRetriedIsNoFailure(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", "", `"retry": {"base_seconds": 0}`), step("b", "a"))
	j := claimStep(t, d, "a")
	j.Call(t, d, "fail($1, $2, '{}')")
	wantWorkflow(t, d, w, "running")
	runSteps(t, d, "a,b")
	wantWorkflow(t, d, w, "completed")
}

func TestCompensationsRunBackwards(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, `"on_failure": "compensate"`, step("a", "", `"compensation": "undo-a"`), step("b", "a", `"compensation": "undo-b"`), step("c", "b", `"compensation": "undo-c"`), step("other", "a"),
		step("undo-a", ""), step("undo-b", ""), step("undo-c", ""))
	runSteps(t, d, "a,other,b,!c")
	wantWorkflow(t, d, w, "compensating")
	got := weirtest.Values[string](t, d, "select kind || ' ' || dependencies from weir.claim(array['default'], 'w', 10)")
	if len(got) != 1 || got[0] != `undo-b {"b": "b"}` {
		t.Fatalf("first of all runs %q", got)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	runSteps(t, d, "!undo-a") // one that fails does not keep the others from running
	wantStates(t, d, w, "a completed, b completed, c dead, other completed, undo-a dead, undo-b completed, undo-c cancelled")
	wantWorkflow(t, d, w, "failed")

	fine := submit(t, d, `"on_failure": "compensate"`, step("x", "", `"compensation": "undo-x"`), step("undo-x", ""))
	runSteps(t, d, "x")
	wantStates(t, d, fine, "x completed, undo-x cancelled")
	wantWorkflow(t, d, fine, "completed")
}

func TestARetryRunsAgainWhatWasCompensated(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, `"on_failure": "compensate"`, step("a", "", `"compensation": "undo"`), step("b", ""), step("c", "a,b"), step("undo", ""))
	runSteps(t, d, "a,b,!c,undo")
	wantWorkflow(t, d, w, "failed")
	weirtest.Exec(t, d, "select weir.retry_workflow($1)", w)
	wantStates(t, d, w, "a available, b completed, c held, undo held")
	runSteps(t, d, "a,c")
	wantWorkflow(t, d, w, "completed")
	wantStates(t, d, w, "a completed, b completed, c completed, undo cancelled")

	other := submit(t, d, `"on_failure": "compensate"`, step("a", "", `"compensation": "undo"`), step("b", "a"), step("undo", ""))
	runSteps(t, d, "a,!b,!undo") // a compensation that died is forgotten then
	weirtest.Exec(t, d, "select weir.retry_workflow($1)", other)
	runSteps(t, d, "b")
	wantWorkflow(t, d, other, "completed")
}

func TestACancelledWorkflowEndsWhenWhatRunsHasEnded(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", ""), step("c", "a,b", `"needs": "ended"`), `{"name": "s", "wait_for": {"signal": "x"}}`)
	a := claimStep(t, d, "a")
	if got := weirtest.Value[string](t, d, "select weir.cancel_workflow($1)", w); got != "stopping" {
		t.Errorf("cancel_workflow returns %s, want stopping", got)
	}
	if got := weirtest.Value[string](t, d, "select weir.cancel_workflow($1)", w); got != "stopping" {
		t.Errorf("a second time it returns %s, want stopping", got)
	}
	wantStates(t, d, w, "a running, b cancelled, c cancelled, s cancelled")
	a.Call(t, d, "snooze($1, $2, '1 hour')") // it was asked to stop
	wantWorkflow(t, d, w, "cancelled")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.cancel_workflow($1)", w), "WR051")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.signal($1, 'x')", w), "WR051")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.cancel_workflow(123456)"), "WR050")

	idle := submit(t, d, "", step("a", ""))
	if got := weirtest.Value[string](t, d, "select weir.cancel_workflow($1)", idle); got != "cancelled" {
		t.Errorf("where nothing runs cancel_workflow returns %s, want cancelled", got)
	}
	weirtest.Exec(t, d, "select weir.retry_workflow($1, 'ann')", idle)
	runSteps(t, d, "a")
	wantWorkflow(t, d, idle, "completed")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.retry_workflow($1)", idle), "WR052")
}

func TestAStepThatIsCancelledByItselfSkipsOnlyWhatDependsOnIt(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", "a"), step("c", "b"), step("x", "a"))
	weirtest.Exec(t, d, "select weir.cancel(job_id) from weir.workflow_steps where name = 'b'")
	wantStates(t, d, w, "a available, b cancelled, c cancelled, x held")
	runSteps(t, d, "a,x")
	wantWorkflow(t, d, w, "cancelled")
	weirtest.Exec(t, d, "select weir.purge_queue('default', state => 'waiting')")
	other := submit(t, d, "", step("a", ""), step("b", "a"))
	weirtest.Exec(t, d, "select weir.purge_queue('default', state => 'waiting')")
	wantWorkflow(t, d, other, "cancelled")
}

func TestAFailedWorkflowGoesOnFromItsFailedSteps(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", "a"), step("c", "a"), step("end", "b,c"), step("clean", "end", `"needs": "ended"`))
	runSteps(t, d, "a,c,!b,clean")
	wantStates(t, d, w, "a completed, b dead, c completed, end cancelled, clean completed")
	wantWorkflow(t, d, w, "failed")
	if got := weirtest.Value[string](t, d, "select weir.retry_workflow($1, 'ann')", w); got != "running" {
		t.Errorf("retry_workflow returns %s, want running", got)
	}
	wantStates(t, d, w, "a completed, b available, c completed, end held, clean held")
	runSteps(t, d, "b")
	got := weirtest.Values[string](t, d, "select kind || ' ' || dependencies from weir.claim(array['default'], 'w', 10)")
	if len(got) != 1 || got[0] != `end {"b": "b", "c": "c"}` {
		t.Fatalf("then comes %q", got)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	runSteps(t, d, "clean")
	wantWorkflow(t, d, w, "completed")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.job_dead"); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
}

func TestARedrivenStepOpensItsWorkflowAgain(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", "a"), step("x", ""))
	runSteps(t, d, "!a")
	wantWorkflow(t, d, w, "failed")
	weirtest.Exec(t, d, "select weir.redrive(job_id) from weir.workflow_steps where state = 'dead'")
	wantStates(t, d, w, "a available, b held, x available")
	runSteps(t, d, "a,b,x")
	wantWorkflow(t, d, w, "completed")

	// A completed step that somebody runs again is only run again.
	weirtest.Exec(t, d, "select weir.retry(job_id) from weir.workflow_steps where name = 'a'")
	wantStates(t, d, w, "a available, b completed, x completed")
	wantWorkflow(t, d, w, "running")
	runSteps(t, d, "a")
	wantWorkflow(t, d, w, "completed")

	// One that was cancelled before its time waits for its dependencies again.
	other := submit(t, d, "", step("a", ""), step("b", "a"))
	weirtest.Exec(t, d, "select weir.cancel(job_id) from weir.workflow_steps where workflow_id = $1 and name = 'b'", other)
	weirtest.Exec(t, d, "select weir.retry(job_id) from weir.workflow_steps where workflow_id = $1 and name = 'b'", other)
	wantStates(t, d, other, "a available, b held")
	runSteps(t, d, "a,b")
	wantWorkflow(t, d, other, "completed")
}

func TestAForkRunsAgainFromAStep(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, `"metadata": {"x": 1}`, step("a", ""), step("b", "a", `"args": {"n": 2}`), step("c", "a"), step("end", "b,c"), step("undone", "", `"compensation": "undo"`), step("undo", ""))
	runSteps(t, d, "a,b,c,undone,end")
	wantWorkflow(t, d, w, "completed")
	f := weirtest.Value[int64](t, d, "select weir.fork_workflow($1, array['b'], 'ann')", w)
	wantStates(t, d, f, "a completed, b available, c completed, end held, undone completed, undo held")
	if got := weirtest.Value[string](t, d, "select format('%s %s %s', forked_from = $2, metadata, state) from weir.workflows where id = $1", f, w); got != `t {"x": 1} running` {
		t.Errorf("the fork is %s", got)
	}
	got := weirtest.Values[string](t, d, "select format('%s %s %s', kind, args, dependencies) from weir.claim(array['default'], 'w', 10)")
	if len(got) != 1 || got[0] != `b {"n": 2} {"a": "a"}` {
		t.Fatalf("what runs in the fork is %q", got)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	runSteps(t, d, "end")
	wantWorkflow(t, d, f, "completed")
	wantWorkflow(t, d, w, "completed")
	e := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.fork_workflow($1, array['a', 'zz'])", w), "WR010")
	if e.ColumnName != "from[1]" {
		t.Errorf("the field is %q", e.ColumnName)
	}
}

func TestAWorkflowPastItsDeadlineFails(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, `"deadline_seconds": 0.001, "on_failure": "compensate"`, step("a", "", `"compensation": "undo"`), step("b", "a"), step("undo", ""))
	runSteps(t, d, "a")
	weirtest.Exec(t, d, "select pg_sleep(0.01)")
	weirtest.Exec(t, d, "select weir.tend_workflows()")
	wantStates(t, d, w, "a completed, b cancelled, undo available")
	runSteps(t, d, "undo")
	wantWorkflow(t, d, w, "failed")
	if got := weirtest.Value[string](t, d, "select failure ->> 'type' from weir.workflows"); got != "deadline" {
		t.Errorf("it failed because of %s, want deadline", got)
	}
	late := submit(t, d, `"deadline_seconds": 3600`, step("a", ""))
	if in := weirtest.Value[float64](t, d, "select next_in_seconds from weir.tend_workflows()"); in < 3000 || in > 3600 {
		t.Errorf("the next deadline is said to be in %v s, want an hour", in)
	}
	runSteps(t, d, "a")
	wantWorkflow(t, d, late, "completed")
}

func TestTheTimelineOfAWorkflowHasItsJobsIn(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), `{"name": "ok", "wait_for": {"signal": "go"}, "depends_on": ["a"]}`)
	runSteps(t, d, "a")
	weirtest.Exec(t, d, "select weir.signal($1, 'go', '7')", w)
	events := strings.Join(weirtest.Values[string](t, d, "select event || coalesce(' ' || step, '') from weir.workflow_timeline($1)", w), ", ")
	for _, want := range []string{"workflow_submitted, ", "enqueued a, ", "started a, completed a, ", "workflow_signal go, ", "completed ok, workflow_completed"} {
		if !strings.Contains(events, want) {
			t.Errorf("%q is not in %s", want, events)
		}
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.workflow_timeline(123456)"), "WR050")
}
