package webhook

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
	"github.com/weirhq/weir/webhook"
)

func TestFailedDeliveryIsRetried(t *testing.T) {
	weirtest.Long(t, "it waits for retries")
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r))
	s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"cancelled"}})
	r.AnswerWith(http.StatusInternalServerError)
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)
	s.Eventually("the failure is noted", func() bool { d := s.Deliveries("w"); return len(d) == 1 && d[0].Attempts > 0 })
	if d := s.Deliveries("w")[0]; d.State != "pending" || d.Status != 500 || !strings.Contains(d.Error, "500") {
		t.Errorf("after the first attempt it is %+v", d)
	}
	if w := s.Webhook("w"); !w.Enabled || w.FailingSince == nil || w.Pending != 1 {
		t.Errorf("the webhook is %+v", w)
	}
	r.AnswerWith(0)
	s.Eventually("River has it to try again", func() bool {
		return s.Count("select count(*) from weir_river.river_job where kind = 'webhook' and state in ('retryable', 'available', 'completed') and attempt >= 1") == 1
	})
	s.Eventually("it is delivered", func() bool { return s.Deliveries("w")[0].State == "delivered" })
	told := r.Received()
	if n := len(told); n < 2 || told[0].ID != told[n-1].ID || s.Deliveries("w")[0].Attempts != n || s.Webhook("w").FailingSince != nil {
		t.Errorf("told %d times, the delivery is %+v, the webhook %+v", n, s.Deliveries("w")[0], s.Webhook("w"))
	}
}

func TestFailingWebhookIsDisabled(t *testing.T) {
	weirtest.Long(t, "it waits for retries")
	t.Parallel()
	s := weirtest.StartNode(t)
	r, gone := weirtest.NewWebhookReceiver(t), weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r, gone))
	s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"cancelled"}, "disable_after_seconds": 60})
	s.AddWebhook(obj{"name": "gone", "url": gone.URL, "events": []string{"cancelled"}})
	r.AnswerWith(http.StatusFound)
	gone.AnswerWith(http.StatusGone)
	s.Exec("update weir.webhook set failing_since = now() - interval '2 minutes' where name = 'w'")
	id := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)
	s.Eventually("they are disabled", func() bool { return !s.Webhook("w").Enabled && !s.Webhook("gone").Enabled })
	if w := s.Webhook("w"); !strings.Contains(w.DisabledReason, "every attempt has failed since") || !strings.Contains(w.DisabledReason, "302") || w.Pending != 0 {
		t.Errorf("the webhook is %+v", w)
	}
	if w := s.Webhook("gone"); !strings.Contains(w.DisabledReason, "410") {
		t.Errorf("the one that is gone is %+v", w)
	}
	if n := len(r.Received()); n != 1 {
		t.Errorf("%d calls came, want one: a redirect is not followed", n)
	}
	if d := s.Deliveries("w")[0]; d.State != "failed" || d.Status != http.StatusFound {
		t.Errorf("the delivery is %+v", d)
	}
	// Enabled again, it gets the events from then on.
	r.AnswerWith(0)
	missed := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+missed+"/cancel", nil).Want(http.StatusOK)
	s.Post("/v1/webhooks/w/enable", nil).Want(http.StatusOK)
	next := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+next+"/cancel", nil).Want(http.StatusOK)
	s.Eventually("it is told again", func() bool { return slices.Contains(r.EventNames(), next+" cancelled") })
	if slices.Contains(r.EventNames(), missed+" cancelled") {
		t.Error("it was told of what happened while it was disabled")
	}
}

func TestWebhookCannotReachPrivateNetwork(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	t.Cleanup(s.RunChoresWith(webhook.NewSender(webhook.Config{RootCAs: roots})))
	port := r.URL[strings.LastIndex(r.URL, ":"):]
	addresses := []string{
		r.URL, "https://localhost" + port, "https://[::1]" + port, "https://[::ffff:127.0.0.1]" + port, "https://169.254.169.254/latest", "https://10.0.0.1", "https://0.0.0.0" + port,
		"https://192.168.1.1", "https://[fd00::1]", "https://[fe80::1]", "https://100.64.0.1", "https://100.100.100.200/latest", "https://168.63.129.16/machine", "https://192.0.0.192/opc", "https://[fd00:ec2::254]/latest", "https://[::ffff:168.63.129.16]/", "https://[64:ff9b::7f00:1]" + port,
	}
	for i, address := range addresses {
		name := fmt.Sprint("w", i)
		s.AddWebhook(obj{"name": name, "url": address, "events": []string{"dead"}})
		s.Post("/v1/webhooks/"+name+"/test", nil).Want(http.StatusAccepted)
	}
	for i, address := range addresses {
		name := fmt.Sprint("w", i)
		s.Eventually(address+" is tried", func() bool { return s.Deliveries(name)[0].Attempts > 0 })
		if d := s.Deliveries(name)[0]; d.State != "pending" || !strings.Contains(d.Error, "not public") {
			t.Errorf("%s: %+v", address, d)
		}
	}
	if n := len(r.Received()); n != 0 {
		t.Errorf("the receiver was called %d times", n)
	}
}

func TestWebhookIsTestedAndSecretRotated(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r))
	first := s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"dead"}})
	if s.Webhook("w").Secret != "" || strings.Contains(string(s.Get("/v1/webhooks").Want(http.StatusOK).Body), first.Secret) {
		t.Error("the secret is shown again")
	}
	s.Post("/v1/webhooks/w/disable", obj{"reason": "moving"}).Want(http.StatusOK)
	tested := func(n int) weirtest.ReceivedEvent {
		t.Helper()
		s.Post("/v1/webhooks/w/test", nil).Want(http.StatusAccepted)
		s.Eventually("the test comes", func() bool { return len(r.Received()) == n })
		return r.Received()[n-1]
	}
	if e := tested(1); e.Event != "test" || !e.Signed(first.Secret) {
		t.Errorf("the test was %s, signed: %t", e.Body, e.Signed(first.Secret))
	}
	second := weirtest.Decode[weirtest.Webhook](s.Post("/v1/webhooks/w/rotate", nil).Want(http.StatusOK))
	if e := tested(2); !e.Signed(first.Secret) || !e.Signed(second.Secret) || first.Secret == second.Secret {
		t.Error("for a day it must be signed with both secrets")
	}
	third := weirtest.Decode[weirtest.Webhook](s.Post("/v1/webhooks/w/rotate", obj{"keep_old_seconds": 0}).Want(http.StatusOK))
	if e := tested(3); e.Signed(second.Secret) || !e.Signed(third.Secret) {
		t.Error("it must be signed with the new secret alone")
	}
}
