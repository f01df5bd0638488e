package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type workflowStepsInput struct {
	WorkflowPath
	Paging
}

// WorkflowStepPage is one page of the steps of a workflow.
type WorkflowStepPage struct {
	Items      []jobs.WorkflowStep `json:"items" doc:"The steps, in the order of the definition, then added steps."`
	NextCursor *string             `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type workflowStepPageOutput struct {
	Body WorkflowStepPage
}

// AddStepsRequest is what a running step adds to its workflow.
type AddStepsRequest struct {
	JobID jobs.ID        `json:"job_id" doc:"The job of the step that adds them, which must be running." example:"4711"`
	Token jobs.Token     `json:"token" doc:"The token from the claim." example:"4711"`
	Steps []jobs.NewStep `json:"steps" minItems:"1" doc:"The new steps. They may depend on the one that adds them, on each other, and on any other step of the workflow."`
}

// AddedSteps are the jobs of steps that were added.
type AddedSteps struct {
	JobIDs []jobs.ID `json:"job_ids" doc:"Their jobs, in the order given."`
}

type addedStepsOutput struct {
	Body AddedSteps
}

// StartWorkflowRequest is the workflow that a running step starts and waits for.
type StartWorkflowRequest struct {
	Token    jobs.Token       `json:"token" doc:"The token from the claim." example:"4711"`
	Workflow jobs.NewWorkflow `json:"workflow" doc:"The workflow."`
}

// DependencyPage is one page of the steps that a step depends on.
type DependencyPage struct {
	Items      []jobs.Dependency `json:"items" doc:"The steps, in the order of the definition."`
	NextCursor *string           `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type dependencyPageOutput struct {
	Body DependencyPage
}

func (a *API) registerWorkflowSteps() {
	added := jobs.NewStep{Name: "count-1", Kind: "count", Args: json.RawMessage(`{"file": "a.txt"}`), DependsOn: []string{"list"}}
	child := exampleWorkflow()
	child.ID, child.Name, child.ParentJobID, child.ParentWorkflowID = 4800, "shipment", 4711, 4700
	refusals := []jobs.Code{argsTooLarge, jobs.StaleToken, jobs.JobNotFound, jobs.NotAStep, jobs.WorkflowEnded, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch}
	register(a, huma.Operation{
		OperationID: "listWorkflowSteps", Method: http.MethodGet, Path: "/v1/workflows/{id}/steps", Tags: []string{tagWorkflows},
		Summary: "List the steps of a workflow", Description: "The steps, each with the state and result of its job.",
	}, documented{answer: WorkflowStepPage{Items: []jobs.WorkflowStep{exampleWorkflowStep()}}, problems: []jobs.Code{jobs.WorkflowNotFound}}, a.listWorkflowSteps)
	registerBody(a, huma.Operation{
		OperationID: "addSteps", Method: http.MethodPost, Path: "/v1/workflows/{id}/steps", Tags: []string{tagWorkflows}, DefaultStatus: http.StatusCreated,
		Summary: "Add steps to a running workflow",
		Description: "Only a running step of the workflow can add steps, with the token of its lease. To add steps and " +
			"complete in one transaction, pass them to completeJob as `add_steps`: then the step never ends " +
			"before its successors exist.",
	}, documented{body: AddStepsRequest{JobID: 4711, Token: jobs.Token{Number: 4711}, Steps: []jobs.NewStep{added}}, answer: AddedSteps{JobIDs: []jobs.ID{4720}}, problems: refusals}, a.addSteps)
	registerBody(a, huma.Operation{
		OperationID: "startWorkflow", Method: http.MethodPost, Path: "/v1/jobs/{id}/workflow", Tags: []string{tagWork}, DefaultStatus: http.StatusCreated,
		Summary: "Start a workflow and wait for it",
		Description: "Called by a running step of a workflow. It ends the attempt and frees the worker. The step is held " +
			"until the new workflow ends. It then completes with `{workflow_id, state, results}`, where the " +
			"results are those of the last steps by name, or becomes dead or cancelled if the workflow failed or " +
			"was cancelled.",
	}, documented{
		body:   StartWorkflowRequest{Token: jobs.Token{Number: 4711}, Workflow: jobs.NewWorkflow{Name: "shipment", Steps: []jobs.NewStep{{Name: "pack", Kind: "pack"}}}},
		answer: child, problems: refusals,
	}, a.startWorkflow)
	register(a, huma.Operation{
		OperationID: "listDependencies", Method: http.MethodGet, Path: "/v1/jobs/{id}/dependencies", Tags: []string{tagJobs},
		Summary: "List a step's dependencies",
		Description: "The steps that a step of a workflow depends on, with their states, results and errors. A claim has " +
			"the results of the completed ones; this list also has the others, and pages results that are too " +
			"large for a claim. Empty for a job that is not a step.",
	}, documented{answer: DependencyPage{Items: []jobs.Dependency{{Step: "reserve", JobID: 4710, State: jobs.Completed, Result: json.RawMessage(`{"shelf": 7}`)}}}, problems: []jobs.Code{jobs.JobNotFound}}, a.listDependencies)
}

func (a *API) listWorkflowSteps(ctx context.Context, in *workflowStepsInput) (*workflowStepPageOutput, error) {
	position, err := in.position(ctx, "steps")
	if err != nil {
		return nil, err
	}
	var after *jobs.StepPosition
	if position != "" {
		after = &jobs.StepPosition{}
		if n, err := fmt.Sscanf(position, "%d/%d", &after.Number, (*int64)(&after.ID)); err != nil || n != 2 {
			return nil, badCursor(ctx)
		}
	}
	steps, next, err := a.engine.WorkflowSteps(ctx, in.id(), after, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &workflowStepPageOutput{Body: WorkflowStepPage{Items: steps}}
	if next != nil {
		out.Body.NextCursor = cursorTo("steps", fmt.Sprintf("%d/%d", next.Number, next.ID))
	}
	return out, nil
}

func (a *API) addSteps(ctx context.Context, in *workflowBodyInput, b *AddStepsRequest) (*addedStepsOutput, error) {
	ids, err := a.engine.AddSteps(ctx, in.id(), b.JobID, b.Token, b.Steps)
	if err != nil {
		return nil, err
	}
	return &addedStepsOutput{Body: AddedSteps{JobIDs: ids}}, nil
}

func (a *API) startWorkflow(ctx context.Context, in *jobBodyInput, b *StartWorkflowRequest) (*submittedOutput, error) {
	return submittedAnswer(a.engine.StartWorkflow(ctx, in.id(), b.Token, b.Workflow))
}

func (a *API) listDependencies(ctx context.Context, in *timelineInput) (*dependencyPageOutput, error) {
	after, err := in.count(ctx, "dependencies")
	if err != nil {
		return nil, err
	}
	list, err := a.engine.Dependencies(ctx, in.id(), after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &dependencyPageOutput{}
	out.Body.Items, out.Body.NextCursor = trimCounted(ctx, in.Paging, "dependencies", list, after)
	return out, nil
}
