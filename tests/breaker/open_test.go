package breaker

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestBreakerOpensAtItsThreshold(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Enqueue(t, d, needing("q", "stripe"), needing("q", "stripe"), needing("q", "stripe"), `{"kind": "x", "queue": "q"}`)
	if got := weirtest.Value[string](t, d, "select failure_threshold || ' ' || open_seconds || ' ' || policy from weir.breakers"); got != "5 60 hold" {
		t.Errorf("a breaker that a job made has %s", got)
	}
	setBreaker(t, d, "stripe", `{"failure_threshold": 3}`)
	for i, want := range []string{"closed", "closed", "open"} {
		failWith(t, d, weirtest.ClaimOne(t, d, "q"), "Timeout")
		if got := breakerState(t, d, "stripe"); got != want {
			t.Errorf("after %d failures it is %s", i+1, got)
		}
	}
	if got := breakerHistory(t, d, "stripe"); got != "opened" {
		t.Errorf("its history: %s", got)
	}
	if why := weirtest.Value[string](t, d, "select reason from weir.breaker_events where event = 'opened'"); why != "3 of 3 calls failed within 60 seconds" {
		t.Errorf("it opened because %s", why)
	}
}

func TestBreakerOpensAtItsFailureRatio(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": null, "failure_ratio": 0.5, "min_calls": 4}`)
	for i, step := range []struct{ outcome, state string }{
		{"failure", "closed"}, {"failure", "closed"}, {"success", "closed"}, {"success", "closed"}, {"success", "closed"}, {"failure", "open"},
	} {
		weirtest.Exec(t, d, "select weir.report_breaker('b', $1)", step.outcome)
		if got := breakerState(t, d, "b"); got != step.state {
			t.Errorf("after call %d it is %s, want %s", i+1, got, step.state)
		}
	}
}

func TestOnlyCountedErrorsOpenBreaker(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": 1, "counts": {"types": ["Timeout"], "pattern": "50[0-9]", "except_types": ["HTTP501"]}}`)
	for kind, opens := range map[string]bool{"Timeout": true, "HTTP503": true, "HTTP501": false, "Declined": false, "lost": false} {
		weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure', jsonb_build_object('type', $1::text, 'message', 'm'))", kind)
		if open := breakerState(t, d, "b") == "open"; open != opens {
			t.Errorf("after %s it is open: %t", kind, open)
		}
		weirtest.Exec(t, d, "select weir.reset_breaker('b')")
	}
	weirtest.Enqueue(t, d, needing("q", "c"))
	setBreaker(t, d, "c", `{"failure_threshold": 1}`)
	weirtest.ClaimOne(t, d, "q")
	weirtest.Exec(t, d, "update weir.job_lease set expires_at = clock_timestamp()")
	weirtest.Exec(t, d, "select weir.expire_leases()")
	wantBreaker(t, d, "c", "closed") // a worker's death says nothing about the dependency
}

func TestFailureOutsideWindowDoesNotCount(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"window_seconds": 2}`)
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure')")
	weirtest.Exec(t, d, "update weir.breaker_sample set at = at - interval '3 s'")
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure')")
	wantBreaker(t, d, "b", "closed")
	weirtest.Exec(t, d, "select weir.report_breaker('b', 'failure')")
	wantBreaker(t, d, "b", "open")
}

func TestOldSamplesAreSummedUpAndDropped(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	setBreaker(t, d, "b", `{"failure_threshold": 1000}`)
	weirtest.Exec(t, d, "insert into weir.breaker_sample (breaker_id, at, ok, failed) select 1, date_trunc('second', now()) - interval '10 s' + n * interval '1 ms', 1, 1 from generate_series(1, 500) n")
	weirtest.Exec(t, d, "insert into weir.breaker_sample (breaker_id, at, ok, failed) select 1, clock_timestamp() - interval '2 hours', 1, 1")
	weirtest.Exec(t, d, "select weir.sweep_breakers()")
	if n := weirtest.Value[int](t, d, "select count(*)::int from weir.breaker_sample"); n != 1 {
		t.Errorf("%d samples are left", n)
	}
	if got := weirtest.Value[string](t, d, "select window_ok || ' ' || window_failed from weir.breakers"); got != "500 500" {
		t.Errorf("the window has %s", got)
	}
}

func TestMarkOfDegradedJobIsShown(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/breakers/b", `{"while_open": {"policy": "degraded"}}`).Want(http.StatusOK)
	s.Post("/v1/breakers/b/trip", nil).Want(http.StatusOK)
	s.Enqueue(obj{"kind": "k", "queue": "q", "breaker": "b"})
	s.Settle()
	r := s.Post("/v1/claims", `{"worker": "w", "queues": ["q"]}`).Want(http.StatusOK)
	if !strings.Contains(string(r.Body), `"degraded":true`) {
		t.Error(r)
	}
}
