package claim

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A claim of large jobs ends early. The others stay available, without loss of an attempt, and none is lost.
func TestClaimIsBoundedInBytes(t *testing.T) {
	weirtest.Long(t, "it claims tens of MiB")
	t.Parallel()
	s := weirtest.StartNode(t)
	const jobs, size = 24, 1_000_000 // more than one answer may hold
	s.Exec(`select weir.enqueue('k', to_jsonb(repeat('a', $1))) from generate_series(1, $2)`, size, jobs)
	claimed := map[string]bool{}
	for calls := 0; len(claimed) < jobs; calls++ {
		if calls == jobs {
			t.Fatalf("%d claims got %d jobs", calls, len(claimed))
		}
		answer := s.Post("/v1/claims", `{"worker": "w", "queues": ["default"], "limit": 1000, "lease_seconds": 600}`).Want(http.StatusOK)
		if len(answer.Body) > 20<<20 {
			t.Errorf("an answer has %d bytes", len(answer.Body))
		}
		got := weirtest.Decode[struct {
			Jobs []struct {
				ID      string
				Attempt int
				Args    string
			}
		}](answer).Jobs
		if len(got) == 0 {
			t.Fatalf("nothing left after %d jobs", len(claimed))
		}
		for _, j := range got {
			if claimed[j.ID] || j.Attempt != 1 || j.Args != strings.Repeat("a", size) {
				t.Errorf("job %s: attempt %d, %d bytes, claimed before: %t", j.ID, j.Attempt, len(j.Args), claimed[j.ID])
			}
			claimed[j.ID] = true
		}
	}
	if n := s.Count(`select count(*) from weir.job_lease`); n != jobs {
		t.Errorf("%d leases, want %d", n, jobs)
	}
}

// Claims that share a statement each get something, though the first could take all that fits.
func TestClaimsThatWaitShareLargeJobs(t *testing.T) {
	weirtest.Long(t, "it claims tens of MiB")
	t.Parallel()
	s := weirtest.StartNode(t)
	type result struct {
		jobs int
		err  error
	}
	results := make(chan result)
	const workers = 4
	for range workers {
		go func() {
			answer, err := s.Send(t.Context(), http.MethodPost, "/v1/claims", `{"worker": "w", "queues": ["default"], "limit": 12, "wait_seconds": 60, "lease_seconds": 600}`)
			if err != nil {
				results <- result{err: err}
				return
			}
			results <- result{jobs: strings.Count(string(answer.Body), `"token"`)}
		}()
	}
	s.Eventually("all wait", func() bool { return s.Metric("weir_claims_waiting") == workers })
	s.Exec(`select weir.enqueue('k', to_jsonb(repeat('a', 1000000))) from generate_series(1, 48)`)
	for range workers {
		if r := <-results; r.err != nil || r.jobs == 0 {
			t.Errorf("a claim got %d jobs: %v", r.jobs, r.err)
		}
	}
}
