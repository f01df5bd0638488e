//go:build unix

package weirtest

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Worker is a worker as clients see it.
type Worker struct {
	Name, State, Hostname, Version string
	Queues                         []string
	Labels                         map[string]string
	Capacity                       *int
	Running                        int
	Load                           *float64
	RegisteredAt                   time.Time  `json:"registered_at"`
	LastSeenAt                     time.Time  `json:"last_seen_at"`
	PausedAt                       *time.Time `json:"paused_at"`
	DrainingAt                     *time.Time `json:"draining_at"`
	Stats                          *struct {
		WindowSeconds     float64 `json:"window_seconds"`
		Completed, Failed int
		BusySeconds       float64 `json:"busy_seconds"`
	}
}

// Attempt is an attempt in a worker's history as clients see it.
type Attempt struct {
	JobID                string `json:"job_id"`
	Kind, Queue, Outcome string
	Attempt              int
	StartedAt            time.Time `json:"started_at"`
	EndedAt              time.Time `json:"ended_at"`
	Error                string
}

// RefusedClaims is the answer to a claim, with the reason why the worker gets no jobs.
type RefusedClaims struct {
	Jobs   []ClaimedJob
	Reason *string
}

func (c RefusedClaims) String() string {
	if c.Reason == nil {
		return fmt.Sprintf("%d jobs", len(c.Jobs))
	}
	return fmt.Sprintf("%d jobs, %s", len(c.Jobs), *c.Reason)
}

// WorkerPath returns the path of a worker.
func WorkerPath(name string) string { return "/v1/workers/" + url.PathEscape(name) }

// Worker returns a worker.
func (s *Node) Worker(name string) Worker {
	s.T.Helper()
	return Decode[Worker](s.Get(WorkerPath(name)).Want(http.StatusOK))
}

// Register registers a worker with a capacity.
func (s *Node) Register(name string, capacity int) {
	s.T.Helper()
	s.Do(http.MethodPut, WorkerPath(name), Object{"capacity": capacity}).Want(http.StatusOK)
}

// TryClaim claims from the queue q.
func (s *Node) TryClaim(worker string, limit int, wait float64) RefusedClaims {
	s.T.Helper()
	return Decode[RefusedClaims](s.Post("/v1/claims", Object{"worker": worker, "queues": []string{"q"}, "limit": limit, "wait_seconds": wait, "lease_seconds": longLease}).Want(http.StatusOK))
}

// Fill enqueues n jobs into the queue q, visible to every claim, and returns their ids.
func (s *Node) Fill(n int) []string {
	s.T.Helper()
	batch := make([]Object, n)
	for i := range batch {
		batch[i] = Object{"kind": "k", "queue": "q", "args": i}
	}
	ids := s.EnqueueAll(batch)
	if s.DB != nil {
		s.Settle()
	}
	return ids
}
