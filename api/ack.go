package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// CompleteRequest completes a job.
type CompleteRequest struct {
	Token  jobs.Token      `json:"token" doc:"The token from the claim." example:"4711"`
	Result json.RawMessage `json:"result,omitempty" doc:"The result: any JSON of at most 1 MiB."`

	AddSteps []jobs.NewStep `json:"add_steps,omitempty" doc:"If the job is a step of a workflow: steps to add in the same transaction. They may depend on this step, on each other, and on any other step."`
	Jobs     []jobs.NewJob  `json:"jobs,omitempty" maxItems:"1000" doc:"Follow-up jobs to enqueue in the same transaction. Their parent is this job and their tenant is its tenant, unless they name others. A key that is bound to queues enqueues in those queues only."`
}

// FailRequest fails an attempt.
type FailRequest struct {
	Token          jobs.Token   `json:"token" doc:"The token from the claim." example:"4711"`
	Error          jobs.Failure `json:"error" doc:"What went wrong."`
	Retry          *bool        `json:"retry,omitempty" doc:"false makes the job dead, whatever its attempts. Defaults to true."`
	RetryInSeconds *float64     `json:"retry_in_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"The delay before the next attempt, in place of the retry policy."`
	Cancel         bool         `json:"cancel,omitempty" doc:"true: the job is cancelled, whatever its attempts. That is no failure: the error says why it was not needed. Defaults to false."`
}

// SnoozeRequest puts a job back for a delay.
type SnoozeRequest struct {
	Token        jobs.Token `json:"token" doc:"The token from the claim." example:"4711"`
	DelaySeconds float64    `json:"delay_seconds" minimum:"0" maximum:"315360000" doc:"The delay before the job is available again."`
}

// ReleaseRequest puts a job back at once.
type ReleaseRequest struct {
	Token jobs.Token `json:"token" doc:"The token from the claim." example:"4711"`
}

// AckBatch has the outcomes of many jobs.
type AckBatch struct {
	Acks []jobs.Ack `json:"acks" maxItems:"10000" doc:"The outcome of each job."`
}

// AckResults answers an AckBatch.
type AckResults struct {
	Results []jobs.AckResult `json:"results" doc:"The result of each ack, in the same order."`
}

type ackOutput struct {
	Body jobs.AckResult
}

type acksOutput struct {
	Body AckResults
}

func (a *API) registerAcks() {
	done := jobs.AckResult{ID: 4711, Status: jobs.AckOK}
	failed := jobs.AckResult{ID: 4711, Status: jobs.AckOK, State: jobs.Retryable, RunAt: &exampleLater}
	refusals := []jobs.Code{jobs.StaleToken, jobs.JobNotFound, jobs.Overloaded}
	registerBody(a, huma.Operation{
		OperationID: "completeJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/complete", Tags: []string{tagWork},
		Summary: "Complete a job",
		Description: "Ends the job and stores its result. Exactly one completion of a lease is accepted: a token that no " +
			"longer holds the lease changes nothing, and then nothing of `add_steps` and `jobs` is stored either.",
	}, documented{
		body: CompleteRequest{Token: jobs.Token{Number: 4711}, Result: json.RawMessage(`{"message_id": "m-1"}`)}, answer: done,
		problems: append([]jobs.Code{argsTooLarge, jobs.NotAStep, jobs.WorkflowEnded, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch}, refusals...),
	}, a.completeJob)
	registerBody(a, huma.Operation{
		OperationID: "failJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/fail", Tags: []string{tagWork},
		Summary: "Fail an attempt",
		Description: "Retries the job later, as its retry policy or `retry_in_seconds` says. After `max_attempts`, or " +
			"with `retry` false, the job is dead. With `cancel` it is cancelled. The answer has the new state.",
	}, documented{
		body: FailRequest{Token: jobs.Token{Number: 4711}, Error: jobs.Failure{Message: "connection refused", Type: "SMTPError"}}, answer: failed, problems: refusals,
	}, a.failJob)
	registerBody(a, huma.Operation{
		OperationID: "snoozeJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/snooze", Tags: []string{tagWork},
		Summary:     "Snooze a job",
		Description: "Puts the job back for a delay. The attempt does not count.",
	}, documented{body: SnoozeRequest{Token: jobs.Token{Number: 4711}, DelaySeconds: 60}, answer: done, problems: refusals}, a.snoozeJob)
	registerBody(a, huma.Operation{
		OperationID: "releaseJob", Method: http.MethodPost, Path: "/v1/jobs/{id}/release", Tags: []string{tagWork},
		Summary: "Release a job",
		Description: "Puts the job back at once, for any worker. The attempt does not count. A worker that shuts down " +
			"releases the jobs that it holds.",
	}, documented{body: ReleaseRequest{Token: jobs.Token{Number: 4711}}, answer: done, problems: refusals}, a.releaseJob)
	register(a, huma.Operation{
		OperationID: "ackJobs", Method: http.MethodPost, Path: "/v1/acks", Tags: []string{tagWork},
		Summary: "Acknowledge many jobs",
		Description: "Does what completeJob, failJob, snoozeJob and releaseJob do, for up to 10,000 jobs in one " +
			"transaction. Each ack succeeds or fails alone: the answer gives its status, and `invalid` with the " +
			"reason where its values cannot be accepted. A body that does not match the schema is refused and " +
			"changes nothing.",
	}, documented{
		bodyType: reflect.TypeFor[AckBatch](),
		body: AckBatch{Acks: []jobs.Ack{
			{ID: 4711, Token: jobs.Token{Number: 4711}, Outcome: jobs.Complete, Result: json.RawMessage(`{"message_id": "m-1"}`)},
			{ID: 4712, Token: jobs.Token{Number: 4712}, Outcome: jobs.Fail, Error: &jobs.Failure{Message: "connection refused", Type: "SMTPError"}},
			{ID: 4713, Token: jobs.Token{Number: 4713}, Outcome: jobs.Snooze, DelaySeconds: new(60.0)},
		}},
		answer: AckResults{Results: []jobs.AckResult{
			done, {ID: 4712, Status: jobs.AckOK, State: jobs.Retryable, RunAt: &exampleLater}, {ID: 4713, Status: jobs.AckStale},
		}},
		problems: []jobs.Code{jobs.Overloaded},
	}, a.ackJobs)
}

func (a *API) completeJob(ctx context.Context, in *jobBodyInput, b *CompleteRequest) (*ackOutput, error) {
	ack := jobs.Ack{ID: in.id(), Token: b.Token, Outcome: jobs.Complete, Result: b.Result}
	if len(b.AddSteps) == 0 && len(b.Jobs) == 0 {
		return a.ack(ctx, ack)
	}
	result, err := a.engine.CompleteWith(ctx, ack, jobs.Additions{Steps: b.AddSteps, Jobs: b.Jobs})
	if err != nil {
		return nil, err
	}
	return &ackOutput{Body: result}, nil
}

func (a *API) failJob(ctx context.Context, in *jobBodyInput, b *FailRequest) (*ackOutput, error) {
	cleanFailure(&b.Error)
	return a.ack(ctx, jobs.Ack{ID: in.id(), Token: b.Token, Outcome: jobs.Fail, Error: &b.Error, Retry: b.Retry, RetryInSeconds: b.RetryInSeconds, Cancel: b.Cancel})
}

func (a *API) snoozeJob(ctx context.Context, in *jobBodyInput, b *SnoozeRequest) (*ackOutput, error) {
	return a.ack(ctx, jobs.Ack{ID: in.id(), Token: b.Token, Outcome: jobs.Snooze, DelaySeconds: &b.DelaySeconds})
}

func (a *API) releaseJob(ctx context.Context, in *jobBodyInput, b *ReleaseRequest) (*ackOutput, error) {
	return a.ack(ctx, jobs.Ack{ID: in.id(), Token: b.Token, Outcome: jobs.Release})
}

func (a *API) ack(ctx context.Context, ack jobs.Ack) (*ackOutput, error) {
	if ack.ID == 0 { // which the engine takes for an id that was left out
		return nil, newProblem(ctx, jobs.JobNotFound, "there is no job 0")
	}
	result, err := a.engine.AckOne(ctx, ack)
	if err != nil {
		return nil, err
	}
	return &ackOutput{Body: result}, nil
}

// ackJobs refuses a body that does not match its schema, but an ack whose values cannot be stored fails alone.
func (a *API) ackJobs(ctx context.Context, in *bodyInput) (*acksOutput, error) {
	b, problems, err := decodeWithProblems[AckBatch](ctx, a, in.RawBody)
	if err != nil {
		return nil, err
	}
	for i := range b.Acks {
		if failure := b.Acks[i].Error; failure != nil {
			cleanFailure(failure)
		}
	}
	if len(problems) > 0 {
		return a.ackOthers(ctx, b.Acks, problems)
	}
	results, err := a.engine.Ack(ctx, b.Acks)
	if err != nil {
		return nil, err
	}
	return &acksOutput{Body: AckResults{Results: results}}, nil
}

// ackOthers answers the acks that have a problem with it, and hands on the others.
func (a *API) ackOthers(ctx context.Context, acks []jobs.Ack, problems []bodyProblem) (*acksOutput, error) {
	invalid := make(map[int]*jobs.AckError, len(problems))
	for _, p := range problems {
		if invalid[p.index] == nil {
			field := strings.TrimPrefix(p.Location, fmt.Sprintf("body.acks[%d].", p.index))
			invalid[p.index] = &jobs.AckError{Field: field, Message: field + " " + p.Message}
		}
	}
	var others []jobs.Ack
	for i, ack := range acks {
		if invalid[i] == nil {
			others = append(others, ack)
		}
	}
	accepted, err := a.engine.Ack(ctx, others)
	if err != nil {
		return nil, err
	}
	results := make([]jobs.AckResult, len(acks))
	for i, ack := range acks {
		if invalid[i] != nil {
			results[i] = jobs.AckResult{ID: ack.ID, Status: jobs.AckInvalid, Error: invalid[i]}
			continue
		}
		results[i], accepted = accepted[0], accepted[1:]
	}
	return &acksOutput{Body: AckResults{Results: results}}, nil
}

// cleanFailure makes a report of a failure storable: it must not be lost because of its text.
func cleanFailure(f *jobs.Failure) {
	f.Message, f.Type, f.Stack = cleanText(f.Message), cleanText(f.Type), cleanText(f.Stack)
}

// cleanText replaces zero characters, which PostgreSQL cannot store. Half surrogate pairs have been replaced when the body was read.
func cleanText(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }
