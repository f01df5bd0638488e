package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// WorkflowStats are how workflows ended in a window.
type WorkflowStats struct {
	WorkflowStatsPart
	Previous *WorkflowStatsPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// WorkflowStatsPart is how they ended in one window.
type WorkflowStatsPart struct {
	StatsSpan
	Ended     int64           `json:"ended" doc:"Workflows that ended."`
	Workflows []WorkflowsEnds `json:"workflows" doc:"The fifty names with most of them, the most first."`
	Other     int64           `json:"other" doc:"How many ended under other names."`
}

// WorkflowsEnds is how the workflows of a name ended.
type WorkflowsEnds struct {
	Name           string  `json:"name" doc:"Their name." example:"order"`
	Completed      int64   `json:"completed" doc:"Those that completed."`
	Failed         int64   `json:"failed" doc:"Those that failed."`
	Cancelled      int64   `json:"cancelled" doc:"Those that were cancelled."`
	MeanSeconds    float64 `json:"mean_seconds" doc:"How long they took from submission to end: mean."`
	P50Seconds     float64 `json:"p50_seconds" doc:"Median."`
	P95Seconds     float64 `json:"p95_seconds" doc:"95th percentile."`
	LongestSeconds float64 `json:"longest_seconds" doc:"The longest."`
}

// WorkflowStats returns how workflows ended, exactly, from their records, which retention takes. Errors: InvalidArgument.
func (e *Engine) WorkflowStats(ctx context.Context, q StatsQuery) (WorkflowStats, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return WorkflowStats{}, err
	}
	s := WorkflowStats{}
	if s.WorkflowStatsPart, err = e.workflowStatsOf(ctx, r); err != nil || !q.Previous {
		return s, err
	}
	before, err := e.workflowStatsOf(ctx, r.before())
	s.Previous = &before
	return s, err
}

func (e *Engine) workflowStatsOf(ctx context.Context, r statsRead) (WorkflowStatsPart, error) {
	part := WorkflowStatsPart{StatsSpan: r.StatsSpan, Workflows: []WorkflowsEnds{}}
	rows, err := e.reads.StatsWorkflows(ctx, db.StatsWorkflowsParams{Since: r.Since, Until: r.Until, Bounds: r.bounds, Most: maxShares})
	if err != nil {
		return part, statsError("reading the ends of workflows", err)
	}
	for _, w := range rows {
		part.Ended, part.Other = w.EndedOfAll, part.Other+w.Completed+w.Failed+w.Cancelled
		part.Workflows = append(part.Workflows, WorkflowsEnds{
			Name: w.Name, Completed: w.Completed, Failed: w.Failed, Cancelled: w.Cancelled, MeanSeconds: w.Mean, P50Seconds: w.P50, P95Seconds: w.P95, LongestSeconds: w.Longest,
		})
	}
	part.Other = part.Ended - part.Other
	return part, nil
}
