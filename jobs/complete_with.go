package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// Additions are what a completion adds in its own transaction.
type Additions struct {
	Steps []NewStep // to the workflow of the job, which is a step of it
	Jobs  []NewJob  // follow-up jobs; their parent is the job and their tenant is its tenant, unless they name others
}

// CompleteWith completes a job and adds steps and jobs, in one transaction. The result has the ids of the jobs. Errors:
// those of AckOne, AddSteps and EnqueueBatch, with add_steps[3] or jobs[3] as the place of a step or a job.
func (e *Engine) CompleteWith(ctx context.Context, ack Ack, add Additions) (AckResult, error) {
	if err := ack.check(); err != nil {
		return AckResult{}, err
	}
	fence, err := e.checkedFence(ctx, ack.ID, ack.Token)
	if err != nil {
		return AckResult{}, err
	}
	ack.Token = Token{Number: fence}
	if err := bindSteps(ctx, "add_steps[%d]", add.Steps); err != nil {
		return AckResult{}, err
	}
	calls, err := e.followUps(ctx, ack.ID, add.Jobs)
	if err != nil {
		return AckResult{}, err
	}
	result := AckResult{ID: ack.ID, Status: AckOK}
	err = e.vault.twice(ctx, func() error {
		encrypted, err := e.vault.encryptAcks(ctx, []Ack{ack})
		if err != nil {
			return err
		}
		return pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
			result.JobIDs, err = e.completeWith(ctx, db.New(tx), encrypted, add.Steps, calls)
			return err
		})
	})
	if err != nil {
		if CodeOf(err) == Internal {
			err = fromDB("completing a job", err)
		}
		return AckResult{}, err
	}
	e.metrics.acks.WithLabelValues(string(Complete), string(AckOK)).Inc()
	e.metrics.enqueued.Add(float64(len(calls)))
	e.watcher.tell(ack.ID)
	e.claims.JobsEnded()
	return result, nil
}

// followUps are the jobs that a completion enqueues. A job has a parent of its own tenant or none, so one that names
// another tenant has no parent by default.
func (e *Engine) followUps(ctx context.Context, parent ID, list []NewJob) ([]enqueue, error) {
	if len(list) == 0 {
		return nil, nil
	}
	owner, err := db.New(e.pool).JobTenant(ctx, int64(parent))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) { // no such job: the completion says so
		return nil, fromDB("reading the tenant of a job", err)
	}
	calls := make([]enqueue, len(list))
	for i, job := range list {
		job.Tenant = cmp.Or(job.Tenant, value(owner))
		if job.ParentID == nil && (owner == nil || *owner == job.Tenant) {
			job.ParentID = &parent
		}
		call, err := job.call(ctx)
		if err != nil {
			return nil, renamed(err, "", fmt.Sprintf("jobs[%d].", i))
		}
		calls[i] = call
	}
	return calls, nil
}

func (e *Engine) completeWith(ctx context.Context, q *db.Queries, ack []Ack, steps []NewStep, calls []enqueue) ([]ID, error) {
	if len(steps) > 0 {
		if _, err := e.addSteps(ctx, q, ack[0].ID, ack[0].Token.Number, steps); err != nil {
			return nil, renamed(err, "steps[", "add_steps[")
		}
	}
	var ids []ID
	if len(calls) > 0 {
		enqueued, err := e.storeCalls(ctx, q, calls)
		if err != nil {
			return nil, fromDB("enqueueing", err)
		}
		for _, stored := range enqueued {
			ids = append(ids, stored.ID)
		}
	}
	groups, err := groupAcks(ack)
	if err != nil {
		return nil, err
	}
	results := make([]AckResult, 1)
	if err := groups[0].run(ctx, q, results); err != nil {
		return nil, fromDB("completing a job", err)
	}
	if results[0].Status != AckOK {
		return nil, refusalOf(ack[0].ID, results[0].Status == AckStale)
	}
	return ids, nil
}
