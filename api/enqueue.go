package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type enqueueInput struct {
	IdempotencyKey string `header:"Idempotency-Key" minLength:"1" maxLength:"255" doc:"A repeated request with the same key gets the job of the first one, for 24 hours."`
	Payload
}

type enqueueBatchInput struct {
	IdempotencyKey string `header:"Idempotency-Key" minLength:"1" maxLength:"255" doc:"A repeated request with the same key gets the jobs of the first one, for 24 hours."`
	Payload
}

// JobBatch is the body of enqueueJobs, for the document; readBatch splits it without decoding the jobs.
type JobBatch struct {
	Jobs []jobs.NewJob `json:"jobs" maxItems:"10000" doc:"The jobs, in queue order. All are enqueued, or none."`
}

// EnqueuedJobs is the outcome of a batch.
type EnqueuedJobs struct {
	IDs         []jobs.ID `json:"ids" doc:"The ids, in the order of the jobs. A duplicate has the id of the job that holds its unique key."`
	Duplicates  int       `json:"duplicates" doc:"How many of them are duplicates."`
	DuplicateAt []int     `json:"duplicate_at,omitempty" doc:"Which of them are duplicates: their places in the list, from 0. Absent if there are none."`
}

type enqueuedJob struct {
	Status   int
	Location string `header:"Location" doc:"The path of the job."`
	Body     jobs.Job
}

type enqueuedJobs struct {
	Body EnqueuedJobs
}

func (a *API) registerEnqueueing() {
	duplicate := exampleJob()
	duplicate.Duplicate = true
	duplicate.UniqueKey = "order-42"
	registerBody(a, huma.Operation{
		OperationID: "enqueueJob", Method: http.MethodPost, Path: "/v1/jobs", Tags: []string{tagJobs}, DefaultStatus: http.StatusCreated,
		Summary: "Enqueue a job",
		Description: "Stores a job and answers once it is committed. The job waits in its queue until a worker claims it, " +
			"or first until `run_at` or for `delay_seconds`. If its unique key or `Idempotency-Key` is taken, " +
			"nothing is stored, and the answer is 200 with the job that has the key.",
	}, documented{
		body: exampleNewJob(), answer: exampleJob(), problems: []jobs.Code{argsTooLarge, jobs.IdempotencyMismatch, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch, jobs.Overloaded},
		also: map[int]otherSuccess{http.StatusOK: {description: "The unique key is taken: the job that holds it", answer: duplicate}},
	}, a.enqueueJob)
	register(a, huma.Operation{
		OperationID: "enqueueJobs", Method: http.MethodPost, Path: "/v1/jobs/batch", Tags: []string{tagJobs}, DefaultStatus: http.StatusCreated,
		Summary: "Enqueue many jobs",
		Description: "Stores up to 10,000 jobs in one transaction: all of them, or none if one is invalid. This is by far " +
			"the fastest way. A repeated request with the same jobs and the same `Idempotency-Key` stores nothing, and gets the ids of the first.",
	}, documented{
		body: JobBatch{Jobs: []jobs.NewJob{exampleNewJob(), {Kind: "resize_image", Args: json.RawMessage(`{"image": 7}`)}}}, bodyType: reflect.TypeFor[JobBatch](),
		answer: EnqueuedJobs{IDs: []jobs.ID{4711, 4712}}, problems: []jobs.Code{argsTooLarge, jobs.TooManyNames, jobs.QueueFull, jobs.QuotaExceeded, jobs.TenantMismatch, jobs.Overloaded, jobs.IdempotencyMismatch},
	}, a.enqueueJobs)
}

func (a *API) enqueueJob(ctx context.Context, in *enqueueInput, job *jobs.NewJob) (*enqueuedJob, error) {
	job.IdempotencyKey = in.IdempotencyKey
	stored, err := a.engine.Enqueue(ctx, *job)
	if err != nil {
		return nil, err
	}
	out := &enqueuedJob{Status: http.StatusCreated, Location: "/v1/jobs/" + stored.ID.String(), Body: stored}
	if stored.Duplicate {
		out.Status = http.StatusOK
	}
	return out, nil
}

// enqueueJobs leaves validation to the database, which does it for SQL callers anyway, and does not decode the jobs.
func (a *API) enqueueJobs(ctx context.Context, in *enqueueBatchInput) (*enqueuedJobs, error) {
	batch, err := readBatch(ctx, a, in.RawBody)
	if err != nil {
		return nil, err
	}
	var done []jobs.Enqueued
	if in.IdempotencyKey != "" {
		done, err = a.engine.EnqueueBatchOnce(ctx, in.IdempotencyKey, batch)
	} else {
		done, err = a.engine.EnqueueBatch(ctx, batch)
	}
	if err != nil {
		return nil, err
	}
	out := &enqueuedJobs{Body: EnqueuedJobs{IDs: make([]jobs.ID, len(done))}}
	for i, d := range done {
		out.Body.IDs[i] = d.ID
		if d.Duplicate {
			out.Body.Duplicates++
			out.Body.DuplicateAt = append(out.Body.DuplicateAt, i)
		}
	}
	return out, nil
}

// readBatch splits the body of enqueueJobs into its jobs. It checks what the database cannot: names that are given twice, of which jsonb keeps
// the last, the form of times, and values that PostgreSQL would refuse without naming their place.
func readBatch(ctx context.Context, a *API, text []byte) ([]json.RawMessage, error) {
	if p := malformed(ctx, text); p != nil {
		return nil, p
	}
	b := &bodyTree{text: text, schemas: a.schemas(), walkOnly: true, path: make([]step, 0, 8)}
	jobs, ok := b.jobs(a.bodies[reflect.TypeFor[JobBatch]()].Properties["jobs"].Items)
	if !ok {
		_, err := decode[JobBatch](ctx, a, text) // says what is wrong
		return nil, cmp.Or(err, error(invalidAt(ctx, "body", "expected an object with jobs")))
	}
	if len(b.problems) > 0 {
		return nil, refuse(ctx, b.problems)
	}
	return jobs, nil
}

// jobs walks {"jobs": [...]} and returns the text of each element; ok is false for a body of another form.
func (b *bodyTree) jobs(schema *huma.Schema) (texts []json.RawMessage, ok bool) {
	b.space()
	if b.text[b.at] != '{' {
		return nil, false
	}
	for b.at++; b.more('}'); {
		name := b.name()
		if string(name) != "jobs" || ok {
			return nil, false
		}
		b.space()
		b.at++ // the colon
		b.space()
		if b.text[b.at] != '[' {
			return nil, false
		}
		b.path = append(b.path, step{name: name})
		for b.at++; b.more(']'); {
			b.path = append(b.path, step{index: len(texts)})
			start := b.at
			b.value(schema, 0)
			texts = append(texts, json.RawMessage(b.text[start:b.at]))
			b.path = b.path[:1]
		}
		ok = true
	}
	return texts, ok
}
