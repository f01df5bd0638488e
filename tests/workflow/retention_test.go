package workflow

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A workflow that has not ended needs the results of its steps, however old, and one that has can be retried.
func TestRetentionKeepsWorkflowWhole(t *testing.T) {
	t.Parallel()
	pool := weirtest.New(t).Pool
	w := submit(t, pool, "", step("a", ""), step("b", "a"))
	runSteps(t, pool, "a")
	weirtest.RollOver(t, pool)
	weirtest.Exec(t, pool, `update weir.job_outcome set finished_at = now() - interval '30 days'`)
	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did != "rewritten" {
		t.Fatalf("got %q, want rewritten", did)
	}
	runSteps(t, pool, "b")
	wantWorkflow(t, pool, w, "completed")
	weirtest.Exec(t, pool, `update weir.job_outcome set finished_at = now() - interval '30 days'`)
	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did == "emptied" {
		t.Fatal("a workflow that has just ended is gone")
	}
	weirtest.Exec(t, pool, `update weir.workflow set finished_at = now() - interval '30 days'`)
	if did := weirtest.Value[string](t, pool, `select weir.retain_partition(0, 10)`); did != "emptied" {
		t.Fatalf("a workflow that ended long ago: %q, want emptied", did)
	}
	if !weirtest.Value[bool](t, pool, `select weir.drop_partition(0)`) {
		t.Fatal("an empty partition was not dropped")
	}
	if n := weirtest.Value[int](t, pool, `select (select count(*) from weir.workflow) + (select count(*) from weir.workflow_step) + (select count(*) from weir.job)`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	weirtest.CheckWorkflows(t, pool)
}
