package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// WebhookPath is the path of one webhook.
type WebhookPath struct {
	Owner
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The webhook's name." example:"billing"`
}

func (p WebhookPath) ref() jobs.Ref { return jobs.Ref{Tenant: p.Tenant, Name: p.Name} }

type webhooksInput struct {
	Tenant string `query:"tenant" maxLength:"200" doc:"Only webhooks of this tenant." example:"acme"`
	Paging
}

type webhookOutput struct {
	Body jobs.Webhook
}

// WebhookPage is one page of the list of webhooks.
type WebhookPage struct {
	Items      []jobs.Webhook `json:"items" doc:"The webhooks, by tenant and name."`
	NextCursor *string        `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type webhookPageOutput struct {
	Body WebhookPage
}

type webhookBodyInput struct {
	WebhookPath
	Payload
}

// NewWebhook is a webhook to create.
type NewWebhook struct {
	Name                string   `json:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The name." example:"billing"`
	URL                 string   `json:"url" maxLength:"2000" pattern:"^https://" doc:"Where to post events, over HTTPS." example:"https://hooks.example.com/weir"`
	Events              []string `json:"events" minItems:"1" maxItems:"100" doc:"The events to deliver: enqueued, completed, cancelled, dead, failed, timed_out, lost, snoozed, released, retried, edited, redriven, purged, routed, replayed, cancel_requested."`
	Queues              []string `json:"queues,omitempty" maxItems:"100" doc:"Only jobs of these queues. Defaults to all."`
	Kinds               []string `json:"kinds,omitempty" maxItems:"100" doc:"Only jobs of these kinds. Defaults to all."`
	TimeoutSeconds      int      `json:"timeout_seconds,omitempty" minimum:"1" maximum:"30" doc:"How long the receiver may take to answer. Defaults to 10."`
	DisableAfterSeconds int      `json:"disable_after_seconds,omitempty" minimum:"60" maximum:"2592000" doc:"Disable the webhook after this long without a successful attempt. Defaults to 259200, three days."`
	ErrorText           bool     `json:"error_text,omitempty" doc:"Send the first 200 characters of an error's message, not only its type. Defaults to false: messages can hold secrets."`
}

// RotateRequest says how to rotate a webhook's secret.
type RotateRequest struct {
	KeepOldSeconds *float64 `json:"keep_old_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long messages are also signed with the old secret. Defaults to 86400, a day."`
}

// DisableRequest says why a webhook is disabled.
type DisableRequest struct {
	Reason string `json:"reason,omitempty" minLength:"1" maxLength:"500" doc:"Why."`
}

type deliveriesInput struct {
	WebhookPath
	State jobs.DeliveryState `query:"state" enum:"pending,delivered,failed" doc:"Only deliveries in this state."`
	Paging
}

// DeliveryPage is one page of the list of deliveries.
type DeliveryPage struct {
	Items      []jobs.Delivery `json:"items" doc:"The deliveries, newest first."`
	NextCursor *string         `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type deliveryPageOutput struct {
	Body DeliveryPage
}

type deliveryOutput struct {
	Body jobs.Delivery
}

func (a *API) registerWebhooks() {
	tags := []string{tagWebhooks}
	missing := []jobs.Code{jobs.WebhookNotFound}
	hook, made, disabled := exampleWebhook(), exampleWebhook(), exampleWebhook()
	made.Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	disabled.Enabled, disabled.DisabledAt, disabled.DisabledReason = false, &exampleLater, "moving house"
	register(a, huma.Operation{
		OperationID: "listWebhooks", Method: http.MethodGet, Path: "/v1/webhooks", Tags: tags,
		Summary:     "List webhooks",
		Description: "The webhooks by tenant and name, without their secrets.",
	}, documented{answer: WebhookPage{Items: []jobs.Webhook{hook}}}, a.listWebhooks)
	registerBody(a, huma.Operation{
		OperationID: "createWebhook", Method: http.MethodPost, Path: "/v1/webhooks", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create a webhook",
		Description: "From now on events that match its filters are posted to `url` as JSON, at least once, roughly in " +
			"order. Each is signed as in Standard Webhooks, with the headers `webhook-id`, `webhook-timestamp` " +
			"and `webhook-signature`. A status of 200 to 299 within `timeout_seconds` is success; otherwise weir " +
			"retries for a day with growing delays. Redirects are not followed, and addresses that are not " +
			"public are refused. The answer has the `secret`, which is not shown again.",
	}, documented{
		body:   NewWebhook{Name: "billing", URL: "https://hooks.example.com/weir", Events: []string{"completed", "dead"}, Queues: []string{"mail"}},
		answer: made, problems: []jobs.Code{jobs.WebhookExists, jobs.QueueNotFound},
	}, a.createWebhook)
	register(a, huma.Operation{
		OperationID: "getWebhook", Method: http.MethodGet, Path: "/v1/webhooks/{name}", Tags: tags,
		Summary:     "Get a webhook",
		Description: "Its settings, whether it is enabled, and how many deliveries are pending.",
	}, documented{answer: hook, problems: missing}, a.getWebhook)
	registerBody(a, huma.Operation{
		OperationID: "editWebhook", Method: http.MethodPatch, Path: "/v1/webhooks/{name}", Tags: tags,
		Summary:     "Change settings of a webhook",
		Description: "Changes the given settings and keeps the others. Pending deliveries go to the new address.",
	}, documented{body: jobs.WebhookEdit{Events: []string{"dead"}}, answer: hook, problems: []jobs.Code{jobs.WebhookNotFound, jobs.QueueNotFound}}, a.editWebhook)
	register(a, huma.Operation{
		OperationID: "deleteWebhook", Method: http.MethodDelete, Path: "/v1/webhooks/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Delete a webhook",
		Description: "Stops all deliveries and deletes their history.",
	}, documented{problems: missing}, a.deleteWebhook)
	registerBody(a, huma.Operation{
		OperationID: "rotateWebhookSecret", Method: http.MethodPost, Path: "/v1/webhooks/{name}/rotate", Tags: tags,
		Summary: "Rotate a webhook's secret",
		Description: "The answer has the new secret, which is not shown again. For `keep_old_seconds` each message is " +
			"signed with both.",
	}, documented{body: RotateRequest{KeepOldSeconds: new(3600.0)}, optional: true, answer: made, problems: missing}, a.rotateWebhook)
	registerBody(a, huma.Operation{
		OperationID: "disableWebhook", Method: http.MethodPost, Path: "/v1/webhooks/{name}/disable", Tags: tags,
		Summary:     "Disable a webhook",
		Description: "Pending deliveries fail, and events from now on are not delivered, not even later.",
	}, documented{body: DisableRequest{Reason: "moving house"}, optional: true, answer: disabled, problems: missing}, a.disableWebhook)
	register(a, huma.Operation{
		OperationID: "enableWebhook", Method: http.MethodPost, Path: "/v1/webhooks/{name}/enable", Tags: tags,
		Summary:     "Enable a webhook",
		Description: "Delivers the events that happen from now on.",
	}, documented{answer: hook, problems: missing}, a.enableWebhook)
	test := exampleDelivery()
	test.Event, test.EventID, test.JobID, test.State, test.Attempts, test.Status, test.DurationSeconds, test.TriedAt = "test", "test-0f9e8a6c-7f0e-4c39-a9a1-6f3e0f7b8a11", 0, "pending", 0, 0, 0, nil
	register(a, huma.Operation{
		OperationID: "testWebhook", Method: http.MethodPost, Path: "/v1/webhooks/{name}/test", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Send a test event",
		Description: "Sends an event named `test`, even while the webhook is disabled. The deliveries show the outcome, " +
			"usually within a second or two.",
	}, documented{answer: test, problems: missing}, a.testWebhook)
	register(a, huma.Operation{
		OperationID: "listDeliveries", Method: http.MethodGet, Path: "/v1/webhooks/{name}/deliveries", Tags: tags,
		Summary:     "List a webhook's deliveries",
		Description: "The deliveries of the last week, newest first, with the status and duration of the last answer.",
	}, documented{answer: DeliveryPage{Items: []jobs.Delivery{exampleDelivery()}}, problems: missing}, a.listDeliveries)
}

func (a *API) listWebhooks(ctx context.Context, in *webhooksInput) (*webhookPageOutput, error) {
	after, err := in.position(ctx, "webhooks")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Webhooks(ctx, in.Tenant, refOf(after), in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &webhookPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "webhooks", found, func(last jobs.Webhook) string {
		return place(jobs.Ref{Tenant: last.Tenant, Name: last.Name})
	})
	return out, nil
}

func (a *API) createWebhook(ctx context.Context, in *ownedBodyInput, b *NewWebhook) (*webhookOutput, error) {
	return webhookAnswer(a.engine.NewWebhook(ctx, jobs.Ref{Tenant: in.Tenant, Name: b.Name}, jobs.WebhookSettings{
		URL: b.URL, Events: b.Events, Queues: b.Queues, Kinds: b.Kinds, TimeoutSeconds: b.TimeoutSeconds, DisableAfterSeconds: b.DisableAfterSeconds, ErrorText: b.ErrorText,
	}))
}

func (a *API) getWebhook(ctx context.Context, in *WebhookPath) (*webhookOutput, error) {
	return webhookAnswer(a.engine.Webhook(ctx, in.ref()))
}

func (a *API) editWebhook(ctx context.Context, in *webhookBodyInput, edit *jobs.WebhookEdit) (*webhookOutput, error) {
	return webhookAnswer(a.engine.EditWebhook(ctx, in.ref(), *edit))
}

func (a *API) deleteWebhook(ctx context.Context, in *WebhookPath) (*struct{}, error) {
	return nil, a.engine.DeleteWebhook(ctx, in.ref())
}

func (a *API) rotateWebhook(ctx context.Context, in *webhookBodyInput, b *RotateRequest) (*webhookOutput, error) {
	keep := 24 * time.Hour
	if b.KeepOldSeconds != nil {
		keep = time.Duration(*b.KeepOldSeconds * float64(time.Second))
	}
	return webhookAnswer(a.engine.RotateWebhookSecret(ctx, in.ref(), keep))
}

func (a *API) disableWebhook(ctx context.Context, in *webhookBodyInput, b *DisableRequest) (*webhookOutput, error) {
	return webhookAnswer(a.engine.DisableWebhook(ctx, in.ref(), b.Reason))
}

func (a *API) enableWebhook(ctx context.Context, in *WebhookPath) (*webhookOutput, error) {
	return webhookAnswer(a.engine.EnableWebhook(ctx, in.ref()))
}

func (a *API) testWebhook(ctx context.Context, in *WebhookPath) (*deliveryOutput, error) {
	delivery, err := a.engine.TestWebhook(ctx, in.ref())
	if err != nil {
		return nil, err
	}
	return &deliveryOutput{Body: delivery}, nil
}

func (a *API) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveryPageOutput, error) {
	before, err := in.before(ctx, "deliveries")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Deliveries(ctx, in.ref(), in.State, before, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &deliveryPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "deliveries", found, func(last jobs.Delivery) string { return last.ID.String() })
	return out, nil
}

func webhookAnswer(w jobs.Webhook, err error) (*webhookOutput, error) {
	if err != nil {
		return nil, err
	}
	return &webhookOutput{Body: w}, nil
}
