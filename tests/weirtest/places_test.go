//go:build unix

package weirtest

import (
	"testing"
)

// TestCheckOfPlacesCanFail makes each mistake that the check must find.
func TestCheckOfPlacesCanFail(t *testing.T) {
	t.Parallel()
	d := New(t)
	for _, mistake := range []string{
		"delete from weir.job_ready",
		"insert into weir.job_outcome (job_id, queue_id, state, attempt) select seq, queue_id, 'completed', 1 from weir.job_ready",
		"insert into weir.job_ready (queue_id, priority, seq, job_id) select 1, 5, 1000, 999",
		"insert into weir.job_ready (queue_id, priority, seq, job_id) select queue_id, priority, seq + 1000, seq from weir.job_ready",
		"update weir.job_ready set priority = 6",
		"update weir.job set queue_id = queue_id + 1",
		"update weir.job_ready set attempt = 1",
		"update weir.job_ready set job_id = seq",
		"insert into weir.job_dead (job_id, queue_id) select seq, queue_id from weir.job_ready",
	} {
		tx := d.Tx()
		EnqueueOne(t, tx, "q")
		if wrong := Values[string](t, tx, MisplacedJobs); len(wrong) > 0 {
			t.Fatalf("before the mistake: %q", wrong)
		}
		Exec(t, tx, mistake)
		if wrong := Values[string](t, tx, MisplacedJobs); len(wrong) == 0 {
			t.Errorf("not found: %s", mistake)
		}
		Rollback(t, tx)
	}
}
