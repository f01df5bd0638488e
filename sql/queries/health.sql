-- name: CheckHealth :one
select weir.check_health()::boolean;

-- name: RecordHealth :exec
select weir.record_health(sqlc.arg(component)::text, sqlc.arg(node)::text, sqlc.arg(ok)::boolean,
  sqlc.narg(seconds)::float8, sqlc.narg(message)::text);

-- name: ListHealth :many
select h.component::text as component, h.node::text as node, h.ok::boolean as ok,
  h.checked_at::timestamptz as checked_at, coalesce(h.message, '')::text as message, h.checks::int as checks,
  h.passed::int as passed, h.success_rate::float8 as success_rate, h.since::timestamptz as since,
    (h.checked_at < clock_timestamp() - interval '35 s')::boolean as silent
from weir.health h where sqlc.narg(component)::text is null or h.component = sqlc.narg(component)
  order by h.component, h.node;

-- name: HealthChecks :many
select c.component::text as component, c.node::text as node, c.at::timestamptz as at, c.ok::boolean as ok,
  greatest(c.seconds) as seconds, coalesce(c.message, '')::text as message
from (select x.*, row_number() over (partition by x.component, x.node order by x.at desc) as n from weir.health_check x
  where sqlc.narg(component)::text is null or x.component = sqlc.narg(component)) c
where c.n <= sqlc.arg(most)::int order by c.component, c.node, c.at desc;

-- name: BreakerSummary :one
select count(*) filter (where b.state = 'closed')::bigint as closed,
  count(*) filter (where b.state = 'open')::bigint as open,
  count(*) filter (where b.state = 'half_open')::bigint as half_open,
  count(*) filter (where b.pinned is not null)::bigint as pinned,
    count(*) filter (where b.state = 'closed' and b.gated)::bigint as recovering,
  (select count(*) from weir.breaker_event e where e.event = 'opened'
    and e.at > now() - interval '24 hours')::bigint as opened_last_day,
  (select count(*) from weir.breaker_event e where e.event = 'closed'
    and e.at > now() - interval '24 hours')::bigint as closed_last_day,
  (select count(*) from (select from weir.job_held h where h.reason = 'breaker' limit 10000) x)::bigint as held
from weir.breaker b where b.deleted_at is null;

-- name: ForgetNode :exec
-- A node that ends in good order is not lost.
delete from weir.health_check h where h.node = sqlc.arg(node)::text and h.node <> '';
