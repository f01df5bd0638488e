package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// ScheduleStats are how schedules fired in a window.
type ScheduleStats struct {
	ScheduleStatsPart
	Previous *ScheduleStatsPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// ScheduleStatsPart is how they fired in one window.
type ScheduleStatsPart struct {
	StatsSpan
	Schedules []ScheduleLateness `json:"schedules" doc:"The hundred latest schedules, the latest first, of those of which a slot was handled."`
	Other     int64              `json:"other" doc:"How many schedules there are beside these."`
}

// ScheduleLateness is how one schedule fired.
type ScheduleLateness struct {
	Name           string  `json:"name" doc:"Its name." example:"nightly-report"`
	Tenant         string  `json:"tenant,omitempty" doc:"Its tenant."`
	Runs           int64   `json:"runs" doc:"Slots that made a job or a workflow, or found its unique key taken; those triggered by hand too."`
	Manual         int64   `json:"manual" doc:"Those of them that were triggered by hand."`
	Skipped        int64   `json:"skipped" doc:"Slots skipped because the run before was active."`
	Missed         int64   `json:"missed" doc:"Records of slots that no node fired in time; a record may stand for several slots."`
	Refused        int64   `json:"refused" doc:"Slots whose job or workflow could not be enqueued."`
	MeanSeconds    float64 `json:"mean_seconds" doc:"How late they fired, of those that ran and were not triggered by hand: mean."`
	P50Seconds     float64 `json:"p50_seconds" doc:"Median."`
	P95Seconds     float64 `json:"p95_seconds" doc:"95th percentile."`
	LongestSeconds float64 `json:"longest_seconds" doc:"The latest."`
}

// maxScheduleStats bounds the schedules of an answer.
const maxScheduleStats = 100

// ScheduleStats returns how late schedules fired, exactly, from their slots. Errors: InvalidArgument.
func (e *Engine) ScheduleStats(ctx context.Context, q StatsQuery) (ScheduleStats, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return ScheduleStats{}, err
	}
	s := ScheduleStats{}
	if s.ScheduleStatsPart, err = e.scheduleStatsOf(ctx, r); err != nil || !q.Previous {
		return s, err
	}
	before, err := e.scheduleStatsOf(ctx, r.before())
	s.Previous = &before
	return s, err
}

func (e *Engine) scheduleStatsOf(ctx context.Context, r statsRead) (ScheduleStatsPart, error) {
	part := ScheduleStatsPart{StatsSpan: r.StatsSpan, Schedules: []ScheduleLateness{}}
	rows, err := e.reads.StatsSchedules(ctx, db.StatsSchedulesParams{Since: r.Since, Until: r.Until, Bounds: r.bounds, Most: maxScheduleStats})
	if err != nil {
		return part, statsError("reading the runs of schedules", err)
	}
	for _, s := range rows {
		part.Other = s.Schedules - int64(len(rows))
		part.Schedules = append(part.Schedules, ScheduleLateness{
			Name: s.Name, Tenant: s.Tenant, Runs: s.Runs, Manual: s.Manual, Skipped: s.Skipped, Missed: s.Missed, Refused: s.Refused,
			MeanSeconds: s.Mean, P50Seconds: s.P50, P95Seconds: s.P95, LongestSeconds: s.Longest,
		})
	}
	return part, nil
}
