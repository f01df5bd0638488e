-- name: ClaimBatch :many
select job_id::bigint, token::bigint, kind::text, queue::text, args::jsonb, attempt::smallint, max_attempts::smallint, timeout_seconds::int,
  lease_expires_at::timestamptz, priority::smallint, tags::text[], metadata::jsonb, created_at::timestamptz, slot::int, tick::bigint, coalesce(refusal, '')::text as refusal, dependencies::jsonb, degraded::boolean
from weir.claim_batch(sqlc.arg(queues)::text[], sqlc.arg(workers)::text[], sqlc.arg(counts)::int[], sqlc.arg(leases)::int[],
  sqlc.arg(after_tick)::bigint, sqlc.arg(after_positions)::bigint[]);

-- name: Park :exec
select weir.park(sqlc.arg(queues)::text[], sqlc.arg(node)::text, sqlc.arg(seconds)::int);

-- name: Unpark :exec
select weir.unpark(sqlc.arg(queues)::text[], sqlc.arg(node)::text);
