package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type timelineInput struct {
	JobPath
	Paging
}

// Timeline is one page of the life of a job.
type Timeline struct {
	Items      []jobs.Moment `json:"items" doc:"What happened to the job, in order."`
	NextCursor *string       `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type timelineOutput struct {
	Body Timeline
}

func (a *API) registerTimelines() {
	at := func(seconds int) time.Time { return exampleTime.Add(time.Duration(seconds) * time.Second) }
	again := at(5)
	register(a, huma.Operation{
		OperationID: "getTimeline", Method: http.MethodGet, Path: "/v1/jobs/{id}/timeline", Tags: []string{tagJobs},
		Summary: "Get a job's timeline",
		Description: "What happened to the job and why, in order: when it was enqueued, became available and started, how " +
			"each attempt ended, who changed it, and how it ended. Kept as long as the job.",
	}, documented{answer: Timeline{Items: []jobs.Moment{
		{At: at(0), Event: "enqueued", Detail: json.RawMessage(`{"queue": "mail", "priority": 8}`)},
		{At: at(0), Event: "available", Cause: "enqueued"},
		{At: at(1), Event: "started", Attempt: 1, Worker: "mailer-2"},
		{At: at(2), Event: "failed", Attempt: 1, Worker: "mailer-2", RunAt: &again, Detail: json.RawMessage(`{"message": "connection refused", "type": "SMTPError"}`)},
		{At: at(5), Event: "available", Attempt: 1, Cause: "due"},
		{At: at(5), Event: "started", Attempt: 2, Worker: "mailer-1"},
		{At: at(6), Event: "completed", Attempt: 2, Worker: "mailer-1"},
	}}, problems: []jobs.Code{jobs.JobNotFound}}, a.getTimeline)
}

func (a *API) getTimeline(ctx context.Context, in *timelineInput) (*timelineOutput, error) {
	after, err := in.count(ctx, "timeline")
	if err != nil {
		return nil, err
	}
	moments, err := a.engine.Timeline(ctx, in.id(), after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &timelineOutput{}
	out.Body.Items, out.Body.NextCursor = trimCounted(ctx, in.Paging, "timeline", moments, after)
	return out, nil
}
