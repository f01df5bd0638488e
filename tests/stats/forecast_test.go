package stats

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

type forecast struct {
	Since, Until    time.Time
	Waiting         int64
	Exact           bool
	Enqueued        float64 `json:"enqueued_per_second"`
	Ended           float64 `json:"ended_per_second"`
	Outlook         string
	GoneAt          *time.Time `json:"gone_at"`
	GoneWithoutMore *time.Time `json:"gone_without_more_at"`
}

func forecastOf(s *weirtest.Node, query string) forecast {
	s.T.Helper()
	return weirtest.Decode[forecast](s.Get("/v1/queues/q/forecast" + query).Want(http.StatusOK))
}

// A queue goes through every outlook, and each time is the backlog divided by the rates.
func TestForecastOfAQueue(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Get("/v1/queues/q/forecast").Problem(http.StatusNotFound, "queue_not_found")
	s.Do(http.MethodPut, "/v1/queues/q", obj{"lease_seconds": 3600}).Want(http.StatusOK)
	if got := forecastOf(s, ""); got.Outlook != "empty" || got.Waiting != 0 || got.GoneAt != nil || !got.Exact {
		t.Errorf("got %+v", got)
	}
	s.Exec("update weir.rollup_cursor set until = until - interval '10 min'")
	s.Exec("select weir.enqueue('k', queue => 'q') from generate_series(1, 300) i")
	s.Exec("select weir.enqueue('k', queue => 'q', run_at => now() + interval '1 day')")
	s.Eventually("all jobs are available", func() bool { return forecastOf(s, "").Waiting == 300 })
	if got := forecastOf(s, ""); got.Outlook != "stuck" || got.GoneAt != nil || got.GoneWithoutMore != nil || got.Enqueued == 0 || got.Ended != 0 {
		t.Errorf("got %+v", got)
	}
	jobs := s.ClaimAs("w", 200, "q")
	for _, j := range jobs[:150] {
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
	}
	got := forecastOf(s, "?window_seconds=600")
	if got.Outlook != "growing" || got.Waiting != 150 || got.GoneAt != nil || got.GoneWithoutMore == nil {
		t.Errorf("got %+v", got)
	}
	wantRates(t, got, 301, 150)
	// The jobs come an hour before the window.
	s.Exec("update weir.job set created_at = created_at - interval '1 hour'")
	if got = forecastOf(s, "?window_seconds=600"); got.Outlook != "shrinking" || got.GoneAt == nil || math.Abs(got.GoneAt.Sub(got.Until).Seconds()-150/got.Ended) > 0.01 {
		t.Errorf("got %+v", got)
	}
	wantRates(t, got, 0, 150)
	if sql := weirtest.Value[string](t, s.DB, "select concat_ws(' ', waiting, outlook, exact) from weir.forecast_queue('q', 600)"); sql != "150 shrinking t" {
		t.Errorf("SQL says %s", sql)
	}
	s.Post("/v1/queues/q/pause", nil).Want(http.StatusOK)
	if got = forecastOf(s, ""); got.Outlook != "paused" || got.GoneAt != nil {
		t.Errorf("got %+v", got)
	}
}

func wantRates(t *testing.T, got forecast, enqueued, ended float64) {
	t.Helper()
	seconds := got.Until.Sub(got.Since).Seconds()
	if math.Abs(got.Enqueued-enqueued/seconds) > 0.001 || math.Abs(got.Ended-ended/seconds) > 0.001 || math.Abs(got.GoneWithoutMore.Sub(got.Until).Seconds()-float64(got.Waiting)/got.Ended) > 0.01 {
		t.Errorf("over %v s: got %+v, want %v and %v jobs", seconds, got, enqueued, ended)
	}
}

// Jobs that wait in a line count as waiting.
func TestForecastCountsLines(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", obj{"limits": obj{"per_key": 1}}).Want(http.StatusOK)
	for range 5 {
		s.Enqueue(obj{"kind": "k", "queue": "q", "concurrency_key": "one"})
	}
	s.Eventually("one job of the line is available", func() bool {
		return weirtest.Value[int](t, s.DB, "select count(*) from weir.job_held") == 4
	})
	if got := forecastOf(s, ""); got.Waiting != 5 || got.Outlook != "stuck" {
		t.Errorf("got %+v", got)
	}
}

func TestForecastRefusesBadInput(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", obj{}).Want(http.StatusOK)
	for _, query := range []string{"59", "86401", "x"} {
		s.Get("/v1/queues/q/forecast?window_seconds="+query).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.forecast_queue('q', 59)"), "WR010")
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.forecast_queue('none')"), "WR011")
}
