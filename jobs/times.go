package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// Times are how long jobs waited or ran in a window.
type Times struct {
	TimesPart
	StatsFrame
	PercentileError float64    `json:"percentile_error" doc:"A percentile is at most this fraction off: they come from histograms." example:"0.045"`
	Previous        *TimesPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// TimesPart is the times of one window.
type TimesPart struct {
	StatsSpan
	Total   TimesSummary  `json:"total" doc:"The whole window."`
	Buckets []TimesBucket `json:"buckets" doc:"Its buckets, the oldest first, those too in which nothing ended."`
}

// TimesSummary sums up some times.
type TimesSummary struct {
	Count          int64   `json:"count" doc:"How many times these are. If it is 0, the others are 0."`
	MeanSeconds    float64 `json:"mean_seconds" doc:"Mean."`
	P50Seconds     float64 `json:"p50_seconds" doc:"Median."`
	P90Seconds     float64 `json:"p90_seconds" doc:"90th percentile."`
	P95Seconds     float64 `json:"p95_seconds" doc:"95th percentile."`
	P99Seconds     float64 `json:"p99_seconds" doc:"99th percentile."`
	LongestSeconds float64 `json:"longest_seconds" doc:"The longest, exact."`
}

// TimesBucket is one bucket.
type TimesBucket struct {
	At time.Time `json:"at" doc:"Its beginning."`
	TimesSummary
}

// WaitTimes returns how long jobs were available before an attempt began. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) WaitTimes(ctx context.Context, q StatsQuery) (Times, error) {
	return e.times(ctx, q, false)
}

// RunTimes returns how long the attempts ran that completed a job. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) RunTimes(ctx context.Context, q StatsQuery) (Times, error) {
	return e.times(ctx, q, true)
}

func (e *Engine) times(ctx context.Context, q StatsQuery, runs bool) (Times, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Times{}, err
	}
	t := Times{StatsFrame: r.StatsFrame, PercentileError: PercentileError}
	if t.TimesPart, err = e.timesOf(ctx, r, runs); err != nil || !q.Previous {
		return t, err
	}
	before, err := e.timesOf(ctx, r.before(), runs)
	t.Previous = &before
	return t, err
}

func (e *Engine) timesOf(ctx context.Context, r statsRead, runs bool) (TimesPart, error) {
	part := TimesPart{StatsSpan: r.StatsSpan}
	rows, err := e.reads.StatsTimes(ctx, db.StatsTimesParams{
		Runs: runs, BucketSeconds: int32(r.BucketSeconds), Since: r.Since, Until: r.Until, Grain: r.grain(), Bounds: r.bounds, Queue: r.queue, Kind: r.kind, Tenant: r.tenant,
	})
	if err != nil {
		return part, statsError("reading times", err)
	}
	var buckets []TimesBucket
	for _, row := range rows {
		summary := TimesSummary{Count: row.Count, MeanSeconds: row.Mean, P50Seconds: row.P50, P90Seconds: row.P90, P95Seconds: row.P95, P99Seconds: row.P99, LongestSeconds: row.Longest}
		if row.At == nil {
			part.Total = summary
		} else {
			buckets = append(buckets, TimesBucket{row.At.UTC(), summary})
		}
	}
	part.Buckets = fill(r, buckets, func(b TimesBucket) time.Time { return b.At }, func(at time.Time) TimesBucket { return TimesBucket{At: at} })
	return part, nil
}
