package alert

import (
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestQuietHoursEndWhenTheySay asks for the end of the quiet hours that a time lies in.
func TestQuietHoursEndWhenTheySay(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	for _, c := range []struct{ quiet, at, want string }{
		{`{"from": "22:00", "to": "06:00"}`, "2026-01-31 21:59:59Z", ""},
		{`{"from": "22:00", "to": "06:00"}`, "2026-01-31 22:00:00Z", "2026-02-01T06:00:00Z"},
		{`{"from": "22:00", "to": "06:00"}`, "2026-02-01 05:59:59Z", "2026-02-01T06:00:00Z"},
		{`{"from": "22:00", "to": "06:00"}`, "2026-02-01 06:00:00Z", ""},
		{`{"from": "12:00", "to": "13:00"}`, "2026-01-31 12:30:00Z", "2026-01-31T13:00:00Z"},
		{`{"from": "12:00", "to": "13:00", "timezone": "Europe/Berlin"}`, "2026-01-31 11:30:00Z", "2026-01-31T12:00:00Z"},
		// the 31st of January 2026 is a Saturday: the night of Saturday belongs to it, that of Sunday does not
		{`{"from": "22:00", "to": "06:00", "days": ["sat"]}`, "2026-02-01 03:00:00Z", "2026-02-01T06:00:00Z"},
		{`{"from": "22:00", "to": "06:00", "days": ["sun"]}`, "2026-02-01 03:00:00Z", ""},
		// a whole weekend, day after day
		{`{"from": "00:00", "to": "00:00", "days": ["sat", "sun"]}`, "2026-01-31 09:00:00Z", "2026-02-02T00:00:00Z"},
		// the clocks go forward in the night to the 29th of March, and back in that to the 25th of October
		{`{"from": "22:00", "to": "06:00", "timezone": "Europe/Berlin"}`, "2026-03-28 23:00:00Z", "2026-03-29T04:00:00Z"},
		{`{"from": "22:00", "to": "06:00", "timezone": "Europe/Berlin"}`, "2026-10-24 23:00:00Z", "2026-10-25T05:00:00Z"},
		{`null`, "2026-01-31 12:00:00Z", ""},
	} {
		got := weirtest.Value[string](t, d, "select coalesce(weir.iso(weir.quiet_until(nullif($1::jsonb, 'null'), $2::text::timestamptz)), '')", c.quiet, c.at)
		if got != c.want {
			t.Errorf("%s at %s: got %q, want %q", c.quiet, c.at, got, c.want)
		}
	}
}

// setTarget makes a target that no node sends to, and a rule that tells it.
func setTarget(s *weirtest.Node, settings obj) {
	s.Exec(`select weir.set_alert_target('t', '{"kind": "slack", "url": "https://hooks.example.com/x", "events": ["opened", "acknowledged", "resolved"]}')`)
	s.OnlyAlertRule("r", weirtest.With(obj{"condition": "queue_depth", "threshold": 0, "clear_seconds": 0, "cooldown_seconds": 0, "notify": []string{"t"}}, settings))
}

// take hands out what is due, and returns the events of it.
func take(s *weirtest.Node) []string {
	s.T.Helper()
	return weirtest.Values[string](s.T, s.DB, "select d.event from weir.dispatch_alert_deliveries(100) x join weir.alert_delivery d on d.id = x.delivery_id order by d.id")
}

func wantTaken(s *weirtest.Node, when string, want ...string) {
	s.T.Helper()
	got := take(s)
	if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
		s.T.Errorf("%s: handed out %q, want %q", when, got, want)
	}
}

func TestMutedRuleSendsWhenTheMuteEnds(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	setTarget(s, nil)
	s.Post("/v1/alert-rules/r/mute", obj{"seconds": 3600}).Want(http.StatusOK)
	if get(s, "r").MutedUntil == nil {
		t.Error("the rule does not say that it is muted")
	}
	depth(s, 1)
	if got := s.Alerts("?state=open"); len(got) != 1 {
		t.Fatalf("while it is muted there is %+v", got)
	}
	wantTaken(s, "while it is muted")
	if d := s.AlertDeliveries(s.Alerts("")[0].ID)[0]; d.State != "pending" || d.NextAt == nil || time.Until(*d.NextAt) < 50*time.Minute {
		t.Errorf("the delivery is %+v", d)
	}
	s.Post("/v1/alert-rules/r/unmute", nil).Want(http.StatusOK)
	wantTaken(s, "when the mute ends", "opened")
	// muted after the alert was noted: it is held back anyway
	depth(s, 0)
	wantTaken(s, "the end of what is under way waits") // until the opening has come
	s.Exec("update weir.alert_delivery set next_at = now() where state = 'pending' and event = 'resolved'")
	s.Post("/v1/alert-rules/r/mute", obj{"seconds": 60}).Want(http.StatusOK)
	wantTaken(s, "muted since")
	s.Exec("update weir.alert_rule set muted_until = now() - interval '1 s'")
	s.Exec("update weir.alert_delivery set next_at = now() where state = 'pending'")
	wantTaken(s, "the mute is over", "resolved")
	ops := weirtest.Values[string](t, s.DB, "select operation from weir.audit where object = 'alert-rules/r' and operation like '%mute%' order by id")
	if len(ops) != 4 || ops[0] != "muteAlertRule" || ops[1] != "unmuteAlertRule" {
		t.Errorf("the audit trail has %q", ops)
	}
}

func TestAlertThatEndsInQuietHoursIsNotSent(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	setTarget(s, obj{"quiet": obj{"from": "00:00", "to": "00:00"}})
	depth(s, 1)
	wantTaken(s, "in quiet hours")
	depth(s, 0)
	s.Exec("update weir.alert_rule set quiet = null")
	s.Exec("update weir.alert_delivery set next_at = now() where state = 'pending'")
	wantTaken(s, "after it has resolved")
	if got := s.AlertDeliveries(s.Alerts("")[0].ID); len(got) != 1 || got[0].State != "dropped" {
		t.Errorf("the deliveries are %+v", got)
	}
}

// TestEventsOfOneAlertAreToldInOrder: acknowledged and resolved are for those who were told that it opened.
func TestEventsOfOneAlertAreToldInOrder(t *testing.T) {
	t.Parallel()
	s := startWithoutJobs(t)
	setTarget(s, nil)
	depth(s, 1)
	id := s.Alerts("")[0].ID
	wantTaken(s, "it opened", "opened")
	wantTaken(s, "once")
	s.Exec("select weir.record_alert_attempt(id, takes, null, null) from weir.alert_delivery")
	s.Post("/v1/alerts/"+id+"/acknowledge", obj{}).Want(http.StatusOK)
	wantTaken(s, "it was acknowledged", "acknowledged")
	depth(s, 0)
	wantTaken(s, "it resolved", "resolved")
	events := map[string]string{}
	for _, d := range s.AlertDeliveries(id) {
		events[d.Event] = d.State
	}
	if events["opened"] != "delivered" || events["acknowledged"] != "dropped" || events["resolved"] != "pending" {
		t.Errorf("the deliveries are %v", events)
	}
}
