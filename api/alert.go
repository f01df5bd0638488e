package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// AlertPath is the path of one alert.
type AlertPath struct {
	ID string `path:"id" pattern:"^[0-9]+$" maxLength:"30" doc:"The alert's id." example:"12"`
}

func (p AlertPath) id() jobs.ID { return idOf(p.ID) }

func (p AlertPath) missing(ctx context.Context) *Problem {
	return missing(ctx, p.ID, jobs.AlertNotFound, "alert")
}

type alertOutput struct {
	Body jobs.Alert
}

type alertsInput struct {
	State        []string  `query:"state" maxItems:"3" enum:"open,acknowledged,resolved" doc:"Only alerts in these states."`
	Severity     []string  `query:"severity" maxItems:"3" enum:"info,warning,critical" doc:"Only alerts of these severities."`
	Rule         string    `query:"rule" maxLength:"128" doc:"Only alerts of this rule." example:"queue-depth"`
	Subject      string    `query:"subject" maxLength:"400" doc:"Only alerts about this queue, worker, schedule or the like." example:"mail"`
	Tenant       string    `query:"tenant" maxLength:"200" doc:"Only alerts of rules of this tenant." example:"acme"`
	OpenedAfter  time.Time `query:"opened_after" doc:"Only alerts that opened at or after this time."`
	OpenedBefore time.Time `query:"opened_before" doc:"Only alerts that opened before this time."`
	Paging
}

// AlertPage is one page of the list of alerts.
type AlertPage struct {
	Items      []jobs.Alert `json:"items" doc:"The alerts, newest first."`
	NextCursor *string      `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type alertPageOutput struct {
	Body AlertPage
}

// AcknowledgeRequest is what someone says who has seen an alert.
type AcknowledgeRequest struct {
	Note string `json:"note,omitempty" minLength:"1" maxLength:"2000" doc:"What they say." example:"restarting the mailers"`
}

type alertBodyInput struct {
	AlertPath
	Payload
}

type alertDeliveriesInput struct {
	AlertPath
	Paging
}

// AlertDeliveryPage is one page of what targets were told.
type AlertDeliveryPage struct {
	Items      []jobs.AlertDelivery `json:"items" doc:"The deliveries, newest first."`
	NextCursor *string              `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type alertDeliveryPageOutput struct {
	Body AlertDeliveryPage
}

// EvaluateRequest says which rules to evaluate. Without both fields: all rules that are enabled.
type EvaluateRequest struct {
	Rule       string              `json:"rule,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"Only this rule, even if it is not enabled." example:"queue-depth"`
	Definition *jobs.AlertSettings `json:"definition,omitempty" doc:"In place of a saved rule: the settings of one that is not saved."`
}

// AlertFindings are what the rules would do.
type AlertFindings struct {
	Items []jobs.AlertFinding `json:"items" doc:"A finding for each subject for which a condition holds, or that has an alert, by rule; at most 1,000."`
}

type findingsOutput struct {
	Body AlertFindings
}

type alertStatsInput struct {
	WindowSeconds int `query:"window_seconds" minimum:"60" maximum:"7776000" default:"604800" doc:"Of which time before now alerts are counted, up to 90 days."`
}

type alertStatsOutput struct {
	Body jobs.AlertStats
}

func exampleAlert() jobs.Alert {
	return jobs.Alert{
		ID: 12, State: "open", Severity: "warning", Rule: "queue-depth", Condition: "queue_depth", SubjectKind: "queue", Subject: "mail",
		Summary: "queue mail has 1204 jobs waiting, more than 1000", Value: 1204, Highest: 1310, Threshold: 1000,
		Facts: json.RawMessage(`{"waiting": 1204, "running": 8, "oldest_seconds": 312.4}`), Since: exampleTime, OpenedAt: exampleTime,
	}
}

func exampleAlertDelivery() jobs.AlertDelivery {
	return jobs.AlertDelivery{ID: 31, AlertID: 12, Target: "oncall", Event: "opened", State: "delivered", Attempts: 1, CreatedAt: exampleTime, TriedAt: &exampleLater}
}

func exampleAlertStats() jobs.AlertStats {
	return jobs.AlertStats{
		Open: jobs.AlertCounts{Warning: 1}, Opened: 7, Acknowledged: 5, Resolved: 6, MeanAcknowledgeSeconds: 92.5, MeanResolveSeconds: 610,
		Rules: []jobs.AlertRuleStats{{Rule: "queue-depth", Opened: 7, Acknowledged: 5, Resolved: 6, MeanAcknowledgeSeconds: 92.5, MeanResolveSeconds: 610}},
		Days:  []jobs.AlertDay{{Day: "2026-01-31", Opened: 7, AlertCounts: jobs.AlertCounts{Warning: 7}}},
	}
}

func (a *API) registerAlerts() {
	tags, missing := []string{tagAlerts}, []jobs.Code{jobs.AlertNotFound}
	alert, seen := exampleAlert(), exampleAlert()
	seen.State, seen.AcknowledgedAt, seen.AcknowledgedBy, seen.Note = "acknowledged", &exampleLater, "ann", "restarting the mailers"
	finding := jobs.AlertFinding{
		Rule: "queue-depth", Condition: "queue_depth", Severity: "warning", SubjectKind: "queue", Subject: "mail", Value: 1204, Threshold: 1000, Since: exampleTime,
		Action: "open", At: &exampleTime, Summary: alert.Summary, Notify: []string{"oncall"},
	}
	register(a, huma.Operation{
		OperationID: "listAlerts", Method: http.MethodGet, Path: "/v1/alerts", Tags: tags,
		Summary:     "List alerts",
		Description: "The alerts, newest first: those that are open or acknowledged, and those that resolved within the last 90 days.",
	}, documented{answer: AlertPage{Items: []jobs.Alert{alert}}}, a.listAlerts)
	register(a, huma.Operation{
		OperationID: "getAlert", Method: http.MethodGet, Path: "/v1/alerts/{id}", Tags: tags,
		Summary:     "Get an alert",
		Description: "What was found, since when, and who has seen it.",
	}, documented{answer: alert, problems: missing}, a.getAlert)
	registerBody(a, huma.Operation{
		OperationID: "acknowledgeAlert", Method: http.MethodPost, Path: "/v1/alerts/{id}/acknowledge", Tags: tags,
		Summary: "Acknowledge an alert",
		Description: "Says that the caller has seen it, with a note if wished, and tells the targets. It resolves when its condition " +
			"has been clear for long enough. A second call changes the note only.",
	}, documented{body: AcknowledgeRequest{Note: seen.Note}, optional: true, answer: seen, problems: []jobs.Code{jobs.AlertNotFound, jobs.AlertResolved}}, a.acknowledgeAlert)
	register(a, huma.Operation{
		OperationID: "listAlertDeliveries", Method: http.MethodGet, Path: "/v1/alerts/{id}/deliveries", Tags: tags,
		Summary:     "List who was told of an alert",
		Description: "What each target was told, when, and what went wrong.",
	}, documented{answer: AlertDeliveryPage{Items: []jobs.AlertDelivery{exampleAlertDelivery()}}, problems: missing}, a.listAlertDeliveries)
	registerBody(a, huma.Operation{
		OperationID: "evaluateAlerts", Method: http.MethodPost, Path: "/v1/alerts/evaluate", Tags: tags,
		Summary: "Evaluate rules now",
		Description: "What the rules would do now and why: the value, the threshold, since when, and who would be told. It stores and " +
			"sends nothing. `definition` tries a rule that is not saved.",
	}, documented{
		body: EvaluateRequest{Rule: "queue-depth"}, optional: true, answer: AlertFindings{Items: []jobs.AlertFinding{finding}},
		problems: []jobs.Code{jobs.AlertRuleNotFound, jobs.QueueNotFound},
	}, a.evaluateAlerts)
	register(a, huma.Operation{
		OperationID: "getAlertStats", Method: http.MethodGet, Path: "/v1/alerts/stats", Tags: tags,
		Summary:     "Get numbers of alerts",
		Description: "How many are open by severity, and of the window how many opened by rule and by day, and how long it took to acknowledge and to resolve them.",
	}, documented{answer: exampleAlertStats()}, a.getAlertStats)
}

func (a *API) listAlerts(ctx context.Context, in *alertsInput) (*alertPageOutput, error) {
	before, err := in.before(ctx, "alerts")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.Alerts(ctx, jobs.AlertFilter{
		States: in.State, Severities: in.Severity, Rule: in.Rule, Subject: in.Subject, Tenant: in.Tenant, OpenedAfter: timeOrNil(in.OpenedAfter), OpenedBefore: timeOrNil(in.OpenedBefore),
	}, before, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &alertPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "alerts", found, func(last jobs.Alert) string { return last.ID.String() })
	return out, nil
}

func (a *API) getAlert(ctx context.Context, in *AlertPath) (*alertOutput, error) {
	if p := in.missing(ctx); p != nil {
		return nil, p
	}
	return alertAnswer(a.engine.Alert(ctx, in.id()))
}

func (a *API) acknowledgeAlert(ctx context.Context, in *alertBodyInput, b *AcknowledgeRequest) (*alertOutput, error) {
	if p := in.missing(ctx); p != nil {
		return nil, p
	}
	return alertAnswer(a.engine.AcknowledgeAlert(ctx, in.id(), b.Note))
}

func (a *API) listAlertDeliveries(ctx context.Context, in *alertDeliveriesInput) (*alertDeliveryPageOutput, error) {
	if p := in.missing(ctx); p != nil {
		return nil, p
	}
	before, err := in.before(ctx, "alert-deliveries")
	if err != nil {
		return nil, err
	}
	found, err := a.engine.AlertDeliveries(ctx, in.id(), before, in.oneMore())
	return alertDeliveryPage(ctx, in.Paging, found, err)
}

func alertDeliveryPage(ctx context.Context, p Paging, found []jobs.AlertDelivery, err error) (*alertDeliveryPageOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &alertDeliveryPageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, p, "alert-deliveries", found, func(last jobs.AlertDelivery) string { return last.ID.String() })
	return out, nil
}

// The definition is passed on as it came, because an absent field has a meaning too.
func (a *API) evaluateAlerts(ctx context.Context, in *ownedBodyInput, b *EvaluateRequest) (*findingsOutput, error) {
	var raw struct {
		Definition json.RawMessage `json:"definition"`
	}
	if b.Definition != nil {
		if err := json.Unmarshal(in.RawBody, &raw); err != nil {
			return nil, err
		}
	}
	found, err := a.engine.PreviewAlerts(ctx, in.Tenant, b.Rule, raw.Definition)
	if err != nil {
		return nil, err
	}
	return &findingsOutput{Body: AlertFindings{Items: found}}, nil
}

func (a *API) getAlertStats(ctx context.Context, in *alertStatsInput) (*alertStatsOutput, error) {
	stats, err := a.engine.AlertStats(ctx, in.WindowSeconds)
	if err != nil {
		return nil, err
	}
	return &alertStatsOutput{Body: stats}, nil
}

func alertAnswer(alert jobs.Alert, err error) (*alertOutput, error) {
	if err != nil {
		return nil, err
	}
	return &alertOutput{Body: alert}, nil
}
