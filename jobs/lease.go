package jobs

import (
	"context"
	"time"

	"github.com/weirhq/weir/db"
)

// leaseStep takes back the jobs whose leases ran out, by the database's clock.
type leaseStep struct {
	e    *Engine
	look *lookback
}

func (s *leaseStep) step(ctx context.Context) (time.Duration, error) {
	row, err := s.e.loops.ExpireLeases(ctx, db.ExpireLeasesParams{MaxJobs: loopBatch, After: s.look.from()})
	if err != nil {
		return 0, fromDB("expiring leases", err)
	}
	s.look.set(row.LookedUntil)
	s.e.metrics.expired.Add(float64(row.Expired))
	if row.Expired > 0 {
		s.e.log.Info("took back jobs whose leases ran out", "jobs", row.Expired)
	}
	if row.Expired == loopBatch {
		return 0, nil
	}
	return s.e.due.rest(500 * time.Millisecond), nil
}
