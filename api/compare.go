package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type compareInput struct {
	JobPath
	Other string `path:"other" pattern:"^[0-9]+$" maxLength:"30" doc:"The id of the job to compare it with." example:"4712"`
}

type compareOutput struct {
	Body jobs.Comparison
}

func exampleComparison() jobs.Comparison {
	life := func(id jobs.ID, waited, ran float64, end string) jobs.ComparedJob {
		moment := func(after float64, event string, attempt int) jobs.ComparedMoment {
			at := exampleTime.Add(time.Duration(after * float64(time.Second)))
			return jobs.ComparedMoment{AfterSeconds: after, Moment: jobs.Moment{At: at, Event: event, Attempt: attempt}}
		}
		return jobs.ComparedJob{
			ID: id, CreatedAt: exampleTime, WaitedSeconds: &waited, RanSeconds: &ran, TotalSeconds: new(waited + ran),
			Timeline: []jobs.ComparedMoment{moment(0, "enqueued", 0), moment(waited, "started", 1), moment(waited+ran, end, 1)},
		}
	}
	return jobs.Comparison{
		A: life(4711, 1, 0.25, "completed"), B: life(4712, 9, 30, "dead"),
		Same:   map[string]json.RawMessage{"kind": json.RawMessage(`"send_receipt"`), "queue": json.RawMessage(`"mail"`)},
		Differ: map[string]jobs.Pair{"state": {A: json.RawMessage(`"completed"`), B: json.RawMessage(`"dead"`)}},
		Args:   jobs.Difference{Patch: []jobs.PatchOperation{{Op: "replace", Path: "/order", Value: json.RawMessage("43")}}},
		Result: jobs.Difference{Patch: []jobs.PatchOperation{{Op: "replace", Path: "", Value: json.RawMessage("null")}}},
	}
}

func (a *API) registerComparisons() {
	register(a, huma.Operation{
		OperationID: "compareJobs", Method: http.MethodGet, Path: "/v1/jobs/{id}/compare/{other}", Tags: []string{tagJobs},
		Summary: "Compare two jobs",
		Description: "The facts of two jobs that are equal and those that differ, their args and results as a JSON Patch, how " +
			"long each waited and ran, and both timelines by the time since the job's enqueue.",
	}, documented{answer: exampleComparison(), problems: []jobs.Code{jobs.JobNotFound}}, a.compareJobs)
}

func (a *API) compareJobs(ctx context.Context, in *compareInput) (*compareOutput, error) {
	if p := (JobPath{ID: in.Other}).missing(ctx); p != nil {
		return nil, p
	}
	other := idOf(in.Other)
	if err := a.engine.CheckJob(ctx, other); err != nil {
		return nil, err
	}
	c, err := a.engine.Compare(ctx, in.id(), other)
	if err != nil {
		return nil, err
	}
	if redacts(ctx) { // whether they are equal says something of them
		for _, name := range []string{"metadata", "error"} {
			delete(c.Same, name)
			delete(c.Differ, name)
		}
	}
	return &compareOutput{Body: c}, nil
}
