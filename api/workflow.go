package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// WorkflowPath leads to a workflow.
type WorkflowPath struct {
	ID string `path:"id" pattern:"^[0-9]+$" maxLength:"30" doc:"The workflow's id." example:"4700"`
}

func (p WorkflowPath) id() jobs.ID { return idOf(p.ID) }

func (p WorkflowPath) missing(ctx context.Context) *Problem {
	return missing(ctx, p.ID, jobs.WorkflowNotFound, "workflow")
}

type submitInput struct {
	IdempotencyKey string `header:"Idempotency-Key" minLength:"1" maxLength:"255" doc:"A repeated submission with the same key gets the workflow of the first one, for 24 hours."`
	Payload
}

type submittedOutput struct {
	Status   int
	Location string `header:"Location" doc:"The path of the workflow."`
	Body     jobs.Workflow
}

type workflowOutput struct {
	Body jobs.Workflow
}

type workflowsInput struct {
	State jobs.WorkflowState `query:"state" enum:"running,stopping,compensating,completed,failed,cancelled" doc:"Only workflows in this state."`
	Name  string             `query:"name" maxLength:"200" doc:"Only workflows of this name."`
	Paging
}

// WorkflowPage is one page of a list of workflows.
type WorkflowPage struct {
	Items      []jobs.Workflow `json:"items" doc:"The workflows, newest first."`
	NextCursor *string         `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type workflowPageOutput struct {
	Body WorkflowPage
}

type workflowBodyInput struct {
	WorkflowPath
	Payload
}

// CancelWorkflowRequest says how to cancel a workflow.
type CancelWorkflowRequest struct {
	Compensate bool `json:"compensate,omitempty" doc:"Once all running steps have ended, run the compensations of the completed ones. Defaults to false."`
}

// RetryWorkflowRequest says who retries a workflow.
type RetryWorkflowRequest struct {
	By string `json:"by,omitempty" maxLength:"200" doc:"Who asked for it; stored with the workflow."`
}

// ForkRequest says from which steps to fork a workflow.
type ForkRequest struct {
	From []string `json:"from" minItems:"1" maxItems:"1000" maxLength:"200" doc:"The steps to run again, with all their dependents." example:"charge"`
	By   string   `json:"by,omitempty" maxLength:"200" doc:"Who asked for it; stored with the forked workflow."`
}

type signalInput struct {
	WorkflowPath
	Name string `path:"name" minLength:"1" maxLength:"200" doc:"The signal's name." example:"approved"`
	Payload
}

// SignalRequest is what a signal carries.
type SignalRequest struct {
	Payload json.RawMessage `json:"payload,omitempty" doc:"Any JSON of at most 1 MiB: the result of the steps that wait for the signal."`
}

// SignalAnswer says what a signal did.
type SignalAnswer struct {
	Ended int `json:"ended" doc:"How many waiting steps it completed. If 0, it is kept for steps that wait later."`
}

type signalOutput struct {
	Body SignalAnswer
}

func (a *API) registerWorkflows() {
	tags := []string{tagWorkflows}
	over := exampleWorkflow()
	over.State, over.Progress, over.Completed, over.Running, over.Waiting, over.FinishedAt = jobs.WorkflowCompleted, 100, 3, 0, 0, &exampleLater
	stopping, fork, again := exampleWorkflow(), exampleWorkflow(), exampleWorkflow()
	stopping.State, stopping.Failure = jobs.WorkflowStopping, &jobs.WorkflowFailure{Type: "cancelled", Message: "it was cancelled"}
	fork.ID, fork.ForkedFrom = 4800, 4700
	again.Duplicate = true
	registerBody(a, huma.Operation{
		OperationID: "submitWorkflow", Method: http.MethodPost, Path: "/v1/workflows", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Submit a workflow",
		Description: "Stores a workflow with all its steps in one transaction and answers once it is committed. Steps " +
			"without dependencies are available at once; each other step is released in the transaction in which " +
			"its last dependency ends. Cycles, unknown names and duplicate names are refused with their place, " +
			"and a cycle with its path. If the `Idempotency-Key` is known, nothing is stored, and the answer is " +
			"200 with the workflow of the first submission.",
	}, documented{
		body: exampleNewWorkflow(), answer: exampleWorkflow(), problems: []jobs.Code{argsTooLarge, jobs.IdempotencyMismatch, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch},
		also: map[int]otherSuccess{http.StatusOK: {description: "The idempotency key is known: the workflow of the first submission", answer: again}},
	}, a.submitWorkflow)
	register(a, huma.Operation{
		OperationID: "listWorkflows", Method: http.MethodGet, Path: "/v1/workflows", Tags: tags,
		Summary:     "List workflows",
		Description: "Workflows that match the filters, newest first, with their progress.",
	}, documented{answer: WorkflowPage{Items: []jobs.Workflow{exampleWorkflow()}, NextCursor: cursorTo("workflows", "4700")}}, a.listWorkflows)
	register(a, huma.Operation{
		OperationID: "getWorkflow", Method: http.MethodGet, Path: "/v1/workflows/{id}", Tags: tags,
		Summary: "Get a workflow",
		Description: "Its state, its progress, and why it failed if it did. `/v1/workflows/{id}/steps` has its steps, " +
			"`/v1/workflows/{id}/graph` their dependencies.",
	}, documented{answer: over, problems: []jobs.Code{jobs.WorkflowNotFound}}, a.getWorkflow)
	registerBody(a, huma.Operation{
		OperationID: "cancelWorkflow", Method: http.MethodPost, Path: "/v1/workflows/{id}/cancel", Tags: tags,
		Summary: "Cancel a workflow",
		Description: "Waiting steps are cancelled at once. The workers of running steps see the request at their next " +
			"heartbeat; when the last step has ended, the workflow is cancelled.",
	}, documented{body: CancelWorkflowRequest{Compensate: true}, optional: true, answer: stopping, problems: []jobs.Code{jobs.WorkflowNotFound, jobs.WorkflowEnded}}, a.cancelWorkflow)
	registerBody(a, huma.Operation{
		OperationID: "retryWorkflow", Method: http.MethodPost, Path: "/v1/workflows/{id}/retry", Tags: tags,
		Summary: "Retry the failed steps of a workflow",
		Description: "All steps that did not complete or were compensated, and their dependents, run again with their " +
			"attempts counted from 0 and a new deadline. Completed steps keep their results. The id stays.",
	}, documented{body: RetryWorkflowRequest{By: "ann"}, optional: true, answer: exampleWorkflow(), problems: []jobs.Code{jobs.WorkflowNotFound, jobs.WorkflowEnded, jobs.WorkflowNotFailed, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch}}, a.retryWorkflow)
	registerBody(a, huma.Operation{
		OperationID: "forkWorkflow", Method: http.MethodPost, Path: "/v1/workflows/{id}/fork", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Fork a workflow",
		Description: "Submits a copy in which the given steps, all steps that did not complete, and all their dependents " +
			"run again. The other steps are completed from the start, with their results.",
	}, documented{body: ForkRequest{From: []string{"charge"}}, answer: fork, problems: []jobs.Code{jobs.WorkflowNotFound, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch}}, a.forkWorkflow)
	registerBody(a, huma.Operation{
		OperationID: "signalWorkflow", Method: http.MethodPost, Path: "/v1/workflows/{id}/signals/{name}", Tags: tags,
		Summary: "Send a signal to a workflow",
		Description: "Every step that waits for this signal, now or later, completes with the payload as its result. Of " +
			"several signals with one name, the newest counts for steps that wait later.",
	}, documented{
		body: SignalRequest{Payload: json.RawMessage(`{"by": "ann"}`)}, optional: true, answer: SignalAnswer{Ended: 1}, problems: []jobs.Code{jobs.WorkflowNotFound, jobs.WorkflowEnded},
	}, a.signalWorkflow)
}

func (a *API) submitWorkflow(ctx context.Context, in *submitInput, w *jobs.NewWorkflow) (*submittedOutput, error) {
	w.IdempotencyKey = in.IdempotencyKey
	return submittedAnswer(a.engine.SubmitWorkflow(ctx, *w))
}

func submittedAnswer(w jobs.Workflow, err error) (*submittedOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &submittedOutput{Status: http.StatusCreated, Location: "/v1/workflows/" + w.ID.String(), Body: w}
	if w.Duplicate {
		out.Status = http.StatusOK
	}
	return out, nil
}

func (a *API) listWorkflows(ctx context.Context, in *workflowsInput) (*workflowPageOutput, error) {
	before, err := in.before(ctx, "workflows")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Workflows(ctx, jobs.WorkflowFilter{State: in.State, Name: in.Name}, before, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &workflowPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "workflows", found, func(last jobs.Workflow) string { return last.ID.String() })
	return out, nil
}

func (a *API) getWorkflow(ctx context.Context, in *WorkflowPath) (*workflowOutput, error) {
	return workflowAnswer(a.engine.Workflow(ctx, in.id()))
}

func (a *API) cancelWorkflow(ctx context.Context, in *workflowBodyInput, b *CancelWorkflowRequest) (*workflowOutput, error) {
	return workflowAnswer(a.engine.CancelWorkflow(ctx, in.id(), b.Compensate))
}

func (a *API) retryWorkflow(ctx context.Context, in *workflowBodyInput, b *RetryWorkflowRequest) (*workflowOutput, error) {
	return workflowAnswer(a.engine.RetryWorkflow(ctx, in.id(), b.By))
}

func (a *API) forkWorkflow(ctx context.Context, in *workflowBodyInput, b *ForkRequest) (*submittedOutput, error) {
	return submittedAnswer(a.engine.ForkWorkflow(ctx, in.id(), b.From, b.By))
}

func (a *API) signalWorkflow(ctx context.Context, in *signalInput, b *SignalRequest) (*signalOutput, error) {
	ended, err := a.engine.SignalWorkflow(ctx, in.id(), in.Name, b.Payload)
	if err != nil {
		return nil, err
	}
	return &signalOutput{Body: SignalAnswer{Ended: ended}}, nil
}

func workflowAnswer(w jobs.Workflow, err error) (*workflowOutput, error) {
	if err != nil {
		return nil, err
	}
	return &workflowOutput{Body: w}, nil
}
