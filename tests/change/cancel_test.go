package change

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// changes maps a job's state to the outcome of a call: the state that the call returns and the job then has, or the
// error.
type changes map[string]string

func (c changes) check(t *testing.T, call string) {
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	jobs["unknown"] = weirtest.Lease{ID: 1 << 40}
	if got, want := slices.Sorted(maps.Keys(c)), slices.Sorted(maps.Keys(jobs)); !slices.Equal(got, want) {
		t.Fatalf("the table is about %q, want all states: %q", got, want)
	}
	for state, want := range c {
		id := jobs[state].ID
		if strings.HasPrefix(want, "WR") {
			d.Unchanged(call+" of a job that is "+state, func() { weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+call, id), want) })
			continue
		}
		if got := weirtest.Value[string](t, d, "select weir."+call, id); got != want {
			t.Errorf("%s of a job that is %s answers %q, want %q", call, state, got, want)
		}
		weirtest.WantState(t, d, id, want)
		attempt := 1
		if state == "new" || state == "available" || state == "scheduled" || state == "held" {
			attempt = 0
		} else if strings.Contains(call, "reset") {
			attempt = 0
		}
		if state == "cancelled" { // it was released before
			attempt = 0
		}
		if got := weirtest.Value[int](t, d, "select attempt from weir.jobs where id = $1", id); got != attempt {
			t.Errorf("%s of a job that is %s leaves it at attempt %d, want %d", call, state, got, attempt)
		}
	}
}

func TestCancelEndsWaitingJob(t *testing.T) {
	t.Parallel()
	t.Run("SQL", cancelEndsWaitingJobSQL)
	t.Run("REST", cancelEndsWaitingJobREST)
}

func cancelEndsWaitingJobSQL(t *testing.T) {
	t.Parallel()
	changes{
		"new": "cancelled", "available": "cancelled", "scheduled": "cancelled", "retryable": "cancelled", "held": "cancelled",
		"running": "running", "completed": "WR003", "cancelled": "WR003", "dead": "WR003", "unknown": "WR002",
	}.check(t, "cancel($1)")
}

func cancelEndsWaitingJobREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, state := range []string{"available", "scheduled", "retryable"} {
		id := weirtest.MakeJobInState[state](s, state)
		if j := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)); j.ID != id || j.State != "cancelled" || j.FinishedAt == nil {
			t.Errorf("%s: %+v", state, j)
		}
		if got := s.Claim(10, state); len(got) != 0 {
			t.Errorf("%s: it was claimed after it was cancelled", state)
		}
	}
	for _, state := range []string{"completed", "cancelled", "dead"} {
		id := weirtest.MakeJobInState[state](s, state)
		before := s.Get("/v1/jobs/" + id)
		s.Post("/v1/jobs/"+id+"/cancel", nil).Problem(http.StatusConflict, "job_ended")
		if after := s.Get("/v1/jobs/" + id); !bytes.Equal(before.Body, after.Body) {
			t.Errorf("%s: the job changed from\n%s to\n%s", state, before.Body, after.Body)
		}
	}
}

func TestCancelledJobIsNeverClaimed(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	jobs := weirtest.JobsInEachState(t, d)
	for _, state := range []string{"new", "available", "scheduled", "retryable", "held"} {
		weirtest.Exec(t, d, "select weir.cancel($1)", jobs[state].ID)
		if got := weirtest.Value[string](t, d, "select concat_ws(' ', state, finished_at is not null, started_at is null) from weir.jobs where id = $1", jobs[state].ID); got != "cancelled t t" {
			t.Errorf("the one that was %s is %q", state, got)
		}
	}
	weirtest.Exec(t, d, "select weir.promote_due()")
	if got := weirtest.Claim(t, d, "new,available,scheduled,retryable,held", 100); len(got) != 0 {
		t.Errorf("claimed %v", got)
	}
}

func TestWorkerLearnsOfCancel(t *testing.T) {
	t.Parallel()
	t.Run("SQL", workerLearnsOfCancelSQL)
	t.Run("REST", workerLearnsOfCancelREST)
}

func workerLearnsOfCancelSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	id := weirtest.EnqueueOne(t, d, "q")
	weirtest.ClaimOne(t, d, "q")
	for range 2 {
		if said := weirtest.Value[string](t, d, "select weir.cancel($1)", id); said != "running" {
			t.Errorf("cancel says %q", said)
		}
	}
	asked := weirtest.Values[time.Time](t, d, "select cancel_requested_at from weir.jobs where id = $1 and state = 'running'", id)
	first := weirtest.Value[time.Time](t, d, "select min(at) from weir.job_event where job_id = $1 and kind = 'cancel_requested'", id)
	if len(asked) != 1 || asked[0].After(first) {
		t.Errorf("it was asked to stop at %v, want the time of the first cancel, before %s", asked, first)
	}
}

func workerLearnsOfCancelREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for how, want := range map[string]string{"complete": "completed", "fail": "cancelled", "snooze": "cancelled", "release": "cancelled"} {
		id := s.Enqueue(obj{"kind": "k", "queue": how})
		got := s.ClaimOne(how)
		beat := func() bool {
			t.Helper()
			r := s.Post("/v1/jobs/"+id+"/heartbeat", obj{"token": got.Token}).Want(http.StatusOK)
			return weirtest.Decode[struct {
				CancelRequested bool `json:"cancel_requested"`
			}](r).CancelRequested
		}
		if beat() {
			t.Fatal("cancel_requested before a cancel")
		}
		if j := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)); j.State != "running" || !j.CancelAsked {
			t.Errorf("cancelling a running job: %+v", j)
		}
		s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK) // a second call changes nothing
		if !beat() {
			t.Error("the worker does not learn that its job is cancelled")
		}
		s.Post("/v1/jobs/"+id+"/"+how, obj{
			"complete": obj{"token": got.Token}, "release": obj{"token": got.Token}, "snooze": obj{"token": got.Token, "delay_seconds": 1},
			"fail": obj{"token": got.Token, "error": obj{"message": "stopped"}},
		}[how]).Want(http.StatusOK)
		if j := s.Job(id); j.State != want || j.FinishedAt == nil {
			t.Errorf("after %s: %+v", how, j)
		}
	}
}

func TestCancelAndClaimNeverBothGetJob(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	const jobs = 200
	weirtest.Exec(t, d, "select weir.enqueue('a', queue => 'q') from generate_series(1, $1)", jobs)
	ids := weirtest.Values[int64](t, d, "select id from weir.jobs order by id")
	weirtest.Exec(t, d, "select weir.release(job_id, token) from weir.claim(array['q'], 'w', 100)") // half of them have returned

	var mu sync.Mutex
	claimed, answers := map[int64]bool{}, map[int64]string{}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				got := weirtest.Claim(t, d, "q", 2)
				mu.Lock()
				for _, j := range got {
					claimed[j.ID] = true
				}
				all := len(answers) == jobs
				mu.Unlock()
				if len(got) == 0 && all {
					return
				}
			}
		})
	}
	order := rand.Perm(jobs)
	for i := range 2 {
		wg.Go(func() {
			for n := i; n < jobs; n += 2 {
				id := ids[order[n]]
				said := weirtest.Value[string](t, d, "select weir.cancel($1)", id)
				mu.Lock()
				answers[id] = said
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	counts := map[string]int{}
	for _, id := range ids {
		counts[answers[id]]++
		if want := map[bool]string{true: "running", false: "cancelled"}[claimed[id]]; answers[id] != want {
			t.Errorf("job %d was claimed: %t, and its cancel said %q", id, claimed[id], answers[id])
		}
		if want := map[bool]string{true: "running", false: "cancelled"}[claimed[id]]; weirtest.State(t, d, id) != want {
			t.Errorf("job %d is %s, want %s", id, weirtest.State(t, d, id), want)
		}
	}
	t.Logf("%v", counts)
}
