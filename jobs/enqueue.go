package jobs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// NewJob is a job to enqueue. Only Kind is required; a zero value stands for the queue's default.
type NewJob struct {
	Kind           string          `json:"kind" minLength:"1" maxLength:"200" doc:"What the worker should do." example:"send_receipt"`
	Args           json.RawMessage `json:"args,omitempty" doc:"The arguments for the worker: any JSON of at most 1 MiB. Defaults to {}."`
	Queue          string          `json:"queue,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The queue to wait in; its first job creates it. Defaults to default." example:"mail"`
	Priority       int             `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"10 first. Defaults to the queue's, 5." example:"8"`
	RunAt          *time.Time      `json:"run_at,omitempty" doc:"Not before this time. Excludes delay_seconds."`
	DelaySeconds   *float64        `json:"delay_seconds,omitempty" minimum:"0" maximum:"315360000" doc:"Seconds to wait before it may run. Excludes run_at."`
	MaxAttempts    int             `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"After this many failed attempts it is dead. Defaults to the queue's, 5."`
	TimeoutSeconds int             `json:"timeout_seconds,omitempty" minimum:"1" maximum:"604800" doc:"How long one attempt may run. Defaults to the queue's, 300."`
	Retry          *RetryPolicy    `json:"retry,omitempty" doc:"How long to wait after a failed attempt. Defaults to the queue's policy."`
	Unique         *Unique         `json:"unique,omitempty" doc:"Skip if an unfinished job has this key, and answer with that job."`
	Tenant         string          `json:"tenant,omitempty" minLength:"1" maxLength:"200" doc:"The tenant that it runs for."`
	ConcurrencyKey string          `json:"concurrency_key,omitempty" minLength:"1" maxLength:"200" doc:"Jobs of one key share the key's limits." example:"order-42"`
	Tags           []string        `json:"tags,omitempty" maxItems:"50" minLength:"1" maxLength:"200" doc:"Labels to find it by, each of 1 to 200 characters."`
	ParentID       *ID             `json:"parent_id,omitempty" doc:"The job that it belongs to, which must exist."`
	ResultTTL      int             `json:"result_ttl_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"How long to keep the result after the job completed. Defaults to as long as the job."`
	Breaker        string          `json:"breaker,omitempty" maxLength:"329" pattern:"^(.+/)?[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The circuit breaker of the dependency that it needs; its first job creates it. A key with a tenant names its own; others name a tenant's as tenant/name. Defaults to the queue's." example:"stripe"`
	Metadata       json.RawMessage `json:"metadata,omitempty" doc:"An object of at most 64 KiB that is kept with the job and handed to its worker."`

	// IdempotencyKey makes a repeated request answer with the job of the first, for 24 hours; 1 to 255 characters. Over REST it is a header.
	IdempotencyKey string `json:"-"`
}

// Unique keeps a second job of the same key from being enqueued.
type Unique struct {
	Key        string   `json:"key" minLength:"1" maxLength:"500" doc:"One space of keys for all queues of a tenant."`
	Scope      string   `json:"scope,omitempty" enum:"active,ttl" doc:"active: the key is taken until the job ends. ttl: for ttl_seconds. Defaults to active."`
	TTLSeconds *float64 `json:"ttl_seconds,omitempty" minimum:"1" maximum:"31536000" doc:"With scope ttl: how long the key is taken."`
}

// Enqueued is the result for one job of a batch. If it is a duplicate, only ID counts.
type Enqueued struct {
	ID             ID
	Duplicate      bool // its unique key was taken, and ID is the job that has it
	Priority       int
	MaxAttempts    int
	TimeoutSeconds int
	State          State      // available, scheduled or held
	Tenant         string     // that it has from its queue
	RunAt          *time.Time // when it becomes available, if it is scheduled
	CreatedAt      time.Time
}

// Enqueue stores one job and returns it once it is committed; jobs that arrive together are committed together. Where its unique or idempotency key is
// taken it returns the job that has the key, as a Duplicate. Errors: InvalidArgument, IdempotencyMismatch, QueueFull, QuotaExceeded, Overloaded.
func (e *Engine) Enqueue(ctx context.Context, job NewJob) (Job, error) {
	call, err := job.call(ctx)
	if err != nil {
		return Job{}, err
	}
	done, err := e.enqueues.single.One(ctx, call)
	if err != nil {
		return Job{}, ofOne(fromDB("enqueueing", err))
	}
	if done.Duplicate {
		first, err := e.Job(ctx, done.ID)
		first.Duplicate = true
		return first, err
	}
	stored := job.stored(done)
	stored.Breaker = shownBreaker(ctx, stored.Breaker)
	return stored, nil
}

// call is the job as the database takes it. It gets the tenant that the caller is bound to and its circuit breaker.
func (n *NewJob) call(ctx context.Context) (enqueue, error) {
	p := access.From(ctx)
	if err := checkQueues(ctx, "queue", n.queue()); err != nil {
		return enqueue{}, err
	}
	if p != nil && p.Tenant != "" {
		n.Tenant = p.Tenant
	}
	var err error
	if n.Breaker, err = ownBreaker(p, "breaker", n.Breaker); err != nil {
		return enqueue{}, err
	}
	text, err := json.Marshal(struct {
		NewJob
		Key string `json:"idempotency_key,omitempty"`
	}{*n, n.IdempotencyKey})
	if err != nil {
		return enqueue{}, &Error{Code: InvalidArgument, Message: "the job is not valid JSON", cause: err}
	}
	return enqueue{text, access.ID(p)}, nil
}

// queue is the name of the job's queue.
func (n NewJob) queue() string { return cmp.Or(n.Queue, "default") }

// stored is the job as a reader would find it, without asking the database again.
func (n NewJob) stored(as Enqueued) Job {
	j := Job{
		ID: as.ID, Kind: n.Kind, Queue: n.queue(), Args: n.Args, Priority: as.Priority, State: as.State, RunAt: as.RunAt, MaxAttempts: as.MaxAttempts,
		TimeoutSeconds: as.TimeoutSeconds, CreatedAt: as.CreatedAt, Errors: []AttemptError{}, Tags: n.Tags, Metadata: n.Metadata, Retry: n.Retry, Tenant: n.Tenant,
		ParentID: value(n.ParentID), ResultTTL: n.ResultTTL, Breaker: n.Breaker, ConcurrencyKey: n.ConcurrencyKey,
	}
	if as.Tenant != "" {
		j.Tenant = as.Tenant
	}
	if j.State == Held {
		j.HeldReason = "line" // a job that is no step of a workflow starts held only in a queue with limits
	}
	if n.Unique != nil {
		j.UniqueKey = n.Unique.Key
	}
	if len(j.Args) == 0 {
		j.Args = json.RawMessage("{}")
	}
	if len(j.Metadata) == 0 || string(j.Metadata) == "null" {
		j.Metadata = json.RawMessage("{}")
	}
	if j.Tags == nil {
		j.Tags = []string{}
	}
	return j
}

// EnqueueBatch stores up to 10,000 JSON objects with the fields of NewJob, all or none, and returns once they are committed; smaller batches that arrive
// together are committed together. Every rule is checked by the database, whose errors name the place: jobs[3].priority. Errors: InvalidArgument,
// IdempotencyMismatch, QueueFull, QuotaExceeded, Overloaded.
func (e *Engine) EnqueueBatch(ctx context.Context, jobs []json.RawMessage) ([]Enqueued, error) {
	if len(jobs) == 0 {
		return []Enqueued{}, nil
	}
	calls, err := enqueuesOf(ctx, jobs)
	if err != nil {
		return nil, err
	}
	if e.enqueues.several.Fills(calls) {
		enqueued, err := e.enqueueBatch(ctx, e.q, calls)
		return enqueued, fromDB("enqueueing", err)
	}
	enqueued, err := e.enqueues.several.All(ctx, calls)
	return enqueued, fromDB("enqueueing", err)
}

// EnqueueBatchOnce is EnqueueBatch with an idempotency key, which is known for 24 hours: a repeated call with the same jobs stores nothing, and gets
// their ids as duplicates. It is a transaction of its own. Of what is stored it tells the ids and the duplicates only.
func (e *Engine) EnqueueBatchOnce(ctx context.Context, key string, jobs []json.RawMessage) ([]Enqueued, error) {
	if len(jobs) == 0 {
		return []Enqueued{}, nil
	}
	calls, err := enqueuesOf(ctx, jobs)
	if err != nil {
		return nil, err
	}
	once := db.EnqueueBatchOnceParams{Key: batchKey(key), Principals: principalsOf(calls)}
	if p := access.From(ctx); p != nil {
		once.Tenant = p.Tenant
	}
	var rows []db.EnqueueBatchOnceRow
	err = e.vault.twice(ctx, func() error {
		encrypted, err := e.vault.encryptCalls(ctx, calls)
		if err != nil {
			return err
		}
		once.Jobs = arrayOfJobs(encrypted)
		rows, err = e.q.EnqueueBatchOnce(ctx, once)
		return err
	})
	if err != nil {
		return nil, fromDB("enqueueing", err)
	}
	out := make([]Enqueued, len(rows))
	for i, r := range rows {
		out[i] = Enqueued{ID: ID(r.JobID), Duplicate: r.Duplicate}
		if !r.Duplicate {
			e.metrics.enqueued.Inc()
		}
	}
	return out, nil
}

// batchKey is the key of a batch as it is stored. A digest keeps it apart from the keys of single jobs.
func batchKey(key string) string { return fmt.Sprintf("batch-%x", sha256.Sum256([]byte(key))) }

// enqueue is a job to store, with its enqueuer. What the database believes of the caller goes beside the text, which
// the caller wrote.
type enqueue struct {
	job       json.RawMessage
	principal int32 // weir.principal.id, or 0
}

// enqueuesOf checks the queues of a batch, and gives its jobs the caller's tenant and circuit breakers.
func enqueuesOf(ctx context.Context, jobs []json.RawMessage) ([]enqueue, error) {
	p := access.From(ctx)
	calls := make([]enqueue, len(jobs))
	for i, text := range jobs {
		if p != nil && p.Limited() {
			var job struct {
				Queue string `json:"queue"`
			}
			_ = json.Unmarshal(text, &job) // what cannot be read is refused by the database
			if err := checkQueues(ctx, fmt.Sprintf("jobs[%d].queue", i), NewJob{Queue: job.Queue}.queue()); err != nil {
				return nil, err
			}
		}
		text, err := ownBreakerIn(p, fmt.Sprintf("jobs[%d]", i), text)
		if err != nil {
			return nil, err
		}
		calls[i] = enqueue{job: stamp(p, text), principal: access.ID(p)}
	}
	return calls, nil
}

// stamp writes into a job the tenant that the caller is bound to, whatever the caller wrote.
func stamp(p *access.Principal, job json.RawMessage) json.RawMessage {
	if p == nil || p.Tenant == "" || !bytes.HasPrefix(bytes.TrimSpace(job), []byte{'{'}) {
		return job // what is no object is refused
	}
	return withField(job, "tenant", p.Tenant)
}

func (e *Engine) enqueueTogether(ctx context.Context, calls []enqueue) ([]Enqueued, error) {
	return e.enqueueBatch(ctx, e.grouped, calls)
}

func (e *Engine) enqueueBatch(ctx context.Context, q *db.Queries, calls []enqueue) ([]Enqueued, error) {
	var out []Enqueued
	err := e.vault.twice(ctx, func() (err error) {
		out, err = e.storeCalls(ctx, q, calls)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.metrics.enqueued.Add(float64(len(out)))
	return out, nil
}

// storeCalls stores jobs with the keys of encryption that are in force.
func (e *Engine) storeCalls(ctx context.Context, q *db.Queries, calls []enqueue) ([]Enqueued, error) {
	encrypted, err := e.vault.encryptCalls(ctx, calls)
	if err != nil {
		return nil, err
	}
	rows, err := q.EnqueueBatch(ctx, db.EnqueueBatchParams{Jobs: arrayOfJobs(encrypted), Principals: principalsOf(calls)})
	if err != nil {
		return nil, err
	}
	out := make([]Enqueued, len(rows))
	for i, r := range rows {
		out[i] = Enqueued{
			ID: ID(r.JobID), Duplicate: r.Duplicate, Priority: int(r.Priority), MaxAttempts: int(r.MaxAttempts),
			TimeoutSeconds: int(r.TimeoutSeconds), RunAt: utc(r.RunAt), CreatedAt: r.CreatedAt.UTC(), State: State(r.State), Tenant: r.Tenant,
		}
	}
	return out, nil
}

// arrayOfJobs is the JSON array of some jobs.
func arrayOfJobs(calls []enqueue) json.RawMessage {
	size := 1
	for _, c := range calls {
		size += len(c.job) + 1
	}
	out := make([]byte, 0, size+1)
	for i, c := range calls {
		out = append(out, "[,"[min(i, 1)])
		out = append(out, c.job...)
	}
	return append(out, ']')
}

// principalsOf names the enqueuers of some jobs: once if it is one, which costs the database least.
func principalsOf(calls []enqueue) []int32 {
	first := calls[0].principal
	if !slices.ContainsFunc(calls, func(c enqueue) bool { return c.principal != first }) {
		return []int32{first}
	}
	principals := make([]int32, len(calls))
	for i, c := range calls {
		principals[i] = c.principal
	}
	return principals
}
