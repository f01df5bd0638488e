package chores

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/jobs"
)

const sealEvery = 10 * time.Minute

type sealArgs struct{}

func (sealArgs) Kind() string { return "seal" }

// InsertOpts: the next run makes up for one that was missed. One that starts beside a long one finds that it is not its turn.
func (sealArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: sealEvery}}
}

type sealWorker struct {
	river.WorkerDefaults[sealArgs]
	engine *jobs.Engine
	ending <-chan struct{}
}

// Work ends with the node. The next run rebuilds what was cut off.
func (w *sealWorker) Work(ctx context.Context, _ *river.Job[sealArgs]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	return w.engine.Seal(ctx)
}

// Timeout: none. It takes as long as the largest partition needs.
func (*sealWorker) Timeout(*river.Job[sealArgs]) time.Duration { return -1 }

func sealPeriod() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(sealEvery),
		func() (river.JobArgs, *river.InsertOpts) { return sealArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}
