package alert

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

// rule is a rule as clients see it.
type rule struct {
	Name, Tenant, Condition, Severity, Queue, Kind string

	Threshold        float64
	ResolveThreshold *float64 `json:"resolve_threshold"`
	WindowSeconds    int      `json:"window_seconds"`
	MinCalls         int      `json:"min_calls"`
	ForSeconds       int      `json:"for_seconds"`
	ClearSeconds     int      `json:"clear_seconds"`
	CooldownSeconds  int      `json:"cooldown_seconds"`
	Notify           []string
	Enabled          bool
	MutedUntil       *string `json:"muted_until"`
	Active, Unlisted int
	Problem          string
}

func get(s *weirtest.Node, name string) rule {
	s.T.Helper()
	return weirtest.Decode[rule](s.Get("/v1/alert-rules/" + name).Want(http.StatusOK))
}

func TestNewDatabaseHasFiveRules(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	want := map[string]rule{
		"no-active-worker": {Condition: "no_worker", Threshold: 0, CooldownSeconds: 120}, "queue-depth": {Condition: "queue_depth", Threshold: 1000, CooldownSeconds: 600},
		"failure-ratio": {Condition: "failure_ratio", Threshold: 0.5, WindowSeconds: 3600, CooldownSeconds: 900},
		"worker-silent": {Condition: "worker_silent", Threshold: 300, CooldownSeconds: 300}, "slow-heartbeats": {Condition: "slow_heartbeats", Threshold: 30, CooldownSeconds: 1200},
	}
	page := weirtest.Decode[weirtest.Page[rule]](s.Get("/v1/alert-rules").Want(http.StatusOK))
	if len(page.Items) != len(want) {
		t.Errorf("there are %d rules, want %d", len(page.Items), len(want))
	}
	for name, w := range want {
		if got := get(s, name); got.Condition != w.Condition || got.Threshold != w.Threshold || got.WindowSeconds != w.WindowSeconds || got.CooldownSeconds != w.CooldownSeconds || !got.Enabled {
			t.Errorf("%s is %+v", name, got)
		}
		// each is as if someone had set it: its settings pass the checks
		s.Do(http.MethodPatch, "/v1/alert-rules/"+name, obj{"description": "changed"}).Want(http.StatusOK)
	}
	s.Do(http.MethodDelete, "/v1/alert-rules/queue-depth", nil).Want(http.StatusNoContent)
	s.Exec("delete from weir.schema_source") // all functions are applied again
	if err := migrations.Up(t.Context(), s.DB.URL); err != nil {
		t.Fatal(err)
	}
	s.Get("/v1/alert-rules/queue-depth").Problem(http.StatusNotFound, "alert_rule_not_found")
	s.Get("/v1/alert-rules/failure-ratio").Want(http.StatusOK)
}

func TestRuleIsCreatedChangedAndDeleted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	full := obj{
		"condition": "failure_ratio", "threshold": 0.2, "resolve_threshold": 0.1, "window_seconds": 600, "min_calls": 5, "queue": "mail-*", "kind": "send", "for_seconds": 30,
		"clear_seconds": 90, "cooldown_seconds": 900, "severity": "critical", "quiet": obj{"timezone": "Europe/Berlin", "days": []string{"sat"}, "from": "22:00", "to": "06:00"},
		"description": "look at the provider's page", "enabled": true,
	}
	s.Post("/v1/alert-rules", weirtest.With(full, obj{"name": "r"})).Want(http.StatusCreated)
	s.Post("/v1/alert-rules", weirtest.With(full, obj{"name": "r"})).Problem(http.StatusConflict, "alert_rule_exists")
	if got := weirtest.Decode[obj](s.Get("/v1/alert-rules/r").Want(http.StatusOK)); got["quiet"].(obj)["timezone"] != "Europe/Berlin" || got["min_calls"] != 5.0 || got["queue"] != "mail-*" {
		t.Errorf("it is %v", got)
	}
	s.Do(http.MethodPatch, "/v1/alert-rules/r", obj{"threshold": 0.3, "quiet": nil, "severity": nil}).Want(http.StatusOK)
	got := get(s, "r")
	if got.Threshold != 0.3 || got.ResolveThreshold != nil || got.Severity != "warning" || got.MinCalls != 5 || got.Kind != "send" {
		t.Errorf("changed it is %+v", got)
	}
	// another condition brings its own threshold, and has no kind
	s.Do(http.MethodPatch, "/v1/alert-rules/r", obj{"condition": "queue_depth"}).Want(http.StatusOK)
	if got = get(s, "r"); got.Threshold != 1000 || got.Kind != "" || got.MinCalls != 0 || got.WindowSeconds != 0 || got.ForSeconds != 30 {
		t.Errorf("with another condition it is %+v", got)
	}
	s.PutAlertRule("r", obj{"condition": "breaker_open"})
	if got = get(s, "r"); got.ForSeconds != 0 || got.ClearSeconds != 60 || got.CooldownSeconds != 300 || got.Threshold != 0 {
		t.Errorf("put it is %+v", got)
	}
	s.PutAlertRule("made-by-put", obj{"condition": "node_lost"})
	s.Do(http.MethodDelete, "/v1/alert-rules/r", nil).Want(http.StatusNoContent)
	for _, call := range []string{"DELETE /v1/alert-rules/r", "GET /v1/alert-rules/r", "POST /v1/alert-rules/r/unmute"} {
		method, path, _ := strings.Cut(call, " ")
		s.Do(method, path, nil).Problem(http.StatusNotFound, "alert_rule_not_found")
	}
	s.Do(http.MethodPatch, "/v1/alert-rules/r", obj{"threshold": 1}).Problem(http.StatusNotFound, "alert_rule_not_found")
	s.Post("/v1/alert-rules/r/mute", obj{"seconds": 60}).Problem(http.StatusNotFound, "alert_rule_not_found")
}

func TestInvalidRuleIsRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.DB.Unchanged("rules that are wrong", func() {
		for _, c := range []struct {
			place  string
			change obj
		}{
			{"body.condition", obj{"condition": "hunger"}},
			{"body.threshold", obj{"threshold": -1}},
			{"body.threshold", obj{"threshold": 2000000}},
			{"body.threshold", obj{"condition": "failure_ratio", "threshold": 1}},
			{"body.threshold", obj{"condition": "worker_silent", "threshold": 5}},
			{"body.threshold", obj{"condition": "database_size", "threshold": nil}},
			{"body.resolve_threshold", obj{"threshold": 10, "resolve_threshold": 11}},
			{"body.window_seconds", obj{"window_seconds": 600}},
			{"body.window_seconds", obj{"condition": "dead_letters", "threshold": 5, "window_seconds": 100000}},
			{"body.min_calls", obj{"min_calls": 3}},
			{"body.queue", obj{"queue": "a b"}},
			{"body.queue", obj{"condition": "breaker_open", "queue": "mail"}},
			{"body.kind", obj{"kind": "k"}},
			{"body.for_seconds", obj{"for_seconds": 86401}},
			{"body.for_seconds", obj{"for_seconds": 1.5}},
			{"body.clear_seconds", obj{"clear_seconds": -1}},
			{"body.cooldown_seconds", obj{"cooldown_seconds": 604801}},
			{"body.severity", obj{"severity": "awful"}},
			{"body.quiet.from", obj{"quiet": obj{"from": "25:00", "to": "06:00"}}},
			{"body.quiet.to", obj{"quiet": obj{"from": "22:00", "to": "6"}}},
			{"body.quiet.timezone", obj{"quiet": obj{"from": "22:00", "to": "06:00", "timezone": "Mars/Olympus"}}},
			{"body.quiet.days", obj{"quiet": obj{"from": "22:00", "to": "06:00", "days": []string{"someday"}}}},
			{"body.notify", obj{"notify": []string{"nobody"}}},
			{"body.description", obj{"description": strings.Repeat("x", 1001)}},
			{"body.hunger", obj{"hunger": 1}},
		} {
			body := weirtest.With(obj{"condition": "queue_depth", "threshold": 10}, c.change)
			if body["threshold"] == nil {
				delete(body, "threshold")
			}
			p := s.Do(http.MethodPut, "/v1/alert-rules/r", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if !strings.HasPrefix(p.Errors[0].Location, c.place) {
				t.Errorf("%v: the problem is at %s (%s), want %s", c.change, p.Errors[0].Location, p.Errors[0].Message, c.place)
			}
		}
		// SQL has the same checks
		for settings, field := range map[string]string{
			`[]`: "settings", `{}`: "condition", `{"condition": "x"}`: "condition", `{"condition": "no_worker", "threshold": "much"}`: "threshold", `{"condition": "no_worker", "more": 1}`: "more",
			`{"condition": "node_lost", "threshold": 300}`: "threshold", `{"condition": "no_worker", "quiet": {"from": "1:00"}}`: "quiet.from", `{"condition": "no_worker", "notify": ["x"]}`: "notify",
			`{"condition": "no_worker", "enabled": 1}`: "enabled", `{"condition": "no_worker", "quiet": {"from": "22:00", "to": "06:00", "more": 1}}`: "quiet.more",
			`{"condition": "database_size"}`: "threshold", `{"condition": "no_worker", "for_seconds": 0.5}`: "for_seconds",
		} {
			if got := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.set_alert_rule('r', $1)", settings), "WR010").ColumnName; got != field {
				t.Errorf("%s names %q, want %q", settings, got, field)
			}
		}
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.set_alert_rule('a b', '{"condition": "no_worker"}')`), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.set_alert_rule('queue-depth', '{"condition": "no_worker"}', make => true)`), "WR103")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.set_alert_rule('r', '{"condition": "no_worker"}', make => false)`), "WR100")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.delete_alert_rule('r')`), "WR100")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.mute_alert_rule('r', now() + interval '1 hour')`), "WR100")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.mute_alert_rule('queue-depth', now() - interval '1 hour')`), "WR010")
		s.Post("/v1/alert-rules/queue-depth/mute", obj{}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
		s.Post("/v1/alert-rules/queue-depth/mute", obj{"seconds": 60, "until": "2099-01-01T00:00:00Z"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	})
}

func TestNumberOfRulesIsBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("insert into weir.alert_rule (name, condition, threshold) select 'r' || i, 'no_worker', 0 from generate_series(1, 500 - 5) i")
	p := s.Do(http.MethodPut, "/v1/alert-rules/one-more", obj{"condition": "no_worker"}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	if !strings.Contains(p.Detail, "more than 500") {
		t.Errorf("the problem is %q", p.Detail)
	}
	s.PutAlertRule("r1", obj{"condition": "no_worker", "threshold": 5})
	first := weirtest.Decode[weirtest.Page[rule]](s.Get("/v1/alert-rules?limit=300").Want(http.StatusOK))
	second := weirtest.Decode[weirtest.Page[rule]](s.Get("/v1/alert-rules?limit=300&cursor=" + *first.NextCursor).Want(http.StatusOK))
	names := map[string]bool{}
	for _, r := range slices.Concat(first.Items, second.Items) {
		names[r.Name] = true
	}
	if len(names) != 500 {
		t.Errorf("the pages have %d rules", len(names))
	}
	s.EvaluateAlerts()
}
