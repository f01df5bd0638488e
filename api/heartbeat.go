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

// HeartbeatBatch extends the leases of many jobs.
type HeartbeatBatch struct {
	Heartbeats   []jobs.JobBeat `json:"heartbeats" maxItems:"10000" doc:"The jobs that the worker still has, each once."`
	LeaseSeconds int            `json:"lease_seconds,omitempty" minimum:"1" maximum:"3600" doc:"The new length of each lease, from now. Defaults to its current length."`
}

// HeartbeatResults answers a HeartbeatBatch.
type HeartbeatResults struct {
	Results []jobs.JobBeatResult `json:"results" doc:"What the worker learns of each job, in the same order."`
}

type heartbeatsOutput struct {
	Body HeartbeatResults
}

func (a *API) registerHeartbeats() {
	registerBody(a, huma.Operation{
		OperationID: "heartbeatJobs", Method: http.MethodPost, Path: "/v1/heartbeats", Tags: []string{tagWork},
		Summary: "Extend the leases of many jobs",
		Description: "Does what heartbeatJob does, for up to 10,000 jobs with one statement. A job whose lease is not held " +
			"is `lost`, and stops no other.",
	}, documented{
		body: HeartbeatBatch{LeaseSeconds: 30, Heartbeats: []jobs.JobBeat{
			{ID: 4711, Token: jobs.Token{Number: 4711}, Progress: &jobs.Progress{Percent: 40}}, {ID: 4712, Token: jobs.Token{Number: 4712}},
		}},
		answer: HeartbeatResults{Results: []jobs.JobBeatResult{
			{ID: 4711, Status: jobs.BeatOK, LeaseExpiresAt: &exampleLater}, {ID: 4712, Status: jobs.BeatLost},
		}},
	}, a.heartbeatJobs)
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

func (a *API) heartbeatJobs(ctx context.Context, _ *bodyInput, b *HeartbeatBatch) (*heartbeatsOutput, error) {
	for _, beat := range b.Heartbeats {
		if beat.Progress != nil {
			beat.Progress.Message = cleanText(beat.Progress.Message)
		}
	}
	results, err := a.engine.Heartbeats(ctx, b.Heartbeats, b.LeaseSeconds)
	if err != nil {
		return nil, err
	}
	return &heartbeatsOutput{Body: HeartbeatResults{Results: results}}, nil
}
