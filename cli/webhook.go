package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

type webhooksCommand struct {
	List       listWebhooksCommand   `cmd:"" default:"withargs" help:"List the webhooks. The default."`
	Add        addWebhookCommand     `cmd:"" help:"Make a webhook, and print its secret."`
	Test       testWebhookCommand    `cmd:"" help:"Send a webhook a test, and say what came of it."`
	Deliveries listDeliveriesCommand `cmd:"" help:"Show what a webhook was told, the newest first."`
	Rotate     rotateWebhookCommand  `cmd:"" help:"Give a webhook a new secret, and print it. The old one signs too for a day."`
	Disable    disableWebhookCommand `cmd:"" help:"Tell a webhook nothing for a while."`
	Enable     enableWebhookCommand  `cmd:"" help:"Tell a webhook again."`
	Delete     deleteWebhookCommand  `cmd:"" help:"Delete a webhook."`
}

// hook is what people are shown of a webhook.
type hook struct {
	Name           string   `json:"name"`
	URL            string   `json:"url"`
	Events         []string `json:"events"`
	Enabled        bool     `json:"enabled"`
	DisabledReason string   `json:"disabled_reason"`
	FailingSince   string   `json:"failing_since"`
	Pending        int64    `json:"pending"`
	Secret         string   `json:"secret"`
}

func (h *hook) state() string {
	switch {
	case !h.Enabled:
		return "disabled: " + oneLine(h.DisabledReason)
	case h.FailingSince != "":
		return "failing"
	}
	return "enabled"
}

// delivery is what people are shown of a delivery.
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

type listWebhooksCommand struct {
	answerFlags
}

// Run lists webhooks.
func (c *listWebhooksCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	page, err := listAll(ctx, weir, "/v1/webhooks", url.Values{})
	if err != nil || c.JSON {
		return errors.Join(err, printPage(std.out, page, err == nil))
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(std.out, "There are no webhooks.")
		return nil
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WEBHOOK\tURL\tEVENTS\tPENDING\tSTATE")
	for _, item := range page.Items {
		var h hook
		if err := json.Unmarshal(item, &h); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", oneLine(h.Name), oneLine(h.URL), oneLine(strings.Join(h.Events, ",")), h.Pending, h.state())
	}
	return table.Flush()
}

// printPage prints a list as JSON, if it was read.
func printPage(w io.Writer, page listPage, read bool) error {
	if !read {
		return nil
	}
	text, err := json.Marshal(page)
	if err != nil {
		return err
	}
	return printJSON(w, text)
}

type addWebhookCommand struct {
	Name           string   `arg:"" help:"What to call it." json:"name"`
	Address        string   `arg:"" help:"Where to post events: https://…" json:"url"`
	Events         []string `help:"Which events to tell of, with commas between." default:"completed,cancelled,dead" json:"events"`
	Queues         []string `help:"Only of jobs of these queues." placeholder:"QUEUE,…" json:"queues,omitempty"`
	Kinds          []string `help:"Only of jobs of these kinds." placeholder:"KIND,…" json:"kinds,omitempty"`
	TimeoutSeconds int      `help:"How long the receiver may take to answer." default:"10" json:"timeout_seconds"`
	answerFlags    `json:"-"`
}

// Run makes a webhook.
func (c *addWebhookCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	return printSecret(ctx, std, weir, "/v1/webhooks", c, c.JSON)
}

// printSecret posts what makes a secret, and prints it, the only time that it is shown.
func printSecret(ctx context.Context, std streams, weir *client, path string, body any, asJSON bool) error {
	var answer json.RawMessage
	if err := weir.post(ctx, path, body, &answer); err != nil {
		return err
	}
	if asJSON {
		return printJSON(std.out, answer)
	}
	var h hook
	if err := json.Unmarshal(answer, &h); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(std.err, "the secret of webhook %s, which is not shown again:\n", oneLine(h.Name))
	fmt.Fprintln(std.out, oneLine(h.Secret))
	return nil
}

// webhookArgument names a webhook and says where weir is.
type webhookArgument struct {
	Name string `arg:"" help:"The webhook's name."`
	answerFlags
}

func (a *webhookArgument) path(what string) string {
	return "/v1/webhooks/" + url.PathEscape(a.Name) + what
}

// change posts to a webhook and says how it is then.
func (a *webhookArgument) change(ctx context.Context, std streams, what string, body any) error {
	weir, err := a.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.post(ctx, a.path(what), body, &answer); err != nil {
		return err
	}
	if a.JSON {
		return printJSON(std.out, answer)
	}
	var h hook
	if err := json.Unmarshal(answer, &h); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(std.out, "webhook %s is %s\n", oneLine(h.Name), h.state())
	return nil
}

type (
	enableWebhookCommand  struct{ webhookArgument }
	deleteWebhookCommand  struct{ webhookArgument }
	rotateWebhookCommand  struct{ webhookArgument }
	testWebhookCommand    struct{ webhookArgument }
	disableWebhookCommand struct {
		webhookArgument
		Reason string `help:"Why."`
	}
)

// Run enables a webhook.
func (c *enableWebhookCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, "/enable", nil)
}

// Run disables a webhook.
func (c *disableWebhookCommand) Run(ctx context.Context, std streams) error {
	body := map[string]string{}
	if c.Reason != "" {
		body["reason"] = c.Reason
	}
	return c.change(ctx, std, "/disable", body)
}

// Run gives a webhook a new secret.
func (c *rotateWebhookCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	return printSecret(ctx, std, weir, c.path("/rotate"), nil, c.JSON)
}

// Run deletes a webhook.
func (c *deleteWebhookCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	if err := weir.call(ctx, http.MethodDelete, c.path(""), nil, nil, 0); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "webhook %s is deleted\n", oneLine(c.Name))
	return nil
}

// testPatience is how long the first attempt to deliver a test is waited for.
const testPatience = 40 * time.Second

// Run sends a test, and waits for its first attempt.
func (c *testWebhookCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var sent delivery
	if err := weir.post(ctx, c.path("/test"), nil, &sent); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	for {
		page, err := listSome(ctx, weir, c.path("/deliveries"), url.Values{}, 100)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			var d delivery
			if err := json.Unmarshal(item, &d); err != nil {
				return fmt.Errorf("reading the answer: %w", err)
			}
			if d.ID != sent.ID || d.Attempts == 0 {
				continue
			}
			if c.JSON {
				return printJSON(std.out, item)
			}
			if d.State != "delivered" {
				return fmt.Errorf("the test was not delivered: %s", oneLine(d.Error))
			}
			fmt.Fprintf(std.out, "delivered: the receiver answered %d in %.3f s\n", d.Status, d.Duration)
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the test was not tried yet: does a node run chores?")
		case <-time.After(300 * time.Millisecond):
		}
	}
}

type listDeliveriesCommand struct {
	webhookArgument
	State string `help:"Only those in this state: pending, delivered or failed." enum:",pending,delivered,failed" default:""`
	Limit int    `help:"At most so many." default:"20"`
}

// Run lists deliveries.
func (c *listDeliveriesCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.State != "" {
		query.Set("state", c.State)
	}
	page, err := listSome(ctx, weir, c.path("/deliveries"), query, max(c.Limit, 1))
	if err != nil || c.JSON {
		return errors.Join(err, printPage(std.out, page, err == nil))
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(std.out, "There are no such deliveries.")
		return nil
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DELIVERY\tEVENT\tJOB\tNOTED\tATTEMPTS\tSTATUS\tSECONDS\tSTATE")
	for _, item := range page.Items {
		var d delivery
		if err := json.Unmarshal(item, &d); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		state := d.State
		if d.Error != "" {
			state += ": " + oneLine(d.Error)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%.3f\t%s\n", d.ID, oneLine(d.Event), orDash(d.JobID), relative(time.Now(), d.CreatedAt), d.Attempts, d.Status, d.Duration, state)
	}
	return table.Flush()
}
