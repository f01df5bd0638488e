package weir

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// Job is a job that a handler works on.
type Job[A any] struct {
	*RawJob
	// Args are the args, decoded.
	Args A
}

// RawJob is a job that a worker holds, with its args as they came. Middleware and hooks see it, and handlers as a part of [Job].
type RawJob struct {
	ID          ID
	Kind        string
	Queue       string
	RawArgs     json.RawMessage
	Attempt     int // 1 the first time
	MaxAttempts int
	Priority    int
	Tags        []string
	// Timeout is how long the attempt may run from its claim.
	Timeout   time.Duration
	CreatedAt time.Time
	// Metadata is the object that came with the job.
	Metadata json.RawMessage
	// Dependencies are the results of the steps that this step of a workflow depends on, by name; null for other jobs. [Dependency] and [Input]
	// decode them.
	Dependencies json.RawMessage
	// Degraded says that the job's circuit breaker is open, and that its handler should do without that dependency.
	Degraded bool
	// Worker is the name of the worker that holds it.
	Worker string

	run *run
}

func newRawJob(c *claimedJob, worker string) *RawJob {
	return &RawJob{
		ID: c.ID, Kind: c.Kind, Queue: c.Queue, RawArgs: c.Args, Attempt: c.Attempt, MaxAttempts: c.MaxAttempts, Priority: c.Priority, Tags: c.Tags,
		Timeout: time.Duration(c.TimeoutSeconds) * time.Second, CreatedAt: c.CreatedAt, Metadata: c.Metadata, Dependencies: c.Dependencies,
		Degraded: c.Degraded, Worker: worker,
	}
}

// Last says whether this is the job's last attempt: if it fails, the job is dead.
func (j *RawJob) Last() bool { return j.Attempt >= j.MaxAttempts }

// Progress says how far the job is, from 0 to 100 percent, with a message of at most 500 characters. It does not wait: the last one is sent within
// about a second.
func (j *RawJob) Progress(percent float64, message string) {
	j.run.setProgress(&progress{percent, message})
}

// SetResult sets the result of the job, which is stored if the handler returns nil. It is encoded at once, and may have at most 1 MiB as JSON.
// Handlers that return their result need it not: see [Handle].
func (j *RawJob) SetResult(result any) error {
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("weir: encoding the result: %w", err)
	}
	j.run.mu.Lock()
	j.run.result = text
	j.run.mu.Unlock()
	return nil
}

// Log writes to the log of the job, which people read with the job. Lines are sent about once a second, and before the job ends. A job keeps 10,000
// lines; if weir cannot be reached, the oldest that wait are dropped beyond 1,000.
func (j *RawJob) Log() *slog.Logger { return slog.New(&logHandler{run: j.run}) }

// MetadataValue decodes a member of the job's metadata. It is the zero value where there is none.
func MetadataValue[T any](j *RawJob, name string) (value T, err error) {
	var members map[string]json.RawMessage
	if len(j.Metadata) > 0 {
		if err = json.Unmarshal(j.Metadata, &members); err != nil {
			return value, fmt.Errorf("weir: decoding the metadata of job %s: %w", j.ID, err)
		}
	}
	if text, ok := members[name]; ok {
		err = json.Unmarshal(text, &value)
	}
	return value, err
}

// Dependency decodes the result of a step that this step depends on. Errors: [ErrNotFound] where that step did not complete or is no dependency.
func Dependency[T any](j *RawJob, step string) (result T, err error) {
	var results map[string]json.RawMessage
	if len(j.Dependencies) > 0 {
		if err = json.Unmarshal(j.Dependencies, &results); err != nil {
			return result, fmt.Errorf("weir: decoding the dependencies of job %s: %w", j.ID, err)
		}
	}
	text, ok := results[step]
	if !ok {
		return result, fmt.Errorf("job %s has no result of a step %q: %w", j.ID, step, ErrNotFound)
	}
	if err = json.Unmarshal(text, &result); err != nil {
		return result, fmt.Errorf("weir: decoding the result of step %q: %w", step, err)
	}
	return result, nil
}

// handler runs a job of one kind.
type handler struct {
	kind        string
	concurrency int // 0: no limit of its own
	work        HandlerFunc
}

// HandlerFunc runs a job. What its error means is in the documentation of [Register].
type HandlerFunc func(context.Context, *RawJob) error

// Middleware wraps the handlers of a worker: it may do something before, after, around or in place of the next one.
type Middleware func(next HandlerFunc) HandlerFunc

// HandlerOption sets something of a handler.
type HandlerOption func(*handler)

// Concurrency bounds how many jobs of the kind the worker runs at once. Those beyond it wait in the worker for a moment, and then go back into their
// queue without losing an attempt. For a limit over all workers, or one that many jobs wait for, use the limits of a queue (docs/limits.md).
// Defaults to the worker's.
func Concurrency(n int) HandlerOption { return func(h *handler) { h.concurrency = n } }

// Register has a worker run jobs of a kind by a function. The kind is that of A: see [Kinded]. It panics where A names no kind, or the worker has a
// handler of the kind already. Call it before [Worker.Run].
//
// The function's error says how the job ends:
//
//   - nil: it is completed, with the result of [RawJob.SetResult] if that was called
//   - [Snooze], [RetryIn], [Discard], [Cancel], or an error that wraps one: what they say
//   - any other error, and a panic: the attempt failed, and is tried again as the retry policy says
//
// The context ends when the job is cancelled, its lease is lost, its timeout is over or the worker's grace is: context.Cause says which. A function
// that does not look at it keeps its slot until it returns.
func Register[A any](w *Worker, work func(context.Context, *Job[A]) error, opts ...HandlerOption) {
	register[A](w, func(ctx context.Context, j *Job[A]) error { return work(ctx, j) }, opts)
}

// Produces is args whose job has a result of type R. The method is never called: it ties the types together, so that a handler, a waiting caller and
// a later step of a workflow agree on the result.
type Produces[R any] interface {
	Result() R
}

// Handle is [Register] for a function that returns the job's result.
func Handle[A Produces[R], R any](w *Worker, work func(context.Context, *Job[A]) (R, error), opts ...HandlerOption) {
	register[A](w, func(ctx context.Context, j *Job[A]) error {
		result, err := work(ctx, j)
		if err != nil {
			return err
		}
		return j.SetResult(result)
	}, opts)
}

func register[A any](w *Worker, work func(context.Context, *Job[A]) error, opts []HandlerOption) {
	kind, err := kindFor[A]()
	if err != nil {
		panic(err)
	}
	h := &handler{kind: kind, work: func(ctx context.Context, raw *RawJob) error {
		j := Job[A]{RawJob: raw}
		if err := json.Unmarshal(raw.RawArgs, &j.Args); err != nil {
			return &argsError{err}
		}
		return work(ctx, &j)
	}}
	for _, o := range opts {
		o(h)
	}
	w.add(h)
}

// argsError is that the args of a job are not what its handler takes.
type argsError struct{ err error }

func (e *argsError) Error() string     { return "the args do not fit the handler: " + e.err.Error() }
func (e *argsError) Unwrap() error     { return e.err }
func (e *argsError) ErrorType() string { return "args" }
