-- Due jobs: from job_scheduled to job_ready.

-- Locks: job_scheduled rows, skip locked, so any number of nodes share the work.
create or replace function weir.promote_due(max_jobs int default 1000, after timestamptz default '-infinity',
  out promoted int, out looked_until timestamptz)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off set enable_sort = off as $$
declare
  now_at timestamptz;
  ids bigint[];
  woken int[];
begin
  select w.settled_at into looked_until from weir.watermark w order by w.tick desc limit 1;
  now_at := clock_timestamp();  -- after settled_at: what is due in between is for this look
  ids := array(select s.job_id from weir.job_scheduled s where s.run_at > after and s.run_at <= now_at
    order by s.run_at limit max_jobs for update skip locked);
  promoted := cardinality(ids);
  if promoted > 0 then
    with due as (
      delete from weir.job_scheduled s where s.job_id = any (ids) returning s.*
    ), ordered as (
      select d.* from due d order by d.run_at, d.job_id
    ), ready as (
      insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
      select o.queue_id, o.priority, o.attempt, nextval('weir.job_id_seq'), o.job_id from ordered o
    )
    select array_agg(distinct d.queue_id) into woken from due d;
    perform weir.wake(array(select q.name from weir.queue q where q.id = any (woken)));
  end if;
  -- The next call begins before jobs that are due and still there: they were left for it, or another session has them
  -- locked.
  looked_until := least(looked_until, (select s.run_at - interval '1 us' from weir.job_scheduled s
    where s.run_at > after and s.run_at <= now_at order by s.run_at limit 1));
end $$;
comment on function weir.promote_due(int, timestamptz) is
  'Makes up to max_jobs scheduled jobs available whose run_at has come and lies after `after`. Every node calls it '
  'several times a second, passing looked_until of the last call. Returns how many.';
