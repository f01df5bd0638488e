package overload

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// callers make the same call again and again, each of them one at a time, until they are told to stop.
type callers struct {
	stop  context.CancelFunc
	group sync.WaitGroup

	answers sync.Map // status -> *atomic.Int64
	errors  atomic.Int64
}

// startCallers starts n callers and returns once all of them wait for an answer.
func startCallers(s *weirtest.Node, n int, path string, body any) *callers {
	s.T.Helper()
	going, stop := context.WithCancel(s.T.Context())
	c := &callers{stop: stop}
	for range n {
		c.group.Go(func() {
			for going.Err() == nil {
				r, err := s.Send(s.T.Context(), http.MethodPost, path, body)
				if err != nil {
					c.errors.Add(1)
					return
				}
				count, _ := c.answers.LoadOrStore(r.Status, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
				time.Sleep(50 * time.Millisecond) // a refusal is an answer at once
			}
		})
	}
	s.Eventually("all callers wait", func() bool { return s.Metric("weir_http_requests_in_flight") > float64(n) })
	return c
}

// end stops the callers, waits for their last answers, and checks that all answers were among these statuses.
func (c *callers) end(t *testing.T, statuses ...int) {
	t.Helper()
	c.stop()
	c.group.Wait()
	if n := c.errors.Load(); n > 0 {
		t.Errorf("%d callers got no answer", n)
	}
	wanted := map[int]bool{}
	for _, status := range statuses {
		wanted[status] = true
	}
	c.answers.Range(func(status, count any) bool {
		if !wanted[status.(int)] {
			t.Errorf("status %d for %d calls that wait for a lock, want one of %v", status, count.(*atomic.Int64).Load(), statuses)
		}
		return true
	})
}

// TestCallersBehindALockedKey holds a unique key in an open transaction while callers enqueue with it. Calls with other
// keys are answered: were they to wait behind those with the locked one, they would be refused like them.
func TestCallersBehindALockedKey(t *testing.T) {
	weirtest.Long(t, "calls wait for a lock until their patience ends")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(weirtest.Object{"kind": "k"}) // makes the queue
	commit := s.ExecUncommitted("select weir.enqueue('k', unique_key => 'locked')")
	locked := startCallers(s, 200, "/v1/jobs", `{"kind": "k", "unique": {"key": "locked"}}`)
	for i := range 50 {
		s.Enqueue(weirtest.Object{"kind": "k", "unique": weirtest.Object{"key": fmt.Sprint("free", i)}})
	}
	locked.end(t, http.StatusServiceUnavailable, http.StatusTooManyRequests)
	commit()
	r := s.Post("/v1/jobs", `{"kind": "k", "unique": {"key": "locked"}}`)
	if r.Status != http.StatusOK && r.Status != http.StatusCreated {
		t.Errorf("once the key is free: %v", r)
	}
	if n := s.Count("select count(*) from weir.job"); n != 52 {
		t.Errorf("there are %d jobs, want 52", n)
	}
}

// TestCallersBehindALockedLease does the same with acks of a job whose row another transaction has locked.
func TestCallersBehindALockedLease(t *testing.T) {
	weirtest.Long(t, "calls wait for a lock until their patience ends")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec(`select weir.set_queue('q', '{"lease_seconds": 3600}')`)
	held := s.EnqueueAndClaim("q")
	commit := s.ExecUncommitted("select from weir.job_lease where job_id = " + held.ID + " for update")
	locked := startCallers(s, 50, "/v1/jobs/"+held.ID+"/complete", weirtest.Object{"token": held.Token})
	for range 20 {
		j := s.EnqueueAndClaim("q")
		s.Post("/v1/jobs/"+j.ID+"/complete", weirtest.Object{"token": j.Token}).Want(http.StatusOK)
	}
	locked.end(t, http.StatusServiceUnavailable)
	commit()
	s.Post("/v1/jobs/"+held.ID+"/complete", weirtest.Object{"token": held.Token}).Want(http.StatusOK)
}
