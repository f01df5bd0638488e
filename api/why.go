package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// Why is the reasons why a job is not running.
type Why struct {
	Reasons []jobs.Reason `json:"reasons" doc:"Every reason that applies, the most specific first."`
}

type whyOutput struct {
	Body Why
}

func (a *API) registerWhy() {
	register(a, huma.Operation{
		OperationID: "getWhy", Method: http.MethodGet, Path: "/v1/jobs/{id}/why", Tags: []string{tagJobs},
		Summary: "Explain why a job is not running",
		Description: "Every reason that applies to a waiting job, in words and as a code: its scheduled time, a paused " +
			"queue, jobs ahead of it, no worker, and so on. For a running or ended job, says so.",
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
