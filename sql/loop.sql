-- The steps of the loops that every node runs.

-- name: AdvanceFrontier :one
select tick::bigint, late_tick::bigint, holders::int, fresh::boolean from weir.advance_frontier(make_interval(secs => sqlc.arg(every_seconds)::float8));

-- name: PromoteDue :one
select promoted::int, looked_until::timestamptz from weir.promote_due(sqlc.arg(max_jobs)::int, sqlc.arg(after)::timestamptz);

-- name: ExpireLeases :one
select expired::int, looked_until::timestamptz from weir.expire_leases(sqlc.arg(max_jobs)::int, sqlc.arg(after)::timestamptz);

-- name: ResumeDue :one
select r.resumed::int as resumed, coalesce(extract(epoch from r.next_at - clock_timestamp()), -1)::float8 as next_in_seconds from weir.resume_due() r;

-- name: KeepPartitions :one
select weir.keep_partitions()::text;

-- name: DeadRows :many
select s.relname::text as table_name, s.n_dead_tup::bigint as dead, s.n_live_tup::bigint as live,
  pg_relation_size(s.relid)::bigint as bytes
from pg_catalog.pg_stat_user_tables s where s.schemaname = 'weir' and s.relname = any (sqlc.arg(tables)::text[]);

-- name: DatabaseVersion :one
select current_setting('server_version')::text;
