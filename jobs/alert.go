package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/db"
)

// AlertState is how far an alert is.
type AlertState string

// Alert is what a rule has found of one subject.
type Alert struct {
	ID              ID              `json:"id" doc:"Names it; grows with time." example:"12"`
	State           AlertState      `json:"state" enum:"open,acknowledged,resolved" doc:"acknowledged: someone has seen it. resolved: it is over."`
	Severity        string          `json:"severity" enum:"info,warning,critical" doc:"How bad it is."`
	Rule            string          `json:"rule" doc:"The rule that found it." example:"queue-depth"`
	Tenant          string          `json:"tenant,omitempty" doc:"The tenant of the rule."`
	Condition       string          `json:"condition" doc:"What was measured." example:"queue_depth"`
	SubjectKind     string          `json:"subject_kind" enum:"queue,worker,schedule,breaker,workflow,node,transaction,database" doc:"What the subject is."`
	Subject         string          `json:"subject" doc:"The name of the queue, worker or the like; of a tenant's, tenant/name." example:"mail"`
	Summary         string          `json:"summary" doc:"What is wrong, in words." example:"queue mail has 1204 jobs waiting, more than 1000"`
	Value           float64         `json:"value" doc:"The last value that was not clear." example:"1204"`
	Highest         float64         `json:"highest" doc:"The highest value so far." example:"1310"`
	Threshold       float64         `json:"threshold" doc:"The threshold of the rule when it opened." example:"1000"`
	Facts           json.RawMessage `json:"facts" doc:"More about the subject when it opened, such as waiting, running and oldest_seconds of a queue."`
	Since           time.Time       `json:"since" doc:"Since when the condition held."`
	OpenedAt        time.Time       `json:"opened_at" doc:"When it opened."`
	ClearSince      *time.Time      `json:"clear_since,omitempty" doc:"Since when the value has been clear; it resolves when that lasts."`
	AcknowledgedAt  *time.Time      `json:"acknowledged_at,omitempty" doc:"When it was acknowledged."`
	AcknowledgedBy  string          `json:"acknowledged_by,omitempty" doc:"By whom."`
	Note            string          `json:"note,omitempty" doc:"What that said."`
	ResolvedAt      *time.Time      `json:"resolved_at,omitempty" doc:"When it resolved."`
	ResolvedBecause string          `json:"resolved_because,omitempty" enum:"cleared,rule_disabled,rule_deleted" doc:"Why it resolved."`
}

// AlertFilter chooses alerts for a list. A zero value does not restrict it.
type AlertFilter struct {
	States       []string
	Severities   []string
	Rule         string
	Subject      string
	Tenant       string
	OpenedAfter  *time.Time
	OpenedBefore *time.Time
}

// Alerts lists up to limit alerts of the caller, newest first, with ids below before (0: from the newest).
func (e *Engine) Alerts(ctx context.Context, f AlertFilter, before ID, limit int) ([]Alert, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return e.listAlerts(ctx, db.ListAlertsParams{
		Before: int64(before), States: f.States, Severities: f.Severities, Rule: nonZero(f.Rule), Subject: nonZero(f.Subject), Tenant: nonZero(f.Tenant),
		OpenedAfter: utc(f.OpenedAfter), OpenedBefore: utc(f.OpenedBefore), MaxAlerts: int32(limit),
	})
}

func (e *Engine) listAlerts(ctx context.Context, params db.ListAlertsParams) (_ []Alert, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListAlerts(ctx, params)
	if err != nil {
		return nil, fromDB("listing alerts", err)
	}
	alerts := make([]Alert, len(rows))
	for i, r := range rows {
		alerts[i] = Alert{
			ID: ID(r.ID), State: AlertState(r.State), Severity: r.Severity, Rule: r.Rule, Tenant: r.Tenant, Condition: r.Condition, SubjectKind: r.SubjectKind, Subject: r.Subject,
			Summary: r.Summary, Value: r.Value, Highest: r.Highest, Threshold: r.Threshold, Facts: r.Facts, Since: r.Since.UTC(), OpenedAt: r.OpenedAt.UTC(),
			ClearSince: utc(r.ClearSince), AcknowledgedAt: utc(r.AcknowledgedAt), AcknowledgedBy: r.AcknowledgedBy, Note: r.Note, ResolvedAt: utc(r.ResolvedAt), ResolvedBecause: r.ResolvedBecause,
		}
	}
	return alerts, nil
}

// Alert returns one. Errors: AlertNotFound.
func (e *Engine) Alert(ctx context.Context, id ID) (Alert, error) {
	found, err := e.listAlerts(ctx, db.ListAlertsParams{Before: math.MaxInt64, ID: new(int64(id)), MaxAlerts: 1})
	if err != nil {
		return Alert{}, err
	}
	if len(found) == 0 {
		return Alert{}, &Error{Code: AlertNotFound, Message: fmt.Sprintf("there is no alert %s", id), Hint: "GET /v1/alerts lists all alerts. Resolved ones are kept for 90 days."}
	}
	return found[0], nil
}

// AcknowledgeAlert says that the caller has seen an alert; a note is optional. Errors: InvalidArgument, AlertNotFound, AlertResolved.
func (e *Engine) AcknowledgeAlert(ctx context.Context, id ID, note string) (Alert, error) {
	if err := e.changes.AcknowledgeAlert(ctx, db.AcknowledgeAlertParams{ID: int64(id), Note: nonZero(note)}); err != nil {
		return Alert{}, fromDB("acknowledging an alert", err)
	}
	return e.Alert(ctx, id)
}

// AlertDelivery is what one target is told of one alert.
type AlertDelivery struct {
	ID        ID            `json:"id" doc:"Names it." example:"31"`
	AlertID   ID            `json:"alert_id,omitempty" doc:"The alert; absent: it is a test." example:"12"`
	Target    string        `json:"target" doc:"Who is told." example:"oncall"`
	Event     string        `json:"event" enum:"opened,acknowledged,resolved,test" doc:"What it tells."`
	State     DeliveryState `json:"state" enum:"pending,delivered,failed,dropped" doc:"failed: there are no more attempts. dropped: there was nothing left to tell, as the alert had resolved."`
	Attempts  int           `json:"attempts" doc:"Attempts made."`
	Error     string        `json:"error,omitempty" doc:"Why the last attempt failed."`
	CreatedAt time.Time     `json:"created_at" doc:"When the event happened."`
	NextAt    *time.Time    `json:"next_at,omitempty" doc:"While it is pending: not before then. In quiet hours and while the rule is muted: their end."`
	TriedAt   *time.Time    `json:"tried_at,omitempty" doc:"When the last attempt ended."`
}

// AlertDeliveries lists up to limit deliveries of an alert, newest first, with ids below before (0: from the newest). Errors: AlertNotFound.
func (e *Engine) AlertDeliveries(ctx context.Context, id, before ID, limit int) ([]AlertDelivery, error) {
	if _, err := e.Alert(ctx, id); err != nil {
		return nil, err
	}
	return e.listAlertDeliveries(ctx, db.ListAlertDeliveriesParams{AlertID: new(int64(id)), Before: int64(before), MaxDeliveries: int32(limit)})
}

func (e *Engine) listAlertDeliveries(ctx context.Context, params db.ListAlertDeliveriesParams) ([]AlertDelivery, error) {
	if params.Before == 0 {
		params.Before = math.MaxInt64
	}
	rows, err := e.reads.ListAlertDeliveries(ctx, params)
	if err != nil {
		return nil, fromDB("listing deliveries of alerts", err)
	}
	deliveries := make([]AlertDelivery, len(rows))
	for i, r := range rows {
		deliveries[i] = AlertDelivery{
			ID: ID(r.ID), AlertID: ID(r.AlertID), Target: r.Target, Event: r.Event, State: DeliveryState(r.State), Attempts: int(r.Attempts), Error: r.Error,
			CreatedAt: r.CreatedAt.UTC(), TriedAt: utc(r.TriedAt),
		}
		if r.State == "pending" {
			deliveries[i].NextAt = utc(&r.NextAt)
		}
	}
	return deliveries, nil
}
