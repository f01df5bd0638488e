package jobs

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/db"
)

// HealthStatus is the state of a component.
type HealthStatus string

// The statuses of a component.
const (
	HealthOK      HealthStatus = "ok"      // its last check passed
	HealthFailing HealthStatus = "failing" // its last check failed
	HealthSilent  HealthStatus = "silent"  // no check for more than half a minute: its node has ended, or no node runs
)

// HealthCheck is one check of a component.
type HealthCheck struct {
	At      time.Time `json:"at" doc:"When it was checked, by the database's clock."`
	OK      bool      `json:"ok" doc:"Whether it passed."`
	Seconds *float64  `json:"seconds,omitempty" doc:"How long the component took to answer, where that is measured."`
	Message string    `json:"message,omitempty" doc:"What was wrong."`
}

// Component is a part of the service, with its last checks.
type Component struct {
	Name        string        `json:"name" doc:"The component. Of each node: database, listener, loops, and chores unless the node leaves them to others. Of the service: frontier, promotion, leases, partitions, horizon, chores, and breaker:NAME for each circuit breaker." example:"database"`
	Node        string        `json:"node,omitempty" doc:"The node that it belongs to; absent: the whole service."`
	Status      HealthStatus  `json:"status" enum:"ok,failing,silent" doc:"The result of its last check; silent: that was more than half a minute ago, so its node has ended."`
	Since       time.Time     `json:"since" doc:"Since when it has this status, as far back as its checks go."`
	CheckedAt   time.Time     `json:"checked_at" doc:"When it was last checked."`
	Message     string        `json:"message,omitempty" doc:"What is wrong."`
	Checks      int           `json:"checks" doc:"How many checks are kept: the last hundred, which cover about a quarter of an hour."`
	SuccessRate float64       `json:"success_rate" minimum:"0" maximum:"1" doc:"The fraction of them that passed."`
	History     []HealthCheck `json:"history" doc:"The checks, newest first."`
}

// Resilience sums up the health of the service.
type Resilience struct {
	Status     string            `json:"status" enum:"healthy,degraded,critical" doc:"critical: a component without which jobs do not move is failing, or the score is below 50. degraded: another component is failing, or the score is below 90."`
	Score      float64           `json:"score" minimum:"0" maximum:"100" doc:"100 times the mean, over all components, of 0.7 where the last check passed (0.35 for a circuit breaker that is half-open) plus 0.3 times the success rate."`
	Components int               `json:"components" doc:"The number of components."`
	Failing    []string          `json:"failing" doc:"Those that are not ok."`
	Breakers   ResilienceOfGates `json:"breakers" doc:"The circuit breakers, counted."`
}

// ResilienceOfGates counts circuit breakers.
type ResilienceOfGates struct {
	Closed        int64 `json:"closed" doc:"Closed breakers."`
	Open          int64 `json:"open" doc:"Open breakers."`
	HalfOpen      int64 `json:"half_open" doc:"Half-open breakers."`
	Pinned        int64 `json:"pinned" doc:"Breakers pinned open or closed."`
	Recovering    int64 `json:"recovering" doc:"Closed breakers whose held jobs are still being returned."`
	OpenedLastDay int64 `json:"opened_last_day" doc:"Openings in the last 24 hours."`
	ClosedLastDay int64 `json:"closed_last_day" doc:"Closings in the last 24 hours, automatic or by hand."`
	HeldJobs      int64 `json:"held_jobs" doc:"Jobs that breakers hold, counted up to 10,000."`
}

// vital are the components without which jobs do not move.
var vital = []string{"database", "frontier", "promotion", "leases", "partitions"}

// Health returns the components, or those of one name, each with up to `most` of its last checks. While the database does not answer it
// returns what this node knows without it.
func (e *Engine) Health(ctx context.Context, name string, most int) ([]Component, error) {
	within, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	components, err := e.storedHealth(within, name, most)
	if err == nil {
		err = e.usable(within)
	}
	if CodeOf(err) == Unavailable && ctx.Err() == nil {
		return e.ownHealth(name, err), nil
	}
	return components, err
}

func (e *Engine) storedHealth(ctx context.Context, name string, most int) ([]Component, error) {
	rows, err := e.reads.ListHealth(ctx, nonZero(name))
	if err != nil {
		return nil, fromDB("reading the health of the components", err)
	}
	checks, err := e.reads.HealthChecks(ctx, db.HealthChecksParams{Component: nonZero(name), Most: int32(most)})
	if err != nil {
		return nil, fromDB("reading the checks of the components", err)
	}
	components := make([]Component, len(rows))
	for i, r := range rows {
		c := Component{
			Name: r.Component, Node: r.Node, Status: HealthOK, Since: r.Since.UTC(), CheckedAt: r.CheckedAt.UTC(), Message: r.Message, Checks: int(r.Checks), SuccessRate: r.SuccessRate, History: []HealthCheck{},
		}
		switch {
		case r.Silent:
			c.Status = HealthSilent
		case !r.Ok:
			c.Status = HealthFailing
		}
		for len(checks) > 0 && checks[0].Component == r.Component && checks[0].Node == r.Node {
			c.History = append(c.History, HealthCheck{At: checks[0].At.UTC(), OK: checks[0].Ok, Seconds: checks[0].Seconds, Message: checks[0].Message})
			checks = checks[1:]
		}
		components[i] = c
	}
	return components, nil
}

// Resilience sums up the components and the circuit breakers. A silent node has ended, and does not count.
func (e *Engine) Resilience(ctx context.Context) (Resilience, error) {
	if err := e.usable(ctx); err != nil {
		return Resilience{}, err
	}
	rows, err := e.reads.ListHealth(ctx, nil)
	if err != nil {
		return Resilience{}, fromDB("reading the health of the components", err)
	}
	b, err := e.reads.BreakerSummary(ctx)
	if err != nil {
		return Resilience{}, fromDB("counting circuit breakers", err)
	}
	r := Resilience{Status: "healthy", Score: 100, Failing: []string{}, Breakers: ResilienceOfGates{
		Closed: b.Closed, Open: b.Open, HalfOpen: b.HalfOpen, Pinned: b.Pinned, Recovering: b.Recovering, OpenedLastDay: b.OpenedLastDay, ClosedLastDay: b.ClosedLastDay, HeldJobs: b.Held,
	}}
	sum := 0.0
	for _, c := range rows {
		if c.Silent && c.Node != "" {
			continue
		}
		r.Components++
		sum += 0.3 * c.SuccessRate
		switch {
		case c.Ok && !c.Silent:
			sum += 0.7
			continue
		case strings.HasPrefix(c.Component, "breaker:") && c.Message == "it is half-open":
			sum += 0.35
		}
		if r.Status == "healthy" {
			r.Status = "degraded"
		}
		if slices.Contains(vital, c.Component) {
			r.Status = "critical"
		}
		r.Failing = append(r.Failing, c.Component)
	}
	if r.Components > 0 {
		r.Score = math.Round(1000*sum/float64(r.Components)) / 10
	}
	switch {
	case r.Score < 50:
		r.Status = "critical"
	case r.Score < 90 && r.Status == "healthy":
		r.Status = "degraded"
	}
	r.Failing = slices.Compact(r.Failing)
	return r, nil
}
