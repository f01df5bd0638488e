package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// AlertTargetPath is the path of one target.
type AlertTargetPath struct {
	Owner
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The target's name." example:"oncall"`
}

func (p AlertTargetPath) ref() jobs.Ref { return jobs.Ref{Tenant: p.Tenant, Name: p.Name} }

type alertTargetsInput struct {
	Tenant string `query:"tenant" maxLength:"200" doc:"Only targets of this tenant." example:"acme"`
	Paging
}

type alertTargetOutput struct {
	Body jobs.AlertTarget
}

// AlertTargetPage is one page of the list of targets.
type AlertTargetPage struct {
	Items      []jobs.AlertTarget `json:"items" doc:"The targets, by tenant and name."`
	NextCursor *string            `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type alertTargetPageOutput struct {
	Body AlertTargetPage
}

type alertTargetBodyInput struct {
	AlertTargetPath
	Payload
}

// NewAlertTarget is a target to create.
type NewAlertTarget struct {
	Name string `json:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The name." example:"oncall"`
	Kind string `json:"kind" enum:"webhook,email,slack,pagerduty" doc:"The way."`
	AlertTargetChanges
}

// AlertTargetChanges are the settings of a target; each kind has some of them. Null removes one.
type AlertTargetChanges struct {
	Events         []string `json:"events,omitempty" nullable:"true" minItems:"1" maxItems:"3" enum:"opened,acknowledged,resolved" doc:"Of what it is told. Defaults to all three for webhook and pagerduty, and to opened and resolved for email and slack."`
	TimeoutSeconds *int     `json:"timeout_seconds,omitempty" nullable:"true" minimum:"1" maximum:"30" doc:"How long an attempt may take. Defaults to 10."`
	URL            string   `json:"url,omitempty" maxLength:"2000" pattern:"^https://" doc:"Of webhook and slack: where to post, over HTTPS. Not shown again but for its host. Of pagerduty: defaults to https://events.pagerduty.com/v2/enqueue."`
	Secret         string   `json:"secret,omitempty" maxLength:"100" pattern:"^whsec_" doc:"Of webhook: the key of its signatures, whsec_ and 24 to 64 bytes in base64. Defaults to a random one, which the answer shows once."`
	RoutingKey     string   `json:"routing_key,omitempty" minLength:"1" maxLength:"200" doc:"Of pagerduty: the integration key of a service. Not shown again."`
	Host           string   `json:"host,omitempty" maxLength:"253" doc:"Of email: the SMTP server." example:"smtp.example.com"`
	Port           *int     `json:"port,omitempty" nullable:"true" minimum:"1" maximum:"65535" doc:"Of email: its port. Defaults to 587."`
	TLS            *string  `json:"tls,omitempty" nullable:"true" enum:"starttls,implicit,none" doc:"Of email: how the connection is encrypted. Defaults to starttls, which is then required."`
	Username       *string  `json:"username,omitempty" nullable:"true" minLength:"1" maxLength:"254" doc:"Of email: whom to log in as. Goes with password, and not with tls none."`
	Password       *string  `json:"password,omitempty" nullable:"true" minLength:"1" maxLength:"500" doc:"Of email: the password. Not shown again."`
	From           string   `json:"from,omitempty" maxLength:"254" doc:"Of email: the sender." example:"weir@example.com"`
	To             []string `json:"to,omitempty" minItems:"1" maxItems:"20" doc:"Of email: the recipients."`
}

type alertTargetDeliveriesInput struct {
	AlertTargetPath
	Paging
}

type alertDeliveryOutput struct {
	Body jobs.AlertDelivery
}

func exampleAlertTarget() jobs.AlertTarget {
	return jobs.AlertTarget{Name: "oncall", Kind: "slack", Events: []string{"opened", "resolved"}, TimeoutSeconds: 10, Host: "hooks.slack.com", CreatedAt: exampleTime, UpdatedAt: exampleTime}
}

func (a *API) registerAlertTargets() {
	const path = "/v1/alert-targets/{name}"
	tags := []string{tagAlerts}
	missing := []jobs.Code{jobs.AlertTargetNotFound}
	target, test := exampleAlertTarget(), exampleAlertDelivery()
	test.AlertID, test.Event, test.State, test.Attempts, test.TriedAt, test.NextAt = 0, "test", "pending", 0, nil, &exampleTime
	register(a, huma.Operation{
		OperationID: "listAlertTargets", Method: http.MethodGet, Path: "/v1/alert-targets", Tags: tags,
		Summary:     "List alert targets",
		Description: "The targets by tenant and name, without their secrets.",
	}, documented{answer: AlertTargetPage{Items: []jobs.AlertTarget{target}}}, a.listAlertTargets)
	registerBody(a, huma.Operation{
		OperationID: "createAlertTarget", Method: http.MethodPost, Path: "/v1/alert-targets", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create an alert target",
		Description: "Rules name it in `notify`. Messages go over HTTPS or SMTP, and never to an address that is not public, unless this " +
			"service allows it. Secrets are not shown again.",
	}, documented{
		body:   NewAlertTarget{Name: "oncall", Kind: "slack", AlertTargetChanges: AlertTargetChanges{URL: "https://hooks.slack.com/services/T0/B0/x"}},
		answer: target, problems: []jobs.Code{jobs.AlertTargetExists, jobs.EncryptionUnavailable},
	}, a.createAlertTarget)
	register(a, huma.Operation{
		OperationID: "getAlertTarget", Method: http.MethodGet, Path: path, Tags: tags,
		Summary:     "Get an alert target",
		Description: "Its settings, without its secrets.",
	}, documented{answer: target, problems: missing}, a.getAlertTarget)
	registerBody(a, huma.Operation{
		OperationID: "editAlertTarget", Method: http.MethodPatch, Path: path, Tags: tags,
		Summary:     "Change settings of an alert target",
		Description: "Changes the given settings and secrets, and keeps the others. What is still to be delivered goes by the new ones.",
	}, documented{body: AlertTargetChanges{Events: []string{"opened"}}, answer: target, problems: []jobs.Code{jobs.AlertTargetNotFound, jobs.EncryptionUnavailable}}, a.editAlertTarget)
	register(a, huma.Operation{
		OperationID: "deleteAlertTarget", Method: http.MethodDelete, Path: path, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Delete an alert target",
		Description: "Deletes one that no rule names, with the record of what it was told.",
	}, documented{problems: []jobs.Code{jobs.AlertTargetNotFound, jobs.AlertTargetInUse}}, a.deleteAlertTarget)
	register(a, huma.Operation{
		OperationID: "testAlertTarget", Method: http.MethodPost, Path: path + "/test", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Send a test to an alert target",
		Description: "The deliveries show the outcome, usually within a second or two.",
	}, documented{answer: test, problems: missing}, a.testAlertTarget)
	register(a, huma.Operation{
		OperationID: "listAlertTargetDeliveries", Method: http.MethodGet, Path: path + "/deliveries", Tags: tags,
		Summary:     "List what an alert target was told",
		Description: "The deliveries to the target, newest first.",
	}, documented{answer: AlertDeliveryPage{Items: []jobs.AlertDelivery{exampleAlertDelivery()}}, problems: missing}, a.listAlertTargetDeliveries)
}

func (a *API) listAlertTargets(ctx context.Context, in *alertTargetsInput) (*alertTargetPageOutput, error) {
	after, err := in.position(ctx, "alert-targets")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.AlertTargets(ctx, in.Tenant, refOf(after), in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &alertTargetPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "alert-targets", found, func(last jobs.AlertTarget) string {
		return place(jobs.Ref{Tenant: last.Tenant, Name: last.Name})
	})
	return out, nil
}

// Settings are passed on as they came, because an absent field has a meaning too.

func (a *API) createAlertTarget(ctx context.Context, in *ownedBodyInput, b *NewAlertTarget) (*alertTargetOutput, error) {
	return alertTargetAnswer(a.engine.NewAlertTarget(ctx, jobs.Ref{Tenant: in.Tenant, Name: b.Name}, in.RawBody))
}

func (a *API) editAlertTarget(ctx context.Context, in *alertTargetBodyInput, _ *AlertTargetChanges) (*alertTargetOutput, error) {
	return alertTargetAnswer(a.engine.EditAlertTarget(ctx, in.ref(), in.RawBody))
}

func (a *API) getAlertTarget(ctx context.Context, in *AlertTargetPath) (*alertTargetOutput, error) {
	return alertTargetAnswer(a.engine.AlertTarget(ctx, in.ref()))
}

func (a *API) deleteAlertTarget(ctx context.Context, in *AlertTargetPath) (*struct{}, error) {
	return nil, a.engine.DeleteAlertTarget(ctx, in.ref())
}

func (a *API) testAlertTarget(ctx context.Context, in *AlertTargetPath) (*alertDeliveryOutput, error) {
	delivery, err := a.engine.TestAlertTarget(ctx, in.ref())
	if err != nil {
		return nil, err
	}
	return &alertDeliveryOutput{Body: delivery}, nil
}

func (a *API) listAlertTargetDeliveries(ctx context.Context, in *alertTargetDeliveriesInput) (*alertDeliveryPageOutput, error) {
	before, err := in.before(ctx, "alert-deliveries")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.AlertTargetDeliveries(ctx, in.ref(), before, in.oneMore())
	return alertDeliveryPage(ctx, in.Paging, found, err)
}

func alertTargetAnswer(target jobs.AlertTarget, err error) (*alertTargetOutput, error) {
	if err != nil {
		return nil, err
	}
	return &alertTargetOutput{Body: target}, nil
}
