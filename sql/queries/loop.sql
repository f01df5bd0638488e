-- The steps of the loops that every node runs.

-- name: DueWork :one
-- The function is not called where the snapshot is the one that was seen.
select clock_timestamp()::timestamptz as now, s.snapshot::text as snapshot, coalesce(o.drawn, 0)::bigint as drawn,
  o.due_in::float8[] as due_in,
  o.looked_until::timestamptz[] as looked_until
from (select pg_current_snapshot()::text as snapshot) s
left join lateral (
  select l.* from weir.due_work(sqlc.arg(promote_after)::timestamptz, sqlc.narg('expire_after')::timestamptz,
    sqlc.arg(fire_after)::timestamptz, make_interval(secs => sqlc.arg(ahead_seconds)::float8)) l
  where s.snapshot <> sqlc.arg(seen)::text) o on true;

-- name: AdvanceFrontier :one
select tick::bigint, late_tick::bigint, holders::int, fresh::boolean, passed::bigint,
  case when fresh then 0 else coalesce((select extract(epoch from clock_timestamp() - w.at) from weir.watermark w
    order by w.tick desc limit 1), 0) end::float8 as age_seconds
  from weir.advance_frontier(make_interval(secs => sqlc.arg(every_seconds)::float8));

-- name: RecoverClock :one
select r.leases::int as leases, r.retries::int as retries, r.schedules::int as schedules
  from weir.recover_clock(sqlc.arg(sure)::boolean) r;

-- name: RecoverAdmission :exec
select weir.recover_admission();

-- name: PromoteDue :one
select promoted::int, looked_until::timestamptz from weir.promote_due(sqlc.arg(max_jobs)::int,
  sqlc.arg(after)::timestamptz);

-- name: ExpireLeases :one
select expired::int, looked_until::timestamptz from weir.expire_leases(sqlc.arg(max_jobs)::int,
  sqlc.arg(after)::timestamptz);

-- name: ResumeDue :one
select r.resumed::int as resumed, coalesce(extract(epoch from r.next_at - clock_timestamp()),
  -1)::float8 as next_in_seconds from weir.resume_due() r;

-- name: KeepPartitions :one
select weir.keep_partitions()::text;

-- name: CountQueues :one
select weir.count_queues()::boolean;

-- name: DeadRows :many
select s.relname::text as table_name, s.n_dead_tup::bigint as dead, s.n_live_tup::bigint as live,
  pg_relation_size(s.relid)::bigint as bytes
from pg_catalog.pg_stat_user_tables s where s.schemaname = 'weir' and s.relname = any (sqlc.arg(tables)::text[]);

-- name: DatabaseVersion :one
select current_setting('server_version')::text;
