package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// QuotaPath is the path of one tenant.
type QuotaPath struct {
	Tenant string `path:"tenant" minLength:"1" maxLength:"200" doc:"The tenant." example:"acme"`
}

type quotaBodyInput struct {
	QuotaPath
	Payload
}

// TenantPage is one page of the list of tenants with quotas.
type TenantPage struct {
	Items      []jobs.Tenant `json:"items" doc:"The tenants, by name."`
	NextCursor *string       `json:"next_cursor" doc:"The cursor of the next page; null on the last page."`
}

type (
	tenantOutput struct {
		Body jobs.Tenant
	}
	tenantPageOutput struct {
		Body TenantPage
	}
)

func exampleTenant() jobs.Tenant {
	return jobs.Tenant{
		Tenant: "acme", TenantQuota: jobs.TenantQuota{MaxWaiting: new(1000), EnqueuesPerSecond: new(50.0), EnqueueBurst: new(100)},
		Waiting: new(12), Exact: true, CreatedAt: exampleTime,
	}
}

func (a *API) registerTenants() {
	tags := []string{tagTenants}
	missing := []jobs.Code{jobs.QuotaNotFound}
	register(a, huma.Operation{
		OperationID: "listTenants", Method: http.MethodGet, Path: "/v1/tenants", Tags: tags,
		Summary:     "List tenants with quotas",
		Description: "The tenants that have a quota, and what they use. A key with a tenant gets its own.",
	}, documented{answer: TenantPage{Items: []jobs.Tenant{exampleTenant()}}}, a.listTenants)
	register(a, huma.Operation{
		OperationID: "getTenant", Method: http.MethodGet, Path: "/v1/tenants/{tenant}", Tags: tags,
		Summary:     "Get the quota of a tenant",
		Description: "The quota of a tenant and what it uses.",
	}, documented{answer: exampleTenant(), problems: missing}, a.getTenant)
	registerBody(a, huma.Operation{
		OperationID: "putTenant", Method: http.MethodPut, Path: "/v1/tenants/{tenant}", Tags: tags,
		Summary: "Set the quota of a tenant",
		Description: "Replaces the quota that the tenant had. From then on, calls that would exceed it are refused with " +
			"`quota_exceeded`. The jobs that it has already are counted within seconds.",
	}, documented{body: exampleTenant().TenantQuota, answer: exampleTenant()}, a.putTenant)
	register(a, huma.Operation{
		OperationID: "deleteTenant", Method: http.MethodDelete, Path: "/v1/tenants/{tenant}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "Remove the quota of a tenant",
		Description: "The tenant may use any number of everything again. Its jobs stay.",
	}, documented{problems: missing}, a.deleteTenant)
}

func (a *API) listTenants(ctx context.Context, in *Paging) (*tenantPageOutput, error) {
	after, err := in.position(ctx, "tenants")
	if err != nil {
		return nil, err
	}
	tenants, err := a.engine.Tenants(ctx, after, in.oneMore())
	if err != nil {
		return nil, err
	}
	items, next := trim(ctx, *in, "tenants", tenants, func(t jobs.Tenant) string { return t.Tenant })
	return &tenantPageOutput{Body: TenantPage{Items: items, NextCursor: next}}, nil
}

func (a *API) getTenant(ctx context.Context, in *QuotaPath) (*tenantOutput, error) {
	tenant, err := a.engine.Tenant(ctx, in.Tenant)
	return &tenantOutput{Body: tenant}, err
}

func (a *API) putTenant(ctx context.Context, in *quotaBodyInput, q *jobs.TenantQuota) (*tenantOutput, error) {
	tenant, err := a.engine.SetTenantQuota(ctx, in.Tenant, *q)
	return &tenantOutput{Body: tenant}, err
}

func (a *API) deleteTenant(ctx context.Context, in *QuotaPath) (*struct{}, error) {
	return nil, a.engine.DeleteTenantQuota(ctx, in.Tenant)
}
