-- Counting what ended, failed or was enqueued in a time, for roll-ups and for the minutes since the last one.
--
-- No index of all partitions has times, so a pass over a time looks into each of them. Readers look once
-- (weir.uncounted), and all that counts for them then looks only into the partitions from the lowest id on. Plans are
-- generic: to plan for all partitions takes longer than to count a minute. An OR keeps them from a scan of the ids: it
-- prunes partitions as >= alone does.

-- One pass over what ended in a time. Facts and earlier events are looked up one by one, which OFFSET 0 holds the
-- planner to: a join might begin with all facts there are.
create or replace function weir.count_ends(from_at timestamptz, until_at timestamptz, of_queue int default null,
  of_tenants boolean default false, lowest bigint default 0)
returns setof weir.rollup language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off
set enable_mergejoin = off set enable_sort = off as $$
declare
  full_of text[] := weir.names_full();
begin
  return query
  with ends as (
    select o.job_id, o.state::text as what, o.started_at, o.finished_at as ended_at, o.attempt
    from weir.job_outcome o where o.finished_at >= from_at and o.finished_at < until_at
      and (o.job_id >= lowest or o.job_id > lowest) and (of_queue is null or o.queue_id = of_queue)
    union all
    select e.job_id, e.detail ->> 'state', (e.detail ->> 'started_at')::timestamptz, weir.ended_at(e.detail), e.attempt
    from weir.job_event e where e.kind in ('retried', 'redriven') and weir.ended_at(e.detail) >= from_at
      and weir.ended_at(e.detail) < until_at and (e.job_id >= lowest or e.job_id > lowest)
    union all
    select e.job_id, case when e.kind in ('retried', 'redriven') then 'rerun' else e.kind::text end, e.started_at,
      e.at, e.attempt
    from weir.job_event e where e.at >= from_at and e.at < until_at
      and (e.job_id >= lowest or e.job_id > lowest)
      and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven')
  ), times as (
    select date_bin('1 minute', x.ended_at, 'epoch') as at, j.queue_id,
      case when full_of = '{}' then j.kind else weir.rollup_name('kind', j.kind, full_of) end as kind,
      case when not of_tenants then '' when full_of = '{}' then j.tenant
        else weir.rollup_name('tenant', j.tenant, full_of) end as tenant, x.what, x.attempt,
      case when x.what = 'completed' then greatest(date_part('epoch', x.ended_at - x.started_at), 0) end as run,
      -- Every attempt that failed has its event, so the outcomes of dead and cancelled jobs add no wait.
      case when x.what in ('completed', 'failed', 'timed_out', 'lost', 'snoozed', 'released')
        and x.started_at is not null then
        greatest(date_part('epoch', x.started_at - coalesce(
          (select max(coalesce(e.run_at, e.at)) from weir.job_event e where e.job_id = x.job_id
            and e.job_id >= lowest and coalesce(e.run_at, e.at) <= x.started_at
             and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven', 'edited')),
          j.run_at, j.created_at)), 0) end as wait
    from ends x cross join lateral (select f.queue_id, f.kind, f.tenant, f.run_at, f.created_at from weir.job f
      where f.id = x.job_id and f.id >= lowest offset 0) j
    where (of_queue is null or j.queue_id = of_queue) and (not of_tenants or j.tenant is not null)
    offset 0
  ), sized as (
    select t.*, weir.time_bucket(t.wait) as wait_bucket, weir.time_bucket(t.run) as run_bucket from times t
  ), summed as (
    select s.at, s.queue_id, s.kind, s.tenant, s.wait_bucket, s.run_bucket, grouping(s.wait_bucket) as no_wait,
      grouping(s.run_bucket) as no_run, count(*) as n,
      count(*) filter (where s.what = 'completed') as completed,
        count(*) filter (where s.what = 'completed' and s.attempt > 1) as completed_later,
      count(*) filter (where s.what = 'dead') as dead, count(*) filter (where s.what = 'cancelled') as cancelled,
      count(*) filter (where s.what = 'failed') as failed, count(*) filter (where s.what = 'timed_out') as timed_out,
        count(*) filter (where s.what = 'lost') as lost,
      count(*) filter (where s.what = 'snoozed') as snoozed, count(*) filter (where s.what = 'released') as released,
        count(*) filter (where s.what = 'rerun') as rerun,
      coalesce(sum(s.wait), 0) as wait_seconds, coalesce(max(s.wait), 0) as wait_longest,
        coalesce(sum(s.run), 0) as run_seconds, coalesce(max(s.run), 0) as run_longest
    from sized s
    group by s.at, s.queue_id, s.kind, s.tenant, grouping sets ((), (s.wait_bucket), (s.run_bucket))
  )
  select s.at, 60, s.queue_id, s.kind, s.tenant, 0::bigint, max(s.completed), max(s.completed_later),
    max(s.dead),
    max(s.cancelled), max(s.failed), max(s.timed_out), max(s.lost),
    max(s.snoozed), max(s.released), max(s.rerun),
    max(s.wait_seconds), max(s.wait_longest), weir.histogram(array_agg(s.wait_bucket) filter (where s.no_wait = 0
      and s.wait_bucket is not null),
      array_agg(s.n::int) filter (where s.no_wait = 0 and s.wait_bucket is not null)),
    max(s.run_seconds), max(s.run_longest), weir.histogram(array_agg(s.run_bucket) filter (where s.no_run = 0
      and s.run_bucket is not null),
      array_agg(s.n::int) filter (where s.no_run = 0 and s.run_bucket is not null))
  from summed s group by s.at, s.queue_id, s.kind, s.tenant;
end $$;
comment on function weir.count_ends(timestamptz, timestamptz, int, boolean, bigint) is
  'Internal. Counts what ended from one time until before another, by minute, queue and kind, of the jobs from lowest '
  'on. of_tenants: only the jobs of tenants, and by tenant as well.';

create or replace function weir.count_failures(from_at timestamptz, until_at timestamptz, of_queue int default null,
  lowest bigint default 0) returns setof weir.rollup_failure
language plpgsql stable set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  full_of text[] := weir.names_full();
begin
  return query
  with failures as (
    select date_bin('1 minute', e.at, 'epoch') as at, j.queue_id, weir.rollup_name('kind', j.kind, full_of) as kind,
      weir.rollup_name('tenant', j.tenant, full_of) as tenant, e.kind as event,
      coalesce(left(e.detail ->> 'type', 100), '') as type,
      coalesce(left(e.detail ->> 'message', 200), '') as message, count(*) as attempts, max(e.at) as last_at,
        max(e.job_id) as last_job_id
    from weir.job_event e cross join lateral (select f.queue_id, f.kind, f.tenant from weir.job f
      where f.id = e.job_id and f.id >= lowest offset 0) j
    where e.at >= from_at and e.at < until_at and e.kind in ('failed', 'timed_out', 'lost')
      and (e.job_id >= lowest or e.job_id > lowest) and (of_queue is null or j.queue_id = of_queue)
    group by 1, 2, 3, 4, 5, 6, 7
  ), ranked as (
    select f.*, row_number() over (partition by f.at, f.queue_id, f.tenant order by f.attempts desc,
      f.last_job_id desc) > 50 as rare from failures f
  )
  select r.at, r.queue_id, r.kind, r.tenant, r.event, case when r.rare then '' else r.type end,
    case when r.rare then '(others)'
    else r.message end,
    sum(r.attempts)::bigint, max(r.last_at), max(r.last_job_id)
  from ranked r group by 1, 2, 3, 4, 5, 6, 7;
end $$;
comment on function weir.count_failures(timestamptz, timestamptz, int, bigint) is
  'Internal. Counts the attempts that failed from one time until before another, by minute, queue, kind, tenant '
  'and error, of the jobs from lowest on.';

create or replace function weir.count_enqueued(low bigint, high bigint, most int default null,
  of_queue int default null)
returns table (at timestamptz, queue_id int, kind text, tenant text, enqueued bigint, highest bigint)
language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
begin
  return query
  select date_bin('1 minute', j.created_at, 'epoch'), j.queue_id, j.kind, coalesce(j.tenant, ''), count(*), max(j.id)
  from (select x.id, x.created_at, x.queue_id, x.kind, x.tenant from weir.job x where x.id > count_enqueued.low
    and x.id <= count_enqueued.high order by x.id limit most) j
  where of_queue is null or j.queue_id = of_queue
  group by 1, 2, 3, 4;
end $$;
comment on function weir.count_enqueued(bigint, bigint, int, int) is
  'Internal. Counts the jobs with ids above low and up to high, the first `most` of them, by minute, queue, '
  'kind and tenant.';

-- Also what has just been rolled up in another session may be in it: the ids only say where to look.
create or replace function weir.uncounted(most int default null, out counted_until timestamptz, out lowest bigint)
language plpgsql stable set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
  n bigint;
  of_event bigint;
begin
  select count(*) into n from (select from weir.job j where j.id > c.seq limit most + 1) x where most is not null;
  if (n <= most) is not false then
    select n + count(*), min(x.job_id) into n, lowest from (
      select o.job_id from weir.job_outcome o where o.finished_at >= c.until limit most + 1) x;
  end if;
  if (n <= most) is not false then
    select n + count(*), min(x.job_id) into n, of_event from (
      select e.job_id from weir.job_event e where e.at >= c.until limit most + 1) x;
  end if;
  counted_until := case when (n <= most) is not false then clock_timestamp() else c.until end;
  lowest := coalesce(least(lowest, of_event), 9223372036854775807);
end $$;
comment on function weir.uncounted(int) is
  'Internal. Up to when numbers are complete that readers count: now, as at most `most` jobs, ends and events (null: '
  'any number) are not rolled up yet; or the last roll-up. lowest: the lowest id of the jobs that these ends and '
  'events are of.';

create or replace function weir.counted_until(most int default 10000) returns timestamptz language sql stable as $$
  select u.counted_until from weir.uncounted(most) u
$$;
comment on function weir.counted_until(int) is
  'Internal. Up to when numbers are complete: now, as at most `most` jobs, ends and events are not rolled up yet; or '
  'the last roll-up.';

create or replace function weir.count_pending(of_queue int, of_tenants boolean, lowest bigint)
returns setof weir.rollup language plpgsql stable as $$
declare
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
  full_of text[] := weir.names_full();
begin
  return query select * from weir.count_ends(c.until, 'infinity', of_queue, of_tenants, lowest);
  return query select e.at, 60, e.queue_id, weir.rollup_name('kind', e.kind, full_of),
    case when of_tenants then weir.rollup_name('tenant', e.tenant, full_of) else '' end, e.enqueued,
    0::bigint, 0::bigint, 0::bigint, 0::bigint,
    0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
    0::float8, 0::float8, '{}'::int[], 0::float8, 0::float8, '{}'::int[]
      from weir.count_enqueued(c.seq, 9223372036854775807, null, of_queue) e
      where not of_tenants or e.tenant <> '';
end $$;
comment on function weir.count_pending(int, boolean, bigint) is
  'Internal. The minutes since the last roll-up, counted now, with the ends of the jobs from lowest on; '
  'of_tenants: only the jobs of tenants, by tenant.';

create or replace function weir.pending_rollup(of_queue int default null, of_tenants boolean default false)
returns setof weir.rollup language sql stable as $$
  select p.* from weir.uncounted() u cross join lateral
    weir.count_pending(of_queue, of_tenants, u.lowest) p
$$;
comment on function weir.pending_rollup(int, boolean) is
  'Internal. The minutes since the last roll-up, counted now; of_tenants: only the jobs of tenants, by tenant.';

-- For one queue, and without the kind and the wait of the jobs, which only their facts and events tell: it reads just
-- the outcomes, about ten times as fast as weir.count_ends.
create or replace function weir.pending_ends(of_queue int, from_at timestamptz)
returns table (at timestamptz, completed bigint, dead bigint, cancelled bigint, run_seconds float8, run_longest float8,
  runs int[]) language plpgsql stable set jit = off set enable_seqscan = off set enable_sort = off as $$
declare
  since timestamptz := greatest(pending_ends.from_at, (select c.until from weir.rollup_cursor c));
begin
  return query
  with ends as (
    select o.state::text as what, o.started_at, o.finished_at as ended_at
    from weir.job_outcome o where o.finished_at >= since and o.queue_id = of_queue
    union all  -- jobs that were run again
    select e.detail ->> 'state', (e.detail ->> 'started_at')::timestamptz, weir.ended_at(e.detail)
    from weir.job_event e where e.kind in ('retried', 'redriven') and weir.ended_at(e.detail) >= since
      and (select j.queue_id from weir.job j where j.id = e.job_id) = of_queue
  ), timed as (
    select date_bin('1 minute', x.ended_at, 'epoch') as at, x.what,
      case when x.what = 'completed' then greatest(date_part('epoch', x.ended_at - x.started_at), 0) end as run
    from ends x offset 0
  ), summed as (
    select t.at, t.what, weir.time_bucket(t.run) as bucket, count(*) as n, sum(t.run) as run, max(t.run) as longest
    from timed t group by 1, 2, 3
  )
  select s.at, coalesce(sum(s.n) filter (where s.what = 'completed'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'dead'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'cancelled'), 0)::bigint,
    coalesce(sum(s.run), 0), coalesce(max(s.longest), 0),
    weir.histogram(array_agg(s.bucket) filter (where s.bucket is not null),
      array_agg(s.n::int) filter (where s.bucket is not null))
  from summed s group by s.at;
end $$;
comment on function weir.pending_ends(int, timestamptz) is
  'Internal. The jobs of a queue that ended since a time and are not rolled up yet, counted now.';

create or replace function weir.pending_failures(of_queue int default null) returns setof weir.rollup_failure
language sql stable as $$
  select f.* from weir.rollup_cursor c cross join weir.uncounted() u
    cross join lateral weir.count_failures(c.until, 'infinity', of_queue, u.lowest) f
$$;
comment on function weir.pending_failures(int) is 'Internal. The failures that are not rolled up yet, counted now.';
