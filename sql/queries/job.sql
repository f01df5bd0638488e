-- name: GetJob :one
select * from weir.jobs where id = $1;

-- name: GetJobs :many
select * from weir.jobs where id = any (sqlc.arg(ids)::bigint[]);

-- name: JobCreatedAt :one
select created_at from weir.job where id = sqlc.arg(id)::bigint;

-- name: WhichEnded :many
select ended::bigint from weir.which_ended(sqlc.arg(ids)::bigint[]) ended;

-- name: CancelJob :one
select weir.cancel(sqlc.arg(job_id)::bigint)::text;

-- name: RetryJob :one
select weir.retry(sqlc.arg(job_id)::bigint, sqlc.arg(reset_attempts)::boolean)::text;

-- name: EditJob :one
select weir.edit(sqlc.arg(job_id)::bigint, sqlc.arg(changes)::jsonb)::text;

-- One page of candidate ids for a list, newest first. It reads at most max_ids rows; ListJobs filters them, and the
-- caller continues after the last.

-- name: NewestJobIDs :one
select weir.newest_job_ids(sqlc.arg(filter)::jsonb, sqlc.arg(before)::bigint, sqlc.arg(max_ids)::int)::bigint[] as ids;

-- name: ListJobs :many
select * from weir.jobs j
where j.id = any (array(select p.id from weir.filter_job_ids(sqlc.arg(ids)::bigint[], sqlc.arg(filter)::jsonb) p(id)
  order by p.id desc limit sqlc.arg(max_jobs)::int))
order by j.id desc;

-- name: Timeline :many
select t.at::timestamptz as at, t.event::text as event, t.attempt::smallint as attempt,
  coalesce(t.worker, '')::text as worker, coalesce(t.cause, '')::text as cause,
  greatest(t.run_at) as run_at, t.detail::jsonb as detail
from weir.timeline(sqlc.arg(job_id)::bigint) with ordinality t(at, event, attempt, worker, cause, run_at, detail, n)
where t.n > sqlc.arg(after)::bigint order by t.n limit sqlc.arg(max_moments)::int;

-- name: Why :many
select w.code::text as code, w.message::text as message, w.detail::jsonb as detail
  from weir.why(sqlc.arg(job_id)::bigint) with ordinality w(code, message, detail, n) order by w.n;
