package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/weirhq/weir/rest"
)

// limitQueue shows the limits of a queue and its lines, or changes limits: of the queue, of one key or of one tenant.
type limitQueue struct {
	queueFlags
	Limits []string `arg:"" optional:"" name:"limit=value" help:"concurrency=20, per_key=1, rate.per_second=100, rate.burst=10, key_rate.per_second=5, tenants={} and so on: all limits of the queue, or with --key or --tenant those of that one."`
	Key    string   `help:"Limits of this concurrency key: concurrency, rate.per_second, rate.burst." xor:"one" placeholder:"KEY"`
	Tenant string   `help:"Limits of this tenant: weight, concurrency." xor:"one" placeholder:"TENANT"`
	Off    bool     `help:"Remove the limits."`
}

// Run shows or changes limits.
func (c *limitQueue) Run(ctx context.Context, s *Session) error {
	limits, err := parseSettings(c.Limits)
	switch {
	case err != nil:
		return err
	case c.Off && len(limits) > 0:
		return Usagef("--off cannot be combined with limits")
	case len(limits) == 0 && !c.Off && c.one() != "":
		return Usagef("give limits, as in concurrency=2, or --off")
	case len(limits) == 0 && !c.Off:
		return c.show(ctx, s)
	case c.Off && c.one() != "":
		return c.off(ctx, s)
	case c.one() == "":
		body := map[string]any{"limits": limits}
		return c.change(ctx, s, rest.Call{Method: http.MethodPatch, Path: c.path(), Body: body})
	}
	call := rest.Call{Method: http.MethodPut, Path: c.onePath(), Body: limits}
	return show(ctx, s, c.answerFlags, call, func(p *printer, _ *limitOverride) {
		p.line("%s has limits of its own in queue %s", c.one(), c.Name)
	})
}

// one is the key or the tenant that the limits are of, or empty for the queue.
func (c *limitQueue) one() string {
	switch {
	case c.Key != "":
		return "key " + c.Key
	case c.Tenant != "":
		return "tenant " + c.Tenant
	}
	return ""
}

func (c *limitQueue) onePath() string {
	if c.Tenant != "" {
		return c.path("limits", "tenants", c.Tenant)
	}
	return c.path("limits", "keys", c.Key)
}

// off removes the limits of a key or a tenant.
func (c *limitQueue) off(ctx context.Context, s *Session) error {
	return show(ctx, s, c.answerFlags, rest.Delete(c.onePath()), func(p *printer, _ *struct{}) {
		p.line("%s has no limits of its own in queue %s", c.one(), c.Name)
	})
}

// limitOverride is what is printed of the limits of one key or tenant.
type limitOverride struct {
	Key         string   `json:"key"`
	Tenant      string   `json:"tenant"`
	Concurrency *int     `json:"concurrency"`
	Weight      *float64 `json:"weight"`
	Rate        *struct {
		PerSecond float64 `json:"per_second"`
		Burst     int     `json:"burst"`
	} `json:"rate"`
}

var limitTable = layout[limitOverride]{
	columns: []string{"ONLY", "IN FLIGHT", "PER SECOND", "WEIGHT"},
	row: func(_ *printer, o *limitOverride) []any {
		one, rate := "key "+o.Key, ""
		if o.Tenant != "" {
			one = "tenant " + o.Tenant
		}
		if o.Rate != nil {
			rate = fmt.Sprintf("%g (%d at once)", o.Rate.PerSecond, o.Rate.Burst)
		}
		return []any{one, o.Concurrency, rate, o.Weight}
	},
}

// line is what is printed of a line: the jobs of one tenant and key that wait for a limit.
type line struct {
	Tenant      string `json:"tenant"`
	Key         string `json:"key"`
	Waiting     int64  `json:"waiting"`
	InFlight    int64  `json:"in_flight"`
	Concurrency *int   `json:"concurrency"`
}

var lineTable = layout[line]{
	columns: []string{"TENANT", "KEY", "WAITING", "IN FLIGHT", "OF"},
	row:     func(_ *printer, l *line) []any { return []any{l.Tenant, l.Key, l.Waiting, l.InFlight, l.Concurrency} },
}

const (
	shownOverrides = 1000
	shownLines     = 100
)

// show shows the limits and the first lines.
func (c *limitQueue) show(ctx context.Context, s *Session) error {
	_, q, err := read[struct {
		Limits json.RawMessage `json:"limits"`
	}](ctx, s, c.answerFlags, rest.Get(c.path()))
	if err != nil {
		return err
	}
	if q.Limits == nil {
		q.Limits = json.RawMessage("{}")
	}
	overrides, err := c.page(ctx, s, rest.Get(c.path("limits")), shownOverrides)
	if err != nil {
		return err
	}
	lines, err := c.page(ctx, s, rest.Get(c.path("lines")), shownLines)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.writeJSON(struct {
			Limits    json.RawMessage   `json:"limits"`
			Overrides []json.RawMessage `json:"overrides"`
			Lines     []json.RawMessage `json:"lines"`
		}{q.Limits, overrides.Items, lines.Items})
	}
	ofOne, err := decodeItems[limitOverride](overrides)
	if err != nil {
		return err
	}
	waiting, err := decodeItems[line](lines)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	p.line("limits of queue %s: %s", c.Name, string(q.Limits))
	limitTable.section(p, ofOne)
	lineTable.section(p, waiting)
	return p.flush()
}
