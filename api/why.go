package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// Why says what keeps a job from running.
type Why struct {
	Reasons []jobs.Reason `json:"reasons" doc:"Each reason that holds, the most particular first."`
}

type whyOutput struct {
	Body Why
}

func (a *API) registerWhy() {
	register(a, huma.Operation{
		OperationID: "getWhy", Method: http.MethodGet, Path: "/v1/jobs/{id}/why", Tags: []string{tagJobs},
		Summary: "See why a job does not run now",
		Description: "Each reason that holds for a job that waits, in words and as a code: the time it is scheduled for, a paused queue, jobs that come before it, no worker, and so on. " +
			"Of a job that runs or has ended it says that.",
	}, documented{answer: Why{Reasons: []jobs.Reason{
		{Code: "queue_paused", Message: "queue mail is paused: the mail server is down", Detail: json.RawMessage(`{"paused_at": "2026-01-31T09:00:00Z", "reason": "the mail server is down"}`)},
		{Code: "backlog_ahead", Message: "1200 jobs of its queue come before it", Detail: json.RawMessage(`{"ahead": 1200, "or_more": false}`)},
	}}, problems: []jobs.Code{jobs.JobNotFound}}, a.getWhy)
}

func (a *API) getWhy(ctx context.Context, in *JobPath) (*whyOutput, error) {
	reasons, err := a.engine.Why(ctx, in.id())
	if err != nil {
		return nil, err
	}
	return &whyOutput{Body: Why{Reasons: reasons}}, nil
}
