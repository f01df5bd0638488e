package chores

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/weirhq/weir/jobs"
)

const retentionEvery = 10 * time.Minute

type retentionArgs struct{}

func (retentionArgs) Kind() string { return "retention" }

// InsertOpts: one at a time; the next run makes up for one that was missed.
func (retentionArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: retentionEvery}}
}

type retentionWorker struct {
	river.WorkerDefaults[retentionArgs]
	engine *jobs.Engine
}

func (w *retentionWorker) Work(ctx context.Context, _ *river.Job[retentionArgs]) error {
	return w.engine.Retain(ctx)
}

// Timeout is long: a rewrite reads the outcomes of a whole partition.
func (w *retentionWorker) Timeout(*river.Job[retentionArgs]) time.Duration { return retentionEvery }

func retentionPeriod() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(retentionEvery),
		func() (river.JobArgs, *river.InsertOpts) { return retentionArgs{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})
}
