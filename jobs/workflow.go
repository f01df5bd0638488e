package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// WorkflowState is the state of a workflow.
type WorkflowState string

// The states of workflows. The last three are final.
const (
	WorkflowRunning      WorkflowState = "running"
	WorkflowStopping     WorkflowState = "stopping"
	WorkflowCompensating WorkflowState = "compensating"
	WorkflowCompleted    WorkflowState = "completed"
	WorkflowFailed       WorkflowState = "failed"
	WorkflowCancelled    WorkflowState = "cancelled"
)

// NewWorkflow is a workflow to submit: jobs, and which of them waits for which.
type NewWorkflow struct {
	Name            string          `json:"name" minLength:"1" maxLength:"200" doc:"What people call it; many may have the same name." example:"order"`
	Steps           []NewStep       `json:"steps" minItems:"1" doc:"Its steps, up to 10,000, in any order."`
	OnFailure       string          `json:"on_failure,omitempty" enum:"fail_fast,continue,compensate" doc:"What follows when a step dies. fail_fast: the rest is cancelled, but for steps that need only the end of others. continue: what does not depend on it goes on. compensate: the rest is cancelled, then the compensations of what completed run. Defaults to fail_fast."`
	DeadlineSeconds float64         `json:"deadline_seconds,omitempty" minimum:"0.001" maximum:"315360000" doc:"It fails if it has not ended after this long. Defaults to no deadline."`
	Metadata        json.RawMessage `json:"metadata,omitempty" doc:"An object of at most 64 KiB that is kept with it."`

	// IdempotencyKey makes a repeated submission answer with the first one's workflow, for 24 hours. Over REST it is a header.
	IdempotencyKey string `json:"-"`
}

// NewStep is a job of a workflow. A step with a kind is a job for a worker. One with WaitFor or Workflow needs no worker.
type NewStep struct {
	Name           string          `json:"name" minLength:"1" maxLength:"200" doc:"Its name in the workflow; no two have the same." example:"charge"`
	Kind           string          `json:"kind,omitempty" minLength:"1" maxLength:"200" doc:"What the worker should do. Every step has a kind, or wait_for or workflow." example:"charge_card"`
	Args           json.RawMessage `json:"args,omitempty" doc:"What it should do it with: any JSON of at most 1 MiB. Defaults to {}."`
	DependsOn      []string        `json:"depends_on,omitempty" maxLength:"200" doc:"The names of the steps that it waits for. Their results come with its claim."`
	Needs          string          `json:"needs,omitempty" enum:"completed,ended,any" doc:"completed: it runs when all that it depends on completed, and is skipped when one did not. ended: when all ended, in whatever way. any: when one of them completed. Defaults to completed."`
	OnFailure      string          `json:"on_failure,omitempty" enum:"fail_fast,continue,compensate" doc:"What follows when this step dies. Defaults to what the workflow says."`
	Compensation   string          `json:"compensation,omitempty" maxLength:"200" doc:"The name of the step that undoes this one. That runs only when the workflow compensates, after those of the steps that completed later, and gets the result of this one."`
	WaitFor        *WaitFor        `json:"wait_for,omitempty" doc:"In place of a kind: wait for a signal, or a time."`
	Workflow       *NewWorkflow    `json:"workflow,omitempty" doc:"In place of a kind: submit this workflow, and end as it ends."`
	Queue          string          `json:"queue,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queue to wait in for a worker. Defaults to default." example:"payments"`
	Priority       int             `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"10 first. Defaults to the queue's, 5."`
	RunAt          *time.Time      `json:"run_at,omitempty" doc:"Not before this time. Excludes delay_seconds."`
	DelaySeconds   *float64        `json:"delay_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"Not before this many seconds after its dependencies are done. Excludes run_at."`
	MaxAttempts    int             `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"After this many failed attempts it is dead. Defaults to the queue's, 5."`
	TimeoutSeconds int             `json:"timeout_seconds,omitempty" minimum:"1" maximum:"604800" doc:"How long one attempt may run. Defaults to the queue's, 300."`
	Retry          *RetryPolicy    `json:"retry,omitempty" doc:"How long to wait after a failed attempt. Defaults to the queue's policy."`
	Tenant         string          `json:"tenant,omitempty" minLength:"1" maxLength:"200" doc:"On whose behalf it runs."`
	ConcurrencyKey string          `json:"concurrency_key,omitempty" minLength:"1" maxLength:"200" doc:"Its line in a queue with limits: jobs of one key share the key's limits."`
	Breaker        string          `json:"breaker,omitempty" maxLength:"329" pattern:"^(.+/)?[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The circuit breaker of the dependency that it needs, named as in a job. Defaults to the queue's."`
	Tags           []string        `json:"tags,omitempty" maxItems:"50" minLength:"1" maxLength:"200" doc:"Labels to find it by, each of 1 to 200 characters."`
	ParentID       *ID             `json:"parent_id,omitempty" doc:"The job that it belongs to, which must be there."`
	ResultTTL      int             `json:"result_ttl_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"How long to keep the result after the step completed. Steps that depend on it do not get an expired result. Defaults to as long as the job."`
	Metadata       json.RawMessage `json:"metadata,omitempty" doc:"An object of at most 64 KiB that is kept with the job and handed to its worker."`
}

// WaitFor is the signal or the time that a step without a worker waits for.
type WaitFor struct {
	Signal         string     `json:"signal,omitempty" minLength:"1" maxLength:"200" doc:"The signal of this name; its payload is the step's result. One that came before is good too." example:"approved"`
	TimeoutSeconds *float64   `json:"timeout_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"With a signal: the longest wait."`
	OnTimeout      string     `json:"on_timeout,omitempty" enum:"fail,continue,skip" doc:"With timeout_seconds: fail: the step is dead. continue: it completes without a result. skip: it is cancelled, and what needs its completion is skipped. Defaults to fail."`
	Seconds        *float64   `json:"seconds,omitempty" minimum:"0" maximum:"315360000" doc:"How long to wait, from when its dependencies are done."`
	Until          *time.Time `json:"until,omitempty" doc:"Until this time."`
}

// Workflow is one row of the view weir.workflows.
type Workflow struct {
	ID               ID               `json:"id" doc:"Its id." example:"4700"`
	Name             string           `json:"name" doc:"What people call it." example:"order"`
	State            WorkflowState    `json:"state" enum:"running,stopping,compensating,completed,failed,cancelled" doc:"stopping: what waited is cancelled, and what runs is told to stop. compensating: compensations run. The last three are ends."`
	OnFailure        string           `json:"on_failure" enum:"fail_fast,continue,compensate" doc:"What follows when a step dies."`
	CreatedAt        time.Time        `json:"created_at" doc:"When it was submitted."`
	DeadlineAt       *time.Time       `json:"deadline_at,omitempty" doc:"It fails if it is not over then."`
	FinishedAt       *time.Time       `json:"finished_at,omitempty" doc:"When it was over."`
	Progress         float64          `json:"progress" doc:"How many of its steps have ended, in percent."`
	Steps            int              `json:"steps" doc:"How many steps it has; compensations are not counted, here and below."`
	Completed        int              `json:"completed" doc:"How many of them completed."`
	Dead             int              `json:"dead" doc:"How many are dead."`
	Cancelled        int              `json:"cancelled" doc:"How many were cancelled or skipped."`
	Running          int              `json:"running" doc:"How many a worker has."`
	Waiting          int              `json:"waiting" doc:"How many wait for something."`
	Failure          *WorkflowFailure `json:"failure,omitempty" doc:"Why it failed, or was stopped."`
	Metadata         json.RawMessage  `json:"metadata" doc:"What its submitter wanted to keep with it."`
	ParentJobID      ID               `json:"parent_job_id,omitempty" doc:"The step that started it and waits for it."`
	ParentWorkflowID ID               `json:"parent_workflow_id,omitempty" doc:"The workflow of that step."`
	ForkedFrom       ID               `json:"forked_from,omitempty" doc:"The workflow that it was forked from."`
	Tenant           string           `json:"tenant,omitempty" doc:"The tenant of all its steps; absent: they may have several, or none."`
	Duplicate        bool             `json:"duplicate,omitempty" doc:"In the answer to a submission: the idempotency key is known, and this is the workflow of the first."`
}

// WorkflowFailure is why a workflow failed.
type WorkflowFailure struct {
	Type    string `json:"type" enum:"step,deadline,cancelled" doc:"step: a step died. deadline: it took too long. cancelled: it was cancelled."`
	Step    string `json:"step,omitempty" doc:"The step that died."`
	Message string `json:"message" doc:"In words."`
}

// WorkflowFilter chooses workflows for a list. A zero value does not restrict it.
type WorkflowFilter struct {
	State WorkflowState
	Name  string
}

// SubmitWorkflow stores a workflow with all its steps and returns it once they are committed. The database checks
// everything, and its errors name the place: steps[3].depends_on[0]. Errors: InvalidArgument, IdempotencyMismatch,
// QueueFull, QuotaExceeded.
func (e *Engine) SubmitWorkflow(ctx context.Context, w NewWorkflow) (Workflow, error) {
	if err := w.bind(ctx); err != nil {
		return Workflow{}, err
	}
	text, err := json.Marshal(struct {
		NewWorkflow
		Key string `json:"idempotency_key,omitempty"`
	}{w, w.IdempotencyKey})
	if err != nil {
		return Workflow{}, &Error{Code: InvalidArgument, Message: "the workflow is not valid JSON", cause: err}
	}
	params := db.SubmitWorkflowParams{}
	if p := access.From(ctx); p != nil {
		params.Principal, params.Tenant = &p.ID, nonZero(p.Tenant)
	}
	var done db.SubmitWorkflowRow
	err = e.vault.twice(ctx, func() error {
		if params.Definition, err = e.vault.encryptWorkflow(ctx, text, ""); err != nil {
			return err
		}
		done, err = e.q.SubmitWorkflow(ctx, params)
		return err
	})
	if err != nil {
		return Workflow{}, fromDB("submitting a workflow", err)
	}
	stored, err := e.Workflow(ctx, ID(done.WorkflowID))
	stored.Duplicate = done.Duplicate
	return stored, err
}

// Workflow returns a workflow. Errors: WorkflowNotFound.
func (e *Engine) Workflow(ctx context.Context, id ID) (Workflow, error) {
	row, err := e.q.GetWorkflow(ctx, int64(id))
	if errors.Is(err, pgx.ErrNoRows) {
		return Workflow{}, noWorkflow(id)
	}
	if err != nil {
		return Workflow{}, fromDB("reading a workflow", err)
	}
	return workflowFromRow(row)
}

func noWorkflow(id ID) error {
	return &Error{Code: WorkflowNotFound, Message: "there is no workflow " + id.String(), Hint: "A workflow is deleted when its retention is over."}
}

// Workflows lists up to limit workflows, newest first, with ids below before (0: from the newest).
func (e *Engine) Workflows(ctx context.Context, f WorkflowFilter, before ID, limit int) ([]Workflow, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return nil, err
	}
	var ids []int64
	switch f.State {
	case WorkflowRunning, WorkflowStopping, WorkflowCompensating: // they have an index
		ids, err = e.reads.WorkflowIDsUnderWay(ctx, db.WorkflowIDsUnderWayParams{Before: int64(before), State: string(f.State), Name: nonZero(f.Name), Bounds: bounds, MaxIds: int32(limit)})
	default:
		ids, err = e.reads.WorkflowIDs(ctx, db.WorkflowIDsParams{Before: int64(before), State: nonZero(string(f.State)), Name: nonZero(f.Name), Bounds: bounds, MaxIds: int32(limit)})
	}
	if err != nil {
		return nil, fromDB("listing workflows", err)
	}
	rows, err := e.reads.GetWorkflows(ctx, ids)
	if err != nil {
		return nil, fromDB("listing workflows", err)
	}
	list := make([]Workflow, len(rows))
	for i, r := range rows {
		if list[i], err = workflowFromRow(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// CancelWorkflow cancels the waiting steps of a workflow and asks the workers of the running ones to stop. With
// compensate, the compensations of completed steps then run.
// Errors: WorkflowNotFound, WorkflowEnded.
func (e *Engine) CancelWorkflow(ctx context.Context, id ID, compensate bool) (Workflow, error) {
	if _, err := e.changes.CancelWorkflow(ctx, db.CancelWorkflowParams{WorkflowID: int64(id), Compensate: compensate}); err != nil {
		return Workflow{}, fromDB("cancelling a workflow", err)
	}
	return e.Workflow(ctx, id)
}

// RetryWorkflow runs the steps of a workflow again that did not complete, and those that depend on them. Errors:
// WorkflowNotFound, WorkflowEnded (it is stopping), WorkflowNotFailed.
func (e *Engine) RetryWorkflow(ctx context.Context, id ID, by string) (Workflow, error) {
	if _, err := e.changes.RetryWorkflow(ctx, db.RetryWorkflowParams{WorkflowID: int64(id), By: nonZero(by)}); err != nil {
		return Workflow{}, fromDB("retrying a workflow", err)
	}
	return e.Workflow(ctx, id)
}

// ForkWorkflow submits a copy in which some steps, and all that depend on them, run again. Errors: WorkflowNotFound,
// InvalidArgument.
func (e *Engine) ForkWorkflow(ctx context.Context, id ID, from []string, by string) (Workflow, error) {
	fork, err := e.changes.ForkWorkflow(ctx, db.ForkWorkflowParams{WorkflowID: int64(id), FromSteps: from, By: nonZero(by)})
	if err != nil {
		return Workflow{}, fromDB("forking a workflow", err)
	}
	return e.Workflow(ctx, ID(fork))
}

// SignalWorkflow sends a signal to a workflow and returns how many steps were waiting for it. Errors:
// WorkflowNotFound, WorkflowEnded, InvalidArgument.
func (e *Engine) SignalWorkflow(ctx context.Context, id ID, name string, payload json.RawMessage) (int, error) {
	if err := checkForged("payload", payload); err != nil { // it becomes a result
		return 0, err
	}
	waited, err := e.changes.SignalWorkflow(ctx, db.SignalWorkflowParams{WorkflowID: int64(id), Name: name, Payload: payload})
	return int(waited), fromDB("sending a signal", err)
}

// runWorkflowTimers ends waits whose time is over and stops workflows past their deadline. It returns when to run again.
func (e *Engine) runWorkflowTimers(ctx context.Context) (time.Duration, error) {
	const most, patience = 500, 200 * time.Millisecond
	row, err := e.loops.RunWorkflowTimers(ctx, most)
	if err != nil {
		return 0, fromDB("running the timers of workflows", err)
	}
	if row.Handled >= most {
		return 0, nil
	}
	if next := seconds(row.NextInSeconds); row.NextInSeconds >= 0 && next < patience {
		return max(next, time.Millisecond), nil
	}
	return e.due.rest(patience), nil
}

func workflowFromRow(r db.WeirWorkflows) (Workflow, error) {
	w := Workflow{
		ID: ID(r.ID), Name: r.Name, State: WorkflowState(r.State), OnFailure: r.OnFailure, CreatedAt: r.CreatedAt.UTC(), DeadlineAt: utc(r.DeadlineAt), FinishedAt: utc(r.FinishedAt),
		Progress: r.Progress, Steps: int(r.Steps), Completed: int(r.Completed), Dead: int(r.Dead), Cancelled: int(r.Cancelled), Running: int(r.Running), Waiting: int(r.Waiting),
		Metadata: r.Metadata, ParentJobID: ID(value(r.ParentJobID)), ParentWorkflowID: ID(value(r.ParentWorkflowID)), ForkedFrom: ID(value(r.ForkedFrom)), Tenant: value(r.Tenant),
	}
	if len(r.Failure) > 0 {
		if err := json.Unmarshal(r.Failure, &w.Failure); err != nil {
			return Workflow{}, fmt.Errorf("reading workflow %d: %w", r.ID, err)
		}
	}
	return w, nil
}
