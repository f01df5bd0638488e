-- name: ClaimBatch :many
-- A row with a refusal has no job.
select coalesce(job_id, 0)::bigint as job_id, coalesce(token, 0)::bigint as token, coalesce(kind, '')::text as kind,
  coalesce(queue, '')::text as queue, args::jsonb, coalesce(attempt, 0)::smallint as attempt,
  coalesce(max_attempts, 0)::smallint as max_attempts, coalesce(timeout_seconds, 0)::int as timeout_seconds,
  coalesce(lease_expires_at, 'epoch')::timestamptz as lease_expires_at, coalesce(priority, 0)::smallint as priority,
    tags::text[],
  metadata::jsonb, coalesce(created_at, 'epoch')::timestamptz as created_at, slot::int, tick::bigint,
    coalesce(refusal, '')::text as refusal,
  dependencies::jsonb, coalesce(degraded, false)::boolean as degraded
from weir.claim_batch(sqlc.arg(queues)::text[], sqlc.arg(workers)::text[], sqlc.arg(counts)::int[],
  sqlc.arg(leases)::int[],
  sqlc.arg(after_tick)::bigint, sqlc.arg(after_positions)::bigint[], principals => sqlc.arg(principals)::int[]);

-- name: Park :exec
select weir.park(sqlc.arg(queues)::text[], sqlc.arg(node)::text, sqlc.arg(seconds)::int);

-- name: Unpark :exec
select weir.unpark(sqlc.arg(queues)::text[], sqlc.arg(node)::text);
