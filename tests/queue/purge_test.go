package queue

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestPurgeCancelsAvailableJobs(t *testing.T) {
	t.Parallel()
	t.Run("SQL", purgeCancelsAvailableJobsSQL)
	t.Run("REST", purgeCancelsAvailableJobsREST)
}

func purgeCancelsAvailableJobsSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for range 25 {
		weirtest.EnqueueOne(t, d, "q")
	}
	weirtest.EnqueueOne(t, d, "other")
	running := weirtest.ClaimOne(t, d, "q")
	later := weirtest.Enqueue(t, d, `{"kind": "a", "queue": "q", "delay_seconds": 100}`)[0]
	locked := d.Tx()
	weirtest.Claim(t, locked, "q", 1)
	for _, want := range []int{10, 10, 3, 0} {
		if got := weirtest.Value[int](t, d, "select weir.purge_queue('q', 10)"); got != want {
			t.Errorf("purged %d, want %d", got, want)
		}
	}
	weirtest.Rollback(t, locked)
	weirtest.WantState(t, d, running.ID, "running")
	weirtest.WantState(t, d, later, "scheduled")
	if n := weirtest.Value[int](t, d, "select count(*) from weir.jobs where state = 'cancelled' and queue = 'q'"); n != 23 {
		t.Errorf("%d are cancelled, want 23", n)
	}
	if n := weirtest.Value[int](t, d, "select available from weir.queue_depth where queue = 'other'"); n != 1 {
		t.Errorf("%d are available in the other queue", n)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.purge_queue('unknown')"), "WR011")
}

func purgeCancelsAvailableJobsREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ids := map[string]string{}
	for state, enter := range weirtest.MakeJobInState {
		if state != "available" {
			ids[state] = enter(s, "q")
		}
	}
	waiting := s.EnqueueAll(slices.Repeat([]obj{{"kind": "k", "queue": "q"}}, 50))
	other := s.Enqueue(`{"kind": "k", "queue": "other"}`)
	r := s.Post("/v1/queues/q/purge", `{"state": "available"}`).Want(http.StatusOK)
	if n := weirtest.Decode[struct{ Purged int }](r).Purged; n != 50 {
		t.Errorf("purged %d", n)
	}
	for _, id := range []string{waiting[0], waiting[49]} {
		if j := s.Job(id); j.State != "cancelled" || j.FinishedAt == nil {
			t.Errorf("%+v", j)
		}
	}
	for state, id := range ids {
		if j := s.Job(id); j.State != state {
			t.Errorf("a job that was %s is %s", state, j.State)
		}
	}
	if j := s.Job(other); j.State != "available" {
		t.Errorf("a job of another queue is %s", j.State)
	}
	if n := weirtest.Decode[struct{ Purged int }](s.Post("/v1/queues/q/purge", `{"state": "available"}`).Want(http.StatusOK)).Purged; n != 0 {
		t.Errorf("purged %d once more", n)
	}
}

func TestPurgeCancelsJobsOfOneState(t *testing.T) {
	weirtest.Long(t, "it makes a database for each state")
	t.Parallel()
	for state, want := range map[string]string{
		"available": "available 2", "scheduled": "scheduled 1", "retryable": "retryable 1", "held": "held 1", "waiting": "available 2, held 1, retryable 1, scheduled 1",
	} {
		d := weirtest.New(t)
		jobs := weirtest.JobsInEachState(t, d)
		weirtest.Exec(t, d, "update weir.job set queue_id = 1")
		for _, place := range []string{"ready", "scheduled", "held", "lease", "outcome", "dead"} {
			weirtest.Exec(t, d, "update weir.job_"+place+" set queue_id = 1")
		}
		weirtest.Exec(t, d, "update weir.queue set name = 'all' where id = 1")
		n := 0
		for _, part := range strings.Split(want, ", ") {
			var name string
			var count int
			if _, err := fmt.Sscan(part, &name, &count); err != nil {
				t.Fatal(err)
			}
			n += count
		}
		before := weirtest.Value[int](t, d, "select count(*) from weir.jobs where state = 'cancelled'")
		d.Unchanged("counting", func() {
			if got := weirtest.Value[int](t, d, "select weir.count_waiting('all', $1)", state); got != n {
				t.Errorf("%s: counted %d, want %d", state, got, n)
			}
		})
		purged := 0
		for range 10 {
			purged += weirtest.Value[int](t, d, "select weir.purge_queue('all', 2, $1)", state)
		}
		if purged != n || weirtest.Value[int](t, d, "select count(*) from weir.jobs where state = 'cancelled'") != before+n {
			t.Errorf("%s: purged %d, want %d", state, purged, n)
		}
		for was, j := range jobs {
			in := was
			if was == "new" {
				in = "available"
			}
			now := weirtest.State(t, d, j.ID)
			if hit := strings.Contains(want, in); hit != (now == "cancelled" && was != "cancelled") || !hit && now != in {
				t.Errorf("a purge of what is %s leaves a job that was %s %s", state, was, now)
			}
		}
		d.Unchanged("an unknown state", func() {
			for _, call := range []string{"purge_queue('all', 1, 'running')", "purge_queue('all', 1, null)", "count_waiting('all', 'dead')"} {
				if refusal := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call), "WR010"); refusal.ColumnName != "state" {
					t.Errorf("%s: the place is %q", call, refusal.ColumnName)
				}
			}
		})
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.count_waiting('none')"), "WR011")
	}
}

func TestPurgeCountsFirst(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for state, enter := range weirtest.MakeJobInState {
		if state != "available" {
			enter(s, "q")
		}
	}
	s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
	type purge struct{ Purged, Matching int }
	for _, c := range []struct {
		body string
		want purge
	}{
		{`{"state": "available", "dry_run": true}`, purge{0, 2}},
		{`{"state": "waiting", "dry_run": true}`, purge{0, 4}},
		{`{"state": "scheduled", "dry_run": true}`, purge{0, 1}},
		{`{"state": "available"}`, purge{2, 2}},
		{`{"state": "available", "dry_run": false}`, purge{0, 0}},
		{`{"state": "retryable"}`, purge{1, 1}},
		{`{"state": "waiting"}`, purge{1, 1}},
		{`{"state": "held"}`, purge{0, 0}},
	} {
		if got := weirtest.Decode[purge](s.Post("/v1/queues/q/purge", c.body).Want(http.StatusOK)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.body, got, c.want)
		}
	}
	if q := s.Queue("q"); q.Available+q.Scheduled+q.Retryable != 0 || q.Running != 1 || q.Dead != 1 {
		t.Errorf("the queue is %+v", q)
	}
	for _, body := range []string{`{"state": "running"}`, `{"state": "dead"}`, `{"state": ""}`, `{"state": "available", "dry_run": "yes"}`} {
		s.Post("/v1/queues/q/purge", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	s.Post("/v1/queues/none/purge", `{"state": "waiting", "dry_run": true}`).Problem(http.StatusNotFound, "queue_not_found")
}
