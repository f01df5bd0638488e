-- name: ListAlertTargets :many
select t.name::text as name, coalesce(t.tenant, '')::text as tenant, t.kind::text as kind,
  t.settings::jsonb as settings,
  t.events::text[] as events, t.created_at::timestamptz as created_at, t.updated_at::timestamptz as updated_at
from weir.alert_targets t
where (coalesce(t.tenant, ''), t.name) > (sqlc.arg(after_tenant)::text, sqlc.arg(after)::text)
  and (sqlc.narg(tenant)::text is null or coalesce(t.tenant, '') = sqlc.narg(tenant))
  and (sqlc.narg(name)::text is null or t.name = sqlc.narg(name))
  and weir.reaches(sqlc.narg(bounds)::jsonb - 'queues', t.tenant, '{}')
order by coalesce(t.tenant, ''), t.name limit sqlc.arg(max_targets)::int;

-- name: SetAlertTarget :one
select coalesce(weir.set_alert_target(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb - 'name',
  sqlc.arg(make)::boolean, sqlc.narg(tenant)::text, sqlc.narg(secrets)::jsonb), '')::text;

-- name: DeleteAlertTarget :exec
select weir.delete_alert_target(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: TestAlertTarget :one
select weir.test_alert_target(sqlc.arg(name)::text, sqlc.narg(tenant)::text)::bigint;

-- name: ListAlertDeliveries :many
select d.id::bigint as id, coalesce(d.alert_id, 0)::bigint as alert_id, d.target::text as target,
  d.event::text as event,
  d.state::text as state, d.attempts::int as attempts, coalesce(d.error, '')::text as error,
  d.created_at::timestamptz as created_at, d.next_at::timestamptz as next_at, greatest(d.tried_at) as tried_at
from weir.alert_delivery d
where d.id < sqlc.arg(before)::bigint
  and (sqlc.narg(alert_id)::bigint is null or d.alert_id = sqlc.narg(alert_id))
  and (sqlc.narg(target)::text is null or d.target_id = (select t.id from weir.alert_target t
    where t.name = sqlc.narg(target) and coalesce(t.tenant, '') = sqlc.arg(tenant)::text))
order by d.id desc limit sqlc.arg(max_deliveries)::int;

-- name: DispatchAlertDeliveries :many
select t.delivery_id::bigint as id, t.take::int as take from weir.dispatch_alert_deliveries(sqlc.arg(most)::int) t;

-- name: PendingAlertDelivery :one
select d.id::bigint as id, t.name::text as target, t.kind::text as kind, t.settings::jsonb as settings,
  d.event::text as event, d.body::jsonb as body, d.attempts::int as attempts,
  coalesce((select jsonb_object_agg(s.field, s.secret) from weir_auth.alert_secret s where s.target_id = t.id),
    '{}')::jsonb as secrets
from weir.alert_delivery d join weir.alert_target t on t.id = d.target_id
where d.id = sqlc.arg(delivery_id)::bigint and d.takes = sqlc.arg(take)::int and d.state = 'pending';

-- name: RecordAlertAttempt :exec
select weir.record_alert_attempt(sqlc.arg(delivery_id)::bigint, sqlc.arg(take)::int, sqlc.narg(error)::text,
  make_interval(secs => sqlc.narg(retry_in_seconds)::float8));

-- name: CountAlerts :one
select (select count(*) from weir.alert a where a.state <> 'resolved' and a.severity = 'info')::bigint as info,
  (select count(*) from weir.alert a where a.state <> 'resolved' and a.severity = 'warning')::bigint as warning,
  (select count(*) from weir.alert a where a.state <> 'resolved' and a.severity = 'critical')::bigint as critical,
  (select count(*) from (select from weir.alert_delivery d where d.state = 'pending' limit 100000) d)::bigint
    as pending;
