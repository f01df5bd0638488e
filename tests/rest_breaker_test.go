package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// servedBreaker is a circuit breaker as clients see it.
type servedBreaker struct {
	Name, State, Policy string
	Recovering, Pinned  bool
	Held, Openings      int
	Probes              int
	TimesOpened         int        `json:"times_opened"`
	WindowFailed        int        `json:"window_failed"`
	FailureThreshold    int        `json:"failure_threshold"`
	FailureRatio        float64    `json:"failure_ratio"`
	WindowSeconds       int        `json:"window_seconds"`
	NextProbeAt         *time.Time `json:"next_probe_at"`
	Queues              []string
	WhileOpen           obj `json:"while_open"`
}

func (s *service) breaker(name string) servedBreaker {
	s.t.Helper()
	return readAs[servedBreaker](s.get("/v1/breakers/" + name).want(http.StatusOK))
}

func (s *service) untilBreaker(name, state string) {
	s.t.Helper()
	s.eventually("breaker "+name+" is "+state, func() bool { return s.breaker(name).State == state })
}

// The same dependency as in TestABreakerFollowsItsDependency, with a node that does by itself what has to be done.
func TestRESTABreakerFollowsItsDependencyByItself(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/breakers/smtp", obj{"failure_threshold": 3, "open_seconds": 0.2, "max_open_seconds": 0.4, "ramp_per_second": 500}).want(http.StatusOK)
	events, _ := s.watch("event=breaker_opened,breaker_half_opened,breaker_closed,breaker_recovered", "")
	job := obj{"kind": "mail", "queue": "q", "breaker": "smtp", "retry": obj{"strategy": "fixed", "base_seconds": 0}}
	s.enqueueAll(slices.Repeat([]obj{job}, 40))
	work := func(n int, well bool) int {
		jobs := readAs[servedClaims](s.post("/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "limit": n, "wait_seconds": 0.2}).want(http.StatusOK)).Jobs
		for _, j := range jobs {
			if well {
				s.post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).want(http.StatusOK)
			} else {
				s.post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no", "type": "Refused"}}).want(http.StatusOK)
			}
		}
		return len(jobs)
	}
	failed := 0
	s.eventually("three jobs have failed", func() bool { failed += work(3-failed, false); return failed == 3 })
	s.untilBreaker("smtp", "open")
	for s.breaker("smtp").Openings < 3 { // the probes fail too
		work(10, false)
	}
	s.eventually("all jobs are done", func() bool {
		work(100, true)
		return s.count("select count(*) from weir.jobs where state = 'completed'") == 40
	})
	s.eventually("it has recovered", func() bool { b := s.breaker("smtp"); return b.State == "closed" && !b.Recovering })
	if n := s.count("select sum(attempt) from weir.jobs"); n != 43 {
		t.Errorf("%d attempts were made, want 40 and the 3 that opened it", n)
	}
	opened := s.breaker("smtp").TimesOpened
	var told []string
	for len(told) == 0 || told[len(told)-1] != "breaker_recovered" {
		ev := s.next(events, 1)[0]
		if ev.data.Breaker != "smtp" {
			t.Errorf("told of %+v", ev.data)
		}
		told = append(told, ev.name)
	}
	want := strings.Repeat("breaker_opened breaker_half_opened ", opened) + "breaker_closed breaker_recovered"
	if got := strings.Join(told, " "); got != want {
		t.Errorf("told of %s, want %s", got, want)
	}
	s.eventually("the figures say so", func() bool {
		return s.metric("weir_breaker_opened_total", `breaker="smtp"`) == float64(opened) && s.metric("weir_breaker_state", `breaker="smtp"`, `state="closed"`) == 1
	})
	history := readAs[servedPage[obj]](s.get("/v1/breakers/smtp/events?limit=2").want(http.StatusOK))
	if len(history.Items) != 2 || history.Items[0]["event"] != "recovered" || history.NextCursor == nil {
		t.Errorf("its history begins with %v", history)
	}
}

func TestRESTABreakerIsChangedByHand(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.get("/v1/breakers/none").problem(http.StatusNotFound, "breaker_not_found")
	s.do(http.MethodPatch, "/v1/breakers/none", `{}`).problem(http.StatusNotFound, "breaker_not_found")
	if b := readAs[servedBreaker](s.do(http.MethodPut, "/v1/breakers/b", `{"failure_ratio": 0.25, "window_seconds": 30}`).want(http.StatusOK)); b.FailureRatio != 0.25 || b.FailureThreshold != 0 || b.WindowSeconds != 30 || b.State != "closed" {
		t.Errorf("made %+v", b)
	}
	if b := readAs[servedBreaker](s.do(http.MethodPatch, "/v1/breakers/b", `{"failure_threshold": 7}`).want(http.StatusOK)); b.FailureRatio != 0 || b.FailureThreshold != 7 || b.WindowSeconds != 30 {
		t.Errorf("changed to %+v", b)
	}
	if b := readAs[servedBreaker](s.do(http.MethodPut, "/v1/breakers/b", `{}`).want(http.StatusOK)); b.FailureThreshold != 5 || b.WindowSeconds != 60 || b.WhileOpen["policy"] != "hold" {
		t.Errorf("the defaults are %+v", b)
	}
	for body, field := range map[string]string{
		`{"failure_threshold": 0}`: "body.failure_threshold", `{"open_seconds": -1}`: "body.open_seconds", `{"window_seconds": 7200}`: "body.window_seconds", `{"while_open": {"policy": "pray"}}`: "body.while_open.policy",
		`{"counts": {"pattern": "("}}`: "body.counts.pattern", `{"while_open": {"policy": "throttle"}}`: "body.while_open.per_second", `{"failure_rate": 1}`: "body.failure_rate",
		`{"failure_threshold": 1, "failure_ratio": 0.5}`: "body.failure_ratio",
	} {
		p := s.do(http.MethodPut, "/v1/breakers/b", body).problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != field {
			t.Errorf("%s: %+v, want it at %s", body, p.Errors, field)
		}
	}
	s.do(http.MethodPatch, "/v1/breakers/b", `{"while_open": {"policy": "reroute", "queue": "r"}}`).want(http.StatusOK)
	if p := s.do(http.MethodPut, "/v1/queues/r", `{"breaker": "b"}`).problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != "body.breaker" {
		t.Errorf("a queue that routes to itself is refused at %+v", p.Errors)
	}
	s.do(http.MethodPut, "/v1/queues/q", `{"breaker": "b"}`).want(http.StatusOK)
	if b := s.breaker("b"); !slices.Equal(b.Queues, []string{"q"}) {
		t.Errorf("its queues are %v", b.Queues)
	}
	if b := readAs[servedBreaker](s.post("/v1/breakers/b/trip", obj{"by": "ann", "reason": "maintenance", "open_seconds": 3600}).want(http.StatusOK)); b.State != "open" || b.NextProbeAt == nil || b.Policy != "reroute" {
		t.Errorf("tripped, it is %+v", b)
	}
	if b := readAs[servedBreaker](s.post("/v1/breakers/b/pin", obj{"state": "open"}).want(http.StatusOK)); !b.Pinned || b.NextProbeAt != nil {
		t.Errorf("pinned, it is %+v", b)
	}
	s.post("/v1/breakers/b/reset", nil).problem(http.StatusConflict, "breaker_pinned")
	s.do(http.MethodDelete, "/v1/breakers/b", nil).problem(http.StatusConflict, "breaker_in_use")
	s.post("/v1/breakers/b/pin", obj{"state": "none"}).want(http.StatusOK)
	s.post("/v1/breakers/b/reset", nil).want(http.StatusOK)
	for range 5 {
		s.post("/v1/breakers/b/report", obj{"outcome": "failure", "error": obj{"message": "no answer"}}).want(http.StatusOK)
	}
	if b := s.breaker("b"); b.State != "open" {
		t.Errorf("after five reports it is %+v", b)
	}
	s.do(http.MethodPut, "/v1/breakers/a", `{}`).want(http.StatusOK)
	if page := readAs[servedPage[servedBreaker]](s.get("/v1/breakers?state=open").want(http.StatusOK)); len(page.Items) != 1 || page.Items[0].Name != "b" {
		t.Errorf("those that are open: %+v", page)
	}
	first := readAs[servedPage[servedBreaker]](s.get("/v1/breakers?limit=1").want(http.StatusOK))
	if second := readAs[servedPage[servedBreaker]](s.get("/v1/breakers?limit=1&cursor=" + *first.NextCursor).want(http.StatusOK)); first.Items[0].Name != "a" || second.Items[0].Name != "b" || second.NextCursor != nil {
		t.Errorf("two pages: %+v, %+v", first, second)
	}
}

func TestRESTADegradedJobSaysSo(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.do(http.MethodPut, "/v1/breakers/b", `{"while_open": {"policy": "degraded"}}`).want(http.StatusOK)
	s.post("/v1/breakers/b/trip", nil).want(http.StatusOK)
	s.enqueue(obj{"kind": "k", "queue": "q", "breaker": "b"})
	s.settle()
	r := s.post("/v1/claims", `{"worker": "w", "queues": ["q"]}`).want(http.StatusOK)
	if !strings.Contains(string(r.body), `"degraded":true`) {
		t.Error(r)
	}
}

func TestCLIBreakers(t *testing.T) {
	t.Parallel()
	s := startService(t)
	s.cli("breakers").says(0, "no circuit breakers yet")
	s.cli("breakers", "set", "stripe", "failure_threshold=3", "while_open.policy=reroute", "while_open.queue=backup", "--replace").says(0, "circuit breaker stripe is closed")
	s.cli("breakers", "set", "none", "failure_threshold=3").says(1, "there is no breaker")
	s.cli("breakers", "set", "stripe", "failure_threshold=0").says(1, "failure_threshold")
	s.cli("breakers", "trip", "stripe", "--by", "ann", "--reason", "they are down", "--for", "1h").says(0, "circuit breaker stripe is open (next probe in")
	s.cli("enqueue", "k", "--breaker", "stripe").says(0)
	s.cli("breakers", "list").says(0, "BREAKER", "stripe", "open")
	s.cli("breakers", "show", "stripe").says(0, "while_open", "backup", "opened", "ann", "they are down")
	s.cli("breakers", "pin", "stripe", "open", "--for", "2h").says(0, "pinned until")
	s.cli("breakers", "reset", "stripe").says(1, "is pinned open")
	s.cli("breakers", "pin", "stripe", "none").says(0)
	s.cli("breakers", "reset", "stripe").says(0, "stripe is closed")
	s.cli("breakers", "events", "stripe").says(0, "AT", "opened", "pinned", "unpinned", "closed", "they are down")
	s.cli("breakers", "pin", "stripe", "shut").says(2, "shut")
	s.cli("breakers", "set", "stripe", "open_seconds=0.1", "while_open.policy=hold", "--by", "ann").says(0)
	s.cli("breakers", "events", "stripe", "--limit", "5").says(0, "set", "ann", `"open_seconds":0.1`)
	s.cli("breakers", "report", "stripe", "success", "--type", "T").says(2, "failure")
	s.cli("breakers", "report", "smtp", "success").says(1, "there is no breaker")
	s.cli("breakers", "set", "smtp", "failure_threshold=2", "open_seconds=0.1", "--replace").says(0)
	s.cli("breakers", "report", "smtp", "failure", "--type", "Timeout", "--calls", "2").says(0, "smtp is")
	s.untilBreaker("smtp", "half_open")
	s.cli("breakers", "show", "smtp").says(0, "waits for a job to probe with", "2 of 2 calls failed")
	s.cli("breakers", "delete", "smtp", "--yes").says(1, "in use")
	s.do(http.MethodPut, "/v1/queues/mail", obj{"breaker": "smtp"}).want(http.StatusOK)
	s.cli("queues").says(0, "its circuit breaker smtp is half_open")
	s.do(http.MethodPut, "/v1/queues/mail", obj{}).want(http.StatusOK)
	s.cli("breakers", "report", "smtp", "success").says(0)
	s.eventually("it has recovered", func() bool { b := s.breaker("smtp"); return b.State == "closed" && !b.Recovering })
	s.cli("breakers", "delete", "smtp", "--yes", "--by", "ann").says(0, "smtp is gone")
	s.cli("breakers", "show", "smtp").says(1, "there is no breaker")
	if by := ask[string](t, s.pool, "select by from weir.breaker_events where event = 'deleted'"); by != "ann" {
		t.Errorf("it was deleted by %s", by)
	}
	if r := s.cli("breakers", "events", "stripe", "--limit", "1", "--json").says(0); !strings.Contains(r.stdout, fmt.Sprintf("%q", "items")) {
		t.Errorf("--json shows %s", r.stdout)
	}
}
