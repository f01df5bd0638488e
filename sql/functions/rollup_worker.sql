-- What workers did, for roll-ups and for the minutes since the last one. A minute is counted as a whole, and its row
-- replaced. A completion that was undone (its job was run again) counts for no worker.

create or replace function weir.count_work(from_at timestamptz, until_at timestamptz, lowest bigint default 0)
returns setof weir.rollup_worker language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off as $$
begin
  return query
  with ends as (
    select o.worker, 'completed' as what, o.finished_at as ended_at, o.started_at from weir.job_outcome o
    where o.finished_at >= from_at and o.finished_at < until_at
      and (o.job_id >= lowest or o.job_id > lowest) and o.state = 'completed' and o.worker is not null
    union all
    select e.worker, e.kind::text, e.at, e.started_at from weir.job_event e
    where e.at >= from_at and e.at < until_at
      and (e.job_id >= lowest or e.job_id > lowest) and e.worker is not null and e.started_at is not null
      and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released')
  ), timed as (
    select date_bin('1 minute', x.ended_at, 'epoch') as at, x.worker, x.what,
      greatest(date_part('epoch', x.ended_at - x.started_at), 0) as busy from ends x offset 0
  ), summed as (
    select t.at, t.worker, t.what, case when t.what = 'completed' then weir.time_bucket(t.busy) end as bucket,
      count(*) as n, sum(t.busy) as busy, max(t.busy) as longest from timed t group by 1, 2, 3, 4
  ), ranked as (
    select s.*, dense_rank() over (partition by s.at order by w.n desc, s.worker) > 1000 as rare
    from summed s join (select x.at, x.worker, sum(x.n) as n from summed x group by 1, 2) w using (at, worker)
  ), named as (
    select r.at, case when r.rare then '(others)' else r.worker end as worker, r.what, r.bucket, sum(r.n) as n,
      sum(r.busy) as busy, max(r.longest) as longest from ranked r group by 1, 2, 3, 4
  )
  select s.at, 60::smallint, s.worker, coalesce(sum(s.n) filter (where s.what = 'completed'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'failed'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'timed_out'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'lost'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'snoozed'), 0)::bigint,
    coalesce(sum(s.n) filter (where s.what = 'released'), 0)::bigint, sum(s.busy),
    coalesce(sum(s.busy) filter (where s.what = 'completed'), 0),
    coalesce(max(s.longest) filter (where s.what = 'completed'), 0),
    weir.histogram(array_agg(s.bucket) filter (where s.bucket is not null),
      array_agg(s.n::int) filter (where s.bucket is not null))
  from named s group by s.at, s.worker;
end $$;
comment on function weir.count_work(timestamptz, timestamptz, bigint) is
  'Internal. Counts the attempts that ended from one time until before another, by minute and worker, of the jobs from '
  'lowest on.';

-- Locks: the rows of these minutes and their hours.
create or replace function weir.roll_up_work(from_at timestamptz, until_at timestamptz) returns void
language plpgsql set jit = off as $$
declare
  from_hour timestamptz := date_bin('1 hour', from_at, 'epoch');
  until_hour timestamptz := date_bin('1 hour', until_at + interval '59 min 59.999999 s', 'epoch');
begin
  delete from weir.rollup_worker w where w.seconds = 60 and w.at >= from_at and w.at < until_at;
  insert into weir.rollup_worker select * from weir.count_work(from_at, until_at);
  delete from weir.rollup_worker w where w.seconds = 3600 and w.at >= from_hour and w.at < until_hour;
  insert into weir.rollup_worker
  select date_bin('1 hour', w.at, 'epoch'), 3600, w.worker, sum(w.completed), sum(w.failed), sum(w.timed_out),
    sum(w.lost), sum(w.snoozed), sum(w.released), sum(w.busy_seconds), sum(w.run_seconds), max(w.run_longest),
    weir.merge_histograms(w.runs)
  from weir.rollup_worker w where w.seconds = 60 and w.at >= from_hour and w.at < until_hour group by 1, w.worker;
end $$;
comment on function weir.roll_up_work(timestamptz, timestamptz) is
  'Internal. Counts again what workers did in these minutes, and in the hours that they are in.';
