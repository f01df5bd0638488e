package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// HeartbeatRequest says that a worker still has a job.
type HeartbeatRequest struct {
	Token        jobs.ID        `json:"token" doc:"The token that came with the job." example:"4711"`
	LeaseSeconds int            `json:"lease_seconds,omitempty" minimum:"1" maximum:"3600" doc:"The lease ends so long from now. Defaults to the length that it had."`
	Progress     *jobs.Progress `json:"progress,omitempty" doc:"How far it is. Defaults to what was said last."`
}

type heartbeatOutput struct {
	Body jobs.BeatResult
}

func (a *API) registerHeartbeats() {
	registerBody(a, huma.Operation{
		OperationID: "heartbeatJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/heartbeat", Tags: []string{tagWork},
		Summary: "Keep a job's lease",
		Description: "Moves the end of the lease, though never beyond the timeout of the attempt. A worker that works longer than its lease sends one well before it ends, " +
			"and learns here that somebody cancelled the job.",
	}, documented{
		body:   HeartbeatRequest{Token: 4711, LeaseSeconds: 30, Progress: &jobs.Progress{Percent: 40, Message: "200 of 500 rows"}},
		answer: jobs.BeatResult{LeaseExpiresAt: exampleLater}, problems: []jobs.Code{jobs.StaleToken, jobs.JobNotFound},
	}, a.heartbeatJob)
}

func (a *API) heartbeatJob(ctx context.Context, in *jobBodyInput, b *HeartbeatRequest) (*heartbeatOutput, error) {
	if b.Progress != nil {
		b.Progress.Message = cleanText(b.Progress.Message)
	}
	result, err := a.engine.Heartbeat(ctx, jobs.Beat{ID: in.id(), Token: b.Token, LeaseSeconds: b.LeaseSeconds, Progress: b.Progress})
	if err != nil {
		return nil, err
	}
	return &heartbeatOutput{Body: result}, nil
}
