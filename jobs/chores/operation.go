package chores

import (
	"context"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/clock"
)

const (
	// operationsEvery is how often a node looks for operations without a worker, started through the service or in SQL.
	operationsEvery = time.Second

	// longestPause is how long a worker waits between batches of a throttled operation. It returns a slower one, to be found again when it is due.
	longestPause = time.Minute

	// operationsAtOnce bounds the operations that a node works. They have a River queue of their own, so that they delay no other chore.
	operationsAtOnce = 8
	operationQueue   = "operations"
)

type operationArgs struct {
	ID string `json:"id"`
}

func (operationArgs) Kind() string { return "operation" }

// InsertOpts: nodes that find it in the same second insert it once. If the node that works it dies, a later look finds the operation overdue
// and inserts it again.
func (operationArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: operationQueue, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: operationsEvery}}
}

// operationWorker works an operation batch by batch, until the operation or the node ends.
type operationWorker struct {
	river.WorkerDefaults[operationArgs]
	engine *jobs.Engine
	clock  clock.Clock
	ending <-chan struct{}
}

func (w *operationWorker) Work(ctx context.Context, job *river.Job[operationArgs]) error {
	number, err := strconv.ParseInt(job.Args.ID, 10, 64)
	if err != nil {
		return river.JobCancel(err)
	}
	for {
		over, wait, err := w.engine.RunOperation(ctx, jobs.ID(number))
		if err != nil || over || wait > longestPause {
			return err
		}
		timer := w.clock.Timer(wait)
		select {
		case <-w.ending:
			timer.Stop()
			return nil // another node continues it
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// Timeout: none. An operation takes as long as it takes.
func (*operationWorker) Timeout(*river.Job[operationArgs]) time.Duration { return -1 }

// findOperations inserts a River job for each operation without a worker.
func (c *Chores) findOperations(ctx context.Context) (wait time.Duration, err error) {
	ids, err := c.engine.IdleOperations(ctx)
	for _, id := range ids {
		if err == nil {
			_, err = c.client.Insert(ctx, operationArgs{ID: id.String()}, nil)
		}
	}
	return operationsEvery, err
}
