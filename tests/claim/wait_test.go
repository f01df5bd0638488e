package claim

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Each way in which a job becomes available must end the wait of a claim. The service does only what it always does: no
// other claim wakes this one.
func TestParkedClaimIsAnsweredWhenJobArrives(t *testing.T) {
	t.Parallel()
	for name, way := range map[string]struct {
		before func(s *weirtest.Node) (later func(), id string) // what is done before the claim waits, and then
	}{
		"an enqueue": {func(s *weirtest.Node) (func(), string) {
			return func() { s.Enqueue(`{"kind": "k", "queue": "q"}`) }, ""
		}},
		"a batch": {func(s *weirtest.Node) (func(), string) {
			return func() { s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}}) }, ""
		}},
		"an enqueue by SQL": {func(s *weirtest.Node) (func(), string) {
			return func() { s.Exec(`select weir.enqueue('k', queue => 'q')`) }, ""
		}},
		"a transaction that commits later": {func(s *weirtest.Node) (func(), string) {
			return func() {
				tx := s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`)
				s.Eventually("the watermark has passed it", func() bool { return s.Count(`select count(*) from weir.watermark where holders <> '{}'`) == 1 })
				tx()
			}, ""
		}},
		"a transaction that began before the claim": {func(s *weirtest.Node) (func(), string) {
			s.Enqueue(`{"kind": "k", "queue": "q"}`) // the queue exists, and has been claimed from
			s.ClaimOne("q")
			return s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`), ""
		}},
		"the first job of a new queue, in a transaction that began before the claim": {func(s *weirtest.Node) (func(), string) {
			return s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`), ""
		}},
		"a job that becomes due": {func(s *weirtest.Node) (func(), string) {
			return func() { s.Enqueue(`{"kind": "k", "queue": "q", "delay_seconds": 1}`) }, ""
		}},
		"a release": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() { s.Post("/v1/jobs/"+j.ID+"/release", obj{"token": j.Token}).Want(http.StatusOK) }, j.ID
		}},
		"a release among acks": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() {
				s.Post("/v1/acks", obj{"acks": []obj{{"id": j.ID, "token": j.Token, "outcome": "release"}}}).Want(http.StatusOK)
			}, j.ID
		}},
		"a snooze of a second": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() {
				s.Post("/v1/jobs/"+j.ID+"/snooze", obj{"token": j.Token, "delay_seconds": 1}).Want(http.StatusOK)
			}, j.ID
		}},
		"a failure that is retried at once": {func(s *weirtest.Node) (func(), string) {
			j := s.EnqueueAndClaim("q")
			return func() {
				s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no"}, "retry_in_seconds": 0}).Want(http.StatusOK)
			}, j.ID
		}},
		"a lease that runs out": {func(s *weirtest.Node) (func(), string) {
			id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
			got := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", `{"worker": "w", "queues": ["q"], "wait_seconds": 20, "lease_seconds": 2}`).Want(http.StatusOK)).Jobs
			if len(got) != 1 {
				s.T.Fatal("nothing to claim")
			}
			return func() {}, id
		}},
		"a retry by hand": {func(s *weirtest.Node) (func(), string) {
			id := s.EndedJob("q", "complete", obj{})
			return func() { s.Post("/v1/jobs/"+id+"/retry", nil).Want(http.StatusOK) }, id
		}},
		"a change that brings it forward": {func(s *weirtest.Node) (func(), string) {
			id := s.Enqueue(`{"kind": "k", "queue": "q", "delay_seconds": 3600}`)
			return func() {
				s.Do(http.MethodPatch, "/v1/jobs/"+id, `{"run_at": "2020-01-01T00:00:00Z"}`).Want(http.StatusOK)
			}, id
		}},
		"a queue that goes on": {func(s *weirtest.Node) (func(), string) {
			id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
			s.Post("/v1/queues/q/pause", nil).Want(http.StatusOK)
			return func() { s.Post("/v1/queues/q/resume", nil).Want(http.StatusOK) }, id
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNode(t)
			later, id := way.before(s)
			answer := s.Park(obj{"worker": "w", "queues": []string{"other", "q"}, "limit": 10, "wait_seconds": 60})
			later()
			got := s.Answer(answer)
			if len(got) != 1 || got[0].Queue != "q" || id != "" && got[0].ID != id {
				t.Errorf("got %+v, want one job of queue q %s", got, id)
			}
		})
	}
}

func TestParkedClaimEndsEmpty(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{}`).Want(http.StatusOK)
	s.ExecUncommitted(`select weir.enqueue('k', queue => 'q')`) // and never commit
	answer := s.Park(obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 2})
	s.Enqueue(`{"kind": "k", "queue": "another"}`)
	s.Enqueue(`{"kind": "k", "queue": "q", "delay_seconds": 60}`)
	if got := s.Answer(answer); got == nil || len(got) != 0 {
		t.Errorf("got %+v, want an empty list", got)
	}
	if n := s.Metric("weir_claims_waiting"); n != 0 {
		t.Errorf("%v claims still wait", n)
	}
}

func TestOneJobWakesOneOf200Workers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const workers = 200
	answers := make(chan weirtest.ClaimAnswer, workers)
	for _, answer := range s.ParkMany(workers, func(i int) obj {
		return obj{"worker": fmt.Sprintf("w%d", i), "queues": []string{"q"}, "wait_seconds": 60}
	}) {
		go func() { answers <- <-answer }()
	}
	seen := map[string]bool{}
	for left := workers; left > 0; left-- {
		id := s.Enqueue(`{"kind": "k", "queue": "q"}`)
		select {
		case a := <-answers:
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			if len(a.Jobs) != 1 || a.Jobs[0].ID != id || seen[id] {
				t.Fatalf("a worker got %+v, want job %s", a.Jobs, id)
			}
			seen[id] = true
		case <-time.After(2 * weirtest.Patience):
			t.Fatalf("nobody got job %s", id)
		}
		if left%50 == 0 || left == 2 {
			s.Eventually("all others wait on", func() bool { return s.Metric("weir_claims_waiting") == float64(left-1) })
		}
	}
	if len(answers) != 0 || len(seen) != workers {
		t.Errorf("%d jobs went to workers, and %d more were answered", len(seen), len(answers))
	}
}

// A claim that does not wait is answered at once, whatever the parked claims would take.
func TestParkedClaimsBlockNoOthers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	waiting := s.ParkMany(3, func(i int) obj {
		return obj{"worker": fmt.Sprint(i), "queues": []string{"q"}, "limit": 1000, "wait_seconds": 50}
	})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), weirtest.Soon) // sooner than the waits of the others
		r, err := s.Send(ctx, http.MethodPost, "/v1/claims", `{"worker": "w", "queues": ["q"]}`)
		cancel()
		if err != nil {
			t.Fatalf("a claim that does not wait was held up by those that do: %v", err)
		}
		if got := weirtest.Decode[weirtest.ClaimedJobs](r.Want(http.StatusOK)).Jobs; len(got) != 0 {
			t.Fatalf("got %+v", got)
		}
	}
	s.EnqueueAll([]obj{{"kind": "k", "queue": "q"}, {"kind": "k", "queue": "q"}})
	got := 0
	for got < 2 { // together or one each
		select {
		case a := <-waiting[0]:
			got += len(a.Jobs)
			waiting[0] = nil
		case a := <-waiting[1]:
			got += len(a.Jobs)
			waiting[1] = nil
		case a := <-waiting[2]:
			got += len(a.Jobs)
			waiting[2] = nil
		case <-time.After(weirtest.Patience):
			t.Fatalf("the workers that wait got %d jobs of 2", got)
		}
	}
}

// The wait of a claim may end in the very moment in which the node serves it.
func TestWaitThatEndsDuringClaimIsAnswered(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	var waker sync.WaitGroup
	defer waker.Wait()
	defer cancel()
	waker.Go(func() {
		for ctx.Err() == nil { // the node checks again and again
			_, _ = s.DB.Exec(ctx, `select pg_notify('weir_ready', 'q')`)
		}
	})
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), weirtest.Patience)
		r, err := s.Send(ctx, http.MethodPost, "/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "wait_seconds": 0.01 + float64(i)/1000})
		cancel()
		if err != nil {
			t.Fatalf("claim number %d: %v", i, err)
		}
		if got := weirtest.Decode[weirtest.ClaimedJobs](r.Want(http.StatusOK)).Jobs; len(got) != 0 {
			t.Fatalf("got %+v", got)
		}
	}
	if n := s.Metric("weir_claims_waiting"); n != 0 {
		t.Errorf("%v claims still wait", n)
	}
}
