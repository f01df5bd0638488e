package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// The same dependency as in TestABreakerFollowsItsDependency, with a node that does by itself what has to be done.
func TestRESTABreakerFollowsItsDependencyByItself(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Do(http.MethodPut, "/v1/breakers/smtp", obj{"failure_threshold": 3, "open_seconds": 0.2, "max_open_seconds": 0.4, "ramp_per_second": 500}).Want(http.StatusOK)
	events, _ := s.WatchEvents("event=breaker_opened,breaker_half_opened,breaker_closed,breaker_recovered", "")
	job := obj{"kind": "mail", "queue": "q", "breaker": "smtp", "retry": obj{"strategy": "fixed", "base_seconds": 0}}
	s.EnqueueAll(slices.Repeat([]obj{job}, 40))
	work := func(n int, well bool) int {
		jobs := weirtest.Decode[weirtest.ClaimedJobs](s.Post("/v1/claims", obj{"worker": "w", "queues": []string{"q"}, "limit": n, "wait_seconds": 0.2}).Want(http.StatusOK)).Jobs
		for _, j := range jobs {
			if well {
				s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
			} else {
				s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "error": obj{"message": "no", "type": "Refused"}}).Want(http.StatusOK)
			}
		}
		return len(jobs)
	}
	failed := 0
	s.Eventually("three jobs have failed", func() bool { failed += work(3-failed, false); return failed == 3 })
	s.WaitForBreaker("smtp", "open")
	for s.Breaker("smtp").Openings < 3 { // the probes fail too
		work(10, false)
	}
	s.Eventually("all jobs are done", func() bool {
		work(100, true)
		return s.Count("select count(*) from weir.jobs where state = 'completed'") == 40
	})
	s.Eventually("it has recovered", func() bool { b := s.Breaker("smtp"); return b.State == "closed" && !b.Recovering })
	if n := s.Count("select sum(attempt) from weir.jobs"); n != 43 {
		t.Errorf("%d attempts were made, want 40 and the 3 that opened it", n)
	}
	opened := s.Breaker("smtp").TimesOpened
	var told []string
	for len(told) == 0 || told[len(told)-1] != "breaker_recovered" {
		ev := s.NextEvents(events, 1)[0]
		if ev.Data.Breaker != "smtp" {
			t.Errorf("told of %+v", ev.Data)
		}
		told = append(told, ev.Name)
	}
	want := strings.Repeat("breaker_opened breaker_half_opened ", opened) + "breaker_closed breaker_recovered"
	if got := strings.Join(told, " "); got != want {
		t.Errorf("told of %s, want %s", got, want)
	}
	s.Eventually("the figures say so", func() bool {
		return s.Metric("weir_breaker_opened_total", `breaker="smtp"`) == float64(opened) && s.Metric("weir_breaker_state", `breaker="smtp"`, `state="closed"`) == 1
	})
	history := weirtest.Decode[weirtest.Page[obj]](s.Get("/v1/breakers/smtp/events?limit=2").Want(http.StatusOK))
	if len(history.Items) != 2 || history.Items[0]["event"] != "recovered" || history.NextCursor == nil {
		t.Errorf("its history begins with %v", history)
	}
}

func TestRESTABreakerIsChangedByHand(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Get("/v1/breakers/none").Problem(http.StatusNotFound, "breaker_not_found")
	s.Do(http.MethodPatch, "/v1/breakers/none", `{}`).Problem(http.StatusNotFound, "breaker_not_found")
	if b := weirtest.Decode[weirtest.Breaker](s.Do(http.MethodPut, "/v1/breakers/b", `{"failure_ratio": 0.25, "window_seconds": 30}`).Want(http.StatusOK)); b.FailureRatio != 0.25 || b.FailureThreshold != 0 || b.WindowSeconds != 30 || b.State != "closed" {
		t.Errorf("made %+v", b)
	}
	if b := weirtest.Decode[weirtest.Breaker](s.Do(http.MethodPatch, "/v1/breakers/b", `{"failure_threshold": 7}`).Want(http.StatusOK)); b.FailureRatio != 0 || b.FailureThreshold != 7 || b.WindowSeconds != 30 {
		t.Errorf("changed to %+v", b)
	}
	if b := weirtest.Decode[weirtest.Breaker](s.Do(http.MethodPut, "/v1/breakers/b", `{}`).Want(http.StatusOK)); b.FailureThreshold != 5 || b.WindowSeconds != 60 || b.WhileOpen["policy"] != "hold" {
		t.Errorf("the defaults are %+v", b)
	}
	for body, field := range map[string]string{
		`{"failure_threshold": 0}`: "body.failure_threshold", `{"open_seconds": -1}`: "body.open_seconds", `{"window_seconds": 7200}`: "body.window_seconds", `{"while_open": {"policy": "pray"}}`: "body.while_open.policy",
		`{"counts": {"pattern": "("}}`: "body.counts.pattern", `{"while_open": {"policy": "throttle"}}`: "body.while_open.per_second", `{"failure_rate": 1}`: "body.failure_rate",
		`{"failure_threshold": 1, "failure_ratio": 0.5}`: "body.failure_ratio",
	} {
		p := s.Do(http.MethodPut, "/v1/breakers/b", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		if len(p.Errors) != 1 || p.Errors[0].Location != field {
			t.Errorf("%s: %+v, want it at %s", body, p.Errors, field)
		}
	}
	s.Do(http.MethodPatch, "/v1/breakers/b", `{"while_open": {"policy": "reroute", "queue": "r"}}`).Want(http.StatusOK)
	if p := s.Do(http.MethodPut, "/v1/queues/r", `{"breaker": "b"}`).Problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != "body.breaker" {
		t.Errorf("a queue that routes to itself is refused at %+v", p.Errors)
	}
	s.Do(http.MethodPut, "/v1/queues/q", `{"breaker": "b"}`).Want(http.StatusOK)
	if b := s.Breaker("b"); !slices.Equal(b.Queues, []string{"q"}) {
		t.Errorf("its queues are %v", b.Queues)
	}
	if b := weirtest.Decode[weirtest.Breaker](s.Post("/v1/breakers/b/trip", obj{"by": "ann", "reason": "maintenance", "open_seconds": 3600}).Want(http.StatusOK)); b.State != "open" || b.NextProbeAt == nil || b.Policy != "reroute" {
		t.Errorf("tripped, it is %+v", b)
	}
	if b := weirtest.Decode[weirtest.Breaker](s.Post("/v1/breakers/b/pin", obj{"state": "open"}).Want(http.StatusOK)); !b.Pinned || b.NextProbeAt != nil {
		t.Errorf("pinned, it is %+v", b)
	}
	s.Post("/v1/breakers/b/reset", nil).Problem(http.StatusConflict, "breaker_pinned")
	s.Do(http.MethodDelete, "/v1/breakers/b", nil).Problem(http.StatusConflict, "breaker_in_use")
	s.Post("/v1/breakers/b/pin", obj{"state": "none"}).Want(http.StatusOK)
	s.Post("/v1/breakers/b/reset", nil).Want(http.StatusOK)
	for range 5 {
		s.Post("/v1/breakers/b/report", obj{"outcome": "failure", "error": obj{"message": "no answer"}}).Want(http.StatusOK)
	}
	if b := s.Breaker("b"); b.State != "open" {
		t.Errorf("after five reports it is %+v", b)
	}
	s.Do(http.MethodPut, "/v1/breakers/a", `{}`).Want(http.StatusOK)
	if page := weirtest.Decode[weirtest.Page[weirtest.Breaker]](s.Get("/v1/breakers?state=open").Want(http.StatusOK)); len(page.Items) != 1 || page.Items[0].Name != "b" {
		t.Errorf("those that are open: %+v", page)
	}
	first := weirtest.Decode[weirtest.Page[weirtest.Breaker]](s.Get("/v1/breakers?limit=1").Want(http.StatusOK))
	if second := weirtest.Decode[weirtest.Page[weirtest.Breaker]](s.Get("/v1/breakers?limit=1&cursor=" + *first.NextCursor).Want(http.StatusOK)); first.Items[0].Name != "a" || second.Items[0].Name != "b" || second.NextCursor != nil {
		t.Errorf("two pages: %+v, %+v", first, second)
	}
}

func TestRESTADegradedJobSaysSo(t *testing.T) {
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

func TestCLIBreakers(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.CLI("breakers").Says(0, "no circuit breakers yet")
	s.CLI("breakers", "set", "stripe", "failure_threshold=3", "while_open.policy=reroute", "while_open.queue=backup", "--replace").Says(0, "circuit breaker stripe is closed")
	s.CLI("breakers", "set", "none", "failure_threshold=3").Says(1, "there is no breaker")
	s.CLI("breakers", "set", "stripe", "failure_threshold=0").Says(1, "failure_threshold")
	s.CLI("breakers", "trip", "stripe", "--by", "ann", "--reason", "they are down", "--for", "1h").Says(0, "circuit breaker stripe is open (next probe in")
	s.CLI("enqueue", "k", "--breaker", "stripe").Says(0)
	s.CLI("breakers", "list").Says(0, "BREAKER", "stripe", "open")
	s.CLI("breakers", "show", "stripe").Says(0, "while_open", "backup", "opened", "ann", "they are down")
	s.CLI("breakers", "pin", "stripe", "open", "--for", "2h").Says(0, "pinned until")
	s.CLI("breakers", "reset", "stripe").Says(1, "is pinned open")
	s.CLI("breakers", "pin", "stripe", "none").Says(0)
	s.CLI("breakers", "reset", "stripe").Says(0, "stripe is closed")
	s.CLI("breakers", "events", "stripe").Says(0, "AT", "opened", "pinned", "unpinned", "closed", "they are down")
	s.CLI("breakers", "pin", "stripe", "shut").Says(2, "shut")
	s.CLI("breakers", "set", "stripe", "open_seconds=0.1", "while_open.policy=hold", "--by", "ann").Says(0)
	s.CLI("breakers", "events", "stripe", "--limit", "5").Says(0, "set", "ann", `"open_seconds":0.1`)
	s.CLI("breakers", "report", "stripe", "success", "--type", "T").Says(2, "failure")
	s.CLI("breakers", "report", "smtp", "success").Says(1, "there is no breaker")
	s.CLI("breakers", "set", "smtp", "failure_threshold=2", "open_seconds=0.1", "--replace").Says(0)
	s.CLI("breakers", "report", "smtp", "failure", "--type", "Timeout", "--calls", "2").Says(0, "smtp is")
	s.WaitForBreaker("smtp", "half_open")
	s.CLI("breakers", "show", "smtp").Says(0, "waits for a job to probe with", "2 of 2 calls failed")
	s.CLI("breakers", "delete", "smtp", "--yes").Says(1, "in use")
	s.Do(http.MethodPut, "/v1/queues/mail", obj{"breaker": "smtp"}).Want(http.StatusOK)
	s.CLI("queues").Says(0, "its circuit breaker smtp is half_open")
	s.Do(http.MethodPut, "/v1/queues/mail", obj{}).Want(http.StatusOK)
	s.CLI("breakers", "report", "smtp", "success").Says(0)
	s.Eventually("it has recovered", func() bool { b := s.Breaker("smtp"); return b.State == "closed" && !b.Recovering })
	s.CLI("breakers", "delete", "smtp", "--yes", "--by", "ann").Says(0, "smtp is gone")
	s.CLI("breakers", "show", "smtp").Says(1, "there is no breaker")
	if by := weirtest.Value[string](t, s.DB, "select by from weir.breaker_events where event = 'deleted'"); by != "ann" {
		t.Errorf("it was deleted by %s", by)
	}
	if r := s.CLI("breakers", "events", "stripe", "--limit", "1", "--json").Says(0); !strings.Contains(r.Stdout, fmt.Sprintf("%q", "items")) {
		t.Errorf("--json shows %s", r.Stdout)
	}
}
