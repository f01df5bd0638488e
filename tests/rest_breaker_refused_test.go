package tests

import (
	"net/http"
	"strings"
	"testing"
)

// refusedAt checks that a call is refused for one field, with words that say more than that it is wrong.
func (r *reply) refusedAt(field, words string) {
	r.t.Helper()
	p := r.problem(http.StatusUnprocessableEntity, "invalid_argument")
	if len(p.Errors) != 1 || p.Errors[0].Location != field || !strings.Contains(p.Errors[0].Message, words) {
		r.t.Errorf("%s: %+v; want it at %s, with %q", r.asked, p.Errors, field, words)
	}
}

func TestRESTSettingsOfABreakerAreRefusedWithTheField(t *testing.T) {
	t.Parallel()
	s := startService(t)
	// b leads to backup, backup to more: what leads back to any of them is a circle.
	s.do(http.MethodPut, "/v1/breakers/b", `{"while_open": {"policy": "reroute", "queue": "backup"}}`).want(http.StatusOK)
	s.do(http.MethodPut, "/v1/breakers/backup", `{"while_open": {"policy": "reroute", "queue": "more"}}`).want(http.StatusOK)
	s.do(http.MethodPut, "/v1/breakers/more", `{}`).want(http.StatusOK)
	for queue, breaker := range map[string]string{"q": "b", "backup": "backup", "more": "more"} {
		s.do(http.MethodPut, "/v1/queues/"+queue, obj{"breaker": breaker}).want(http.StatusOK)
	}
	before := string(s.get("/v1/breakers/more").want(http.StatusOK).body)
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
			s.do(method, "/v1/breakers/more", c.settings).refusedAt("body."+c.field, c.words)
		}
	}
	if after := string(s.get("/v1/breakers/more").want(http.StatusOK).body); after != before {
		t.Errorf("it was %s and is %s", before, after)
	}
	s.do(http.MethodPut, "/v1/queues/more", obj{"breaker": "b"}).refusedAt("body.breaker", "backup -> more -> backup")
	s.do(http.MethodPut, "/v1/queues/other", obj{"breaker": "no good"}).refusedAt("body.breaker", "")
	s.post("/v1/jobs", obj{"kind": "k", "breaker": "no good"}).refusedAt("body.breaker", "")
	s.post("/v1/breakers/more/pin", `{}`).refusedAt("body", "property state")
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
		s.post("/v1/breakers/more/"+c.call, c.body).refusedAt("body."+c.field, c.words)
	}
}

func TestRESTLimitsOfNothingAndLessAreRefusedWithTheField(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/queues/q", `{"limits": {"concurrency": 5}}`).want(http.StatusOK)
	for _, n := range []string{"0", "-1"} {
		for field, limits := range map[string]string{
			"concurrency": `{"concurrency": ` + n + `}`, "per_key": `{"per_key": ` + n + `}`, "rate.per_second": `{"rate": {"per_second": ` + n + `}}`, "rate.burst": `{"rate": {"per_second": 5, "burst": ` + n + `}}`,
			"key_rate.per_second": `{"key_rate": {"per_second": ` + n + `}}`, "key_rate.burst": `{"key_rate": {"per_second": 5, "burst": ` + n + `}}`,
		} {
			for _, method := range []string{http.MethodPut, http.MethodPatch} {
				s.do(method, "/v1/queues/q", `{"limits": `+limits+`}`).refusedAt("body.limits."+field, "")
			}
		}
		s.do(http.MethodPut, "/v1/queues/q/limits/keys/k", `{"concurrency": `+n+`}`).refusedAt("body.concurrency", "1")
		s.do(http.MethodPut, "/v1/queues/q/limits/keys/k", `{"rate": {"per_second": `+n+`}}`).refusedAt("body.rate.per_second", "")
		s.do(http.MethodPut, "/v1/queues/q/limits/tenants/t", `{"weight": `+n+`}`).refusedAt("body.weight", "0.001")
		s.do(http.MethodPut, "/v1/queues/q/limits/tenants/t", `{"concurrency": `+n+`}`).refusedAt("body.concurrency", "1")
	}
	if n := s.count("select (limits ->> 'concurrency')::int from weir.queue where name = 'q'"); n != 5 {
		t.Errorf("the limit is %d", n)
	}
	if n := s.count("select count(*) from weir.limit_override"); n != 0 {
		t.Errorf("%d limits were set", n)
	}
}
