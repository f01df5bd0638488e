package worker

import (
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestPausedOrDrainingWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	t.Run("SQL", pausedOrDrainingWorkerGetsNothingSQL)
	t.Run("REST", pausedOrDrainingWorkerGetsNothingREST)
}

func pausedOrDrainingWorkerGetsNothingSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	fillQueue(t, d, 50)
	claimAs(t, d, "w", 2)
	for _, c := range []struct{ call, state, refusal string }{
		{"pause_worker", "paused 2", "paused"},
		{"pause_worker", "paused 2", "paused"},
		{"drain_worker", "draining 2", "draining"},
		{"resume_worker", "active 2", "none"},
		{"drain_worker", "draining 2", "draining"},
		{"pause_worker", "draining 2", "draining"},
		{"resume_worker", "active 2", "none"},
		{"resume_worker", "active 2", "none"},
	} {
		weirtest.Exec(t, d, "select weir."+c.call+"('w')")
		if state, why := stateOfWorker(t, d, "w"), refusalOf(t, d, "w"); state != c.state || why != c.refusal {
			t.Errorf("after %s it is %s and refused as %s, want %s and %s", c.call, state, why, c.state, c.refusal)
		}
		if beat := weirtest.Value[string](t, d, "select state from weir.worker_heartbeat('w')"); beat+" 2" != c.state {
			t.Errorf("after %s the worker learns %s", c.call, beat)
		}
		if c.refusal != "none" {
			if n := claimAs(t, d, "w", 5); n != 0 {
				t.Errorf("after %s it claimed %d", c.call, n)
			}
		}
		got, err := tryClaimAs(d, "other", 1)
		if err != nil || len(got) != 1 {
			t.Errorf("after %s another one claimed %v, %v", c.call, got, err)
		}
	}
	if n := claimAs(t, d, "w", 5); n != 5 {
		t.Errorf("in the end it claimed %d", n)
	}
	// A drained worker is done when it has no job left.
	weirtest.Exec(t, d, "select weir.drain_worker('w')")
	weirtest.Exec(t, d, "select weir.complete(job_id, token) from weir.job_lease where worker = 'w'")
	if got := stateOfWorker(t, d, "w"); got != "draining 0" {
		t.Errorf("it is %s", got)
	}
	// Registering again changes neither.
	weirtest.Exec(t, d, "select weir.register_worker('w')")
	if got := stateOfWorker(t, d, "w"); got != "draining 0" {
		t.Errorf("registered again it is %s", got)
	}
}

func pausedOrDrainingWorkerGetsNothingREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("w", 10)
	if got := s.TryClaim("w", 5, 0); got.String() != "0 jobs" {
		t.Errorf("from an empty queue: %v", got)
	}
	s.Fill(100)
	for _, want := range []string{"7 jobs", "3 jobs", "0 jobs, at_capacity"} {
		limit := 50
		if want == "7 jobs" {
			limit = 7
		}
		if got := s.TryClaim("w", limit, 0); got.String() != want {
			t.Errorf("claimed %v, want %s", got, want)
		}
	}
	for action, want := range map[string]string{"pause": "0 jobs, paused", "drain": "0 jobs, draining"} {
		s.Post("/v1/workers/w/"+action, nil).Want(http.StatusOK)
		if got := s.TryClaim("w", 50, 0); got.String() != want {
			t.Errorf("after %s: %v", action, got)
		}
		began := time.Now()
		if got := s.TryClaim("w", 50, 0.4); got.String() != want || time.Since(began) < 400*time.Millisecond {
			t.Errorf("after %s, waiting: %v after %v", action, got, time.Since(began))
		}
		s.Post("/v1/workers/w/resume", nil).Want(http.StatusOK)
	}
	if got := s.TryClaim("other", 50, 0); got.String() != "50 jobs" {
		t.Errorf("another one: %v", got)
	}
}

func TestParkedClaimOfResumedWorkerGetsJobs(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	claim := obj{"worker": "w", "queues": []string{"q"}, "limit": 5, "wait_seconds": 60, "lease_seconds": 300}
	quick := func(what string, answer <-chan weirtest.ClaimAnswer, n int, since time.Time) []weirtest.ClaimedJob {
		got := s.Answer(answer)
		if took := time.Since(since); len(got) != n || took > weirtest.Soon {
			t.Errorf("%s: %d jobs after %v, want %d", what, len(got), took, n)
		}
		return got
	}
	s.Register("w", 4)
	s.Fill(30)
	s.Post("/v1/workers/w/pause", nil).Want(http.StatusOK)
	waiting := s.Park(claim)
	time.Sleep(3 * time.Second) // by now it polls seldom
	began := time.Now()
	s.Post("/v1/workers/w/resume", nil).Want(http.StatusOK)
	got := quick("resumed", waiting, 4, began)

	waiting = s.Park(claim)
	time.Sleep(500 * time.Millisecond)
	began = time.Now()
	s.Post("/v1/jobs/"+got[0].ID+"/complete", obj{"token": got[0].Token}).Want(http.StatusOK)
	quick("a job is done", waiting, 1, began)

	waiting = s.Park(claim)
	began = time.Now()
	s.Exec("select weir.complete($1::text::bigint, $2::text::bigint)", got[1].ID, got[1].Token)
	quick("a job is done in SQL", waiting, 1, began)

	waiting = s.Park(claim)
	began = time.Now()
	s.Do(http.MethodPatch, "/v1/workers/w", `{"capacity": 6}`).Want(http.StatusOK)
	quick("its capacity is raised", waiting, 2, began)
}

// A parked claim of a paused worker must not take the place of others, and must not keep the node busy.
func TestParkedClaimsOfPausedWorkersBlockNoOthers(t *testing.T) {
	weirtest.Long(t, "it waits until parked claims look seldom")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Register("idle", 10)
	s.Post("/v1/workers/idle/pause", nil).Want(http.StatusOK)
	idle := s.ParkMany(20, func(int) obj {
		return obj{"worker": "idle", "queues": []string{"q"}, "limit": 1000, "wait_seconds": 60}
	})
	time.Sleep(2 * time.Second) // by now they poll seldom
	looks, since := s.Metric("weir_claim_batch_jobs_count"), time.Now()
	s.Fill(50)
	for range 10 {
		if got := s.TryClaim("busy", 5, weirtest.Soon.Seconds()); got.String() != "5 jobs" { // behind the paused ones it would get none
			t.Errorf("another worker got %v", got)
		}
	}
	waiting := s.Park(obj{"worker": "patient", "queues": []string{"q"}, "limit": 1000, "wait_seconds": weirtest.Soon.Seconds()})
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	if got := s.Answer(waiting); len(got) != 1 {
		t.Errorf("one that waits got %d jobs", len(got))
	}
	// Enqueueing wakes none of them.
	for range 300 {
		s.Enqueue(obj{"kind": "k", "queue": "q"})
	}
	took := time.Since(since)
	if n := s.Metric("weir_claim_batch_jobs_count") - looks; n > 60+100*took.Seconds() {
		t.Errorf("in %v there were %g claim statements", took, n)
	}
	if n := s.Count("select count(*) from weir.job_lease where worker = 'idle'"); n != 0 {
		t.Errorf("the paused worker has %d jobs", n)
	}
	s.Engine.Drain() // which ends the waits
	for _, answer := range idle {
		if got := s.Answer(answer); len(got) != 0 {
			t.Errorf("a claim of the paused worker got %d jobs", len(got))
		}
	}
}
