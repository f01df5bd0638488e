-- name: Log :one
select l.stored::int as stored, l.dropped::int as dropped
from weir.log(sqlc.arg(job_id)::bigint, sqlc.arg(token)::bigint, sqlc.arg(lines)::jsonb) l;

-- name: ReadLog :many
select l.number::int as number, l.at::timestamptz as at, l.attempt::smallint as attempt, l.level::text as level,
  coalesce(l.message, '')::text as message, l.fields::jsonb as fields, coalesce(l.encrypted, '')::text as encrypted,
  l.dropped::int as dropped
from weir.read_log(sqlc.arg(job_id)::bigint, sqlc.arg(after)::int, sqlc.arg(most)::int,
  sqlc.narg(attempt)::smallint, nullif(sqlc.arg(lowest)::text, '')::weir.log_level) l;

-- name: LogEnds :many
select x.job_id::bigint as job_id, x.last::int as last, x.dropped::int as dropped, coalesce(x.state, '')::text as state
from weir.log_ends(sqlc.arg(job_ids)::bigint[]) x;

-- name: ReadLogs :many
select i.id::bigint as job_id, l.number::int as number, l.at::timestamptz as at, l.attempt::smallint as attempt,
  l.level::text as level, coalesce(l.message, '')::text as message, l.fields::jsonb as fields,
  coalesce(l.encrypted, '')::text as encrypted, l.dropped::int as dropped
from unnest(sqlc.arg(job_ids)::bigint[], sqlc.arg(afters)::int[]) i(id, after)
cross join lateral weir.read_log(i.id, i.after, sqlc.arg(most)::int) l
order by i.id, l.number;
