package cli

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type alertRuleCommands struct {
	List   listAlertRules  `cmd:"" default:"withargs" help:"List rules. The default."`
	Show   showAlertRule   `cmd:"" help:"Show the settings of a rule, and its alerts."`
	Add    addAlertRule    `cmd:"" help:"Add a rule."`
	Set    setAlertRule    `cmd:"" help:"Change settings of a rule."`
	Mute   muteAlertRule   `cmd:"" help:"Send nothing of a rule for some time. Its alerts open and resolve anyway."`
	Unmute unmuteAlertRule `cmd:"" help:"End the mute of a rule."`
	Delete deleteAlertRule `cmd:"" help:"Delete a rule. Its alerts resolve."`
}

// alertRuleFlags are those of the commands about one rule.
type alertRuleFlags struct {
	Name string `arg:"" complete:"alert-rule" help:"The rule's name."`
	ownerFlag
	answerFlags
}

func (f alertRuleFlags) path(below ...string) string {
	return rest.Path(append([]string{"alert-rules", f.Name}, below...)...)
}

// alertRule is what is printed of a rule.
type alertRule struct {
	Name       string     `json:"name"`
	Tenant     string     `json:"tenant"`
	Condition  string     `json:"condition"`
	Threshold  float64    `json:"threshold"`
	Queue      string     `json:"queue"`
	Severity   string     `json:"severity"`
	Notify     []string   `json:"notify"`
	Enabled    bool       `json:"enabled"`
	MutedUntil *time.Time `json:"muted_until"`
	Active     int        `json:"active"`
	Unlisted   int        `json:"unlisted"`
	Problem    string     `json:"problem"`
}

// status is whether the rule is evaluated and sends, and what is wrong with it.
func (r *alertRule) status() string {
	switch {
	case !r.Enabled:
		return "not enabled"
	case r.Problem != "":
		return r.Problem
	case r.MutedUntil != nil:
		return "muted until " + r.MutedUntil.Local().Format(timeFormat)
	case r.Unlisted > 0:
		return "full"
	}
	return "enabled"
}

func commaList(names []string) string { return strings.Join(names, ",") }

var alertRuleTable = layout[alertRule]{
	columns: []string{"RULE", "CONDITION", "ABOVE", "QUEUE", "SEVERITY", "TELLS", "ALERTS", "STATE"},
	row: func(_ *printer, r *alertRule) []any {
		return []any{ofTenant(r.Name, r.Tenant), r.Condition, r.Threshold, r.Queue, r.Severity, commaList(r.Notify), r.Active + r.Unlisted, r.status()}
	},
}

type listAlertRules struct {
	Tenant string `help:"Only rules of this tenant." placeholder:"TENANT"`
	answerFlags
}

// Run lists the rules.
func (c *listAlertRules) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, rest.Get("/v1/alert-rules").With("tenant", c.Tenant), rest.All, "There are no alert rules.", alertRuleTable)
}

// alertRuleSettings are the settings that are printed, in this order.
var alertRuleSettings = []string{
	"condition", "threshold", "resolve_threshold", "window_seconds", "min_calls", "queue", "kind", "for_seconds", "clear_seconds", "cooldown_seconds", "severity",
	"quiet", "notify", "description", "enabled", "muted_until",
}

type showAlertRule struct{ alertRuleFlags }

// Run shows the rule, its settings and its alerts.
func (c *showAlertRule) Run(ctx context.Context, s *Session) error {
	answer, r, err := read[alertRule](ctx, s, c.answerFlags, c.of(rest.Get(c.path())))
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	settings, err := settingsOf(answer)
	if err != nil {
		return err
	}
	call := rest.Get("/v1/alerts").With("rule", c.Name).With("tenant", r.Tenant).With("state", "open,acknowledged")
	alerts, err := items[alert](ctx, s, c.answerFlags, call, 20)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	alertRuleTable.print(p, []alertRule{*r})
	p.line("")
	p.settings(settings, alertRuleSettings)
	alertTable.section(p, alerts)
	return p.flush()
}

// alertSettings makes an object of name=value pairs. In those that are lists, commas separate.
func alertSettings(pairs []string, lists ...string) (map[string]any, error) {
	settings, err := parseSettings(pairs)
	if err != nil {
		return nil, err
	}
	for _, name := range lists {
		if text, ok := settings[name].(string); ok {
			settings[name] = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		}
	}
	if quiet, ok := settings["quiet"].(map[string]any); ok {
		if days, ok := quiet["days"].(string); ok {
			quiet["days"] = strings.FieldsFunc(days, func(r rune) bool { return r == ',' })
		}
	}
	return settings, nil
}

// change makes a call that answers with the rule, and prints its status.
func (f alertRuleFlags) change(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f.answerFlags, f.of(call), func(p *printer, r *alertRule) {
		p.line("alert rule %s (%s above %v) is %s", r.Name, r.Condition, r.Threshold, r.status())
	})
}

type addAlertRule struct {
	alertRuleFlags
	Condition string   `arg:"" help:"What it watches: ${enum}." enum:"queue_depth,oldest_waiting,failure_ratio,no_worker,dead_letters,worker_silent,slow_heartbeats,schedule_late,schedule_missed,breaker_open,workflow_late,horizon_pinned,database_size,node_lost"`
	Settings  []string `arg:"" optional:"" name:"setting=value" help:"threshold=500, queue=mail-*, for_seconds=60, severity=critical, notify=oncall,team, quiet.from=22:00, quiet.to=06:00 and so on."`
}

// Run adds the rule.
func (c *addAlertRule) Run(ctx context.Context, s *Session) error {
	settings, err := alertSettings(c.Settings, "notify")
	if err != nil {
		return err
	}
	settings["name"], settings["condition"] = c.Name, c.Condition
	return c.change(ctx, s, rest.Post("/v1/alert-rules", settings))
}

type setAlertRule struct {
	alertRuleFlags
	Settings []string `arg:"" name:"setting=value" help:"threshold=500, notify=oncall,team, quiet=null and so on; null restores a default."`
}

// Run changes the settings.
func (c *setAlertRule) Run(ctx context.Context, s *Session) error {
	settings, err := alertSettings(c.Settings, "notify")
	if err != nil {
		return err
	}
	return c.change(ctx, s, rest.Call{Method: http.MethodPatch, Path: c.path(), Body: settings})
}

type muteAlertRule struct {
	alertRuleFlags
	For duration `help:"For this long: 90 (seconds), 5m, 8h." default:"1h" placeholder:"TIME"`
}

// Run mutes the rule.
func (c *muteAlertRule) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, rest.Post(c.path("mute"), map[string]any{"seconds": c.For.seconds()}))
}

type unmuteAlertRule struct{ alertRuleFlags }

// Run ends the mute.
func (c *unmuteAlertRule) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, rest.Post(c.path("unmute"), nil))
}

type deleteAlertRule struct {
	alertRuleFlags
	yesFlag
}

// Run asks, and deletes the rule.
func (c *deleteAlertRule) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: c.of(rest.Get(c.path())), delete: c.of(rest.Delete(c.path())),
		question: "Delete alert rule " + terminal.OneLine(c.Name) + "?", gone: "alert rule " + c.Name + " is gone",
	})
}
