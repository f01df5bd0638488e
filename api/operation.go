package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// OperationPath is the path of one operation.
type OperationPath struct {
	ID string `path:"id" pattern:"^[0-9]+$" maxLength:"30" doc:"The operation's id." example:"7"`
}

func (p OperationPath) missing(ctx context.Context) *Problem {
	return missing(ctx, p.ID, jobs.OperationNotFound, "operation")
}

type operationOutput struct {
	Body jobs.Operation
}

// startedOutput sets its status: a dry run starts nothing.
type startedOutput struct {
	Status int
	Body   jobs.Operation
}

type operationsInput struct {
	Kind  jobs.OperationKind  `query:"kind" enum:"redrive_dead,purge_dead,bulk_cancel,bulk_retry,bulk_reprioritise,export_jobs" doc:"Only operations of this kind."`
	State jobs.OperationState `query:"state" enum:"pending,running,completed,cancelled" doc:"Only operations in this state."`
	Paging
}

// OperationPage is one page of the list of operations.
type OperationPage struct {
	Items      []jobs.Operation `json:"items" doc:"The operations, newest first."`
	NextCursor *string          `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type operationPageOutput struct {
	Body OperationPage
}

func (a *API) registerOperations() {
	tags := []string{tagOperations}
	cancelled := exampleOperation()
	cancelled.State, cancelled.FinishedAt = "cancelled", &exampleLater
	register(a, huma.Operation{
		OperationID: "listOperations", Method: http.MethodGet, Path: "/v1/operations", Tags: tags,
		Summary:     "List operations",
		Description: "Background work on many jobs, running now or in the last 30 days, newest first.",
	}, documented{answer: OperationPage{Items: []jobs.Operation{exampleOperation()}}}, a.listOperations)
	register(a, huma.Operation{
		OperationID: "getOperation", Method: http.MethodGet, Path: "/v1/operations/{id}", Tags: tags,
		Summary:     "Get an operation",
		Description: "`done` grows towards `total`. Work that is done stays done, even if the operation is cancelled.",
	}, documented{answer: exampleOperation(), problems: []jobs.Code{jobs.OperationNotFound}}, a.getOperation)
	register(a, huma.Operation{
		OperationID: "cancelOperation", Method: http.MethodPost, Path: "/v1/operations/{id}/cancel", Tags: tags,
		Summary:     "Cancel an operation",
		Description: "Stops it. Work that is done stays done.",
	}, documented{answer: cancelled, problems: []jobs.Code{jobs.OperationNotFound, jobs.OperationEnded}}, a.cancelOperation)
}

func (a *API) listOperations(ctx context.Context, in *operationsInput) (*operationPageOutput, error) {
	before, err := in.before(ctx, "operations")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Operations(ctx, jobs.OperationFilter{Kind: in.Kind, State: in.State}, before, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &operationPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "operations", found, func(last jobs.Operation) string { return last.ID.String() })
	return out, nil
}

func (a *API) getOperation(ctx context.Context, in *OperationPath) (*operationOutput, error) {
	return operationAnswer(a.engine.Operation(ctx, idOf(in.ID)))
}

func (a *API) cancelOperation(ctx context.Context, in *OperationPath) (*operationOutput, error) {
	return operationAnswer(a.engine.CancelOperation(ctx, idOf(in.ID)))
}

// start answers with the operation that was started, or with what a dry run counted.
func (a *API) start(ctx context.Context, r jobs.OperationRequest) (*startedOutput, error) {
	operation, err := a.engine.StartOperation(ctx, r)
	if err != nil {
		return nil, err
	}
	status := http.StatusAccepted
	if r.DryRun {
		status = http.StatusOK
	}
	return &startedOutput{Status: status, Body: operation}, nil
}

func operationAnswer(operation jobs.Operation, err error) (*operationOutput, error) {
	if err != nil {
		return nil, err
	}
	return &operationOutput{Body: operation}, nil
}
