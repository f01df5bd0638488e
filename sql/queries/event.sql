-- name: Settled :one
select settled_at::timestamptz as settled_at, seq::bigint as seq, clock_timestamp()::timestamptz as now
  from weir.settled;

-- name: EventsSince :many
select at::timestamptz, event::text, coalesce(job_id, 0)::bigint as job_id, coalesce(queue, '')::text as queue,
  coalesce(kind, '')::text as kind, coalesce(attempt, 0)::smallint as attempt,
  greatest(worker) as worker, greatest(run_at) as run_at, error::jsonb,
    coalesce(workflow_id, 0)::bigint as workflow_id, coalesce(step, '')::text as step,
  coalesce(tenant, '')::text as tenant
from weir.events_since(sqlc.arg(after_at)::timestamptz, sqlc.arg(after_id)::bigint, sqlc.arg(most)::int,
  sqlc.arg(until_at)::timestamptz, sqlc.narg(after_key)::text, sqlc.arg(filter)::jsonb,
  sqlc.arg(most_bytes)::int);

-- name: WorkerStates :many
select w.name::text as name, w.state::text as state from weir.workers w;
