package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// KeyPath is the path of the limits of one concurrency key of a queue.
type KeyPath struct {
	QueuePath
	Key string `path:"key" minLength:"1" maxLength:"200" doc:"The concurrency key." example:"order-42"`
}

// TenantPath is the path of the share of one tenant of a queue.
type TenantPath struct {
	QueuePath
	Tenant string `path:"tenant" minLength:"1" maxLength:"200" doc:"The tenant." example:"acme"`
}

type keyBodyInput struct {
	KeyPath
	Payload
}

type tenantBodyInput struct {
	TenantPath
	Payload
}

type queuePagingInput struct {
	QueuePath
	Paging
}

// LimitOverridePage is one page of the limits of single keys and tenants.
type LimitOverridePage struct {
	Items      []jobs.LimitOverride `json:"items" doc:"The limits of single keys, by key, then those of single tenants, by tenant."`
	NextCursor *string              `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type limitOverridePageOutput struct {
	Body LimitOverridePage
}

type limitOverrideOutput struct {
	Body jobs.LimitOverride
}

// LinePage is one page of the lines of a queue.
type LinePage struct {
	Items      []jobs.Line `json:"items" doc:"The lines with jobs that wait or are in flight."`
	NextCursor *string     `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type linePageOutput struct {
	Body LinePage
}

func (a *API) registerLimits() {
	tags := []string{tagQueues}
	missing := []jobs.Code{jobs.QueueNotFound}
	key := jobs.LimitOverride{Key: "order-42", Concurrency: new(2), Rate: &jobs.Rate{PerSecond: 5, Burst: 10}}
	tenant := jobs.LimitOverride{Tenant: "acme", Weight: new(3.0), Concurrency: new(50)}
	register(a, huma.Operation{
		OperationID: "listQueueLimits", Method: http.MethodGet, Path: "/v1/queues/{name}/limits", Tags: tags,
		Summary:     "List limits of single keys and tenants",
		Description: "Limits that replace those of the queue for one key or tenant.",
	}, documented{answer: LimitOverridePage{Items: []jobs.LimitOverride{key, tenant}}, problems: missing}, a.listQueueLimits)
	registerBody(a, huma.Operation{
		OperationID: "putKeyLimit", Method: http.MethodPut, Path: "/v1/queues/{name}/limits/keys/{key}", Tags: tags,
		Summary:     "Set the limits of one key",
		Description: "A limit that is not given is that of the queue. Takes effect within a second.",
	}, documented{body: jobs.KeyLimit{Concurrency: key.Concurrency, Rate: key.Rate}, answer: key, problems: missing}, a.putKeyLimit)
	register(a, huma.Operation{
		OperationID: "deleteKeyLimit", Method: http.MethodDelete, Path: "/v1/queues/{name}/limits/keys/{key}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Remove the limits of one key",
		Description: "The queue's limits apply to it again. Succeeds also if it had none.",
	}, documented{problems: missing}, a.deleteKeyLimit)
	registerBody(a, huma.Operation{
		OperationID: "putTenantLimit", Method: http.MethodPut, Path: "/v1/queues/{name}/limits/tenants/{tenant}", Tags: tags,
		Summary:     "Set the share of one tenant",
		Description: "Replaces the weight that the queue's limits give the tenant. Takes effect within a second.",
	}, documented{body: jobs.TenantLimit{Weight: tenant.Weight, Concurrency: tenant.Concurrency}, answer: tenant, problems: missing}, a.putTenantLimit)
	register(a, huma.Operation{
		OperationID: "deleteTenantLimit", Method: http.MethodDelete, Path: "/v1/queues/{name}/limits/tenants/{tenant}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Remove the share of one tenant",
		Description: "The queue's limits apply to it again. Succeeds also if it had none.",
	}, documented{problems: missing}, a.deleteTenantLimit)
	register(a, huma.Operation{
		OperationID: "listQueueLines", Method: http.MethodGet, Path: "/v1/queues/{name}/lines", Tags: tags,
		Summary: "List the lines of a queue with limits",
		Description: "One line per key, tenant or both, depending on the limits: how many jobs wait in it, how many are " +
			"in flight, and how many may be.",
	}, documented{answer: LinePage{Items: []jobs.Line{{Key: "order-42", Waiting: 12, InFlight: 2, Concurrency: new(2)}}}, problems: missing}, a.listQueueLines)
}

func (a *API) listQueueLimits(ctx context.Context, in *queuePagingInput) (*limitOverridePageOutput, error) {
	position, err := in.position(ctx, "limits")
	if err != nil {
		return nil, err
	}
	var after jobs.LimitOverride
	if what, name, found := strings.Cut(position, ":"); found && what == "tenant" {
		after.Tenant = name
	} else {
		after.Key = name
	}
	overrides, err := a.engine.LimitOverrides(ctx, in.Name, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &limitOverridePageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "limits", overrides, func(last jobs.LimitOverride) string {
		if last.Tenant != "" {
			return "tenant:" + last.Tenant
		}
		return "key:" + last.Key
	})
	return out, nil
}

func (a *API) putKeyLimit(ctx context.Context, in *keyBodyInput, limit *jobs.KeyLimit) (*limitOverrideOutput, error) {
	if err := a.engine.SetKeyLimit(ctx, in.Name, in.Key, limit); err != nil {
		return nil, err
	}
	return &limitOverrideOutput{Body: jobs.LimitOverride{Key: in.Key, Concurrency: limit.Concurrency, Rate: limit.Rate}}, nil
}

func (a *API) deleteKeyLimit(ctx context.Context, in *KeyPath) (*struct{}, error) {
	return nil, a.engine.SetKeyLimit(ctx, in.Name, in.Key, nil)
}

func (a *API) putTenantLimit(ctx context.Context, in *tenantBodyInput, limit *jobs.TenantLimit) (*limitOverrideOutput, error) {
	if err := a.engine.SetTenantLimit(ctx, in.Name, in.Tenant, limit); err != nil {
		return nil, err
	}
	return &limitOverrideOutput{Body: jobs.LimitOverride{Tenant: in.Tenant, Weight: limit.Weight, Concurrency: limit.Concurrency}}, nil
}

func (a *API) deleteTenantLimit(ctx context.Context, in *TenantPath) (*struct{}, error) {
	return nil, a.engine.SetTenantLimit(ctx, in.Name, in.Tenant, nil)
}

func (a *API) listQueueLines(ctx context.Context, in *queuePagingInput) (*linePageOutput, error) {
	after, err := in.position(ctx, "lines")
	if err != nil {
		return nil, err
	}
	lines, err := a.engine.Lines(ctx, in.Name, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	out := &linePageOutput{}
	out.Body.Items, out.Body.NextCursor = trim(ctx, in.Paging, "lines", lines, func(last jobs.Line) string { return last.Position() })
	return out, nil
}
