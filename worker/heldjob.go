package main

import (
	"encoding/json"
	"time"
)

// claimedJob is a job as a claim hands it out.
type claimedJob struct {
	ID             string          `json:"id"`
	Token          string          `json:"token"`
	Kind           string          `json:"kind"`
	Queue          string          `json:"queue"`
	Args           json.RawMessage `json:"args"`
	Attempt        int             `json:"attempt"`
	MaxAttempts    int             `json:"max_attempts"`
	TimeoutSeconds int             `json:"timeout_seconds"`
	Tags           json.RawMessage `json:"tags"`
	Metadata       json.RawMessage `json:"metadata"`
	Degraded       bool            `json:"degraded"`
}

// phase is where a job is that the worker holds.
type phase int

const (
	waiting phase = iota // for a slot
	running
	over // and to be reported
)

// holding is a job that the worker holds: from the claim until its end is reported, or its lease is lost.
type holding struct {
	job     *claimedJob
	since   time.Time // when the claim was answered, a little after the lease began
	phase   phase
	beatDue time.Time
	beating bool
	stop    chan stopReason // to the command; room for two, more are never needed
	ack     ack             // once it is over
	why     stopReason
}

func newHolding(job *claimedJob, now time.Time, beatEvery time.Duration) *holding {
	return &holding{job: job, since: now, beatDue: now.Add(beatEvery), stop: make(chan stopReason, 2)}
}

// deadline is when the command is to be stopped for its timeout. The service counts from the claim and takes the job back then, so
// the worker is a little early: it knows what the command wrote to standard error.
func (h *holding) deadline() time.Time {
	timeout := time.Duration(h.job.TimeoutSeconds) * time.Second
	return h.since.Add(timeout - min(timeout/10, 500*time.Millisecond))
}

// tell gives a running command a reason to stop.
func (h *holding) tell(reason stopReason) {
	select {
	case h.stop <- reason:
	default:
	}
}
