package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// BulkRequest says what to do to which jobs.
type BulkRequest struct {
	Action        string      `json:"action" enum:"cancel,retry,reprioritise" doc:"What to do to them."`
	Filter        jobs.Filter `json:"filter" doc:"Which, of those that are there now; an empty object: all that this can be done to, but of retry only the dead and cancelled ones."`
	Priority      int         `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"Of reprioritise: the new priority."`
	ResetAttempts bool        `json:"reset_attempts,omitempty" doc:"Of retry: forget the attempts so far. Defaults to false."`
	By            string      `json:"by,omitempty" minLength:"1" maxLength:"200" doc:"Who does it. It is kept with the operation."`
	RatePerSecond float64     `json:"rate_per_second,omitempty" minimum:"0.0001" maximum:"100000" doc:"At most so many a second. Defaults to as fast as they can be done."`
	DryRun        bool        `json:"dry_run,omitempty" doc:"Only count them, as far as that goes within two seconds. Defaults to false."`
}

func (a *API) registerBulk() {
	started := exampleOperation()
	started.Kind, started.State, started.Done, started.StartedAt = jobs.BulkCancel, "pending", 0, nil
	dry := started
	dry.ID, dry.State = 0, jobs.OperationDryRun
	registerBody(a, huma.Operation{
		OperationID: "changeJobs", Method: http.MethodPost, Path: "/v1/jobs/bulk", Tags: []string{tagJobs}, DefaultStatus: http.StatusAccepted,
		Summary: "Cancel, run again or reprioritise many jobs",
		Description: "Starts an operation that does so to the jobs that pass the filter, in the order of their ids. It goes on whatever becomes of this node. A job that has moved " +
			"meanwhile, so that it cannot be done, is left as it is and counts as `failed` at the end.",
	}, documented{
		body:   BulkRequest{Action: "cancel", Filter: jobs.Filter{Queue: "mail", State: jobs.Scheduled}, By: "ann"},
		answer: started, also: map[int]otherSuccess{http.StatusOK: {"With `dry_run`: `total` says how many there are. Nothing is stored, and nothing is done.", dry}},
	}, a.changeJobs)
}

func (a *API) changeJobs(ctx context.Context, _ *bodyInput, b *BulkRequest) (*startedOutput, error) {
	return a.start(ctx, jobs.OperationRequest{
		Kind: jobs.OperationKind("bulk_" + b.Action), Jobs: b.Filter, Options: jobs.OperationOptions{Priority: b.Priority, ResetAttempts: b.ResetAttempts},
		By: b.By, RatePerSecond: b.RatePerSecond, DryRun: b.DryRun,
	})
}
