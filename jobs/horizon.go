package jobs

import (
	"context"
	"time"
)

// horizonStep watches who holds back the xmin horizon: nothing that died since can be vacuumed, so every table that is written a lot grows.
type horizonStep struct {
	e        *Engine
	warnedAt time.Time
}

const (
	horizonEvery  = 5 * time.Second
	horizonLong   = time.Minute // a transaction open for longer is worth a warning,
	horizonAge    = 1_000_000   // or a slot that holds back this many transactions,
	horizonRepeat = 5 * time.Minute
)

func (s *horizonStep) step(ctx context.Context) (time.Duration, error) {
	rows, err := s.e.loops.Horizon(ctx)
	if err != nil {
		return 0, fromDB("looking at the horizon", err)
	}
	s.e.metrics.horizon.Reset()
	for _, h := range rows {
		s.e.metrics.horizon.WithLabelValues(value(h.What), value(h.Name), value(h.Application)).Set(float64(value(h.XminAge)))
		if (value(h.Seconds) > horizonLong.Seconds() || value(h.XminAge) > horizonAge) && s.e.clock.Since(s.warnedAt) > horizonRepeat {
			s.warnedAt = s.e.clock.Now()
			s.e.log.Warn("the xmin horizon is held back: dead rows cannot be vacuumed, and tables grow until it ends",
				"by", value(h.What), "name", value(h.Name), "application", value(h.Application), "state", value(h.State),
				"open_seconds", int(value(h.Seconds)), "xmin_age", value(h.XminAge))
		}
	}
	return horizonEvery, nil
}
