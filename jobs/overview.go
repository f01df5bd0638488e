package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// Overview is the first page of a dashboard.
type Overview struct {
	OverviewPart
	StatsFrame
	PercentileError float64       `json:"percentile_error" doc:"A percentile is at most this fraction off: they come from histograms." example:"0.045"`
	Jobs            *DepthByState `json:"jobs,omitempty" doc:"Jobs that wait or run now; absent with a kind, as they are not counted by kind. With a tenant: those in its own queues."`
	MostWaiting     []WaitingIn   `json:"most_waiting" doc:"The ten queues with the most available jobs; with a tenant, of its own."`
	OldestWaiting   []WaitingIn   `json:"oldest_waiting" doc:"The ten queues with the oldest available jobs; with a tenant, of its own."`
	Workers         WorkersStates `json:"workers" doc:"Workers by state."`
	BreakersOpen    *int64        `json:"breakers_open,omitempty" doc:"Circuit breakers that are open or half-open; absent for a key that is bound to queues."`
	SchedulesDue    int64         `json:"schedules_due" doc:"Schedules whose time has come and that have not fired yet."`
	Version         string        `json:"version" doc:"The version of weir of the node that answers." example:"0.1.0"`
	Previous        *OverviewPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// OverviewPart is what happened in one window.
type OverviewPart struct {
	StatsSpan
	Throughput ThroughputTotal `json:"throughput" doc:"What happened in the window, with rates and the failure ratio."`
	WaitTimes  TimesSummary    `json:"wait_times" doc:"How long jobs were available before an attempt began."`
	RunTimes   TimesSummary    `json:"run_times" doc:"How long the attempts ran that completed a job."`
}

// DepthByState counts the jobs that have not ended, and the dead letters.
type DepthByState struct {
	Available int64 `json:"available" doc:"Jobs that may be claimed."`
	Running   int64 `json:"running" doc:"Jobs that a worker has."`
	Scheduled int64 `json:"scheduled" doc:"Jobs that wait for a time."`
	Retryable int64 `json:"retryable" doc:"Jobs that failed and wait for a retry."`
	Held      int64 `json:"held" doc:"Jobs that wait for something else."`
	Dead      int64 `json:"dead" doc:"Dead letters."`
	Exact     bool  `json:"exact" doc:"Whether the counts are exact. They stop at the bounds of the counts of queues; then there are at least as many."`
	// CountedAt is nil where all was counted for this answer.
	CountedAt *time.Time `json:"counted_at,omitempty" doc:"When counts of more than 2,000 jobs were made, up to 30 s ago; absent: for this answer."`
}

// WaitingIn is a queue in which jobs wait.
type WaitingIn struct {
	Queue                  string  `json:"queue" doc:"The queue." example:"mail"`
	Paused                 bool    `json:"paused" doc:"Claims take nothing from it."`
	Available              int64   `json:"available" doc:"Jobs that may be claimed, counted up to 100,000."`
	OldestAvailableSeconds float64 `json:"oldest_available_seconds" doc:"Age of the oldest job that is next in its priority."`
}

// WorkersStates counts workers by state.
type WorkersStates struct {
	Active   int64 `json:"active" doc:"Active workers."`
	Paused   int64 `json:"paused" doc:"Paused workers."`
	Draining int64 `json:"draining" doc:"Draining workers."`
	Lost     int64 `json:"lost" doc:"Workers that were not seen for 30 s."`
}

// maxWaitingQueues bounds the queues of an overview.
const maxWaitingQueues = 10

// Overview returns the first page of a dashboard. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) Overview(ctx context.Context, q StatsQuery) (Overview, error) {
	if hours := q.WindowSeconds / 3600; hours >= 6 && hours <= maxStatsBuckets/2 {
		q.BucketSeconds = 3600 // only the sums are shown: whole hours are fewer rows
	}
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{StatsFrame: r.StatsFrame, PercentileError: PercentileError, MostWaiting: []WaitingIn{}, OldestWaiting: []WaitingIn{}}
	if o.OverviewPart, err = e.overviewOf(ctx, r); err != nil {
		return o, err
	}
	if q.Previous {
		before, err := e.overviewOf(ctx, r.before())
		if err != nil {
			return o, err
		}
		o.Previous = &before
	}
	if err := e.addDepths(ctx, r, &o); err != nil {
		return o, err
	}
	fleet, err := e.reads.StatsFleet(ctx, r.bounds)
	if err != nil {
		return o, statsError("counting workers", err)
	}
	o.Workers, o.SchedulesDue = WorkersStates{Active: fleet.Active, Paused: fleet.Paused, Draining: fleet.Draining, Lost: fleet.Lost}, fleet.SchedulesDue
	if p := access.From(ctx); p == nil || !p.Limited() {
		o.BreakersOpen = &fleet.BreakersOpen
	}
	return o, nil
}

func (e *Engine) overviewOf(ctx context.Context, r statsRead) (OverviewPart, error) {
	t, err := e.reads.StatsTotals(ctx, db.StatsTotalsParams{
		Since: r.Since, Until: r.Until, Grain: r.grainOfAll(), Bounds: r.bounds, Queue: r.queue, Kind: r.kind, Tenant: r.tenant,
	})
	if err != nil {
		return OverviewPart{}, statsError("summing up a window", err)
	}
	counts := ThroughputCounts{
		Enqueued: t.Enqueued, Completed: t.Completed, CompletedLater: t.CompletedLater, Dead: t.Dead, Cancelled: t.Cancelled, Failed: t.Failed, TimedOut: t.TimedOut, Lost: t.Lost,
		Snoozed: t.Snoozed, Released: t.Released, Rerun: t.Rerun,
	}
	return OverviewPart{
		StatsSpan: r.StatsSpan, Throughput: counts.total(r.StatsSpan),
		WaitTimes: TimesSummary{t.Waits, t.WaitMean, t.WaitP50, t.WaitP90, t.WaitP95, t.WaitP99, t.WaitLongest},
		RunTimes:  TimesSummary{t.Runs, t.RunMean, t.RunP50, t.RunP90, t.RunP95, t.RunP99, t.RunLongest},
	}, nil
}

// addDepths adds the jobs that wait and run now.
func (e *Engine) addDepths(ctx context.Context, r statsRead, o *Overview) error {
	rows, err := e.reads.StatsQueues(ctx, db.StatsQueuesParams{Bounds: r.bounds, Queue: r.queue, Tenant: r.tenant, Most: maxWaitingQueues})
	if err != nil {
		return statsError("counting jobs", err)
	}
	if r.kind == nil {
		o.Jobs = &DepthByState{Exact: true}
	}
	oldest := make([]WaitingIn, maxWaitingQueues)
	for _, q := range rows {
		if o.Jobs != nil {
			*o.Jobs = DepthByState{Available: q.AllAvailable, Running: q.AllRunning, Scheduled: q.AllScheduled, Retryable: q.AllRetryable, Held: q.AllHeld, Dead: q.AllDead, Exact: q.Exact, CountedAt: utc(q.CountedAt)}
		}
		if q.Available == 0 {
			continue
		}
		one := WaitingIn{Queue: q.Queue, Paused: q.Paused, Available: q.Available, OldestAvailableSeconds: q.OldestSeconds}
		if q.ByWaiting <= maxWaitingQueues {
			o.MostWaiting = append(o.MostWaiting, one)
		}
		if q.ByAge <= maxWaitingQueues {
			oldest[q.ByAge-1] = one
		}
	}
	for _, one := range oldest {
		if one.Queue != "" {
			o.OldestWaiting = append(o.OldestWaiting, one)
		}
	}
	return nil
}
