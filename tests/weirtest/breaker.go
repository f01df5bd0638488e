//go:build unix

package weirtest

import (
	"net/http"
	"time"
)

// Breaker is a circuit breaker as clients see it.
type Breaker struct {
	Name, Tenant       string
	State, Policy      string
	Recovering, Pinned bool
	Held, Openings     int
	Probes             int
	TimesOpened        int        `json:"times_opened"`
	WindowFailed       int        `json:"window_failed"`
	FailureThreshold   int        `json:"failure_threshold"`
	FailureRatio       float64    `json:"failure_ratio"`
	WindowSeconds      int        `json:"window_seconds"`
	NextProbeAt        *time.Time `json:"next_probe_at"`
	Queues             []string
	WhileOpen          Object `json:"while_open"`
}

// Breaker returns a circuit breaker.
func (s *Node) Breaker(name string) Breaker {
	s.T.Helper()
	return Decode[Breaker](s.Get("/v1/breakers/" + name).Want(http.StatusOK))
}

// WaitForBreaker waits until a breaker is in a state.
func (s *Node) WaitForBreaker(name, state string) {
	s.T.Helper()
	s.Eventually("breaker "+name+" is "+state, func() bool { return s.Breaker(name).State == state })
}
