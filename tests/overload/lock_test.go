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

// TestAThousandCallersBehindALockedKey holds a unique key in an open transaction while a thousand callers enqueue with it, and others without.
func TestAThousandCallersBehindALockedKey(t *testing.T) {
	weirtest.Long(t, "a thousand callers wait for a lock")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(weirtest.Object{"kind": "k"}) // makes the queue
	commit := s.ExecUncommitted("select weir.enqueue('k', unique_key => 'locked')")
	const promised = 10 * time.Second // and the time that a busy machine takes for a thousand calls
	ctx, cancel := context.WithTimeout(t.Context(), 2*weirtest.Patience)
	defer cancel()
	var callers sync.WaitGroup
	var behind, wrong atomic.Int64
	var slowest atomic.Int64
	for range 1000 {
		callers.Go(func() {
			began := time.Now()
			r, err := s.Send(ctx, http.MethodPost, "/v1/jobs", `{"kind": "k", "unique": {"key": "locked"}}`)
			if err != nil || r.Status != http.StatusServiceUnavailable && r.Status != http.StatusTooManyRequests {
				wrong.Add(1)
			}
			behind.Add(1)
			slowest.Store(max(slowest.Load(), int64(time.Since(began))))
		})
	}
	time.Sleep(time.Second)
	for i := range 50 {
		began := time.Now()
		s.Enqueue(weirtest.Object{"kind": "k", "unique": weirtest.Object{"key": fmt.Sprint("free", i)}})
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("a call with a free key took %s", took)
		}
	}
	if n := behind.Load(); n == 1000 {
		t.Error("all calls with the locked key were answered before those with free ones")
	}
	callers.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d calls with the locked key were neither unavailable nor overloaded", n)
	}
	if took := time.Duration(slowest.Load()); took > promised*3/2 {
		t.Errorf("a call with the locked key took %s", took)
	}
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
	t.Parallel()
	s := weirtest.StartNode(t)
	locked := s.EnqueueAndClaim("q")
	commit := s.ExecUncommitted("select from weir.job_lease where job_id = " + locked.ID + " for update")
	ctx, cancel := context.WithTimeout(t.Context(), 2*weirtest.Patience)
	defer cancel()
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			began := time.Now()
			r, err := s.Send(ctx, http.MethodPost, "/v1/jobs/"+locked.ID+"/complete", weirtest.Object{"token": locked.Token})
			if took := time.Since(began); err != nil || r.Status != http.StatusServiceUnavailable || took > 15*time.Second {
				t.Errorf("%v, %v after %s", r, err, took)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	for range 20 {
		j := s.EnqueueAndClaim("q")
		began := time.Now()
		s.Post("/v1/jobs/"+j.ID+"/complete", weirtest.Object{"token": j.Token}).Want(http.StatusOK)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("an ack of another job took %s", took)
		}
	}
	callers.Wait()
	commit()
	s.Post("/v1/jobs/"+locked.ID+"/complete", weirtest.Object{"token": locked.Token}).Want(http.StatusOK)
}
