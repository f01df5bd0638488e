-- name: TouchWorkers :exec
select weir.touch_workers(sqlc.arg(names)::text[], sqlc.arg(seconds_ago)::float8[]);

-- name: ListWorkers :many
select w.name::text as name, w.state::text as state, coalesce(w.hostname, '')::text as hostname,
  coalesce(w.version, '')::text as version, w.queues::text[] as queues, w.labels::jsonb as labels,
  greatest(w.capacity) as capacity, w.running::bigint as running, greatest(w.load) as load,
    w.registered_at::timestamptz as registered_at, w.last_seen_at::timestamptz as last_seen_at,
  greatest(w.paused_at) as paused_at, greatest(w.draining_at) as draining_at
from weir.workers w
where w.name > sqlc.arg(after)::text and (sqlc.narg(name)::text is null or w.name = sqlc.narg(name))
  and (sqlc.narg(state)::text is null or w.state = sqlc.narg(state))
  and (sqlc.narg(queue)::text is null or sqlc.narg(queue) = any (w.queues))
  and (sqlc.narg(hostname)::text is null or w.hostname = sqlc.narg(hostname))
order by w.name
limit sqlc.arg(max_workers)::int;

-- name: CountWorkers :many
select w.state::text as state, count(*)::bigint as workers from weir.workers w group by w.state;

-- name: RegisterWorker :exec
select weir.register_worker(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb);

-- name: EditWorker :exec
select weir.edit_worker(sqlc.arg(name)::text, sqlc.arg(changes)::jsonb);

-- name: WorkerHeartbeat :one
select state::text as state, greatest(capacity) as capacity, registered::boolean as registered
  from weir.worker_heartbeat(sqlc.arg(name)::text, sqlc.narg(load)::float8);

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
select weir.require_worker(sqlc.arg(name)::text);

-- name: WorkerHistory :many
select job_id::bigint, kind::text, queue::text, attempt::smallint, outcome::text, started_at::timestamptz,
  ended_at::timestamptz, coalesce(error, '')::text as error
from weir.worker_history(sqlc.arg(worker)::text, sqlc.arg(since)::timestamptz, sqlc.arg(before)::timestamptz,
  sqlc.narg(before_job)::bigint, sqlc.arg(max_rows)::int);

-- name: OldestJob :one
select coalesce((select j.created_at from weir.job j order by j.id limit 1),
  clock_timestamp())::timestamptz as created_at, clock_timestamp()::timestamptz as now;

-- name: WorkerStats :many
select worker::text, completed::bigint, failed::bigint, extract(epoch from busy)::float8 as busy_seconds
from weir.worker_stats(make_interval(secs => sqlc.arg(window_seconds)::float8), sqlc.narg(worker)::text);
