package alert

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/weirtest"
)

// target is a target as clients see it.
type target struct {
	Name, Kind, Host, URL, TLS, Username, Secret string
	Events                                       []string
	Port                                         int
}

func addTarget(s *weirtest.Node, body obj) target {
	s.T.Helper()
	return weirtest.Decode[target](s.Post("/v1/alert-targets", body).Want(http.StatusCreated))
}

func signed(p posted, secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", p.header.Get("webhook-id"), p.header.Get("webhook-timestamp"), p.body)
	return p.header.Get("webhook-signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// TestEachKindOfTargetIsTold sends an alert the whole way to a receiver of each kind: it opens, is acknowledged, and resolves.
func TestEachKindOfTargetIsTold(t *testing.T) {
	weirtest.Long(t, "it waits for deliveries")
	t.Parallel()
	s := weirtest.StartNode(t)
	r, box := newReceiver(t), newMailbox(t, "starttls", "weir", "hunter2")
	hook := addTarget(s, obj{"name": "hook", "kind": "webhook", "url": r.URL + "/hook?token=s3cret"})
	addTarget(s, obj{"name": "slack", "kind": "slack", "url": r.URL + "/slack/s3cret"})
	addTarget(s, obj{"name": "pager", "kind": "pagerduty", "url": r.URL + "/pager", "routing_key": "R0123"})
	addTarget(s, obj{"name": "mail", "kind": "email", "host": "127.0.0.1", "port": box.port, "username": "weir", "password": "hunter2", "from": "weir@example.com", "to": []string{"ops@example.com", "bob@example.org"}})
	t.Cleanup(s.RunChoresTelling(r.Certificate(), box.certificate))
	s.OnlyAlertRule("deep", obj{
		"condition": "queue_depth", "threshold": 0, "clear_seconds": 0, "severity": "critical", "description": "Start more <mailers> & look.", "notify": []string{"hook", "slack", "pager", "mail"},
	})
	s.Enqueue(obj{"kind": "k", "queue": "mail"})
	s.EvaluateAlerts()
	alert := s.Alerts("?state=open")[0]
	told := func(path string) (all []posted) {
		for _, p := range r.received() {
			if p.path == path {
				all = append(all, p)
			}
		}
		return all
	}
	wait := func(hooks, slacks, pages, letters int) {
		t.Helper()
		s.Eventually("all are told", func() bool {
			return len(told("/hook")) == hooks && len(told("/slack/s3cret")) == slacks && len(told("/pager")) == pages && len(box.received()) == letters
		})
	}
	wait(1, 1, 1, 1)
	link := "https://weir.example.com/v1/alerts/" + alert.ID

	h := told("/hook")[0]
	if h.json["event"] != "opened" || h.json["summary"] != "queue mail has 1 job waiting, more than 0" || h.json["link"] != link || h.json["severity"] != "critical" ||
		h.json["facts"].(map[string]any)["waiting"] != 1.0 || !signed(h, hook.Secret) {
		t.Errorf("the webhook got %s with %v", h.body, h.header)
	}
	sl := told("/slack/s3cret")[0]
	attachment := sl.json["attachments"].([]any)[0].(map[string]any)
	if sl.json["text"] != "[critical] queue mail has 1 job waiting, more than 0" || attachment["title_link"] != link || attachment["text"] != "Start more &lt;mailers&gt; &amp; look." ||
		attachment["color"] != "#d00000" || !strings.Contains(string(sl.body), `{"title":"Waiting","value":"1","short":true}`) {
		t.Errorf("Slack got %s", sl.body)
	}
	p := told("/pager")[0]
	payload := p.json["payload"].(map[string]any)
	if p.json["routing_key"] != "R0123" || p.json["event_action"] != "trigger" || payload["severity"] != "critical" || payload["source"] != "mail" || payload["class"] != "queue_depth" ||
		payload["summary"] != alert.Summary || p.json["client_url"] != link || !strings.HasPrefix(p.json["dedup_key"].(string), "weir-alert-"+alert.ID+"-") {
		t.Errorf("PagerDuty got %s", p.body)
	}
	l := box.received()[0]
	if l.subject != "[critical] "+alert.Summary || l.from != "weir@example.com" || len(l.to) != 2 || !l.encrypted || l.user != "weir" || l.header.Get("To") == "" ||
		!strings.Contains(l.text, "Start more <mailers> & look.") || !strings.Contains(l.text, link) || !strings.Contains(l.text, "Waiting:") || l.header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("the letter is %+v", l)
	}

	s.Post("/v1/alerts/"+alert.ID+"/acknowledge", obj{"note": "on it"}).Want(http.StatusOK)
	wait(2, 1, 2, 1) // Slack and e-mail are not told of it, unless they ask for it
	s.ClaimAs("w", 1, "mail")
	s.EvaluateAlerts()
	wait(3, 2, 3, 2)
	if h := told("/hook")[2]; h.json["event"] != "resolved" || h.json["acknowledged_by"] == "" || h.json["note"] != "on it" || h.json["resolved_at"] == nil {
		t.Errorf("of the end the webhook got %s", h.body)
	}
	for i, action := range []string{"trigger", "acknowledge", "resolve"} {
		if got := told("/pager")[i].json; got["event_action"] != action || got["dedup_key"] != p.json["dedup_key"] {
			t.Errorf("event %d for PagerDuty is %v, want %s", i, got, action)
		}
	}
	end := box.received()[1]
	if end.subject != "[resolved] "+alert.Summary || end.header.Get("In-Reply-To") != l.header.Get("In-Reply-To") || end.header.Get("Message-Id") == l.header.Get("Message-Id") {
		t.Errorf("the letter of the end is %+v", end)
	}
	// The receivers have them a moment before the node has noted it.
	s.Eventually("ten deliveries are noted, 3 + 3 + 2 + 2", func() bool {
		delivered := 0
		for _, d := range s.AlertDeliveries(alert.ID) {
			if d.State == "delivered" { // a slow machine may take two attempts
				delivered++
			}
		}
		return delivered == 10
	})
	if n := len(s.AlertDeliveries(alert.ID)); n != 10 {
		t.Errorf("there are %d deliveries, want 10", n)
	}
	s.Eventually("the metrics count three events of PagerDuty", func() bool {
		return s.Metric("weir_alert_attempts_total", `kind="pagerduty"`, `result="delivered"`) == 3
	})
}

func TestMailServersAreReachedInEachWay(t *testing.T) {
	weirtest.Long(t, "it waits for deliveries")
	t.Parallel()
	s := weirtest.StartNode(t)
	implicit, plain, starttls := newMailbox(t, "implicit", "weir", "hunter2"), newMailbox(t, "plain", "", ""), newMailbox(t, "starttls", "weir", "hunter2")
	t.Cleanup(s.RunChoresTelling(implicit.certificate, starttls.certificate))
	add := func(name string, box *mailbox, more obj) {
		addTarget(s, weirtest.With(obj{"name": name, "kind": "email", "host": "127.0.0.1", "port": box.port, "from": "weir@example.com", "to": []string{"ops@example.com"}}, more))
		s.Post("/v1/alert-targets/"+name+"/test", nil).Want(http.StatusAccepted)
	}
	add("implicit", implicit, obj{"tls": "implicit", "username": "weir", "password": "hunter2"})
	add("plain", plain, obj{"tls": "none"})
	add("wrong-password", starttls, obj{"username": "weir", "password": "wrong"})
	add("no-starttls", plain, obj{"tls": "starttls"})
	deliveries := func(name string) weirtest.AlertDelivery {
		return weirtest.Decode[weirtest.Page[weirtest.AlertDelivery]](s.Get("/v1/alert-targets/" + name + "/deliveries").Want(http.StatusOK)).Items[0]
	}
	for name, box := range map[string]*mailbox{"implicit": implicit, "plain": plain} {
		s.Eventually(name+" is delivered", func() bool { return deliveries(name).State == "delivered" })
		if l := box.received()[0]; !strings.HasPrefix(l.subject, "[test] ") || l.encrypted != (name == "implicit") {
			t.Errorf("%s got %+v", name, l)
		}
	}
	for name, words := range map[string]string{"wrong-password": "Authentication failed", "no-starttls": "STARTTLS"} {
		s.Eventually(name+" is tried", func() bool { return deliveries(name).Attempts > 0 })
		if d := deliveries(name); d.State != "pending" || !strings.Contains(d.Error, words) || strings.Contains(d.Error, "hunter2") {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if n := len(starttls.received()); n != 0 {
		t.Errorf("with a wrong password %d letters came", n)
	}
	if n := len(plain.received()); n != 1 {
		t.Errorf("%d letters came in the clear, want one", n)
	}
}

func newKeys(t *testing.T) *encryption.Keys {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	file, err := encryption.NewFile()
	if err == nil {
		err = file.Write(path, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, err := encryption.OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSecretsOfTargetsAreNotShown(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	for name, config := range map[string]jobs.Config{"readable": {}, "encrypted": {Keys: keys}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := weirtest.StartNodeWith(t, weirtest.New(t), config)
			r := newReceiver(t)
			t.Cleanup(s.RunChoresTelling(r.Certificate()))
			bodies := []obj{
				{"name": "a", "kind": "webhook", "url": r.URL + "/c4n4ry-url"},
				{"name": "b", "kind": "slack", "url": r.URL + "/c4n4ry-url"},
				{"name": "c", "kind": "pagerduty", "url": r.URL, "routing_key": "c4n4ry-key"},
				{"name": "d", "kind": "email", "host": "smtp.example.com", "username": "u", "password": "c4n4ry-password", "from": "a@example.com", "to": []string{"b@example.com"}},
			}
			secret := ""
			for _, b := range bodies {
				made := addTarget(s, b)
				if made.Secret != "" {
					secret = made.Secret
				}
			}
			if !strings.HasPrefix(secret, "whsec_") {
				t.Fatalf("the secret is %q", secret)
			}
			shown := string(s.Get("/v1/alert-targets").Want(http.StatusOK).Body)
			for _, b := range bodies {
				shown += string(s.Get("/v1/alert-targets/" + b["name"].(string)).Want(http.StatusOK).Body)
				shown += string(s.Do(http.MethodPatch, "/v1/alert-targets/"+b["name"].(string), obj{"timeout_seconds": 5}).Want(http.StatusOK).Body)
			}
			shown += weirtest.Value[string](t, s.DB, "select string_agg(x::text, '') from (select to_jsonb(t) from weir.alert_targets t union all select to_jsonb(a) from weir.audit a) x(x)")
			if strings.Contains(shown, "c4n4ry") || strings.Contains(shown, secret) {
				t.Errorf("a secret is shown: %s", shown)
			}
			if !strings.Contains(shown, strings.TrimPrefix(r.URL, "https://")) {
				t.Error("the host of a URL is not shown")
			}
			stored := weirtest.Value[string](t, s.DB, "select string_agg(secret, ' ') from weir_auth.alert_secret")
			if got := strings.Contains(stored, "c4n4ry") || strings.Contains(stored, secret); got != (name == "readable") {
				t.Errorf("stored is %s", stored)
			}
			s.Post("/v1/alert-targets/a/test", nil).Want(http.StatusAccepted)
			s.Eventually("the test comes", func() bool { return len(r.received()) == 1 })
			if p := r.received()[0]; p.path != "/c4n4ry-url" || !signed(p, secret) {
				t.Errorf("the test came to %s with %v", p.path, p.header)
			}
			// a test of PagerDuty leaves no incident open
			s.Post("/v1/alert-targets/c/test", nil).Want(http.StatusAccepted)
			s.Eventually("the test comes", func() bool { return len(r.received()) == 3 })
			first, second := r.received()[1].json, r.received()[2].json
			if first["routing_key"] != "c4n4ry-key" || first["event_action"] != "trigger" || second["event_action"] != "resolve" || first["dedup_key"] != second["dedup_key"] {
				t.Errorf("PagerDuty got %v and %v", first, second)
			}
		})
	}
}

func TestReadableSecretsAreEncryptedByRewrap(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	weirtest.Exec(t, d, `select weir.set_alert_target('t', '{"kind": "pagerduty", "routing_key": "c4n4ry"}')`)
	keys := newKeys(t)
	done, err := jobs.Rewrap(t.Context(), d.Connect(), keys)
	if err != nil || done.Secrets != 1 {
		t.Errorf("rewrapping did %+v, %v", done, err)
	}
	if got := weirtest.Value[string](t, d, "select secret from weir_auth.alert_secret"); !strings.HasPrefix(got, encryption.Prefix) {
		t.Errorf("the secret is %q", got)
	}
}

func TestInvalidTargetIsRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	email := obj{"kind": "email", "host": "smtp.example.com", "from": "a@example.com", "to": []string{"b@example.com"}}
	without := func(o obj, field string) obj { o = weirtest.With(o, nil); delete(o, field); return o }
	s.DB.Unchanged("targets that are wrong", func() {
		for _, c := range []struct {
			place string
			body  obj
		}{
			{"body.kind", obj{"kind": "pigeon"}},
			{"body.url", obj{"kind": "slack"}},
			{"body.url", obj{"kind": "slack", "url": "http://example.com"}},
			{"body.url", obj{"kind": "webhook", "url": "https://user:c4n4ry@example.com"}},
			{"body.secret", obj{"kind": "webhook", "url": "https://example.com", "secret": "whsec_short"}},
			{"body.secret", obj{"kind": "slack", "url": "https://example.com", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}},
			{"body.routing_key", obj{"kind": "pagerduty"}},
			{"body.events", obj{"kind": "slack", "url": "https://example.com", "events": []string{"closed"}}},
			{"body.timeout_seconds", obj{"kind": "slack", "url": "https://example.com", "timeout_seconds": 31}},
			{"body.host", without(email, "host")},
			{"body.from", without(email, "from")},
			{"body.to", without(email, "to")},
			{"body.host", weirtest.With(email, obj{"host": "a b"})},
			{"body.from", weirtest.With(email, obj{"from": "a@example.com\r\nBcc: x@example.com"})},
			{"body.to", weirtest.With(email, obj{"to": []string{"nobody"}})},
			{"body.port", weirtest.With(email, obj{"port": 0})},
			{"body.tls", weirtest.With(email, obj{"tls": "some"})},
			{"body.tls", weirtest.With(email, obj{"tls": "none", "username": "u", "password": "c4n4ry"})},
			{"body.username", weirtest.With(email, obj{"username": "u"})},
			{"body.more", weirtest.With(email, obj{"more": 1})},
		} {
			r := s.Post("/v1/alert-targets", weirtest.With(c.body, obj{"name": "t"}))
			p := r.Problem(http.StatusUnprocessableEntity, "invalid_argument")
			if !strings.HasPrefix(p.Errors[0].Location, c.place) {
				t.Errorf("%v: the problem is at %s (%s), want %s", c.body, p.Errors[0].Location, p.Errors[0].Message, c.place)
			}
			if strings.Contains(string(r.Body), "c4n4ry") {
				t.Errorf("the answer has a secret: %s", r.Body)
			}
		}
		s.Do(http.MethodPatch, "/v1/alert-targets/t", obj{"timeout_seconds": 5}).Problem(http.StatusNotFound, "alert_target_not_found")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.set_alert_target('t', '{"kind": "slack"}')`), "WR010")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.set_alert_target('t', '{}', make => false)`), "WR102")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.delete_alert_target('t')`), "WR102")
		weirtest.WantSQLState(t, weirtest.TryExec(s.DB, `select weir.test_alert_target('t')`), "WR102")
	})
	addTarget(s, weirtest.With(email, obj{"name": "t", "username": "u", "password": "p"}))
	s.Post("/v1/alert-targets", weirtest.With(email, obj{"name": "t"})).Problem(http.StatusConflict, "alert_target_exists")
	if p := s.Do(http.MethodPatch, "/v1/alert-targets/t", obj{"password": nil}).Problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != "body.username" {
		t.Errorf("without its password: %+v", p)
	}
	s.Do(http.MethodPatch, "/v1/alert-targets/t", obj{"password": nil, "username": nil, "port": 25}).Want(http.StatusOK)
	if n := s.Count("select count(*) from weir_auth.alert_secret"); n != 0 {
		t.Errorf("%d secrets are left", n)
	}
	got := weirtest.Decode[target](s.Get("/v1/alert-targets/t").Want(http.StatusOK))
	if got.Port != 25 || got.Username != "" || got.Host != "smtp.example.com" || got.TLS != "starttls" {
		t.Errorf("changed it is %+v", got)
	}
	s.Do(http.MethodDelete, "/v1/alert-targets/t", nil).Want(http.StatusNoContent)
}
