package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"
)

type breakersCommand struct {
	List   listBreakersCommand  `cmd:"" default:"withargs" help:"List the circuit breakers. The default."`
	Show   showBreakerCommand   `cmd:"" help:"Show a circuit breaker: its state, its settings and what happened last."`
	Trip   tripBreakerCommand   `cmd:"" help:"Open a circuit breaker."`
	Reset  resetBreakerCommand  `cmd:"" help:"Close a circuit breaker."`
	Pin    pinBreakerCommand    `cmd:"" help:"Fix the state of a circuit breaker, or end that."`
	Set    setBreakerCommand    `cmd:"" help:"Change settings of a circuit breaker."`
	Report reportBreakerCommand `cmd:"" help:"Say how calls of a dependency went that were no jobs."`
	Delete deleteBreakerCommand `cmd:"" help:"Delete a circuit breaker that is closed, holds no jobs and is no queue's."`
	Events breakerEventsCommand `cmd:"" help:"Show what happened to a circuit breaker."`
}

// breakerFlags are those of the commands about one circuit breaker.
type breakerFlags struct {
	Name string `arg:"" help:"The circuit breaker's name."`
	answerFlags
}

func (f breakerFlags) path(below string) string {
	return "/v1/breakers/" + url.PathEscape(f.Name) + below
}

// breaker is what people are shown of a circuit breaker.
type breaker struct {
	Name            string     `json:"name"`
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
	Policy          string     `json:"policy"`
}

// says is its state with what goes with it.
func (b *breaker) says(paint painter, now time.Time) string {
	says := paint.state(b.State)
	switch {
	case b.Pinned && b.PinnedUntil != nil:
		says += " (pinned until " + b.PinnedUntil.Local().Format("2006-01-02 15:04:05") + ")"
	case b.Pinned:
		says += " (pinned)"
	case b.Recovering:
		says += " (jobs are coming back)"
	case b.State == "half_open" && b.Probes == 0:
		says += " (waits for a job to probe with)"
	case b.State == "half_open":
		says += fmt.Sprintf(" (probes under way: %d)", b.Probes)
	case b.NextProbeAt != nil:
		says += " (probed " + relative(now, *b.NextProbeAt) + ")"
	}
	return says
}

type listBreakersCommand struct{ answerFlags }

// Run lists all circuit breakers.
func (c *listBreakersCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	all, err := listAll(ctx, weir, "/v1/breakers", url.Values{})
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, all, func(breakers []breaker) error {
		if len(breakers) == 0 {
			fmt.Fprintln(std.out, "There are no circuit breakers yet: one comes into being at its first job.")
			return nil
		}
		return printBreakers(std.out, breakers)
	})
}

func printBreakers(w io.Writer, breakers []breaker) error {
	paint, now := newPainter(w), time.Now()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BREAKER\tSUCCEEDED\tFAILED\tHELD\tSINCE\tSTATE")
	for _, b := range breakers {
		held := fmt.Sprint(b.Held)
		if b.Held >= 10000 {
			held += "+"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n", oneLine(b.Name), b.WindowSucceeded, b.WindowFailed, held, relative(now, b.Since), b.says(paint, now))
	}
	return table.Flush()
}

// breakerSettingNames are the settings that people are shown, in this order.
var breakerSettingNames = []string{
	"failure_threshold", "failure_ratio", "min_calls", "window_seconds", "open_seconds", "max_open_seconds", "half_open_probes", "close_after", "counts", "while_open",
	"ramp_per_second", "ramp_factor", "queues",
}

type showBreakerCommand struct{ breakerFlags }

// Run shows the circuit breaker and its last ten events.
func (c *showBreakerCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.get(ctx, c.path(""), &answer); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(settings map[string]json.RawMessage) error {
		var b breaker
		if err := json.Unmarshal(answer, &b); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if err := printBreakers(std.out, []breaker{b}); err != nil {
			return err
		}
		fmt.Fprintln(std.out)
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		for _, name := range breakerSettingNames {
			if value := settings[name]; value != nil {
				fmt.Fprintf(table, "%s\t%s\n", name, shorten(oneLine(string(value)), 100))
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		events, err := listSome(ctx, weir, c.path("/events"), url.Values{}, 10)
		if err != nil || len(events.Items) == 0 {
			return err
		}
		fmt.Fprintln(std.out)
		return printBreakerEvents(std.out, events.Items)
	})
}

// wordFlags say who does something and why.
type wordFlags struct {
	By     string `help:"Who does it. Defaults to your name on this machine." placeholder:"NAME"`
	Reason string `help:"Why." placeholder:"TEXT"`
}

func (f wordFlags) body() map[string]any {
	body := map[string]any{}
	if f.By == "" {
		f.By = nameHere()
	}
	if f.By != "" {
		body["by"] = f.By
	}
	if f.Reason != "" {
		body["reason"] = f.Reason
	}
	return body
}

type tripBreakerCommand struct {
	breakerFlags
	wordFlags
	For delay `help:"Probe it after so long: 90 (seconds), 90s, 5m, 2h. Defaults to its settings." placeholder:"TIME"`
}

// Run opens the circuit breaker.
func (c *tripBreakerCommand) Run(ctx context.Context, std streams) error {
	body := c.body()
	if c.For > 0 {
		body["open_seconds"] = time.Duration(c.For).Seconds()
	}
	return c.change(ctx, std, http.MethodPost, "/trip", body)
}

type resetBreakerCommand struct {
	breakerFlags
	wordFlags
}

// Run closes the circuit breaker.
func (c *resetBreakerCommand) Run(ctx context.Context, std streams) error {
	return c.change(ctx, std, http.MethodPost, "/reset", c.body())
}

type pinBreakerCommand struct {
	breakerFlags
	State string `arg:"" help:"${enum}: it stays open or closed, or is no longer fixed." enum:"open,closed,none"`
	wordFlags
	For delay `help:"End the pin by itself after so long: 90 (seconds), 90s, 5m, 2h." placeholder:"TIME"`
}

// Run pins the circuit breaker.
func (c *pinBreakerCommand) Run(ctx context.Context, std streams) error {
	body := c.body()
	body["state"] = c.State
	if c.For > 0 {
		body["for_seconds"] = time.Duration(c.For).Seconds()
	}
	return c.change(ctx, std, http.MethodPost, "/pin", body)
}

type setBreakerCommand struct {
	breakerFlags
	Settings []string `arg:"" name:"setting=value" help:"failure_threshold=10, while_open.policy=reroute, while_open.queue=backup and so on."`
	Replace  bool     `help:"Put back to its default what is not named; makes the circuit breaker where there is none."`
	By       string   `help:"Who does it. Defaults to your name on this machine." placeholder:"NAME"`
}

// Run changes the settings.
func (c *setBreakerCommand) Run(ctx context.Context, std streams) error {
	settings, err := settingsOf(c.Settings)
	if err != nil {
		return err
	}
	method := http.MethodPatch
	if c.Replace {
		method = http.MethodPut
	}
	return c.change(ctx, std, method, asker(c.By), settings)
}

// asker is the part of an address that says who changes something.
func asker(by string) string {
	if by == "" {
		by = nameHere()
	}
	if by == "" {
		return ""
	}
	return "?" + url.Values{"by": {by}}.Encode()
}

type reportBreakerCommand struct {
	breakerFlags
	Outcome string `arg:"" help:"How they went: ${enum}." enum:"success,failure"`
	Message string `help:"With failure: what went wrong." placeholder:"TEXT"`
	Type    string `help:"With failure: the type of the error. Whether it counts depends on the circuit breaker." placeholder:"TYPE"`
	Calls   int    `help:"How many calls they were." default:"1"`
}

// Run reports the calls.
func (c *reportBreakerCommand) Run(ctx context.Context, std streams) error {
	body := map[string]any{"outcome": c.Outcome, "calls": c.Calls}
	switch {
	case c.Outcome == "success" && (c.Message != "" || c.Type != ""):
		return usagef("--message and --type go with failure")
	case c.Outcome == "failure":
		failure := map[string]any{"message": or(c.Message, or(c.Type, "it failed"))}
		if c.Type != "" {
			failure["type"] = c.Type
		}
		body["error"] = failure
	}
	return c.change(ctx, std, http.MethodPost, "/report", body)
}

type deleteBreakerCommand struct {
	breakerFlags
	Yes bool   `help:"Do not ask first."`
	By  string `help:"Who does it. Defaults to your name on this machine." placeholder:"NAME"`
}

// Run asks, and deletes the circuit breaker.
func (c *deleteBreakerCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	if err := weir.get(ctx, c.path(""), new(json.RawMessage)); err != nil {
		return err
	}
	if !c.Yes && !std.confirm(fmt.Sprintf("Delete circuit breaker %s and its settings?", oneLine(c.Name))) {
		return fmt.Errorf("nothing was deleted; answer y, or give --yes")
	}
	if err := weir.call(ctx, http.MethodDelete, c.path(asker(c.By)), nil, nil, 0); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(std.out, "circuit breaker %s is gone\n", oneLine(c.Name))
	}
	return nil
}

// change makes a call that answers with the circuit breaker, and shows that.
func (f breakerFlags) change(ctx context.Context, std streams, method, below string, body any) error {
	weir, err := f.client()
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := weir.call(ctx, method, f.path(below), body, &answer, 0); err != nil {
		return err
	}
	return show(f.answerFlags, std.out, answer, func(b breaker) error {
		_, err := fmt.Fprintf(std.out, "circuit breaker %s is %s\n", oneLine(b.Name), b.says(newPainter(std.out), time.Now()))
		return err
	})
}

type breakerEventsCommand struct {
	breakerFlags
	Limit int `help:"Show so many at most." default:"50"`
}

// Run lists the events of the circuit breaker.
func (c *breakerEventsCommand) Run(ctx context.Context, std streams) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	weir, err := c.client()
	if err != nil {
		return err
	}
	page, err := listSome(ctx, weir, c.path("/events"), url.Values{}, c.Limit)
	if err != nil {
		return err
	}
	return showList(c.answerFlags, std.out, page, func([]json.RawMessage) error { return printBreakerEvents(std.out, page.Items) })
}

func printBreakerEvents(w io.Writer, items []json.RawMessage) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "AT\tEVENT\tBY\tREASON")
	for _, item := range items {
		var e struct {
			At     time.Time
			Event  string
			By     string
			Reason string
			Detail json.RawMessage
		}
		if err := json.Unmarshal(item, &e); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if e.Event == "set" && e.Reason == "" {
			e.Reason = string(e.Detail) // which settings
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.At.Local().Format("2006-01-02 15:04:05"), e.Event, or(oneLine(e.By), "-"), or(shorten(oneLine(e.Reason), 80), "-"))
	}
	return table.Flush()
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
