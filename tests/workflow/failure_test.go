package workflow

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestFailureStopsDependentSteps(t *testing.T) {
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

func TestOptionalStepMayFail(t *testing.T) {
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

func TestRetriedAttemptIsNoFailure(t *testing.T) {
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
	runSteps(t, d, "!undo-a") // its failure does not keep the others from running
	wantStates(t, d, w, "a completed, b completed, c dead, other completed, undo-a dead, undo-b completed, undo-c cancelled")
	wantWorkflow(t, d, w, "failed")

	fine := submit(t, d, `"on_failure": "compensate"`, step("x", "", `"compensation": "undo-x"`), step("undo-x", ""))
	runSteps(t, d, "x")
	wantStates(t, d, fine, "x completed, undo-x cancelled")
	wantWorkflow(t, d, fine, "completed")
}

func TestRetryRunsCompensatedStepsAgain(t *testing.T) {
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

func TestWorkflowPastDeadlineFails(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, `"deadline_seconds": 0.001, "on_failure": "compensate"`, step("a", "", `"compensation": "undo"`), step("b", "a"), step("undo", ""))
	runSteps(t, d, "a")
	weirtest.Exec(t, d, "select pg_sleep(0.01)")
	weirtest.Exec(t, d, "select weir.run_workflow_timers()")
	wantStates(t, d, w, "a completed, b cancelled, undo available")
	runSteps(t, d, "undo")
	wantWorkflow(t, d, w, "failed")
	if got := weirtest.Value[string](t, d, "select failure ->> 'type' from weir.workflows"); got != "deadline" {
		t.Errorf("it failed because of %s, want deadline", got)
	}
	late := submit(t, d, `"deadline_seconds": 3600`, step("a", ""))
	if in := weirtest.Value[float64](t, d, "select next_in_seconds from weir.run_workflow_timers()"); in < 3000 || in > 3600 {
		t.Errorf("the next deadline is said to be in %v s, want an hour", in)
	}
	runSteps(t, d, "a")
	wantWorkflow(t, d, late, "completed")
}
