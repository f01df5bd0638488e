package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/weirhq/weir/db"
)

// alertRuleTimeout bounds the evaluation of one rule.
const alertRuleTimeout = 10 * time.Second

// EvaluateAlerts evaluates all rules, each in a transaction of its own. One that fails is logged, keeps its alerts, and stops no other.
func (e *Engine) EvaluateAlerts(ctx context.Context) error {
	rules, err := e.loops.EnabledAlertRules(ctx)
	if err != nil {
		return fromDB("listing alert rules", err)
	}
	for _, r := range rules {
		if err := e.evaluateAlertRule(ctx, r.ID); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			e.log.Error("an alert rule could not be evaluated", "rule", r.Name, "error", err)
			problem := db.RecordAlertProblemParams{ID: r.ID, Problem: "it could not be evaluated: " + string(CodeOf(err))}
			if err := e.loops.RecordAlertProblem(ctx, problem); err != nil {
				return fromDB("recording why an alert rule failed", err)
			}
		}
	}
	return nil
}

func (e *Engine) evaluateAlertRule(ctx context.Context, id int32) error {
	ctx, cancel := context.WithTimeout(ctx, alertRuleTimeout)
	defer cancel()
	return fromDB("evaluating an alert rule", e.loops.EvaluateAlertRule(ctx, id))
}

// AlertFinding is what a rule would do about one subject.
type AlertFinding struct {
	Rule        string     `json:"rule" doc:"The rule; unsaved: the one of the request." example:"queue-depth"`
	Tenant      string     `json:"tenant,omitempty" doc:"The tenant of the rule."`
	Condition   string     `json:"condition" doc:"What was measured." example:"queue_depth"`
	Severity    string     `json:"severity" enum:"info,warning,critical" doc:"How bad it is."`
	SubjectKind string     `json:"subject_kind" enum:"queue,worker,schedule,breaker,workflow,node,transaction,database" doc:"What the subject is."`
	Subject     string     `json:"subject" doc:"The name of the queue, worker or the like." example:"mail"`
	Value       float64    `json:"value" doc:"The value now; if it is clear, the last one that was not." example:"1204"`
	Threshold   float64    `json:"threshold" doc:"The threshold of the rule." example:"1000"`
	Since       time.Time  `json:"since" doc:"Since when the condition holds, as far as evaluations have seen."`
	Action      string     `json:"action" enum:"open,wait,cooldown,full,active,clearing" doc:"open: an alert would open now. wait: it holds for less than for_seconds. cooldown: an alert of the subject opened a short time ago. full: the rule has 100 alerts. active: it has an alert. clearing: it has one, and the value is clear."`
	At          *time.Time `json:"at,omitempty" doc:"When an alert would open, or when the one that is clear resolves."`
	AlertID     ID         `json:"alert_id,omitempty" doc:"The alert that there is."`
	Summary     string     `json:"summary" doc:"What is wrong, in words." example:"queue mail has 1204 jobs waiting, more than 1000"`
	Notify      []string   `json:"notify" doc:"The targets that are told."`
	HeldUntil   *time.Time `json:"held_until,omitempty" doc:"Nothing is sent before then: the end of quiet hours or of a mute."`
}

// maxFindings bounds the answer of PreviewAlerts.
const maxFindings = 1000

// PreviewAlerts says what the rules of the caller would do now, or one of them, or one of these settings that is not saved; it stores and sends nothing.
// Errors: InvalidArgument, QueueNotFound, AlertRuleNotFound.
func (e *Engine) PreviewAlerts(ctx context.Context, tenant, rule string, definition json.RawMessage) ([]AlertFinding, error) {
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := e.reads.PreviewAlerts(ctx, db.PreviewAlertsParams{Bounds: bounds, Rule: nonZero(rule), Definition: definition, Tenant: nonZero(tenant), MaxFindings: maxFindings})
	if err != nil {
		return nil, ofDefinition(fromDB("evaluating alert rules", err), definition)
	}
	findings := make([]AlertFinding, len(rows))
	for i, r := range rows {
		findings[i] = AlertFinding{
			Rule: r.Rule, Tenant: r.Tenant, Condition: r.Condition, Severity: r.Severity, SubjectKind: r.SubjectKind, Subject: r.Subject, Value: r.Value, Threshold: r.Threshold,
			Since: r.Since.UTC(), Action: r.Action, At: utc(r.At), AlertID: ID(value(r.AlertID)), Summary: r.Summary, Notify: r.Notify, HeldUntil: utc(r.HeldUntil),
		}
	}
	return findings, nil
}

// ofDefinition places the setting that is wrong in the definition of a request.
func ofDefinition(err error, definition json.RawMessage) error {
	var e *Error
	if definition == nil || !errors.As(err, &e) || e.Field == "" || e.Field == "definition" || e.Field == "tenant" {
		return err
	}
	own := *e
	own.Field, own.Message = "definition."+e.Field, "definition."+e.Message
	return &own
}
