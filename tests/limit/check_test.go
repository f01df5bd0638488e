package limit

import (
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// Other tests rely on weir.check_limits, and nodes use it for repairs.
func TestCheckOfLimitsFindsMistakesAndRepairs(t *testing.T) {
	t.Parallel()
	for name, mistake := range map[string]string{
		"count of a line":         "update weir.line set in_flight = in_flight + 1 where in_flight > 0",
		"count of the queue":      "update weir.admission set in_flight = in_flight + 1",
		"reservation without job": "insert into weir.line_reservation (queue_id, job_id, name) select queue_id, job_id, key from weir.job_held limit 1",
		"job below its floor":     "update weir.line set floors = array(select 1000000 from unnest(floors)) where cardinality(floors) > 0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := weirtest.New(t)
			weirtest.SetLimits(t, d, "q", `{"per_key": 1}`)
			ids := enqueueKeyed(t, d, "q", "a a b b")
			weirtest.Admit(t, d, "q", 10)
			running := weirtest.Claim(t, d, "q", 10)
			if len(running) != 2 {
				t.Fatalf("claimed %d jobs, want one of each key", len(running))
			}
			weirtest.CheckLimits(t, d)
			weirtest.Exec(t, d, mistake)
			found := weirtest.Values[string](t, d, "select problem from weir.check_limits()")
			if len(found) == 0 {
				t.Fatalf("the check did not find the mistake")
			}
			if again := weirtest.Values[string](t, d, "select problem from weir.check_limits()"); len(again) != len(found) {
				t.Errorf("got %q from a second check, want %q: a check changes nothing", again, found)
			}
			weirtest.Exec(t, d, "select weir.check_limits(repair => true)")
			weirtest.Admit(t, d, "q", 10)
			weirtest.CheckLimits(t, d)
			weirtest.Complete(t, d, running...)
			weirtest.Admit(t, d, "q", 10)
			if rest := weirtest.Claim(t, d, "q", 10); len(rest) != 2 || rest[0].ID != ids[1] || rest[1].ID != ids[3] {
				t.Errorf("claimed %v after the repair, want jobs %d and %d", weirtest.IDs(rest), ids[1], ids[3])
			}
		})
	}
}
