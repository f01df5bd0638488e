package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// AlertRulePath is the path of one rule.
type AlertRulePath struct {
	Owner
	Name string `path:"name" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The rule's name." example:"queue-depth"`
}

func (p AlertRulePath) ref() jobs.Ref { return jobs.Ref{Tenant: p.Tenant, Name: p.Name} }

type alertRulesInput struct {
	Tenant string `query:"tenant" maxLength:"200" doc:"Only rules of this tenant." example:"acme"`
	Paging
}

type alertRuleOutput struct {
	Body jobs.AlertRule
}

// AlertRulePage is one page of the list of rules.
type AlertRulePage struct {
	Items      []jobs.AlertRule `json:"items" doc:"The rules, by tenant and name."`
	NextCursor *string          `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type alertRulePageOutput struct {
	Body AlertRulePage
}

type alertRuleBodyInput struct {
	AlertRulePath
	Payload
}

// NewAlertRule is a rule to create.
type NewAlertRule struct {
	Name string `json:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"The name." example:"mail-depth"`
	jobs.AlertSettings
}

// AlertRuleChanges are changes to a rule; null restores a default. Another condition brings its own threshold.
type AlertRuleChanges struct {
	Condition        string       `json:"condition,omitempty" enum:"queue_depth,oldest_waiting,failure_ratio,no_worker,dead_letters,worker_silent,slow_heartbeats,schedule_late,schedule_missed,breaker_open,workflow_late,horizon_pinned,database_size,node_lost" doc:"What is measured."`
	Threshold        *float64     `json:"threshold,omitempty" nullable:"true" minimum:"0" maximum:"1e15" doc:"The condition holds while the value is above this. A new one takes resolve_threshold away."`
	ResolveThreshold *float64     `json:"resolve_threshold,omitempty" nullable:"true" minimum:"0" maximum:"1e15" doc:"An alert resolves once the value is not above this."`
	WindowSeconds    *int         `json:"window_seconds,omitempty" nullable:"true" minimum:"60" maximum:"86400" doc:"Of which time before now things are counted."`
	MinCalls         *int         `json:"min_calls,omitempty" nullable:"true" minimum:"1" maximum:"1000000" doc:"Fewer attempts in the window are no ratio."`
	Queue            *string      `json:"queue,omitempty" nullable:"true" maxLength:"128" pattern:"^[A-Za-z0-9_*][A-Za-z0-9_.:*-]*$" doc:"Only queues of this name."`
	Kind             *string      `json:"kind,omitempty" nullable:"true" minLength:"1" maxLength:"200" doc:"Only jobs of this kind."`
	ForSeconds       *int         `json:"for_seconds,omitempty" nullable:"true" minimum:"0" maximum:"86400" doc:"How long the condition must hold before an alert opens."`
	ClearSeconds     *int         `json:"clear_seconds,omitempty" nullable:"true" minimum:"0" maximum:"86400" doc:"How long the value must be clear before the alert resolves."`
	CooldownSeconds  *int         `json:"cooldown_seconds,omitempty" nullable:"true" minimum:"0" maximum:"604800" doc:"The shortest time from one alert to the next of the same subject."`
	Severity         *string      `json:"severity,omitempty" nullable:"true" enum:"info,warning,critical" doc:"How bad it is."`
	Quiet            *QuietChange `json:"quiet,omitempty" doc:"Quiet hours, replaced as a whole; null: none."`
	Notify           []string     `json:"notify,omitempty" nullable:"true" maxItems:"20" doc:"Names of the targets that are told."`
	Description      *string      `json:"description,omitempty" nullable:"true" minLength:"1" maxLength:"1000" doc:"Words for those who are told."`
	Enabled          *bool        `json:"enabled,omitempty" nullable:"true" doc:"It is evaluated. If not, its alerts resolve."`
}

// QuietChange are new quiet hours, or null.
type QuietChange struct {
	_ struct{} `nullable:"true"`
	jobs.QuietHours
}

// MuteRequest says how long a rule sends nothing. One of the two is required.
type MuteRequest struct {
	Until   *time.Time `json:"until,omitempty" doc:"Until this time, at most 366 days ahead."`
	Seconds float64    `json:"seconds,omitempty" minimum:"1" maximum:"31622400" doc:"For this long." example:"3600"`
}

func exampleAlertRule() jobs.AlertRule {
	return jobs.AlertRule{
		Name: "mail-depth", AlertSettings: jobs.AlertSettings{
			Condition: "queue_depth", Threshold: new(1000.0), ResolveThreshold: new(800.0), Queue: "mail", ForSeconds: new(60), ClearSeconds: new(120), CooldownSeconds: new(600),
			Severity: "warning", Quiet: &jobs.QuietHours{Timezone: "Europe/Berlin", Days: []string{"sat", "sun"}, From: "00:00", To: "08:00"}, Notify: []string{"oncall"}, Enabled: new(true),
		},
		EvaluatedAt: &exampleTime, CreatedAt: exampleTime, UpdatedAt: exampleTime,
	}
}

func (a *API) registerAlertRules() {
	const path = "/v1/alert-rules/{name}"
	tags := []string{tagAlerts}
	missing := []jobs.Code{jobs.AlertRuleNotFound}
	rule, muted := exampleAlertRule(), exampleAlertRule()
	muted.MutedUntil = &exampleLater
	register(a, huma.Operation{
		OperationID: "listAlertRules", Method: http.MethodGet, Path: "/v1/alert-rules", Tags: tags,
		Summary:     "List alert rules",
		Description: "The rules by tenant and name, and how many alerts each has. A new database has five.",
	}, documented{answer: AlertRulePage{Items: []jobs.AlertRule{rule}}}, a.listAlertRules)
	registerBody(a, huma.Operation{
		OperationID: "createAlertRule", Method: http.MethodPost, Path: "/v1/alert-rules", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create an alert rule",
		Description: "One node evaluates it every 15 seconds. There is one alert for each subject: each queue, worker, schedule or circuit " +
			"breaker for which the condition holds.",
	}, documented{body: NewAlertRule{Name: rule.Name, AlertSettings: rule.AlertSettings}, answer: rule, problems: []jobs.Code{jobs.AlertRuleExists, jobs.QueueNotFound}}, a.createAlertRule)
	register(a, huma.Operation{
		OperationID: "getAlertRule", Method: http.MethodGet, Path: path, Tags: tags,
		Summary:     "Get an alert rule",
		Description: "Its settings, how many alerts it has, and what was wrong at its last evaluation.",
	}, documented{answer: rule, problems: missing}, a.getAlertRule)
	registerBody(a, huma.Operation{
		OperationID: "putAlertRule", Method: http.MethodPut, Path: path, Tags: tags,
		Summary:     "Set all settings of an alert rule",
		Description: "Creates the rule if it does not exist. Settings that are not given return to their defaults; a mute stays.",
	}, documented{body: rule.AlertSettings, answer: rule, problems: []jobs.Code{jobs.AlertRuleExists, jobs.QueueNotFound}}, a.putAlertRule)
	registerBody(a, huma.Operation{
		OperationID: "editAlertRule", Method: http.MethodPatch, Path: path, Tags: tags,
		Summary:     "Change settings of an alert rule",
		Description: "Changes the given settings and keeps the others; null restores a default. Alerts that are open stay until they are clear.",
	}, documented{body: AlertRuleChanges{Threshold: new(2000.0)}, answer: rule, problems: []jobs.Code{jobs.AlertRuleNotFound, jobs.AlertRuleExists, jobs.QueueNotFound}}, a.editAlertRule)
	register(a, huma.Operation{
		OperationID: "deleteAlertRule", Method: http.MethodDelete, Path: path, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Delete an alert rule",
		Description: "Its alerts resolve, and their history stays.",
	}, documented{problems: missing}, a.deleteAlertRule)
	registerBody(a, huma.Operation{
		OperationID: "muteAlertRule", Method: http.MethodPost, Path: path + "/mute", Tags: tags,
		Summary:     "Mute an alert rule",
		Description: "It sends nothing until the end of the mute. Its alerts open and resolve anyway; those that are still open then are sent.",
	}, documented{body: MuteRequest{Seconds: 3600}, answer: muted, problems: missing}, a.muteAlertRule)
	register(a, huma.Operation{
		OperationID: "unmuteAlertRule", Method: http.MethodPost, Path: path + "/unmute", Tags: tags,
		Summary:     "Unmute an alert rule",
		Description: "Ends the mute. What is open and was held back is sent, unless there are quiet hours.",
	}, documented{answer: rule, problems: missing}, a.unmuteAlertRule)
}

func (a *API) listAlertRules(ctx context.Context, in *alertRulesInput) (*alertRulePageOutput, error) {
	after, err := in.position(ctx, "alert-rules")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.AlertRules(ctx, in.Tenant, refOf(after), in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &alertRulePageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "alert-rules", found, func(last jobs.AlertRule) string {
		return place(jobs.Ref{Tenant: last.Tenant, Name: last.Name})
	})
	return out, nil
}

// Settings are passed on as they came, because an absent field has a meaning too.

func (a *API) createAlertRule(ctx context.Context, in *ownedBodyInput, b *NewAlertRule) (*alertRuleOutput, error) {
	return alertRuleAnswer(a.engine.NewAlertRule(ctx, jobs.Ref{Tenant: in.Tenant, Name: b.Name}, in.RawBody))
}

func (a *API) putAlertRule(ctx context.Context, in *alertRuleBodyInput, _ *jobs.AlertSettings) (*alertRuleOutput, error) {
	return alertRuleAnswer(a.engine.PutAlertRule(ctx, in.ref(), in.RawBody))
}

func (a *API) editAlertRule(ctx context.Context, in *alertRuleBodyInput, _ *AlertRuleChanges) (*alertRuleOutput, error) {
	return alertRuleAnswer(a.engine.EditAlertRule(ctx, in.ref(), in.RawBody))
}

func (a *API) getAlertRule(ctx context.Context, in *AlertRulePath) (*alertRuleOutput, error) {
	return alertRuleAnswer(a.engine.AlertRule(ctx, in.ref()))
}

func (a *API) deleteAlertRule(ctx context.Context, in *AlertRulePath) (*struct{}, error) {
	return nil, a.engine.DeleteAlertRule(ctx, in.ref())
}

func (a *API) muteAlertRule(ctx context.Context, in *alertRuleBodyInput, b *MuteRequest) (*alertRuleOutput, error) {
	return alertRuleAnswer(a.engine.MuteAlertRule(ctx, in.ref(), b.Until, b.Seconds))
}

func (a *API) unmuteAlertRule(ctx context.Context, in *AlertRulePath) (*alertRuleOutput, error) {
	return alertRuleAnswer(a.engine.UnmuteAlertRule(ctx, in.ref()))
}

func alertRuleAnswer(rule jobs.AlertRule, err error) (*alertRuleOutput, error) {
	if err != nil {
		return nil, err
	}
	return &alertRuleOutput{Body: rule}, nil
}
