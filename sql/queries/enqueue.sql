-- name: EnqueueBatch :many
select job_id::bigint, duplicate::boolean, priority::smallint, max_attempts::smallint, timeout_seconds::int,
  greatest(run_at) as run_at,
  created_at::timestamptz, coalesce(state, '')::text as state, coalesce(imposed, '')::text as tenant
from weir.enqueue_batch(sqlc.arg(jobs)::jsonb, principals => sqlc.narg(principals)::int[]);

-- name: EnqueueBatchOnce :many
select job_id::bigint, duplicate::boolean
from weir.enqueue_batch_once(sqlc.arg(key)::text, sqlc.arg(tenant)::text, sqlc.arg(jobs)::jsonb,
  sqlc.narg(principals)::int[]);

-- name: EnqueueFollowUps :many
select job_id::bigint
from weir.enqueue_batch(weir.follow_ups(sqlc.arg(parent)::bigint, sqlc.arg(jobs)::jsonb),
  principals => sqlc.narg(principals)::int[]);
