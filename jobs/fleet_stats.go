package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// FleetStats are what each worker did in a window.
type FleetStats struct {
	FleetStatsPart
	StatsFrame
	PercentileError float64         `json:"percentile_error" doc:"A percentile is at most this fraction off: they come from histograms." example:"0.045"`
	Previous        *FleetStatsPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// FleetStatsPart is what workers did in one window.
type FleetStatsPart struct {
	StatsSpan
	Workers []WorkerShare `json:"workers" doc:"The hundred busiest workers, the busiest first, of those of which an attempt ended."`
	Other   WorkerCounts  `json:"other" doc:"The rest of them, added up."`
}

// WorkerCounts are the attempts of one or more workers that ended in a time.
type WorkerCounts struct {
	Completed    int64   `json:"completed" doc:"Jobs completed."`
	Failed       int64   `json:"failed" doc:"Attempts that failed."`
	TimedOut     int64   `json:"timed_out" doc:"Attempts that ran past their timeout."`
	Lost         int64   `json:"lost" doc:"Attempts that lost their lease."`
	Snoozed      int64   `json:"snoozed" doc:"Attempts that put their job off."`
	Released     int64   `json:"released" doc:"Attempts that gave their job back."`
	BusySeconds  float64 `json:"busy_seconds" doc:"How long all these attempts ran, added up. An attempt counts as a whole when it ends."`
	FailureRatio float64 `json:"failure_ratio" minimum:"0" maximum:"1" doc:"The fraction of the attempts that failed, ran past their timeout or lost their lease, of these and those that completed a job; 0 if there were none."`
}

// WorkerShare is what one worker did, and what it is now.
type WorkerShare struct {
	Name               string  `json:"name" doc:"Its name; (others): those beyond the thousand busiest of a minute." example:"mailer-1"`
	State              string  `json:"state" enum:"active,paused,draining,lost,gone" doc:"Its state now; gone: it was removed, or expired."`
	Version            string  `json:"version,omitempty" doc:"The version that it gave at registration." example:"2.4.1"`
	Tenant             string  `json:"tenant,omitempty" doc:"The tenant that registered it."`
	Capacity           *int32  `json:"capacity,omitempty" doc:"How many jobs it may hold at once; absent: no limit."`
	Running            int64   `json:"running" doc:"Jobs that it holds now."`
	CompletedPerSecond float64 `json:"completed_per_second" doc:"Mean rate over the window."`
	Utilization        float64 `json:"utilization" doc:"How many of its attempts ran at once, on average: busy_seconds divided by the window."`
	MeanSeconds        float64 `json:"mean_seconds" doc:"How long the attempts ran that completed a job: mean."`
	P95Seconds         float64 `json:"p95_seconds" doc:"95th percentile."`
	LongestSeconds     float64 `json:"longest_seconds" doc:"The longest."`
	WorkerCounts
}

// maxWorkerStats bounds the workers of an answer.
const maxWorkerStats = 100

// FleetStats returns what each worker did. Errors: InvalidArgument.
func (e *Engine) FleetStats(ctx context.Context, q StatsQuery) (FleetStats, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return FleetStats{}, err
	}
	s := FleetStats{StatsFrame: r.StatsFrame, PercentileError: PercentileError}
	if s.FleetStatsPart, err = e.workerStatsOf(ctx, r); err != nil || !q.Previous {
		return s, err
	}
	before, err := e.workerStatsOf(ctx, r.before())
	s.Previous = &before
	return s, err
}

func (e *Engine) workerStatsOf(ctx context.Context, r statsRead) (FleetStatsPart, error) {
	part := FleetStatsPart{StatsSpan: r.StatsSpan, Workers: []WorkerShare{}}
	rows, err := e.reads.StatsWorkers(ctx, db.StatsWorkersParams{Since: r.Since, Until: r.Until, WholeHours: r.wholeHours(), Bounds: r.bounds, Tenant: r.tenant, Most: maxWorkerStats})
	if err != nil {
		return part, statsError("reading what workers did", err)
	}
	seconds := r.Until.Sub(r.Since).Seconds()
	for i, w := range rows {
		counts := WorkerCounts{
			Completed: w.Completed, Failed: w.Failed, TimedOut: w.TimedOut, Lost: w.Lost, Snoozed: w.Snoozed, Released: w.Released, BusySeconds: w.BusySeconds,
		}
		if i == 0 {
			part.Other = WorkerCounts{
				Completed: w.CompletedOfAll, Failed: w.FailedOfAll, TimedOut: w.TimedOutOfAll, Lost: w.LostOfAll, Snoozed: w.SnoozedOfAll, Released: w.ReleasedOfAll, BusySeconds: w.BusySecondsOfAll,
			}
		}
		part.Other.subtract(counts)
		counts.rate()
		part.Workers = append(part.Workers, WorkerShare{
			Name: w.Name, State: w.State, Version: w.Version, Tenant: w.Tenant, Capacity: w.Capacity, Running: w.Running,
			CompletedPerSecond: float64(w.Completed) / seconds, Utilization: w.BusySeconds / seconds,
			MeanSeconds: w.MeanRun, P95Seconds: w.P95Run, LongestSeconds: w.Longest, WorkerCounts: counts,
		})
	}
	part.Other.rate()
	return part, nil
}

func (c *WorkerCounts) subtract(less WorkerCounts) {
	c.Completed -= less.Completed
	c.Failed -= less.Failed
	c.TimedOut -= less.TimedOut
	c.Lost -= less.Lost
	c.Snoozed -= less.Snoozed
	c.Released -= less.Released
	c.BusySeconds = max(c.BusySeconds-less.BusySeconds, 0)
}

func (c *WorkerCounts) rate() {
	failures := c.Failed + c.TimedOut + c.Lost
	c.FailureRatio = ratio(failures, failures+c.Completed)
}
