package alert

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCallersSeeAlertsOfTheirRulesOnly(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	s.Exec("delete from weir.alert_rule")
	for _, tenant := range []string{"a", "b"} {
		s.Do(http.MethodPut, "/v1/queues/"+tenant+"-mail", obj{"tenant": tenant}).Want(http.StatusOK)
		s.Exec("select weir.enqueue('k', queue => $1 || '-mail', options => jsonb_build_object('tenant', $1::text))", tenant)
	}
	a := s.AsNew("a", obj{"tenant": "a"}, "operator")
	b := s.AsNew("b", obj{"tenant": "b"}, "reader")
	some := s.AsNew("some", obj{"queues": []string{"a-*"}}, "operator")
	s.PutAlertRule("all", obj{"condition": "queue_depth", "threshold": 0})
	s.PutAlertRule("of-a", obj{"condition": "queue_depth", "threshold": 0, "queue": "a-*"})
	a.PutAlertRule("mine", obj{"condition": "queue_depth", "threshold": 0})
	s.EvaluateAlerts()

	rules := func(n *weirtest.Node) string {
		var names []string
		for _, r := range weirtest.Decode[weirtest.Page[rule]](n.Get("/v1/alert-rules").Want(http.StatusOK)).Items {
			names = append(names, r.Tenant+"/"+r.Name)
		}
		return strings.Join(names, " ")
	}
	alerts := func(n *weirtest.Node) string {
		var names []string
		for _, x := range n.Alerts("") {
			names = append(names, x.Rule+":"+x.Subject)
		}
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		who           string
		node          *weirtest.Node
		rules, alerts string
	}{
		{"an admin", s, "/all /of-a a/mine", "mine:a-mail of-a:a-mail all:b-mail all:a-mail"},
		{"tenant a", a, "a/mine", "mine:a-mail"},
		{"tenant b", b, "", ""},
		{"a key of some queues", some, "/of-a", "of-a:a-mail"},
	} {
		if got := rules(c.node); got != c.rules {
			t.Errorf("%s sees the rules %q, want %q", c.who, got, c.rules)
		}
		if got := alerts(c.node); len(strings.Fields(got)) != len(strings.Fields(c.alerts)) || len(got) != len(c.alerts) {
			t.Errorf("%s sees the alerts %q, want %q", c.who, got, c.alerts)
		}
		if got := evaluate(c.node, nil); len(got) != len(strings.Fields(c.alerts)) {
			t.Errorf("an evaluation tells %s of %d", c.who, len(got))
		}
	}
	// what is another's does not exist
	all := s.Alerts("?rule=all")[0].ID
	for _, n := range []*weirtest.Node{a, some} {
		n.Get("/v1/alerts/"+all).Problem(http.StatusNotFound, "alert_not_found")
		n.Get("/v1/alerts/"+all+"/deliveries").Problem(http.StatusNotFound, "alert_not_found")
		n.Post("/v1/alerts/"+all+"/acknowledge", nil).Problem(http.StatusNotFound, "alert_not_found")
		n.Get("/v1/alert-rules/all").Problem(http.StatusNotFound, "alert_rule_not_found")
		n.Post("/v1/alert-rules/all/mute", obj{"seconds": 60}).Problem(http.StatusNotFound, "alert_rule_not_found")
		n.Do(http.MethodDelete, "/v1/alert-rules/all", nil).Problem(http.StatusNotFound, "alert_rule_not_found")
		n.Post("/v1/alerts/evaluate", obj{"rule": "all"}).Problem(http.StatusNotFound, "alert_rule_not_found")
	}
	// whatever a key of a tenant says, its rule is its tenant's
	a.Do(http.MethodPut, "/v1/alert-rules/forged?tenant=b", obj{"condition": "queue_depth", "threshold": 0}).Want(http.StatusOK)
	s.Get("/v1/alert-rules/forged?tenant=a").Want(http.StatusOK)
	s.Get("/v1/alert-rules/forged?tenant=b").Problem(http.StatusNotFound, "alert_rule_not_found")
	if got := evaluate(a, obj{"definition": obj{"condition": "queue_depth", "threshold": 0}}); len(got) != 1 || got[0].Subject != "a-mail" {
		t.Errorf("a rule that is not saved tells tenant a of %+v", got)
	}
	a.Post("/v1/alerts/evaluate", obj{"definition": obj{"condition": "database_size", "threshold": 1}}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	// a key of some queues names them
	at := func(n *weirtest.Node, body obj, place string) {
		t.Helper()
		if p := n.Do(http.MethodPut, "/v1/alert-rules/x", body).Problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != place {
			t.Errorf("%v: the problem is at %s, want %s", body, p.Errors[0].Location, place)
		}
	}
	at(some, obj{"condition": "queue_depth", "threshold": 0}, "body.queue")
	at(some, obj{"condition": "breaker_open"}, "body.condition")
	some.Do(http.MethodPut, "/v1/alert-rules/x", obj{"condition": "queue_depth", "queue": "b-mail"}).Problem(http.StatusNotFound, "queue_not_found")
	some.Do(http.MethodPut, "/v1/alert-rules/x", obj{"condition": "queue_depth", "queue": "*"}).Problem(http.StatusNotFound, "queue_not_found")
	some.PutAlertRule("x", obj{"condition": "queue_depth", "queue": "a-m*"})
	// another's name is taken
	some.Do(http.MethodPut, "/v1/alert-rules/all", obj{"condition": "queue_depth", "queue": "a-mail"}).Problem(http.StatusConflict, "alert_rule_exists")
}

func TestTargetsAreForAdmins(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	slack := obj{"name": "t", "kind": "slack", "url": "https://hooks.example.com/secret"}
	operator := s.AsNew("operator", nil, "operator")
	operator.Post("/v1/alert-targets", slack).Problem(http.StatusForbidden, "forbidden")
	s.Post("/v1/alert-targets", slack).Want(http.StatusCreated)
	s.Post("/v1/alert-targets?tenant=a", slack).Want(http.StatusCreated)
	operator.Get("/v1/alert-targets/t").Want(http.StatusOK)
	for _, call := range []string{"PATCH /v1/alert-targets/t", "DELETE /v1/alert-targets/t", "POST /v1/alert-targets/t/test"} {
		method, path, _ := strings.Cut(call, " ")
		operator.Do(method, path, obj{}).Problem(http.StatusForbidden, "forbidden")
	}
	// a rule names targets of its own tenant
	a := s.AsNew("a", obj{"tenant": "a"}, "operator")
	b := s.AsNew("b", obj{"tenant": "b"}, "operator")
	body := obj{"condition": "queue_depth", "notify": []string{"t"}}
	a.PutAlertRule("r", body)
	b.Do(http.MethodPut, "/v1/alert-rules/r", body).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	a.Get("/v1/alert-targets/t").Want(http.StatusOK)
	b.Get("/v1/alert-targets/t").Problem(http.StatusNotFound, "alert_target_not_found")
	if n := len(weirtest.Decode[weirtest.Page[obj]](b.Get("/v1/alert-targets").Want(http.StatusOK)).Items); n != 0 {
		t.Errorf("tenant b sees %d targets", n)
	}
	s.Do(http.MethodDelete, "/v1/alert-targets/t?tenant=a", nil).Problem(http.StatusConflict, "alert_target_in_use")
	s.Do(http.MethodDelete, "/v1/alert-targets/t", nil).Want(http.StatusNoContent)
}
