//go:build unix

package weirtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/weirhq/weir/jobs"
)

// Acks sends acks and returns their statuses in one string.
func (s *Node) Acks(acks ...Object) string {
	s.T.Helper()
	if acks == nil {
		acks = []Object{}
	}
	r := s.Post("/v1/acks", Object{"acks": acks}).Want(http.StatusOK)
	results := Decode[struct{ Results []AckResult }](r).Results
	if len(results) != len(acks) {
		s.T.Fatalf("%v\n%d results for %d acks", r, len(results), len(acks))
	}
	var statuses []string
	for i, result := range results {
		if result.ID != acks[i]["id"] {
			s.T.Fatalf("%v\nresult %d is of job %s, want %s", r, i, result.ID, acks[i]["id"])
		}
		statuses = append(statuses, strings.TrimSpace(result.Status+" "+result.State))
	}
	return strings.Join(statuses, ", ")
}

// EnqueueAndClaim enqueues a job into a queue and claims it.
func (s *Node) EnqueueAndClaim(queue string) ClaimedJob {
	s.T.Helper()
	s.Enqueue(Object{"kind": "k", "queue": queue})
	return s.ClaimOne(queue)
}

// ClaimedJob is a claimed job as workers see it.
type ClaimedJob struct {
	ID             string
	Token          string
	Kind           string
	Queue          string
	Args           json.RawMessage
	Attempt        int
	MaxAttempts    int       `json:"max_attempts"`
	TimeoutSeconds int       `json:"timeout_seconds"`
	LeaseExpiresAt time.Time `json:"lease_expires_at"`
	Metadata       json.RawMessage
	Tags           []string
	Dependencies   json.RawMessage
}

// ClaimedJobs is the answer to a claim.
type ClaimedJobs struct{ Jobs []ClaimedJob }

// AckResult is the answer to an ack.
type AckResult struct {
	ID, Status, State string
	RunAt             *time.Time `json:"run_at"`
}

// Settle returns when every claim sees the jobs that were enqueued before. A job whose transaction was open at a tick of
// the watermark is visible from the next tick on. It ticks itself: a node with little to do ticks once a second.
func (s *Node) Settle() {
	s.T.Helper()
	s.Eventually("the watermark has seen everything", func() bool {
		s.Count("select count(tick) from weir.advance_frontier('0 s')")
		return s.Count(`select count(*) from weir.watermark w
			where w.seq = coalesce(pg_sequence_last_value('weir.job_id_seq'), 0) and w.holders = '{}'`) == 1
	})
}

// longLease outlives every test on a machine of any speed. A job's timeout may cut it to five minutes.
const longLease = 3600

// Claim takes up to limit jobs of some queues, without waiting, with long leases.
func (s *Node) Claim(limit int, queues ...string) []ClaimedJob {
	s.T.Helper()
	s.Settle()
	return Decode[ClaimedJobs](s.Post("/v1/claims", Object{"worker": "worker", "queues": queues, "limit": limit, "lease_seconds": longLease}).Want(http.StatusOK)).Jobs
}

// ClaimAs claims for a worker until it has n jobs, in as many calls as that takes, with long leases.
func (s *Node) ClaimAs(worker string, n int, queues ...string) []ClaimedJob {
	s.T.Helper()
	var got []ClaimedJob
	s.Eventually(fmt.Sprintf("%v give %d jobs", queues, n), func() bool {
		body := Object{"worker": worker, "queues": queues, "limit": min(n-len(got), jobs.MaxClaim), "wait_seconds": 1, "lease_seconds": longLease}
		got = append(got, Decode[ClaimedJobs](s.Post("/v1/claims", body).Want(http.StatusOK)).Jobs...)
		return len(got) == n
	})
	return got
}

// ClaimOne claims one job of a queue.
func (s *Node) ClaimOne(queue string) ClaimedJob {
	s.T.Helper()
	return s.ClaimAs("worker", 1, queue)[0]
}

// Park starts a claim that waits and returns once the node has parked it or answered it. The answer comes through the
// channel.
func (s *Node) Park(body Object) <-chan ClaimAnswer {
	s.T.Helper()
	return s.ParkMany(1, func(int) Object { return body })[0]
}

// ClaimAnswer is the answer to a claim that waited.
type ClaimAnswer struct {
	Jobs []ClaimedJob
	Err  error
}

// ParkMany starts n claims that wait and returns once the node has parked or answered all of them.
func (s *Node) ParkMany(n int, body func(i int) Object) []<-chan ClaimAnswer {
	s.T.Helper()
	before := s.Metric("weir_claims_waiting")
	answers := make([]<-chan ClaimAnswer, n)
	for i := range n {
		answer := make(chan ClaimAnswer, 1)
		answers[i] = answer
		go func() { answer <- s.ClaimPatiently(body(i)) }()
	}
	s.Eventually("the claims wait, or are over", func() bool {
		over := 0
		for _, answer := range answers {
			over += len(answer)
		}
		return s.Metric("weir_claims_waiting")+float64(over) >= before+float64(n)
	})
	return answers
}

// ClaimPatiently claims as workers do: after an empty answer at the end of the longest wait it claims again.
func (s *Node) ClaimPatiently(body Object) ClaimAnswer {
	for {
		began := time.Now()
		r, err := s.Send(s.T.Context(), http.MethodPost, "/v1/claims", body)
		if err != nil {
			return ClaimAnswer{Err: err}
		}
		if r.Status != http.StatusOK {
			return ClaimAnswer{Err: fmt.Errorf("%v", r)}
		}
		var got ClaimedJobs
		err = json.Unmarshal(r.Body, &got)
		if err != nil || len(got.Jobs) > 0 || time.Since(began) < jobs.MaxWait {
			return ClaimAnswer{got.Jobs, err}
		}
	}
}

// Answer waits for the answer to a parked claim.
func (s *Node) Answer(answer <-chan ClaimAnswer) []ClaimedJob {
	s.T.Helper()
	select {
	case a := <-answer:
		if a.Err != nil {
			s.T.Fatal(a.Err)
		}
		return a.Jobs
	case <-time.After(2 * Patience):
		s.T.Fatal("a claim that waited was never answered")
	}
	return nil
}
