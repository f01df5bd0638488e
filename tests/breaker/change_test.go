package breaker

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestInvalidBreakerSettingsAreRefused(t *testing.T) {
	t.Parallel()
	t.Run("SQL", invalidBreakerSettingsAreRefusedSQL)
	t.Run("REST", invalidBreakerSettingsAreRefusedREST)
}

func invalidBreakerSettingsAreRefusedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_queue('a', '{"breaker": "to-b"}'), weir.set_queue('b', '{"breaker": "to-c"}'), weir.set_breaker('to-b', '{"while_open": {"policy": "reroute", "queue": "b"}}')`)
	weirtest.EnqueueOne(t, d, "c")
	before := d.Snapshot()
	for settings, field := range map[string]string{
		`{"failure_threshold": 0}`: "failure_threshold", `{"failure_threshold": -1}`: "failure_threshold", `{"failure_threshold": 2.5}`: "failure_threshold", `{"failure_threshold": "x"}`: "failure_threshold",
		`{"failure_ratio": 0}`: "failure_ratio", `{"failure_ratio": 1.1}`: "failure_ratio", `{"failure_ratio": 0.5, "failure_threshold": 5}`: "failure_ratio", `{"min_calls": 0}`: "min_calls",
		`{"window_seconds": 3601}`: "window_seconds", `{"window_seconds": 0}`: "window_seconds", `{"open_seconds": 0}`: "open_seconds", `{"open_seconds": -5}`: "open_seconds",
		`{"open_seconds": 60, "max_open_seconds": 30}`: "max_open_seconds", `{"open_seconds": 10000}`: "max_open_seconds", `{"half_open_probes": 0}`: "half_open_probes", `{"close_after": 0}`: "close_after",
		`{"ramp_per_second": 0}`: "ramp_per_second", `{"ramp_factor": 0.5}`: "ramp_factor", `{"treshold": 5}`: "treshold", `[]`: "settings",
		`{"counts": []}`: "counts", `{"counts": {"type": []}}`: "counts.type", `{"counts": {"types": "x"}}`: "counts.types", `{"counts": {"pattern": "("}}`: "counts.pattern", `{"counts": {"except_types": [1]}}`: "counts.except_types",
		`{"while_open": "hold"}`: "while_open", `{"while_open": {}}`: "while_open.policy", `{"while_open": {"policy": "explode"}}`: "while_open.policy", `{"while_open": {"policy": "hold", "queue": "c"}}`: "while_open.queue",
		`{"while_open": {"policy": "reroute"}}`: "while_open.queue", `{"while_open": {"policy": "throttle"}}`: "while_open.per_second", `{"while_open": {"policy": "throttle", "per_second": 0}}`: "while_open.per_second",
		`{"while_open": {"policy": "postpone", "delay_seconds": -1}}`: "while_open.delay_seconds", `{"while_open": {"policy": "complete_default"}}`: "while_open.result",
		`{"while_open": {"policy": "degraded", "until": "tomorrow"}}`: "while_open.until", `{"while_open": {"policy": "degraded", "for_seconds": 0}}`: "while_open.for_seconds",
		`{"while_open": {"policy": "degraded", "for_seconds": 5, "until": "2030-01-01T00:00:00Z"}}`: "while_open.until",
		`{"while_open": {"policy": "reroute", "queue": "b"}}`:                                       "while_open.queue", `{"while_open": {"policy": "reroute", "queue": "a"}}`: "while_open.queue",
	} {
		if got := weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir.set_breaker('to-c', $1)", settings), "WR010").ColumnName; got != field {
			t.Errorf("%s: refused at %s, want %s", settings, got, field)
		}
	}
	if after := d.Snapshot(); after != before {
		t.Errorf("something was changed:\n%s", weirtest.Difference(before, after))
	}
	weirtest.Exec(t, d, `select weir.set_breaker('to-c', '{"while_open": {"policy": "reroute", "queue": "c"}}')`)
	before = d.Snapshot()
	for what, field := range map[string]string{
		`weir.set_queue('c', '{"breaker": "to-b"}')`: "breaker", `weir.set_queue('c', '{"breaker": "no good"}')`: "breaker", "weir.set_breaker('no good')": "name",
		"weir.trip_breaker('to-b', '')": "by", "weir.trip_breaker('to-b', reason => '')": "reason", "weir.trip_breaker('to-b', open_seconds => 0)": "open_seconds",
		"weir.pin_breaker('to-b', 'shut')": "state", "weir.pin_breaker('to-b', 'open', for_seconds => -1)": "for_seconds", "weir.pin_breaker('to-b', 'none', for_seconds => 5)": "for_seconds",
		"weir.report_breaker('to-b', 'maybe')": "outcome", "weir.report_breaker('to-b', 'failure', calls => 0)": "calls",
		`weir.enqueue('k', options => '{"breaker": "no good"}')`: "options.breaker", `weir.enqueue('k', options => '{"breaker": 7}')`: "options.breaker",
	} {
		if got := weirtest.WantSQLState(t, weirtest.TryExec(d, "select "+what), "WR010").ColumnName; got != field {
			t.Errorf("%s: refused at %s, want %s", what, got, field)
		}
	}
	if after := d.Snapshot(); after != before {
		t.Errorf("something was changed:\n%s", weirtest.Difference(before, after))
	}
	for _, what := range []string{"trip_breaker('none')", "reset_breaker('none')", "pin_breaker('none', 'open')", "report_breaker('none', 'success')", "delete_breaker('none')"} {
		weirtest.WantSQLState(t, weirtest.TryExec(d, "select weir."+what), "WR065")
	}
}

func invalidBreakerSettingsAreRefusedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	// b reroutes to backup, backup to more: a route from more back to either is a cycle.
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
		{`{"while_open": {"policy": "postpone"}}`, "while_open.delay_seconds", "requires it"},
		{`{"while_open": {"policy": "postpone", "delay_seconds": 0}}`, "while_open.delay_seconds", "0.1"},
		{`{"while_open": {"policy": "complete_default"}}`, "while_open.result", "any JSON"},
		{`{"while_open": {"policy": "hold", "per_second": 5}}`, "while_open.per_second", "hold"},
		{`{"while_open": {"policy": "degraded", "for_seconds": -5}}`, "while_open.for_seconds", "0.1"},
		{`{"while_open": {"policy": "degraded", "until": "soon"}}`, "while_open.until", ""},
		{`{"while_open": {"policy": "reroute"}}`, "while_open.queue", "must be the name of a queue"},
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

func TestBreakerIsChangedByHand(t *testing.T) {
	t.Parallel()
	t.Run("REST", breakerIsChangedByHandREST)
	t.Run("CLI", breakerIsChangedByHandCLI)
}

func breakerIsChangedByHandREST(t *testing.T) {
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
	// A node that holds the breaker's lock at that moment evaluates the reports in its next check.
	s.Eventually("five reports open it", func() bool { return s.Breaker("b").State == "open" })
	s.Do(http.MethodPut, "/v1/breakers/a", `{}`).Want(http.StatusOK)
	if page := weirtest.Decode[weirtest.Page[weirtest.Breaker]](s.Get("/v1/breakers?state=open").Want(http.StatusOK)); len(page.Items) != 1 || page.Items[0].Name != "b" {
		t.Errorf("those that are open: %+v", page)
	}
	first := weirtest.Decode[weirtest.Page[weirtest.Breaker]](s.Get("/v1/breakers?limit=1").Want(http.StatusOK))
	if second := weirtest.Decode[weirtest.Page[weirtest.Breaker]](s.Get("/v1/breakers?limit=1&cursor=" + *first.NextCursor).Want(http.StatusOK)); first.Items[0].Name != "a" || second.Items[0].Name != "b" || second.NextCursor != nil {
		t.Errorf("two pages: %+v, %+v", first, second)
	}
}

func breakerIsChangedByHandCLI(t *testing.T) {
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

// A setting that is null gets its default; a null inside the result of policy complete_default is a value.
func TestReplacedSettingsKeepNullsOfResult(t *testing.T) {
	t.Parallel()
	const settings = `{"min_calls": null, "while_open": {"policy": "complete_default", "result": {"price": null}}}`
	const stored = "select while_open #> '{result}' || jsonb_build_object('min_calls', min_calls) from weir.breaker where name = 'b'"
	want := `{"price": null, "min_calls": 10}`
	t.Run("SQL", func(t *testing.T) {
		t.Parallel()
		d := weirtest.New(t)
		weirtest.Exec(t, d, "select weir.set_breaker('b', $1, replace => true)", settings)
		if got := weirtest.Value[string](t, d, stored); got != want {
			t.Errorf("stored %s, want %s", got, want)
		}
	})
	t.Run("REST", func(t *testing.T) {
		t.Parallel()
		s := weirtest.StartNode(t)
		s.Do(http.MethodPut, "/v1/breakers/b", settings).Want(http.StatusOK)
		if got := weirtest.Value[string](t, s.DB, stored); got != want {
			t.Errorf("stored %s, want %s", got, want)
		}
	})
}
