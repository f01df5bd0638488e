package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// HeartbeatRequest extends the lease of a job.
type HeartbeatRequest struct {
	Token        jobs.Token     `json:"token" doc:"The token from the claim." example:"4711"`
	LeaseSeconds int            `json:"lease_seconds,omitempty" minimum:"1" maximum:"3600" doc:"The new length of the lease, from now. Defaults to its current length."`
	Progress     *jobs.Progress `json:"progress,omitempty" doc:"How far the job is. Defaults to the last value."`
}

type heartbeatOutput struct {
	Body jobs.BeatResult
}

func (a *API) registerHeartbeats() {
	registerBody(a, huma.Operation{
		OperationID: "heartbeatJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/heartbeat", Tags: []string{tagWork},
		Summary: "Extend a job's lease",
		Description: "Moves the end of the lease, but never beyond the timeout of the attempt. A worker that needs longer " +
			"than its lease sends a heartbeat well before the lease ends. The answer says whether the job was " +
			"cancelled.",
	}, documented{
		body:   HeartbeatRequest{Token: jobs.Token{Number: 4711}, LeaseSeconds: 30, Progress: &jobs.Progress{Percent: 40, Message: "200 of 500 rows"}},
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
