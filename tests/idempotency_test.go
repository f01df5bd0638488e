package tests

import (
	"bytes"
	"net/http"
	"sync"
	"testing"
)

// postWithKey enqueues a job with an Idempotency-Key.
func (s *service) postWithKey(key, body string) (*reply, error) {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/v1/jobs", bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	return s.ask(r)
}

func TestARepeatedRequestAnswersWithTheFirstJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	first, err := s.postWithKey("order-1", `{"kind": "a", "args": {"x": 1, "y": 2}}`)
	if err != nil {
		t.Fatal(err)
	}
	first.want(http.StatusCreated)
	again, err := s.postWithKey("order-1", `{"args": {"y": 2, "x": 1}, "kind": "a"}`)
	if err != nil {
		t.Fatal(err)
	}
	again.want(http.StatusOK)
	a, b := readAs[servedJob](first), readAs[servedJob](again)
	if a.ID != b.ID {
		t.Errorf("the second answer names job %s, the first %s", b.ID, a.ID)
	}

	other, err := s.postWithKey("order-1", `{"kind": "b"}`)
	if err != nil {
		t.Fatal(err)
	}
	other.problem(http.StatusConflict, "idempotency_mismatch")
	if n := s.count(`select count(*) from weir.jobs`); n != 1 {
		t.Errorf("%d jobs are stored, want 1", n)
	}

	do(t, s.pool, `update weir.job_idempotency set until = now()`)
	later, err := s.postWithKey("order-1", `{"kind": "b"}`)
	if err != nil {
		t.Fatal(err)
	}
	later.want(http.StatusCreated)
}

func TestConcurrentRequestsWithOneKeyMakeOneJob(t *testing.T) {
	t.Parallel()
	s := startService(t)
	ids := make([]string, 20)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			r, err := s.postWithKey("same", `{"kind": "a"}`)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = readAs[servedJob](r).ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("the answers name several jobs: %v", ids)
		}
	}
	if n := s.count(`select count(*) from weir.jobs`); n != 1 {
		t.Errorf("%d jobs are stored, want 1", n)
	}
}
