package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
	"github.com/weirhq/weir/encryption"
)

// AlertMessage is what a target is told, with all that it takes to reach it.
type AlertMessage struct {
	ID      ID
	Event   string // opened, acknowledged, resolved or test
	Kind    string // of the target: webhook, email, slack or pagerduty
	Target  AlertAddress
	Body    json.RawMessage // AlertBody, as it is stored
	Attempt int             // the number of this one: 1, 2, …
}

// AlertAddress is where a message goes.
type AlertAddress struct {
	alertSecrets
	Host           string   `json:"host"`
	Port           int      `json:"port"`
	TLS            string   `json:"tls"`
	Username       string   `json:"username"`
	From           string   `json:"from"`
	To             []string `json:"to"`
	TimeoutSeconds int      `json:"timeout_seconds"`
}

// Timeout is how long an attempt may take.
func (a AlertAddress) Timeout() time.Duration { return time.Duration(a.TimeoutSeconds) * time.Second }

// PendingAlert returns the message of a delivery. ok is false if it is no longer pending, or was given to River again since this take.
func (e *Engine) PendingAlert(ctx context.Context, id ID, take int) (m AlertMessage, ok bool, err error) {
	r, err := e.loops.PendingAlertDelivery(ctx, db.PendingAlertDeliveryParams{DeliveryID: int64(id), Take: int32(take)})
	if errors.Is(err, pgx.ErrNoRows) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fromDB("reading a delivery of an alert", err)
	}
	m = AlertMessage{ID: id, Event: r.Event, Kind: r.Kind, Body: r.Body, Attempt: int(r.Attempts) + 1}
	for _, text := range []json.RawMessage{r.Settings, r.Secrets} {
		if err := json.Unmarshal(text, &m.Target); err != nil {
			return m, false, fmt.Errorf("reading the alert target %q: %w", r.Target, err)
		}
	}
	err = m.Target.each(func(text *string) error {
		if !strings.HasPrefix(*text, encryption.Prefix) {
			return nil
		}
		plain, err := e.vault.decrypt(ctx, alertField, json.RawMessage(`"`+*text+`"`))
		if err != nil {
			return missing("this node cannot decrypt the secrets of an alert target", err)
		}
		*text = string(plain)
		return nil
	})
	return m, err == nil, err
}

// NoteAlertSent records an attempt. problem is why it failed, or nothing. retryIn is the wait before the next attempt; nil: there is none.
func (e *Engine) NoteAlertSent(ctx context.Context, m AlertMessage, take int, problem string, retryIn *time.Duration) error {
	result := "delivered"
	if problem != "" {
		result = "failed"
	}
	e.metrics.alertSends.WithLabelValues(m.Kind, result).Inc()
	params := db.RecordAlertAttemptParams{DeliveryID: int64(m.ID), Take: int32(take), Error: nonZero(problem)}
	if retryIn != nil {
		seconds := retryIn.Seconds()
		params.RetryInSeconds = &seconds
	}
	return fromDB("noting the result of a delivery", e.q.RecordAlertAttempt(ctx, params))
}
