package overload

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestACallerThatGoesDoesNotKeepItsClaim hangs up while a claim statement waits for a lock. What the statement then takes goes back to the queue.
func TestACallerThatGoesDoesNotKeepItsClaim(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	commit := s.ExecUncommitted("lock table weir.job_lease in access exclusive mode")
	ctx, hangUp := context.WithCancel(t.Context())
	answered := make(chan struct{})
	go func() {
		_, _ = s.Send(ctx, http.MethodPost, "/v1/claims", `{"worker": "gone", "queues": ["q"], "wait_seconds": 30}`)
		close(answered)
	}()
	s.Eventually("the claim waits for the lock", func() bool {
		return s.Count("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%claim_batch%'") == 1
	})
	hangUp()
	<-answered
	s.Eventually("the node has noticed", func() bool { return s.Metric("weir_http_requests_in_flight") <= 1 })
	commit()
	if jobs := s.ClaimPatiently(weirtest.Object{"worker": "w", "queues": []string{"q"}, "wait_seconds": 30}).Jobs; len(jobs) != 1 || jobs[0].Attempt != 1 {
		t.Errorf("another worker got %+v", jobs)
	}
}

// TestClaimsForManySetsOfQueuesPollSeldom has clients wait at hundreds of different sets of queues.
func TestClaimsForManySetsOfQueuesPollSeldom(t *testing.T) {
	weirtest.Long(t, "it watches polls for a while")
	t.Parallel()
	s := weirtest.StartNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var callers sync.WaitGroup
	const sets = 800
	for i := range sets {
		callers.Go(func() {
			_, _ = s.Send(ctx, http.MethodPost, "/v1/claims", weirtest.Object{"worker": "w", "queues": []string{fmt.Sprint("q", i)}, "wait_seconds": 60})
		})
	}
	s.Eventually("all claims wait", func() bool { return s.Metric("weir_claims_waiting") == sets })
	// At first each parks and claims once more, which takes a busy machine many seconds. If each polled once a second, no window would be quiet.
	s.Eventually("the node polls seldom", func() bool {
		const window, most = 3 * time.Second, 3 * 250
		before := s.Metric("weir_claim_batch_jobs_count")
		time.Sleep(window)
		return s.Metric("weir_claim_batch_jobs_count")-before <= most
	})
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q7"}) // notifications do not wait for a poll
	s.Eventually("the job is claimed", func() bool { return s.Count("select count(*) from weir.job_lease") == 1 })
	cancel()
	callers.Wait()
}
