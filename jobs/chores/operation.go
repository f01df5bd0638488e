package chores

import (
	"context"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/jobs"
)

const (
	// lookForOperations is how often a node looks for operations that nobody is at, whoever started them: this service, or somebody in SQL.
	lookForOperations = time.Second

	// longestPause is how long a worker waits where an operation must not go faster. It leaves a slower one, for a later look to bring back.
	longestPause = time.Minute

	// operationsAtOnce bounds the operations that a node is at. They have a River queue of their own, so that they keep no other chore waiting.
	operationsAtOnce = 8
	operationQueue   = "operations"
)

type operationArgs struct {
	ID string `json:"id"`
}

func (operationArgs) Kind() string { return "operation" }

// InsertOpts: nodes that look at the same time insert it once. That is not for ever, because the node that works it may die: then a later look finds that
// the operation is overdue, and inserts it again.
func (operationArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: operationQueue, MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: lookForOperations}}
}

// operationWorker does an operation batch by batch, until its end or the node's.
type operationWorker struct {
	river.WorkerDefaults[operationArgs]
	engine *jobs.Engine
	ending <-chan struct{}
}

func (w *operationWorker) Work(ctx context.Context, job *river.Job[operationArgs]) error {
	number, err := strconv.ParseInt(job.Args.ID, 10, 64)
	if err != nil {
		return river.JobCancel(err)
	}
	for {
		over, wait, err := w.engine.WorkOperation(ctx, jobs.ID(number))
		if err != nil || over || wait > longestPause {
			return err
		}
		select {
		case <-w.ending:
			return nil // another node finds it
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Timeout: none. What bounds it is the operation.
func (*operationWorker) Timeout(*river.Job[operationArgs]) time.Duration { return -1 }

// findOperations inserts a job for each operation that nobody is at.
func (c *Chores) findOperations(ctx context.Context) (wait time.Duration, err error) {
	ids, err := c.engine.IdleOperations(ctx)
	for _, id := range ids {
		if err == nil {
			_, err = c.client.Insert(ctx, operationArgs{ID: id.String()}, nil)
		}
	}
	return lookForOperations, err
}
