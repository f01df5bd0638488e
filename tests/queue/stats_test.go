package queue

import (
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// For the minutes since the last roll-up the stats count outcomes alone, and the views job by job. Both must agree.
func TestStatsAgreeWithTheViews(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.EndedJob("other", "complete", weirtest.Object{})
	for range 3 {
		s.EndedJob("q", "complete", weirtest.Object{})
	}
	s.KillMany("q", 2)
	again := s.EndedJob("q", "complete", weirtest.Object{})
	s.Post("/v1/jobs/"+again+"/retry", nil).Want(http.StatusOK) // its completion still counts
	cancelled := s.Enqueue(`{"kind": "k", "queue": "q"}`)
	s.Post("/v1/jobs/"+cancelled+"/cancel", nil).Want(http.StatusOK)
	stats := weirtest.Decode[struct {
		Windows []struct {
			Completed, Dead, Cancelled int
			MeanRunSeconds             float64 `json:"mean_run_seconds"`
			P95RunSeconds              float64 `json:"p95_run_seconds"`
		}
	}](s.Get("/v1/queues/q/stats").Want(http.StatusOK))
	want := s.Count(`select 100 * sum(completed) + 10 * sum(dead) + sum(cancelled) from weir.throughput where queue = 'q'`)
	hour := stats.Windows[2]
	if got := 100*hour.Completed + 10*hour.Dead + hour.Cancelled; got != want || want != 421 {
		t.Errorf("the stats are %+v, the view says %d", hour, want)
	}
	mean := weirtest.Value[float64](t, s.DB, `select sum(run_mean * completed) / sum(completed) from weir.latency where queue = 'q'`)
	if hour.MeanRunSeconds < mean*0.999 || hour.MeanRunSeconds > mean*1.001 || hour.P95RunSeconds <= 0 {
		t.Errorf("the stats are %+v, the mean is %g", hour, mean)
	}
}
