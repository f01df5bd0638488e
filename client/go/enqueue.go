package weir

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// ID is the id of a job or a workflow. In JSON it is a string, because numbers of JavaScript are too short for it.
type ID int64

// String is the id in decimal.
func (id ID) String() string { return strconv.FormatInt(int64(id), 10) }

// MarshalText writes the id in decimal.
func (id ID) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(id), 10), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	*id = ID(n)
	return err
}

// NewJob is a job to enqueue: [New] makes one, and its fields may be changed. A zero value stands for the default of the queue. The place of an
// invalid value is in the error's Field.
type NewJob struct {
	// Kind is what to do.
	Kind string `json:"kind"`
	// Args is what to do it with: any JSON of at most 1 MiB.
	Args json.RawMessage `json:"args,omitempty"`
	// Queue is where it waits. Defaults to "default".
	Queue string `json:"queue,omitempty"`
	// Priority is 1 to 10, 10 first. Defaults to the queue's.
	Priority int `json:"priority,omitempty"`
	// RunAt is the time before which it does not run. Excludes DelaySeconds. Defaults to now.
	RunAt *time.Time `json:"run_at,omitempty"`
	// DelaySeconds is how long it does not run from now. Defaults to 0.
	DelaySeconds float64 `json:"delay_seconds,omitempty"`
	// MaxAttempts is 1 to 100. Defaults to the queue's.
	MaxAttempts int `json:"max_attempts,omitempty"`
	// TimeoutSeconds is how long an attempt may run, 1 to 604,800. Defaults to the queue's.
	TimeoutSeconds int `json:"timeout_seconds,omitempty"`
	// Retry is how long to wait after failed attempts. Defaults to the queue's.
	Retry *RetryPolicy `json:"retry,omitempty"`
	// Unique keeps a second job with the same key from being stored. Defaults to none.
	Unique *Uniqueness `json:"unique,omitempty"`
	// Tenant is on whose behalf it runs. Defaults to none.
	Tenant string `json:"tenant,omitempty"`
	// ConcurrencyKey is its line in a queue with limits. Defaults to none.
	ConcurrencyKey string `json:"concurrency_key,omitempty"`
	// Tags are at most 50 labels. Defaults to none.
	Tags []string `json:"tags,omitempty"`
	// Metadata is an object of at most 64 KiB that is handed to the worker. Defaults to {}.
	Metadata map[string]any `json:"metadata,omitempty"`
	// ParentID is the job that it belongs to. Defaults to none.
	ParentID ID `json:"parent_id,omitempty"`
	// Breaker is the circuit breaker of what it depends on. Defaults to the queue's.
	Breaker string `json:"breaker,omitempty"`
	// ResultTTLSeconds is how long to keep the result. Defaults to as long as the job.
	ResultTTLSeconds int `json:"result_ttl_seconds,omitempty"`

	idempotencyKey string
	keyMade        bool  // by the client: no other call has it
	err            error // what was wrong with its args
}

// RetryPolicy is how long a job waits after failed attempts.
type RetryPolicy struct {
	// Strategy is fixed, linear or exponential. Defaults to exponential.
	Strategy string `json:"strategy,omitempty"`
	// BaseSeconds is the first wait. Defaults to 2.
	BaseSeconds float64 `json:"base_seconds,omitempty"`
	// MaxSeconds bounds the wait. Defaults to 3600.
	MaxSeconds float64 `json:"max_seconds,omitempty"`
	// Jitter draws the wait between 0 and what the strategy says. Defaults to true.
	Jitter *bool `json:"jitter,omitempty"`
}

// Uniqueness is a unique key with its scope.
type Uniqueness struct {
	// Key is 1 to 500 characters. All queues of a tenant share one space of keys.
	Key string `json:"key"`
	// Scope is active or ttl. Defaults to active: the key is taken until the job ends.
	Scope string `json:"scope,omitempty"`
	// TTLSeconds is how long the key is taken with scope ttl.
	TTLSeconds float64 `json:"ttl_seconds,omitempty"`
}

// Option sets something of a job that is enqueued.
type Option func(*NewJob)

// Queue names the queue. Defaults to "default".
func Queue(name string) Option { return func(j *NewJob) { j.Queue = name } }

// Priority is 1 to 10, 10 first. Defaults to the queue's.
func Priority(n int) Option { return func(j *NewJob) { j.Priority = n } }

// At is the time before which the job does not run.
func At(t time.Time) Option { return func(j *NewJob) { j.RunAt, j.DelaySeconds = &t, 0 } }

// In is how long the job does not run from now, by the clock of the database.
func In(d time.Duration) Option {
	return func(j *NewJob) { j.RunAt, j.DelaySeconds = nil, d.Seconds() }
}

// MaxAttempts is 1 to 100. Defaults to the queue's.
func MaxAttempts(n int) Option { return func(j *NewJob) { j.MaxAttempts = n } }

// Timeout bounds an attempt, in whole seconds from 1 s to 7 days. Defaults to the queue's.
func Timeout(d time.Duration) Option {
	return func(j *NewJob) { j.TimeoutSeconds = wholeSeconds(d) }
}

// Retry is how long the job waits after failed attempts. Defaults to the queue's policy.
func Retry(p RetryPolicy) Option { return func(j *NewJob) { j.Retry = &p } }

// Unique keeps a second job with this key from being stored until this one has ended; then [Enqueued] is a duplicate.
func Unique(key string) Option { return func(j *NewJob) { j.Unique = &Uniqueness{Key: key} } }

// UniqueFor is [Unique] for a time from now, 1 s to a year, even if the job ends before.
func UniqueFor(key string, d time.Duration) Option {
	return func(j *NewJob) { j.Unique = &Uniqueness{Key: key, Scope: "ttl", TTLSeconds: d.Seconds()} }
}

// IdempotencyKey is of 1 to 255 characters. For 24 hours a second enqueue with this key stores nothing and answers with the first job. Without it
// [Client.Enqueue] makes one for each call, so that it can try again.
func IdempotencyKey(key string) Option { return func(j *NewJob) { j.idempotencyKey = key } }

// Tenant is on whose behalf the job runs.
func Tenant(name string) Option { return func(j *NewJob) { j.Tenant = name } }

// ConcurrencyKey is the job's line in a queue with limits.
func ConcurrencyKey(key string) Option { return func(j *NewJob) { j.ConcurrencyKey = key } }

// Tags are labels to find the job by, at most 50.
func Tags(tags ...string) Option { return func(j *NewJob) { j.Tags = append(j.Tags, tags...) } }

// Metadata adds a member to the object that is handed to the worker beside the args.
func Metadata(name string, value any) Option {
	return func(j *NewJob) {
		if j.Metadata == nil {
			j.Metadata = map[string]any{}
		}
		j.Metadata[name] = value
	}
}

// Parent is the job that this one belongs to, such as [RawJob.ID] in a handler.
func Parent(id ID) Option { return func(j *NewJob) { j.ParentID = id } }

// Breaker is the circuit breaker of what the job depends on.
func Breaker(name string) Option { return func(j *NewJob) { j.Breaker = name } }

// ResultTTL is how long to keep the result, in whole seconds up to a year. Defaults to as long as the job.
func ResultTTL(d time.Duration) Option {
	return func(j *NewJob) { j.ResultTTLSeconds = wholeSeconds(d) }
}

// wholeSeconds rounds up, so that a short time is not none.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// New makes a job of args, for [Client.EnqueueMany] and [EnqueueManyTx]. What is wrong with the args is the error of those.
func New(args any, opts ...Option) NewJob {
	var j NewJob
	if j.Kind, j.err = kindOf(args); j.err == nil {
		if j.Args, j.err = json.Marshal(args); j.err != nil {
			j.err = fmt.Errorf("weir: encoding the args of a job of kind %s: %w", j.Kind, j.err)
		}
	}
	for _, o := range opts {
		o(&j)
	}
	return j
}

// Enqueued is a job that was enqueued.
type Enqueued struct {
	// ID is the job's id.
	ID ID
	// Duplicate says that nothing was stored, because the unique or idempotency key was taken by the job ID. Over SQL it is known to weir's owner
	// only; to a login with access as a producer it is always false.
	Duplicate bool
}

// Enqueue stores a job and returns once it is committed. If weir does not answer, it tries again until ctx ends or the client's RetryFor is over,
// with an idempotency key, so that no more than one job is stored. Errors: *[Error].
func (c *Client) Enqueue(ctx context.Context, args any, opts ...Option) (Enqueued, error) {
	j := New(args, opts...)
	if err := c.prepare(ctx, &j); err != nil {
		return Enqueued{}, err
	}
	if j.idempotencyKey == "" && c.retryFor > 0 && j.Unique == nil {
		j.idempotencyKey, j.keyMade = rand.Text(), true
	}
	var done Enqueued
	err := c.again(ctx, isAway, func(ctx context.Context) (err error) {
		done, err = c.t.enqueue(ctx, &j)
		return err
	})
	return done, err
}

// EnqueueMany stores up to 10,000 jobs, all or none, in order, and returns once they are committed. One call with a hundred jobs costs a fraction
// of a hundred calls. It tries again where certainly nothing was stored, or where each job has an [IdempotencyKey]: over REST all keys together are one,
// over SQL each is its job's. Errors: *[Error], whose Field names the place: jobs[3].priority.
func (c *Client) EnqueueMany(ctx context.Context, jobs ...NewJob) ([]Enqueued, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	for i := range jobs {
		if err := c.prepare(ctx, &jobs[i]); err != nil {
			return nil, fmt.Errorf("jobs[%d]: %w", i, err)
		}
	}
	keyed := !slices.ContainsFunc(jobs, func(j NewJob) bool { return j.idempotencyKey == "" })
	var done []Enqueued
	err := c.again(ctx, func(err error) bool { return isAway(err) && (keyed || storedNothing(err)) }, func(ctx context.Context) (err error) {
		done, err = c.t.enqueueMany(ctx, jobs)
		return err
	})
	return done, err
}

// prepare readies a job to be sent.
func (c *Client) prepare(ctx context.Context, j *NewJob) error {
	if j.err != nil {
		return j.err
	}
	for _, hook := range c.onEnqueue {
		hook(ctx, j)
	}
	return nil
}

// text is the job as the SQL contract takes it.
func (j *NewJob) text() ([]byte, error) {
	text, err := json.Marshal(struct {
		*NewJob
		Key string `json:"idempotency_key,omitempty"`
	}{j, j.idempotencyKey})
	if err != nil {
		return nil, fmt.Errorf("weir: encoding a job of kind %s: %w", j.Kind, err)
	}
	return text, nil
}
