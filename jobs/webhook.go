package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// WebhookSettings are those of a new webhook. URL and Events are required; the others' zero values are the defaults: all queues, all kinds, 10 s, 3 days.
type WebhookSettings struct {
	URL                 string   `json:"url"`
	Events              []string `json:"events"`
	Queues              []string `json:"queues,omitempty"`
	Kinds               []string `json:"kinds,omitempty"`
	TimeoutSeconds      int      `json:"timeout_seconds,omitempty"`
	DisableAfterSeconds int      `json:"disable_after_seconds,omitempty"`
	ErrorText           bool     `json:"error_text,omitempty"`
}

// Webhook is a receiver of events over HTTPS.
type Webhook struct {
	Name                string     `json:"name" doc:"Its name." example:"billing"`
	Tenant              string     `json:"tenant,omitempty" doc:"The tenant that it belongs to, and of whose jobs alone it gets events."`
	URL                 string     `json:"url" doc:"Where events are posted."`
	Events              []string   `json:"events" enum:"enqueued,completed,cancelled,dead,failed,timed_out,lost,snoozed,released,cancel_requested,edited,retried,redriven,purged,routed,let_through,rerouted,postponed,substituted,replayed" doc:"Which events it gets."`
	Queues              []string   `json:"queues" doc:"Only of jobs of these queues; empty: of all."`
	Kinds               []string   `json:"kinds" doc:"Only of jobs of these kinds; empty: of all."`
	TimeoutSeconds      int        `json:"timeout_seconds" doc:"How long the receiver may take to answer."`
	DisableAfterSeconds int        `json:"disable_after_seconds" doc:"It is disabled when every attempt has failed for this long."`
	ErrorText           bool       `json:"error_text" doc:"It gets the first 200 characters of an error's message, not only the type."`
	Enabled             bool       `json:"enabled" doc:"It gets events."`
	DisabledAt          *time.Time `json:"disabled_at,omitempty" doc:"When it was disabled."`
	DisabledReason      string     `json:"disabled_reason,omitempty" doc:"Why it is disabled."`
	FailingSince        *time.Time `json:"failing_since,omitempty" doc:"When the current run of failures began."`
	Pending             int64      `json:"pending" doc:"Deliveries that are still to be made."`
	CreatedAt           time.Time  `json:"created_at" doc:"When it was created."`
	Secret              string     `json:"secret,omitempty" doc:"The key of its signatures. Shown once: when the webhook is created, and when its secret is rotated."`
	OldSecretUntil      *time.Time `json:"old_secret_until,omitempty" doc:"The previous secret also signs until then."`
}

// DeliveryState is the state of a delivery.
type DeliveryState string

// Delivery is one event for one webhook.
type Delivery struct {
	ID              ID            `json:"id" doc:"Names it." example:"12"`
	EventID         string        `json:"event_id" doc:"Id of the event, the same in each attempt. It is sent as webhook-id." example:"4711-dead-5-1769853600000000"`
	Event           string        `json:"event" doc:"What happened; test: nothing, it was sent by hand." example:"dead"`
	JobID           ID            `json:"job_id,omitempty" doc:"The job." example:"4711"`
	State           DeliveryState `json:"state" enum:"pending,delivered,failed" doc:"delivered: the receiver answered with a status of 200 to 299. failed: it did not, and there are no more attempts."`
	Attempts        int           `json:"attempts" doc:"Attempts made."`
	Status          int           `json:"status,omitempty" doc:"Status of the last answer; absent: there was none."`
	Error           string        `json:"error,omitempty" doc:"Why the last attempt failed."`
	DurationSeconds float64       `json:"duration_seconds,omitempty" doc:"How long the last attempt took."`
	CreatedAt       time.Time     `json:"created_at" doc:"When the event was recorded."`
	TriedAt         *time.Time    `json:"tried_at,omitempty" doc:"When the last attempt ended."`
}

// Webhooks lists up to limit webhooks of the caller by tenant and name, starting after one; with a tenant only that one's.
func (e *Engine) Webhooks(ctx context.Context, tenant string, after Ref, limit int) ([]Webhook, error) {
	return e.listWebhooks(ctx, db.ListWebhooksParams{Tenant: nonZero(tenant), AfterTenant: after.Tenant, After: after.Name, MaxWebhooks: int32(limit)})
}

func (e *Engine) listWebhooks(ctx context.Context, params db.ListWebhooksParams) (_ []Webhook, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListWebhooks(ctx, params)
	if err != nil {
		return nil, fromDB("listing webhooks", err)
	}
	webhooks := make([]Webhook, len(rows))
	for i, r := range rows {
		webhooks[i] = Webhook{
			Name: r.Name, Tenant: r.Tenant, URL: r.Url, Events: r.Events, Queues: r.Queues, Kinds: r.Kinds, TimeoutSeconds: int(r.TimeoutSeconds), DisableAfterSeconds: int(r.DisableAfterSeconds),
			ErrorText: r.ErrorText, Enabled: r.DisabledAt == nil, DisabledAt: utc(r.DisabledAt), DisabledReason: r.DisabledReason, FailingSince: utc(r.FailingSince), Pending: r.Pending,
			CreatedAt: r.CreatedAt.UTC(), OldSecretUntil: utc(r.OldSecretUntil),
		}
	}
	return webhooks, nil
}

// Webhook returns one. Errors: WebhookNotFound.
func (e *Engine) Webhook(ctx context.Context, ref Ref) (Webhook, error) {
	ref = ref.of(ctx)
	found, err := e.listWebhooks(ctx, db.ListWebhooksParams{Name: &ref.Name, Tenant: &ref.Tenant, MaxWebhooks: 1})
	if err != nil {
		return Webhook{}, err
	}
	if len(found) == 0 {
		return Webhook{}, &Error{Code: WebhookNotFound, Message: fmt.Sprintf("there is no webhook %q", ref.Name), Hint: "GET /v1/webhooks lists all webhooks."}
	}
	return found[0], nil
}

// NewWebhook creates a webhook, and returns it with its secret. Errors: InvalidArgument, WebhookExists.
func (e *Engine) NewWebhook(ctx context.Context, ref Ref, settings WebhookSettings) (Webhook, error) {
	return e.setWebhook(ctx, ref, settings, true)
}

// EditWebhook changes the given settings. Errors: InvalidArgument, WebhookNotFound.
func (e *Engine) EditWebhook(ctx context.Context, ref Ref, settings WebhookEdit) (Webhook, error) {
	return e.setWebhook(ctx, ref, settings, false)
}

// WebhookEdit is what can be changed of a webhook. An empty list means all queues or kinds; nil leaves it alone.
type WebhookEdit struct {
	URL                 string    `json:"url,omitempty" maxLength:"2000" pattern:"^https://" doc:"Where to post events, over HTTPS."`
	Events              []string  `json:"events,omitempty" minItems:"1" maxItems:"100" doc:"Which events to send."`
	Queues              *[]string `json:"queues,omitempty" maxItems:"100" doc:"Only of jobs of these queues; empty: of all."`
	Kinds               *[]string `json:"kinds,omitempty" maxItems:"100" doc:"Only of jobs of these kinds; empty: of all."`
	TimeoutSeconds      int       `json:"timeout_seconds,omitempty" minimum:"1" maximum:"30" doc:"How long the receiver may take to answer."`
	DisableAfterSeconds int       `json:"disable_after_seconds,omitempty" minimum:"60" maximum:"2592000" doc:"The webhook is disabled when every attempt has failed for this long."`
	ErrorText           *bool     `json:"error_text,omitempty" doc:"Send the first 200 characters of an error's message, not only its type."`
}

func (e *Engine) setWebhook(ctx context.Context, ref Ref, settings any, fresh bool) (Webhook, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return Webhook{}, fmt.Errorf("encoding settings: %w", err)
	}
	var made newSecret
	if fresh {
		if made, err = e.vault.newWebhookSecret(ctx); err != nil {
			return Webhook{}, err
		}
	}
	secret, err := e.changes.SetWebhook(ctx, db.SetWebhookParams{Name: ref.Name, Tenant: nonZero(ref.Tenant), Settings: text, Make: fresh, Secret: made.stored})
	if err != nil {
		return Webhook{}, fromDB("setting a webhook", err)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		ref.Tenant = p.Tenant // whatever the request says
	}
	w, err := e.Webhook(ctx, ref)
	w.Secret = cmp.Or(made.shown, secret)
	return w, err
}

// DeleteWebhook removes a webhook and the record of its deliveries. Errors: WebhookNotFound.
func (e *Engine) DeleteWebhook(ctx context.Context, ref Ref) error {
	return fromDB("deleting a webhook", e.changes.DeleteWebhook(ctx, db.DeleteWebhookParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}))
}

// RotateWebhookSecret gives a webhook a new secret, which is returned with it. The old one also signs for this long. Errors: InvalidArgument, WebhookNotFound.
func (e *Engine) RotateWebhookSecret(ctx context.Context, ref Ref, keepOld time.Duration) (Webhook, error) {
	made, err := e.vault.newWebhookSecret(ctx)
	if err != nil {
		return Webhook{}, err
	}
	secret, err := e.changes.RotateWebhookSecret(ctx, db.RotateWebhookSecretParams{
		Name: ref.Name, Tenant: nonZero(ref.Tenant), KeepOldSeconds: keepOld.Seconds(), Secret: made.stored,
	})
	if err != nil {
		return Webhook{}, fromDB("rotating a secret", err)
	}
	w, err := e.Webhook(ctx, ref)
	w.Secret = cmp.Or(made.shown, secret)
	return w, err
}

// DisableWebhook stops sending events to a webhook; pending deliveries fail. Errors: InvalidArgument, WebhookNotFound.
func (e *Engine) DisableWebhook(ctx context.Context, ref Ref, reason string) (Webhook, error) {
	if err := e.changes.DisableWebhook(ctx, db.DisableWebhookParams{Name: ref.Name, Tenant: nonZero(ref.Tenant), Reason: nonZero(reason)}); err != nil {
		return Webhook{}, fromDB("disabling a webhook", err)
	}
	return e.Webhook(ctx, ref)
}

// EnableWebhook sends events to a webhook again, from now on. Errors: WebhookNotFound.
func (e *Engine) EnableWebhook(ctx context.Context, ref Ref) (Webhook, error) {
	if err := e.changes.EnableWebhook(ctx, db.EnableWebhookParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}); err != nil {
		return Webhook{}, fromDB("enabling a webhook", err)
	}
	return e.Webhook(ctx, ref)
}

// TestWebhook sends a webhook an event named test. Errors: WebhookNotFound.
func (e *Engine) TestWebhook(ctx context.Context, ref Ref) (Delivery, error) {
	id, err := e.changes.TestWebhook(ctx, db.TestWebhookParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)})
	if err != nil {
		return Delivery{}, fromDB("testing a webhook", err)
	}
	found, err := e.Deliveries(ctx, ref, "", ID(id+1), 1)
	if err != nil || len(found) == 0 {
		return Delivery{}, err
	}
	return found[0], nil
}

// Deliveries lists up to limit deliveries of a webhook, newest first, in a state ("": any), with ids below before (0: from the newest). Errors: WebhookNotFound.
func (e *Engine) Deliveries(ctx context.Context, ref Ref, state DeliveryState, before ID, limit int) ([]Delivery, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := e.reads.ListDeliveries(ctx, db.ListDeliveriesParams{
		Name: ref.Name, Tenant: ref.of(ctx).Tenant, Bounds: bounds, State: nonZero(string(state)), Before: int64(before), MaxDeliveries: int32(limit),
	})
	if err != nil {
		return nil, fromDB("listing deliveries", err)
	}
	if len(rows) == 0 {
		_, err = e.Webhook(ctx, ref)
	}
	deliveries := make([]Delivery, len(rows))
	for i, r := range rows {
		deliveries[i] = Delivery{
			ID: ID(r.ID), EventID: r.EventID, Event: r.Event, JobID: ID(value(r.JobID)), State: DeliveryState(r.State), Attempts: int(r.Attempts), Status: int(value(r.Status)),
			Error: r.Error, DurationSeconds: value(r.DurationSeconds), CreatedAt: r.CreatedAt.UTC(), TriedAt: utc(r.TriedAt),
		}
	}
	return deliveries, err
}
