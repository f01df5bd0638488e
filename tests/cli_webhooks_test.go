package tests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCLIWebhooks(t *testing.T) {
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
