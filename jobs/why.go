package jobs

import (
	"context"
	"encoding/json"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// Reason is one thing that keeps a job from running now.
type Reason struct {
	Code    string          `json:"code" doc:"What it is, for programs: scheduled, retry_wait, held_dependency, held_line, held_breaker, held_signal, no_node, queue_paused, backlog_ahead, no_worker; next: nothing keeps it; running and ended: it does or did run. New ones may come." example:"backlog_ahead"`
	Message string          `json:"message" doc:"What it is, for people."`
	Detail  json.RawMessage `json:"detail,omitempty" doc:"More about it, depending on the code: run_at, reason and resume_at of a pause, ahead and or_more of a backlog (counted up to 100,000; not for a caller with a tenant in a queue that tenants share), key of what it is held for, worker; of a line its key and tenant, which limit keeps it (per_key, key_rate, tenant, concurrency, rate, or turn: none), allowed and in_flight."`
}

// Why returns each reason why a job does not run now, the most particular first. In a queue that tenants share, a caller with a tenant is not told how
// many jobs come before it, or are in flight. Errors: JobNotFound.
func (e *Engine) Why(ctx context.Context, id ID) ([]Reason, error) {
	params := db.WhyParams{JobID: int64(id)}
	if p := access.From(ctx); p != nil {
		params.Tenant = nonZero(p.Tenant)
	}
	rows, err := e.reads.Why(ctx, params)
	if err != nil {
		return nil, fromDB("asking why a job does not run", err)
	}
	reasons := make([]Reason, len(rows))
	for i, r := range rows {
		reasons[i] = Reason{Code: r.Code, Message: r.Message, Detail: r.Detail}
	}
	return reasons, nil
}

// QueueReason is one thing that keeps jobs of a queue from running now.
type QueueReason struct {
	Code    string          `json:"code" doc:"What it is, for programs: queue_paused, queue_held (by its circuit breaker), no_worker, waiting (its workers have not claimed them yet), held_line, held_breaker (one for each of the twenty breakers that hold most), held_dependency, held_signal, held_timer, held_workflow, no_node, scheduled, retry_wait; next: no job waits. New ones may come." example:"no_worker"`
	Message string          `json:"message" doc:"What it is, for people."`
	Jobs    int64           `json:"jobs" doc:"How many jobs it holds up, counted up to 100,000 available ones, and among 200,000 held and 200,000 scheduled ones of all queues."`
	Detail  json.RawMessage `json:"detail,omitempty" doc:"More about it, depending on the code: oldest_seconds of the oldest job that may be claimed, reason and resume_at of a pause, breaker, state and next_probe_at of a circuit breaker, limits and in_flight of a line, next_run_at of scheduled jobs, or_more where the count stopped."`
}

// WhyQueue returns each reason why jobs of a queue do not run now, and how many it holds up, the most specific first. Errors: QueueNotFound.
func (e *Engine) WhyQueue(ctx context.Context, name string) ([]QueueReason, error) {
	params := db.WhyQueueParams{Name: name}
	if p := access.From(ctx); p != nil {
		params.Tenant = nonZero(p.Tenant)
	}
	rows, err := e.reads.WhyQueue(ctx, params)
	if err != nil {
		return nil, fromDB("asking why the jobs of a queue do not run", err)
	}
	reasons := make([]QueueReason, len(rows))
	for i, r := range rows {
		reasons[i] = QueueReason{Code: r.Code, Message: r.Message, Jobs: r.Jobs, Detail: r.Detail}
	}
	return reasons, nil
}
