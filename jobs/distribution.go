package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// maxShares bounds the queues, the kinds and the tenants of an answer.
const maxShares = 50

// Distribution is how what happened in a window is spread over queues and kinds.
type Distribution struct {
	DistributionPart
	StatsFrame
	Previous *DistributionPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// DistributionPart is the distribution of one window.
type DistributionPart struct {
	StatsSpan
	Queues []Share `json:"queues" doc:"The fifty busiest queues, the busiest first, and other for the rest of them."`
	Kinds  []Share `json:"kinds" doc:"The fifty busiest kinds, the busiest first, and other for the rest of them."`
}

// Share is what a queue, a kind or a tenant did.
type Share struct {
	Name       string  `json:"name,omitempty" doc:"Of the queue, the kind or the tenant; absent: of the others." example:"mail"`
	Other      bool    `json:"other,omitempty" doc:"These are all others, added up."`
	Share      float64 `json:"share" minimum:"0" maximum:"1" doc:"Its fraction of the jobs that ended."`
	RunSeconds float64 `json:"run_seconds" doc:"How long the attempts ran that completed its jobs, all added up."`
	ThroughputTotal
}

// Distribution returns how what happened is spread over queues and kinds. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) Distribution(ctx context.Context, q StatsQuery) (Distribution, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return Distribution{}, err
	}
	d := Distribution{StatsFrame: r.StatsFrame}
	if d.DistributionPart, err = e.distributionOf(ctx, r); err != nil || !q.Previous {
		return d, err
	}
	before, err := e.distributionOf(ctx, r.before())
	d.Previous = &before
	return d, err
}

func (e *Engine) distributionOf(ctx context.Context, r statsRead) (part DistributionPart, err error) {
	part.StatsSpan = r.StatsSpan
	if part.Queues, err = e.sharesOf(ctx, r, byQueue); err == nil {
		part.Kinds, err = e.sharesOf(ctx, r, byKind)
	}
	return part, err
}

// What shares are of.
const (
	byQueue  = "queue"
	byKind   = "kind"
	byTenant = "tenant"
)

// sharesOf returns the busiest queues, kinds or tenants, and the others as one.
func (e *Engine) sharesOf(ctx context.Context, r statsRead, groups string) ([]Share, error) {
	rows, err := e.reads.StatsGroups(ctx, db.StatsGroupsParams{
		Groups: groups, Since: r.Since, Until: r.Until, Grain: r.grainOfAll(), Bounds: r.bounds, Queue: r.queue, Kind: r.kind, Tenant: r.tenant,
	})
	if err != nil {
		return nil, statsError("reading the distribution", err)
	}
	shares, ended := []Share{}, int64(0)
	for i, g := range rows {
		counts := ThroughputCounts{
			Enqueued: g.Enqueued, Completed: g.Completed, CompletedLater: g.CompletedLater, Dead: g.Dead, Cancelled: g.Cancelled, Failed: g.Failed, TimedOut: g.TimedOut, Lost: g.Lost,
			Snoozed: g.Snoozed, Released: g.Released, Rerun: g.Rerun,
		}
		ended += counts.ended()
		switch {
		case i < maxShares:
			shares = append(shares, Share{Name: g.Name})
		case i == maxShares:
			shares = append(shares, Share{Other: true})
		}
		last := &shares[len(shares)-1]
		last.add(counts)
		last.RunSeconds += g.RunSeconds
	}
	for i := range shares {
		shares[i].ThroughputTotal = shares[i].total(r.StatsSpan)
		if ended > 0 {
			shares[i].Share = float64(shares[i].ended()) / float64(ended)
		}
	}
	return shares, nil
}

// ended is how many jobs ended.
func (c ThroughputCounts) ended() int64 { return c.Completed + c.Dead + c.Cancelled }
