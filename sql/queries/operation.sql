-- name: StartOperation :one
select weir.start_operation(sqlc.arg(kind)::text, sqlc.arg(filter)::jsonb, sqlc.narg(rate_per_second)::float8,
  sqlc.arg(keep_attempts)::boolean, sqlc.narg(by)::text, sqlc.arg(options)::jsonb)::bigint;

-- name: ListOperations :many
select * from weir.operation o
where o.id < sqlc.arg(before)::bigint and (sqlc.narg(id)::bigint is null or o.id = sqlc.narg(id))
  and (sqlc.narg(kind)::text is null or o.kind = sqlc.narg(kind))
    and (sqlc.narg(state)::text is null or o.state = sqlc.narg(state))
  and (sqlc.narg(tenant)::text is null or o.bounds ->> 'tenant' = sqlc.narg(tenant))
    and (sqlc.narg(principal)::int is null or (o.bounds ->> 'principal')::int = sqlc.narg(principal))
order by o.id desc limit sqlc.arg(max_operations)::int;

-- name: CancelOperation :exec
select weir.cancel_operation(sqlc.arg(operation_id)::bigint);

-- Those that have not begun, or whose batch is overdue: the node that was at it is gone.
-- name: IdleOperations :many
select o.id from weir.operation o where o.finished_at is null and o.next_at < clock_timestamp() - case
  when o.started_at is null then interval '0' else interval '3 s' end order by o.next_at limit 100;

-- name: RunOperation :one
select over::boolean, wait_seconds::float8 from weir.run_operation(sqlc.arg(operation_id)::bigint, sqlc.arg(most)::int);

-- name: SweepOperations :one
select weir.sweep_operations(sqlc.arg(most)::int)::int;

-- name: CountFilteredJobs :one
select c.total::bigint as total, c.exact::boolean as exact, clock_timestamp()::timestamptz as now
  from weir.count_jobs(sqlc.arg(filter)::jsonb, sqlc.arg(kind)::text) c;

-- name: OptionsProblem :one
select coalesce(weir.options_problem(sqlc.arg(kind)::text, sqlc.arg(filter)::jsonb, sqlc.arg(options)::jsonb),
  '{}')::text[];

-- name: OperationResult :one
select coalesce(weir.read_export(sqlc.arg(operation_id)::bigint, sqlc.arg(n)::int), '')::text;

-- name: SweepExports :one
select weir.sweep_exports(sqlc.arg(most)::int)::int;
