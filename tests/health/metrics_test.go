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

func TestMetricsShowEveryBreaker(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	const breakers = 1100
	s.Exec("select weir.set_breaker('b' || i) from generate_series(1, 1100) i")
	text := string(s.Get("/metrics").Want(http.StatusOK).Body)
	if n := strings.Count(text, `weir_breaker_held_jobs{`); n != breakers {
		t.Errorf("the metrics show %d of %d circuit breakers", n, breakers)
	}
}
