package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type similarInput struct {
	JobPath
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"10" doc:"How many jobs to return at most. Defaults to 10."`
}

type similarOutput struct {
	Body jobs.SimilarJobs
}

func (a *API) registerSimilar() {
	register(a, huma.Operation{
		OperationID: "listSimilarJobs", Method: http.MethodGet, Path: "/v1/jobs/{id}/similar", Tags: []string{tagJobs},
		Summary: "Find similar jobs",
		Description: "Jobs of the same kind, scored from 0 to 1 by how many members of their args are equal, the class of their " +
			"last error, and nearness in time. It looks at the 3,000 newest jobs and at 3,000 before and after the job each, " +
			"of all kinds, and scores up to 300: those enqueued nearest to it.",
	}, documented{answer: jobs.SimilarJobs{LookedAt: 6000, Cut: true, Items: []jobs.SimilarJob{{
		ID: 4700, Kind: "send_receipt", Queue: "mail", State: jobs.Dead, CreatedAt: exampleTime, ErrorType: "SMTPError", Score: 0.7,
		Reasons: []jobs.SimilarReason{
			{Code: "args_similar", Message: "1 of 2 members of the args are equal", Score: 0.5},
			{Code: "same_error", Message: `both failed with "SMTPError"`, Score: 1},
			{Code: "near_in_time", Message: "they were enqueued 5s apart", Score: 1},
		},
	}}}, problems: []jobs.Code{jobs.JobNotFound, jobs.Overloaded}}, a.listSimilarJobs)
}

func (a *API) listSimilarJobs(ctx context.Context, in *similarInput) (*similarOutput, error) {
	// A key that sees no args could guess them, one member after the other, if they counted.
	found, err := a.engine.Similar(ctx, in.id(), in.Limit, !redacts(ctx))
	if err != nil {
		return nil, err
	}
	return &similarOutput{Body: found}, nil
}
