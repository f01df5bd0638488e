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

-- One page of candidates for a list, newest first, from the place that the state names. Each reads at most that many
-- rows and no more, whatever else is asked for: ListJobs filters them, and the caller goes on from the last.

-- name: RecentJobIDs :many
select id from weir.job where id < sqlc.arg(before)::bigint order by id desc limit sqlc.arg(max_ids)::int;

-- name: ChildJobIDs :many
select id from weir.job where parent_id = sqlc.arg(parent_id)::bigint and id < sqlc.arg(before)::bigint
  order by id desc limit sqlc.arg(max_ids)::int;

-- name: StepJobIDs :many
select job_id from weir.workflow_step where workflow_id = sqlc.arg(workflow_id)::bigint
  and job_id < sqlc.arg(before)::bigint order by job_id desc limit sqlc.arg(max_ids)::int;

-- name: RunningJobIDs :many
select job_id from weir.job_lease where job_id < sqlc.arg(before)::bigint order by job_id desc
  limit sqlc.arg(max_ids)::int;

-- name: ScheduledJobIDs :many
select job_id from weir.job_scheduled where job_id < sqlc.arg(before)::bigint
  and retryable = sqlc.arg(retryable)::boolean
order by job_id desc limit sqlc.arg(max_ids)::int;

-- name: HeldJobIDs :many
select job_id from weir.job_held where job_id < sqlc.arg(before)::bigint order by job_id desc
  limit sqlc.arg(max_ids)::int;

-- name: DeadJobIDs :many
select job_id from weir.job_dead where job_id < sqlc.arg(before)::bigint order by job_id desc
  limit sqlc.arg(max_ids)::int;

-- name: EndedJobIDs :many
select job_id from weir.job_outcome where job_id < sqlc.arg(before)::bigint order by job_id desc
  limit sqlc.arg(max_ids)::int;

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
