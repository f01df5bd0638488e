package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/weirhq/weir/db"
)

// ID names a job, or a lease (then it is a token). In JSON it is a string, because JSON numbers are not whole in every language.
type ID int64

// MarshalText writes it in decimal.
func (id ID) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(id), 10), nil }

// UnmarshalText reads decimal digits.
func (id *ID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("an id is a whole number in a string")
	}
	*id = ID(n)
	return nil
}

func (id ID) String() string { return strconv.FormatInt(int64(id), 10) }

// State is where a job is in its life.
type State string

// The states. Waiting: Held, Scheduled, Retryable, Available. Ended: Completed, Cancelled, Dead.
const (
	Held      State = "held"
	Scheduled State = "scheduled"
	Retryable State = "retryable"
	Available State = "available"
	Running   State = "running"
	Completed State = "completed"
	Cancelled State = "cancelled"
	Dead      State = "dead"
)

// Ended says whether it is one that a job ends in.
func (s State) Ended() bool { return s == Completed || s == Cancelled || s == Dead }

// States lists all states in the order of a job's life.
var States = []State{Held, Scheduled, Retryable, Available, Running, Completed, Cancelled, Dead}

// Job is one row of the view weir.jobs: the facts of a job and where it is now.
type Job struct {
	ID             ID              `json:"id" doc:"Its id." example:"4711"`
	Kind           string          `json:"kind" doc:"What the worker should do." example:"send_receipt"`
	Queue          string          `json:"queue" doc:"The queue it waits in." example:"mail"`
	Args           json.RawMessage `json:"args" doc:"What it should do it with: any JSON."`
	Priority       int             `json:"priority" doc:"1 to 10, 10 first." example:"5"`
	State          State           `json:"state" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Where it is in its life."`
	HeldReason     string          `json:"held_reason,omitempty" enum:"dependency,line,breaker,signal,timer,workflow" doc:"What kind of thing it waits for, if it is held."`
	Attempt        int             `json:"attempt" doc:"Attempts made so far, the running one included."`
	MaxAttempts    int             `json:"max_attempts" doc:"After this many failed attempts it is dead."`
	TimeoutSeconds int             `json:"timeout_seconds" doc:"How long one attempt may run."`
	CreatedAt      time.Time       `json:"created_at" doc:"When it was enqueued."`
	RunAt          *time.Time      `json:"run_at,omitempty" doc:"When it becomes available, if it is scheduled or retryable."`
	StartedAt      *time.Time      `json:"started_at,omitempty" doc:"When its last attempt began."`
	FinishedAt     *time.Time      `json:"finished_at,omitempty" doc:"When it ended."`
	Worker         string          `json:"worker,omitempty" doc:"The worker that has it or had it last."`
	LeaseExpiresAt *time.Time      `json:"lease_expires_at,omitempty" doc:"When it is taken back unless a heartbeat comes, if it is running."`
	CancelRequest  bool            `json:"cancel_requested,omitempty" doc:"It is running, and its cancellation was requested."`
	Progress       *Progress       `json:"progress,omitempty" doc:"What its worker last said of its progress."`
	Result         json.RawMessage `json:"result,omitempty" doc:"What its worker gave as the result: any JSON."`
	Error          json.RawMessage `json:"error,omitempty" doc:"Why it is dead: an object with a message."`
	Errors         []AttemptError  `json:"errors" doc:"Its failed attempts, oldest first."`
	Tags           []string        `json:"tags" doc:"Labels to find it by."`
	Metadata       json.RawMessage `json:"metadata" doc:"What its producer wanted to keep with it."`
	Retry          *RetryPolicy    `json:"retry,omitempty" doc:"Its own retry policy; absent: its queue's."`
	UniqueKey      string          `json:"unique_key,omitempty" doc:"Its unique key."`
	Tenant         string          `json:"tenant,omitempty" doc:"On whose behalf it runs."`
	ConcurrencyKey string          `json:"concurrency_key,omitempty" doc:"Its line in a queue with limits."`
	Breaker        string          `json:"breaker,omitempty" doc:"The circuit breaker of the dependency that it needs."`
	WorkflowID     ID              `json:"workflow_id,omitempty" doc:"The workflow that it is a step of."`
	Step           string          `json:"step,omitempty" doc:"Its name in that workflow."`
	ParentID       ID              `json:"parent_id,omitempty" doc:"The job that it belongs to."`
	ResultTTL      int             `json:"result_ttl_seconds,omitempty" doc:"How long its result is kept after it completed; absent: as long as the job."`
	ResultUntil    *time.Time      `json:"result_until,omitempty" doc:"The result is shown until then, if it has a time of its own."`
	Schedule       string          `json:"schedule,omitempty" doc:"The schedule that made it."`
	Slot           *time.Time      `json:"slot,omitempty" doc:"The slot of the schedule that it was made for; of a trigger by hand, when that was."`
	Redrives       int             `json:"redrives,omitempty" doc:"How often it was a dead letter and was run again."`
	RedrivenBy     string          `json:"redriven_by,omitempty" doc:"Who did that last, if they said."`
	ReplayOf       ID              `json:"replay_of,omitempty" doc:"The job that it is a copy of."`
	Duplicate      bool            `json:"duplicate,omitempty" doc:"In the answer to an enqueue: the unique key was taken, and this is the job that has it."`
}

// AttemptError is one failed attempt.
type AttemptError struct {
	Attempt   int       `json:"attempt" doc:"Which attempt: 1, 2, …"`
	At        time.Time `json:"at" doc:"When it failed."`
	StartedAt time.Time `json:"started_at" doc:"When its first batch began."`
	Kind      string    `json:"kind" enum:"failed,timed_out,lost" doc:"failed: the worker said so. timed_out: it ran past its timeout. lost: its lease ran out."`
	Worker    string    `json:"worker,omitempty" doc:"The worker that had it."`
	Message   string    `json:"message" doc:"What went wrong."`
	Type      string    `json:"type,omitempty" doc:"The class of the error."`
	Stack     string    `json:"stack,omitempty" doc:"Where it happened."`
}

// Progress is how far a running job is, as its worker says.
type Progress struct {
	Percent float64 `json:"percent" minimum:"0" maximum:"100" doc:"How much is done."`
	Message string  `json:"message,omitempty" maxLength:"1000" doc:"What is being done."`
}

// RetryPolicy says how long to wait after a failed attempt. What is absent has weir's default, not the queue's.
type RetryPolicy struct {
	Strategy    string   `json:"strategy,omitempty" enum:"fixed,linear,exponential" doc:"The wait is base_seconds times 1, times the attempt's number, or times 2^(number-1). Defaults to exponential."`
	BaseSeconds *float64 `json:"base_seconds,omitempty" minimum:"0" maximum:"604800" doc:"Defaults to 2."`
	MaxSeconds  *float64 `json:"max_seconds,omitempty" minimum:"0" maximum:"604800" doc:"No wait is longer. Defaults to 3600."`
	Jitter      *bool    `json:"jitter,omitempty" doc:"Wait a random part of it, from 0 to all (full jitter). Defaults to true."`
}

// Edit is what can be changed of a job that waits. Nil leaves a value as it is.
type Edit struct {
	Priority       *int       `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"1 to 10, 10 first."`
	RunAt          *time.Time `json:"run_at,omitempty" doc:"When it becomes available; a past time: now."`
	MaxAttempts    *int       `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"After this many failed attempts it is dead."`
	TimeoutSeconds *int       `json:"timeout_seconds,omitempty" minimum:"1" maximum:"604800" doc:"How long one attempt may run."`
	Tags           *[]string  `json:"tags,omitempty" maxItems:"50" doc:"Replaces its tags."`
}

// Job returns one job. Errors: JobNotFound.
func (e *Engine) Job(ctx context.Context, id ID) (Job, error) {
	for range 3 {
		row, err := e.q.GetJob(ctx, int64(id))
		if err != nil {
			return Job{}, notFoundOr(err, id, "reading a job")
		}
		if row.State != nil {
			return e.jobFromRow(ctx, row)
		}
	}
	return Job{}, &Error{Code: Unavailable, Message: fmt.Sprintf("job %d is moving", id), Hint: "Try again."}
}

// Cancel cancels a job that waits, or asks the worker of one that runs to stop. It returns the job as it is then.
// Errors: JobNotFound, JobEnded.
func (e *Engine) Cancel(ctx context.Context, id ID) (Job, error) {
	if _, err := e.changes.CancelJob(ctx, int64(id)); err != nil {
		return Job{}, fromDB("cancelling a job", err)
	}
	job, err := e.Job(ctx, id)
	if job.State.Ended() {
		e.watcher.tell(id)
	}
	return job, err
}

// Retry runs a job again now that has ended or waits for a time. Errors: JobNotFound, JobNotRetryable.
func (e *Engine) Retry(ctx context.Context, id ID, resetAttempts bool) (Job, error) {
	if _, err := e.changes.RetryJob(ctx, db.RetryJobParams{JobID: int64(id), ResetAttempts: resetAttempts}); err != nil {
		return Job{}, fromDB("retrying a job", err)
	}
	return e.Job(ctx, id)
}

// Edit changes a job that waits. Errors: JobNotFound, JobNotEditable, InvalidArgument.
func (e *Engine) Edit(ctx context.Context, id ID, edit Edit) (Job, error) {
	changes, err := json.Marshal(edit)
	if err != nil {
		return Job{}, fmt.Errorf("encoding changes: %w", err)
	}
	if _, err := e.changes.EditJob(ctx, db.EditJobParams{JobID: int64(id), Changes: changes}); err != nil {
		return Job{}, fromDB("changing a job", err)
	}
	return e.Job(ctx, id)
}
