package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// BulkRequest says what to do to which jobs.
type BulkRequest struct {
	Action        string      `json:"action" enum:"cancel,retry,reprioritise" doc:"What to do with the jobs."`
	Filter        jobs.Filter `json:"filter" doc:"The jobs that exist now; an empty object selects all that qualify, for retry only dead and cancelled ones. Retry leaves dead jobs alone whose dead letter was purged or routed."`
	Priority      int         `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"With reprioritise: the new priority."`
	ResetAttempts bool        `json:"reset_attempts,omitempty" doc:"With retry: reset the attempts to 0. Defaults to false."`
	By            string      `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who started it; stored with the operation."`
	RatePerSecond float64     `json:"rate_per_second,omitempty" minimum:"0.0001" maximum:"100000" doc:"Maximum rate per second. Defaults to as fast as possible."`
	DryRun        bool        `json:"dry_run,omitempty" doc:"Only count, for at most two seconds. Defaults to false."`
}

func (a *API) registerBulk() {
	started := exampleOperation()
	started.Kind, started.State, started.Done, started.StartedAt = jobs.BulkCancel, "pending", 0, nil
	dry := started
	dry.ID, dry.State = 0, jobs.OperationDryRun
	registerBody(a, huma.Operation{
		OperationID: "changeJobs", Method: http.MethodPost, Path: "/v1/jobs/bulk", Tags: []string{tagJobs}, DefaultStatus: http.StatusAccepted,
		Summary: "Cancel, retry or reprioritise many jobs",
		Description: "Starts an operation on the jobs that match the filter, ordered by id. It continues if this node " +
			"ends. A job that has changed meanwhile and no longer qualifies is left as it is and counts as " +
			"`failed`.",
	}, documented{
		body:   BulkRequest{Action: "cancel", Filter: jobs.Filter{Queue: jobs.AnyName{"mail"}, State: jobs.AnyState{jobs.Scheduled}}, By: "ann"},
		answer: started, also: map[int]otherSuccess{http.StatusOK: {description: "With `dry_run`: `total` is the count. Nothing is stored or changed.", answer: dry}},
		problems: []jobs.Code{jobs.PresetNotFound},
	}, a.changeJobs)
}

func (a *API) changeJobs(ctx context.Context, _ *bodyInput, b *BulkRequest) (*startedOutput, error) {
	return a.start(ctx, jobs.OperationRequest{
		Kind: jobs.OperationKind("bulk_" + b.Action), Jobs: b.Filter, Options: jobs.OperationOptions{Priority: b.Priority, ResetAttempts: b.ResetAttempts},
		By: b.By, RatePerSecond: b.RatePerSecond, DryRun: b.DryRun,
	})
}
