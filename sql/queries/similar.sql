-- name: SimilarCandidates :many
select coalesce(c.id, 0)::bigint as id, coalesce(c.queue, '')::text as queue, coalesce(c.state, '')::text as state,
  coalesce(c.created_at, 'epoch')::timestamptz as created_at, c.args::jsonb as args,
  coalesce(c.args_equal, false)::boolean as args_equal, coalesce(c.error_type, '')::text as error_type,
  coalesce(c.failed, false)::boolean as failed, c.looked_at::int as looked_at, c.cut::boolean as cut
from weir.similar_candidates(sqlc.arg(job_id)::bigint, sqlc.narg(bounds)::jsonb) c;
