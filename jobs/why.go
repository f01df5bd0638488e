package jobs

import (
	"context"
	"encoding/json"
)

// Reason is one thing that keeps a job from running now.
type Reason struct {
	Code    string          `json:"code" doc:"What it is, for programs: scheduled, retry_wait, held_dependency, held_line, held_breaker, held_signal, no_node, queue_paused, backlog_ahead, no_worker; next: nothing keeps it; running and ended: it does or did run. New ones may come." example:"backlog_ahead"`
	Message string          `json:"message" doc:"What it is, for people."`
	Detail  json.RawMessage `json:"detail,omitempty" doc:"More about it, depending on the code: run_at, reason and resume_at of a pause, ahead and or_more of a backlog (counted up to 100,000), key of what it is held for, worker; of a line its key and tenant, which limit keeps it (per_key, key_rate, tenant, concurrency, rate, or turn: none), allowed and in_flight."`
}

// Why returns each reason why a job does not run now, the most particular first. Errors: JobNotFound.
func (e *Engine) Why(ctx context.Context, id ID) ([]Reason, error) {
	rows, err := e.reads.Why(ctx, int64(id))
	if err != nil {
		return nil, fromDB("asking why a job does not run", err)
	}
	reasons := make([]Reason, len(rows))
	for i, r := range rows {
		reasons[i] = Reason{Code: r.Code, Message: r.Message, Detail: r.Detail}
	}
	return reasons, nil
}
