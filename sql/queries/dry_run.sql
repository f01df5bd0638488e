-- name: DryRun :one
select weir.explain_enqueue(sqlc.arg(job)::jsonb, sqlc.narg(tenant)::text)::jsonb as answer;
