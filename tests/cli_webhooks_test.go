package tests

import (
	"net/http"
	"strings"
	"testing"
)

func TestCLIWebhooks(t *testing.T) {
	t.Parallel()
	s, url := startServiceOnNew(t)
	r := newReceiver(t)
	t.Cleanup(s.runTelling(url, r))
	s.cli("webhooks").says(0, "There are no webhooks")
	secret := strings.TrimSpace(s.cli("webhooks", "add", "w", r.URL, "--events", "dead,cancelled", "--queues", "q").says(0, "whsec_").stdout)
	s.cli("webhooks", "add", "w", r.URL).says(1, "there is a webhook 'w' already")
	s.cli("webhooks", "add", "x", "http://example.com").says(1, "url")
	s.cli("webhooks").says(0, "WEBHOOK", "w", r.URL, "cancelled,dead", "enabled")
	s.cli("webhooks", "test", "w").says(0, "the receiver answered 200")
	if told := r.told(); len(told) != 1 || !told[0].signed(secret) {
		t.Errorf("the test came as %+v", told)
	}
	r.answers(http.StatusTeapot)
	s.cli("webhooks", "test", "w").says(1, "not delivered", "418")
	s.cli("webhooks", "deliveries", "w").says(0, "test", "delivered", "418")
	s.cli("webhooks", "deliveries", "w", "--state", "delivered", "--json").says(0, `"status":200`)
	s.cli("webhooks", "rotate", "w").says(0, "whsec_")
	s.cli("webhooks", "disable", "w", "--reason", "moving").says(0, "disabled: moving")
	s.cli("webhooks", "enable", "w").says(0, "webhook w is enabled")
	s.cli("webhooks", "delete", "w", "--yes").says(0, "webhook w is gone")
	s.cli("webhooks", "deliveries", "w").says(1, "no webhook")
}
