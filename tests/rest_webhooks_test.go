package tests

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestRESTAWebhookThatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	s := startService(t)
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
		if p := s.post("/v1/webhooks", good(change)).problem(http.StatusUnprocessableEntity, "invalid_argument"); !strings.HasPrefix(p.Errors[0].Location, field) {
			t.Errorf("%v: the problem is at %s, want %s", change, p.Errors[0].Location, field)
		}
	}
	for _, url := range []string{"https://", "https://user:password@example.com", "https://example.com/#x", "https://exa mple.com", "https://example.com:x", "https:///x", "https://" + strings.Repeat("x", 2000)} {
		r := s.post("/v1/webhooks", good(obj{"url": url})).want(http.StatusUnprocessableEntity)
		if strings.Contains(string(r.body), "password") {
			t.Errorf("the answer quotes the address: %s", r.body)
		}
	}
	if p := s.post("/v1/webhooks", good(obj{"events": []string{"started"}})).problem(http.StatusUnprocessableEntity, "invalid_argument"); p.Errors[0].Location != "body.events" {
		t.Errorf("of an unknown event: %+v", p)
	}
	s.post("/v1/webhooks", good(obj{"more": 1})).want(http.StatusUnprocessableEntity)
	s.post("/v1/webhooks", good(nil)).want(http.StatusCreated)
	s.post("/v1/webhooks", good(nil)).problem(http.StatusConflict, "webhook_exists")
	s.do(http.MethodPatch, "/v1/webhooks/nobody", obj{"timeout_seconds": 1}).problem(http.StatusNotFound, "webhook_not_found")
	for _, call := range []string{"DELETE /v1/webhooks/nobody", "GET /v1/webhooks/nobody", "POST /v1/webhooks/nobody/test", "GET /v1/webhooks/nobody/deliveries", "POST /v1/webhooks/nobody/rotate", "POST /v1/webhooks/nobody/enable", "POST /v1/webhooks/nobody/disable"} {
		method, path, _ := strings.Cut(call, " ")
		s.do(method, path, nil).problem(http.StatusNotFound, "webhook_not_found")
	}
}

func TestRESTAWebhookIsChangedAndDeleted(t *testing.T) {
	t.Parallel()
	s := startService(t)
	for _, name := range []string{"b", "a", "c"} {
		s.newWebhook(obj{"name": name, "url": "https://example.com/" + name, "events": []string{"dead"}, "queues": []string{"q"}})
	}
	w := readAs[servedWebhook](s.do(http.MethodPatch, "/v1/webhooks/a", obj{"events": []string{"failed", "completed", "failed"}, "queues": []string{}}).want(http.StatusOK))
	if w.URL != "https://example.com/a" || !slices.Equal(w.Events, []string{"completed", "failed"}) || len(w.Queues) != 0 || w.Secret != "" {
		t.Errorf("changed it is %+v", w)
	}
	s.do(http.MethodDelete, "/v1/webhooks/b", nil).want(http.StatusNoContent)
	page := readAs[struct {
		Items      []servedWebhook
		NextCursor *string `json:"next_cursor"`
	}](s.get("/v1/webhooks?limit=1").want(http.StatusOK))
	if len(page.Items) != 1 || page.Items[0].Name != "a" || page.NextCursor == nil {
		t.Fatalf("the first page is %+v", page)
	}
	page.Items = nil
	rest := readAs[struct{ Items []servedWebhook }](s.get("/v1/webhooks?cursor=" + *page.NextCursor).want(http.StatusOK))
	if len(rest.Items) != 1 || rest.Items[0].Name != "c" {
		t.Errorf("the second page is %+v", rest)
	}
}

func TestWebhooksInSQL(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	secret := ask[string](t, d, `select weir.set_webhook('w', '{"url": "https://example.com", "events": ["dead"]}')`)
	if !strings.HasPrefix(secret, "whsec_") {
		t.Errorf("the secret is %q", secret)
	}
	if again := ask[*string](t, d, `select weir.set_webhook('w', '{"timeout_seconds": 3}')`); again != nil {
		t.Errorf("changing it returns %q", *again)
	}
	if got := ask[string](t, d, "select concat_ws(' ', name, url, events, timeout_seconds, pending) from weir.webhooks"); got != "w https://example.com {dead} 3 0" {
		t.Errorf("the view shows %q", got)
	}
	d.unchanged("a webhook that is wrong", func() {
		for sql, field := range map[string]string{
			`select weir.set_webhook('w', '{"url": "ftp://x"}')`: "url", `select weir.set_webhook('n', '{"url": "https://x"}')`: "events", `select weir.set_webhook('n', '{"events": ["dead"]}')`: "url",
			`select weir.set_webhook('w', '{"nope": 1}')`: "nope", `select weir.set_webhook('w', '[]')`: "settings", `select weir.set_webhook('', '{}')`: "name", `select weir.set_webhook('w', '{"events": "dead"}')`: "events",
			`select weir.rotate_webhook_secret('w', '31 days')`: "keep_old", `select weir.disable_webhook('w', '')`: "reason",
		} {
			if got := refused(t, try(d, sql), "WR010").ColumnName; got != field {
				t.Errorf("%s names %q, want %q", sql, got, field)
			}
		}
		refused(t, try(d, `select weir.set_webhook('w', '{"url": "https://x", "events": ["dead"]}', make => true)`), "WR041")
		refused(t, try(d, `select weir.set_webhook('x', '{"url": "https://x", "events": ["dead"]}', make => false)`), "WR040")
		refused(t, try(d, `select weir.delete_webhook('x')`), "WR040")
	})
	// Its deliveries are bounded: the cursor waits while many are pending, and old ones go.
	do(t, d, "insert into weir.webhook_delivery (webhook_id, event_id, event, job_id, body) select id, i::text, 'dead', i, '{}' from weir.webhook, generate_series(1, 10000) i")
	enqueueOne(t, d, "q")
	claimOne(t, d, "q").call(t, d, `fail($1, $2, '{}', retry => false)`)
	tick(t, d)
	note := "select noted from weir.note_deliveries((select id from weir.webhook))"
	if n := ask[int](t, d, note); n != 0 {
		t.Errorf("with ten thousand pending %d more were noted", n)
	}
	do(t, d, "update weir.webhook_delivery set state = 'delivered', created_at = now() - interval '8 days'")
	if n := ask[int](t, d, "select weir.sweep_deliveries()"); n != 10000 {
		t.Errorf("swept %d deliveries", n)
	}
	if n := ask[int](t, d, note); n != 1 {
		t.Errorf("then %d were noted, want 1", n)
	}
	if n := ask[int](t, d, note); n != 0 {
		t.Errorf("%d were noted again", n)
	}
}

// An enqueue of many jobs at one moment, and much that happens, are noted in bounded steps, each once.
func TestWebhooksCatchUpInBoundedSteps(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	do(t, d, `select weir.set_webhook('w', '{"url": "https://example.com", "events": ["enqueued", "completed"]}')`)
	do(t, d, "select weir.enqueue_many((select jsonb_agg('{\"kind\": \"k\", \"queue\": \"q\"}'::jsonb) from generate_series(1, 1000)))")
	complete(t, d, claim(t, d, "q", 700)...)
	tick(t, d)
	most := 0
	for range 100 {
		n := ask[int](t, d, "select noted from weir.note_deliveries((select id from weir.webhook), 100)")
		if n == 0 && !ask[bool](t, d, "select behind from weir.note_deliveries((select id from weir.webhook), 100)") {
			break
		}
		most = max(most, n)
	}
	if got := ask[string](t, d, "select concat_ws(' ', count(*), count(distinct event_id), count(*) filter (where event = 'enqueued')) from weir.webhook_delivery"); got != "1700 1700 1000" {
		t.Errorf("noted are %s", got)
	}
	if most > 900 { // 100 enqueued, and 100 completed with those of the same moment
		t.Errorf("one step noted %d", most)
	}
}
