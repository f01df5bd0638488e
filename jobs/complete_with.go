package jobs

import (
	"context"
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
	calls, err := followUps(ctx, add.Jobs)
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

// followUps are the jobs that a completion enqueues. The database gives them their parent and tenant (weir.follow_ups).
func followUps(ctx context.Context, list []NewJob) ([]enqueue, error) {
	calls := make([]enqueue, len(list))
	for i, job := range list {
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
		encrypted, err := e.vault.encryptCalls(ctx, calls)
		if err != nil {
			return nil, err
		}
		stored, err := q.EnqueueFollowUps(ctx, db.EnqueueFollowUpsParams{
			Parent: int64(ack[0].ID), Jobs: arrayOfJobs(encrypted), Principals: principalsOf(calls),
		})
		if err != nil {
			return nil, fromDB("enqueueing", err)
		}
		for _, id := range stored {
			ids = append(ids, ID(id))
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
