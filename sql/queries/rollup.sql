-- name: RollUp :one
select r.did::text as did, r.counted::bigint as counted, coalesce(extract(epoch from clock_timestamp() - r.until),
  0)::float8 as behind_seconds from weir.roll_up() r;

-- name: SweepRollups :one
select weir.sweep_rollups(most => sqlc.arg(most)::int)::int;
