package tests

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
	"github.com/weirhq/weir/webhook"
)

func TestAWebhookIsToldOfWhatItAskedFor(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	all, some := weirtest.NewWebhookReceiver(t), weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(all, some))
	before := s.Enqueue(obj{"kind": "k", "queue": "q"})
	s.Post("/v1/jobs/"+before+"/cancel", nil).Want(http.StatusOK)
	a := s.AddWebhook(obj{"name": "all", "url": all.URL, "events": []string{"enqueued", "completed", "cancelled", "dead", "failed", "retried"}})
	s.AddWebhook(obj{"name": "some", "url": some.URL + "/x?y=1", "events": []string{"completed"}, "queues": []string{"q"}, "kinds": []string{"k"}})

	done := s.EnqueueAndClaim("q")
	s.Post("/v1/jobs/"+done.ID+"/complete", obj{"token": done.Token, "result": "secret result"}).Want(http.StatusOK)
	other := s.EnqueueAndClaim("other")
	s.Post("/v1/jobs/"+other.ID+"/complete", obj{"token": other.Token}).Want(http.StatusOK)
	s.Post("/v1/jobs/"+other.ID+"/retry", nil).Want(http.StatusOK) // before anybody was told that it is completed
	dead := s.Kill(obj{"kind": "d", "queue": "q"})

	want := []string{dead + " dead", dead + " enqueued", dead + " failed", done.ID + " completed", done.ID + " enqueued", other.ID + " completed", other.ID + " enqueued", other.ID + " retried"}
	slices.Sort(want)
	s.Eventually("everything is told", func() bool { return len(all.EventNames()) >= len(want) })
	if got := all.EventNames(); !slices.Equal(got, want) {
		t.Errorf("who asked for nearly everything was told %q, want %q", got, want)
	}
	s.Eventually("something is told", func() bool { return len(some.Received()) > 0 })
	if got := some.EventNames(); !slices.Equal(got, []string{done.ID + " completed"}) {
		t.Errorf("who asked for little was told %q", got)
	}
	for _, e := range all.Received() {
		if !e.Signed(a.Secret) || e.ID != e.Header.Get("webhook-id") || e.Header.Get("content-type") != "application/json" || e.At.IsZero() || time.Since(e.At) > time.Hour {
			t.Errorf("%s came with %v", e.Body, e.Header)
		}
		if e.Event == "dead" && (e.Error == nil || e.Error.Message != "no "+dead || e.Queue != "q" || e.Kind != "d" || e.Attempt != 1 || e.Worker == "") {
			t.Errorf("of the death it was told %s", e.Body)
		}
		if strings.Contains(string(e.Body), "secret") {
			t.Errorf("the result was told: %s", e.Body)
		}
	}
	s.Eventually("all deliveries are noted", func() bool { return s.Webhook("all").Pending == 0 })
	for _, d := range s.Deliveries("all") {
		if d.State != "delivered" || d.Attempts != 1 || d.Status != 200 || d.DurationSeconds <= 0 {
			t.Errorf("the delivery is %+v", d)
		}
	}
}

// What happens while no node runs chores is told when one does again; what one was at when it ended is told by the next.
func TestAWebhookMissesNothingWhenNodesEnd(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	stop := s.RunChoresSendingTo(r)
	s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"completed"}})
	var want []string
	for round := range 4 {
		for range 15 {
			j := s.EnqueueAndClaim("q")
			s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
			want = append(want, j.ID+" completed")
		}
		stop()
		if round == 3 {
			break
		}
		j := s.EnqueueAndClaim("q") // while none runs
		s.Post("/v1/jobs/"+j.ID+"/complete", obj{"token": j.Token}).Want(http.StatusOK)
		want = append(want, j.ID+" completed")
		stop = s.RunChoresSendingTo(r)
	}
	// As if a node had died with these in hand: River has them, and nobody works them.
	s.Exec("update weir.webhook_delivery set state = 'pending', next_at = now() where id in (select id from weir.webhook_delivery order by id limit 3)")
	t.Cleanup(s.RunChoresSendingTo(r))
	slices.Sort(want)
	s.Eventually("everything is told", func() bool { return len(r.EventNames()) >= len(want) && s.Webhook("w").Pending == 0 })
	if got := r.EventNames(); !slices.Equal(got, want) {
		t.Errorf("told were %d events, want %d", len(got), len(want))
	}
}

// A transaction that is open for long holds up nobody's events, and its own are told when it commits.
func TestAWebhookIsToldOfWhatCommitsLate(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r))
	s.AddWebhook(obj{"name": "w", "url": r.URL, "events": []string{"completed"}})
	late, soon := s.EnqueueAndClaim("q"), s.EnqueueAndClaim("q")
	tx, err := s.DB.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	weirtest.Exec(t, tx, "select weir.complete($1::text::bigint, $2::text::bigint)", late.ID, late.Token)
	s.Post("/v1/jobs/"+soon.ID+"/complete", obj{"token": soon.Token}).Want(http.StatusOK)
	s.Eventually("the other one is told", func() bool { return slices.Equal(r.EventNames(), []string{soon.ID + " completed"}) })
	weirtest.Commit(t, tx)
	s.Eventually("the late one is told", func() bool { return slices.Contains(r.EventNames(), late.ID+" completed") })
}

func TestADeliveryThatFailsIsTriedAgain(t *testing.T) {
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

func TestAWebhookThatFailsForLongIsDisabled(t *testing.T) {
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
	// Enabled again it is told of what happens from then on.
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

func TestAWebhookMayNotReachIntoTheNetwork(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	t.Cleanup(s.RunChoresWith(webhook.NewSender(webhook.Config{RootCAs: roots})))
	port := r.URL[strings.LastIndex(r.URL, ":"):]
	addresses := []string{
		r.URL, "https://localhost" + port, "https://[::1]" + port, "https://[::ffff:127.0.0.1]" + port, "https://169.254.169.254/latest", "https://10.0.0.1", "https://0.0.0.0" + port,
		"https://192.168.1.1", "https://[fd00::1]", "https://[fe80::1]", "https://100.64.0.1", "https://[64:ff9b::7f00:1]" + port,
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

func TestAWebhookIsTestedAndItsSecretRotated(t *testing.T) {
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
		t.Error("for a day it is to be signed with both secrets")
	}
	third := weirtest.Decode[weirtest.Webhook](s.Post("/v1/webhooks/w/rotate", obj{"keep_old_seconds": 0}).Want(http.StatusOK))
	if e := tested(3); e.Signed(second.Secret) || !e.Signed(third.Secret) {
		t.Error("it is to be signed with the new secret alone")
	}
}
