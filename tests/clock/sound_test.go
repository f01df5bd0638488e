package clock

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// Nodes repair whenever they suspect a step. Where there was none, nothing may change.
func TestRecoveryOfASoundDatabaseChangesNothing(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.JobsInEachState(t, d)
	weirtest.SetLimits(t, d, "limited", `{"rate": {"per_second": 1, "burst": 1}, "per_key": 1}`)
	weirtest.Enqueue(t, d, `{"kind": "k", "queue": "limited", "concurrency_key": "a"}`)
	weirtest.Admit(t, d, "limited", 1)
	weirtest.Exec(t, d, `select weir.set_schedule('s', '{"cron": "* * * * *", "job": {"kind": "k"}}')`)
	weirtest.Exec(t, d, `select weir.set_schedule('p', '{"cron": "* * * * *", "paused": true, "job": {"kind": "k"}}')`)
	weirtest.Tick(t, d)
	d.Unchanged("a recovery", func() {
		if n := weirtest.Value[int](t, d, "select leases + retries + schedules from weir.recover_clock(sure => true)"); n != 0 {
			t.Errorf("it repaired %d rows", n)
		}
		weirtest.Exec(t, d, "select weir.recover_admission()")
	})
}
