package cli

import (
	"context"
	"time"

	"github.com/weirhq/weir/rest"
)

// alertFinding is what is printed of what a rule would do.
type alertFinding struct {
	Rule      string    `json:"rule"`
	Tenant    string    `json:"tenant"`
	Severity  string    `json:"severity"`
	Action    string    `json:"action"`
	At        time.Time `json:"at"`
	AlertID   string    `json:"alert_id"`
	Summary   string    `json:"summary"`
	Notify    []string  `json:"notify"`
	HeldUntil time.Time `json:"held_until"`
}

// outcome is what would happen, in words.
func (f *alertFinding) outcome(now time.Time) string {
	switch f.Action {
	case "open":
		return "would open now"
	case "wait":
		return "would open " + relative(now, f.At)
	case "cooldown":
		return "would open " + relative(now, f.At) + ", after the cooldown"
	case "full":
		return "would not open: the rule has 100 alerts"
	case "active":
		return "is alert " + f.AlertID
	case "clearing":
		return "is alert " + f.AlertID + ", which resolves " + relative(now, f.At)
	}
	return f.Action
}

type evaluateAlerts struct {
	Rule       string `arg:"" optional:"" complete:"alert-rule" help:"Only this rule, even if it is not enabled. Without it: all that are enabled."`
	Definition string `help:"Settings of a rule that is not saved: JSON, @FILE to read it from a file, - for standard input." placeholder:"JSON"`
	ownerFlag
	answerFlags
}

// Run evaluates rules and prints what they would do.
func (c *evaluateAlerts) Run(ctx context.Context, s *Session) error {
	body := definition{}
	body.text("rule", c.Rule)
	settings, err := readJSON(c.Definition, s.In)
	if err != nil {
		return err
	}
	if settings != nil {
		body["definition"] = settings
	}
	return show(ctx, s, c.answerFlags, c.of(rest.Post("/v1/alerts/evaluate", body)), func(p *printer, answer *struct {
		Items []alertFinding `json:"items"`
	},
	) {
		if len(answer.Items) == 0 {
			p.line("No condition holds, and there is no alert.")
			return
		}
		layout[alertFinding]{
			columns: []string{"RULE", "SEVERITY", "WHAT", "TELLS", "OUTCOME"},
			row: func(p *printer, f *alertFinding) []any {
				tells := commaList(f.Notify)
				if tells != "" && f.HeldUntil.After(p.now) {
					tells += " " + relative(p.now, f.HeldUntil)
				}
				return []any{ofTenant(f.Rule, f.Tenant), f.Severity, f.Summary, tells, f.outcome(p.now)}
			},
		}.print(p, answer.Items)
	})
}
