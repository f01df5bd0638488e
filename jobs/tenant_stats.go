package jobs

import "context"

// TenantStats are what each tenant did in a window.
type TenantStats struct {
	TenantStatsPart
	StatsFrame
	Previous *TenantStatsPart `json:"previous,omitempty" doc:"With compare=previous: the window before."`
}

// TenantStatsPart is what tenants did in one window.
type TenantStatsPart struct {
	StatsSpan
	Tenants []Share `json:"tenants" doc:"The fifty busiest tenants, the busiest first, and other for the rest of them. Jobs without a tenant are in none."`
}

// TenantStats returns what each tenant did. Errors: InvalidArgument, QueueNotFound.
func (e *Engine) TenantStats(ctx context.Context, q StatsQuery) (TenantStats, error) {
	r, err := e.readStats(ctx, q)
	if err != nil {
		return TenantStats{}, err
	}
	s := TenantStats{StatsFrame: r.StatsFrame, TenantStatsPart: TenantStatsPart{StatsSpan: r.StatsSpan}}
	if s.Tenants, err = e.sharesOf(ctx, r, byTenant); err != nil || !q.Previous {
		return s, err
	}
	before := r.before()
	s.Previous = &TenantStatsPart{StatsSpan: before.StatsSpan}
	s.Previous.Tenants, err = e.sharesOf(ctx, before, byTenant)
	return s, err
}
