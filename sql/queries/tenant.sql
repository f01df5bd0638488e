-- name: ListTenants :many
select t.tenant::text as tenant, greatest(t.max_waiting) as max_waiting,
  greatest(t.enqueues_per_second) as enqueues_per_second, greatest(t.enqueue_burst) as enqueue_burst,
  greatest(t.max_bytes) as max_bytes, greatest(t.waiting) as waiting, greatest(t.bytes) as bytes,
  t.exact::boolean as exact, t.created_at::timestamptz as created_at
from weir.tenants t
where t.tenant > sqlc.arg(after)::text and (sqlc.narg(tenant)::text is null or t.tenant = sqlc.narg(tenant))
order by t.tenant limit sqlc.arg(max_tenants)::int;

-- name: SetTenantQuota :exec
select weir.set_tenant_quota(sqlc.arg(tenant)::text, sqlc.narg(max_waiting)::int,
  sqlc.narg(enqueues_per_second)::float8, sqlc.narg(enqueue_burst)::int, sqlc.narg(max_bytes)::bigint);

-- name: DeleteTenantQuota :exec
select weir.delete_tenant_quota(sqlc.arg(tenant)::text);

-- name: TendQuotas :one
select weir.tend_quotas()::boolean;
