package webhook

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestWebhookIsChangedAndDeleted(t *testing.T) {
	t.Parallel()
	t.Run("SQL", webhookIsChangedAndDeletedSQL)
	t.Run("REST", webhookIsChangedAndDeletedREST)
	t.Run("CLI", webhookIsChangedAndDeletedCLI)
}

func webhookIsChangedAndDeletedSQL(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	secret := weirtest.Value[string](t, d, `select weir.set_webhook('w', '{"url": "https://example.com", "events": ["dead"]}')`)
	if !strings.HasPrefix(secret, "whsec_") {
		t.Errorf("the secret is %q", secret)
	}
	if again := weirtest.Value[*string](t, d, `select weir.set_webhook('w', '{"timeout_seconds": 3}')`); again != nil {
		t.Errorf("changing it returns %q", *again)
	}
	if got := weirtest.Value[string](t, d, "select concat_ws(' ', name, url, events, timeout_seconds, pending) from weir.webhooks"); got != "w https://example.com {dead} 3 0" {
		t.Errorf("the view shows %q", got)
	}
	d.Unchanged("a webhook that is wrong", func() {
		for sql, field := range map[string]string{
			`select weir.set_webhook('w', '{"url": "ftp://x"}')`: "url", `select weir.set_webhook('n', '{"url": "https://x"}')`: "events", `select weir.set_webhook('n', '{"events": ["dead"]}')`: "url",
			`select weir.set_webhook('w', '{"nope": 1}')`: "nope", `select weir.set_webhook('w', '[]')`: "settings", `select weir.set_webhook('', '{}')`: "name", `select weir.set_webhook('w', '{"events": "dead"}')`: "events",
			`select weir.rotate_webhook_secret('w', '31 days')`: "keep_old", `select weir.disable_webhook('w', '')`: "reason",
		} {
			if got := weirtest.WantSQLState(t, weirtest.TryExec(d, sql), "WR010").ColumnName; got != field {
				t.Errorf("%s names %q, want %q", sql, got, field)
			}
		}
		weirtest.WantSQLState(t, weirtest.TryExec(d, `select weir.set_webhook('w', '{"url": "https://x", "events": ["dead"]}', make => true)`), "WR041")
		weirtest.WantSQLState(t, weirtest.TryExec(d, `select weir.set_webhook('x', '{"url": "https://x", "events": ["dead"]}', make => false)`), "WR040")
		weirtest.WantSQLState(t, weirtest.TryExec(d, `select weir.delete_webhook('x')`), "WR040")
	})
	// Its deliveries are bounded: the cursor waits while many are pending, and old ones are removed.
	weirtest.Exec(t, d, "insert into weir.webhook_delivery (webhook_id, event_id, event, job_id, body) select id, i::text, 'dead', i, '{}' from weir.webhook, generate_series(1, 10000) i")
	weirtest.EnqueueOne(t, d, "q")
	weirtest.ClaimOne(t, d, "q").Call(t, d, `fail($1, $2, '{}', retry => false)`)
	weirtest.Tick(t, d)
	note := "select noted from weir.create_deliveries((select id from weir.webhook))"
	if n := weirtest.Value[int](t, d, note); n != 0 {
		t.Errorf("with ten thousand pending %d more were noted", n)
	}
	weirtest.Exec(t, d, "update weir.webhook_delivery set state = 'delivered', created_at = now() - interval '8 days'")
	if n := weirtest.Value[int](t, d, "select weir.sweep_deliveries()"); n != 10000 {
		t.Errorf("swept %d deliveries", n)
	}
	if n := weirtest.Value[int](t, d, note); n != 1 {
		t.Errorf("then %d were noted, want 1", n)
	}
	if n := weirtest.Value[int](t, d, note); n != 0 {
		t.Errorf("%d were noted again", n)
	}
}

func webhookIsChangedAndDeletedREST(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, name := range []string{"b", "a", "c"} {
		s.AddWebhook(obj{"name": name, "url": "https://example.com/" + name, "events": []string{"dead"}, "queues": []string{"q"}})
	}
	w := weirtest.Decode[weirtest.Webhook](s.Do(http.MethodPatch, "/v1/webhooks/a", obj{"events": []string{"failed", "completed", "failed"}, "queues": []string{}}).Want(http.StatusOK))
	if w.URL != "https://example.com/a" || !slices.Equal(w.Events, []string{"completed", "failed"}) || len(w.Queues) != 0 || w.Secret != "" {
		t.Errorf("changed it is %+v", w)
	}
	s.Do(http.MethodDelete, "/v1/webhooks/b", nil).Want(http.StatusNoContent)
	page := weirtest.Decode[struct {
		Items      []weirtest.Webhook
		NextCursor *string `json:"next_cursor"`
	}](s.Get("/v1/webhooks?limit=1").Want(http.StatusOK))
	if len(page.Items) != 1 || page.Items[0].Name != "a" || page.NextCursor == nil {
		t.Fatalf("the first page is %+v", page)
	}
	page.Items = nil
	rest := weirtest.Decode[struct{ Items []weirtest.Webhook }](s.Get("/v1/webhooks?cursor=" + *page.NextCursor).Want(http.StatusOK))
	if len(rest.Items) != 1 || rest.Items[0].Name != "c" {
		t.Errorf("the second page is %+v", rest)
	}
}

func webhookIsChangedAndDeletedCLI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	r := weirtest.NewWebhookReceiver(t)
	t.Cleanup(s.RunChoresSendingTo(r))
	s.CLI("webhooks").Says(0, "There are no webhooks")
	secret := strings.TrimSpace(s.CLI("webhooks", "add", "w", r.URL, "--events", "dead,cancelled", "--queues", "q").Says(0, "whsec_").Stdout)
	s.CLI("webhooks", "add", "w", r.URL).Says(1, "there is a webhook 'w' already")
	s.CLI("webhooks", "add", "x", "http://example.com").Says(1, "url")
	s.CLI("webhooks").Says(0, "WEBHOOK", "w", r.URL, "cancelled,dead", "enabled")
	s.CLI("webhooks", "test", "w").Says(0, "the receiver answered 200")
	if told := r.Received(); len(told) != 1 || !told[0].Signed(secret) {
		t.Errorf("the test came as %+v", told)
	}
	r.AnswerWith(http.StatusTeapot)
	s.CLI("webhooks", "test", "w").Says(1, "not delivered", "418")
	s.CLI("webhooks", "deliveries", "w").Says(0, "test", "delivered", "418")
	s.CLI("webhooks", "deliveries", "w", "--state", "delivered", "--json").Says(0, `"status":200`)
	s.CLI("webhooks", "rotate", "w").Says(0, "whsec_")
	s.CLI("webhooks", "disable", "w", "--reason", "moving").Says(0, "disabled: moving")
	s.CLI("webhooks", "enable", "w").Says(0, "webhook w is enabled")
	s.CLI("webhooks", "delete", "w", "--yes").Says(0, "webhook w is gone")
	s.CLI("webhooks", "deliveries", "w").Says(1, "no webhook")
}

func TestInvalidWebhookIsRefused(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	good := func(change obj) obj {
		body := obj{"name": "w", "url": "https://example.com/hook", "events": []string{"dead"}}
		for k, v := range change {
			body[k] = v
		}
		return body
	}
	for field, change := range map[string]obj{
		"body.name": {"name": "a b"}, "body.url": {"url": "http://example.com"}, "body.events": {"events": []string{}}, "body.queues": {"queues": []string{""}},
		"body.timeout_seconds": {"timeout_seconds": 31}, "body.disable_after_seconds": {"disable_after_seconds": 1},
	} {
		if p := s.Post("/v1/webhooks", good(change)).Problem(http.StatusUnprocessableEntity, "invalid_argument"); !strings.HasPrefix(p.Errors[0].Location, field) {
			t.Errorf("%v: the problem is at %s, want %s", change, p.Errors[0].Location, field)
		}
	}
	for _, url := range []string{"https://", "https://user:password@example.com", "https://example.com/#x", "https://exa mple.com", "https://example.com:x", "https:///x", "https://" + strings.Repeat("x", 2000)} {
		r := s.Post("/v1/webhooks", good(obj{"url": url})).Want(http.StatusUnprocessableEntity)
		if strings.Contains(string(r.Body), "password") {
			t.Errorf("the answer quotes the address: %s", r.Body)
		}
	}
	if p := s.Post("/v1/webhooks", good(obj{"events": []string{"started"}})).Problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != "body.events" {
		t.Errorf("of an unknown event: %+v", p)
	}
	s.Post("/v1/webhooks", good(obj{"more": 1})).Want(http.StatusUnprocessableEntity)
	s.Post("/v1/webhooks", good(nil)).Want(http.StatusCreated)
	s.Post("/v1/webhooks", good(nil)).Problem(http.StatusConflict, "webhook_exists")
	s.Do(http.MethodPatch, "/v1/webhooks/unknown", obj{"timeout_seconds": 1}).Problem(http.StatusNotFound, "webhook_not_found")
	for _, call := range []string{"DELETE /v1/webhooks/unknown", "GET /v1/webhooks/unknown", "POST /v1/webhooks/unknown/test", "GET /v1/webhooks/unknown/deliveries", "POST /v1/webhooks/unknown/rotate", "POST /v1/webhooks/unknown/enable", "POST /v1/webhooks/unknown/disable"} {
		method, path, _ := strings.Cut(call, " ")
		s.Do(method, path, nil).Problem(http.StatusNotFound, "webhook_not_found")
	}
}
