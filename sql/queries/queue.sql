-- The view gets the names of the page, so that it counts these queues only, whatever the planner thinks of the join.
-- name: ListQueues :many
with page as materialized (
  select array(select x.name from weir.queue x
    where x.name > sqlc.arg(after)::text and (sqlc.narg(name)::text is null or x.name = sqlc.narg(name))
      and x.deleted_at is null and weir.is_within(sqlc.narg(bounds)::jsonb, x.tenant, x.name, null)
    order by x.name limit sqlc.arg(max_queues)::int) as names
)
select q.name::text as name, d.paused::boolean as paused, case when d.paused
  then greatest(q.paused_at) end as paused_at,
  coalesce(d.pause_reason, '')::text as pause_reason, greatest(d.resume_at) as resume_at,
    q.priority::smallint as priority,
  q.max_attempts::smallint as max_attempts, q.timeout_seconds::int as timeout_seconds,
    q.lease_seconds::int as lease_seconds,
  q.retry::jsonb as retry, coalesce(q.limits, '{}')::jsonb as limits, coalesce(q.tenant, '')::text as tenant,
    q.retention_seconds::int as retention_seconds,
    q.dead_retention_seconds::int as dead_retention_seconds,
  coalesce((select x.name from weir.queue x where x.id = q.dead_letter_queue_id), '')::text as dead_letter_queue,
    coalesce((select b.name from weir.breaker b where b.id = q.breaker_id), '')::text as breaker,
  coalesce((select b.state from weir.breaker b where b.id = q.breaker_id), '')::text as breaker_state,
    coalesce(q.max_depth, 0)::int as max_depth, q.created_at::timestamptz as created_at,
  q.encrypted::boolean as encrypted, d.available::bigint as available, d.running::bigint as running,
    d.scheduled::bigint as scheduled,
    d.retryable::bigint as retryable,
  d.held::bigint as held, d.dead::bigint as dead, d.exact::boolean as exact, greatest(d.counted_at) as counted_at,
  coalesce(extract(epoch from d.oldest_available), 0)::float8 as oldest_available_seconds
from weir.queue q join weir.queue_depth d on d.queue = q.name
where q.name = any ((select p.names from page p)::text[]) and d.queue = any ((select p.names from page p)::text[])
order by q.name;

-- Those of these queues that belong to a tenant.
-- name: TenantsOfQueues :many
select q.name::text as name, q.tenant::text as tenant from weir.queue q
where q.name = any (sqlc.arg(names)::text[]) and q.tenant is not null and q.deleted_at is null;

-- name: SetQueue :exec
select weir.set_queue(sqlc.arg(name)::text, sqlc.arg(settings)::jsonb, sqlc.arg(replace)::boolean);

-- name: DeleteQueue :exec
select weir.delete_queue(sqlc.arg(name)::text);

-- name: PauseQueue :exec
select weir.pause_queue(sqlc.arg(name)::text, sqlc.narg(reason)::text,
  coalesce(sqlc.narg(resume_at)::timestamptz,
    clock_timestamp() + make_interval(secs => sqlc.narg(resume_in_seconds)::float8)));

-- name: ResumeQueue :exec
select weir.resume_queue(sqlc.arg(name)::text);

-- name: PurgeQueue :one
select weir.purge_queue(sqlc.arg(name)::text, sqlc.arg(max_jobs)::int, sqlc.arg(state)::text)::int;

-- name: CountWaiting :one
select weir.count_waiting(sqlc.arg(name)::text, sqlc.arg(state)::text)::bigint;

-- The windows are of whole minutes and the one under way.
-- name: QueueThroughput :many
select (w.minutes * 60)::int as window_seconds, coalesce(sum(x.completed), 0)::bigint as completed,
  coalesce(sum(x.dead), 0)::bigint as dead, coalesce(sum(x.cancelled), 0)::bigint as cancelled,
  round((coalesce(sum(x.completed), 0) / extract(epoch from clock_timestamp() - w.since))::numeric,
    2)::float8 as completed_per_second,
  coalesce(sum(x.run_seconds) / nullif(sum(x.completed), 0), 0)::float8 as mean_run_seconds,
  coalesce(least(weir.percentile(weir.merge_histograms(x.runs), 0.95), max(x.run_longest)),
    0)::float8 as p95_run_seconds
from (select m as minutes, date_bin('1 minute', clock_timestamp(), 'epoch') - make_interval(mins => m) as since
  from unnest(array[1, 5, 60]) m) w
left join (
  select r.at, r.completed, r.dead, r.cancelled, r.run_seconds, r.run_longest, r.runs from weir.rollup r
  where r.queue_id = weir.queue_id(sqlc.arg(name)::text) and r.seconds = 60 and r.tenant = ''
    and r.at >= statement_timestamp() - interval '62 minutes'
  union all
  select r.at, r.completed, r.dead, r.cancelled, r.run_seconds, r.run_longest, r.runs
    from weir.pending_ends(weir.queue_id(sqlc.arg(name)::text), statement_timestamp() - interval '62 minutes') r
) x on x.at >= w.since
group by w.minutes, w.since order by w.minutes;

-- name: QueueFailures :many
select f.kind::text as kind, f.event::text as event, f.type::text as type, f.message::text as message,
  sum(f.attempts)::bigint as count, max(f.last_at)::timestamptz as last_at,
  max(f.last_job_id)::bigint as last_job_id
from (select * from weir.rollup_failure union all select *
  from weir.pending_failures(weir.queue_id(sqlc.arg(name)::text))) f
where f.queue_id = weir.queue_id(sqlc.arg(name)::text) and f.at >= statement_timestamp() - interval '1 day'
group by f.kind, f.event, f.type, f.message order by sum(f.attempts) desc limit 20;

-- The queues with the most jobs, and the sums of the others in one row, under a name that no queue can have.
-- name: CountJobs :many
select case when d.n <= sqlc.arg(most)::int then d.queue else '(other)' end::text as queue,
  sum(d.available)::bigint as available, sum(d.running)::bigint as running, sum(d.scheduled)::bigint as scheduled,
  sum(d.retryable)::bigint as retryable, sum(d.held)::bigint as held, sum(d.dead)::bigint as dead,
  coalesce(extract(epoch from max(d.oldest_available)), 0)::float8 as oldest_available_seconds
from (select x.*, row_number() over (order by x.available + x.running + x.scheduled + x.retryable + x.held + x.dead
  desc,
  x.queue) as n from weir.queue_depth x) d
group by 1;

-- name: WhyQueue :many
select r.code::text as code, r.message::text as message, r.jobs::bigint as jobs, r.detail::jsonb as detail
  from weir.queue_reasons(sqlc.arg(name)::text, sqlc.narg(tenant)::text) with ordinality
    r(code, message, jobs, detail, n)
  order by r.n;
