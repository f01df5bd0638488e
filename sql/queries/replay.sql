-- name: Replay :one
select weir.replay_as(sqlc.arg(job_id)::bigint, sqlc.arg(changes)::jsonb, sqlc.arg(principal)::int)::bigint as id;

-- name: DryRunReplay :one
select weir.explain_enqueue(weir.replayed_job(sqlc.arg(job_id)::bigint, sqlc.arg(changes)::jsonb),
  sqlc.narg(tenant)::text)::jsonb as answer;
