package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type alertTargetCommands struct {
	List       listAlertTargets      `cmd:"" default:"withargs" help:"List targets. The default."`
	Show       showAlertTarget       `cmd:"" help:"Show the settings of a target, without its secrets."`
	Add        addAlertTarget        `cmd:"" help:"Add a target."`
	Set        setAlertTarget        `cmd:"" help:"Change settings of a target."`
	Test       testAlertTarget       `cmd:"" help:"Send a test to a target, and show whether it was delivered."`
	Deliveries listTargetsDeliveries `cmd:"" help:"List what a target was told, newest first."`
	Delete     deleteAlertTarget     `cmd:"" help:"Delete a target that no rule names."`
}

// alertTargetFlags are those of the commands about one target.
type alertTargetFlags struct {
	Name string `arg:"" complete:"alert-target" help:"The target's name."`
	ownerFlag
	answerFlags
}

func (f alertTargetFlags) path(below ...string) string {
	return rest.Path(append([]string{"alert-targets", f.Name}, below...)...)
}

// alertTarget is what is printed of a target.
type alertTarget struct {
	Name   string   `json:"name"`
	Tenant string   `json:"tenant"`
	Kind   string   `json:"kind"`
	Host   string   `json:"host"`
	URL    string   `json:"url"`
	To     []string `json:"to"`
	Events []string `json:"events"`
	Secret string   `json:"secret"`
}

// address is where it is, as far as that is shown.
func (t *alertTarget) address() string {
	switch {
	case len(t.To) > 0:
		return commaList(t.To)
	case t.URL != "":
		return t.URL
	}
	return t.Host
}

var alertTargetTable = layout[alertTarget]{
	columns: []string{"TARGET", "KIND", "ADDRESS", "EVENTS"},
	row: func(_ *printer, t *alertTarget) []any {
		return []any{ofTenant(t.Name, t.Tenant), t.Kind, t.address(), commaList(t.Events)}
	},
}

type listAlertTargets struct {
	Tenant string `help:"Only targets of this tenant." placeholder:"TENANT"`
	answerFlags
}

// Run lists the targets.
func (c *listAlertTargets) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, rest.Get("/v1/alert-targets").With("tenant", c.Tenant), rest.All, "There are no alert targets.", alertTargetTable)
}

// alertTargetSettings are the settings that are printed, in this order.
var alertTargetSettings = []string{"kind", "events", "host", "port", "tls", "username", "from", "to", "url", "timeout_seconds", "created_at", "updated_at"}

type showAlertTarget struct{ alertTargetFlags }

// Run shows the target's settings.
func (c *showAlertTarget) Run(ctx context.Context, s *Session) error {
	answer, t, err := read[alertTarget](ctx, s, c.answerFlags, c.of(rest.Get(c.path())))
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	settings, err := settingsOf(answer)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	alertTargetTable.print(p, []alertTarget{*t})
	p.line("")
	p.settings(settings, alertTargetSettings)
	return p.flush()
}

// targetSettings makes an object of name=value pairs. A secret may be in a file: password=@FILE. The arguments of a
// program show in the list of processes.
func targetSettings(pairs []string) (map[string]any, error) {
	settings, err := alertSettings(pairs, "to", "events")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"url", "password", "routing_key", "secret"} {
		given, _ := settings[name].(string)
		path, inFile := strings.CutPrefix(given, "@")
		if !inFile {
			continue
		}
		if settings[name], err = ReadSecret(path); err != nil {
			return nil, err
		}
	}
	return settings, nil
}

// change makes a call that answers with the target, and prints it, with the secret that it may have.
func (f alertTargetFlags) change(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f.answerFlags, f.of(call), func(p *printer, t *alertTarget) {
		if t.Secret != "" {
			fmt.Fprintf(s.Err, "the secret of alert target %s, which is not shown again:\n", terminal.OneLine(t.Name))
			p.line("%s", t.Secret)
			return
		}
		p.line("alert target %s is %s to %s", t.Name, t.Kind, t.address())
	})
}

type addAlertTarget struct {
	alertTargetFlags
	Kind     string   `arg:"" help:"The way: ${enum}." enum:"webhook,email,slack,pagerduty"`
	Settings []string `arg:"" name:"setting=value" help:"Of webhook and slack url=https://…; of pagerduty routing_key=…; of email host=…, from=…, to=a@example.com,b@example.com, username=…, password=…. A secret may be in a file: password=@FILE."`
}

// Run adds the target.
func (c *addAlertTarget) Run(ctx context.Context, s *Session) error {
	settings, err := targetSettings(c.Settings)
	if err != nil {
		return err
	}
	settings["name"], settings["kind"] = c.Name, c.Kind
	return c.change(ctx, s, rest.Post("/v1/alert-targets", settings))
}

type setAlertTarget struct {
	alertTargetFlags
	Settings []string `arg:"" name:"setting=value" help:"events=opened,resolved, url=@FILE and so on; null removes one."`
}

// Run changes the settings.
func (c *setAlertTarget) Run(ctx context.Context, s *Session) error {
	settings, err := targetSettings(c.Settings)
	if err != nil {
		return err
	}
	return c.change(ctx, s, rest.Call{Method: http.MethodPatch, Path: c.path(), Body: settings})
}

type testAlertTarget struct{ alertTargetFlags }

// Run sends a test, waits for the first attempt to deliver it, and returns an error unless that succeeded.
func (c *testAlertTarget) Run(ctx context.Context, s *Session) error {
	answer, err := c.tried(ctx, s, c.of(rest.Post(c.path("test"), nil)), c.of(rest.Get(c.path("deliveries"))))
	if err != nil {
		return err
	}
	d, err := decode[alertDelivery](answer)
	if err != nil {
		return err
	}
	if d.State != "delivered" {
		if c.JSON {
			if err := s.writeJSON(answer); err != nil {
				return err
			}
		}
		return fmt.Errorf("the test was not delivered: %s", terminal.OneLine(d.Error))
	}
	return write(s, c.answerFlags, answer, func(p *printer, _ *alertDelivery) { p.line("delivered: alert target %s was told", c.Name) })
}

type listTargetsDeliveries struct {
	alertTargetFlags
	Limit limit `help:"List at most this many." default:"20"`
}

// Run lists what the target was told.
func (c *listTargetsDeliveries) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, c.of(rest.Get(c.path("deliveries"))), int(c.Limit), "It was told of nothing.", alertDeliveryTable)
}

type deleteAlertTarget struct {
	alertTargetFlags
	yesFlag
}

// Run asks, and deletes the target.
func (c *deleteAlertTarget) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: c.of(rest.Get(c.path())), delete: c.of(rest.Delete(c.path())),
		question: "Delete alert target " + terminal.OneLine(c.Name) + "?", gone: "alert target " + c.Name + " is gone",
	})
}
