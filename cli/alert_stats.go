package cli

import (
	"context"
	"fmt"

	"github.com/weirhq/weir/rest"
)

// alertCounts are numbers by severity.
type alertCounts struct {
	Info     int64 `json:"info"`
	Warning  int64 `json:"warning"`
	Critical int64 `json:"critical"`
}

func (c alertCounts) String() string {
	return fmt.Sprintf("%d critical, %d warning, %d info", c.Critical, c.Warning, c.Info)
}

type alertStats struct {
	Window duration `help:"How far back to count: 24h, 168h, up to 2160h (90 days)." default:"168h" placeholder:"TIME"`
	answerFlags
}

// alertRuleStats are the numbers of one rule.
type alertRuleStats struct {
	Rule         string  `json:"rule"`
	Tenant       string  `json:"tenant"`
	Opened       int64   `json:"opened"`
	Acknowledged int64   `json:"acknowledged"`
	Resolved     int64   `json:"resolved"`
	Acknowledge  float64 `json:"mean_acknowledge_seconds"`
	Resolve      float64 `json:"mean_resolve_seconds"`
}

// Run prints the numbers.
func (c *alertStats) Run(ctx context.Context, s *Session) error {
	call := rest.Get("/v1/alerts/stats").With("window_seconds", fmt.Sprint(int(c.Window.seconds())))
	return show(ctx, s, c.answerFlags, call, func(p *printer, n *struct {
		Open         alertCounts      `json:"open"`
		Acknowledged alertCounts      `json:"acknowledged_now"`
		Rules        []alertRuleStats `json:"rules"`
		Days         []struct {
			Day    string `json:"day"`
			Opened int64  `json:"opened"`
			alertCounts
		} `json:"days"`
	},
	) {
		p.line("open now:         %s", n.Open.String())
		p.line("acknowledged now: %s", n.Acknowledged.String())
		layout[alertRuleStats]{
			columns: []string{"RULE", "OPENED", "ACKNOWLEDGED", "AFTER", "RESOLVED", "AFTER"},
			row: func(_ *printer, r *alertRuleStats) []any {
				return []any{ofTenant(r.Rule, r.Tenant), r.Opened, r.Acknowledged, meanTime(r.Acknowledged, r.Acknowledge), r.Resolved, meanTime(r.Resolved, r.Resolve)}
			},
		}.section(p, n.Rules)
		if len(n.Days) > 0 {
			p.line("")
			t := p.table("DAY (UTC)", "OPENED", "CRITICAL", "WARNING", "INFO")
			for _, d := range n.Days {
				t.row(d.Day, d.Opened, d.Critical, d.Warning, d.Info)
			}
			t.end()
		}
	})
}

// meanTime is a mean over n alerts; a dash over none.
func meanTime(n int64, mean float64) any {
	if n == 0 {
		return ""
	}
	return Seconds(mean)
}
