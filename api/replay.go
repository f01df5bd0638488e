package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// replayOutput has a job, or what a dry run says.
type replayOutput struct {
	Status   int
	Location string `header:"Location" doc:"The path of the job."`
	Body     any
}

func (a *API) registerReplays() {
	copied := exampleJob()
	copied.ID, copied.ReplayOf = 4712, 4711
	registerBody(a, huma.Operation{
		OperationID: "replayJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/replay", Tags: []string{tagJobs}, DefaultStatus: http.StatusCreated,
		Summary: "Replay a job",
		Description: "Enqueues a copy of the job, whatever state that is in: with its kind, args, queue, priority, limits, " +
			"retry policy, tags, metadata, tenant, breaker and concurrency key, and without its unique key, parent, workflow " +
			"and schedule. Args and queue can be changed. With `dry_run` nothing is stored, and the answer is 200.",
	}, documented{
		body: jobs.Replay{Queue: "mail-debug"}, optional: true, answer: copied, answerType: reflect.TypeFor[jobs.Job](),
		problems: []jobs.Code{jobs.JobNotFound, argsTooLarge, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch},
		also:     map[int]otherSuccess{http.StatusOK: {"A dry run: what would become of the copy", exampleDryRun(), reflect.TypeFor[jobs.DryRun]()}},
	}, a.replayJob)
}

func (a *API) replayJob(ctx context.Context, in *jobBodyInput, r *jobs.Replay) (*replayOutput, error) {
	if r.DryRun {
		answer, err := a.engine.DryRunReplay(ctx, in.id(), *r)
		if err != nil {
			return nil, err
		}
		return &replayOutput{Status: http.StatusOK, Body: answer}, nil
	}
	job, err := a.engine.Replay(ctx, in.id(), *r)
	if err != nil {
		return nil, err
	}
	return &replayOutput{Status: http.StatusCreated, Location: "/v1/jobs/" + job.ID.String(), Body: job}, nil
}
