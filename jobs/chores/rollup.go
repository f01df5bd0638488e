package chores

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/jobs"
)

const rollupEvery = time.Minute

type rollupArgs struct{}

func (rollupArgs) Kind() string { return "rollup" }

// InsertOpts: one at a time; the next run makes up for one that was missed.
func (rollupArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: rollupEvery}}
}

type rollupWorker struct {
	river.WorkerDefaults[rollupArgs]
	engine *jobs.Engine
}

func (w *rollupWorker) Work(ctx context.Context, _ *river.Job[rollupArgs]) error {
	return w.engine.RollUp(ctx)
}

// Timeout leaves room for a step over an unusually busy minute.
func (*rollupWorker) Timeout(*river.Job[rollupArgs]) time.Duration { return 10 * time.Minute }

func rollupPeriod() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(rollupEvery),
		func() (river.JobArgs, *river.InsertOpts) { return rollupArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}
