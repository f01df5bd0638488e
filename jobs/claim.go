package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/jobs/claim"
)

// ClaimRequest asks for jobs on behalf of one worker.
type ClaimRequest struct {
	Worker       string   // its name, 1 to 200 characters
	Queues       []string // 1 to 100 names; a queue need not exist yet
	Limit        int      // the most jobs, 1 to 1000; 0: 1
	LeaseSeconds int      // 1 to 3600; 0: the queue's
	Wait         time.Duration
}

// ClaimedJob is a job that a worker now has.
type ClaimedJob struct {
	ID             ID              `json:"id" doc:"The job." example:"4711"`
	Token          Token           `json:"token" doc:"Names the lease in everything the worker says about the job." example:"4711"`
	Kind           string          `json:"kind" doc:"What to do." example:"send_receipt"`
	Queue          string          `json:"queue" doc:"The queue it came from." example:"mail"`
	Args           json.RawMessage `json:"args" doc:"What to do it with: any JSON."`
	Attempt        int             `json:"attempt" doc:"Which attempt this is: 1, 2, …"`
	MaxAttempts    int             `json:"max_attempts" doc:"After this many failed attempts it is dead."`
	Priority       int             `json:"priority" doc:"1 to 10."`
	TimeoutSeconds int             `json:"timeout_seconds" doc:"The time limit of this attempt, whatever heartbeats arrive."`
	LeaseExpiresAt time.Time       `json:"lease_expires_at" doc:"It is taken back then unless a heartbeat comes, by the database's clock."`
	CreatedAt      time.Time       `json:"created_at" doc:"When it was enqueued."`
	Tags           []string        `json:"tags" doc:"Its labels."`
	Metadata       json.RawMessage `json:"metadata" doc:"What its producer wanted to keep with it."`
	Dependencies   json.RawMessage `json:"dependencies,omitempty" doc:"Of a workflow step: the results of the completed steps that it depends on, by name; null if they exceed 8 MiB together: listDependencies has them."`
	Degraded       bool            `json:"degraded,omitempty" doc:"Its circuit breaker is open: do it without that dependency."`
}

// MaxClaim is how many jobs one claim takes.
const MaxClaim = 1000

// MaxWait is the longest that a claim waits.
const MaxWait = 60 * time.Second

const giveBackWithin = 5 * time.Second

var queueName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$`)

func (r *ClaimRequest) check() error {
	if r.Limit == 0 {
		r.Limit = 1
	}
	switch {
	case r.Worker == "" || utf8.RuneCountInString(r.Worker) > 200:
		return invalid("worker", "must be a name of 1 to 200 characters")
	case strings.ContainsRune(r.Worker, 0): // the database would refuse it, and with it all claims of the same statement
		return invalid("worker", "must not contain a zero character")
	case len(r.Queues) == 0 || len(r.Queues) > 100:
		return invalid("queues", "must name 1 to 100 queues")
	case r.Limit < 1 || r.Limit > MaxClaim:
		return invalid("limit", fmt.Sprintf("must be from 1 to %d", MaxClaim))
	case r.Wait < 0 || r.Wait > MaxWait:
		return invalid("wait_seconds", "must be from 0 to 60")
	case r.LeaseSeconds < 0 || r.LeaseSeconds > 3600:
		return invalid("lease_seconds", "must be from 1 to 3600")
	}
	for i, q := range r.Queues {
		if !queueName.MatchString(q) {
			return invalid(fmt.Sprintf("queues[%d]", i), "must be 1 to 128 letters, digits or _ . : -")
		}
	}
	return nil
}

// Claim takes up to Limit jobs for a worker. If there are none, or the worker may have none, it waits, up to Wait, and then returns an empty
// list. All claims of a node for the same queues share one claimer, in the order of their arrival. Errors: InvalidArgument, Overloaded,
// Unavailable; a Refusal where the worker is the reason.
func (e *Engine) Claim(ctx context.Context, r ClaimRequest) ([]ClaimedJob, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := checkQueues(ctx, "queues[%d]", r.Queues...); err != nil {
		return nil, err
	}
	if err := e.checkWork(ctx, r.Queues); err != nil {
		return nil, err
	}
	if err := e.vault.checkClaim(ctx, r.Queues); err != nil {
		return nil, err
	}
	p := access.From(ctx)
	request := claim.Request{
		Worker: r.Worker, Queues: r.Queues, Limit: r.Limit, LeaseSeconds: r.LeaseSeconds, Wait: r.Wait, Principal: access.ID(p),
	}
	rows, err := e.claims.Claim(ctx, request)
	if !errors.Is(err, RefusedTaken) {
		e.seen.note(r.Worker)
	}
	if err != nil {
		return nil, claimError(err)
	}
	rows, unreadable, err := e.vault.decryptClaimed(ctx, rows)
	if unreadable != nil {
		e.putBack(unreadable)
	}
	return e.claimedFromRows(p, rows), err
}

func claimError(err error) error {
	var refusal Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, claim.ErrDraining):
		return shuttingDown()
	case errors.Is(err, claim.ErrFull):
		return &Error{Code: Overloaded, Message: err.Error(), Hint: "Claim from the same queues in all workers, or ask another node."}
	case errors.Is(err, claim.ErrSlow):
		return &Error{Code: Unavailable, Message: err.Error(), Hint: "Try again."}
	}
	return fromDB("claiming", err)
}

// giveBack releases jobs whose caller has gone. If that fails their leases expire.
func (e *Engine) giveBack(rows []db.ClaimBatchRow) {
	acks := make([]Ack, len(rows))
	for i, r := range rows {
		acks[i] = Ack{ID: ID(r.JobID), Token: Token{Number: r.Token}, Outcome: Release}
	}
	e.putBack(acks)
}

// putBack ends leases of jobs that their caller does not get.
func (e *Engine) putBack(acks []Ack) {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackWithin)
	defer cancel()
	if _, err := e.Ack(ctx, acks); err != nil {
		e.log.Warn("could not release jobs whose worker had gone; their leases expire", "jobs", len(acks), "error", err)
	}
}

func (e *Engine) claimedFromRows(p *access.Principal, rows []db.ClaimBatchRow) []ClaimedJob {
	jobs := make([]ClaimedJob, len(rows))
	for i, r := range rows {
		j := ClaimedJob{
			ID: ID(r.JobID), Token: e.sealed(p, ID(r.JobID), r.Token), Kind: r.Kind, Queue: r.Queue, Args: r.Args, Attempt: int(r.Attempt), MaxAttempts: int(r.MaxAttempts),
			Priority: int(r.Priority), TimeoutSeconds: int(r.TimeoutSeconds), LeaseExpiresAt: r.LeaseExpiresAt.UTC(), CreatedAt: r.CreatedAt.UTC(),
			Tags: r.Tags, Metadata: r.Metadata, Dependencies: r.Dependencies, Degraded: r.Degraded,
		}
		if j.Tags == nil {
			j.Tags = []string{}
		}
		if j.Metadata == nil {
			j.Metadata = []byte("{}")
		}
		jobs[i] = j
	}
	return jobs
}

// claimObserver counts in the metrics what claims do.
type claimObserver struct{ m *metrics }

func (o claimObserver) Claimed(jobs int)         { o.m.claimed(jobs) }
func (o claimObserver) Parked()                  { o.m.parked.Inc() }
func (o claimObserver) Woken()                   { o.m.wakes.Inc() }
func (o claimObserver) Admitted(row db.AdmitRow) { o.m.admittedJobs(row) }
