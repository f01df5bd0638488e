-- name: ExpireNames :one
select weir.expire_names()::int;

-- name: OldPartitions :many
select p.number::int as number, coalesce(p.kept, -1)::int as kept from weir.job_partition p
where p.number < (select s.last_value >> 32 from weir.job_id_seq s) order by p.number;

-- name: RetainPartition :one
select weir.retain_partition(sqlc.arg(number)::int)::text;

-- name: RetainLogs :one
select weir.retain_logs(sqlc.arg(number)::int)::boolean;

-- name: DropPartition :one
select weir.drop_partition(sqlc.arg(number)::int)::boolean;

-- name: SweepUniqueKeys :one
select weir.sweep_unique_keys(sqlc.arg(most)::int)::int;

-- name: SweepResults :one
select weir.sweep_results(sqlc.arg(most)::int)::int;
