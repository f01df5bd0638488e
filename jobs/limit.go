package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirhq/weir/db"
)

// QueueLimits are the limits of a queue and of each of its keys and tenants. A nil field sets no limit.
type QueueLimits struct {
	Concurrency *int          `json:"concurrency,omitempty" minimum:"1" maximum:"1000000" doc:"How many jobs of the queue may be in flight: given to workers, or about to be."`
	PerKey      *int          `json:"per_key,omitempty" minimum:"1" maximum:"1000000" doc:"How many jobs of each concurrency key may be in flight. With 1, a key's jobs run one after the other, in order, and a job that fails keeps its key until it has ended."`
	Rate        *Rate         `json:"rate,omitempty" doc:"How fast jobs of the queue start."`
	KeyRate     *Rate         `json:"key_rate,omitempty" doc:"How fast jobs of each concurrency key start."`
	Tenants     *TenantShares `json:"tenants,omitempty" doc:"Tenants share the queue by weight; unused shares go to the others."`
}

// Rate is a token bucket.
type Rate struct {
	PerSecond float64 `json:"per_second" minimum:"0.00001" maximum:"1000000" doc:"Jobs per second in the long run."`
	Burst     int     `json:"burst,omitempty" minimum:"1" maximum:"1000000" doc:"The most at once, after an idle time. Defaults to per_second, at least 1."`
}

// TenantShares are the weights by which tenants share a queue.
type TenantShares struct {
	Weights map[string]float64 `json:"weights,omitempty" doc:"Shares by tenant, from 0.001 to 1000, in proportion to those of the others that wait. Other tenants have 1."`
}

// KeyLimit overrides the limits of one concurrency key. A nil field leaves the queue's limit.
type KeyLimit struct {
	Concurrency *int  `json:"concurrency,omitempty" minimum:"1" maximum:"1000000" doc:"How many of its jobs may be in flight."`
	Rate        *Rate `json:"rate,omitempty" doc:"How fast its jobs start."`
}

// TenantLimit overrides the share of one tenant.
type TenantLimit struct {
	Weight      *float64 `json:"weight,omitempty" minimum:"0.001" maximum:"1000" doc:"Its share, in proportion to those of the others that wait."`
	Concurrency *int     `json:"concurrency,omitempty" minimum:"1" maximum:"1000000" doc:"How many of its jobs may be in flight."`
}

// LimitOverride are the limits of one key or tenant.
type LimitOverride struct {
	Key         string   `json:"key,omitempty" doc:"The concurrency key." example:"order-42"`
	Tenant      string   `json:"tenant,omitempty" doc:"The tenant."`
	Concurrency *int     `json:"concurrency,omitempty" doc:"How many of its jobs may be in flight."`
	Rate        *Rate    `json:"rate,omitempty" doc:"How fast its jobs start."`
	Weight      *float64 `json:"weight,omitempty" doc:"The tenant's share."`
}

// Line is one line of a queue with limits.
type Line struct {
	Tenant      string   `json:"tenant,omitempty" doc:"Its tenant, if the limits distinguish tenants."`
	Key         string   `json:"key,omitempty" doc:"Its key, if the limits distinguish keys; absent: jobs without a key." example:"order-42"`
	Waiting     int64    `json:"waiting" doc:"Jobs that wait in it."`
	InFlight    int64    `json:"in_flight" doc:"Jobs that were given to workers, or are about to be, and have not ended."`
	Concurrency *int     `json:"concurrency,omitempty" doc:"How many may be in flight."`
	PerSecond   *float64 `json:"per_second,omitempty" doc:"How many start per second."`
	Open        bool     `json:"open" doc:"Jobs wait and its own limits have room: it only waits for its turn."`

	name string
}

// Position is where a list continues after this line.
func (l Line) Position() string { return l.name }

// SetKeyLimit overrides the limits of a key; nil removes the override. Errors: QueueNotFound, InvalidArgument.
func (e *Engine) SetKeyLimit(ctx context.Context, queue, key string, limit *KeyLimit) error {
	return e.setLimit(ctx, db.SetLimitParams{Queue: queue, Key: &key}, limit)
}

// SetTenantLimit overrides the share of a tenant; nil removes the override. Errors: QueueNotFound, InvalidArgument.
func (e *Engine) SetTenantLimit(ctx context.Context, queue, tenant string, limit *TenantLimit) error {
	return e.setLimit(ctx, db.SetLimitParams{Queue: queue, Tenant: &tenant}, limit)
}

func (e *Engine) setLimit(ctx context.Context, params db.SetLimitParams, limit any) (err error) {
	if params.Limits, err = json.Marshal(limit); err != nil {
		return fmt.Errorf("encoding a limit: %w", err)
	}
	return fromDB("setting a limit", e.changes.SetLimit(ctx, params))
}

// LimitOverrides lists the limits of single keys and tenants of a queue, keys first, after one of them. Errors: QueueNotFound.
func (e *Engine) LimitOverrides(ctx context.Context, queue string, after LimitOverride, limit int) ([]LimitOverride, error) {
	params := db.ListOverridesParams{Queue: queue, AfterWhat: "key", After: after.Key, MaxOverrides: int32(limit)}
	if after.Tenant != "" {
		params.AfterWhat, params.After = "tenant", after.Tenant
	}
	rows, err := e.reads.ListOverrides(ctx, params)
	if err != nil {
		return nil, fromDB("listing limits", err)
	}
	overrides := make([]LimitOverride, len(rows))
	for i, r := range rows {
		o := LimitOverride{Concurrency: intOf(r.Concurrency), Weight: r.Weight}
		if r.PerSecond != nil {
			o.Rate = &Rate{PerSecond: *r.PerSecond, Burst: int(value(r.Burst))}
		}
		if r.What == "key" {
			o.Key = r.Name
		} else {
			o.Tenant = r.Name
		}
		overrides[i] = o
	}
	return overrides, nil
}

// Lines lists the lines of a queue, after the Position of one of them. Errors: QueueNotFound.
func (e *Engine) Lines(ctx context.Context, queue, after string, limit int) ([]Line, error) {
	if _, err := e.Queue(ctx, queue); err != nil {
		return nil, err
	}
	rows, err := e.reads.ListLines(ctx, db.ListLinesParams{Queue: queue, After: after, MaxLines: int32(limit)})
	if err != nil {
		return nil, fromDB("listing lines", err)
	}
	lines := make([]Line, len(rows))
	for i, r := range rows {
		lines[i] = Line{
			Tenant: r.Tenant, Key: r.Key, Waiting: r.Waiting, InFlight: r.InFlight, Concurrency: intOf(r.Concurrency), PerSecond: r.PerSecond, Open: r.Open, name: r.Line,
		}
	}
	return lines, nil
}
