package jobs

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/db"
)

// admitStep admits jobs of queues with limits (see sql/functions/admission.sql), for workers that claim over SQL, and as the fallback for
// claims through a node: a claimer runs a pass before it claims.
type admitStep struct{ e *Engine }

const (
	admitEvery  = 100 * time.Millisecond
	admitQuick  = 5 * time.Millisecond // while admitted jobs are claimed
	admitPasses = 100                  // of one queue in a row
	recountEach = 30 * time.Second
)

func (s *admitStep) step(ctx context.Context) (time.Duration, error) {
	rows, err := s.e.loops.Admissions(ctx)
	if err != nil {
		return 0, fromDB("asking which queues have limits", err)
	}
	governed := map[string]bool{}
	wait := admitEvery
	for _, r := range rows {
		if r.Governed {
			governed[r.Queue] = true
		}
		for pass := 0; r.Busy && pass < admitPasses; pass++ {
			row, err := s.e.loops.Admit(ctx, db.AdmitParams{Queue: r.Queue})
			if err != nil {
				return 0, fromDB("admitting jobs", err)
			}
			s.e.metrics.admittedJobs(row)
			if row.Admitted > 0 {
				wait = admitQuick
			}
			if row.NextIn >= 0 {
				wait = min(wait, max(seconds(row.NextIn), time.Millisecond))
			}
			if !row.More {
				break
			}
		}
	}
	s.e.claims.SetGoverned(governed)
	if len(rows) == 0 {
		return s.e.due.rest(admitEvery), nil
	}
	return wait, nil
}

// checkLimits recounts what the admitter counts. A difference is a defect; it is logged, and the count repaired.
func (e *Engine) checkLimits(ctx context.Context) (time.Duration, error) {
	rows, err := e.loops.CheckLimits(ctx, true)
	if err != nil {
		return 0, fromDB("checking limits", err)
	}
	for _, r := range rows {
		e.metrics.limitsRepaired.Inc()
		e.log.Error("the count of a queue with limits differs from its rows; it was repaired", "queue", r.Queue, "problem", r.Problem, "counted", r.Counted, "found", r.Found)
	}
	return recountEach, nil
}

func (m *metrics) admittedJobs(row db.AdmitRow) {
	m.admitted.Add(float64(row.Admitted))
	if row.HeldBy != "" {
		m.throttled.WithLabelValues(row.HeldBy).Inc()
	}
}

// countFlights adds the figures of the queues with limits.
func (m *metrics) countFlights(ctx context.Context) {
	rows, err := m.e.loops.CountInFlight(ctx, metricNames)
	if err != nil {
		m.e.log.Warn("could not count the jobs in flight for the metrics", "error", err)
	}
	for _, r := range rows {
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(r.InFlight), r.Queue),
			prometheus.MustNewConstMetric(m.linesWaiting, prometheus.GaugeValue, float64(r.LinesWaiting), r.Queue))
	}
}
