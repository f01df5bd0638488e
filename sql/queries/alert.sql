-- name: ListAlerts :many
-- Newest first, below an id.
select a.id::bigint as id, a.state::text as state, a.severity::text as severity, a.rule::text as rule,
  a.condition::text as condition, a.subject_kind::text as subject_kind, a.subject::text as subject,
  a.summary::text as summary, a.value::float8 as value, a.highest::float8 as highest, a.threshold::float8 as threshold,
  a.facts::jsonb as facts, a.since::timestamptz as since, a.opened_at::timestamptz as opened_at,
  greatest(a.clear_since) as clear_since, greatest(a.acknowledged_at) as acknowledged_at,
  coalesce(a.acknowledged_by, '')::text as acknowledged_by, coalesce(a.note, '')::text as note,
  greatest(a.resolved_at) as resolved_at, coalesce(a.resolved_because, '')::text as resolved_because,
  coalesce(a.tenant, '')::text as tenant
from weir.alerts a
where a.id < sqlc.arg(before)::bigint
  and (sqlc.narg(id)::bigint is null or a.id = sqlc.narg(id))
  and (sqlc.narg(states)::text[] is null or a.state = any (sqlc.narg(states)::text[]))
  and (sqlc.narg(severities)::text[] is null or a.severity = any (sqlc.narg(severities)::text[]))
  and (sqlc.narg(rule)::text is null or a.rule = sqlc.narg(rule))
  and (sqlc.narg(subject)::text is null or a.subject = sqlc.narg(subject))
  and (sqlc.narg(tenant)::text is null or coalesce(a.tenant, '') = sqlc.narg(tenant))
  and (sqlc.narg(opened_after)::timestamptz is null or a.opened_at >= sqlc.narg(opened_after))
  and (sqlc.narg(opened_before)::timestamptz is null or a.opened_at < sqlc.narg(opened_before))
  and weir.reaches(sqlc.narg(bounds)::jsonb, a.tenant, a.queues)
order by a.id desc limit sqlc.arg(max_alerts)::int;

-- name: AcknowledgeAlert :exec
select weir.acknowledge_alert(sqlc.arg(id)::bigint, sqlc.narg(note)::text);

-- name: PreviewAlerts :many
select p.rule_name::text as rule, coalesce(p.tenant_name, '')::text as tenant, p.condition::text as condition,
  p.severity::text as severity, p.subject_kind::text as subject_kind, p.subject::text as subject,
  p.value::float8 as value, p.threshold::float8 as threshold, p.since::timestamptz as since, p.action::text as action,
  greatest(p.at) as at, greatest(p.alert_id) as alert_id, p.summary::text as summary, p.notify::text[] as notify,
  greatest(p.held_until) as held_until
from weir.preview_alerts(sqlc.narg(bounds)::jsonb, sqlc.narg(rule)::text, sqlc.narg(definition)::jsonb,
  sqlc.narg(tenant)::text) p
limit sqlc.arg(max_findings)::int;

-- name: AlertStates :many
-- Those that are open or acknowledged now.
select a.severity::text as severity, a.state::text as state, count(*)::bigint as alerts
from weir.alerts a
where a.state <> 'resolved' and weir.reaches(sqlc.narg(bounds)::jsonb, a.tenant, a.queues)
group by a.severity, a.state;

-- name: AlertRuleStats :many
select a.rule::text as rule, coalesce(a.tenant, '')::text as tenant, count(*)::bigint as opened,
  count(*) filter (where a.state = 'resolved')::bigint as resolved,
  count(a.acknowledged_at)::bigint as acknowledged,
  coalesce(avg(date_part('epoch', a.acknowledged_at - a.opened_at)), 0)::float8 as acknowledge_seconds,
  coalesce(avg(date_part('epoch', a.resolved_at - a.opened_at)), 0)::float8 as resolve_seconds
from weir.alerts a
where a.opened_at >= now() - make_interval(secs => sqlc.arg(window_seconds)::int)
  and weir.reaches(sqlc.narg(bounds)::jsonb, a.tenant, a.queues)
group by a.rule, a.tenant order by count(*) desc, a.rule limit sqlc.arg(max_rules)::int;

-- name: AlertDayStats :many
select date_trunc('day', a.opened_at at time zone 'UTC')::date::text as day, count(*)::bigint as opened,
  count(*) filter (where a.severity = 'critical')::bigint as critical,
  count(*) filter (where a.severity = 'warning')::bigint as warning,
  count(*) filter (where a.severity = 'info')::bigint as info
from weir.alerts a
where a.opened_at >= now() - make_interval(secs => sqlc.arg(window_seconds)::int)
  and weir.reaches(sqlc.narg(bounds)::jsonb, a.tenant, a.queues)
group by 1 order by 1;

-- name: SweepAlerts :one
select weir.sweep_alerts(sqlc.arg(most)::int)::int;
