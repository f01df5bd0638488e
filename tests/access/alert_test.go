package access

import (
	"slices"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestLoginsSeeAndChangeTheirAlertsOnly: a login of a tenant has rules of that tenant, and nothing of others is there for it.
func TestLoginsSeeAndChangeTheirAlertsOnly(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Exec("delete from weir.alert_rule")
	s.Exec(`select weir.set_queue('acme-mail', '{"tenant": "acme"}')`)
	s.Exec(`select weir.enqueue('k', queue => 'acme-mail', options => '{"tenant": "acme"}'), weir.enqueue('k', queue => 'other')`)
	s.Exec(`select weir.set_alert_rule('all', '{"condition": "queue_depth", "threshold": 0}')`)
	operator := weirtest.Login(t, s.DB, "alert_operator", "'operator', '{*}', 'acme'")
	reader := weirtest.Login(t, s.DB, "alert_reader", "'reader', '{*}', 'acme'")
	weirtest.Exec(t, operator, `select weir.set_alert_rule('mine', '{"condition": "queue_depth", "threshold": 0}')`)
	s.EvaluateAlerts()

	for _, l := range []*weirtest.Database{operator, reader} {
		if got := weirtest.Values[string](t, l, "select rule || ' ' || subject from weir_read.alerts"); !slices.Equal(got, []string{"mine acme-mail"}) {
			t.Errorf("a login sees the alerts %q", got)
		}
		if got := weirtest.Values[string](t, l, "select name from weir_read.alert_rules"); !slices.Equal(got, []string{"mine"}) {
			t.Errorf("a login sees the rules %q", got)
		}
		if got := weirtest.Values[string](t, l, "select rule_name || ' ' || subject from weir.evaluate_alerts()"); !slices.Equal(got, []string{"mine acme-mail"}) {
			t.Errorf("an evaluation tells a login of %q", got)
		}
	}
	all := weirtest.Value[int64](t, s.DB, "select id from weir.alert where rule = 'all' limit 1")
	for sql, code := range map[string]string{
		"select weir.delete_alert_rule('all')": "WR100", "select weir.mute_alert_rule('all', now() + interval '1 hour')": "WR100", "select weir.evaluate_alerts('all')": "WR100",
		`select weir.set_alert_rule('x', '{"condition": "node_lost"}')`: "WR010",
	} {
		weirtest.WantSQLState(t, weirtest.TryExec(operator, sql), code)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(operator, "select weir.acknowledge_alert($1)", all), "WR101")
	weirtest.Exec(t, operator, "select weir.acknowledge_alert((select id from weir_read.alerts), 'seen')")
	if by := weirtest.Value[string](t, s.DB, "select acknowledged_by from weir.alert where rule = 'mine'"); by != operator.Role() {
		t.Errorf("it was acknowledged by %q", by)
	}
	weirtest.WantSQLState(t, weirtest.TryExec(reader, "select weir.delete_alert_rule('mine')"), "42501")
	weirtest.WantSQLState(t, weirtest.TryExec(operator, `select weir.set_alert_target('t', '{"kind": "slack", "url": "https://example.com"}')`), "42501")
	weirtest.WantSQLState(t, weirtest.TryExec(operator, "select * from weir.alert_delivery"), "42501")
}
