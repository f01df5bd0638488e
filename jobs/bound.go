package jobs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/access"
)

// CheckJob returns JobNotFound unless the caller may see a job: one of its tenant and its queues, and, for a producer
// that is nothing more, one that it enqueued itself. None of these facts ever changes. A worker sees jobs of its queues.
func (e *Engine) CheckJob(ctx context.Context, id ID) error {
	p := access.From(ctx)
	if p == nil || p.Tenant == "" && p.Queues == nil && !p.OnlyOwn() {
		return nil
	}
	job, err := e.q.JobBounds(ctx, int64(id))
	if errors.Is(err, pgx.ErrNoRows) {
		return refusalOf(id, false)
	}
	if err != nil {
		return fromDB("looking up a job", err)
	}
	own := !p.OnlyOwn() || p.Has(access.Worker) || value(job.Principal) == p.ID
	if !own || !p.MayUse(job.Queue) || p.Tenant != "" && value(job.Tenant) != p.Tenant {
		return refusalOf(id, false)
	}
	return nil
}

// CheckDeadLetter is CheckJob for a job as a dead letter: it returns DeadLetterNotFound.
func (e *Engine) CheckDeadLetter(ctx context.Context, id ID) error {
	err := e.CheckJob(ctx, id)
	if CodeOf(err) == JobNotFound {
		return noLetter(id)
	}
	return err
}

// bounds keep a caller to its own jobs, as weir.is_within takes them.
type bounds struct {
	Tenant    string   `json:"tenant,omitempty"`
	Queues    []string `json:"queues,omitzero"` // patterns of LIKE; nil: all
	Principal int32    `json:"principal"`
	Own       bool     `json:"own,omitempty"` // only what it enqueued itself
}

var likePattern = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`)

// boundsOf are the bounds of the caller, or nil if it may see all jobs.
func boundsOf(ctx context.Context) *bounds {
	p := access.From(ctx)
	if p == nil {
		return nil
	}
	b := &bounds{Tenant: p.Tenant, Principal: p.ID, Own: p.OnlyOwn() && !p.Has(access.Worker)}
	if b.Tenant == "" && p.Queues == nil && !b.Own {
		return nil
	}
	if p.Queues != nil {
		b.Queues = make([]string, len(p.Queues))
		for i, pattern := range p.Queues {
			b.Queues[i] = likePattern.Replace(pattern)
		}
	}
	return b
}

// CheckQueue returns QueueNotFound unless the caller may use a queue.
func (e *Engine) CheckQueue(ctx context.Context, name string) error {
	p := access.From(ctx)
	if p == nil || p.MayUse(name) && p.Tenant == "" {
		return nil
	}
	return &Error{Code: QueueNotFound, Message: fmt.Sprintf("there is no queue %q", name)}
}

// checkQueues returns Forbidden if the caller may not use one of some queues; place names where it is in the request.
func checkQueues(ctx context.Context, place string, queues ...string) error {
	p := access.From(ctx)
	if p == nil || p.Queues == nil {
		return nil
	}
	for i, name := range queues {
		if !p.MayUse(name) {
			return &Error{
				Code: Forbidden, Field: strings.ReplaceAll(place, "%d", strconv.Itoa(i)), Message: fmt.Sprintf("the key may not use the queue %q", name),
				Hint: "GET /v1/whoami shows the patterns of the queues that it may use.",
			}
		}
	}
	return nil
}
