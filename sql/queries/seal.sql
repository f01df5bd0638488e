-- name: TryChoreLock :one
select pg_try_advisory_xact_lock(hashtext('weir'), hashtext(sqlc.arg(what)::text))::boolean;

-- name: SealStep :one
select coalesce(s.partition, -1)::int as partition, coalesce(s.statement, '')::text as statement
  from weir.seal_step() s;
