package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type webhookCommands struct {
	List       listWebhooks   `cmd:"" default:"withargs" help:"List webhooks. The default."`
	Add        addWebhook     `cmd:"" help:"Add a webhook, and print its secret."`
	Test       testWebhook    `cmd:"" help:"Send a test to a webhook, and show whether it was delivered."`
	Deliveries listDeliveries `cmd:"" help:"List the deliveries to a webhook, newest first."`
	Rotate     rotateWebhook  `cmd:"" help:"Give a webhook a new secret, and print it. The old one also signs for one more day."`
	Disable    disableWebhook `cmd:"" help:"Disable a webhook."`
	Enable     enableWebhook  `cmd:"" help:"Enable a webhook again."`
	Delete     deleteWebhook  `cmd:"" help:"Delete a webhook and its deliveries."`
}

// webhookFlags are those of the commands about one webhook.
type webhookFlags struct {
	Name string `arg:"" complete:"webhook" help:"The webhook's name."`
	ownerFlag
	answerFlags
}

func (f webhookFlags) path(below ...string) string {
	return rest.Path(append([]string{"webhooks", f.Name}, below...)...)
}

// webhook is what is printed of a webhook.
type webhook struct {
	Name           string   `json:"name"`
	Tenant         string   `json:"tenant"`
	URL            string   `json:"url"`
	Events         []string `json:"events"`
	Enabled        bool     `json:"enabled"`
	DisabledReason string   `json:"disabled_reason"`
	FailingSince   string   `json:"failing_since"`
	Pending        int64    `json:"pending"`
	Secret         string   `json:"secret"`
}

func (h *webhook) status() string {
	switch {
	case !h.Enabled && h.DisabledReason != "":
		return "disabled: " + h.DisabledReason
	case !h.Enabled:
		return "disabled"
	case h.FailingSince != "":
		return "failing"
	}
	return "enabled"
}

type listWebhooks struct {
	Tenant string `help:"Only webhooks of this tenant." placeholder:"TENANT"`
	answerFlags
}

// Run lists webhooks.
func (c *listWebhooks) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, rest.Get("/v1/webhooks").With("tenant", c.Tenant), rest.All, "There are no webhooks.", layout[webhook]{
		columns: []string{"WEBHOOK", "URL", "EVENTS", "PENDING", "STATE"},
		row: func(_ *printer, h *webhook) []any {
			return []any{ofTenant(h.Name, h.Tenant), h.URL, strings.Join(h.Events, ","), h.Pending, h.status()}
		},
	})
}

type addWebhook struct {
	Name           string   `arg:"" help:"The webhook's name." json:"name"`
	Address        string   `arg:"" help:"URL to post events to: https://…" json:"url"`
	Events         []string `help:"Events to send, comma-separated." default:"completed,cancelled,dead" json:"events"`
	Queues         []string `complete:"queue" help:"Only events of jobs of these queues, comma-separated." placeholder:"QUEUE,…" json:"queues,omitempty"`
	Kinds          []string `complete:"kind" help:"Only events of jobs of these kinds, comma-separated." placeholder:"KIND,…" json:"kinds,omitempty"`
	TimeoutSeconds int      `help:"How long the receiver may take to answer." default:"10" json:"timeout_seconds"`
	ErrorText      bool     `help:"Send the beginning of an error's message too, which can hold secrets, not only its type." json:"error_text,omitempty"`
	ownerFlag      `json:"-"`
	answerFlags    `json:"-"`
}

// Run adds a webhook.
func (c *addWebhook) Run(ctx context.Context, s *Session) error {
	return c.showSecret(ctx, s, c.of(rest.Post("/v1/webhooks", c)))
}

// showSecret makes a call that creates a secret, and prints it: it is not shown again. Standard output has the secret
// alone.
func (f answerFlags) showSecret(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f, call, func(p *printer, h *webhook) {
		fmt.Fprintf(s.Err, "the secret of webhook %s, which is not shown again:\n", terminal.OneLine(h.Name))
		p.line("%s", h.Secret)
	})
}

// change makes a call that answers with the webhook, and prints its status.
func (f webhookFlags) change(ctx context.Context, s *Session, action string, body any) error {
	return show(ctx, s, f.answerFlags, f.of(rest.Post(f.path(action), body)), func(p *printer, h *webhook) {
		p.line("webhook %s is %s", h.Name, h.status())
	})
}

type (
	enableWebhook struct{ webhookFlags }
	rotateWebhook struct{ webhookFlags }
	testWebhook   struct{ webhookFlags }
	deleteWebhook struct {
		webhookFlags
		yesFlag
	}
	disableWebhook struct {
		webhookFlags
		Reason string `help:"Why." placeholder:"TEXT"`
	}
)

// Run enables a webhook.
func (c *enableWebhook) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, "enable", nil)
}

// Run disables a webhook.
func (c *disableWebhook) Run(ctx context.Context, s *Session) error {
	body := map[string]string{}
	if c.Reason != "" {
		body["reason"] = c.Reason
	}
	return c.change(ctx, s, "disable", body)
}

// Run gives a webhook a new secret.
func (c *rotateWebhook) Run(ctx context.Context, s *Session) error {
	return c.showSecret(ctx, s, c.of(rest.Post(c.path("rotate"), nil)))
}

// Run asks, and deletes a webhook.
func (c *deleteWebhook) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: c.of(rest.Get(c.path())), delete: c.of(rest.Delete(c.path())),
		question: "Delete webhook " + c.Name + " and its deliveries?", gone: "webhook " + c.Name + " is gone",
	})
}

// delivery is what is printed of a delivery.
type delivery struct {
	ID        string    `json:"id"`
	Event     string    `json:"event"`
	JobID     string    `json:"job_id"`
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	Status    int       `json:"status"`
	Error     string    `json:"error"`
	Duration  float64   `json:"duration_seconds"`
	CreatedAt time.Time `json:"created_at"`
}

type listDeliveries struct {
	webhookFlags
	State string `help:"Only deliveries in this state: pending, delivered or failed." enum:",pending,delivered,failed" default:""`
	Limit limit  `help:"List at most this many." default:"20"`
}

// Run lists deliveries.
func (c *listDeliveries) Run(ctx context.Context, s *Session) error {
	call := c.of(rest.Get(c.path("deliveries"))).With("state", c.State)
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no such deliveries.", layout[delivery]{
		columns: []string{"DELIVERY", "EVENT", "JOB", "CREATED", "ATTEMPTS", "STATUS", "SECONDS", "STATE"},
		row: func(_ *printer, d *delivery) []any {
			state := d.State
			if d.Error != "" {
				state += ": " + d.Error
			}
			took := fmt.Sprintf("%.3f", d.Duration)
			return []any{d.ID, d.Event, d.JobID, d.CreatedAt, d.Attempts, d.Status, took, state}
		},
	})
}

// Run sends a test, waits for the first attempt to deliver it, and returns an error unless that succeeded.
func (c *testWebhook) Run(ctx context.Context, s *Session) error {
	answer, err := c.tried(ctx, s, c.of(rest.Post(c.path("test"), nil)), c.of(rest.Get(c.path("deliveries"))))
	if err != nil {
		return err
	}
	d, err := decode[delivery](answer)
	if err != nil {
		return err
	}
	return c.showAttempt(s, answer, d)
}

// showAttempt prints how the delivery of a test went.
func (c *testWebhook) showAttempt(s *Session, answer json.RawMessage, d *delivery) error {
	if c.JSON {
		if err := s.writeJSON(answer); err != nil {
			return err
		}
	}
	if d.State != "delivered" {
		return fmt.Errorf("the test was not delivered: %s", terminal.OneLine(d.Error))
	}
	if !c.JSON {
		fmt.Fprintf(s.Out, "delivered: the receiver answered %d in %.3f s\n", d.Status, d.Duration)
	}
	return nil
}
