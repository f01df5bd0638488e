package jobs

import (
	"context"

	"github.com/weirhq/weir/db"
)

// AlertCounts are numbers of alerts by severity.
type AlertCounts struct {
	Info     int64 `json:"info" doc:"Of severity info."`
	Warning  int64 `json:"warning" doc:"Of severity warning."`
	Critical int64 `json:"critical" doc:"Of severity critical."`
}

func (c *AlertCounts) add(severity string, n int64) {
	switch severity {
	case "info":
		c.Info += n
	case "warning":
		c.Warning += n
	default:
		c.Critical += n
	}
}

// AlertRuleStats is what a rule found in a window.
type AlertRuleStats struct {
	Rule                   string  `json:"rule" doc:"The rule." example:"queue-depth"`
	Tenant                 string  `json:"tenant,omitempty" doc:"The tenant of the rule."`
	Opened                 int64   `json:"opened" doc:"Alerts that opened in the window." example:"7"`
	Acknowledged           int64   `json:"acknowledged" doc:"How many of them were acknowledged." example:"5"`
	Resolved               int64   `json:"resolved" doc:"How many of them have resolved." example:"6"`
	MeanAcknowledgeSeconds float64 `json:"mean_acknowledge_seconds" doc:"Mean time from opening to acknowledging; 0: none was." example:"92.5"`
	MeanResolveSeconds     float64 `json:"mean_resolve_seconds" doc:"Mean time from opening to resolving; 0: none has." example:"610"`
}

// AlertDay counts the alerts that opened on a day.
type AlertDay struct {
	Day    string `json:"day" format:"date" doc:"The day in UTC." example:"2026-01-31"`
	Opened int64  `json:"opened" doc:"Alerts that opened." example:"3"`
	AlertCounts
}

// AlertStats sums up the alerts of a window.
type AlertStats struct {
	Open                   AlertCounts      `json:"open" doc:"Alerts that are open now."`
	AcknowledgedNow        AlertCounts      `json:"acknowledged_now" doc:"Alerts that are acknowledged and have not resolved."`
	Opened                 int64            `json:"opened" doc:"Alerts that opened in the window." example:"9"`
	Acknowledged           int64            `json:"acknowledged" doc:"How many of them were acknowledged." example:"6"`
	Resolved               int64            `json:"resolved" doc:"How many of them have resolved." example:"8"`
	MeanAcknowledgeSeconds float64          `json:"mean_acknowledge_seconds" doc:"Mean time from opening to acknowledging; 0: none was." example:"92.5"`
	MeanResolveSeconds     float64          `json:"mean_resolve_seconds" doc:"Mean time from opening to resolving; 0: none has." example:"610"`
	Rules                  []AlertRuleStats `json:"rules" doc:"By rule, at most 500, the one with most alerts first."`
	Days                   []AlertDay       `json:"days" doc:"By day in UTC; days without alerts are left out."`
}

const maxAlertRules = 500

// AlertStats sums up the caller's alerts that opened within these seconds, and those that are active now.
func (e *Engine) AlertStats(ctx context.Context, windowSeconds int) (s AlertStats, err error) {
	bounds, err := encodedBounds(ctx)
	if err != nil {
		return s, err
	}
	states, err := e.reads.AlertStates(ctx, bounds)
	if err != nil {
		return s, fromDB("counting alerts", err)
	}
	for _, r := range states {
		if r.State == "open" {
			s.Open.add(r.Severity, r.Alerts)
		} else {
			s.AcknowledgedNow.add(r.Severity, r.Alerts)
		}
	}
	rules, err := e.reads.AlertRuleStats(ctx, db.AlertRuleStatsParams{WindowSeconds: int32(windowSeconds), Bounds: bounds, MaxRules: maxAlertRules})
	if err != nil {
		return s, fromDB("counting alerts by rule", err)
	}
	s.Rules = make([]AlertRuleStats, len(rules))
	for i, r := range rules {
		s.Rules[i] = AlertRuleStats{Rule: r.Rule, Tenant: r.Tenant, Opened: r.Opened, Acknowledged: r.Acknowledged, Resolved: r.Resolved, MeanAcknowledgeSeconds: r.AcknowledgeSeconds, MeanResolveSeconds: r.ResolveSeconds}
		s.Opened += r.Opened
		s.Acknowledged += r.Acknowledged
		s.Resolved += r.Resolved
		s.MeanAcknowledgeSeconds += r.AcknowledgeSeconds * float64(r.Acknowledged)
		s.MeanResolveSeconds += r.ResolveSeconds * float64(r.Resolved)
	}
	s.MeanAcknowledgeSeconds /= float64(max(s.Acknowledged, 1))
	s.MeanResolveSeconds /= float64(max(s.Resolved, 1))
	days, err := e.reads.AlertDayStats(ctx, db.AlertDayStatsParams{WindowSeconds: int32(windowSeconds), Bounds: bounds})
	if err != nil {
		return s, fromDB("counting alerts by day", err)
	}
	s.Days = make([]AlertDay, len(days))
	for i, r := range days {
		s.Days[i] = AlertDay{Day: r.Day, Opened: r.Opened, AlertCounts: AlertCounts{Info: r.Info, Warning: r.Warning, Critical: r.Critical}}
	}
	return s, nil
}
