-- name: GetJob :one
select * from weir.jobs where id = $1;

-- name: GetJobs :many
select * from weir.jobs where id = any (sqlc.arg(ids)::bigint[]);

-- name: CreatedFrom :one
select weir.created_from(sqlc.arg(id)::bigint)::timestamptz;

-- name: WhichEnded :many
select ended::bigint from weir.which_ended(sqlc.arg(ids)::bigint[]) ended;

-- name: CancelJob :one
select weir.cancel(sqlc.arg(job_id)::bigint)::text;

-- name: RetryJob :one
select weir.retry(sqlc.arg(job_id)::bigint, sqlc.arg(reset_attempts)::boolean)::text;

-- name: EditJob :one
select weir.edit(sqlc.arg(job_id)::bigint, sqlc.arg(changes)::jsonb)::text;

-- A step of a search: candidate ids, newest or oldest first, which ListJobs filters; the caller goes on after what was
-- reached.

-- name: SearchStep :one
select s.ids::bigint[] as ids, coalesce(s.reached, 0)::bigint as reached,
  coalesce(s.is_open, false)::boolean as is_open
from weir.search_step(sqlc.arg(filter)::jsonb, sqlc.arg(start)::bigint, sqlc.arg(max_ids)::int,
  sqlc.arg(rising)::boolean) s;

-- name: FilterProblem :one
select coalesce(weir.job_filter_problem(sqlc.arg(filter)::jsonb), '{}')::text[];

-- name: ListJobs :many
select * from weir.jobs j
where j.id = any (array(select p.id from weir.filter_job_ids(sqlc.arg(ids)::bigint[], sqlc.arg(filter)::jsonb) p(id)
  order by case when sqlc.arg(rising)::boolean then p.id else -p.id end limit sqlc.arg(max_jobs)::int))
order by case when sqlc.arg(rising)::boolean then j.id else -j.id end;

-- name: Timeline :many
select t.at::timestamptz as at, t.event::text as event, t.attempt::smallint as attempt,
  coalesce(t.worker, '')::text as worker, coalesce(t.cause, '')::text as cause,
  greatest(t.run_at) as run_at, weir.shown_detail(t.detail, sqlc.narg(tenant)::text)::jsonb as detail
from weir.timeline(sqlc.arg(job_id)::bigint) with ordinality t(at, event, attempt, worker, cause, run_at, detail, n)
where t.n > sqlc.arg(after)::bigint order by t.n limit sqlc.arg(max_moments)::int;

-- name: Why :many
select w.code::text as code, w.message::text as message, w.detail::jsonb as detail
  from weir.why_job(sqlc.arg(job_id)::bigint, coalesce(sqlc.narg(tenant)::text <> (select coalesce(q.tenant, '')
    from weir.job j join weir.queue q on q.id = j.queue_id where j.id = sqlc.arg(job_id)::bigint), false),
    sqlc.narg(tenant)::text) with ordinality w(code, message, detail, n) order by w.n;

-- name: FilterJobIDs :many
select passing::bigint from weir.filter_job_ids(sqlc.arg(ids)::bigint[], sqlc.arg(filter)::jsonb) passing
order by passing desc;

-- name: SortJobIDs :many
select s.id::bigint as id, s.key::float8 as key from weir.sort_job_ids(sqlc.arg(ids)::bigint[], sqlc.arg(sort)::text,
  sqlc.narg(after_key)::float8, sqlc.arg(after_id)::bigint, sqlc.arg(most)::int) s;

-- In the order of the ids, so that a page that is cut is a beginning.
-- name: JobsInOrder :many
select * from weir.jobs j where j.id = any (sqlc.arg(ids)::bigint[])
order by array_position(sqlc.arg(ids)::bigint[], j.id);
