-- The window of a chart begins with a whole bucket, and ends now.
-- name: StatsSpan :one
select date_bin(make_interval(secs => sqlc.arg(bucket_seconds)::int),
    s.now - make_interval(secs => sqlc.arg(window_seconds)::int), 'epoch')::timestamptz as since,
  s.now::timestamptz as until, least(weir.counted_until(), s.now)::timestamptz as counted_until,
  (sqlc.narg(queue)::text is not null
    and not weir.is_counted(sqlc.narg(bounds)::jsonb, sqlc.narg(queue)::text))::boolean as queue_is_missing
from (select clock_timestamp() as now) s;

-- name: StatsThroughput :many
select b.at::timestamptz as at, coalesce(sum(b.enqueued), 0)::bigint as enqueued,
  coalesce(sum(b.completed), 0)::bigint as completed, coalesce(sum(b.completed_later), 0)::bigint as completed_later,
  coalesce(sum(b.dead), 0)::bigint as dead, coalesce(sum(b.cancelled), 0)::bigint as cancelled,
  coalesce(sum(b.failed), 0)::bigint as failed, coalesce(sum(b.timed_out), 0)::bigint as timed_out,
  coalesce(sum(b.lost), 0)::bigint as lost, coalesce(sum(b.snoozed), 0)::bigint as snoozed,
  coalesce(sum(b.released), 0)::bigint as released, coalesce(sum(b.rerun), 0)::bigint as rerun,
  coalesce(max(b.wait_longest), 0)::float8 as wait_longest, coalesce(max(b.run_longest), 0)::float8 as run_longest
from (
  select date_bin(make_interval(secs => sqlc.arg(bucket_seconds)::int), r.at, 'epoch') as at, r.enqueued, r.completed,
    r.completed_later, r.dead, r.cancelled, r.failed, r.timed_out, r.lost, r.snoozed, r.released, r.rerun,
    r.wait_longest, r.run_longest
  from weir.stats_rows(sqlc.arg(since)::timestamptz, sqlc.arg(until)::timestamptz, sqlc.arg(grain)::int,
    sqlc.narg(bounds)::jsonb, sqlc.narg(queue)::text, sqlc.narg(kind)::text, sqlc.narg(tenant)::text) r
) b group by b.at order by b.at;

-- The row without a time is of the whole window: it merges the buckets, not their rows once more.
-- name: StatsTimes :many
with counted as materialized (
  select b.at, weir.merge_histograms(b.times) as times, sum(b.seconds) as seconds, max(b.longest) as longest
  from (
    select date_bin(make_interval(secs => sqlc.arg(bucket_seconds)::int), r.at, 'epoch') as at,
      case when sqlc.arg(runs)::boolean then r.runs else r.waits end as times,
      case when sqlc.arg(runs)::boolean then r.run_seconds else r.wait_seconds end as seconds,
      case when sqlc.arg(runs)::boolean then r.run_longest else r.wait_longest end as longest
    from weir.stats_rows(sqlc.arg(since)::timestamptz, sqlc.arg(until)::timestamptz, sqlc.arg(grain)::int,
      sqlc.narg(bounds)::jsonb, sqlc.narg(queue)::text, sqlc.narg(kind)::text, sqlc.narg(tenant)::text) r
  ) b group by b.at
)
select greatest(m.at) as at, coalesce(n.count, 0)::bigint as count,
  coalesce(m.seconds / nullif(n.count, 0), 0)::float8 as mean,
  coalesce(least(weir.percentile(m.times, 0.5), m.longest), 0)::float8 as p50,
  coalesce(least(weir.percentile(m.times, 0.9), m.longest), 0)::float8 as p90,
  coalesce(least(weir.percentile(m.times, 0.95), m.longest), 0)::float8 as p95,
  coalesce(least(weir.percentile(m.times, 0.99), m.longest), 0)::float8 as p99,
  coalesce(m.longest, 0)::float8 as longest
from (
  select c.at, c.times, c.seconds, c.longest from counted c
  union all
  select null, weir.merge_histograms(c.times), sum(c.seconds), max(c.longest) from counted c
) m cross join lateral (select sum(x)::bigint as count from unnest(m.times) x) n
order by m.at nulls last;

-- What the first page of a dashboard needs of a window, in one reading of its rows.
-- name: StatsTotals :one
select m.enqueued::bigint as enqueued, m.completed::bigint as completed, m.completed_later::bigint as completed_later,
  m.dead::bigint as dead, m.cancelled::bigint as cancelled, m.failed::bigint as failed,
  m.timed_out::bigint as timed_out, m.lost::bigint as lost, m.snoozed::bigint as snoozed,
  m.released::bigint as released, m.rerun::bigint as rerun,
  w.count::bigint as waits, coalesce(m.wait_seconds / nullif(w.count, 0), 0)::float8 as wait_mean,
  coalesce(least(weir.percentile(m.waits, 0.5), m.wait_longest), 0)::float8 as wait_p50,
  coalesce(least(weir.percentile(m.waits, 0.9), m.wait_longest), 0)::float8 as wait_p90,
  coalesce(least(weir.percentile(m.waits, 0.95), m.wait_longest), 0)::float8 as wait_p95,
  coalesce(least(weir.percentile(m.waits, 0.99), m.wait_longest), 0)::float8 as wait_p99,
  m.wait_longest::float8 as wait_longest,
  r.count::bigint as runs, coalesce(m.run_seconds / nullif(r.count, 0), 0)::float8 as run_mean,
  coalesce(least(weir.percentile(m.runs, 0.5), m.run_longest), 0)::float8 as run_p50,
  coalesce(least(weir.percentile(m.runs, 0.9), m.run_longest), 0)::float8 as run_p90,
  coalesce(least(weir.percentile(m.runs, 0.95), m.run_longest), 0)::float8 as run_p95,
  coalesce(least(weir.percentile(m.runs, 0.99), m.run_longest), 0)::float8 as run_p99,
  m.run_longest::float8 as run_longest
from (
  select coalesce(sum(x.enqueued), 0) as enqueued, coalesce(sum(x.completed), 0) as completed,
    coalesce(sum(x.completed_later), 0) as completed_later, coalesce(sum(x.dead), 0) as dead,
    coalesce(sum(x.cancelled), 0) as cancelled, coalesce(sum(x.failed), 0) as failed,
    coalesce(sum(x.timed_out), 0) as timed_out, coalesce(sum(x.lost), 0) as lost,
    coalesce(sum(x.snoozed), 0) as snoozed, coalesce(sum(x.released), 0) as released,
    coalesce(sum(x.rerun), 0) as rerun, sum(x.wait_seconds) as wait_seconds, sum(x.run_seconds) as run_seconds,
    coalesce(max(x.wait_longest), 0) as wait_longest, coalesce(max(x.run_longest), 0) as run_longest,
    weir.merge_histograms(x.waits) as waits, weir.merge_histograms(x.runs) as runs
  from weir.stats_rows(sqlc.arg(since)::timestamptz, sqlc.arg(until)::timestamptz, sqlc.arg(grain)::int,
    sqlc.narg(bounds)::jsonb, sqlc.narg(queue)::text, sqlc.narg(kind)::text, sqlc.narg(tenant)::text) x
) m cross join lateral (select coalesce(sum(n), 0) as count from unnest(m.waits) n) w
  cross join lateral (select coalesce(sum(n), 0) as count from unnest(m.runs) n) r;

-- The most frequent classes, each with how many attempts there were in all.
-- name: StatsFailures :many
select f.kind::text as kind, f.event::text as event, f.type::text as type, sum(f.attempts)::bigint as attempts,
  min(f.first_at)::timestamptz as first_at, max(f.last_at)::timestamptz as last_at,
  ((array_agg(f.last_job_id order by f.last_at desc))[1])::bigint as example_job_id,
  (sum(sum(f.attempts)) over ())::bigint as attempts_of_all
from weir.stats_failures(sqlc.arg(since)::timestamptz, sqlc.arg(until)::timestamptz, sqlc.narg(bounds)::jsonb,
  sqlc.narg(queue)::text, sqlc.narg(kind)::text, sqlc.narg(tenant)::text) f
group by 1, 2, 3 order by sum(f.attempts) desc, max(f.last_at) desc, 1, 2, 3 limit sqlc.arg(most)::int;

-- What each queue, kind or tenant did.
-- name: StatsGroups :many
select g.name::text as name, g.enqueued::bigint as enqueued, g.completed::bigint as completed,
  g.completed_later::bigint as completed_later, g.dead::bigint as dead, g.cancelled::bigint as cancelled,
  g.failed::bigint as failed, g.timed_out::bigint as timed_out, g.lost::bigint as lost, g.snoozed::bigint as snoozed,
  g.released::bigint as released, g.rerun::bigint as rerun, g.run_seconds::float8 as run_seconds
from (
  select case sqlc.arg(groups)::text when 'kind' then r.kind when 'tenant' then r.tenant else q.name end as name,
    sum(r.enqueued) as enqueued,
    sum(r.completed) as completed, sum(r.completed_later) as completed_later, sum(r.dead) as dead,
    sum(r.cancelled) as cancelled, sum(r.failed) as failed, sum(r.timed_out) as timed_out, sum(r.lost) as lost,
    sum(r.snoozed) as snoozed, sum(r.released) as released, sum(r.rerun) as rerun, sum(r.run_seconds) as run_seconds
  from weir.stats_rows(sqlc.arg(since)::timestamptz, sqlc.arg(until)::timestamptz, sqlc.arg(grain)::int,
    sqlc.narg(bounds)::jsonb, sqlc.narg(queue)::text, sqlc.narg(kind)::text, sqlc.narg(tenant)::text,
    sqlc.arg(groups)::text) r
  left join weir.queue q on q.id = r.queue_id
  group by 1
) g where g.name is not null order by g.enqueued + g.completed + g.dead + g.cancelled desc, g.name;

-- The queues with most waiting and those with the oldest job, and the sums of all.
-- name: StatsQueues :many
with depth as materialized (
  select d.* from weir.queue_depth d where weir.is_within(sqlc.narg(bounds)::jsonb, d.tenant, d.queue, null)
    and (sqlc.narg(queue)::text is null or d.queue = sqlc.narg(queue))
    and (sqlc.narg(tenant)::text is null or d.tenant = sqlc.narg(tenant))
), ranked as (
  select d.*, row_number() over (order by d.available desc, d.queue) as by_waiting,
    row_number() over (order by d.oldest_available desc nulls last, d.queue) as by_age from depth d
)
select r.queue::text as queue, r.paused::boolean as paused, r.available::bigint as available,
  coalesce(extract(epoch from r.oldest_available), 0)::float8 as oldest_seconds, r.by_waiting::bigint as by_waiting,
  r.by_age::bigint as by_age, s.available::bigint as all_available, s.running::bigint as all_running,
  s.scheduled::bigint as all_scheduled, s.retryable::bigint as all_retryable, s.held::bigint as all_held,
  s.dead::bigint as all_dead, s.exact::boolean as exact,
  greatest(s.counted_at) as counted_at
from ranked r cross join (
  select sum(d.available) as available, sum(d.running) as running, sum(d.scheduled) as scheduled,
    sum(d.retryable) as retryable, sum(d.held) as held, sum(d.dead) as dead, bool_and(d.exact) as exact,
    min(d.counted_at) as counted_at from depth d) s
where r.by_waiting <= sqlc.arg(most)::int or r.by_age <= sqlc.arg(most)::int order by r.by_waiting;

-- name: StatsFleet :one
select w.active::bigint as active, w.paused::bigint as paused, w.draining::bigint as draining, w.lost::bigint as lost,
  (select count(*) from weir.breaker b where b.state <> 'closed' and b.deleted_at is null
    and weir.reaches(sqlc.narg(bounds)::jsonb - 'queues', substring(b.name from '^(.*)/'), '{}'))::bigint
    as breakers_open,
  (select count(*) from weir.schedules s where s.due_at <= clock_timestamp() and s.state <> 'paused'
    and weir.reaches(sqlc.narg(bounds)::jsonb, s.tenant, s.queues))::bigint as schedules_due
from (select count(*) filter (where x.state = 'active') as active, count(*) filter (where x.state = 'paused') as paused,
    count(*) filter (where x.state = 'draining') as draining, count(*) filter (where x.state = 'lost') as lost
  from weir.workers x where weir.reaches(sqlc.narg(bounds)::jsonb, x.tenant, x.queues)) w;

-- What fired in a window. The slots of a week are kept.
-- name: StatsSchedules :many
select g.name::text as name, g.tenant::text as tenant, g.runs::bigint as runs, g.manual::bigint as manual,
  g.skipped::bigint as skipped, g.missed::bigint as missed, g.refused::bigint as refused,
  coalesce(g.mean, 0)::float8 as mean, coalesce(g.p50, 0)::float8 as p50, coalesce(g.p95, 0)::float8 as p95,
  coalesce(g.longest, 0)::float8 as longest, (count(*) over ())::bigint as schedules
from (
  select x.name, coalesce(x.tenant, '') as tenant, count(*) filter (where x.ran) as runs,
    count(*) filter (where x.ran and x.manual) as manual, count(*) filter (where x.outcome = 'skipped') as skipped,
    count(*) filter (where x.outcome = 'missed') as missed, count(*) filter (where x.outcome = 'refused') as refused,
    avg(x.late) as mean, percentile_disc(0.5) within group (order by x.late) as p50,
    percentile_disc(0.95) within group (order by x.late) as p95, max(x.late) as longest
  from (
    select s.name, s.tenant, r.manual, r.outcome, r.outcome in ('enqueued', 'duplicate') as ran,
      case when r.outcome in ('enqueued', 'duplicate') and not r.manual
        then greatest(date_part('epoch', r.fired_at - r.due_at), 0) end as late
    from weir.schedule_slot r join weir.schedule s on s.id = r.schedule_id
    where r.fired_at >= sqlc.arg(since)::timestamptz and r.fired_at < sqlc.arg(until)::timestamptz
      and s.deleted_at is null and weir.reaches(sqlc.narg(bounds)::jsonb, s.tenant, s.queues)
  ) x group by 1, 2
) g order by g.longest desc nulls last, g.name, g.tenant limit sqlc.arg(most)::int;

-- name: StatsWorkflows :many
select g.name::text as name, g.completed::bigint as completed, g.failed::bigint as failed,
  g.cancelled::bigint as cancelled, g.mean::float8 as mean, g.p50::float8 as p50, g.p95::float8 as p95,
  g.longest::float8 as longest, (sum(g.completed + g.failed + g.cancelled) over ())::bigint as ended_of_all
from (
  select x.name, count(*) filter (where x.state = 'completed') as completed,
    count(*) filter (where x.state = 'failed') as failed, count(*) filter (where x.state = 'cancelled') as cancelled,
    avg(x.took) as mean, percentile_disc(0.5) within group (order by x.took) as p50,
    percentile_disc(0.95) within group (order by x.took) as p95, max(x.took) as longest
  from (
    select w.name, w.state, greatest(date_part('epoch', w.finished_at - w.created_at), 0) as took from weir.workflow w
    where w.finished_at >= sqlc.arg(since)::timestamptz and w.finished_at < sqlc.arg(until)::timestamptz
      and weir.sees_workflow(sqlc.narg(bounds)::jsonb, w.id, w.tenant, w.principal)
  ) x group by 1
) g order by g.completed + g.failed + g.cancelled desc, g.name limit sqlc.arg(most)::int;

-- What each worker did, the busiest first, and what it is now; each row with the sums of all workers.
-- name: StatsWorkers :many
select g.worker::text as name, coalesce(w.state, 'gone')::text as state, coalesce(w.version, '')::text as version,
  coalesce(w.tenant, '')::text as tenant, greatest(w.capacity) as capacity, coalesce(w.running, 0)::bigint as running,
  g.completed::bigint as completed, g.failed::bigint as failed, g.timed_out::bigint as timed_out,
  g.lost::bigint as lost, g.snoozed::bigint as snoozed, g.released::bigint as released,
  g.busy_seconds::float8 as busy_seconds, coalesce(g.run_seconds / nullif(g.completed, 0), 0)::float8 as mean_run,
  coalesce(least(weir.percentile(g.runs, 0.95), g.run_longest), 0)::float8 as p95_run, g.run_longest::float8 as longest,
  (sum(g.completed) over ())::bigint as completed_of_all, (sum(g.failed) over ())::bigint as failed_of_all,
  (sum(g.timed_out) over ())::bigint as timed_out_of_all, (sum(g.lost) over ())::bigint as lost_of_all,
  (sum(g.snoozed) over ())::bigint as snoozed_of_all, (sum(g.released) over ())::bigint as released_of_all,
  (sum(g.busy_seconds) over ())::float8 as busy_seconds_of_all
from (
  select r.worker, sum(r.completed) as completed, sum(r.failed) as failed, sum(r.timed_out) as timed_out,
    sum(r.lost) as lost, sum(r.snoozed) as snoozed, sum(r.released) as released, sum(r.busy_seconds) as busy_seconds,
    sum(r.run_seconds) as run_seconds, max(r.run_longest) as run_longest, weir.merge_histograms(r.runs) as runs
  from weir.stats_work(sqlc.arg(since)::timestamptz, sqlc.arg(until)::timestamptz, sqlc.arg(whole_hours)::boolean) r
  group by r.worker
) g left join weir.workers w on w.name = g.worker
where weir.reaches(sqlc.narg(bounds)::jsonb, w.tenant, w.queues)
  and (sqlc.narg(tenant)::text is null or w.tenant = sqlc.narg(tenant))
order by g.completed + g.failed + g.timed_out + g.lost desc, g.worker limit sqlc.arg(most)::int;

-- name: ForecastQueue :one
select f.waiting::bigint as waiting, f.exact::boolean as exact, f.enqueued_per_second::float8 as enqueued_per_second,
  f.ended_per_second::float8 as ended_per_second, f.since::timestamptz as since, f.until::timestamptz as until,
  f.outlook::text as outlook, greatest(f.gone_at) as gone_at, greatest(f.gone_without_more_at) as gone_without_more_at
from weir.queue_outlook(sqlc.arg(queue)::text, sqlc.arg(window_seconds)::int) f;
