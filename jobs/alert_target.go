package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// AlertTarget is who is told of alerts, and by what way. Its secrets are not shown.
type AlertTarget struct {
	Name           string    `json:"name" doc:"Its name." example:"oncall"`
	Tenant         string    `json:"tenant,omitempty" doc:"The tenant whose rules may name it."`
	Kind           string    `json:"kind" enum:"webhook,email,slack,pagerduty" doc:"The way."`
	Events         []string  `json:"events" doc:"Of what it is told: opened, acknowledged, resolved."`
	TimeoutSeconds int       `json:"timeout_seconds" doc:"How long an attempt may take."`
	Host           string    `json:"host,omitempty" doc:"Of a webhook and of Slack the host of the URL; of e-mail the SMTP server." example:"hooks.slack.com"`
	URL            string    `json:"url,omitempty" doc:"Of PagerDuty: where events are posted."`
	Port           int       `json:"port,omitempty" doc:"Of e-mail: the port of the server."`
	TLS            string    `json:"tls,omitempty" enum:"starttls,implicit,none" doc:"Of e-mail: how the connection is encrypted."`
	Username       string    `json:"username,omitempty" doc:"Of e-mail: whom to log in as."`
	From           string    `json:"from,omitempty" doc:"Of e-mail: the sender."`
	To             []string  `json:"to,omitempty" doc:"Of e-mail: the recipients."`
	Secret         string    `json:"secret,omitempty" doc:"Of a webhook: the key of its signatures. Shown once, when the target is created."`
	CreatedAt      time.Time `json:"created_at" doc:"When it was created."`
	UpdatedAt      time.Time `json:"updated_at" doc:"When its settings or secrets last changed."`
}

// alertSecrets are the settings of a target that are secret.
type alertSecrets struct {
	URL        string `json:"url,omitempty"`
	Password   string `json:"password,omitempty"`
	RoutingKey string `json:"routing_key,omitempty"`
	Secret     string `json:"secret,omitempty"`
}

// each calls do with those that are there.
func (s *alertSecrets) each(do func(text *string) error) error {
	for _, text := range []*string{&s.URL, &s.Password, &s.RoutingKey, &s.Secret} {
		if *text == "" {
			continue
		}
		if err := do(text); err != nil {
			return err
		}
	}
	return nil
}

// AlertTargets lists up to limit targets of the caller by tenant and name, starting after one; with a tenant only that one's.
func (e *Engine) AlertTargets(ctx context.Context, tenant string, after Ref, limit int) ([]AlertTarget, error) {
	return e.listAlertTargets(ctx, db.ListAlertTargetsParams{Tenant: nonZero(tenant), AfterTenant: after.Tenant, After: after.Name, MaxTargets: int32(limit)})
}

func (e *Engine) listAlertTargets(ctx context.Context, params db.ListAlertTargetsParams) (_ []AlertTarget, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListAlertTargets(ctx, params)
	if err != nil {
		return nil, fromDB("listing alert targets", err)
	}
	targets := make([]AlertTarget, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal(r.Settings, &targets[i]); err != nil {
			return nil, fmt.Errorf("reading alert target %q: %w", r.Name, err)
		}
		t := &targets[i]
		t.Name, t.Tenant, t.Kind, t.Events, t.CreatedAt, t.UpdatedAt = r.Name, r.Tenant, r.Kind, r.Events, r.CreatedAt.UTC(), r.UpdatedAt.UTC()
	}
	return targets, nil
}

// AlertTarget returns one. Errors: AlertTargetNotFound.
func (e *Engine) AlertTarget(ctx context.Context, ref Ref) (AlertTarget, error) {
	ref = ref.of(ctx)
	found, err := e.listAlertTargets(ctx, db.ListAlertTargetsParams{Name: &ref.Name, Tenant: &ref.Tenant, MaxTargets: 1})
	if err != nil {
		return AlertTarget{}, err
	}
	if len(found) == 0 {
		return AlertTarget{}, &Error{Code: AlertTargetNotFound, Message: fmt.Sprintf("there is no alert target %q", ref.Name), Hint: "GET /v1/alert-targets lists all targets."}
	}
	return found[0], nil
}

// NewAlertTarget makes a target. The settings are JSON as weir.set_alert_target takes it; a name in it is passed over. Errors: InvalidArgument,
// AlertTargetExists, EncryptionUnavailable.
func (e *Engine) NewAlertTarget(ctx context.Context, ref Ref, settings json.RawMessage) (AlertTarget, error) {
	return e.setAlertTarget(ctx, ref, settings, true)
}

// EditAlertTarget changes the given settings; null removes one. Errors: InvalidArgument, AlertTargetNotFound, EncryptionUnavailable.
func (e *Engine) EditAlertTarget(ctx context.Context, ref Ref, settings json.RawMessage) (AlertTarget, error) {
	return e.setAlertTarget(ctx, ref, settings, false)
}

func (e *Engine) setAlertTarget(ctx context.Context, ref Ref, settings json.RawMessage, fresh bool) (AlertTarget, error) {
	params := db.SetAlertTargetParams{Name: ref.Name, Tenant: nonZero(ref.Tenant), Settings: settings, Make: fresh}
	var made string
	var err error
	if params.Settings, params.Secrets, made, err = e.vault.alertSecrets(ctx, settings, fresh); err != nil {
		return AlertTarget{}, err
	}
	secret, err := e.changes.SetAlertTarget(ctx, params)
	if err != nil {
		return AlertTarget{}, fromDB("setting an alert target", err)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		ref.Tenant = p.Tenant // whatever the request says
	}
	t, err := e.AlertTarget(ctx, ref)
	t.Secret = cmp.Or(made, secret)
	return t, err
}

// alertSecrets encrypts the secrets of a target, where this node has a key. A new webhook without a secret gets one, which is returned.
func (v *vault) alertSecrets(ctx context.Context, settings json.RawMessage, fresh bool) (given, stored json.RawMessage, made string, err error) {
	if v.keys == nil {
		return settings, nil, "", nil
	}
	var secrets struct {
		Kind string `json:"kind"`
		alertSecrets
	}
	if err := json.Unmarshal(settings, &secrets); err != nil {
		return settings, nil, "", nil // SQL says what is wrong
	}
	if fresh && secrets.Kind == "webhook" && secrets.Secret == "" {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(settings, &fields); err != nil {
			return settings, nil, "", nil
		}
		made = newWebhookSecret()
		secrets.Secret = made
		fields["secret"] = json.RawMessage(`"` + made + `"`)
		if settings, err = json.Marshal(fields); err != nil {
			return nil, nil, "", err
		}
	}
	if err := secrets.each(func(text *string) (err error) {
		*text, err = v.encryptText(ctx, alertField, *text)
		return err
	}); err != nil {
		return nil, nil, "", err
	}
	stored, err = json.Marshal(secrets.alertSecrets)
	return settings, stored, made, err
}

// DeleteAlertTarget deletes a target that no rule names. Errors: AlertTargetNotFound, AlertTargetInUse.
func (e *Engine) DeleteAlertTarget(ctx context.Context, ref Ref) error {
	return fromDB("deleting an alert target", e.changes.DeleteAlertTarget(ctx, db.DeleteAlertTargetParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}))
}

// TestAlertTarget sends a target a test. Errors: AlertTargetNotFound.
func (e *Engine) TestAlertTarget(ctx context.Context, ref Ref) (AlertDelivery, error) {
	id, err := e.changes.TestAlertTarget(ctx, db.TestAlertTargetParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)})
	if err != nil {
		return AlertDelivery{}, fromDB("testing an alert target", err)
	}
	found, err := e.AlertTargetDeliveries(ctx, ref, ID(id+1), 1)
	if err != nil || len(found) == 0 {
		return AlertDelivery{}, err
	}
	return found[0], nil
}

// AlertTargetDeliveries lists up to limit deliveries to a target, newest first, with ids below before (0: from the newest). Errors: AlertTargetNotFound.
func (e *Engine) AlertTargetDeliveries(ctx context.Context, ref Ref, before ID, limit int) ([]AlertDelivery, error) {
	if _, err := e.AlertTarget(ctx, ref); err != nil {
		return nil, err
	}
	return e.listAlertDeliveries(ctx, db.ListAlertDeliveriesParams{Target: &ref.Name, Tenant: ref.of(ctx).Tenant, Before: int64(before), MaxDeliveries: int32(limit)})
}
