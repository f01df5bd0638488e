-- name: TouchWorkers :exec
select weir.touch_workers(sqlc.arg(names)::text[], sqlc.arg(seconds_ago)::float8[]);

-- name: ListWorkers :many
select w.name::text as name, w.state::text as state, coalesce(w.hostname, '')::text as hostname,
  coalesce(w.version, '')::text as version, w.queues::text[] as queues, w.labels::jsonb as labels,
  greatest(w.capacity) as capacity, w.running::bigint as running, greatest(w.load) as load,
    w.registered_at::timestamptz as registered_at, w.last_seen_at::timestamptz as last_seen_at,
  greatest(w.paused_at) as paused_at, greatest(w.draining_at) as draining_at, coalesce(w.tenant, '')::text as tenant
from weir.workers w
where w.name > sqlc.arg(after)::text and (sqlc.narg(name)::text is null or w.name = sqlc.narg(name))
  and (sqlc.narg(state)::text is null or w.state = sqlc.narg(state))
  and (sqlc.narg(queue)::text is null or sqlc.narg(queue) = any (w.queues))
  and (sqlc.narg(hostname)::text is null or w.hostname = sqlc.narg(hostname))
  -- one that is no more than a worker sees its own, and those without an owner unless it has a tenant
  and case when sqlc.narg(worker)::int is null then weir.reaches(sqlc.narg(bounds)::jsonb, w.tenant, w.queues)
    else w.principal = sqlc.narg(worker)
      or w.principal is null and w.tenant is null and sqlc.narg(bounds)::jsonb ->> 'tenant' is null end
order by w.name
limit sqlc.arg(max_workers)::int;

-- name: CountWorkers :many
select w.state::text as state, count(*)::bigint as workers from weir.workers w group by w.state;

-- name: RegisterWorker :exec
select weir.register_worker_as(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb, sqlc.narg(caller)::jsonb);

-- name: EditWorker :exec
select weir.edit_worker(sqlc.arg(name)::text, sqlc.arg(changes)::jsonb);

-- name: WorkerHeartbeat :one
select state::text as state, greatest(capacity) as capacity, registered::boolean as registered
  from weir.worker_heartbeat_as(sqlc.arg(name)::text, sqlc.narg(load)::float8, sqlc.narg(caller)::jsonb);

-- name: PauseWorker :exec
select weir.pause_worker(sqlc.arg(name)::text);

-- name: DrainWorker :exec
select weir.drain_worker(sqlc.arg(name)::text);

-- name: ResumeWorker :exec
select weir.resume_worker(sqlc.arg(name)::text);

-- name: RemoveWorker :one
select weir.remove_worker(sqlc.arg(name)::text)::int;

-- name: SweepWorkers :one
select weir.sweep_workers()::int;

-- name: RequireWorker :exec
select weir.require_worker(sqlc.arg(name)::text, sqlc.narg(bounds)::jsonb);

-- name: WorkerHistory :many
select h.job_id::bigint as job_id, h.kind::text as kind, h.queue::text as queue, h.attempt::smallint as attempt,
  h.outcome::text as outcome, h.started_at::timestamptz as started_at, h.ended_at::timestamptz as ended_at,
  coalesce(h.error, '')::text as error,
  (sqlc.narg(bounds)::jsonb is null or exists (select from weir.job j where j.id = h.job_id
    and weir.is_within(sqlc.narg(bounds)::jsonb, j.tenant, h.queue, j.principal)))::boolean as within
from weir.worker_history(sqlc.arg(worker)::text, sqlc.arg(since)::timestamptz, sqlc.arg(before)::timestamptz,
  sqlc.narg(before_job)::bigint, sqlc.arg(max_rows)::int) h;

-- name: OldestJob :one
select coalesce((select j.created_at from weir.job j order by j.id limit 1),
  clock_timestamp())::timestamptz as created_at, clock_timestamp()::timestamptz as now;

-- name: WorkerStats :many
select worker::text, completed::bigint, failed::bigint, extract(epoch from busy)::float8 as busy_seconds
from weir.worker_stats(make_interval(secs => sqlc.arg(window_seconds)::float8), sqlc.narg(worker)::text);
