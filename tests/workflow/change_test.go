package workflow

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCancelledWorkflowEndsAfterRunningSteps(t *testing.T) {
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

func TestCancelledStepSkipsOnlyItsDependents(t *testing.T) {
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

func TestFailedWorkflowResumesFromFailedSteps(t *testing.T) {
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

func TestRedrivenStepReopensWorkflow(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), step("b", "a"), step("x", ""))
	runSteps(t, d, "!a")
	wantWorkflow(t, d, w, "failed")
	weirtest.Exec(t, d, "select weir.redrive(job_id) from weir.workflow_steps where state = 'dead'")
	wantStates(t, d, w, "a available, b held, x available")
	runSteps(t, d, "a,b,x")
	wantWorkflow(t, d, w, "completed")

	// A completed step that is retried by hand is only run again.
	weirtest.Exec(t, d, "select weir.retry(job_id) from weir.workflow_steps where name = 'a'")
	wantStates(t, d, w, "a available, b completed, x completed")
	wantWorkflow(t, d, w, "running")
	runSteps(t, d, "a")
	wantWorkflow(t, d, w, "completed")

	// A step that was cancelled before its time waits for its dependencies again.
	other := submit(t, d, "", step("a", ""), step("b", "a"))
	weirtest.Exec(t, d, "select weir.cancel(job_id) from weir.workflow_steps where workflow_id = $1 and name = 'b'", other)
	weirtest.Exec(t, d, "select weir.retry(job_id) from weir.workflow_steps where workflow_id = $1 and name = 'b'", other)
	wantStates(t, d, other, "a available, b held")
	runSteps(t, d, "a,b")
	wantWorkflow(t, d, other, "completed")
}

func TestForkRunsAgainFromStep(t *testing.T) {
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

func TestWorkflowIsCancelledRetriedAndForked(t *testing.T) {
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

func TestTimelineOfWorkflowIncludesItsJobs(t *testing.T) {
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
