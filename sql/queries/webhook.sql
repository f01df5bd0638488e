-- name: ListWebhooks :many
select w.name::text as name, w.url::text as url, w.events::text[] as events, w.queues::text[] as queues,
  w.kinds::text[] as kinds, w.timeout_seconds::int as timeout_seconds,
  w.disable_after_seconds::int as disable_after_seconds, w.created_at::timestamptz as created_at,
    greatest(w.disabled_at) as disabled_at, coalesce(w.disabled_reason, '')::text as disabled_reason,
  greatest(w.failing_since) as failing_since, greatest(w.old_secret_until) as old_secret_until,
    w.pending::bigint as pending, coalesce(w.tenant, '')::text as tenant, w.error_text::boolean as error_text
from weir.webhooks w
where (coalesce(w.tenant, ''), w.name) > (sqlc.arg(after_tenant)::text, sqlc.arg(after)::text)
  and (sqlc.narg(tenant)::text is null or coalesce(w.tenant, '') = sqlc.narg(tenant))
  and (sqlc.narg(name)::text is null or w.name = sqlc.narg(name))
  and weir.reaches(sqlc.narg(bounds)::jsonb, w.tenant, w.queues)
order by coalesce(w.tenant, ''), w.name limit sqlc.arg(max_webhooks)::int;

-- name: SetWebhook :one
select coalesce(weir.set_webhook(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb, sqlc.arg(make)::boolean,
  sqlc.narg(tenant)::text, sqlc.narg(secret)::text), '')::text;

-- name: DeleteWebhook :exec
select weir.delete_webhook(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: RotateWebhookSecret :one
select weir.rotate_webhook_secret(sqlc.arg(name)::text,
  make_interval(secs => sqlc.arg(keep_old_seconds)::float8), sqlc.narg(tenant)::text,
  sqlc.narg(secret)::text)::text;

-- name: DisableWebhook :exec
select weir.disable_webhook(sqlc.arg(name)::text, sqlc.narg(reason)::text, sqlc.narg(tenant)::text);

-- name: EnableWebhook :exec
select weir.enable_webhook(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: TestWebhook :one
select weir.test_webhook(sqlc.arg(name)::text, sqlc.narg(tenant)::text)::bigint;

-- name: ListDeliveries :many
select d.id::bigint as id, d.event_id::text as event_id, d.event::text as event, greatest(d.job_id) as job_id,
  d.state::text as state, d.attempts::int as attempts, greatest(d.status) as status,
  coalesce(d.error, '')::text as error, greatest(d.duration_seconds) as duration_seconds,
    d.created_at::timestamptz as created_at, greatest(d.tried_at) as tried_at
from weir.webhook_delivery d
where d.webhook_id = (select w.id from weir.webhook w where w.name = sqlc.arg(name)::text
    and coalesce(w.tenant, '') = sqlc.arg(tenant)::text and weir.reaches(sqlc.narg(bounds)::jsonb, w.tenant, w.queues))
  and d.id < sqlc.arg(before)::bigint
  and (sqlc.narg(state)::text is null or d.state = sqlc.narg(state))
order by d.id desc limit sqlc.arg(max_deliveries)::int;

-- name: EnabledWebhooks :many
select w.id from weir.webhook w where w.disabled_at is null order by w.id;

-- name: CreateDeliveries :one
select noted::int, behind::boolean from weir.create_deliveries(sqlc.arg(webhook_id)::bigint);

-- name: DispatchDeliveries :many
select t.delivery_id::bigint as id, t.take::int as take from weir.dispatch_deliveries(sqlc.arg(most)::int) t;

-- name: PendingDelivery :one
select w.id::bigint as webhook_id, w.name::text as webhook, w.url::text as url,
  w.timeout_seconds::int as timeout_seconds, s.secret::text as secret,
  case when w.old_secret_until > clock_timestamp() then s.old_secret else '' end::text as old_secret,
    d.event_id::text as event_id, d.body::jsonb as body, d.attempts::int as attempts
from weir.webhook_delivery d join weir.webhook w on w.id = d.webhook_id
  join weir_auth.webhook_secret s on s.webhook_id = w.id
where d.id = sqlc.arg(delivery_id)::bigint and d.takes = sqlc.arg(take)::int and d.state = 'pending'
  and (w.disabled_at is null or d.job_id is null);

-- name: RecordDeliveryAttempt :exec
select weir.record_delivery_attempt(sqlc.arg(delivery_id)::bigint, sqlc.arg(ok)::boolean, sqlc.narg(status)::int,
  sqlc.narg(error)::text, sqlc.arg(duration_seconds)::float8,
  make_interval(secs => sqlc.narg(retry_in_seconds)::float8));

-- name: SweepDeliveries :one
select weir.sweep_deliveries(sqlc.arg(most)::int)::int;
