package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type dryRunOutput struct {
	Body jobs.DryRun
}

func exampleDryRun() jobs.DryRun {
	return jobs.DryRun{
		Valid: true, Outcome: "enqueued",
		Job: jobs.DryRunJob{
			Queue: "mail", Priority: 8, MaxAttempts: 5, TimeoutSeconds: 300, State: jobs.Available,
			Retry: jobs.RetryPolicy{Strategy: "exponential", BaseSeconds: new(2.0), MaxSeconds: new(3600.0), Jitter: new(true)},
		},
		Notes: []jobs.Note{{Code: "backlog_ahead", Message: "1200 jobs of its queue come before it", Detail: json.RawMessage(`{"ahead": 1200, "or_more": false}`)}},
	}
}

func (a *API) registerDryRun() {
	registerBody(a, huma.Operation{
		OperationID: "dryRunJob", Method: http.MethodPost, Path: "/v1/jobs/dry-run", Tags: []string{tagJobs},
		Summary: "Try an enqueue",
		Description: "Checks a job as an enqueue does, says what would become of it, and stores nothing: no job, no queue, " +
			"no key, and no charge to a quota. What an enqueue refuses as invalid is refused in the same way. A full queue " +
			"and a quota that is used up are notes.",
	}, documented{
		body: exampleNewJob(), answer: exampleDryRun(), problems: []jobs.Code{argsTooLarge, jobs.TooManyNames, jobs.TenantMismatch},
	}, a.dryRunJob)
}

func (a *API) dryRunJob(ctx context.Context, _ *bodyInput, job *jobs.NewJob) (*dryRunOutput, error) {
	answer, err := a.engine.DryRun(ctx, *job)
	if err != nil {
		return nil, err
	}
	return &dryRunOutput{Body: answer}, nil
}
