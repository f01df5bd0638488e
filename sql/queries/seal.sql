-- name: TryTurn :one
select weir.try_turn(sqlc.arg(what)::text)::boolean;

-- name: SealStep :one
select coalesce(s.partition, -1)::int as partition, coalesce(s.statement, '')::text as statement
  from weir.seal_step() s;
