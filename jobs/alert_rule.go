package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// QuietHours are times of the week in which a rule sends nothing.
type QuietHours struct {
	Timezone string   `json:"timezone,omitempty" maxLength:"100" doc:"A name of the IANA time zone database. Defaults to UTC." example:"Europe/Berlin"`
	Days     []string `json:"days,omitempty" minItems:"1" maxItems:"7" enum:"mon,tue,wed,thu,fri,sat,sun" doc:"The days on which they begin. Defaults to all."`
	From     string   `json:"from" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" doc:"When they begin, by local time." example:"22:00"`
	To       string   `json:"to" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" doc:"When they end, on the next day if that is not after from." example:"06:30"`
}

// AlertSettings are those of a rule. A zero value stands for the default.
type AlertSettings struct {
	Condition        string      `json:"condition" enum:"queue_depth,oldest_waiting,failure_ratio,no_worker,dead_letters,worker_silent,slow_heartbeats,schedule_late,schedule_missed,breaker_open,workflow_late,horizon_pinned,database_size,node_lost" doc:"What is measured." example:"queue_depth"`
	Threshold        *float64    `json:"threshold,omitempty" minimum:"0" maximum:"1e15" doc:"The condition holds while the value is above this. Defaults to a number that depends on the condition; database_size has none." example:"1000"`
	ResolveThreshold *float64    `json:"resolve_threshold,omitempty" minimum:"0" maximum:"1e15" doc:"An alert resolves once the value is not above this. Defaults to threshold." example:"800"`
	WindowSeconds    int         `json:"window_seconds,omitempty" minimum:"60" maximum:"86400" doc:"With failure_ratio, dead_letters, schedule_missed and workflow_late: of which time before now things are counted. Defaults to 3600."`
	MinCalls         int         `json:"min_calls,omitempty" minimum:"1" maximum:"1000000" doc:"With failure_ratio: fewer attempts in the window are no ratio. Defaults to 10."`
	Queue            string      `json:"queue,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_*][A-Za-z0-9_.:*-]*$" doc:"Only queues of this name, in which * stands for any characters, and schedules and workers of such queues alone. Defaults to all."`
	Kind             string      `json:"kind,omitempty" minLength:"1" maxLength:"200" doc:"With failure_ratio and dead_letters: only jobs of this kind. Defaults to all."`
	ForSeconds       *int        `json:"for_seconds,omitempty" minimum:"0" maximum:"86400" doc:"How long the condition must hold before an alert opens. Defaults to 0."`
	ClearSeconds     *int        `json:"clear_seconds,omitempty" minimum:"0" maximum:"86400" doc:"How long the value must be clear before the alert resolves. Defaults to 60."`
	CooldownSeconds  *int        `json:"cooldown_seconds,omitempty" minimum:"0" maximum:"604800" doc:"The shortest time from the opening of one alert to that of the next of the same subject. Defaults to 300."`
	Severity         string      `json:"severity,omitempty" enum:"info,warning,critical" doc:"How bad it is. Defaults to warning."`
	Quiet            *QuietHours `json:"quiet,omitempty" doc:"Quiet hours: alerts open and resolve, and what they send waits for the end."`
	Notify           []string    `json:"notify,omitempty" maxItems:"20" doc:"Names of the targets that are told. Defaults to none."`
	Description      string      `json:"description,omitempty" minLength:"1" maxLength:"1000" doc:"Words for those who are told: what it means, what to do."`
	Enabled          *bool       `json:"enabled,omitempty" doc:"It is evaluated. Defaults to true."`
}

// AlertRule is a rule and how it is.
type AlertRule struct {
	Name   string `json:"name" doc:"Its name." example:"queue-depth"`
	Tenant string `json:"tenant,omitempty" doc:"The tenant that it belongs to, and whose things alone it watches."`
	AlertSettings
	MutedUntil  *time.Time `json:"muted_until,omitempty" doc:"It sends nothing until then."`
	Active      int        `json:"active" doc:"Its alerts that are open or acknowledged, at most 100."`
	Unlisted    int        `json:"unlisted,omitempty" doc:"Subjects for which the condition holds too, but which have no alert, as there are 100."`
	Problem     string     `json:"problem,omitempty" doc:"Why its last evaluation failed."`
	EvaluatedAt *time.Time `json:"evaluated_at,omitempty" doc:"When it was last evaluated, at most a minute late."`
	CreatedAt   time.Time  `json:"created_at" doc:"When it was created."`
	UpdatedAt   time.Time  `json:"updated_at" doc:"When its settings last changed."`
}

// AlertRules lists up to limit rules of the caller by tenant and name, starting after one; with a tenant only that one's.
func (e *Engine) AlertRules(ctx context.Context, tenant string, after Ref, limit int) ([]AlertRule, error) {
	return e.listAlertRules(ctx, db.ListAlertRulesParams{Tenant: nonZero(tenant), AfterTenant: after.Tenant, After: after.Name, MaxRules: int32(limit)})
}

func (e *Engine) listAlertRules(ctx context.Context, params db.ListAlertRulesParams) (_ []AlertRule, err error) {
	if params.Bounds, err = encodedBounds(ctx); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListAlertRules(ctx, params)
	if err != nil {
		return nil, fromDB("listing alert rules", err)
	}
	rules := make([]AlertRule, len(rows))
	for i, r := range rows {
		rules[i] = AlertRule{
			Name: r.Name, Tenant: r.Tenant, MutedUntil: utc(r.MutedUntil), Active: int(r.Active), Unlisted: int(r.Unlisted), Problem: r.Problem,
			EvaluatedAt: utc(r.EvaluatedAt), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		}
		if err := json.Unmarshal(r.Settings, &rules[i].AlertSettings); err != nil {
			return nil, fmt.Errorf("reading alert rule %q: %w", r.Name, err)
		}
	}
	return rules, nil
}

// AlertRule returns one. Errors: AlertRuleNotFound.
func (e *Engine) AlertRule(ctx context.Context, ref Ref) (AlertRule, error) {
	ref = ref.of(ctx)
	found, err := e.listAlertRules(ctx, db.ListAlertRulesParams{Name: &ref.Name, Tenant: &ref.Tenant, MaxRules: 1})
	if err != nil {
		return AlertRule{}, err
	}
	if len(found) == 0 {
		return AlertRule{}, &Error{Code: AlertRuleNotFound, Message: fmt.Sprintf("there is no alert rule %q", ref.Name), Hint: "GET /v1/alert-rules lists all rules."}
	}
	return found[0], nil
}

// NewAlertRule makes a rule. The settings are the JSON of AlertSettings; a name in it is passed over. Errors: InvalidArgument, QueueNotFound, AlertRuleExists.
func (e *Engine) NewAlertRule(ctx context.Context, ref Ref, settings json.RawMessage) (AlertRule, error) {
	return e.setAlertRule(ctx, ref, db.SetAlertRuleParams{Settings: settings, Make: new(true)})
}

// PutAlertRule makes a rule, or gives the one of that name other settings: those that are not given return to their defaults. Errors: InvalidArgument,
// QueueNotFound, AlertRuleExists.
func (e *Engine) PutAlertRule(ctx context.Context, ref Ref, settings json.RawMessage) (AlertRule, error) {
	return e.setAlertRule(ctx, ref, db.SetAlertRuleParams{Settings: settings, Replace: true})
}

// EditAlertRule changes the given settings; null restores a default. Errors: InvalidArgument, QueueNotFound, AlertRuleNotFound.
func (e *Engine) EditAlertRule(ctx context.Context, ref Ref, settings json.RawMessage) (AlertRule, error) {
	return e.setAlertRule(ctx, ref, db.SetAlertRuleParams{Settings: settings, Make: new(false)})
}

func (e *Engine) setAlertRule(ctx context.Context, ref Ref, params db.SetAlertRuleParams) (AlertRule, error) {
	params.Name, params.Tenant = ref.Name, nonZero(ref.Tenant)
	if err := e.changes.SetAlertRule(ctx, params); err != nil {
		return AlertRule{}, fromDB("setting an alert rule", err)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		ref.Tenant = p.Tenant // whatever the request says
	}
	return e.AlertRule(ctx, ref)
}

// DeleteAlertRule deletes a rule. Its alerts resolve. Errors: AlertRuleNotFound.
func (e *Engine) DeleteAlertRule(ctx context.Context, ref Ref) error {
	return fromDB("deleting an alert rule", e.changes.DeleteAlertRule(ctx, db.DeleteAlertRuleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}))
}

// MuteAlertRule sends nothing of a rule until a time, or for a number of seconds. Errors: InvalidArgument, AlertRuleNotFound.
func (e *Engine) MuteAlertRule(ctx context.Context, ref Ref, until *time.Time, seconds float64) (AlertRule, error) {
	if (until == nil) == (seconds == 0) {
		return AlertRule{}, invalid("until", "or seconds is required, and they exclude each other")
	}
	params := db.MuteAlertRuleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant), Until: utc(until), Seconds: nonZero(seconds)}
	if err := e.changes.MuteAlertRule(ctx, params); err != nil {
		return AlertRule{}, fromDB("muting an alert rule", err)
	}
	return e.AlertRule(ctx, ref)
}

// UnmuteAlertRule ends a mute; what is open and was held back is sent. Errors: AlertRuleNotFound.
func (e *Engine) UnmuteAlertRule(ctx context.Context, ref Ref) (AlertRule, error) {
	if err := e.changes.UnmuteAlertRule(ctx, db.UnmuteAlertRuleParams{Name: ref.Name, Tenant: nonZero(ref.Tenant)}); err != nil {
		return AlertRule{}, fromDB("unmuting an alert rule", err)
	}
	return e.AlertRule(ctx, ref)
}
