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
	Webhook ID     // whose it is
	URL     string // where to post it
	EventID string
	Body    []byte // JSON
	Secrets []string
	Timeout time.Duration
	Attempt int // the number of this one: 1, 2, …
}

// Sent is what came of sending a message.
type Sent struct {
	Status   int    // of the answer; 0: there was none
	Error    string // why it failed; empty: it was delivered
	Duration time.Duration
}

// CreateDeliveries notes the next events that webhooks are to be told of. It says whether more are there already.
func (e *Engine) CreateDeliveries(ctx context.Context) (behind bool, err error) {
	ids, err := e.loops.EnabledWebhooks(ctx)
	if err != nil {
		return false, fromDB("listing webhooks", err)
	}
	for _, id := range ids {
		row, err := e.loops.CreateDeliveries(ctx, id)
		if err != nil {
			return false, fromDB("noting what webhooks are to be told", err)
		}
		behind = behind || row.Behind
	}
	return behind, nil
}

// Delivery returns the message of a delivery. There is none (ok is false) where it is not pending any more, was given to River anew since this take, or
// its webhook was disabled.
func (e *Engine) Delivery(ctx context.Context, id ID, take int) (m Message, ok bool, err error) {
	r, err := e.loops.PendingDelivery(ctx, db.PendingDeliveryParams{DeliveryID: int64(id), Take: int32(take)})
	if errors.Is(err, pgx.ErrNoRows) {
		return Message{}, false, nil
	}
	if err != nil {
		return Message{}, false, fromDB("reading a delivery", err)
	}
	m = Message{Webhook: ID(r.WebhookID), URL: r.Url, EventID: r.EventID, Body: r.Body, Secrets: []string{r.Secret}, Timeout: time.Duration(r.TimeoutSeconds) * time.Second, Attempt: int(r.Attempts) + 1}
	if r.OldSecret != "" {
		m.Secrets = append(m.Secrets, r.OldSecret)
	}
	return m, true, nil
}

// NoteSent notes what came of an attempt. retryIn is when the next one is; nil: there is none.
func (e *Engine) NoteSent(ctx context.Context, id ID, s Sent, retryIn *time.Duration) error {
	params := db.RecordDeliveryAttemptParams{DeliveryID: int64(id), Ok: s.Error == "", Status: nonZero(int32(s.Status)), Error: nonZero(s.Error), DurationSeconds: s.Duration.Seconds()}
	if retryIn != nil {
		seconds := retryIn.Seconds()
		params.RetryInSeconds = &seconds
	}
	return fromDB("noting what came of a delivery", e.q.RecordDeliveryAttempt(ctx, params))
}
