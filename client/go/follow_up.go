package weir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// additions are what a job stores with its completion.
type additions struct {
	jobs  []*NewJob
	steps []*step
}

// Enqueue makes follow-up jobs, made by [New]: they are stored in the transaction that completes the job, and not at all if this attempt does not
// complete. Their parent is this job and their tenant is its tenant, unless they name others. A completion takes up to 1,000 of them. Errors: what is
// wrong with the args of a job. Where weir refuses one, the attempt fails with the reason.
func (j *RawJob) Enqueue(jobs ...NewJob) error {
	made := make([]*NewJob, len(jobs))
	for i := range jobs {
		if jobs[i].idempotencyKey != "" {
			return fmt.Errorf("weir: the follow-up job %d has an idempotency key: a job completes once, so it needs none", i)
		}
		if err := j.run.w.client.prepare(j.run.w.base, &jobs[i]); err != nil {
			return err
		}
		made[i] = &jobs[i]
	}
	j.run.add(func(a *additions) { a.jobs = append(a.jobs, made...) })
	return nil
}

// AddSteps adds the steps of w to the workflow that this job is a step of, as [RawJob.Enqueue] does jobs. Only the steps of w count. They may depend
// on this step, on each other and on any other step: see [Existing]. Errors: what is wrong with a step.
func (j *RawJob) AddSteps(w *Workflow) error {
	if err := errors.Join(w.errs...); err != nil {
		return err
	}
	for _, s := range w.definition.Steps {
		for _, hook := range j.run.w.client.onEnqueue {
			if s.Kind != "" {
				hook(j.run.w.base, &s.Job)
			}
		}
	}
	j.run.add(func(a *additions) { a.steps = append(a.steps, w.definition.Steps...) })
	return nil
}

// Existing stands for a step that a workflow has already, by its name, so that steps of [RawJob.AddSteps] can depend on it.
func Existing[R any](w *Workflow, name string) Step[R] { return Step[R]{w, name} }

func (r *run) add(put func(*additions)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.adds == nil {
		r.adds = &additions{}
	}
	put(r.adds)
}

func (t *httpTransport) completeWith(ctx context.Context, a ack, adds *additions) error {
	body := map[string]any{"token": a.Token}
	if a.Result != nil {
		body["result"] = a.Result
	}
	if len(adds.jobs) > 0 {
		body["jobs"] = adds.jobs
	}
	if len(adds.steps) > 0 {
		body["add_steps"] = adds.steps
	}
	return t.call(ctx, 0, body, nil, func(ctx context.Context, body io.Reader) (*http.Response, error) {
		return t.rest.CompleteJobWithBody(ctx, a.ID.String(), jsonType, body)
	})
}

const completeWithSQL = "select weir.complete($1, $2, $3::jsonb, jobs => $4::jsonb, steps => $5::jsonb)::text"

func (t *sqlTransport) completeWith(ctx context.Context, a ack, adds *additions) error {
	args, err := adds.completion(a.ID, a.Token, a.Result)
	if err != nil {
		return err
	}
	return t.do(ctx, completeWithSQL, args...)
}

// completion are the arguments of completeWithSQL.
func (a *additions) completion(id ID, sealed string, result json.RawMessage) ([]any, error) {
	n, err := token(sealed)
	if err != nil {
		return nil, err
	}
	args := []any{int64(id), n, nil, nil, nil}
	if result != nil {
		args[2] = string(result)
	}
	if a == nil {
		return args, nil
	}
	if args[3], err = arrayOrNull(a.jobs); err != nil {
		return nil, err
	}
	args[4], err = arrayOrNull(a.steps)
	return args, err
}

// arrayOrNull is the JSON text of a list; null for an empty one.
func arrayOrNull[T any](list []T) (any, error) {
	if len(list) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(list)
	return string(text), err
}
