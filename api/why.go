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

// QueueWhy is the reasons why jobs of a queue are not running.
type QueueWhy struct {
	Reasons []jobs.QueueReason `json:"reasons" doc:"Every reason that applies, the most specific first."`
}

type queueWhyOutput struct {
	Body QueueWhy
}

func (a *API) registerWhy() {
	register(a, huma.Operation{
		OperationID: "getQueueWhy", Method: http.MethodGet, Path: "/v1/queues/{name}/why", Tags: []string{tagQueues},
		Summary: "Explain why the jobs of a queue are not running",
		Description: "Each reason that applies, and how many jobs it holds up: a pause, the queue's circuit breaker, no worker, " +
			"limits, breakers of jobs, steps that wait for others, times to come.",
	}, documented{answer: QueueWhy{Reasons: []jobs.QueueReason{
		{Code: "no_worker", Message: "no worker waits for jobs of the queue, has one, or ended one in the last five minutes", Jobs: 1200, Detail: json.RawMessage(`{"oldest_seconds": 310.5}`)},
		{Code: "held_breaker", Message: "circuit breaker stripe holds them", Jobs: 40, Detail: json.RawMessage(`{"breaker": "stripe", "state": "open"}`)},
	}}, problems: []jobs.Code{jobs.QueueNotFound}}, a.getQueueWhy)
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

func (a *API) getQueueWhy(ctx context.Context, in *QueuePath) (*queueWhyOutput, error) {
	reasons, err := a.engine.WhyQueue(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &queueWhyOutput{Body: QueueWhy{Reasons: reasons}}, nil
}
