package worker

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRemovedWorkersJobsReturnAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("SQL", removedWorkersJobsReturnAtOnceSQL)
	t.Run("REST", removedWorkersJobsReturnAtOnceREST)
}

func removedWorkersJobsReturnAtOnceSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 10)
	jobs := weirtest.Claim(t, d, "q", 5)
	mine := weirtest.Values[int64](t, d, "select job_id from weir.claim(array['q'], 'other', 2)")
	weirtest.Complete(t, d, jobs[0])
	weirtest.Exec(t, d, "select weir.cancel($1)", jobs[1].ID)
	tx := d.Tx() // it is completing one
	jobs[4].Call(t, tx, "complete($1, $2)")
	if n := weirtest.Value[int](t, d.ConnectWithLockTimeout(), "select weir.remove_worker('worker')"); n != 3 {
		t.Errorf("%d jobs went back, want 3", n)
	}
	weirtest.Commit(t, tx)
	weirtest.WantState(t, d, jobs[1].ID, "cancelled")
	weirtest.WantState(t, d, jobs[4].ID, "completed")
	for _, j := range jobs[2:4] {
		weirtest.WantState(t, d, j.ID, "available")
		if n := weirtest.Value[int](t, d, "select attempt from weir.jobs where id = $1", j.ID); n != 0 {
			t.Errorf("job %d lost %d attempts", j.ID, n)
		}
		if why := weirtest.Value[string](t, d, "select kind || ' ' || (detail ->> 'reason') || ' ' || worker from weir.job_event where job_id = $1", j.ID); why != "released worker_removed worker" {
			t.Errorf("the event of job %d says %q", j.ID, why)
		}
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.complete($1, $2)", j.ID, j.Token), "WR001")
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.snooze($1, $2, '1 s')", j.ID, j.Token), "WR001")
	}
	for _, id := range mine {
		weirtest.WantState(t, d, id, "running")
	}
	if got := stateOfWorker(t, d, "worker"); got != "unknown" {
		t.Errorf("it is still %s", got)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.remove_worker('worker')"), "WR015")
	if again := weirtest.Claim(t, d, "q", 1); len(again) != 1 || stateOfWorker(t, d, "worker") != "active 1" {
		t.Error("it did not come back by its next claim")
	}
}

func removedWorkersJobsReturnAtOnceREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("gone", 10)
	ids := s.Fill(4)
	mine := s.TryClaim("gone", 3, 0).Jobs
	first := s.TryClaim("other", 10, 0).Jobs
	waiting := s.Park(obj{"worker": "other", "queues": []string{"q", "r"}, "limit": 10, "wait_seconds": 60})
	began := time.Now()
	if n := weirtest.Decode[obj](s.Do(http.MethodDelete, "/v1/workers/gone", nil).Want(http.StatusOK))["released"]; n != 3.0 {
		t.Errorf("%v jobs went back", n)
	}
	got := s.Answer(waiting)
	if len(first) != 1 || len(got) != 3 || time.Since(began) > weirtest.Soon {
		t.Errorf("another worker got %d and, after %v, %d of %d jobs", len(first), time.Since(began), len(got), len(ids))
	}
	for _, j := range got {
		if j.Attempt != 1 {
			t.Errorf("job %s is at attempt %d", j.ID, j.Attempt)
		}
	}
	for _, j := range mine {
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Problem(http.StatusConflict, "stale_token")
		s.Post("/v1/jobs/"+j.ID+"/heartbeat", obj{"token": j.Token}).Problem(http.StatusConflict, "stale_token")
		if j := s.Job(j.ID); j.State != "running" || j.Worker != "other" || len(j.Errors) != 0 {
			t.Errorf("the job is %+v", j)
		}
	}
	time.Sleep(2 * time.Second)
	s.Get("/v1/workers/gone").Problem(http.StatusNotFound, "worker_not_found")
	// A live worker is known again by its next claim, without its limit.
	s.Fill(20)
	if got := s.TryClaim("gone", 15, 0); got.String() != "15 jobs" {
		t.Errorf("it got %v", got)
	}
	s.Eventually("it is back", func() bool { return s.Get("/v1/workers/gone").Status == http.StatusOK })
}

func TestSilentWorkerIsLostAfterThirtySeconds(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 3)
	silence := func(seconds int) {
		weirtest.Exec(t, d, "update weir.worker_seen set last_seen_at = clock_timestamp() - make_interval(secs => $1)", seconds)
		weirtest.Exec(t, d, "update weir.job_lease set leased_at = clock_timestamp() - make_interval(secs => $1), expires_at = clock_timestamp() - make_interval(secs => $1 - lease_seconds)", seconds)
	}
	j := weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "select weir.register_worker('worker')")
	weirtest.Eventually(t, "it is looked at within a second after 28", func() bool {
		began := time.Now()
		silence(28)
		got := stateOfWorker(t, d, "worker")
		if time.Since(began) > time.Second {
			return false
		}
		if got != "active 1" {
			t.Errorf("after 28 s it is %s", got)
		}
		return true
	})
	for what, sign := range map[string]func(){
		"a claim":             func() { claimAs(t, d, "worker", 1) },
		"its heartbeat":       func() { weirtest.Exec(t, d, "select weir.worker_heartbeat('worker', 0.5)") },
		"a job's heartbeat":   func() { j.Call(t, d, "heartbeat(array[$1::bigint], array[$2::bigint])") },
		"its registering":     func() { weirtest.Exec(t, d, "select weir.register_worker('worker')") },
		"a sign through REST": func() { weirtest.Exec(t, d, "select weir.touch_workers(array['worker'], array[3])") },
	} {
		silence(31)
		if got := stateOfWorker(t, d, "worker"); !strings.HasPrefix(got, "lost") {
			t.Errorf("after 31 s it is %s", got)
		}
		if sign(); !strings.HasPrefix(stateOfWorker(t, d, "worker"), "active") {
			t.Errorf("%s does not count as seen", what)
		}
	}
	weirtest.Exec(t, d, "select weir.pause_worker('worker')")
	silence(31)
	if got := stateOfWorker(t, d, "worker"); !strings.HasPrefix(got, "lost") {
		t.Errorf("a paused one that is silent is %s", got)
	}
	if load := weirtest.Value[float64](t, d, "select load from weir.workers"); load != 0.5 {
		t.Errorf("its load is %g", load)
	}
	// In the end it is forgotten, but not what operators decided, nor a worker with jobs.
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease")
	weirtest.Exec(t, d, "select weir.touch_workers(array['idle', 'old'])")
	weirtest.Exec(t, d, "update weir.worker_seen set last_seen_at = now() - interval '8 days' where name <> 'idle'")
	if n := weirtest.Value[int](t, d, "select weir.sweep_workers()"); n != 1 {
		t.Errorf("%d were forgotten", n)
	}
	if left := weirtest.Values[string](t, d, "select name from weir.workers order by name"); !slices.Equal(left, []string{"idle", "worker"}) {
		t.Errorf("left are %q", left)
	}
}

// A claim in an application's long transaction blocks no one: neither others of its name nor operators.
func TestClaimInLongTransactionBlocksNoOthers(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 30)
	tx, other := d.Tx(), d.ConnectWithLockTimeout()
	claimAs(t, tx, "new", 1) // inserts its last-seen time
	for _, sql := range []string{
		"select * from weir.claim(array['q'], 'new', 1)", "select weir.touch_workers(array['new', 'x'])", "select weir.register_worker('new', '{\"capacity\": 9}')",
		"select weir.worker_heartbeat('new', 1)", "select weir.pause_worker('new')", "select weir.drain_worker('new')", "select weir.resume_worker('new')",
	} {
		if err := weirtest.TryExec(other, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	weirtest.Commit(t, tx)
	weirtest.Exec(t, d, "update weir.worker_seen set last_seen_at = now() - interval '1 minute'")
	tx = d.Tx()
	claimAs(t, tx, "new", 1) // updates it
	for _, sql := range []string{
		"select * from weir.claim(array['q'], 'new', 1)", "select weir.touch_workers(array['new', 'x'])", "select weir.register_worker('new')", "select weir.edit_worker('new', '{\"capacity\": 5}')",
		"select weir.worker_heartbeat('new', 1)", "select weir.pause_worker('new')", "select weir.resume_worker('new')", "select weir.drain_worker('new')", "select weir.sweep_workers()", "select weir.remove_worker('new')",
	} {
		if err := weirtest.TryExec(other, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
