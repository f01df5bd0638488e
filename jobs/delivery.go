package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// Message is an event on its way to a webhook.
type Message struct {
	Webhook ID     // its receiver
	URL     string // where to post it
	EventID string
	Body    []byte // JSON
	Secrets []string
	Timeout time.Duration
	Attempt int // the number of this one: 1, 2, …
}

// Sent is the result of sending a message.
type Sent struct {
	Status   int    // of the answer; 0: there was none
	Error    string // why it failed; empty: it was delivered
	Duration time.Duration
}

// CreateDeliveries records the next events for webhooks. It reports whether more are waiting.
func (e *Engine) CreateDeliveries(ctx context.Context) (behind bool, err error) {
	ids, err := e.loops.EnabledWebhooks(ctx)
	if err != nil {
		return false, fromDB("listing webhooks", err)
	}
	for _, id := range ids {
		row, err := e.loops.CreateDeliveries(ctx, id)
		if err != nil {
			return false, fromDB("recording deliveries", err)
		}
		behind = behind || row.Behind
	}
	return behind, nil
}

// Delivery returns the message of a delivery. ok is false if it is no longer pending, was given to River again since this take, or its
// webhook was disabled.
func (e *Engine) Delivery(ctx context.Context, id ID, take int) (m Message, ok bool, err error) {
	r, err := e.loops.PendingDelivery(ctx, db.PendingDeliveryParams{DeliveryID: int64(id), Take: int32(take)})
	if errors.Is(err, pgx.ErrNoRows) {
		return Message{}, false, nil
	}
	if err != nil {
		return Message{}, false, fromDB("reading a delivery", err)
	}
	secrets := []string{r.Secret}
	if r.OldSecret != "" {
		secrets = append(secrets, r.OldSecret)
	}
	for i, stored := range secrets {
		if secrets[i], err = e.vault.webhookSecret(ctx, stored); err != nil {
			return Message{}, false, err
		}
	}
	m = Message{Webhook: ID(r.WebhookID), URL: r.Url, EventID: r.EventID, Body: r.Body, Secrets: secrets, Timeout: time.Duration(r.TimeoutSeconds) * time.Second, Attempt: int(r.Attempts) + 1}
	return m, true, nil
}

// NoteSent records the result of an attempt. retryIn is the wait before the next one; nil: there is none.
func (e *Engine) NoteSent(ctx context.Context, id ID, s Sent, retryIn *time.Duration) error {
	params := db.RecordDeliveryAttemptParams{DeliveryID: int64(id), Ok: s.Error == "", Status: nonZero(int32(s.Status)), Error: nonZero(s.Error), DurationSeconds: s.Duration.Seconds()}
	if retryIn != nil {
		seconds := retryIn.Seconds()
		params.RetryInSeconds = &seconds
	}
	return fromDB("noting what came of a delivery", e.q.RecordDeliveryAttempt(ctx, params))
}
