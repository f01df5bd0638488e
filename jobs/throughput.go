package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// Throughput is how many jobs were enqueued and ended in a window.
type Throughput struct {
	ThroughputPart
	StatsFrame
	Previous *ThroughputPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// ThroughputPart is the throughput of one window.
type ThroughputPart struct {
	StatsSpan
	Total   ThroughputTotal    `json:"total" doc:"The whole window."`
	Buckets []ThroughputBucket `json:"buckets" doc:"Its buckets, the oldest first, those too in which nothing happened."`
}

// ThroughputCounts are what happened in a time.
type ThroughputCounts struct {
	Enqueued       int64 `json:"enqueued" doc:"Jobs enqueued."`
	Completed      int64 `json:"completed" doc:"Jobs completed."`
	CompletedLater int64 `json:"completed_later" doc:"Those of them that were completed at an attempt after the first."`
	Dead           int64 `json:"dead" doc:"Jobs that died."`
	Cancelled      int64 `json:"cancelled" doc:"Jobs cancelled."`
	Failed         int64 `json:"failed" doc:"Attempts that failed."`
	TimedOut       int64 `json:"timed_out" doc:"Attempts that ran past their timeout."`
	Lost           int64 `json:"lost" doc:"Attempts that lost their lease."`
	Snoozed        int64 `json:"snoozed" doc:"Attempts that put their job off."`
	Released       int64 `json:"released" doc:"Attempts that gave their job back."`
	Rerun          int64 `json:"rerun" doc:"Jobs that were run again by hand: retried or redriven."`
}

// ThroughputBucket is one bucket.
type ThroughputBucket struct {
	At time.Time `json:"at" doc:"Its beginning."`
	ThroughputCounts
}

// ThroughputTotal is a whole window.
type ThroughputTotal struct {
	ThroughputCounts
	EnqueuedPerSecond  float64 `json:"enqueued_per_second" doc:"Mean rate over the window."`
	CompletedPerSecond float64 `json:"completed_per_second" doc:"Mean rate over the window."`
	FailureRatio       float64 `json:"failure_ratio" minimum:"0" maximum:"1" doc:"The fraction of the attempts that failed, ran past their timeout or lost their lease, of these and those that completed a job; 0 if there were none."`
}

func (c *ThroughputCounts) add(more ThroughputCounts) {
	c.Enqueued += more.Enqueued
	c.Completed += more.Completed
	c.CompletedLater += more.CompletedLater
	c.Dead += more.Dead
	c.Cancelled += more.Cancelled
	c.Failed += more.Failed
	c.TimedOut += more.TimedOut
	c.Lost += more.Lost
	c.Snoozed += more.Snoozed
	c.Released += more.Released
	c.Rerun += more.Rerun
}

// total sums up counts over a time.
func (c ThroughputCounts) total(span StatsSpan) ThroughputTotal {
	t := ThroughputTotal{ThroughputCounts: c}
	if seconds := span.Until.Sub(span.Since).Seconds(); seconds > 0 {
		t.EnqueuedPerSecond, t.CompletedPerSecond = float64(c.Enqueued)/seconds, float64(c.Completed)/seconds
	}
	if failures := c.Failed + c.TimedOut + c.Lost; failures > 0 {
		t.FailureRatio = float64(failures) / float64(failures+c.Completed)
	}
	return t
}

// Throughput returns how many jobs were enqueued and ended. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) Throughput(ctx context.Context, q StatsQuery) (Throughput, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Throughput{}, err
	}
	t := Throughput{StatsFrame: r.StatsFrame}
	if t.ThroughputPart, err = e.throughputOf(ctx, r); err != nil || !q.Previous {
		return t, err
	}
	before, err := e.throughputOf(ctx, r.before())
	t.Previous = &before
	return t, err
}

func (e *Engine) throughputOf(ctx context.Context, r statsRead) (ThroughputPart, error) {
	part := ThroughputPart{StatsSpan: r.StatsSpan}
	rows, err := e.throughputRows(ctx, r)
	if err != nil {
		return part, err
	}
	var sum ThroughputCounts
	buckets := make([]ThroughputBucket, len(rows))
	for i, row := range rows {
		buckets[i] = ThroughputBucket{row.At.UTC(), countsOf(row)}
		sum.add(buckets[i].ThroughputCounts)
	}
	part.Total = sum.total(r.StatsSpan)
	part.Buckets = fill(r, buckets, func(b ThroughputBucket) time.Time { return b.At }, func(at time.Time) ThroughputBucket { return ThroughputBucket{At: at} })
	return part, nil
}

// throughputRows are the buckets of a window in which anything happened.
func (e *Engine) throughputRows(ctx context.Context, r statsRead) ([]db.StatsThroughputRow, error) {
	rows, err := e.reads.StatsThroughput(ctx, db.StatsThroughputParams{
		BucketSeconds: int32(r.BucketSeconds), Since: r.Since, Until: r.Until, Grain: r.grain(), Bounds: r.bounds, Queue: r.queue, Kind: r.kind, Tenant: r.tenant,
	})
	if err != nil {
		return nil, statsError("reading throughput", err)
	}
	return rows, nil
}

func countsOf(r db.StatsThroughputRow) ThroughputCounts {
	return ThroughputCounts{
		Enqueued: r.Enqueued, Completed: r.Completed, CompletedLater: r.CompletedLater, Dead: r.Dead, Cancelled: r.Cancelled, Failed: r.Failed, TimedOut: r.TimedOut, Lost: r.Lost,
		Snoozed: r.Snoozed, Released: r.Released, Rerun: r.Rerun,
	}
}
