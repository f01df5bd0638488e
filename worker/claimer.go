package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

const (
	// claimPatience is how long a claim waits at the service for a job.
	claimPatience = 30 * time.Second

	// aheadFor is how much work is claimed ahead of need, as a time: enough for the slots not to wait for the service, and little
	// enough for no job to wait here that another worker could do.
	aheadFor = 500 * time.Millisecond

	// maxClaim is the most jobs that one claim may ask for.
	maxClaim = 1000
)

// claiming is the worker's side that brings in jobs: one claim at a time, for the slots that are free and a few jobs ahead of need.
type claiming struct {
	client       *client
	log          *slog.Logger
	worker       string
	queues       []string
	slots        int
	leaseSeconds int

	answers  chan claimAnswer // capacity 1
	ctx      context.Context
	cancel   context.CancelFunc
	underWay bool
	notUntil time.Time
	wait     backoff
	outage   outage
	answered bool          // the service ever took a claim
	dry      bool          // the last claim ahead of need brought nothing
	meanRun  time.Duration // of the last runs; 0: there were none yet
}

// claimAnswer is what became of a claim.
type claimAnswer struct {
	jobs    []*claimedJob
	err     error
	patient bool // it was to wait for jobs
	took    time.Duration
}

// ran takes a run's time into account.
func (c *claiming) ran(took time.Duration) {
	if c.meanRun == 0 {
		c.meanRun = took
	}
	c.meanRun += (took - c.meanRun) / 8
}

// ahead is how many jobs to hold beyond those that run: what the slots do in aheadFor, at most two for each, but for a few slots eight.
// It is nothing while it is not known how long runs take.
func (c *claiming) ahead() int {
	if c.meanRun <= 0 {
		return 0
	}
	return int(min(int64(mostAhead(c.slots)), int64(c.slots)*int64(aheadFor)/int64(c.meanRun)))
}

// mostAhead is how many jobs so many slots are ever held beyond those that run.
func mostAhead(slots int) int { return max(2*slots, 8) }

// wanted says how many jobs to claim now, 0 for none, for a worker that holds some, and whether to wait for them: that is for slots
// that have nothing to do. Ahead of need it asks once half of that has been used up, and not again once there was nothing.
func (c *claiming) wanted(held int, now time.Time) (limit int, patient bool) {
	if c.underWay || now.Before(c.notUntil) {
		return 0, false
	}
	missing := min(c.slots+c.ahead()-held, maxClaim)
	if held < c.slots {
		return missing, true
	}
	if c.dry || missing < max(1, c.ahead()/2) {
		return 0, false
	}
	return missing, false
}

// ask sends a claim; its answer comes to c.answers.
func (c *claiming) ask(limit int, patient bool) {
	body := map[string]any{"worker": c.worker, "queues": c.queues, "limit": limit, "lease_seconds": c.leaseSeconds}
	var patience time.Duration
	if patient {
		patience = claimPatience
		body["wait_seconds"] = claimPatience.Seconds()
	}
	c.underWay = true
	go func() {
		var answer struct {
			Jobs []*claimedJob `json:"jobs"`
		}
		began := time.Now()
		err := c.client.call(c.ctx, http.MethodPost, "/v1/claims", body, &answer, patience)
		c.answers <- claimAnswer{jobs: answer.Jobs, err: err, patient: patient, took: time.Since(began)}
	}()
}

// take notes what became of a claim, and returns an error if there is no use in claiming again.
func (c *claiming) take(a claimAnswer) error {
	c.underWay = false
	switch {
	case a.err == nil:
		c.answered = true
		c.outage.over()
		c.dry = !a.patient && len(a.jobs) == 0
		if a.patient && len(a.jobs) == 0 && a.took < time.Second {
			// The service would not wait: it is shutting down, say.
			c.notUntil = time.Now().Add(c.wait.next())
		} else {
			c.wait = backoff{}
		}
	case c.ctx.Err() != nil:
		return nil
	case refused(a.err) && !c.answered:
		return fmt.Errorf("claiming jobs: %w", a.err)
	default:
		c.outage.note(a.err)
		c.notUntil = time.Now().Add(c.wait.next())
	}
	return nil
}
