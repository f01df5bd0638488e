package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// WorkflowStep is one row of the view weir.workflow_steps: a step and the state of its job.
type WorkflowStep struct {
	Name            string          `json:"name" doc:"Its name in the workflow." example:"charge"`
	JobID           ID              `json:"job_id" doc:"Its job." example:"4711"`
	State           State           `json:"state" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Where its job is in its life. A step that was skipped is cancelled, and its error says why."`
	HeldReason      string          `json:"held_reason,omitempty" doc:"What it waits for, if it is held: dependency, signal, timer, workflow, line or breaker."`
	DependsOn       []string        `json:"depends_on" doc:"The steps that it waits for."`
	Needs           string          `json:"needs" enum:"completed,ended,any" doc:"What it needs of them."`
	Kind            string          `json:"kind" doc:"What its worker should do; weir.wait and weir.workflow have none." example:"charge_card"`
	Queue           string          `json:"queue" doc:"The queue it waits in for a worker."`
	Attempt         int             `json:"attempt" doc:"Attempts made so far, the running one included."`
	MaxAttempts     int             `json:"max_attempts" doc:"After this many failed attempts it is dead."`
	RunAt           *time.Time      `json:"run_at,omitempty" doc:"When it becomes available, if it is scheduled or retryable."`
	StartedAt       *time.Time      `json:"started_at,omitempty" doc:"When its last attempt, or its wait, began."`
	FinishedAt      *time.Time      `json:"finished_at,omitempty" doc:"When it ended."`
	Worker          string          `json:"worker,omitempty" doc:"The worker that has it or had it last."`
	Progress        *Progress       `json:"progress,omitempty" doc:"What its worker last said of its progress."`
	Result          json.RawMessage `json:"result,omitempty" doc:"What came of it: any JSON."`
	Error           json.RawMessage `json:"error,omitempty" doc:"Why it is dead, or was skipped: an object with a message."`
	OnFailure       string          `json:"on_failure,omitempty" doc:"What follows when it dies, where it says so itself."`
	Compensation    string          `json:"compensation,omitempty" doc:"The step that undoes it."`
	Compensates     string          `json:"compensates,omitempty" doc:"It is a compensation, of this step."`
	WaitFor         json.RawMessage `json:"wait_for,omitempty" doc:"The signal or time that it waits for in place of a worker."`
	ChildWorkflowID ID              `json:"child_workflow_id,omitempty" doc:"The workflow that it started and waits for, or waited for."`
	AddedBy         string          `json:"added_by,omitempty" doc:"The step that added it while it ran."`
	CopiedFrom      ID              `json:"copied_from,omitempty" doc:"In a fork: the job whose result it has."`
}

// StepPosition is a place in a list of steps.
type StepPosition struct {
	Number int32
	ID     ID
}

// WorkflowSteps lists up to limit steps of a workflow in the order of its definition, after a position. It returns the
// position of the next page, or nil after the last step.
// Errors: WorkflowNotFound.
func (e *Engine) WorkflowSteps(ctx context.Context, id ID, after *StepPosition, limit int) ([]WorkflowStep, *StepPosition, error) {
	if after == nil {
		if _, err := e.Workflow(ctx, id); err != nil {
			return nil, nil, err
		}
		after = &StepPosition{Number: -1}
	}
	rows, err := e.reads.WorkflowSteps(ctx, db.WorkflowStepsParams{WorkflowID: int64(id), AfterNumber: after.Number, AfterID: int64(after.ID), MaxSteps: int32(limit + 1)})
	if err != nil {
		return nil, nil, fromDB("listing steps", err)
	}
	var next *StepPosition
	if n := min(len(rows), limit); len(rows) > limit || n > 0 && IsCut(ctx) {
		rows = rows[:n]
		next = &StepPosition{rows[n-1].Number, ID(rows[n-1].JobID)}
	}
	steps := make([]WorkflowStep, len(rows))
	for i, r := range rows {
		if steps[i], err = e.stepFromRow(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	return steps, next, nil
}

// AddSteps lets a running step add steps to its workflow. It returns the ids of their jobs. Errors: StaleToken,
// JobNotFound, NotAStep, WorkflowEnded, InvalidArgument, QueueFull, QuotaExceeded.
func (e *Engine) AddSteps(ctx context.Context, workflow, id ID, token Token, steps []NewStep) ([]ID, error) {
	fence, err := e.checkedFence(ctx, id, token)
	if err != nil {
		return nil, err
	}
	if err := bindSteps(ctx, "steps[%d]", steps); err != nil {
		return nil, err
	}
	of, err := e.q.WorkflowOf(ctx, int64(id))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fromDB("looking up a step", err)
	}
	if err == nil && ID(of) != workflow {
		return nil, invalid("job_id", "is not a step of this workflow")
	}
	var ids []ID
	err = e.vault.twice(ctx, func() error {
		ids, err = e.addSteps(ctx, e.q, id, fence, steps)
		return err
	})
	return ids, err
}

func (e *Engine) addSteps(ctx context.Context, q *db.Queries, id ID, fence int64, steps []NewStep) ([]ID, error) {
	text, err := json.Marshal(steps)
	if err != nil {
		return nil, &Error{Code: InvalidArgument, Message: "the steps are not valid JSON", cause: err}
	}
	queues, err := e.vault.encrypted(ctx)
	if err != nil {
		return nil, err
	}
	if text, err = e.vault.encryptSteps(ctx, queues, text, "steps"); err != nil {
		return nil, err
	}
	added, err := q.AddSteps(ctx, db.AddStepsParams{JobID: int64(id), Token: fence, Steps: text})
	if err != nil {
		return nil, fromDB("adding steps", err)
	}
	ids := make([]ID, len(added))
	for i, a := range added {
		ids[i] = ID(a)
	}
	return ids, nil
}

// renamed returns an error with another name for the argument that is wrong.
func renamed(err error, from, to string) error {
	var e *Error
	if !errors.As(err, &e) || !strings.HasPrefix(e.Field, from) {
		return err
	}
	own := *e
	own.Field, own.Message = to+strings.TrimPrefix(own.Field, from), to+strings.TrimPrefix(own.Message, from)
	return &own
}

// StartWorkflow lets a running step start a child workflow and end when that ends. The attempt of the step is over.
// Errors: StaleToken, JobNotFound, NotAStep, WorkflowEnded, InvalidArgument, QueueFull, QuotaExceeded.
func (e *Engine) StartWorkflow(ctx context.Context, id ID, token Token, w NewWorkflow) (Workflow, error) {
	fence, err := e.checkedFence(ctx, id, token)
	if err != nil {
		return Workflow{}, err
	}
	if err := w.bind(ctx); err != nil {
		return Workflow{}, err
	}
	text, err := json.Marshal(w)
	if err != nil {
		return Workflow{}, &Error{Code: InvalidArgument, Message: "the workflow is not valid JSON", cause: err}
	}
	var child int64
	err = e.vault.twice(ctx, func() error {
		encrypted, err := e.vault.encryptWorkflow(ctx, text, "")
		if err != nil {
			return err
		}
		child, err = e.q.StartWorkflow(ctx, db.StartWorkflowParams{JobID: int64(id), Token: fence, Definition: encrypted})
		return err
	})
	if err != nil {
		return Workflow{}, fromDB("starting a workflow", err)
	}
	e.claims.JobsEnded()
	return e.Workflow(ctx, ID(child))
}

// Dependency is a step that another one depends on.
type Dependency struct {
	Step   string          `json:"step" doc:"Its name." example:"charge"`
	JobID  ID              `json:"job_id" doc:"Its job." example:"4711"`
	State  State           `json:"state" enum:"held,scheduled,retryable,available,running,completed,cancelled,dead" doc:"Where its job is in its life."`
	Result json.RawMessage `json:"result,omitempty" doc:"What came of it: any JSON."`
	Error  json.RawMessage `json:"error,omitempty" doc:"Why it is dead, or was skipped: an object with a message."`
}

// Dependencies lists up to limit steps that a step depends on, in the order of its definition, skipping the first `after`.
// Errors: JobNotFound.
func (e *Engine) Dependencies(ctx context.Context, id ID, after, limit int) ([]Dependency, error) {
	params := db.DependenciesParams{JobID: int64(id), After: int64(after), MaxSteps: int32(limit)}
	if boundsOf(ctx) != nil {
		filter, err := Filter{}.encode(ctx)
		if err != nil {
			return nil, err
		}
		params.Filter = filter
	}
	rows, err := e.reads.Dependencies(ctx, params)
	if err != nil {
		return nil, fromDB("reading dependencies", err)
	}
	list := make([]Dependency, len(rows))
	for i, r := range rows {
		list[i] = Dependency{r.Step, ID(r.ID), State(r.State), e.vault.shown(ctx, resultField, r.Result), e.vault.decryptError(ctx, r.Error)}
	}
	return list, nil
}

func (e *Engine) stepFromRow(ctx context.Context, r db.WeirWorkflowSteps) (WorkflowStep, error) {
	s := WorkflowStep{
		Name: r.Name, JobID: ID(r.JobID), HeldReason: value(r.HeldReason), DependsOn: r.DependsOn, Needs: r.Needs, Kind: r.Kind, Queue: r.Queue, Attempt: int(r.Attempt), MaxAttempts: int(r.MaxAttempts),
		RunAt: utc(r.RunAt), StartedAt: utc(r.StartedAt), FinishedAt: utc(r.FinishedAt), Worker: value(r.Worker), Result: e.vault.shown(ctx, resultField, r.Result), Error: e.vault.decryptError(ctx, r.Error), OnFailure: value(r.OnFailure),
		Compensation: value(r.Compensation), Compensates: value(r.Compensates), WaitFor: r.WaitFor, ChildWorkflowID: ID(value(r.ChildWorkflowID)), AddedBy: value(r.AddedBy),
		CopiedFrom: ID(value(r.CopiedFrom)),
	}
	if r.State != nil {
		s.State = State(*r.State)
	}
	if s.DependsOn == nil {
		s.DependsOn = []string{}
	}
	if len(r.Progress) > 0 {
		if err := json.Unmarshal(r.Progress, &s.Progress); err != nil {
			return WorkflowStep{}, fmt.Errorf("reading step %d: %w", r.JobID, err)
		}
	}
	return s, nil
}
