-- Releasing the jobs of a breaker: those that it holds in job_held, and those of the queues that it holds as a whole.

-- First the jobs in job_held, then those at the head of the breaker's queues. Jobs marked with a version pass the gate;
-- jobs without one are plain available jobs. Locks: their rows, skip locked. The caller holds the breaker's lock.
create or replace function weir.release_breaker_jobs(b weir.breaker, most int, version bigint,
  probes boolean default false) returns int language plpgsql as $$
declare
  moved int := 0;
begin
  if most > 0 then
    lock table weir.job_ready in row exclusive mode;  -- before a seq is drawn: see frontier.sql
    moved := weir.release_held_jobs(b, most, version, probes);
    if version is not null and moved < most then
      moved := moved + weir.release_queued_jobs(b, most - moved, version, probes);
    end if;
  end if;
  return moved;
end $$;
comment on function weir.release_breaker_jobs(weir.breaker, int, bigint, boolean) is
  'Internal. Makes up to `most` jobs of a breaker available, in order, as probes or marked with a version. '
  'Returns how many.';

-- Probes are the jobs that have waited longest, whatever their priority: each priority gives one in turn. A probe that
-- failed has a new place, behind the others.
create or replace function weir.release_held_jobs(b weir.breaker, most int, version bigint, probes boolean)
returns int language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off
  set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  from_the_start constant bigint := -9223372036854775808;
  order_of_priorities int[] := '{10,9,8,7,6,5,4,3,2,1}';
  moved int := 0;
  p int;
  tids tid[];
  got record;
  woken int[] := '{}';
begin
  if probes then
    order_of_priorities := array(
      select f.p from (
        select c.p, h.seq from generate_series(1, 10) c(p) cross join lateral (
          select x.seq from weir.job_held x
          where x.reason = 'breaker' and x.key = b.name and x.priority = c.p order by x.seq limit most) h) f
      order by f.seq limit most);
  end if;
  -- First from where the last call ended, to skip dead entries; then from the start, in case a job was held late.
  for round in 1..2 loop
    foreach p in array order_of_priorities loop
      exit when moved >= most;
      tids := array(
        select h.ctid from weir.job_held h
        where h.reason = 'breaker' and h.key = b.name and h.priority = p
          and h.seq > case when round = 1 then coalesce(b.release_after[p], from_the_start) else from_the_start end
        order by h.seq limit case when probes then 1 else most - moved end for update skip locked);
      continue when tids = '{}';
      with gone as (
        delete from weir.job_held h where h.ctid = any (tids) returning h.*
      ), ordered as (
        select g.* from gone g order by g.seq
      ), ready as (
        insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
        select o.queue_id, o.priority, o.attempt, nextval('weir.job_id_seq'), o.job_id, version from ordered o
      ), told as (
        insert into weir.job_event (job_id, kind, attempt, state, detail)
        select g.job_id, 'let_through', g.attempt, 'available', jsonb_strip_nulls(jsonb_build_object(
          'breaker', b.name, 'held_at', g.held_at, 'probe', case when probes then true end)) from gone g
      ), probing as (
        insert into weir.breaker_probe (breaker_id, job_id, version)
        select b.id, g.job_id, version from gone g where probes
        on conflict on constraint breaker_probe_pkey
          do update set version = excluded.version, sent_at = clock_timestamp()
      )
      select count(*)::int as n, max(g.seq) as seq, array_agg(distinct g.queue_id) as queues into got from gone g;
      moved := moved + got.n;
      woken := woken || got.queues;
      b.release_after[p] := greatest(b.release_after[p], got.seq);
    end loop;
    exit when moved >= most or b.release_after = '{}';
  end loop;
  update weir.breaker x set release_after = b.release_after where x.id = b.id and x.release_after <> b.release_after;
  if moved > 0 then
    perform weir.wake(array(select x.name from weir.queue x where x.id = any (woken)));
  end if;
  return moved;
end $$;
comment on function weir.release_held_jobs(weir.breaker, int, bigint, boolean) is
  'Internal. Makes up to `most` jobs available that the breaker holds in job_held. Returns how many.';

create or replace function weir.release_queued_jobs(b weir.breaker, most int, version bigint, probes boolean)
returns int language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off
  set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  order_of_priorities int[] := '{10,9,8,7,6,5,4,3,2,1}';
  floor_seq bigint := (select w.seq from weir.watermark w order by w.tick desc limit 1);
  after bigint[];
  moved int := 0;
  q record;
  p int;
  tids tid[];
  n int;
  woken text[] := '{}';
begin
  for q in select x.ready_id, x.name from weir.queue x where x.breaker_id = b.id loop
    select f.positions into after from weir.frontier f where f.queue_id = q.ready_id order by f.tick desc limit 1;
    if probes then
      order_of_priorities := array(
        select f.p from (
          select c.p, r.seq from generate_series(1, 10) c(p) cross join lateral (
            select x.seq from weir.job_ready x
            where x.queue_id = q.ready_id and x.priority = c.p and x.seq > coalesce(after[c.p], floor_seq)
              and x.let_through is distinct from version
            order by x.seq limit most) r) f
        order by f.seq limit most);
    end if;
    foreach p in array order_of_priorities loop
      exit when moved >= most;
      tids := array(
        select r.ctid from weir.job_ready r
        where r.queue_id = q.ready_id and r.priority = p and r.seq > coalesce(after[p], floor_seq)
          and r.let_through is distinct from version
        order by r.seq limit case when probes then 1 else most - moved end for update skip locked);
      continue when tids = '{}';
      with gone as (
        delete from weir.job_ready r where r.ctid = any (tids)
        returning r.queue_id, r.priority, r.attempt, r.seq, coalesce(r.job_id, r.seq) as job_id
      ), ordered as (
        select g.* from gone g order by g.seq
      ), ready as (
        insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
        select o.queue_id, o.priority, o.attempt, nextval('weir.job_id_seq'), o.job_id, version from ordered o
      ), probing as (
        insert into weir.breaker_probe (breaker_id, job_id, version)
        select b.id, g.job_id, version from gone g where probes
        on conflict on constraint breaker_probe_pkey
          do update set version = excluded.version, sent_at = clock_timestamp()
      )
      select count(*)::int into n from gone g;
      moved := moved + n;
      woken := woken || q.name;
    end loop;
  end loop;
  if moved > 0 then
    perform weir.wake(woken);
  end if;
  return moved;
end $$;
comment on function weir.release_queued_jobs(weir.breaker, int, bigint, boolean) is
  'Internal. Marks up to `most` jobs at the head of the queues that the breaker holds as a whole. Returns how many.';
