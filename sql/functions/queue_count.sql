-- Counts of large queues. weir.queue_depth counts up to two thousand jobs each time. Where there are more, it takes
-- what was counted here in the last half minute, so that dashboards of a large backlog do not count it with each call.
-- One session at a time counts for all nodes. Without nodes the view counts alone.

create or replace function weir.few_jobs() returns int language sql immutable return 2000;
comment on function weir.few_jobs() is 'Internal. How many jobs of a queue weir.queue_depth counts each time.';

create or replace function weir.has_large_queues() returns boolean language sql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select (select count(*) from (select from weir.job_scheduled limit weir.few_jobs()) x) = weir.few_jobs()
    or (select count(*) from (select from weir.job_held limit weir.few_jobs()) x) = weir.few_jobs()
    or exists (select from weir.queue q cross join lateral (values
        ((select count(*) from (select from weir.job_ready r where r.queue_id = q.ready_id limit weir.few_jobs()) x)),
        ((select count(*) from (select from weir.job_ready r where q.governed and r.queue_id = q.id
          limit weir.few_jobs()) x)),
        ((select count(*) from (select from weir.job_dead d where d.queue_id = q.id limit weir.few_jobs()) x))) n(jobs)
      where q.deleted_at is null and n.jobs = weir.few_jobs())
$$;
comment on function weir.has_large_queues() is 'Internal. Whether a queue has more jobs than are counted each time.';

-- Locks: the turn count_queues, with a try.
create or replace function weir.count_queues(every interval default '10 s') returns boolean language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  now_at timestamptz := clock_timestamp();
begin
  if exists (select from weir.queue_count c where c.counted_at > now_at - every) or not weir.try_turn('count_queues')
  then
    return false;
  elsif not weir.has_large_queues() then
    delete from weir.queue_count;
    return false;
  end if;
  delete from weir.queue_count;
  insert into weir.queue_count (queue_id, counted_at, available, admitting, scheduled, retryable, held, dead,
    next_run_at, exact)
  select q.id, now_at, a.count, g.count, coalesce(s.scheduled, 0), coalesce(s.retryable, 0), coalesce(h.count, 0),
    d.count, s.next_run_at, coalesce(s.total, 0) < 200000 and coalesce(h.total, 0) < 200000
  from weir.queue q
  cross join lateral (
    select count(*) from (select from weir.job_ready r where r.queue_id = q.ready_id limit 100000) x) a
  cross join lateral (
    select count(*) from (select from weir.job_ready r where q.governed and r.queue_id = q.id limit 100000) x) g
  cross join lateral (
    select count(*) from (select from weir.job_dead x where x.queue_id = q.id limit 100000) x) d
  left join (
    select x.queue_id, count(*) filter (where not x.retryable) as scheduled,
      count(*) filter (where x.retryable) as retryable, min(x.run_at) as next_run_at,
      sum(count(*)) over () as total
    from (select * from weir.job_scheduled order by run_at limit 200000) x group by x.queue_id) s on s.queue_id = q.id
  left join (
    select x.queue_id, count(*), sum(count(*)) over () as total
    from (select y.queue_id from weir.job_held y limit 200000) x group by x.queue_id) h on h.queue_id = q.id
  where q.deleted_at is null;
  return true;
end $$;
comment on function weir.count_queues(interval) is
  'Counts the jobs of all queues for weir.queue_depth, if one has many, and the last count is older than `every`. '
  'Returns whether it did. Every node calls it.';
