-- name: SetActor :exec
-- For this transaction: who calls, for weir.record_change.
select set_config('weir.actor', sqlc.arg(actor)::text, true);

-- name: ListAudit :many
-- Newest first, below an id. at is given as bounds too, so that months outside of them are not read.
select a.id, a.at, a.principal, a.principal_kind, a.key_id, a.remote, a.request_id, a.operation, a.object,
  a.before, a.after
from weir.audit_entry a
where a.id < sqlc.arg(before_id)::bigint
  and (sqlc.narg(principal)::text is null or a.principal = sqlc.narg(principal)::text
    or a.key_id = sqlc.narg(principal)::text)
  and (sqlc.narg(operation)::text is null or a.operation = sqlc.narg(operation)::text)
  and (sqlc.narg(object)::text is null or a.object = sqlc.narg(object)::text)
  and a.at >= coalesce(sqlc.narg(after)::timestamptz, '-infinity')
  and a.at < coalesce(sqlc.narg(before)::timestamptz, 'infinity')
order by a.id desc limit sqlc.arg(max_entries)::int;

-- name: KeepAudit :one
select weir.keep_audit(make_interval(days => sqlc.arg(retention_days)::int))::int as dropped;
