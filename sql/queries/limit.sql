-- Limits, and the lines in which jobs wait for them.

-- name: Admissions :many
select a.queue::text as queue, a.governed::boolean as governed, a.busy::boolean as busy from weir.admissions() a;

-- A pass that a crash undoes is made again, so its commit need not wait for the disk.
-- name: Admit :one
select a.admitted::int as admitted, a.waiting::int as waiting, coalesce(a.held_by, '')::text as held_by,
  coalesce(a.next_in, -1)::float8 as next_in, a.more::boolean as more,
  coalesce(a.available, -1)::int as available
from (select set_config('synchronous_commit', 'off', true) as done) s
  cross join lateral weir.admit(sqlc.arg(queue)::text, sqlc.narg(wanted)::int) a
where s.done is not null;

-- name: CheckLimits :many
select c.queue::text as queue, coalesce(c.line, '')::text as line, c.problem::text as problem,
  c.counted::bigint as counted, c.found::bigint as found from weir.check_limits(sqlc.arg(repair)::boolean) c;

-- name: SetLimit :exec
select weir.set_limit(sqlc.arg(queue)::text, sqlc.narg(key)::text, sqlc.narg(tenant)::text, sqlc.narg(limits)::jsonb);

-- name: ListOverrides :many
select o.what::text as what, o.name::text as name, greatest(o.concurrency) as concurrency,
  greatest(o.per_second) as per_second, greatest(o.burst) as burst, greatest(o.weight) as weight
from weir.limit_override o
where o.queue_id = weir.queue_id(sqlc.arg(queue)::text)
  and (o.what, o.name) > (sqlc.arg(after_what)::text, sqlc.arg(after)::text)
order by o.what, o.name limit sqlc.arg(max_overrides)::int;

-- name: ListLines :many
select l.line::text as line, coalesce(l.tenant, '')::text as tenant, coalesce(l.key, '')::text as key,
  l.waiting::bigint as waiting, l.in_flight::bigint as in_flight,
  greatest(l.concurrency) as concurrency, greatest(l.per_second) as per_second, l.open::boolean as open
from weir.lines l
where l.queue = sqlc.arg(queue)::text and l.line = any (array(
  select n from weir.line_names(sqlc.arg(queue)::text, sqlc.arg(after)::text, sqlc.arg(max_lines)::int) n))
order by l.line;

-- name: CountInFlight :many
select case when d.n <= sqlc.arg(most)::int then d.name else '(other)' end::text as queue,
  sum(d.in_flight)::bigint as in_flight, sum(d.lines_waiting)::bigint as lines_waiting
from (select q.name, a.*, row_number() over (order by a.in_flight + a.lines_waiting desc, q.name) as n
  from weir.queue q
  cross join lateral (select x.* from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1) a
  where q.governed) d
group by 1;
