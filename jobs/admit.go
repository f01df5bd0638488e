package jobs

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/db"
)

// admitStep makes passes of the queues with limits (see migrations/0035_admit.sql), for workers that claim over SQL, and as the fallback for those that
// claim through a node: a claimer has a pass made for itself before it claims.
type admitStep struct{ e *Engine }

const (
	admitEvery  = 100 * time.Millisecond
	admitQuick  = 5 * time.Millisecond // while somebody claims what is admitted
	admitPasses = 100                  // of one queue in a row
	admitMost   = 1000                 // jobs that one claim wants
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
	s.e.governed.Store(&governed)
	if len(rows) == 0 {
		return s.e.due.rest(admitEvery), nil
	}
	return wait, nil
}

// isGoverned says whether a queue has limits, as far as this node knows.
func (e *Engine) isGoverned(queue string) bool {
	governed := e.governed.Load()
	return governed != nil && (*governed)[queue]
}

// allowance is what came of passes for a claim.
type allowance struct {
	next time.Time // when a rate allows more; zero: none keeps any
	none bool      // rates keep all there is, so that a claim would be in vain
}

// admitFor has jobs admitted for a claim.
func (e *Engine) admitFor(ctx context.Context, queues []string, counts []int32) (got allowance) {
	var wanted int32
	for _, n := range counts {
		wanted += n
	}
	wanted = min(wanted, admitMost)
	got.none = true
	for _, queue := range queues {
		if !e.isGoverned(queue) {
			got.none = false
			continue
		}
		row, err := e.q.Admit(ctx, db.AdmitParams{Queue: queue, Wanted: &wanted})
		if err != nil {
			e.log.Warn("admitting jobs for a claim failed; the loop does it", "queue", queue, "error", fromDB("admitting jobs", err))
			got.none = false
			continue
		}
		e.metrics.admittedJobs(row)
		got.none = got.none && row.HeldBy == "rate" && row.Available == 0
		if at := e.clock.Now().Add(max(seconds(row.NextIn), time.Millisecond)); row.NextIn >= 0 && (got.next.IsZero() || at.Before(got.next)) {
			got.next = at
		}
	}
	return got
}

// admit has jobs admitted for a claim, unless that was done ahead while the workers had the jobs of the last one, and everybody can wait for another.
func (c *claimer) admit(ctx context.Context, served []*waiter, counts []int32) (ahead bool) {
	if c.advance != nil {
		c.allowed = <-c.advance
		c.advance = nil
		ahead = !slices.ContainsFunc(served, func(w *waiter) bool { return !w.patient })
	}
	if !ahead {
		c.allowed = c.e.admitFor(ctx, c.queues, counts)
	}
	c.admitAt = c.allowed.next
	return ahead
}

// inVain says whether to leave out a claim: rates keep all there is, and everybody can wait. Once a second it is made all the same, for those that wait are to learn
// what else may keep jobs from them.
func (c *claimer) inVain(served []*waiter) bool {
	return c.allowed.none && c.e.clock.Since(c.claimedAt) < time.Second && !slices.ContainsFunc(served, func(w *waiter) bool { return !w.patient || w.refusal != "" })
}

// admitAhead begins a pass for the next claim.
func (c *claimer) admitAhead(counts []int32) {
	if !slices.ContainsFunc(c.queues, c.e.isGoverned) {
		return
	}
	done := make(chan allowance, 1)
	c.advance = done
	go func() { done <- c.e.admitFor(context.Background(), c.queues, counts) }()
}

// checkLimits recounts what the admitter keeps count of. Where something does not agree, which is a defect, it is counted anew.
func (e *Engine) checkLimits(ctx context.Context) (time.Duration, error) {
	rows, err := e.loops.CheckLimits(ctx, true)
	if err != nil {
		return 0, fromDB("checking limits", err)
	}
	for _, r := range rows {
		e.metrics.limitsRepaired.Inc()
		e.log.Error("the count of a queue with limits did not agree with its rows; it is counted anew", "queue", r.Queue, "problem", r.Problem, "counted", r.Counted, "found", r.Found)
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
	rows, err := m.e.loops.CountInFlight(ctx)
	if err != nil {
		m.e.log.Warn("could not count the jobs in flight for the metrics", "error", err)
	}
	for _, r := range rows {
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(r.InFlight), r.Queue),
			prometheus.MustNewConstMetric(m.linesWaiting, prometheus.GaugeValue, float64(r.LinesWaiting), r.Queue))
	}
}
