//go:build unix

package weirtest

import (
	"encoding/json"
	"net/http"
	"time"
)

// Pause is the pause of a queue as clients see it.
type Pause struct {
	Paused      bool
	PausedAt    *time.Time `json:"paused_at"`
	PauseReason string     `json:"pause_reason"`
	ResumeAt    *time.Time `json:"resume_at"`
}

// Queue is a queue as clients see it.
type Queue struct {
	Name                   string
	Paused                 bool
	Priority               int
	MaxAttempts            int `json:"max_attempts"`
	TimeoutSeconds         int `json:"timeout_seconds"`
	LeaseSeconds           int `json:"lease_seconds"`
	Retry                  json.RawMessage
	RetentionSeconds       int       `json:"retention_seconds"`
	MaxDepth               *int      `json:"max_depth"`
	CreatedAt              time.Time `json:"created_at"`
	Available, Running     int
	Scheduled, Retryable   int
	Held, Dead             int
	OldestAvailableSeconds float64 `json:"oldest_available_seconds"`
}

// Queue returns a queue.
func (s *Node) Queue(name string) Queue {
	s.T.Helper()
	return Decode[Queue](s.Get("/v1/queues/" + name).Want(http.StatusOK))
}
