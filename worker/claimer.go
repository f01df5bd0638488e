package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/weirhq/weir/rest"
)

const (
	// claimWait is how long a claim waits at the service for a job.
	claimWait = 30 * time.Second

	// aheadFor is how much work is claimed ahead of need, as a time: enough to keep the slots busy during a claim, and
	// too little for a job to wait here that another worker could run.
	aheadFor = 500 * time.Millisecond

	// maxClaim is the most jobs that one claim may ask for.
	maxClaim = 1000
)

// claimer claims jobs: one claim at a time, for the slots that are free and a few jobs ahead of need.
type claimer struct {
	client       *rest.Client
	worker       string
	queues       []string
	slots        int
	leaseSeconds int

	answers  chan claimAnswer // capacity 1
	ctx      context.Context
	cancel   context.CancelFunc
	underWay bool
	notUntil time.Time
	backoff  rest.Backoff
	outage   outage
	accepted bool          // the service has ever answered a claim
	dry      bool          // the last claim ahead of need returned nothing
	meanRun  time.Duration // of the last runs; 0: there were none yet
}

// claimAnswer is the answer to a claim.
type claimAnswer struct {
	jobs    []*claimedJob
	err     error
	patient bool // the claim asked the service to wait for jobs
	took    time.Duration
}

func newClaimer(c Config) *claimer {
	ctx, cancel := context.WithCancel(context.Background())
	return &claimer{
		client: c.Client, worker: c.Name, queues: c.Queues, slots: c.jobs(), leaseSeconds: c.LeaseSeconds,
		answers: make(chan claimAnswer, 1), ctx: ctx, cancel: cancel, outage: outage{log: c.Logger, what: "claiming"},
	}
}

// ran counts a run's time towards the mean.
func (c *claimer) ran(took time.Duration) {
	if c.meanRun == 0 {
		c.meanRun = took
	}
	c.meanRun += (took - c.meanRun) / 8
}

// ahead is how many jobs to hold besides those that run: what the slots work off in aheadFor, up to maxAhead. It is 0
// until the first run has ended.
func (c *claimer) ahead() int {
	if c.meanRun <= 0 {
		return 0
	}
	return int(min(int64(maxAhead(c.slots)), int64(c.slots)*int64(aheadFor)/int64(c.meanRun)))
}

// maxAhead is the most jobs that a worker with this number of slots holds besides those that run.
func maxAhead(slots int) int { return max(2*slots, 8) }

// wanted is how many jobs to claim now, given how many are held, and whether to wait for them. A claim waits only for
// slots that are idle. Ahead of need it asks again when half of the jobs ahead are used up, and not after a claim that
// returned nothing.
func (c *claimer) wanted(held int, now time.Time) (limit int, patient bool) {
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
func (c *claimer) ask(limit int, patient bool) {
	body := map[string]any{"worker": c.worker, "queues": c.queues, "limit": limit, "lease_seconds": c.leaseSeconds}
	call := rest.Post("/v1/claims", body)
	if patient {
		call.Wait = claimWait
		body["wait_seconds"] = claimWait.Seconds()
	}
	c.underWay = true
	go func() {
		began := time.Now()
		answer, err := rest.Do[struct {
			Jobs []*claimedJob `json:"jobs"`
		}](c.ctx, c.client, call)
		c.answers <- claimAnswer{jobs: answer.Jobs, err: err, patient: patient, took: time.Since(began)}
	}()
}

// take takes in an answer, and returns an error if it is useless to claim again.
func (c *claimer) take(a claimAnswer) error {
	c.underWay = false
	switch {
	case a.err == nil:
		c.accepted = true
		c.outage.over()
		c.dry = !a.patient && len(a.jobs) == 0
		if a.patient && len(a.jobs) == 0 && a.took < time.Second {
			// The service did not wait: its node may be shutting down.
			c.notUntil = time.Now().Add(c.backoff.Next())
		} else {
			c.backoff = rest.Backoff{}
		}
	case c.ctx.Err() != nil:
		return nil
	case rest.Refused(a.err) && !c.accepted:
		return fmt.Errorf("claiming jobs: %w", a.err)
	default:
		c.outage.note(a.err)
		c.notUntil = time.Now().Add(c.backoff.Next())
	}
	return nil
}
