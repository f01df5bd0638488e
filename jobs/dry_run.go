package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// DryRun is what an enqueue would do now.
type DryRun struct {
	Valid   bool      `json:"valid" doc:"True: the job passes all checks. One that does not is refused as an enqueue refuses it."`
	Outcome string    `json:"outcome" enum:"enqueued,duplicate,refused" doc:"enqueued: it would be stored. duplicate: its unique key is taken, and the answer would be the job that has it. refused: its queue is full, or a quota is used up."`
	Job     DryRunJob `json:"job" doc:"What the job would be, with what its queue fills in."`
	Notes   []Note    `json:"notes" doc:"What is worth knowing about it: what keeps it from being stored, or from running at once."`
}

// DryRunJob is the part of a job that its queue decides with it.
type DryRunJob struct {
	Queue          string      `json:"queue" doc:"The queue that it would wait in." example:"mail"`
	Tenant         string      `json:"tenant,omitempty" doc:"On whose behalf it would run."`
	Priority       int         `json:"priority" doc:"1 to 10, 10 first." example:"5"`
	MaxAttempts    int         `json:"max_attempts" doc:"After this many failed attempts it is dead."`
	TimeoutSeconds int         `json:"timeout_seconds" doc:"How long one attempt may run."`
	Retry          RetryPolicy `json:"retry" doc:"How long it waits after a failed attempt, now that its queue is as it is."`
	RunAt          *time.Time  `json:"run_at,omitempty" doc:"When it would become available, if it has to wait for a time."`
	State          State       `json:"state,omitempty" enum:"held,scheduled,available" doc:"The state that it would have; absent if it would not be stored."`
}

// Note is something that is worth knowing about a job before it is enqueued.
type Note struct {
	Code    string          `json:"code" doc:"What it is, for programs: queue_is_new, breaker_is_new, duplicate, queue_full, quota_exceeded, or a code of the reasons why a job does not run (see getWhy). New ones may come." example:"queue_paused"`
	Message string          `json:"message" doc:"What it is, for people."`
	Detail  json.RawMessage `json:"detail,omitempty" doc:"More about it: of duplicate the job_id, of quota_exceeded the quota, of a reason what getWhy says."`
}

// DryRun says what an enqueue of a job would do, and stores nothing. Errors: those of Enqueue, but for QueueFull and QuotaExceeded.
func (e *Engine) DryRun(ctx context.Context, job NewJob) (DryRun, error) {
	call, err := job.call(ctx)
	if err != nil {
		return DryRun{}, err
	}
	var answer json.RawMessage
	err = e.vault.twice(ctx, func() error {
		calls, err := e.vault.encryptCalls(ctx, []enqueue{call})
		if err != nil {
			return err
		}
		answer, err = e.q.DryRun(ctx, db.DryRunParams{Job: calls[0].job, Tenant: viewer(ctx)})
		return err
	})
	if err != nil {
		return DryRun{}, ofOne(fromDB("trying an enqueue", err))
	}
	return dryRunOf(answer)
}

func dryRunOf(answer json.RawMessage) (DryRun, error) {
	var d DryRun
	if err := json.Unmarshal(answer, &d); err != nil {
		return DryRun{}, fmt.Errorf("reading a dry run: %w", err)
	}
	d.Job.RunAt = utc(d.Job.RunAt)
	return d, nil
}

// viewer is the tenant that the caller is bound to, or nil.
func viewer(ctx context.Context) *string {
	if p := access.From(ctx); p != nil {
		return nonZero(p.Tenant)
	}
	return nil
}

// ofOne takes the place in a batch out of the error of the enqueue of one job.
func ofOne(err error) error { return alone(alone(err, "jobs[0]"), ".") }
