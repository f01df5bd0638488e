package health

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWorkersThatCannotBeCountedAreNotZero(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("alter view weir.workers rename to gone")
	if text := string(s.Get("/metrics").Want(http.StatusOK).Body); strings.Contains(text, "weir_workers{") || !strings.Contains(text, "weir_listener_up") {
		t.Error("the metrics show a number of workers that could not be counted, or nothing at all")
	}
}

func TestMetricsCountEveryBreaker(t *testing.T) {
	weirtest.Long(t, "metrics of breakers are counted every ten seconds")
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("select weir.set_breaker('b' || i) from generate_series(1, 1100) i")
	s.Exec("select weir.trip_breaker('b1099')")
	scraped := s.Get("/metrics").Want(http.StatusOK)
	if n := strings.Count(string(scraped.Body), `weir_breaker_held_jobs{`); n != 501 {
		t.Errorf("the metrics show %d circuit breakers, want 500 and the others in one", n)
	}
	if closed, open := s.MetricIn(scraped, "weir_breaker_state", `state="closed"`), s.MetricIn(scraped, "weir_breaker_state", `breaker="b1099"`, `state="open"`); closed != 1099 || open != 1 {
		t.Errorf("%v breakers are closed, and the open one is %v", closed, open)
	}
}
