package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// alertsEvery is how often weir alerts --watch asks.
const alertsEvery = 5 * time.Second

type alertCommands struct {
	List     listAlerts          `cmd:"" default:"withargs" help:"List the alerts that have not resolved, newest first. The default."`
	Show     showAlert           `cmd:"" help:"Show an alert, its facts, and who was told."`
	Ack      ackAlert            `cmd:"" help:"Acknowledge an alert: say that you have seen it."`
	Rules    alertRuleCommands   `cmd:"" help:"List the rules of alerts; show, add, change, mute or delete one."`
	Targets  alertTargetCommands `cmd:"" help:"List the targets of alerts; show, add, change, test or delete one."`
	Evaluate evaluateAlerts      `cmd:"" help:"Say what the rules would do now and why. Nothing is stored or sent."`
	Stats    alertStats          `cmd:"" help:"Print how many alerts there are and were, by rule and by day, and how long they took."`
}

// alert is what is printed of an alert.
type alert struct {
	ID             string         `json:"id"`
	State          string         `json:"state"`
	Severity       string         `json:"severity"`
	Rule           string         `json:"rule"`
	Tenant         string         `json:"tenant"`
	Summary        string         `json:"summary"`
	Facts          map[string]any `json:"facts"`
	OpenedAt       time.Time      `json:"opened_at"`
	AcknowledgedBy string         `json:"acknowledged_by"`
	Note           string         `json:"note"`
	ResolvedAt     *time.Time     `json:"resolved_at"`
}

// status is the state and what belongs to it.
func (a *alert) status(p *printer) safe {
	status := p.state(a.State)
	if a.State == "acknowledged" {
		status += safe(" by " + terminal.OneLine(a.AcknowledgedBy))
	}
	if a.Note != "" {
		status += safe(": " + terminal.Shorten(terminal.OneLine(a.Note), 60))
	}
	return status
}

var alertTable = layout[alert]{
	columns: []string{"ALERT", "SEVERITY", "OPENED", "RULE", "WHAT", "STATE"},
	row: func(p *printer, a *alert) []any {
		return []any{a.ID, a.Severity, a.OpenedAt, ofTenant(a.Rule, a.Tenant), a.Summary, a.status(p)}
	},
}

type listAlerts struct {
	All      bool   `help:"Also alerts that have resolved."`
	State    string `help:"Only alerts in this state: ${enum}." enum:"open,acknowledged,resolved," default:"" placeholder:"STATE"`
	Severity string `help:"Only alerts of this severity: ${enum}." enum:"info,warning,critical," default:"" placeholder:"SEVERITY"`
	Rule     string `complete:"alert-rule" help:"Only alerts of this rule." placeholder:"RULE"`
	Tenant   string `help:"Only alerts of rules of this tenant." placeholder:"TENANT"`
	Watch    bool   `help:"Print the list again every five seconds, until you interrupt it."`
	Limit    limit  `help:"List at most this many." default:"20"`
	answerFlags
}

// Run lists alerts once, or again and again.
func (c *listAlerts) Run(ctx context.Context, s *Session) error {
	states := c.State
	if states == "" && !c.All {
		states = "open,acknowledged"
	}
	call := rest.Get("/v1/alerts").With("state", states).With("severity", c.Severity).With("rule", c.Rule).With("tenant", c.Tenant)
	for {
		if err := list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no such alerts.", alertTable); err != nil || !c.Watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(alertsEvery):
		}
		if !c.JSON {
			fmt.Fprintln(s.Out)
		}
	}
}

// alertFlags are those of the commands about one alert.
type alertFlags struct {
	ID id `arg:"" complete:"alert" help:"The alert's id."`
	answerFlags
}

func (f alertFlags) path(below ...string) string {
	return rest.Path(append([]string{"alerts", string(f.ID)}, below...)...)
}

// alertDelivery is what is printed of what a target was told.
type alertDelivery struct {
	ID        string    `json:"id"`
	AlertID   string    `json:"alert_id"`
	Target    string    `json:"target"`
	Event     string    `json:"event"`
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	Error     string    `json:"error"`
	CreatedAt time.Time `json:"created_at"`
	NextAt    time.Time `json:"next_at"`
}

var alertDeliveryTable = layout[alertDelivery]{
	columns: []string{"DELIVERY", "ALERT", "TARGET", "EVENT", "CREATED", "ATTEMPTS", "STATE"},
	row: func(p *printer, d *alertDelivery) []any {
		state := p.state(d.State)
		if d.State == "pending" && d.NextAt.After(p.now) {
			state += safe(" until " + relative(p.now, d.NextAt))
		}
		if d.Error != "" {
			state += safe(": " + terminal.OneLine(d.Error))
		}
		return []any{d.ID, d.AlertID, d.Target, d.Event, d.CreatedAt, d.Attempts, state}
	},
}

type showAlert struct{ alertFlags }

// Run shows the alert with its facts and its deliveries.
func (c *showAlert) Run(ctx context.Context, s *Session) error {
	answer, a, err := read[alert](ctx, s, c.answerFlags, rest.Get(c.path()))
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	told, err := items[alertDelivery](ctx, s, c.answerFlags, rest.Get(c.path("deliveries")), 50)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	p.line("%s", a.Summary)
	t := p.table()
	t.row(safe("state"), a.status(p))
	t.property("severity", "%s", a.Severity)
	t.property("rule", "%s", ofTenant(a.Rule, a.Tenant))
	t.property("opened", "%s", relative(p.now, a.OpenedAt))
	if a.ResolvedAt != nil {
		t.property("resolved", "%s, after %s", relative(p.now, *a.ResolvedAt), roughly(a.ResolvedAt.Sub(a.OpenedAt)))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Facts)) {
		t.property(terminal.OneLine(name), "%v", a.Facts[name])
	}
	t.end()
	alertDeliveryTable.section(p, told)
	return p.flush()
}

type ackAlert struct {
	alertFlags
	Note string `help:"What you have to say: what it is, what you do." placeholder:"TEXT"`
}

// Run acknowledges the alert.
func (c *ackAlert) Run(ctx context.Context, s *Session) error {
	body := definition{}
	body.text("note", c.Note)
	return show(ctx, s, c.answerFlags, rest.Post(c.path("acknowledge"), body), func(p *printer, a *alert) {
		p.line("alert %s is %s", a.ID, a.status(p))
	})
}

// settingsOf are an object's members, for printing.
func settingsOf(answer json.RawMessage) (map[string]json.RawMessage, error) {
	settings, err := decode[map[string]json.RawMessage](answer)
	if err != nil {
		return nil, err
	}
	return *settings, nil
}
