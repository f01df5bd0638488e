package workflow

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestSignalEndsWaitingSteps(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), `{"name": "now", "wait_for": {"signal": "go"}}`, `{"name": "later", "wait_for": {"signal": "go"}, "depends_on": ["a"]}`, step("b", "now,later"))
	wantStates(t, d, w, "a available, now held, later held, b held")
	if n := weirtest.Value[int](t, d, `select weir.signal($1, 'go', '{"by": "ann"}')`, w); n != 1 {
		t.Errorf("%d steps waited, want 1", n)
	}
	wantStates(t, d, w, "a available, now completed, later held, b held")
	if n := weirtest.Value[int](t, d, `select weir.signal($1, 'other')`, w); n != 0 {
		t.Errorf("%d steps waited for an unknown signal", n)
	}
	runSteps(t, d, "a")
	got := weirtest.Values[string](t, d, "select dependencies::text from weir.claim(array['default'], 'w', 10)")
	if len(got) != 1 || got[0] != `{"now": {"by": "ann"}, "later": {"by": "ann"}}` {
		t.Fatalf("the payloads are %q", got)
	}
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	wantWorkflow(t, d, w, "completed")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.signal($1, '')", w), "WR010")
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.signal(123456, 'go')"), "WR050")
}

func TestSignalThatDoesNotComeTimesOut(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{"fail": "s dead, b cancelled failed", "continue": "s completed, b available running", "skip": "s cancelled, b cancelled completed"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			w := submit(t, d, "", fmt.Sprintf(`{"name": "s", "wait_for": {"signal": "go", "timeout_seconds": 0.001, "on_timeout": %q}}`, policy), step("b", "s"))
			weirtest.Exec(t, d, "select pg_sleep(0.01)")
			weirtest.Exec(t, d, "select weir.run_workflow_timers()")
			if got := statesOf(t, d, w) + " " + weirtest.Value[string](t, d, "select state from weir.workflows"); got != want {
				t.Errorf("with %s: %s, want %s", policy, got, want)
			}
			weirtest.CheckWorkflows(t, d)
			if policy == "fail" { // it waits again after a redrive, and no worker gets it
				weirtest.Exec(t, d, "select weir.redrive(job_id) from weir.workflow_steps where name = 's'")
				wantStates(t, d, w, "s held, b held")
				weirtest.Exec(t, d, "select weir.signal($1, 'go')", w)
				wantStates(t, d, w, "s completed, b available")
			}
		})
	}
}

func TestTimersCountFromEndOfDependencies(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	w := submit(t, d, "", step("a", ""), `{"name": "timer", "wait_for": {"seconds": 0.3}, "depends_on": ["a"]}`, step("delayed", "a", `"delay_seconds": 3600`),
		`{"name": "past", "wait_for": {"until": "2020-01-01T00:00:00Z"}, "depends_on": ["a"]}`, step("b", "timer,past"), step("rooted", "", `"delay_seconds": 3600`))
	wantStates(t, d, w, "a available, timer held, delayed held, past held, b held, rooted scheduled")
	runSteps(t, d, "a")
	wantStates(t, d, w, "a completed, timer held, delayed scheduled, past completed, b held, rooted scheduled")
	if got := weirtest.Value[string](t, d, "select held_reason from weir.workflow_steps where name = 'timer'"); got != "timer" {
		t.Errorf("the timer is held for %s", got)
	}
	weirtest.Eventually(t, "the timer ends", func() bool {
		weirtest.Exec(t, d, "select weir.run_workflow_timers()")
		return strings.Contains(statesOf(t, d, w), "timer completed, delayed scheduled, past completed, b available")
	})
	weirtest.CheckWorkflows(t, d)
}

func TestSignalsTimersAndDeadlinesNeedNoWorker(t *testing.T) {
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
