package alert

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// pass moves all that the rules remember into the past, as if that many seconds had gone by.
func pass(s *weirtest.Node, seconds int) {
	for _, sql := range []string{
		"update weir.alert_pending set since = since - make_interval(secs => $1)",
		`update weir.alert set since = since - make_interval(secs => $1), opened_at = opened_at - make_interval(secs => $1), clear_since = clear_since - make_interval(secs => $1),
			resolved_at = resolved_at - make_interval(secs => $1)`,
	} {
		s.Exec(sql, seconds)
	}
}

// depth gives a queue that many waiting jobs.
func depth(s *weirtest.Node, n int) {
	s.Exec("delete from weir.job_ready")
	s.Exec("insert into weir.job_ready (queue_id, priority, seq) select weir.queue_id('mail'), 5, nextval('weir.job_id_seq') from generate_series(1, $1)", n)
	s.EvaluateAlerts()
}

func states(s *weirtest.Node) string {
	var all []string
	for _, a := range s.Alerts("") {
		all = append(all, a.State)
	}
	return strings.Join(all, " ")
}

func TestAlertOpensAfterForAndResolvesWithHysteresis(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	s.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 10, "resolve_threshold": 5, "for_seconds": 60, "clear_seconds": 30, "cooldown_seconds": 300, "queue": "mail"})
	for _, step := range []struct {
		what    string
		seconds int // that pass before
		depth   int
		want    string
	}{
		{"it holds, but not for long enough", 0, 11, ""},
		{"still not", 59, 11, ""},
		{"a moment below the threshold begins the time again", 30, 10, ""},
		{"so it does not open a minute after the first time", 30, 11, ""},
		{"now it has held for a minute", 60, 12, "open"},
		{"between the thresholds it stays", 60, 6, "open"},
		{"below the lower one it waits to be clear for long enough", 0, 5, "open"},
		{"a moment above begins that time again", 20, 6, "open"},
		{"it is clear again", 60, 4, "open"},
		{"and for long enough", 30, 4, "resolved"},
		{"it holds again", 0, 20, "resolved"},
		{"for long enough, but within the cooldown", 60, 20, "resolved"},
		{"the cooldown is over", 80, 20, "open resolved"},
	} {
		pass(s, step.seconds)
		depth(s, step.depth)
		if got := states(s); got != step.want {
			t.Fatalf("%s: got %q, want %q", step.what, got, step.want)
		}
	}
	if a := s.Alerts("?state=resolved")[0]; a.Value != 6 || a.Highest != 12 || a.Subject != "mail" {
		t.Errorf("the first alert is %+v", a)
	}
}

// startWithoutJobs starts a node with a queue whose places a test writes itself.
func startWithoutJobs(t *testing.T) *weirtest.Node {
	s := weirtest.StartNode(t)
	s.Exec("select weir.set_queue('mail', '{}')")
	t.Cleanup(func() { weirtest.Exec(t, s.DB, "delete from weir.job_ready") }) // no facts belong to them
	return s
}

func TestAlertIsAcknowledged(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.OnlyAlertRule("r", obj{"condition": "queue_depth", "threshold": 0, "clear_seconds": 0})
	s.Enqueue(obj{"kind": "k", "queue": "mail"})
	s.EvaluateAlerts()
	id := s.Alerts("?state=open")[0].ID
	ann, bob := s.AsNew("ann", nil, "operator"), s.AsNew("bob", nil, "operator")
	path := "/v1/alerts/" + id + "/acknowledge"
	a := weirtest.Decode[weirtest.Alert](ann.Post(path, obj{"note": "looking"}).Want(http.StatusOK))
	if a.State != "acknowledged" || a.AcknowledgedBy != "ann" || a.Note != "looking" {
		t.Errorf("acknowledged it is %+v", a)
	}
	if a = weirtest.Decode[weirtest.Alert](bob.Post(path, obj{"note": "found it"}).Want(http.StatusOK)); a.AcknowledgedBy != "ann" || a.Note != "found it" {
		t.Errorf("a second time it is %+v", a)
	}
	if a = weirtest.Decode[weirtest.Alert](bob.Post(path, nil).Want(http.StatusOK)); a.Note != "found it" {
		t.Errorf("without a note it is %+v", a)
	}
	for _, body := range []any{obj{"note": ""}, obj{"note": strings.Repeat("x", 2001)}, obj{"more": 1}} {
		bob.Post(path, body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.acknowledge_alert(999)"), "WR101")
	bob.Post("/v1/alerts/999/acknowledge", nil).Problem(http.StatusNotFound, "alert_not_found")
	bob.Post("/v1/alerts/99999999999999999999/acknowledge", nil).Problem(http.StatusNotFound, "alert_not_found")
	entries := weirtest.Values[string](t, s.DB, "select principal || ' ' || object || ' ' || coalesce(after ->> 'note', '') from weir.audit where operation = 'acknowledgeAlert' order by id")
	want := []string{"ann alerts/" + id + " looking", "bob alerts/" + id + " found it", "bob alerts/" + id + " found it"}
	if !slices.Equal(entries, want) {
		t.Errorf("the audit trail has %q, want %q", entries, want)
	}
	s.ClaimAs("w", 1, "mail")
	s.EvaluateAlerts()
	if a := s.Alerts("")[0]; a.State != "resolved" || a.AcknowledgedBy != "ann" {
		t.Errorf("resolved it is %+v", a)
	}
	bob.Post(path, nil).Problem(http.StatusConflict, "alert_resolved")
}

func TestDeletedOrDisabledRuleResolvesItsAlerts(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	s.OnlyAlertRule("a", obj{"condition": "queue_depth", "threshold": 0})
	s.PutAlertRule("b", obj{"condition": "queue_depth", "threshold": 0})
	depth(s, 1)
	s.Do(http.MethodDelete, "/v1/alert-rules/a", nil).Want(http.StatusNoContent)
	s.Do(http.MethodPatch, "/v1/alert-rules/b", obj{"enabled": false}).Want(http.StatusOK)
	s.EvaluateAlerts()
	for rule, because := range map[string]string{"a": "rule_deleted", "b": "rule_disabled"} {
		if got := s.Alerts("?rule=" + rule); len(got) != 1 || got[0].State != "resolved" || got[0].ResolvedBecause != because {
			t.Errorf("of %s there is %+v", rule, got)
		}
	}
	if n := s.Count("select count(*) from weir.alert_pending"); n != 0 {
		t.Errorf("%d subjects are still pending", n)
	}
}

func TestAlertsOfARuleAreBounded(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.OnlyAlertRule("r", obj{"condition": "schedule_late", "threshold": 1, "clear_seconds": 0})
	s.Exec(`insert into weir.schedule (name, every_seconds, timezone, job, jitter_seconds, misfire, misfire_limit, overlap, created_at, updated_at, next_slot_at)
		select 's' || i, 3600, 'UTC', '{"kind": "k"}', 0, 'latest', 1, 'allow', now(), now(), now() - make_interval(secs => 1000 + i) from generate_series(1, 130) i`)
	s.EvaluateAlerts()
	s.EvaluateAlerts()
	if r := get(s, "r"); r.Active != 100 || r.Unlisted != 30 {
		t.Errorf("the rule has %d alerts and %d more", r.Active, r.Unlisted)
	}
	if n := s.Count("select count(*) from weir.alert where subject = 's1'"); n != 0 {
		t.Error("the least of all has an alert")
	}
	// those that resolve make room for others
	s.Exec("update weir.schedule set next_slot_at = now() + interval '1 hour' where name in ('s130', 's129')")
	s.EvaluateAlerts()
	if r := get(s, "r"); r.Active != 100 || r.Unlisted != 28 {
		t.Errorf("then it has %d alerts and %d more", r.Active, r.Unlisted)
	}
}

func TestAlertsAreListedAndSwept(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec(`insert into weir.alert (rule_id, rule, queues, condition, severity, subject_kind, subject, state, summary, value, highest, threshold, since, opened_at, resolved_at, resolved_because)
		select 1, case when i % 2 = 0 then 'even' else 'odd' end, '{}', 'queue_depth', (array['info', 'warning', 'critical'])[1 + i % 3], 'queue', 'q' || i, case when i <= 50 then 'resolved' else 'open' end, 's', 1, 1, 0,
			now() - make_interval(days => 100 - i), now() - make_interval(days => 100 - i), case when i <= 50 then now() - make_interval(days => 100 - i) end, case when i <= 50 then 'cleared' end
		from generate_series(1, 60) i`)
	for query, want := range map[string]int{
		"?limit=1000": 60, "?limit=1000&state=open": 10, "?limit=1000&state=open,resolved": 60, "?limit=1000&state=open,acknowledged": 10, "?limit=1000&severity=info": 20,
		"?limit=1000&rule=even": 30, "?subject=q7": 1, "?tenant=acme": 0, "?limit=1000&state=resolved&rule=odd&severity=critical,warning": 17,
	} {
		if got := len(s.Alerts(query)); got != want {
			t.Errorf("%s lists %d, want %d", query, got, want)
		}
	}
	seen := 0
	for cursor := "?limit=7"; cursor != ""; {
		page := weirtest.Decode[weirtest.Page[weirtest.Alert]](s.Get("/v1/alerts" + cursor).Want(http.StatusOK))
		seen += len(page.Items)
		cursor = ""
		if page.NextCursor != nil {
			cursor = "?limit=7&cursor=" + *page.NextCursor
		}
	}
	if seen != 60 {
		t.Errorf("the pages have %d", seen)
	}
	s.Get("/v1/alerts?state=unheard").Problem(http.StatusUnprocessableEntity, "invalid_argument")
	s.Get("/v1/alerts/5").Want(http.StatusOK)
	s.Get("/v1/alerts/500").Problem(http.StatusNotFound, "alert_not_found")
	// resolved ones go after 90 days, and beyond a number
	if n := weirtest.Value[int](t, s.DB, "select weir.sweep_alerts()"); n != 10 {
		t.Errorf("swept %d, want those that resolved 90 to 99 days ago", n)
	}
	if n := weirtest.Value[int](t, s.DB, "select weir.sweep_alerts(kept => 5)"); n != 35 {
		t.Errorf("swept %d beyond the newest five", n)
	}
	if n := s.Count("select count(*) from weir.alert"); n != 15 {
		t.Errorf("%d alerts are left", n)
	}
}

// TestFailingRuleStopsNoOther breaks one condition.
func TestFailingRuleStopsNoOther(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	s.OnlyAlertRule("a", obj{"condition": "node_lost"})
	s.PutAlertRule("b", obj{"condition": "queue_depth", "threshold": 0})
	s.Exec("alter table weir.health_check rename to health_check_away")
	depth(s, 1)
	s.Exec("alter table weir.health_check_away rename to health_check")
	if got := get(s, "a"); !strings.Contains(got.Problem, "could not be evaluated") {
		t.Errorf("the rule that fails is %+v", got)
	}
	if got := s.Alerts("?rule=b"); len(got) != 1 {
		t.Errorf("the other has %+v", got)
	}
	s.EvaluateAlerts()
	if got := get(s, "a"); got.Problem != "" {
		t.Errorf("repaired it is %+v", got)
	}
}

func TestStatsOfAlerts(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	add := func(rule, severity string, openedAgo, acknowledgedAfter, resolvedAfter int) {
		s.Exec(fmt.Sprintf(`insert into weir.alert (rule_id, rule, queues, condition, severity, subject_kind, subject, state, summary, value, highest, threshold, since, opened_at, acknowledged_at, resolved_at)
			select 1, '%s', '{}', 'queue_depth', '%s', 'queue', gen_random_uuid()::text, case when %[5]d > 0 then 'resolved' when %[4]d > 0 then 'acknowledged' else 'open' end, 's', 1, 1, 0, at, at,
				case when %[4]d > 0 then at + make_interval(secs => %[4]d) end, case when %[5]d > 0 then at + make_interval(secs => %[5]d) end
			from (select date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - make_interval(days => %[3]d) as at) x`, rule, severity, openedAgo, acknowledgedAfter, resolvedAfter))
	}
	add("a", "warning", 0, 0, 0)
	add("a", "critical", 1, 30, 0)
	add("a", "critical", 1, 90, 600)
	add("b", "info", 2, 0, 200)
	add("b", "info", 20, 10, 20)
	got := weirtest.Decode[struct {
		Open                   map[string]int
		AcknowledgedNow        map[string]int `json:"acknowledged_now"`
		Opened                 int
		MeanAcknowledgeSeconds float64 `json:"mean_acknowledge_seconds"`
		MeanResolveSeconds     float64 `json:"mean_resolve_seconds"`
		Rules                  []struct {
			Rule             string
			Opened, Resolved int
			MeanResolve      float64 `json:"mean_resolve_seconds"`
		}
		Days []struct {
			Day              string
			Opened, Critical int
		}
	}](s.Get("/v1/alerts/stats").Want(http.StatusOK))
	if got.Open["warning"] != 1 || got.Open["critical"] != 0 || got.AcknowledgedNow["critical"] != 1 || got.Opened != 4 || got.MeanAcknowledgeSeconds != 60 || got.MeanResolveSeconds != 400 {
		t.Errorf("the numbers are %+v", got)
	}
	if len(got.Rules) != 2 || got.Rules[0].Rule != "a" || got.Rules[0].Opened != 3 || got.Rules[0].MeanResolve != 600 || got.Rules[1].Resolved != 1 {
		t.Errorf("by rule they are %+v", got.Rules)
	}
	if len(got.Days) != 3 || got.Days[1].Opened != 2 || got.Days[1].Critical != 2 {
		t.Errorf("by day they are %+v", got.Days)
	}
	s.Get("/v1/alerts/stats?window_seconds=9000000").Problem(http.StatusUnprocessableEntity, "invalid_argument")
}
