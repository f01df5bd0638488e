//go:build unix

package weirtest

import (
	"encoding/json"
	"net/http"
	"time"
)

// DeadLetter is a dead letter as clients see it.
type DeadLetter struct {
	Job
	DiedAt     time.Time `json:"died_at"`
	Redrives   int
	RedrivenBy string `json:"redriven_by"`
	Timeline   []struct {
		Event  string
		Detail json.RawMessage
	}
}

// Operation is an operation as clients see it.
type Operation struct {
	ID, Kind, State, By string
	Filter              json.RawMessage
	Total, Done, Failed int
	CreatedAt           time.Time  `json:"created_at"`
	StartedAt           *time.Time `json:"started_at"`
	FinishedAt          *time.Time `json:"finished_at"`
	RatePerSecond       float64    `json:"rate_per_second"`
}

// Kill enqueues a job and fails it for good. It returns the job's id.
func (s *Node) Kill(job Object) string {
	s.T.Helper()
	id := s.Enqueue(job)
	j := s.ClaimOne(job["queue"].(string))
	if j.ID != id {
		s.T.Fatalf("claimed job %s, want %s", j.ID, id)
	}
	s.Post("/v1/jobs/"+id+"/fail", Object{"token": j.Token, "retry": false, "error": Object{"message": "no " + id, "type": "T", "stack": "here"}}).Want(http.StatusOK)
	return id
}

// KillMany fills a queue with dead letters.
func (s *Node) KillMany(queue string, n int) {
	s.T.Helper()
	s.Exec("select weir.enqueue('k', queue => $1) from generate_series(1, $2)", queue, n)
	for left := n; left > 0; {
		left -= s.Count(`select count(*) from weir.claim(array[$1], 'w', 1000) c, lateral weir.fail(c.job_id, c.token, '{"message": "no"}', retry => false)`, queue)
	}
}

// Operation returns an operation.
func (s *Node) Operation(id string) Operation {
	s.T.Helper()
	return Decode[Operation](s.Get("/v1/operations/" + id).Want(http.StatusOK))
}

// StartOperation starts a bulk operation.
func (s *Node) StartOperation(path string, body Object) Operation {
	s.T.Helper()
	return Decode[Operation](s.Post(path, body).Want(http.StatusAccepted))
}

// WaitForOperation waits for the end of an operation.
func (s *Node) WaitForOperation(id string) Operation {
	s.T.Helper()
	s.Eventually("operation "+id+" ends", func() bool { return s.Operation(id).FinishedAt != nil })
	return s.Operation(id)
}

// RunChores does a node's background work in this process, until stop is called.
func (s *Node) RunChores() (stop func()) {
	s.T.Helper()
	return s.RunChoresWith(nil)
}
