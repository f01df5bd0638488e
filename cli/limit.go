package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
)

// limitsCommand shows the limits of a queue and its lines, or changes limits: of the queue, of one key or of one tenant.
type limitsCommand struct {
	queueFlags
	Settings []string `arg:"" optional:"" name:"limit=value" help:"concurrency=20, per_key=1, rate.per_second=100, rate.burst=10, key_rate.per_second=5, tenants={} and so on: all limits of the queue, or with --key or --tenant of that one."`
	Key      string   `help:"Of this concurrency key: concurrency, rate.per_second, rate.burst." xor:"one" placeholder:"KEY"`
	Tenant   string   `help:"Of this tenant: weight, concurrency." xor:"one" placeholder:"TENANT"`
	Off      bool     `help:"Take the limits away."`
}

// Run shows or changes limits.
func (c *limitsCommand) Run(ctx context.Context, std streams) error {
	limits, err := settingsOf(c.Settings)
	switch {
	case err != nil:
		return err
	case c.Off && len(limits) > 0:
		return usagef("--off goes without limits")
	case len(limits) == 0 && !c.Off && c.Key+c.Tenant != "":
		return usagef("give limits, as in concurrency=2, or --off")
	case len(limits) == 0 && !c.Off:
		return c.look(ctx, std)
	case c.Key+c.Tenant == "":
		return c.change(ctx, std, http.MethodPatch, "", map[string]any{"limits": limits})
	}
	below := "/limits/keys/" + url.PathEscape(c.Key)
	if c.Tenant != "" {
		below = "/limits/tenants/" + url.PathEscape(c.Tenant)
	}
	weir, err := c.client()
	if err != nil {
		return err
	}
	if c.Off {
		if err := weir.call(ctx, http.MethodDelete, c.path(below), nil, nil, 0); err != nil {
			return err
		}
		_, err = fmt.Fprintf(std.out, "%s has no limits of its own in queue %s\n", oneLine(c.Key+c.Tenant), oneLine(c.Name))
		return err
	}
	var answer json.RawMessage
	if err := weir.call(ctx, http.MethodPut, c.path(below), limits, &answer, 0); err != nil {
		return err
	}
	return show(c.answerFlags, std.out, answer, func(limitOverride) error {
		_, err := fmt.Fprintf(std.out, "%s has limits of its own in queue %s\n", oneLine(c.Key+c.Tenant), oneLine(c.Name))
		return err
	})
}

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

type line struct {
	Tenant      string `json:"tenant"`
	Key         string `json:"key"`
	Waiting     int64  `json:"waiting"`
	InFlight    int64  `json:"in_flight"`
	Concurrency *int   `json:"concurrency"`
	Open        bool   `json:"open"`
}

// look shows the limits and the first hundred lines.
func (c *limitsCommand) look(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	var all struct {
		Queue  json.RawMessage `json:"-"`
		Limits json.RawMessage `json:"limits"`
		Single json.RawMessage `json:"overrides"`
		Lines  json.RawMessage `json:"lines"`
	}
	var q struct {
		Limits json.RawMessage `json:"limits"`
	}
	type page struct {
		Items json.RawMessage `json:"items"`
	}
	var single, lines page
	for _, ask := range []struct {
		below string
		into  any
	}{{"", &q}, {"/limits?limit=1000", &single}, {"/lines?limit=100", &lines}} {
		if err := weir.get(ctx, c.path(ask.below), ask.into); err != nil {
			return err
		}
	}
	if all.Limits = q.Limits; all.Limits == nil {
		all.Limits = json.RawMessage("{}")
	}
	all.Single, all.Lines = single.Items, lines.Items
	answer, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encoding the answers: %w", err)
	}
	type shown struct {
		Limits    json.RawMessage `json:"limits"`
		Overrides []limitOverride `json:"overrides"`
		Lines     []line          `json:"lines"`
	}
	return show(c.answerFlags, std.out, answer, func(s shown) error {
		fmt.Fprintf(std.out, "limits of queue %s: %s\n", oneLine(c.Name), oneLine(string(s.Limits)))
		table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if len(s.Overrides) > 0 {
			fmt.Fprintln(table, "\nONLY\tIN FLIGHT\tPER SECOND\tWEIGHT")
		}
		for _, o := range s.Overrides {
			what, rate := "key "+o.Key, "-"
			if o.Tenant != "" {
				what = "tenant " + o.Tenant
			}
			if o.Rate != nil {
				rate = fmt.Sprintf("%g (%d at once)", o.Rate.PerSecond, o.Rate.Burst)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", oneLine(what), numberOrDash(o.Concurrency), rate, numberOrDash(o.Weight))
		}
		if len(s.Lines) > 0 {
			fmt.Fprintln(table, "\nTENANT\tKEY\tWAITING\tIN FLIGHT\tOF")
		}
		for _, l := range s.Lines {
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\n", oneLine(l.Tenant), oneLine(l.Key), l.Waiting, l.InFlight, numberOrDash(l.Concurrency))
		}
		return table.Flush()
	})
}

func numberOrDash[T any](n *T) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
