-- Failures in roll-ups: minutes are folded into hours by class, and weir.rollup_failure_sum has sums over all tenants,
-- for charts of a long time. The sums of hours are kept with the roll-ups, in the same transaction, the hour under way
-- too. Those of days are made once nothing of the day is counted again.

-- The first thousand classes of an hour and queue go by name. again: these minutes have been summed up before, so their
-- whole hours are summed up again; no minute of them has been folded, as weir.sweep_rollups keeps what may still be
-- counted again. Locks: the sums of these hours.
create or replace function weir.sum_failures(from_at timestamptz, until_at timestamptz, again boolean) returns void
language plpgsql set jit = off as $$
declare
  from_hour timestamptz := date_bin('1 hour', from_at, 'epoch');
  until_hour timestamptz := date_bin('1 hour', until_at + interval '59 min 59.999999 s', 'epoch');
begin
  if again then
    from_at := from_hour;
    until_at := until_hour;
    delete from weir.rollup_failure_sum s where s.seconds = 3600 and s.at >= from_hour and s.at < until_hour;
  end if;
  insert into weir.rollup_failure_sum as s
  with classes as (
    select date_bin('1 hour', f.at, 'epoch') as at, coalesce(f.queue_id, 0) as queue_id, f.kind, f.event, c.type,
      sum(f.attempts) as attempts, min(f.at) as first_at, max(f.last_at) as last_at,
      (max(array[(date_part('epoch', f.last_at) * 1000000)::bigint, f.last_job_id]))[2] as last_job_id
    from weir.rollup_failure f cross join lateral (select weir.failure_class(f.type, f.message) as type) c
    where f.at >= from_at and f.at < until_at
    group by 1, f.kind, f.event, c.type, grouping sets ((), (f.queue_id))
  ), known as (
    select x.at, x.queue_id, x.kind, x.event, x.type from weir.rollup_failure_sum x
    where x.seconds = 3600 and x.at >= from_hour and x.at < until_hour and x.type <> '(others)'
  ), ranked as (
    select c.*, k.type is null and coalesce(n.classes, 0) + row_number() over (partition by c.at, c.queue_id,
      k.type is null order by c.attempts desc, c.last_job_id desc) > 1000 as rare
    from classes c left join known k using (at, queue_id, kind, event, type)
    left join (select x.at, x.queue_id, count(*) as classes from known x group by 1, 2) n using (at, queue_id)
  )
  select r.at, 3600, r.queue_id, r.kind, r.event, case when r.rare then '(others)' else r.type end as class,
    sum(r.attempts), min(r.first_at), max(r.last_at),
    (max(array[(date_part('epoch', r.last_at) * 1000000)::bigint, r.last_job_id]))[2]
  from ranked r group by r.at, r.queue_id, r.kind, r.event, class
  on conflict on constraint rollup_failure_sum_pkey do update set attempts = s.attempts + excluded.attempts,
    first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at),
    last_job_id = case when excluded.last_at >= s.last_at then excluded.last_job_id else s.last_job_id end;
end $$;
comment on function weir.sum_failures(timestamptz, timestamptz, boolean) is
  'Internal. Adds the failures of these minutes to the sums of their hours.';

-- Only the others of a minute have this message and no class.
create or replace function weir.failure_class(type text, message text) returns text language sql immutable
  return case when message = '(others)' and type = '' then '(others)' else type end;
comment on function weir.failure_class(text, text) is 'Internal. The class of a failure of weir.rollup_failure.';

-- No two sessions at once: weir.sweep_rollups has locked what it folds.
create or replace function weir.sum_failure_days(bound timestamptz) returns void language sql set jit = off as $$
  insert into weir.rollup_failure_sum
  select date_bin('1 day', s.at, 'epoch') as day, 86400, s.queue_id, s.kind, s.event, s.type, sum(s.attempts),
    min(s.first_at), max(s.last_at),
    (max(array[(date_part('epoch', s.last_at) * 1000000)::bigint, s.last_job_id]))[2]
  from weir.rollup_failure_sum s
  where s.seconds = 3600 and s.at >= (select weir.failure_days_until()) and s.at < date_bin('1 day', bound, 'epoch')
  group by day, s.queue_id, s.kind, s.event, s.type
  on conflict do nothing
$$;
comment on function weir.sum_failure_days(timestamptz) is
  'Internal. Sums up the failures of whole days before a time, up to which minutes are folded.';

create or replace function weir.failure_days_until() returns timestamptz language sql stable as $$
  select coalesce(max(s.at) + interval '24 hours', '-infinity') from weir.rollup_failure_sum s
  where s.queue_id = 0 and s.seconds = 86400
$$;
comment on function weir.failure_days_until() is 'Internal. Up to when there are sums of failures of whole days.';

-- Locks: the failures of these minutes.
create or replace function weir.fold_failures(bound timestamptz) returns void language sql as $$
  with gone as (
    delete from weir.rollup_failure f where f.at < bound returning f.*
  ), classes as (
    select date_bin('1 hour', g.at, 'epoch') as at, g.queue_id, g.kind, g.tenant, g.event,
      weir.failure_class(g.type, g.message) as type,
      sum(g.attempts) as attempts,
      min(g.at) as first_at, max(g.last_at) as last_at, max(g.last_job_id) as last_job_id
    from gone g group by 1, 2, 3, 4, 5, 6
  ), ranked as (
    select c.*, row_number() over (partition by c.at, c.queue_id, c.tenant order by c.attempts desc,
      c.last_job_id desc) > 100 as rare from classes c
  )
  insert into weir.rollup_failure_hour as f
  select r.at, r.queue_id, r.kind, r.tenant, r.event, case when r.rare then '(others)' else r.type end, sum(r.attempts),
    min(r.first_at), max(r.last_at), max(r.last_job_id)
  from ranked r group by 1, 2, 3, 4, 5, 6
  on conflict on constraint rollup_failure_hour_pkey do update set attempts = f.attempts + excluded.attempts,
    first_at = least(f.first_at, excluded.first_at), last_at = greatest(f.last_at, excluded.last_at),
    last_job_id = greatest(f.last_job_id, excluded.last_job_id)
$$;
comment on function weir.fold_failures(timestamptz) is
  'Internal. Folds failures of minutes before a time, which is a whole hour, into hours by class.';
