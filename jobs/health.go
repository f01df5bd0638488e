package jobs

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	healthEvery  = 10 * time.Second
	healthAnswer = time.Second // a database that takes longer to answer is not well
	stuckFor     = time.Minute // nor is a loop whose step takes longer
)

// HealthStatus is how a component is, or the whole service.
type HealthStatus string

// The statuses of a component.
const (
	HealthOK      HealthStatus = "ok"      // its last check passed
	HealthFailing HealthStatus = "failing" // its last check did not pass
	HealthSilent  HealthStatus = "silent"  // nobody has checked it for more than half a minute: its node has ended, or none runs
)

// HealthCheck is one check of a component.
type HealthCheck struct {
	At      time.Time `json:"at" doc:"When it was checked, by the database's clock."`
	OK      bool      `json:"ok" doc:"It was well."`
	Seconds *float64  `json:"seconds,omitempty" doc:"How long it took to answer, where that is measured."`
	Message string    `json:"message,omitempty" doc:"What was wrong."`
}

// Component is a part of the service, with its last checks.
type Component struct {
	Name        string        `json:"name" doc:"What it is: database, listener and loops of each node; frontier, promotion, leases, partitions, horizon, chores; breaker: and the name of a circuit breaker." example:"database"`
	Node        string        `json:"node,omitempty" doc:"The node that it is about; absent: the whole service."`
	Status      HealthStatus  `json:"status" enum:"ok,failing,silent" doc:"How its last check ended; silent: that was more than half a minute ago."`
	Since       time.Time     `json:"since" doc:"Since when its checks end so, as far as they go back."`
	CheckedAt   time.Time     `json:"checked_at" doc:"When it was last checked."`
	Message     string        `json:"message,omitempty" doc:"What is wrong."`
	Checks      int           `json:"checks" doc:"How many checks are kept: the last hundred, of about a quarter of an hour."`
	SuccessRate float64       `json:"success_rate" minimum:"0" maximum:"1" doc:"Which part of them passed."`
	History     []HealthCheck `json:"history" doc:"The checks, newest first."`
}

// Resilience sums up how well the service stands.
type Resilience struct {
	Status     string            `json:"status" enum:"healthy,degraded,critical" doc:"critical: a part without which jobs do not move is failing, or the score is below 50. degraded: some other part is failing, or the score is below 90."`
	Score      float64           `json:"score" minimum:"0" maximum:"100" doc:"100 times the mean, over all components, of 0.7 where the last check passed (0.35 for a circuit breaker that is half-open) plus 0.3 times the success rate."`
	Components int               `json:"components" doc:"How many components there are,"`
	Failing    []string          `json:"failing" doc:"and which of them are not ok."`
	Breakers   ResilienceOfGates `json:"breakers" doc:"How the circuit breakers are."`
}

// ResilienceOfGates counts circuit breakers.
type ResilienceOfGates struct {
	Closed        int64 `json:"closed" doc:"Those that are closed."`
	Open          int64 `json:"open" doc:"Those that are open."`
	HalfOpen      int64 `json:"half_open" doc:"Those that are half-open."`
	Pinned        int64 `json:"pinned" doc:"Those whose state somebody has fixed."`
	Recovering    int64 `json:"recovering" doc:"Those that have closed, and whose jobs are still coming back."`
	OpenedLastDay int64 `json:"opened_last_day" doc:"How often one has opened in the last 24 hours."`
	ClosedLastDay int64 `json:"closed_last_day" doc:"How often one has closed, by itself or by hand."`
	HeldJobs      int64 `json:"held_jobs" doc:"Jobs that they hold, counted up to 10,000."`
}

// vital are the components without which jobs do not move.
var vital = []string{"database", "frontier", "promotion", "leases", "partitions"}

// Health returns the components, or those of one name, each with up to `most` of its last checks.
func (e *Engine) Health(ctx context.Context, name string, most int) ([]Component, error) {
	rows, err := e.q.ListHealth(ctx, nonZero(name))
	if err != nil {
		return nil, fromDB("reading the health of the components", err)
	}
	checks, err := e.q.HealthChecks(ctx, db.HealthChecksParams{Component: nonZero(name), Most: int32(most)})
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

// Resilience sums up the components and the circuit breakers. A node that is silent has ended, and does not count.
func (e *Engine) Resilience(ctx context.Context) (Resilience, error) {
	rows, err := e.q.ListHealth(ctx, nil)
	if err != nil {
		return Resilience{}, fromDB("reading the health of the components", err)
	}
	b, err := e.q.BreakerSummary(ctx)
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

// pulse is how the loops of this node go.
type pulse struct {
	mu    sync.Mutex
	began map[string]time.Time // of the step under way
	wrong map[string]error     // of the last step, if it failed
}

func newPulse() *pulse { return &pulse{began: map[string]time.Time{}, wrong: map[string]error{}} }

func (p *pulse) begin(loop string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began[loop] = now
}

func (p *pulse) end(loop string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.began, loop)
	if delete(p.wrong, loop); err != nil {
		p.wrong[loop] = err
	}
}

// problem says which loop does not go, or nothing.
func (p *pulse) problem(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var problems []string
	for loop, at := range p.began {
		if took := now.Sub(at); took > stuckFor {
			problems = append(problems, fmt.Sprintf("a step of loop %s has taken %d s so far", loop, int(took.Seconds())))
		}
	}
	for loop, err := range p.wrong {
		problems = append(problems, fmt.Sprintf("the last step of loop %s failed: %s", loop, CodeOf(err)))
	}
	slices.Sort(problems)
	return strings.Join(problems, "; ")
}

// healthStep checks what belongs to this node, and, if no other node has just done so, what belongs to all.
type healthStep struct {
	e     *Engine
	begun bool
}

func (s *healthStep) step(ctx context.Context) (time.Duration, error) {
	if !s.begun {
		s.begun = true
		return time.Second, nil // the other loops begin too
	}
	e := s.e
	began := time.Now()
	_, err := e.q.DatabaseVersion(ctx) // by the pool that serves calls
	took := time.Since(began)
	problem := ""
	switch {
	case err != nil:
		problem = "it does not answer: " + string(CodeOf(fromDB("asking the database", err)))
	case took > healthAnswer:
		problem = fmt.Sprintf("it took %.1f s to answer", took.Seconds())
	}
	if err := e.noteHealth(ctx, "database", problem, took.Seconds()); err != nil {
		return 0, err
	}
	problem = ""
	if !e.listener.up() {
		problem = "the connection that listens for wake-ups is down: claims poll"
	}
	if err := e.noteHealth(ctx, "listener", problem, 0); err != nil {
		return 0, err
	}
	if err := e.noteHealth(ctx, "loops", e.pulse.problem(time.Now()), 0); err != nil {
		return 0, err
	}
	if _, err := e.loops.CheckHealth(ctx); err != nil {
		return 0, fromDB("checking the components", err)
	}
	return healthEvery, nil
}

func (e *Engine) noteHealth(ctx context.Context, component, problem string, seconds float64) error {
	err := e.loops.NoteHealth(ctx, db.NoteHealthParams{Component: component, Node: e.node, Ok: problem == "", Seconds: nonZero(seconds), Message: nonZero(problem)})
	return fromDB("noting the health of a component", err)
}
