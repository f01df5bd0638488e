-- Each answers a row for each job: an empty refusal where the ack was accepted, or else stale_token or not_found.

-- name: CompleteBatch :many
select job_id::bigint, coalesce(refusal, '')::text as refusal
from weir.complete_batch(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[], sqlc.arg(results)::jsonb[]);

-- name: FailBatch :many
select job_id::bigint, coalesce(refusal, '')::text as refusal, coalesce(state::text, '')::text as state,
  greatest(run_at) as run_at
from weir.fail_batch(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[], sqlc.arg(errors)::jsonb[],
  (select array_agg(case when s <> 'NaN' then make_interval(secs => s) end order by n)
   from unnest(sqlc.arg(retry_in_seconds)::float8[]) with ordinality u(s, n)),
  sqlc.arg(retries)::boolean[], sqlc.arg(cancels)::boolean[]);

-- name: SnoozeBatch :many
select job_id::bigint, coalesce(refusal, '')::text as refusal
from weir.snooze_batch(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[],
  (select array_agg(make_interval(secs => s) order by n) from unnest(sqlc.arg(delay_seconds)::float8[]) with
    ordinality u(s, n)));

-- name: ReleaseBatch :many
select job_id::bigint, coalesce(refusal, '')::text as refusal
from weir.snooze_batch(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[], null);

-- name: LockLeases :exec
select weir.lock_leases(sqlc.arg(job_ids)::bigint[]);

-- name: Heartbeat :many
select job_id::bigint, expires_at::timestamptz, cancel_requested::boolean, token::bigint
from weir.heartbeat(sqlc.arg(job_ids)::bigint[], sqlc.arg(tokens)::bigint[], sqlc.narg(lease_seconds)::int,
  sqlc.arg(progress)::jsonb[]);

-- name: JobsThatExist :many
select id from weir.job where id = any (sqlc.arg(job_ids)::bigint[]);
