-- How deep each queue is and how old its oldest jobs are.

-- Every count has a bound, so that the view stays fast whatever waits: 100,000 available jobs and dead letters of each
-- queue, and over all queues 200,000 held jobs and the 200,000 scheduled ones that are due first. Laterals count only
-- the queues that the caller asks for. What is many is taken from weir.queue_count, k, if that is fresh. OFFSET 0 keeps
-- a count from being made once for each column that it is in, and ORDER BY holds a count of a few to the index.
create or replace view weir.queue_depth as
select q.name as queue, q.paused_at is not null and (q.resume_at > clock_timestamp()) is not false as paused,
  a.count as available, coalesce(l.count, 0) as running,
  case when b.scheduled then coalesce(k.scheduled, 0) else coalesce(s.scheduled, 0) end as scheduled,
  case when b.scheduled then coalesce(k.retryable, 0) else coalesce(s.retryable, 0) end as retryable,
  case when b.held then coalesce(k.held, 0) else coalesce(h.count, 0) end + g.count as held, d.count as dead,
  clock_timestamp() - f.created_at as oldest_available, l.oldest as oldest_running,
  case when b.scheduled then k.next_run_at else s.next_run_at end as next_run_at,
  case when (q.resume_at > clock_timestamp()) is not false then q.pause_reason end as pause_reason,
  case when q.resume_at > clock_timestamp() then q.resume_at end as resume_at,
  a.count < 100000 and g.count < 100000 and d.count < 100000
    and b.bounded and (k.exact or not (b.scheduled or b.held)) is not false as exact,
  q.tenant,
  case when a.before or g.before or d.before or b.scheduled or b.held then k.counted_at end as counted_at
from weir.queue q
left join weir.queue_count k on k.queue_id = q.id and k.counted_at > statement_timestamp() - interval '30 s'
cross join (
  select x.scheduled, x.held,
    (x.scheduled or (select count(*) < 200000 from (select from weir.job_scheduled limit 200000) y))
      and (x.held or (select count(*) < 200000 from (select from weir.job_held limit 200000) y)) as bounded
  from (
    select w.fresh and (select count(*) = 2000 from (select from weir.job_scheduled limit 2000) y) as scheduled,
      w.fresh and (select count(*) = 2000 from (select from weir.job_held limit 2000) y) as held
    from (select exists (select from weir.queue_count c
      where c.counted_at > statement_timestamp() - interval '30 s') as fresh offset 0) w offset 0) x offset 0) b
cross join lateral (
  select case when n.jobs < 2000 then n.jobs when k.queue_id is not null then greatest(k.available, n.jobs)
      else (select count(*) from (select from weir.job_ready r where r.queue_id = q.ready_id limit 100000) x) end
      as count, n.jobs = 2000 and k.queue_id is not null as before
  from (select count(*) as jobs from (select from weir.job_ready r where r.queue_id = q.ready_id
    order by r.priority, r.seq limit 2000) x) n offset 0) a
-- Jobs under the queue's own id that the admitter has not moved into lines yet.
cross join lateral (
  select case when n.jobs < 2000 then n.jobs when k.queue_id is not null then greatest(k.admitting, n.jobs)
      else (select count(*) from (select from weir.job_ready r where r.queue_id = q.id limit 100000) x) end
      as count, n.jobs = 2000 and k.queue_id is not null as before
  from (select count(*) as jobs from (select from weir.job_ready r where q.governed and r.queue_id = q.id
    order by r.priority, r.seq limit 2000) x) n offset 0) g
cross join lateral (
  select case when n.jobs < 2000 then n.jobs when k.queue_id is not null then greatest(k.dead, n.jobs)
      else (select count(*) from (select from weir.job_dead x where x.queue_id = q.id limit 100000) x) end
      as count, n.jobs = 2000 and k.queue_id is not null as before
  from (select count(*) as jobs from (select from weir.job_dead x where x.queue_id = q.id limit 2000) x) n
  offset 0) d
left join (
  select queue_id, count(*), clock_timestamp() - min(leased_at) as oldest from weir.job_lease group by queue_id
) l on l.queue_id = q.id
left join (
  select x.queue_id, count(*) filter (where not x.retryable) as scheduled,
    count(*) filter (where x.retryable) as retryable, min(x.run_at) as next_run_at
  from (select * from weir.job_scheduled
    where not ((select count(*) = 2000 from (select from weir.job_scheduled limit 2000) y)
      and exists (select from weir.queue_count c where c.counted_at > statement_timestamp() - interval '30 s'))
    order by run_at limit 200000) x group by x.queue_id
) s on s.queue_id = q.id
left join (
  select x.queue_id, count(*) from (select queue_id from weir.job_held
    where not ((select count(*) = 2000 from (select from weir.job_held limit 2000) y)
      and exists (select from weir.queue_count c where c.counted_at > statement_timestamp() - interval '30 s'))
    limit 200000) x group by x.queue_id
) h on h.queue_id = q.id
left join lateral (
  select min(j.created_at) as created_at from generate_series(1, 10) p
  cross join lateral (
    select coalesce(r.job_id, r.seq) as job_id from weir.job_ready r
    where r.queue_id = q.ready_id and r.priority = p order by r.seq limit 1) r
  join weir.job j on j.id = r.job_id
) f on true
where q.deleted_at is null;
comment on view weir.queue_depth is
  'How deep and how old: the jobs of each queue by state. Counts stop at a bound (100,000 available jobs and as many '
  'dead letters of each queue; 200,000 held and 200,000 scheduled or retryable jobs of all queues); see exact. '
  'Where nodes count for all, counts of more than 2,000 jobs are up to 30 s old; see counted_at.';
comment on column weir.queue_depth.queue is 'The name of the queue.';
comment on column weir.queue_depth.paused is 'Claims take nothing from it.';
comment on column weir.queue_depth.available is 'Jobs that may be claimed, counted up to 100,000.';
comment on column weir.queue_depth.running is 'Jobs that a worker holds.';
comment on column weir.queue_depth.scheduled is
  'Jobs that wait for their time, among the 200,000 scheduled and retryable jobs of all queues that are due first.';
comment on column weir.queue_depth.retryable is
  'Jobs that failed and wait for their next attempt, counted with scheduled.';
comment on column weir.queue_depth.held is
  'Jobs that wait for something other than a time, counted up to 200,000 of all queues.';
comment on column weir.queue_depth.dead is
  'Dead letters: dead, and neither run again nor purged. Counted up to 100,000.';
comment on column weir.queue_depth.oldest_available is
  'Age of the oldest job among those that are next in each priority.';
comment on column weir.queue_depth.oldest_running is 'Age of the longest-running attempt.';
comment on column weir.queue_depth.next_run_at is 'When the next scheduled job becomes available.';
comment on column weir.queue_depth.pause_reason is 'Why it is paused, if a reason was given.';
comment on column weir.queue_depth.resume_at is 'When the pause ends automatically, if it does.';
comment on column weir.queue_depth.tenant is 'The tenant that the queue belongs to; null: tenants share it.';
comment on column weir.queue_depth.exact is
  'Whether the counts are exact. If not, a count stopped at its bound: there are at least as many jobs.';
comment on column weir.queue_depth.counted_at is
  'When those of its counts were made that are of more than 2,000 jobs: up to 30 s ago, where a node counts them for '
  'all. Null: now.';
