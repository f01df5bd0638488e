package tests

import (
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestRESTSettingsOfABreakerAreRefusedWithTheField(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	// b leads to backup, backup to more: what leads back to any of them is a circle.
	s.Do(http.MethodPut, "/v1/breakers/b", `{"while_open": {"policy": "reroute", "queue": "backup"}}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/breakers/backup", `{"while_open": {"policy": "reroute", "queue": "more"}}`).Want(http.StatusOK)
	s.Do(http.MethodPut, "/v1/breakers/more", `{}`).Want(http.StatusOK)
	for queue, breaker := range map[string]string{"q": "b", "backup": "backup", "more": "more"} {
		s.Do(http.MethodPut, "/v1/queues/"+queue, obj{"breaker": breaker}).Want(http.StatusOK)
	}
	before := string(s.Get("/v1/breakers/more").Want(http.StatusOK).Body)
	for _, c := range []struct{ settings, field, words string }{
		{`{"window_seconds": 3601}`, "window_seconds", "3600"},
		{`{"window_seconds": 86400, "failure_ratio": 0.5}`, "window_seconds", "3600"},
		{`{"window_seconds": 0}`, "window_seconds", "1"},
		{`{"window_seconds": -60}`, "window_seconds", "1"},
		{`{"failure_threshold": 0}`, "failure_threshold", "1"},
		{`{"failure_threshold": -5}`, "failure_threshold", "1"},
		{`{"failure_threshold": 1.5}`, "failure_threshold", "integer"},
		{`{"failure_threshold": 3, "failure_ratio": 0.5}`, "failure_ratio", "failure_threshold"},
		{`{"failure_ratio": 0}`, "failure_ratio", "0"},
		{`{"failure_ratio": -0.1}`, "failure_ratio", "0"},
		{`{"failure_ratio": 1.5}`, "failure_ratio", "1"},
		{`{"min_calls": 0}`, "min_calls", "1"},
		{`{"open_seconds": 0}`, "open_seconds", "0.1"},
		{`{"open_seconds": -1}`, "open_seconds", "0.1"},
		{`{"open_seconds": 60, "max_open_seconds": 30}`, "max_open_seconds", "60"},
		{`{"max_open_seconds": 0}`, "max_open_seconds", "0.1"},
		{`{"half_open_probes": 0}`, "half_open_probes", "1"},
		{`{"half_open_probes": -1}`, "half_open_probes", "1"},
		{`{"close_after": 0}`, "close_after", "1"},
		{`{"ramp_per_second": 0}`, "ramp_per_second", "0.1"},
		{`{"ramp_factor": 0}`, "ramp_factor", "1"},
		{`{"failure_rate": 0.5}`, "failure_rate", ""},
		{`{"counts": {"pattern": "("}}`, "counts.pattern", "regular expression"},
		{`{"counts": {"kinds": ["a"]}}`, "counts.kinds", ""},
		{`{"while_open": {}}`, "while_open", "property policy"},
		{`{"while_open": {"policy": "pray"}}`, "while_open.policy", "postpone"},
		{`{"while_open": {"policy": "throttle"}}`, "while_open.per_second", "0.001"},
		{`{"while_open": {"policy": "throttle", "per_second": 0}}`, "while_open.per_second", "0.001"},
		{`{"while_open": {"policy": "throttle", "per_second": -1}}`, "while_open.per_second", "0.001"},
		{`{"while_open": {"policy": "postpone"}}`, "while_open.delay_seconds", "needs one"},
		{`{"while_open": {"policy": "postpone", "delay_seconds": 0}}`, "while_open.delay_seconds", "0.1"},
		{`{"while_open": {"policy": "complete_default"}}`, "while_open.result", "any JSON"},
		{`{"while_open": {"policy": "hold", "per_second": 5}}`, "while_open.per_second", "hold"},
		{`{"while_open": {"policy": "degraded", "for_seconds": -5}}`, "while_open.for_seconds", "0.1"},
		{`{"while_open": {"policy": "degraded", "until": "soon"}}`, "while_open.until", ""},
		{`{"while_open": {"policy": "reroute"}}`, "while_open.queue", "needs one"},
		{`{"while_open": {"policy": "reroute", "queue": "no good"}}`, "while_open.queue", ""},
		{`{"while_open": {"policy": "reroute", "queue": "more"}}`, "while_open.queue", "more -> more"},
		{`{"while_open": {"policy": "reroute", "queue": "q"}}`, "while_open.queue", "-> q"},
	} {
		for _, method := range []string{http.MethodPut, http.MethodPatch} {
			s.Do(method, "/v1/breakers/more", c.settings).RefusedAt("body."+c.field, c.words)
		}
	}
	if after := string(s.Get("/v1/breakers/more").Want(http.StatusOK).Body); after != before {
		t.Errorf("it was %s and is %s", before, after)
	}
	s.Do(http.MethodPut, "/v1/queues/more", obj{"breaker": "b"}).RefusedAt("body.breaker", "backup -> more -> backup")
	s.Do(http.MethodPut, "/v1/queues/other", obj{"breaker": "no good"}).RefusedAt("body.breaker", "")
	s.Post("/v1/jobs", obj{"kind": "k", "breaker": "no good"}).RefusedAt("body.breaker", "")
	s.Post("/v1/breakers/more/pin", `{}`).RefusedAt("body", "property state")
	for _, c := range []struct{ call, body, field, words string }{
		{"trip", `{"open_seconds": 0}`, "open_seconds", "0.1"},
		{"trip", `{"open_seconds": -1}`, "open_seconds", "0.1"},
		{"trip", `{"by": ""}`, "by", "1"},
		{"reset", `{"reason": ""}`, "reason", "1"},
		{"pin", `{"state": "shut"}`, "state", "closed"},
		{"pin", `{"state": "open", "for_seconds": 0}`, "for_seconds", "0.1"},
		{"pin", `{"state": "none", "for_seconds": 5}`, "for_seconds", "open or closed"},
		{"report", `{"outcome": "maybe"}`, "outcome", "failure"},
		{"report", `{"outcome": "failure", "calls": 0}`, "calls", "1"},
		{"report", `{"outcome": "failure", "calls": -1}`, "calls", "1"},
	} {
		s.Post("/v1/breakers/more/"+c.call, c.body).RefusedAt("body."+c.field, c.words)
	}
}

func TestRESTLimitsOfNothingAndLessAreRefusedWithTheField(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/queues/q", `{"limits": {"concurrency": 5}}`).Want(http.StatusOK)
	for _, n := range []string{"0", "-1"} {
		for field, limits := range map[string]string{
			"concurrency": `{"concurrency": ` + n + `}`, "per_key": `{"per_key": ` + n + `}`, "rate.per_second": `{"rate": {"per_second": ` + n + `}}`, "rate.burst": `{"rate": {"per_second": 5, "burst": ` + n + `}}`,
			"key_rate.per_second": `{"key_rate": {"per_second": ` + n + `}}`, "key_rate.burst": `{"key_rate": {"per_second": 5, "burst": ` + n + `}}`,
		} {
			for _, method := range []string{http.MethodPut, http.MethodPatch} {
				s.Do(method, "/v1/queues/q", `{"limits": `+limits+`}`).RefusedAt("body.limits."+field, "")
			}
		}
		s.Do(http.MethodPut, "/v1/queues/q/limits/keys/k", `{"concurrency": `+n+`}`).RefusedAt("body.concurrency", "1")
		s.Do(http.MethodPut, "/v1/queues/q/limits/keys/k", `{"rate": {"per_second": `+n+`}}`).RefusedAt("body.rate.per_second", "")
		s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/t", `{"weight": `+n+`}`).RefusedAt("body.weight", "0.001")
		s.Do(http.MethodPut, "/v1/queues/q/limits/tenants/t", `{"concurrency": `+n+`}`).RefusedAt("body.concurrency", "1")
	}
	if n := s.Count("select (limits ->> 'concurrency')::int from weir.queue where name = 'q'"); n != 5 {
		t.Errorf("the limit is %d", n)
	}
	if n := s.Count("select count(*) from weir.limit_override"); n != 0 {
		t.Errorf("%d limits were set", n)
	}
}
