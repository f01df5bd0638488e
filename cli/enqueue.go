package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/weirhq/weir/rest"
)

type enqueueCommand struct {
	Kind           string    `arg:"" complete:"kind" help:"The job's kind: what its worker should do."`
	Queue          string    `help:"Queue of the job. Defaults to default." placeholder:"NAME"`
	Args           string    `help:"The job's args: JSON, @FILE to read it from a file, - for standard input." placeholder:"JSON"`
	Priority       int       `help:"1 to 10, 10 first. Defaults to the queue's." placeholder:"N"`
	Delay          duration  `help:"Do not run before this much time has passed: 90 (seconds), 90s, 5m, 2h." xor:"when" placeholder:"TIME"`
	RunAt          time.Time `help:"Do not run before this time, in RFC 3339: 2027-01-31T09:00:00Z." xor:"when" placeholder:"TIME"`
	MaxAttempts    int       `help:"The job is dead after this many failed attempts. Defaults to the queue's." placeholder:"N"`
	UniqueKey      string    `help:"Skip if an unfinished job has this key." placeholder:"KEY"`
	IdempotencyKey string    `help:"Enqueue once: another call with this key answers with the first job." placeholder:"KEY"`
	Timeout        duration  `help:"An attempt may take this long. Defaults to the queue's." placeholder:"TIME"`
	Retry          string    `help:"Retry policy, JSON or @FILE: strategy (fixed, linear, exponential), base_seconds, max_seconds, jitter." placeholder:"JSON"`
	Tenant         string    `help:"Tenant of the job." placeholder:"NAME"`
	ConcurrencyKey string    `help:"Key of the queue's limits on concurrency." placeholder:"KEY"`
	Metadata       string    `help:"JSON object to keep with the job, or @FILE." placeholder:"JSON"`
	Breaker        string    `help:"Circuit breaker of the dependency that the job calls." placeholder:"NAME"`
	Tag            []string  `help:"A tag; repeat for several." sep:"none" placeholder:"TAG"`
	Parent         id        `complete:"job" help:"The job's parent job." placeholder:"ID"`
	ResultTTL      duration  `name:"result-ttl" help:"Keep the result this long after completion. Defaults to as long as the job." placeholder:"TIME"`
	DryRun         bool      `help:"Store nothing: say what would happen to the job."`
	answerFlags
}

// newJob is the part of the body of POST /v1/jobs that this command fills in.
type newJob struct {
	Kind         string          `json:"kind"`
	Queue        string          `json:"queue,omitempty"`
	Args         json.RawMessage `json:"args,omitempty"`
	Priority     int             `json:"priority,omitempty"`
	DelaySeconds float64         `json:"delay_seconds,omitempty"`
	RunAt        time.Time       `json:"run_at,omitzero"`
	MaxAttempts  int             `json:"max_attempts,omitempty"`
	Unique       *uniqueKey      `json:"unique,omitempty"`
	Breaker      string          `json:"breaker,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
	Timeout      int             `json:"timeout_seconds,omitempty"`
	Retry        json.RawMessage `json:"retry,omitempty"`
	Tenant       string          `json:"tenant,omitempty"`
	Concurrency  string          `json:"concurrency_key,omitempty"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	ParentID     id              `json:"parent_id,omitempty"`
	ResultTTL    int             `json:"result_ttl_seconds,omitempty"`
}

type uniqueKey struct {
	Key string `json:"key"`
}

// Run enqueues the job and prints its id.
func (c *enqueueCommand) Run(ctx context.Context, s *Session) error {
	args, err := readJSON(c.Args, s.In)
	if err != nil {
		return err
	}
	retry, err := readJSON(c.Retry, s.In)
	if err != nil {
		return err
	}
	metadata, err := readJSON(c.Metadata, s.In)
	if err != nil {
		return err
	}
	body := newJob{
		Kind: c.Kind, Queue: c.Queue, Args: args, Priority: c.Priority, DelaySeconds: c.Delay.seconds(), RunAt: c.RunAt,
		MaxAttempts: c.MaxAttempts, Breaker: c.Breaker, Tags: c.Tag, ParentID: c.Parent,
		ResultTTL: int(c.ResultTTL.seconds()), Timeout: int(c.Timeout.seconds()), Retry: retry, Tenant: c.Tenant,
		Concurrency: c.ConcurrencyKey, Metadata: metadata,
	}
	if c.UniqueKey != "" {
		body.Unique = &uniqueKey{Key: c.UniqueKey}
	}
	if c.DryRun {
		return show(ctx, s, c.answerFlags, rest.Post("/v1/jobs/dry-run", body), printDryRun)
	}
	call := rest.Post("/v1/jobs", body)
	if c.IdempotencyKey != "" {
		call.Header = http.Header{"Idempotency-Key": {c.IdempotencyKey}}
	}
	return show(ctx, s, c.answerFlags, call, func(p *printer, j *job) {
		done := "is enqueued in"
		if j.Duplicate {
			done = "already has this key, in"
		}
		p.line("job %s %s %s: %s", j.ID, done, j.Queue, j.stateNow(p))
	})
}
