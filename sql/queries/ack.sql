-- name: CompleteMany :many
select accepted::bigint from weir.complete_many(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[],
  sqlc.arg(results)::jsonb[]) accepted;

-- name: LockLeases :exec
select weir.lock_leases(sqlc.arg(job_ids)::bigint[]);

-- name: FailMany :many
select job_id::bigint, state::text, greatest(run_at) as run_at
  from weir.fail_many(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[], sqlc.arg(errors)::jsonb[],
  (select array_agg(case when s <> 'NaN' then make_interval(secs => s) end order by n)
    from unnest(sqlc.arg(retry_in_seconds)::float8[]) with ordinality u(s, n)),
  sqlc.arg(retries)::boolean[]);

-- name: SnoozeMany :many
select accepted::bigint from weir.snooze_many(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[],
  (select array_agg(make_interval(secs => s) order by n) from unnest(sqlc.arg(delay_seconds)::float8[]) with
    ordinality u(s, n))) accepted;

-- name: ReleaseMany :many
select accepted::bigint from weir.release_many(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[]) accepted;

-- name: Heartbeat :many
select job_id::bigint, expires_at::timestamptz, cancel_requested::boolean
from weir.heartbeat(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[], sqlc.narg(lease_seconds)::int,
  sqlc.arg(progress)::jsonb[]);

-- name: JobsThatExist :many
select id from weir.job where id = any (sqlc.arg(job_ids)::bigint[]);
