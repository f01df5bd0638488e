package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// QueueSettings are the defaults of a queue's jobs. A nil or zero value leaves a setting alone, or in a replacement restores
// weir's default.
type QueueSettings struct {
	Priority         int          `json:"priority,omitempty" minimum:"1" maximum:"10" doc:"Priority of jobs that do not name one. Defaults to 5."`
	MaxAttempts      int          `json:"max_attempts,omitempty" minimum:"1" maximum:"100" doc:"Attempts of jobs that do not name a number. Defaults to 5."`
	TimeoutSeconds   int          `json:"timeout_seconds,omitempty" minimum:"1" maximum:"604800" doc:"How long one attempt may run, for jobs that do not set it. Defaults to 300."`
	LeaseSeconds     int          `json:"lease_seconds,omitempty" minimum:"1" maximum:"3600" doc:"Length of a lease if the claim does not set it. Defaults to 30."`
	Retry            *RetryPolicy `json:"retry,omitempty" doc:"Retry policy of jobs without one. Defaults to exponential from 2 s to 1 h with jitter."`
	RetentionSeconds int          `json:"retention_seconds,omitempty" minimum:"60" maximum:"315360000" doc:"How long a job is kept after it ended; it is removed with its partition, some hours later. Defaults to 604800, a week."`
	DeadRetention    int          `json:"dead_retention_seconds,omitempty" minimum:"60" maximum:"315360000" doc:"How long a dead letter is kept after it died. Defaults to 2592000, 30 days."`
	DeadLetterQueue  *string      `json:"dead_letter_queue,omitempty" maxLength:"128" pattern:"^([A-Za-z0-9_][A-Za-z0-9_.:-]*)?$" doc:"The queue that gets a copy of each job that dies here, in place of a dead letter. Dead letter queues must not form a cycle. Defaults to empty: none."`
	Breaker          *string      `json:"breaker,omitempty" maxLength:"329" pattern:"^((.+/)?[A-Za-z0-9_][A-Za-z0-9_.:-]*)?$" doc:"The circuit breaker of jobs that name none: one that is shared, or one of the queue's tenant, named as in a job. Defaults to empty: none."`
	MaxDepth         *int         `json:"max_depth,omitempty" minimum:"0" maximum:"10000000" doc:"Enqueueing is refused with queue_full while this many jobs are available. Defaults to 0: no limit."`
	Limits           *QueueLimits `json:"limits,omitempty" doc:"How many jobs may be in flight, how fast they start, and how tenants share the queue. An empty object removes all limits. Defaults to none."`
	Encrypted        *bool        `json:"encrypted,omitempty" doc:"Args, results and texts of errors of its jobs are stored encrypted, from now on. Nodes need a key for it. Defaults to false."`
	Tenant           *string      `json:"tenant,omitempty" maxLength:"200" doc:"The tenant that the queue belongs to: it takes only that tenant's jobs. Possible while it has no jobs of others. Defaults to empty: tenants share it." example:"acme"`
}

// Queue is a queue, its settings and how many jobs are where.
type Queue struct {
	Name                   string       `json:"name" doc:"Its name." example:"mail"`
	Paused                 bool         `json:"paused" doc:"Claims take nothing from it."`
	PausedAt               *time.Time   `json:"paused_at,omitempty" doc:"When it was paused."`
	PauseReason            string       `json:"pause_reason,omitempty" doc:"Why it is paused."`
	ResumeAt               *time.Time   `json:"resume_at,omitempty" doc:"When the pause ends, if it does."`
	Priority               int          `json:"priority" doc:"Priority of jobs that do not name one."`
	MaxAttempts            int          `json:"max_attempts" doc:"Attempts of jobs that do not name a number."`
	TimeoutSeconds         int          `json:"timeout_seconds" doc:"How long one attempt may run, for jobs that do not set it."`
	LeaseSeconds           int          `json:"lease_seconds" doc:"Length of a lease if the claim does not set it."`
	Retry                  RetryPolicy  `json:"retry" doc:"Retry policy of jobs without one."`
	RetentionSeconds       int          `json:"retention_seconds" doc:"How long a job is kept after it ended."`
	DeadRetention          int          `json:"dead_retention_seconds" doc:"How long a dead letter is kept after it died."`
	DeadLetterQueue        string       `json:"dead_letter_queue,omitempty" doc:"The queue that gets a copy of each job that dies here, in place of a dead letter."`
	Breaker                string       `json:"breaker,omitempty" doc:"The circuit breaker of jobs that name none."`
	BreakerState           BreakerState `json:"breaker_state,omitempty" enum:"closed,open,half_open" doc:"The state of the breaker. Unless it is closed, its policy applies to the jobs."`
	MaxDepth               *int         `json:"max_depth,omitempty" doc:"Enqueueing is refused while this many jobs are available."`
	Limits                 *QueueLimits `json:"limits,omitempty" doc:"How many jobs may be in flight, how fast they start, and how tenants share the queue. Single keys and tenants may have overrides."`
	Encrypted              bool         `json:"encrypted" doc:"Args, results and texts of errors of its jobs are stored encrypted."`
	Tenant                 string       `json:"tenant,omitempty" doc:"The tenant that it belongs to."`
	CreatedAt              time.Time    `json:"created_at" doc:"When it was created."`
	Available              int64        `json:"available" doc:"Jobs that may be claimed."`
	Running                int64        `json:"running" doc:"Jobs that a worker has."`
	Scheduled              int64        `json:"scheduled" doc:"Jobs that wait for a time."`
	Retryable              int64        `json:"retryable" doc:"Jobs that failed and wait for a retry."`
	Held                   int64        `json:"held" doc:"Jobs that wait for something else."`
	Dead                   int64        `json:"dead" doc:"Dead letters."`
	OldestAvailableSeconds float64      `json:"oldest_available_seconds" doc:"Age of the oldest job that is next in its priority; 0 if there is none."`
	Exact                  bool         `json:"exact" doc:"Whether the counts are exact. They stop at a bound: 100,000 available jobs and as many dead letters of the queue, 200,000 held and 200,000 scheduled or retryable jobs of all queues. If false, there are at least as many."`
	CountedAt              *time.Time   `json:"counted_at,omitempty" doc:"When counts of more than 2,000 jobs were made, up to 30 s ago; absent: for this answer."`
}

// QueueWindow is what happened in a queue in the last minutes.
type QueueWindow struct {
	WindowSeconds      int     `json:"window_seconds" doc:"Length of the window."`
	Completed          int64   `json:"completed" doc:"Jobs completed."`
	Dead               int64   `json:"dead" doc:"Jobs that died."`
	Cancelled          int64   `json:"cancelled" doc:"Jobs cancelled."`
	CompletedPerSecond float64 `json:"completed_per_second" doc:"Mean rate of completion over the window."`
	MeanRunSeconds     float64 `json:"mean_run_seconds" doc:"Mean time of the last attempt of completed jobs; 0 if there were none."`
	P95RunSeconds      float64 `json:"p95_run_seconds" doc:"95th percentile of that time."`
}

// QueueFailure is one kind of failure of the last day.
type QueueFailure struct {
	Kind      string    `json:"kind" doc:"Kind of the jobs."`
	Event     string    `json:"event" enum:"failed,timed_out,lost" doc:"How the attempts ended."`
	Type      string    `json:"type,omitempty" doc:"The class of the error."`
	Message   string    `json:"message" doc:"The first 200 characters of the error."`
	Count     int64     `json:"count" doc:"Failed attempts."`
	LastAt    time.Time `json:"last_at" doc:"When it last happened."`
	LastJobID ID        `json:"last_job_id" doc:"The last job that failed this way."`
}

// QueueStats are the depth, age, throughput and failures of a queue.
type QueueStats struct {
	Queue    Queue          `json:"queue" doc:"Its depth and age."`
	Windows  []QueueWindow  `json:"windows" doc:"Throughput over the last 1, 5 and 60 minutes."`
	Failures []QueueFailure `json:"failures" doc:"The twenty most frequent failures of the last day."`
}

// Queues lists queues by name, starting after a name. It returns up to limit of them.
func (e *Engine) Queues(ctx context.Context, after string, limit int) ([]Queue, error) {
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return nil, err
	}
	return e.listQueues(ctx, db.ListQueuesParams{After: after, Bounds: bounds, MaxQueues: int32(limit)})
}

func (e *Engine) listQueues(ctx context.Context, params db.ListQueuesParams) ([]Queue, error) {
	rows, err := e.reads.ListQueues(ctx, params)
	if err != nil {
		return nil, fromDB("listing queues", err)
	}
	queues := make([]Queue, len(rows))
	for i, r := range rows {
		if queues[i], err = queueFromRow(r); err != nil {
			return nil, err
		}
		queues[i].Breaker = shownBreaker(ctx, queues[i].Breaker)
	}
	return queues, nil
}

// Queue returns one queue. Errors: QueueNotFound.
func (e *Engine) Queue(ctx context.Context, name string) (Queue, error) {
	queues, err := e.listQueues(ctx, db.ListQueuesParams{Name: &name, MaxQueues: 1})
	if err != nil {
		return Queue{}, err
	}
	if len(queues) == 0 {
		return Queue{}, &Error{Code: QueueNotFound, Message: fmt.Sprintf("there is no queue %q", name), Hint: "The first job of a queue creates it, and so does PUT of its settings."}
	}
	return queues[0], nil
}

// SetQueue creates a queue or changes its settings; with replace, other settings get weir's defaults. A caller with a tenant cannot give its queue to
// another. Errors: InvalidArgument, QueueNotEmpty, Forbidden.
func (e *Engine) SetQueue(ctx context.Context, name string, settings QueueSettings, replace bool) (Queue, error) {
	if value(settings.Encrypted) && e.vault.keys == nil {
		return Queue{}, missing("this node has no encryption key, and could not use an encrypted queue", nil)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		if settings.Tenant != nil && *settings.Tenant != p.Tenant {
			return Queue{}, &Error{Code: Forbidden, Field: "tenant", Message: "the key is bound to a tenant, and cannot give its queue away"}
		}
		settings.Tenant = &p.Tenant
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return Queue{}, fmt.Errorf("encoding settings: %w", err)
	}
	if err := e.changes.SetQueue(ctx, db.SetQueueParams{Name: name, Settings: text, Replace: replace}); err != nil {
		return Queue{}, fromDB("setting a queue", err)
	}
	if value(settings.Encrypted) {
		if err := e.encryptSchedulesOf(ctx, name); err != nil {
			return Queue{}, err
		}
	}
	return e.Queue(ctx, name)
}

// encryptSchedulesOf encrypts the args in definitions of schedules that were made before their queue was encrypted.
func (e *Engine) encryptSchedulesOf(ctx context.Context, queue string) error {
	if _, err := e.vault.refresh(ctx); err != nil {
		return err
	}
	schedules, err := e.q.SchedulesOfQueue(ctx, queue)
	if err != nil {
		return fromDB("reading schedules of a queue", err)
	}
	for _, s := range schedules {
		encrypted, err := e.vault.encryptSchedule(ctx, s.Made)
		if errors.Is(err, ErrForm) {
			e.log.Warn("a schedule keeps its args readable: they have placeholders, which the database fills in", "schedule", s.Name, "queue", queue)
			continue
		} else if err != nil {
			return err
		}
		if err := e.q.EditSchedule(ctx, db.EditScheduleParams{Name: s.Name, Changes: encrypted, Tenant: nonZero(s.Tenant)}); err != nil {
			return fromDB("changing a schedule", err)
		}
	}
	return nil
}

// DeleteQueue hides a queue that has no jobs. Errors: QueueNotFound, QueueNotEmpty.
func (e *Engine) DeleteQueue(ctx context.Context, name string) error {
	return fromDB("deleting a queue", e.changes.DeleteQueue(ctx, name))
}

// Pause says why a queue is paused and when the pause ends. All fields are optional.
type Pause struct {
	Reason          string     `json:"reason,omitempty" minLength:"1" maxLength:"500" doc:"Why it is paused."`
	ResumeAt        *time.Time `json:"resume_at,omitempty" doc:"When the pause ends, at most ten years ahead. Excludes resume_in_seconds. Defaults to no end."`
	ResumeInSeconds *float64   `json:"resume_in_seconds,omitempty" exclusiveMinimum:"0" maximum:"315360000" doc:"How long the pause lasts. Excludes resume_at."`
}

// PauseQueue stops claims from a queue. If it is paused already, the reason and the end are replaced.
// Errors: QueueNotFound, InvalidArgument.
func (e *Engine) PauseQueue(ctx context.Context, name string, p Pause) (Queue, error) {
	if p.ResumeAt != nil && p.ResumeInSeconds != nil {
		return Queue{}, invalid("resume_at", "and resume_in_seconds exclude each other")
	}
	if p.ResumeInSeconds != nil && !within(*p.ResumeInSeconds, 0, 315360000) {
		return Queue{}, invalid("resume_in_seconds", "must be above 0 and at most 315360000")
	}
	if err := e.changes.PauseQueue(ctx, db.PauseQueueParams{Name: name, Reason: nonZero(p.Reason), ResumeAt: p.ResumeAt, ResumeInSeconds: p.ResumeInSeconds}); err != nil {
		return Queue{}, fromDB("pausing a queue", err)
	}
	return e.Queue(ctx, name)
}

// ResumeQueue ends a pause. Errors: QueueNotFound.
func (e *Engine) ResumeQueue(ctx context.Context, name string) (Queue, error) {
	if err := e.changes.ResumeQueue(ctx, name); err != nil {
		return Queue{}, fromDB("resuming a queue", err)
	}
	return e.Queue(ctx, name)
}

// Waiting stands for all states in which jobs wait, in PurgeQueue.
const Waiting = "waiting"

// PurgeResult is the result of a purge.
type PurgeResult struct {
	Purged   int64 `json:"purged" doc:"Jobs cancelled; 0 in a dry run."`
	Matching int64 `json:"matching" doc:"Jobs that were in the state when the call began."`
}

// PurgeQueue cancels all jobs of a queue that wait in a state (Available, Scheduled, Retryable, Held, or Waiting for all of these), ten thousand a
// transaction. A dry run only counts them. Errors: QueueNotFound, InvalidArgument.
func (e *Engine) PurgeQueue(ctx context.Context, name string, state State, dryRun bool) (PurgeResult, error) {
	var done PurgeResult
	var err error
	if done.Matching, err = e.reads.CountWaiting(ctx, db.CountWaitingParams{Name: name, State: string(state)}); err != nil {
		return done, fromDB("counting jobs", err)
	}
	for !dryRun {
		n, err := e.changes.PurgeQueue(ctx, db.PurgeQueueParams{Name: name, MaxJobs: MaxBatch, State: string(state)})
		if err != nil {
			return done, fromDB("purging a queue", err)
		}
		done.Purged += int64(n)
		if n < MaxBatch {
			break
		}
	}
	return done, nil
}

// resumeQueues ends the pauses that are over, and wakes claims that wait for their jobs.
func (e *Engine) resumeQueues(ctx context.Context) (time.Duration, error) {
	row, err := e.loops.ResumeDue(ctx)
	if err != nil {
		return 0, fromDB("resuming queues", err)
	}
	if row.Resumed > 0 {
		e.log.Info("resumed queues whose pause was over", "queues", row.Resumed)
	}
	if row.NextInSeconds >= 0 && row.NextInSeconds < 1 {
		return max(seconds(row.NextInSeconds), time.Millisecond), nil
	}
	return e.due.rest(time.Second), nil
}

// QueueStats returns the depth, age, throughput and failures of a queue. Errors: QueueNotFound.
func (e *Engine) QueueStats(ctx context.Context, name string) (QueueStats, error) {
	queue, err := e.Queue(ctx, name)
	if err != nil {
		return QueueStats{}, err
	}
	stats := QueueStats{Queue: queue, Windows: []QueueWindow{}, Failures: []QueueFailure{}}
	windows, err := e.reads.QueueThroughput(ctx, name)
	if err != nil {
		return QueueStats{}, fromDB("reading throughput", err)
	}
	for _, w := range windows {
		stats.Windows = append(stats.Windows, QueueWindow{
			WindowSeconds: int(w.WindowSeconds), Completed: w.Completed, Dead: w.Dead, Cancelled: w.Cancelled,
			CompletedPerSecond: w.CompletedPerSecond, MeanRunSeconds: w.MeanRunSeconds, P95RunSeconds: w.P95RunSeconds,
		})
	}
	failures, err := e.reads.QueueFailures(ctx, name)
	if err != nil {
		return QueueStats{}, fromDB("reading failures", err)
	}
	for _, f := range failures {
		stats.Failures = append(stats.Failures, QueueFailure{
			Kind: f.Kind, Event: f.Event, Type: f.Type, Message: f.Message, Count: f.Count, LastAt: f.LastAt.UTC(), LastJobID: ID(f.LastJobID),
		})
	}
	return stats, nil
}

func queueFromRow(r db.ListQueuesRow) (Queue, error) {
	q := Queue{
		Name: r.Name, Paused: r.Paused, PausedAt: utc(r.PausedAt), PauseReason: r.PauseReason, ResumeAt: utc(r.ResumeAt), Priority: int(r.Priority), MaxAttempts: int(r.MaxAttempts), TimeoutSeconds: int(r.TimeoutSeconds),
		LeaseSeconds: int(r.LeaseSeconds), RetentionSeconds: int(r.RetentionSeconds), DeadRetention: int(r.DeadRetentionSeconds), DeadLetterQueue: r.DeadLetterQueue, Breaker: r.Breaker, BreakerState: BreakerState(r.BreakerState), Encrypted: r.Encrypted, CreatedAt: r.CreatedAt.UTC(), Available: r.Available, Running: r.Running, Scheduled: r.Scheduled,
		Tenant: r.Tenant, Retryable: r.Retryable, Held: r.Held, Dead: r.Dead, OldestAvailableSeconds: r.OldestAvailableSeconds, Exact: r.Exact, CountedAt: utc(r.CountedAt),
	}
	if r.MaxDepth > 0 {
		depth := int(r.MaxDepth)
		q.MaxDepth = &depth
	}
	if string(r.Limits) != "{}" {
		if err := json.Unmarshal(r.Limits, &q.Limits); err != nil {
			return Queue{}, fmt.Errorf("reading the limits of queue %q: %w", q.Name, err)
		}
	}
	if err := json.Unmarshal(r.Retry, &q.Retry); err != nil {
		return Queue{}, fmt.Errorf("reading the retry policy of queue %q: %w", q.Name, err)
	}
	return q, nil
}
