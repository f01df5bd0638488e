-- Settings are passed on as they were sent, so that the functions can tell an absent field from null.

-- name: ListAlertRules :many
select r.name::text as name, coalesce(r.tenant, '')::text as tenant,
  weir.alert_rule_settings(x)::jsonb as settings, greatest(r.muted_until) as muted_until,
  r.created_at::timestamptz as created_at, r.updated_at::timestamptz as updated_at,
  greatest(r.evaluated_at) as evaluated_at, r.active::int as active, r.unlisted::int as unlisted,
  coalesce(r.problem, '')::text as problem
from weir.alert_rules r join weir.alert_rule x on x.id = r.id
where (coalesce(r.tenant, ''), r.name) > (sqlc.arg(after_tenant)::text, sqlc.arg(after)::text)
  and (sqlc.narg(tenant)::text is null or coalesce(r.tenant, '') = sqlc.narg(tenant))
  and (sqlc.narg(name)::text is null or r.name = sqlc.narg(name))
  and weir.reaches(sqlc.narg(bounds)::jsonb, r.tenant, r.queues)
order by coalesce(r.tenant, ''), r.name limit sqlc.arg(max_rules)::int;

-- name: SetAlertRule :exec
select weir.set_alert_rule(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb - 'name', sqlc.arg(replace)::boolean,
  sqlc.narg(tenant)::text, sqlc.narg(make)::boolean);

-- name: DeleteAlertRule :exec
select weir.delete_alert_rule(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: MuteAlertRule :exec
select weir.mute_alert_rule(sqlc.arg(name)::text, coalesce(sqlc.narg(until)::timestamptz,
  clock_timestamp() + make_interval(secs => sqlc.narg(seconds)::float8)), sqlc.narg(tenant)::text);

-- name: UnmuteAlertRule :exec
select weir.unmute_alert_rule(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: EnabledAlertRules :many
select r.id, r.name from weir.alert_rule r where r.enabled order by r.id;

-- name: EvaluateAlertRule :exec
select weir.evaluate_alert_rule(sqlc.arg(id)::int);

-- name: RecordAlertProblem :exec
select weir.record_alert_problem(sqlc.arg(id)::int, sqlc.arg(problem)::text);
