package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type breakerCommands struct {
	List   listBreakers      `cmd:"" default:"withargs" help:"List circuit breakers. The default."`
	Show   showBreaker       `cmd:"" help:"Show a circuit breaker: its state, settings and last events."`
	Trip   tripBreaker       `cmd:"" help:"Open a circuit breaker."`
	Reset  resetBreaker      `cmd:"" help:"Close a circuit breaker."`
	Pin    pinBreaker        `cmd:"" help:"Fix the state of a circuit breaker, or end that."`
	Set    setBreaker        `cmd:"" help:"Change settings of a circuit breaker."`
	Report reportBreaker     `cmd:"" help:"Report outcomes of calls made outside jobs."`
	Delete deleteBreaker     `cmd:"" help:"Delete a circuit breaker. It must be closed, hold no jobs and belong to no queue."`
	Events listBreakerEvents `cmd:"" help:"Show the events of a circuit breaker, newest first."`
}

// breakerFlags are those of the commands about one circuit breaker.
type breakerFlags struct {
	Name string `arg:"" complete:"breaker" help:"The circuit breaker's name."`
	ownerFlag
	answerFlags
}

func (f breakerFlags) path(below ...string) string {
	return rest.Path(append([]string{"breakers", f.Name}, below...)...)
}

// breaker is what is printed of a circuit breaker.
type breaker struct {
	Name            string     `json:"name"`
	Tenant          string     `json:"tenant"`
	State           string     `json:"state"`
	Since           time.Time  `json:"since"`
	Recovering      bool       `json:"recovering"`
	NextProbeAt     *time.Time `json:"next_probe_at"`
	Pinned          bool       `json:"pinned"`
	PinnedUntil     *time.Time `json:"pinned_until"`
	WindowSucceeded int64      `json:"window_succeeded"`
	WindowFailed    int64      `json:"window_failed"`
	Held            int64      `json:"held"`
	Probes          int        `json:"probes"`
}

// status is the state and what belongs to it.
func (b *breaker) status(p *printer) safe {
	status := p.state(b.State)
	switch {
	case b.Pinned && b.PinnedUntil != nil:
		status += safe(" (pinned until " + b.PinnedUntil.Local().Format(timeFormat) + ")")
	case b.Pinned:
		status += " (pinned)"
	case b.Recovering:
		status += " (releasing held jobs)"
	case b.State == "half_open" && b.Probes == 0:
		status += " (waits for a job to probe with)"
	case b.State == "half_open":
		status += safe(fmt.Sprintf(" (probes under way: %d)", b.Probes))
	case b.NextProbeAt != nil:
		status += safe(" (next probe " + relative(p.now, *b.NextProbeAt) + ")")
	}
	return status
}

// maxHeldCount is where the service stops counting held jobs.
const maxHeldCount = 10000

var breakerTable = layout[breaker]{
	columns: []string{"BREAKER", "SUCCEEDED", "FAILED", "HELD", "SINCE", "STATE"},
	row: func(p *printer, b *breaker) []any {
		held := strconv.FormatInt(b.Held, 10)
		if b.Held >= maxHeldCount {
			held += "+"
		}
		return []any{ofTenant(b.Name, b.Tenant), b.WindowSucceeded, b.WindowFailed, held, b.Since, b.status(p)}
	},
}

type listBreakers struct {
	Tenant string `help:"Only circuit breakers of this tenant." placeholder:"TENANT"`
	answerFlags
}

// Run lists all circuit breakers.
func (c *listBreakers) Run(ctx context.Context, s *Session) error {
	empty := "There are no circuit breakers yet: the first job that names one creates it."
	return list(ctx, s, c.answerFlags, rest.Get("/v1/breakers").With("tenant", c.Tenant), rest.All, empty, breakerTable)
}

// breakerSettings are the settings that are printed, in this order.
var breakerSettings = []string{
	"failure_threshold", "failure_ratio", "min_calls", "window_seconds", "open_seconds", "max_open_seconds",
	"half_open_probes", "close_after", "counts", "while_open", "ramp_per_second", "ramp_factor", "queues",
}

type showBreaker struct{ breakerFlags }

// Run shows the circuit breaker and its last ten events.
func (c *showBreaker) Run(ctx context.Context, s *Session) error {
	answer, b, err := read[breaker](ctx, s, c.answerFlags, c.of(rest.Get(c.path())))
	if err != nil || c.JSON {
		return orWriteJSON(s, err, answer)
	}
	settings, err := decode[map[string]json.RawMessage](answer)
	if err != nil {
		return err
	}
	events, err := items[breakerEvent](ctx, s, c.answerFlags, c.of(rest.Get(c.path("events"))), 10)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	breakerTable.print(p, []breaker{*b})
	p.line("")
	p.settings(*settings, breakerSettings)
	breakerEventTable.section(p, events)
	return p.flush()
}

// reasonFlags say who makes a change, and why.
type reasonFlags struct {
	byFlag
	Reason string `help:"Why." placeholder:"TEXT"`
}

func (f reasonFlags) body(s *Session) map[string]any {
	body := f.byFlag.body(s)
	if f.Reason != "" {
		body["reason"] = f.Reason
	}
	return body
}

// change makes a call that answers with the circuit breaker, and prints its status.
func (f breakerFlags) change(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f.answerFlags, f.of(call), func(p *printer, b *breaker) {
		p.line("circuit breaker %s is %s", b.Name, b.status(p))
	})
}

type tripBreaker struct {
	breakerFlags
	reasonFlags
	For duration `help:"Probe after this time: 90 (seconds), 90s, 5m, 2h. Defaults to the breaker's setting." placeholder:"TIME"`
}

// Run opens the circuit breaker.
func (c *tripBreaker) Run(ctx context.Context, s *Session) error {
	body := c.body(s)
	if c.For > 0 {
		body["open_seconds"] = c.For.seconds()
	}
	return c.change(ctx, s, rest.Post(c.path("trip"), body))
}

type resetBreaker struct {
	breakerFlags
	reasonFlags
}

// Run closes the circuit breaker.
func (c *resetBreaker) Run(ctx context.Context, s *Session) error {
	return c.change(ctx, s, rest.Post(c.path("reset"), c.body(s)))
}

type pinBreaker struct {
	breakerFlags
	State string `arg:"" help:"${enum}: stay open, stay closed, or end the pin." enum:"open,closed,none"`
	reasonFlags
	For duration `help:"End the pin after this time: 90 (seconds), 90s, 5m, 2h. Defaults to never." placeholder:"TIME"`
}

// Run pins the circuit breaker.
func (c *pinBreaker) Run(ctx context.Context, s *Session) error {
	body := c.body(s)
	body["state"] = c.State
	if c.For > 0 {
		body["for_seconds"] = c.For.seconds()
	}
	return c.change(ctx, s, rest.Post(c.path("pin"), body))
}

type setBreaker struct {
	breakerFlags
	Settings []string `arg:"" name:"setting=value" help:"failure_threshold=10, while_open.policy=reroute, while_open.queue=backup and so on."`
	Replace  bool     `help:"Set all other settings to their defaults; creates the circuit breaker if it does not exist."`
	byFlag
}

// Run changes the settings.
func (c *setBreaker) Run(ctx context.Context, s *Session) error {
	settings, err := parseSettings(c.Settings)
	if err != nil {
		return err
	}
	call := rest.Call{Method: patchOrPut(c.Replace), Path: c.path(), Body: settings}
	return c.change(ctx, s, call.With("by", c.name(s)))
}

type reportBreaker struct {
	breakerFlags
	Outcome string `arg:"" help:"Outcome of the calls: ${enum}." enum:"success,failure"`
	Message string `help:"With failure: what went wrong." placeholder:"TEXT"`
	Type    string `help:"With failure: the error's type. The circuit breaker's settings decide whether it counts." placeholder:"TYPE"`
	Calls   int    `help:"Number of calls." default:"1"`
}

// Run reports the calls.
func (c *reportBreaker) Run(ctx context.Context, s *Session) error {
	body := map[string]any{"outcome": c.Outcome, "calls": c.Calls}
	switch {
	case c.Outcome == "success" && (c.Message != "" || c.Type != ""):
		return Usagef("--message and --type need the outcome failure")
	case c.Outcome == "failure":
		failure := map[string]any{"message": cmp.Or(c.Message, c.Type, "the call failed")}
		if c.Type != "" {
			failure["type"] = c.Type
		}
		body["error"] = failure
	}
	return c.change(ctx, s, rest.Post(c.path("report"), body))
}

type deleteBreaker struct {
	breakerFlags
	yesFlag
	byFlag
}

// Run asks, and deletes the circuit breaker.
func (c *deleteBreaker) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: c.of(rest.Get(c.path())), delete: c.of(rest.Delete(c.path())).With("by", c.name(s)),
		question: "Delete circuit breaker " + c.Name + " and its settings?",
		gone:     "circuit breaker " + c.Name + " is gone",
	})
}

// breakerEvent is what is printed of an event.
type breakerEvent struct {
	At     time.Time
	Event  string
	By     string
	Reason string
	Detail json.RawMessage
}

var breakerEventTable = layout[breakerEvent]{
	columns: []string{"AT", "EVENT", "BY", "REASON"},
	row: func(_ *printer, e *breakerEvent) []any {
		reason := e.Reason
		if e.Event == "set" && reason == "" {
			reason = string(e.Detail) // which settings
		}
		return []any{e.At.Local().Format(timeFormat), e.Event, e.By, terminal.Shorten(terminal.OneLine(reason), 80)}
	},
}

type listBreakerEvents struct {
	breakerFlags
	Limit limit `help:"List at most this many." default:"50"`
}

// Run lists the events of the circuit breaker.
func (c *listBreakerEvents) Run(ctx context.Context, s *Session) error {
	call := c.of(rest.Get(c.path("events")))
	return list(ctx, s, c.answerFlags, call, int(c.Limit), "There are no events yet.", breakerEventTable)
}
