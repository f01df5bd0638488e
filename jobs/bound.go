package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// CheckJob returns JobNotFound unless the caller may see a job: one of its tenant and its queues, and, for a producer
// that is nothing more, one that it enqueued itself. None of these facts ever changes. A worker sees jobs of its queues.
func (e *Engine) CheckJob(ctx context.Context, id ID) error {
	p := access.From(ctx)
	if p == nil || p.Tenant == "" && !p.Limited() && !p.OnlyOwn() {
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

// CheckWorkflow returns WorkflowNotFound unless the caller may see a workflow: one of its tenant whose steps are all in its
// queues, and, for a producer that is nothing more, one that it submitted itself.
func (e *Engine) CheckWorkflow(ctx context.Context, id ID) error {
	bounds, err := encodedBounds(ctx)
	if err != nil || bounds == nil {
		return err
	}
	within, err := e.q.WorkflowIsWithin(ctx, db.WorkflowIsWithinParams{ID: int64(id), Bounds: bounds})
	if err != nil {
		return fromDB("looking up a workflow", err)
	}
	if !within {
		return noWorkflow(id)
	}
	return nil
}

// bind gives the steps of a workflow the tenant that the caller is bound to and its circuit breakers, and checks their queues.
func (w *NewWorkflow) bind(ctx context.Context) error {
	w.Steps = slices.Clone(w.Steps)
	return bindSteps(ctx, "steps[%d]", w.Steps)
}

func bindSteps(ctx context.Context, place string, steps []NewStep) error {
	p := access.From(ctx)
	if p == nil || p.Tenant == "" && !p.Limited() {
		return nil
	}
	for i := range steps {
		s, at := &steps[i], fmt.Sprintf(place, i)
		if p.Tenant != "" {
			s.Tenant = p.Tenant
		}
		var err error
		if s.Breaker, err = ownBreaker(p, at+".breaker", s.Breaker); err != nil {
			return err
		}
		if s.Kind != "" || s.Queue != "" { // a step without a worker waits in no queue
			if err := checkQueues(ctx, at+".queue", NewJob{Queue: s.Queue}.queue()); err != nil {
				return err
			}
		}
		if s.Workflow != nil {
			child := *s.Workflow
			child.Steps, s.Workflow = slices.Clone(child.Steps), &child
			if err := bindSteps(ctx, at+".workflow.steps[%d]", child.Steps); err != nil {
				return err
			}
		}
	}
	return nil
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
	if b.Tenant == "" && !p.Limited() && !b.Own {
		return nil
	}
	if p.Limited() {
		b.Queues = make([]string, len(p.Queues))
		for i, pattern := range p.Queues {
			b.Queues[i] = likePattern.Replace(pattern)
		}
	}
	return b
}

// Ref names a record that a tenant may own. An empty tenant stands for that of the caller.
type Ref struct{ Tenant, Name string }

// of is the record that a caller means.
func (r Ref) of(ctx context.Context) Ref {
	if p := access.From(ctx); p != nil && r.Tenant == "" {
		r.Tenant = p.Tenant
	}
	return r
}

// checkSearch returns Forbidden if the caller looks for something in args and errors, and may not see them.
func checkSearch(ctx context.Context, field string, looks bool) error {
	if p := access.From(ctx); !looks || p == nil || !p.Redact {
		return nil
	}
	return &Error{Code: Forbidden, Field: field, Message: "the key sees no args and errors, and so cannot search in them"}
}

// encodedBounds are boundsOf as SQL takes them: null if the caller may see everything.
func encodedBounds(ctx context.Context) (json.RawMessage, error) {
	b := boundsOf(ctx)
	if b == nil {
		return nil, nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding the bounds of a caller: %w", err)
	}
	return text, nil
}

// CheckQueue returns QueueNotFound unless the caller may use a queue and all that is in it: one of its queues, and where it has a tenant one that belongs
// to that.
func (e *Engine) CheckQueue(ctx context.Context, name string) error {
	p := access.From(ctx)
	if p == nil {
		return nil
	}
	if p.MayUse(name) {
		if p.Tenant == "" {
			return nil
		}
		owners, err := e.tenantsOfQueues(ctx, name)
		if err != nil || owners[name] == p.Tenant {
			return err
		}
	}
	return &Error{Code: QueueNotFound, Message: fmt.Sprintf("there is no queue %q", name)}
}

// tenantsOfQueues are the tenants of those of some queues that belong to one.
func (e *Engine) tenantsOfQueues(ctx context.Context, names ...string) (map[string]string, error) {
	rows, err := e.q.TenantsOfQueues(ctx, names)
	if err != nil {
		return nil, fromDB("looking up the tenants of queues", err)
	}
	owners := make(map[string]string, len(rows))
	for _, r := range rows {
		owners[r.Name] = r.Tenant
	}
	return owners, nil
}

// checkWork returns Forbidden unless a worker with a tenant may claim all jobs of some queues: of those that belong to its tenant, and of shared ones that
// its key names.
func (e *Engine) checkWork(ctx context.Context, queues []string) error {
	p := access.From(ctx)
	if p == nil || p.Tenant == "" {
		return nil
	}
	owners, err := e.tenantsOfQueues(ctx, queues...)
	if err != nil {
		return err
	}
	for i, name := range queues {
		if owner := owners[name]; owner != p.Tenant && (owner != "" || p.Queues == nil) {
			return &Error{
				Code: Forbidden, Field: fmt.Sprintf("queues[%d]", i),
				Message: fmt.Sprintf("the key is bound to a tenant, and the queue %q does not belong to that tenant", name),
				Hint:    "A worker gets every job of a queue, whatever its tenant: let the queue belong to this tenant, or name it in the key.",
			}
		}
	}
	return nil
}

// checkQueues returns Forbidden if the caller may not use one of some queues; place names where it is in the request.
func checkQueues(ctx context.Context, place string, queues ...string) error {
	p := access.From(ctx)
	if p == nil || !p.Limited() {
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
