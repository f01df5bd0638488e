package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// BreakerState is what a circuit breaker does: BreakerClosed lets all jobs run, BreakerOpen none, BreakerHalfOpen a few probes of the dependency.
type BreakerState string

// The states of a circuit breaker.
const (
	BreakerClosed   BreakerState = "closed"
	BreakerOpen     BreakerState = "open"
	BreakerHalfOpen BreakerState = "half_open"
)

// BreakerSettings say when a circuit breaker opens, for how long, and what happens to its jobs. A nil value leaves a setting alone, or
// in a replacement restores weir's default.
type BreakerSettings struct {
	FailureThreshold *int          `json:"failure_threshold,omitempty" minimum:"1" maximum:"1000000" doc:"It opens at this many failures in the window. Excludes failure_ratio. Defaults to 5."`
	FailureRatio     *float64      `json:"failure_ratio,omitempty" exclusiveMinimum:"0" maximum:"1" doc:"It opens when this share of the calls in the window failed, of at least min_calls. Excludes failure_threshold."`
	MinCalls         *int          `json:"min_calls,omitempty" minimum:"1" maximum:"1000000" doc:"With failure_ratio: fewer calls in the window do not count. Defaults to 10."`
	WindowSeconds    *int          `json:"window_seconds,omitempty" minimum:"1" maximum:"3600" doc:"Length of the sliding window; samples are kept for an hour. Defaults to 60."`
	OpenSeconds      *float64      `json:"open_seconds,omitempty" minimum:"0.1" maximum:"86400" doc:"How long it stays open before the first probe; the wait doubles each time, less up to a fifth at random. Defaults to 60."`
	MaxOpenSeconds   *float64      `json:"max_open_seconds,omitempty" minimum:"0.1" maximum:"86400" doc:"The longest wait before a probe; at least open_seconds. Defaults to 900."`
	HalfOpenProbes   *int          `json:"half_open_probes,omitempty" minimum:"1" maximum:"1000" doc:"How many probes run at once while it is half-open. Defaults to 1."`
	CloseAfter       *int          `json:"close_after,omitempty" minimum:"1" maximum:"1000" doc:"How many probes must succeed before it closes. Defaults to 1."`
	Counts           *CountedError `json:"counts,omitempty" doc:"Which errors count as failures. Defaults to {}: all except lost leases."`
	WhileOpen        *WhileOpen    `json:"while_open,omitempty" doc:"What happens to its jobs while it is open. Defaults to {policy: hold}."`
	RampPerSecond    *float64      `json:"ramp_per_second,omitempty" minimum:"0.1" maximum:"100000" doc:"After it closes, the jobs that it held come back at this rate per second,"`
	RampFactor       *float64      `json:"ramp_factor,omitempty" minimum:"1" maximum:"10" doc:"which is multiplied by this each second. Default to 10 and 2."`
}

// CountedError says which errors count as failures: those of one of the types or with the pattern, if either is given, and of none of the excepted types.
type CountedError struct {
	Types       []string `json:"types,omitempty" maxItems:"50" minLength:"1" maxLength:"200" doc:"Errors of these types count. lost, for a lease that ran out, counts only if it is named here; timeout is a type too."`
	Pattern     string   `json:"pattern,omitempty" minLength:"1" maxLength:"200" doc:"Errors count if their message or type matches this regular expression (PostgreSQL syntax)."`
	ExceptTypes []string `json:"except_types,omitempty" maxItems:"50" minLength:"1" maxLength:"200" doc:"Errors of these types do not count."`
}

// WhileOpen is what happens to the jobs of a circuit breaker while it is open.
type WhileOpen struct {
	Policy       string          `json:"policy" enum:"hold,reroute,complete_last_result,complete_default,degraded,throttle,postpone" doc:"hold: they wait. reroute: they go to another queue. complete_last_result: they complete with the result of the last job of the same tenant, kind and args. complete_default: they complete with a result given here. degraded: they run, marked so. throttle: they run at a rate. postpone: they are scheduled for later."`
	Queue        string          `json:"queue,omitempty" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$" doc:"With reroute: the other queue. It must not lead back."`
	Result       json.RawMessage `json:"result,omitempty" doc:"With complete_default: any JSON of at most 64 KiB. With complete_last_result: used if there is no last result; without it, such jobs are held."`
	PerSecond    *float64        `json:"per_second,omitempty" minimum:"0.001" maximum:"100000" doc:"With throttle: the rate in jobs per second."`
	DelaySeconds *float64        `json:"delay_seconds,omitempty" minimum:"0.1" maximum:"604800" doc:"With postpone: the delay."`
	Until        *time.Time      `json:"until,omitempty" doc:"When the policy ends; its jobs are held from then on. Excludes for_seconds."`
	ForSeconds   *float64        `json:"for_seconds,omitempty" minimum:"0.1" maximum:"31536000" doc:"How long the policy lasts after the breaker opened. Excludes until. Defaults to as long as it is open."`
}

// Breaker is a circuit breaker: its state, what it has seen, and its settings.
type Breaker struct {
	Name             string       `json:"name" doc:"Its name: a dependency." example:"stripe"`
	Tenant           string       `json:"tenant,omitempty" doc:"The tenant that it belongs to. Names are those of its tenant."`
	State            BreakerState `json:"state" enum:"closed,open,half_open" doc:"closed: jobs run. open: they do not. half_open: a few run as probes of the dependency."`
	Since            time.Time    `json:"since" doc:"When it entered its state."`
	Recovering       bool         `json:"recovering,omitempty" doc:"It has closed, and jobs that it held are still coming back."`
	NextProbeAt      *time.Time   `json:"next_probe_at,omitempty" doc:"When it becomes half-open, if it is open and not pinned."`
	Openings         int          `json:"openings" doc:"How many times it has opened in a row; the wait grows with it."`
	TimesOpened      int64        `json:"times_opened" doc:"How many times it has opened."`
	Pinned           bool         `json:"pinned,omitempty" doc:"Its state is fixed by hand."`
	PinnedUntil      *time.Time   `json:"pinned_until,omitempty" doc:"When the pin ends, if it does."`
	WindowSucceeded  int64        `json:"window_succeeded" doc:"Calls that succeeded within its window."`
	WindowFailed     int64        `json:"window_failed" doc:"Calls that failed within its window."`
	Held             int64        `json:"held" doc:"Jobs that it holds, counted up to 10,000. Those of a queue that it holds whole are not among them."`
	Probes           int          `json:"probes" doc:"Probes that are running."`
	Policy           string       `json:"policy" doc:"What happens to its jobs now, unless it is closed." example:"hold"`
	Queues           []string     `json:"queues" doc:"The queues that use it."`
	FailureThreshold int          `json:"failure_threshold,omitempty" doc:"It opens at this many failures in the window."`
	FailureRatio     float64      `json:"failure_ratio,omitempty" doc:"It opens when this share of the calls in the window failed,"`
	MinCalls         int          `json:"min_calls" doc:"of at least this many."`
	WindowSeconds    int          `json:"window_seconds" doc:"Length of the sliding window."`
	OpenSeconds      float64      `json:"open_seconds" doc:"How long it stays open before the first probe,"`
	MaxOpenSeconds   float64      `json:"max_open_seconds" doc:"and the longest wait."`
	HalfOpenProbes   int          `json:"half_open_probes" doc:"How many probes run at once while it is half-open."`
	CloseAfter       int          `json:"close_after" doc:"How many probes must succeed before it closes."`
	Counts           CountedError `json:"counts" doc:"Which errors count as failures."`
	WhileOpen        WhileOpen    `json:"while_open" doc:"What happens to its jobs while it is open."`
	RampPerSecond    float64      `json:"ramp_per_second" doc:"After it closes, the jobs that it held come back at this rate per second,"`
	RampFactor       float64      `json:"ramp_factor" doc:"which is multiplied by this each second."`
	CreatedAt        time.Time    `json:"created_at" doc:"When it was created."`

	changes int64
}

// BreakerFilter chooses circuit breakers for a list. A zero value does not restrict it.
type BreakerFilter struct {
	State  BreakerState
	Tenant string
}

// Breakers lists up to limit circuit breakers of the caller by reference, starting after one.
func (e *Engine) Breakers(ctx context.Context, f BreakerFilter, after Ref, limit int) ([]Breaker, error) {
	return e.listBreakers(ctx, db.ListBreakersParams{After: after.joined(), State: nonZero(string(f.State)), Tenant: nonZero(f.Tenant), MaxBreakers: int32(limit)})
}

func (e *Engine) listBreakers(ctx context.Context, params db.ListBreakersParams) ([]Breaker, error) {
	if p := access.From(ctx); p != nil {
		params.Caller = nonZero(p.Tenant)
	}
	rows, err := e.q.ListBreakers(ctx, params)
	if err != nil {
		return nil, fromDB("listing circuit breakers", err)
	}
	breakers := make([]Breaker, len(rows))
	for i, r := range rows {
		if breakers[i], err = breakerFromRow(r); err != nil {
			return nil, err
		}
	}
	return breakers, nil
}

// Breaker returns one circuit breaker. Errors: BreakerNotFound.
func (e *Engine) Breaker(ctx context.Context, ref Ref) (Breaker, error) {
	reference := ref.of(ctx).joined()
	breakers, err := e.listBreakers(ctx, db.ListBreakersParams{Reference: &reference, MaxBreakers: 1})
	if err != nil {
		return Breaker{}, err
	}
	if len(breakers) == 0 {
		return Breaker{}, noBreaker(ref)
	}
	return breakers[0], nil
}

func noBreaker(ref Ref) *Error {
	return &Error{Code: BreakerNotFound, Message: fmt.Sprintf("there is no breaker %q", ref.Name), Hint: "The first job that names a breaker creates it, and so does PUT of its settings."}
}

// SetBreaker creates a circuit breaker or changes its settings; with replace, other settings get weir's defaults. The history keeps by,
// if it is given. A caller with a tenant sets its own, whatever ref says. Errors: InvalidArgument, TooManyNames.
func (e *Engine) SetBreaker(ctx context.Context, ref Ref, settings BreakerSettings, replace bool, by string) (Breaker, error) {
	if settings.WhileOpen != nil {
		if err := checkForged("while_open.result", settings.WhileOpen.Result); err != nil {
			return Breaker{}, err
		}
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return Breaker{}, fmt.Errorf("encoding settings: %w", err)
	}
	if p := access.From(ctx); p != nil && p.Tenant != "" {
		ref.Tenant = p.Tenant
	}
	if err := e.changes.SetBreaker(ctx, db.SetBreakerParams{Name: ref.within(ctx), Settings: text, Replace: replace, By: nonZero(by)}); err != nil {
		return Breaker{}, fromDB("setting a circuit breaker", err)
	}
	return e.Breaker(ctx, ref)
}

// DeleteBreaker hides a circuit breaker that is closed, holds no jobs and is no queue's. Errors: BreakerNotFound, BreakerInUse.
func (e *Engine) DeleteBreaker(ctx context.Context, ref Ref, by string) error {
	return fromDB("deleting a circuit breaker", e.changes.DeleteBreaker(ctx, db.DeleteBreakerParams{Name: ref.of(ctx).within(ctx), By: nonZero(by)}))
}

func breakerFromRow(r db.ListBreakersRow) (Breaker, error) {
	b := Breaker{
		Name: splitBreaker(r.Reference).Name, Tenant: r.Tenant, State: BreakerState(r.State), Since: r.Since.UTC(), Recovering: r.Recovering, NextProbeAt: utc(r.NextProbeAt), Openings: int(r.Openings), TimesOpened: r.TimesOpened,
		Pinned: r.Pinned != "", PinnedUntil: utc(r.PinnedUntil), WindowSucceeded: r.WindowOk, WindowFailed: r.WindowFailed, Held: r.Held, Probes: int(r.Probes), Policy: r.Policy, Queues: r.Queues,
		FailureThreshold: int(r.FailureThreshold), FailureRatio: r.FailureRatio, MinCalls: int(r.MinCalls), WindowSeconds: int(r.WindowSeconds), OpenSeconds: r.OpenSeconds,
		MaxOpenSeconds: r.MaxOpenSeconds, HalfOpenProbes: int(r.HalfOpenProbes), CloseAfter: int(r.CloseAfter), RampPerSecond: r.RampPerSecond, RampFactor: r.RampFactor,
		CreatedAt: r.CreatedAt.UTC(), changes: r.Changes,
	}
	if err := json.Unmarshal(r.Counts, &b.Counts); err != nil {
		return Breaker{}, fmt.Errorf("reading which errors count for breaker %q: %w", r.Reference, err)
	}
	if err := json.Unmarshal(r.WhileOpen, &b.WhileOpen); err != nil {
		return Breaker{}, fmt.Errorf("reading the policy of breaker %q: %w", r.Reference, err)
	}
	return b, nil
}
