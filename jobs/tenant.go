package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// TenantQuota is what a tenant may use. Nil is any number.
type TenantQuota struct {
	MaxWaiting        *int     `json:"max_waiting,omitempty" minimum:"0" maximum:"10000000" doc:"How many of its jobs may wait: available, scheduled, retryable or held. Defaults to any number."`
	EnqueuesPerSecond *float64 `json:"enqueues_per_second,omitempty" exclusiveMinimum:"0" maximum:"1000000" doc:"How many jobs it may enqueue a second in the long run. Defaults to any number."`
	EnqueueBurst      *int     `json:"enqueue_burst,omitempty" minimum:"1" maximum:"1000000" doc:"How many it may enqueue at once after a pause. Defaults to enqueues_per_second, rounded up."`
	MaxBytes          *int64   `json:"max_bytes,omitempty" minimum:"0" maximum:"1000000000000000" doc:"How many bytes of its jobs are kept, those of ended jobs too. Defaults to any number."`
}

// Tenant is a tenant with a quota, and what it uses.
type Tenant struct {
	Tenant string `json:"tenant" doc:"The tenant." example:"acme"`
	TenantQuota
	Waiting   *int      `json:"waiting,omitempty" doc:"How many of its jobs wait, as they were last counted. Present where max_waiting is set."`
	Bytes     *int64    `json:"bytes,omitempty" doc:"The bytes of its jobs. Present where max_bytes is set."`
	Exact     bool      `json:"exact" doc:"Whether the jobs that it had before it got max_waiting are counted yet."`
	CreatedAt time.Time `json:"created_at" doc:"When it first had this quota."`
}

// QuotaUse says which quota of a tenant a call would exceed.
type QuotaUse struct {
	Tenant string  `json:"tenant" doc:"The tenant." example:"acme"`
	Name   string  `json:"quota" enum:"max_waiting,enqueues_per_second,max_bytes" doc:"Which of its quotas."`
	Limit  float64 `json:"limit" doc:"The quota; of enqueues_per_second the burst." example:"1000"`
	Used   float64 `json:"used" doc:"How much of it is used." example:"1000"`
	Needed float64 `json:"needed" doc:"How much more the call needs." example:"1"`

	RetryAfter time.Duration `json:"-"` // when it is worth another try
}

// quotaUse reads the detail of a WR019.
func quotaUse(detail string) *QuotaUse {
	var u struct {
		QuotaUse
		RetryAfterSeconds float64 `json:"retry_after_seconds"`
	}
	if json.Unmarshal([]byte(detail), &u) != nil {
		return nil
	}
	u.RetryAfter = time.Duration(math.Ceil(min(u.RetryAfterSeconds, 3600))) * time.Second
	return &u.QuotaUse
}

// Tenants lists tenants with a quota by name, starting after one, and what they use. A caller with a tenant gets its own.
func (e *Engine) Tenants(ctx context.Context, after string, limit int) ([]Tenant, error) {
	params := db.ListTenantsParams{After: after, MaxTenants: int32(limit)}
	if p := access.From(ctx); p != nil {
		if p.Tenant == "" && (p.Limited() || p.OnlyOwn()) {
			return []Tenant{}, nil
		}
		params.Tenant = nonZero(p.Tenant)
	}
	return e.listTenants(ctx, params)
}

func (e *Engine) listTenants(ctx context.Context, params db.ListTenantsParams) ([]Tenant, error) {
	rows, err := e.reads.ListTenants(ctx, params)
	if err != nil {
		return nil, fromDB("listing tenants", err)
	}
	tenants := make([]Tenant, len(rows))
	for i, r := range rows {
		tenants[i] = Tenant{
			Tenant: r.Tenant, Exact: r.Exact, CreatedAt: r.CreatedAt.UTC(), Waiting: intOf(r.Waiting), Bytes: r.Bytes,
			TenantQuota: TenantQuota{
				MaxWaiting: intOf(r.MaxWaiting), EnqueuesPerSecond: r.EnqueuesPerSecond, EnqueueBurst: intOf(r.EnqueueBurst), MaxBytes: r.MaxBytes,
			},
		}
	}
	return tenants, nil
}

// Tenant returns the quota of one tenant and what it uses. Another's is not found. Errors: QuotaNotFound.
func (e *Engine) Tenant(ctx context.Context, name string) (Tenant, error) {
	p := access.From(ctx)
	if p == nil || p.Tenant == name || p.Tenant == "" && !p.Limited() && !p.OnlyOwn() {
		tenants, err := e.listTenants(ctx, db.ListTenantsParams{Tenant: &name, MaxTenants: 1})
		if err != nil || len(tenants) > 0 {
			return append(tenants, Tenant{})[0], err
		}
	}
	return Tenant{}, &Error{Code: QuotaNotFound, Message: fmt.Sprintf("tenant %q has no quota", name), Hint: "PUT of its quota sets one."}
}

// SetTenantQuota sets what a tenant may use, in place of the quota that it had. Errors: InvalidArgument.
func (e *Engine) SetTenantQuota(ctx context.Context, name string, q TenantQuota) (Tenant, error) {
	err := e.changes.SetTenantQuota(ctx, db.SetTenantQuotaParams{
		Tenant: name, MaxWaiting: int32Of(q.MaxWaiting), EnqueuesPerSecond: q.EnqueuesPerSecond, EnqueueBurst: int32Of(q.EnqueueBurst), MaxBytes: q.MaxBytes,
	})
	if err != nil {
		return Tenant{}, fromDB("setting a quota", err)
	}
	return e.Tenant(ctx, name)
}

func int32Of(n *int) *int32 {
	if n == nil {
		return nil
	}
	return new(int32(*n))
}

// DeleteTenantQuota lifts the quota of a tenant. Errors: QuotaNotFound.
func (e *Engine) DeleteTenantQuota(ctx context.Context, name string) error {
	return fromDB("deleting a quota", e.changes.DeleteTenantQuota(ctx, name))
}

// tendQuotas counts again what tenants with quotas use.
func (e *Engine) tendQuotas(ctx context.Context) (time.Duration, error) {
	more, err := e.loops.TendQuotas(ctx)
	if more && err == nil {
		return time.Millisecond, nil
	}
	return time.Second, fromDB("counting what tenants use", err)
}
