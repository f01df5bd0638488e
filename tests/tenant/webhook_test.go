package tenant

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func webhookOf(name string, queues ...string) obj {
	return obj{"name": name, "url": "https://hooks.example.com/" + name, "events": []string{"enqueued", "dead"}, "queues": queues}
}

func TestWebhooksOfOthersAreNotFound(t *testing.T) {
	eachBinding(t, func(t *testing.T, s *weirtest.Node, a, b side) {
		a.Post("/v1/webhooks", webhookOf("of_a", a.queue)).Want(http.StatusCreated)
		b.Post("/v1/webhooks", webhookOf("of_b", b.queue)).Want(http.StatusCreated)
		s.Post("/v1/webhooks", webhookOf("plain")).Want(http.StatusCreated)
		if got := names(a.Get("/v1/webhooks")); len(got) != 1 || !strings.HasPrefix(got[0], "of_a") {
			t.Errorf("a lists %v", got)
		}
		for _, name := range []string{"of_b", "plain"} {
			for _, query := range []string{"", "?tenant=b"} {
				hidden(t, a.Node, http.MethodGet, "/v1/webhooks/NAME"+query, name, nil, "webhook_not_found")
				hidden(t, a.Node, http.MethodGet, "/v1/webhooks/NAME/deliveries"+query, name, nil, "webhook_not_found")
				hidden(t, a.Node, http.MethodPatch, "/v1/webhooks/NAME"+query, name, obj{"url": "https://evil.example.com"}, "webhook_not_found")
				hidden(t, a.Node, http.MethodDelete, "/v1/webhooks/NAME"+query, name, nil, "webhook_not_found")
				for _, action := range []string{"rotate", "disable", "enable", "test"} {
					hidden(t, a.Node, http.MethodPost, "/v1/webhooks/NAME/"+action+query, name, nil, "webhook_not_found")
				}
			}
		}
		if n := s.Count("select count(*) from weir.webhook where url like 'https://hooks.%' and disabled_at is null and old_secret_until is null"); n != 3 {
			t.Errorf("%d webhooks are as they were, want 3", n)
		}
		mine := a.Enqueue(obj{"kind": "k", "queue": a.queue})
		b.Enqueue(obj{"kind": "k", "queue": b.queue})
		s.Enqueue(obj{"kind": "k", "queue": "of_admin"})
		s.Settle()
		s.Exec("select weir.create_deliveries(id) from weir.webhook")
		if got := weirtest.Values[string](t, s.DB, "select d.job_id::text from weir.webhook_delivery d join weir.webhook w on w.id = d.webhook_id where w.name = 'of_a'"); !slices.Equal(got, []string{mine}) {
			t.Errorf("its webhook gets events of the jobs %v, want %s alone", got, mine)
		}
		if n := s.Count("select count(*) from weir.webhook_delivery d join weir.webhook w on w.id = d.webhook_id where w.name = 'plain'"); n != 3 {
			t.Errorf("an admin's webhook gets %d events, want 3", n)
		}
		a.Get("/v1/webhooks/of_a/deliveries").Want(http.StatusOK)
		a.Post("/v1/webhooks/of_a/rotate", nil).Want(http.StatusOK)
		a.Post("/v1/webhooks/of_a/test", nil).Want(http.StatusAccepted)
		a.Post("/v1/webhooks/of_a/disable", nil).Want(http.StatusOK)
		a.Post("/v1/webhooks/of_a/enable", nil).Want(http.StatusOK)
		a.Do(http.MethodDelete, "/v1/webhooks/of_a", nil).Want(http.StatusNoContent)
	})
}

func TestWebhookHasNamesOfItsTenant(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	a := s.AsNew("a", obj{"tenant": "a"}, "operator")
	for _, who := range []*weirtest.Node{a, s} {
		who.Post("/v1/webhooks?tenant=other", webhookOf("w")).Want(http.StatusCreated)
		who.Post("/v1/webhooks?tenant=other", webhookOf("w")).Problem(http.StatusConflict, "webhook_exists")
	}
	s.Post("/v1/webhooks", webhookOf("w")).Want(http.StatusCreated)
	lists(t, s, "/v1/webhooks", "w", "w/a", "w/other")
	lists(t, s, "/v1/webhooks?tenant=other", "w/other")
	lists(t, a, "/v1/webhooks", "w/a")
	bound := s.AsNew("bound", obj{"queues": []string{"q_*"}}, "operator")
	at := func(r *weirtest.Response) string {
		return r.Problem(http.StatusUnprocessableEntity, "invalid_argument").Errors[0].Location
	}
	if got := at(bound.Post("/v1/webhooks", webhookOf("x"))); got != "body.queues" {
		t.Errorf("a webhook of all queues is refused at %s", got)
	}
	bound.Post("/v1/webhooks", webhookOf("x", "q_a", "secret")).Problem(http.StatusNotFound, "queue_not_found")
	bound.Post("/v1/webhooks", webhookOf("x", "q_a")).Want(http.StatusCreated)
	bound.Do(http.MethodPatch, "/v1/webhooks/x", obj{"queues": []string{"secret"}}).Problem(http.StatusNotFound, "queue_not_found")
	if got := at(bound.Do(http.MethodPatch, "/v1/webhooks/x", `{"queues": []}`)); got != "body.queues" {
		t.Errorf("a webhook of all queues is refused at %s", got)
	}
}

// TestRedactedKeyReadsNoTextThroughAWebhook: such a key could have events sent to an address of its own.
func TestRedactedKeyReadsNoTextThroughAWebhook(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	redacted := s.AsNew("redacted", obj{"redact": true}, "operator")
	mine := webhookOf("mine")
	mine["error_text"] = true
	redacted.Post("/v1/webhooks", mine).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	theirs := webhookOf("theirs")
	theirs["error_text"] = true
	s.Post("/v1/webhooks", theirs).Want(http.StatusCreated)
	s.Enqueue(obj{"kind": "k", "queue": "q"})
	j := s.ClaimOne("q")
	s.Post("/v1/jobs/"+j.ID+"/fail", obj{"token": j.Token, "retry": false, "error": obj{"message": secret, "type": "T"}}).Want(http.StatusOK)
	s.Settle()
	s.Exec("select weir.create_deliveries(id) from weir.webhook")
	texts := "select count(*) from weir.webhook_delivery where body::text like '%" + secret + "%'"
	if n := s.Count(texts); n != 1 {
		t.Fatalf("%d deliveries have the text, want 1", n)
	}
	redacted.Do(http.MethodPatch, "/v1/webhooks/theirs", obj{"error_text": true}).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	redacted.Do(http.MethodPatch, "/v1/webhooks/theirs", obj{"url": "https://evil.example.com"}).Want(http.StatusOK)
	if n := s.Count(texts); n != 0 {
		t.Errorf("%d deliveries to its address have the text", n)
	}
	if n := s.Count("select count(*) from weir.webhook where error_text"); n != 0 {
		t.Error("the webhook that it changed still gets texts")
	}
}
