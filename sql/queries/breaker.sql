-- name: ListBreakers :many
select b.breaker::text as reference, b.state::text as state, b.since::timestamptz as since,
  b.recovering::boolean as recovering, greatest(b.next_probe_at) as next_probe_at,
  b.openings::int as openings, coalesce(b.pinned, '')::text as pinned, greatest(b.pinned_until) as pinned_until,
  b.window_ok::bigint as window_ok, b.window_failed::bigint as window_failed,
  b.held::bigint as held, b.probes::bigint as probes, b.policy::text as policy, b.queues::text[] as queues,
  coalesce(b.failure_threshold, 0)::int as failure_threshold, coalesce(b.failure_ratio, 0)::float8 as failure_ratio,
  b.min_calls::int as min_calls, b.window_seconds::int as window_seconds,
  b.open_seconds::float8 as open_seconds, b.max_open_seconds::float8 as max_open_seconds,
  b.half_open_probes::int as half_open_probes, b.close_after::int as close_after,
  b.counts::jsonb as counts, b.while_open::jsonb as while_open, b.ramp_per_second::float8 as ramp_per_second,
  b.ramp_factor::float8 as ramp_factor, b.created_at::timestamptz as created_at,
  b.times_opened::bigint as times_opened, b.changes::bigint as changes, coalesce(b.tenant, '')::text as tenant
from weir.breakers b
where b.breaker > sqlc.arg(after)::text and (sqlc.narg(reference)::text is null or b.breaker = sqlc.narg(reference))
  and (sqlc.narg(tenant)::text is null or b.tenant = sqlc.narg(tenant))
  and (sqlc.narg(caller)::text is null or b.tenant = sqlc.narg(caller))
  and (sqlc.narg(state)::text is null or b.state = sqlc.narg(state))
order by b.breaker limit sqlc.arg(max_breakers)::int;

-- Those that are not closed first, then those that opened most often; the sums of the others in one row.
-- name: CountBreakers :many
select case when d.n <= sqlc.arg(most)::int then d.name else '(other)' end::text as name,
  count(*) filter (where d.state = 'closed')::bigint as closed,
    count(*) filter (where d.state = 'open')::bigint as open,
  count(*) filter (where d.state = 'half_open')::bigint as half_open,
  sum((select count(*) from (select from weir.job_held h where h.reason = 'breaker' and h.key = d.name
    limit 10000) h))::bigint as held,
  sum(d.times_opened)::bigint as times_opened, sum(d.changes)::bigint as changes
from (select b.*, row_number() over (order by b.state = 'closed' and not b.gated, b.times_opened desc, b.name) as n
  from weir.breaker b where b.deleted_at is null) d
group by 1;

-- name: SetBreaker :exec
select weir.set_breaker(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb, sqlc.arg(replace)::boolean,
  sqlc.narg(by)::text);

-- name: DeleteBreaker :exec
select weir.delete_breaker(sqlc.arg(name)::text, sqlc.narg(by)::text);

-- name: TripBreaker :exec
select weir.trip_breaker(sqlc.arg(name)::text, sqlc.narg(by)::text, sqlc.narg(reason)::text,
  sqlc.narg(open_seconds)::float8);

-- name: ResetBreaker :exec
select weir.reset_breaker(sqlc.arg(name)::text, sqlc.narg(by)::text, sqlc.narg(reason)::text);

-- name: PinBreaker :exec
select weir.pin_breaker(sqlc.arg(name)::text, sqlc.arg(state)::text, sqlc.narg(by)::text, sqlc.narg(reason)::text,
  sqlc.narg(for_seconds)::float8);

-- name: ReportBreaker :one
select weir.report_breaker(sqlc.arg(name)::text, sqlc.arg(outcome)::text, sqlc.narg(error)::jsonb,
  sqlc.arg(calls)::int)::text;

-- name: ListBreakerEvents :many
select e.id::bigint as id, e.at::timestamptz as at, e.breaker::text as breaker, e.event::text as event,
  e.from_state::text as from_state, e.state::text as state,
  coalesce(e.by, '')::text as by, coalesce(e.reason, '')::text as reason, coalesce(e.detail, '{}')::jsonb as detail
from weir.breaker_events e where e.breaker = sqlc.arg(reference)::text and e.id < sqlc.arg(before)::bigint
  order by e.id desc limit sqlc.arg(max_events)::int;

-- name: BreakerEventsSince :many
select e.id::bigint as id, e.at::timestamptz as at, e.breaker::text as breaker, e.event::text as event,
  e.state::text as state, coalesce(e.by, '')::text as by, coalesce(e.reason, '')::text as reason,
  coalesce(e.tenant, '')::text as tenant
from weir.breaker_events e where e.at > sqlc.arg(after)::timestamptz order by e.id;

-- name: TickBreakers :one
select breakers::int, moved::int from weir.tick_breakers(sqlc.arg(most)::int);

-- name: SweepBreakers :one
select weir.sweep_breakers(sqlc.arg(most)::int)::int;

-- name: SweepBreakerResults :one
select weir.sweep_breaker_results(sqlc.arg(most)::int)::int;
