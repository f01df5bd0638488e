-- Sums of roll-ups, for charts of a long time: weir.rollup_sum has few rows a minute and an hour, whatever the
-- number of queues, kinds and tenants. They are kept with the roll-ups, in the same transaction. Hours are there beside
-- their minutes, the hour under way too. Days are there beside their hours once their minutes are folded.

-- Locks: the rows of these minutes and their hours. No minute of these hours has been swept: weir.sweep_rollups keeps
-- what may still be counted again.
create or replace function weir.sum_rollups(from_at timestamptz, until_at timestamptz) returns void
language plpgsql set jit = off as $$
declare
  from_hour timestamptz := date_bin('1 hour', from_at, 'epoch');
  until_hour timestamptz := date_bin('1 hour', until_at + interval '59 min 59.999999 s', 'epoch');
begin
  delete from weir.rollup_sum s where s.seconds = 60 and s.at >= from_at and s.at < until_at;
  insert into weir.rollup_sum
  select r.at, 60, coalesce(r.queue_id, 0), coalesce(r.kind, ''), '', sum(r.enqueued),
    sum(r.completed),
    sum(r.completed_later), sum(r.dead), sum(r.cancelled), sum(r.failed), sum(r.timed_out), sum(r.lost),
    sum(r.snoozed), sum(r.released), sum(r.rerun), sum(r.wait_seconds), max(r.wait_longest),
    weir.merge_histograms(r.waits), sum(r.run_seconds), max(r.run_longest), weir.merge_histograms(r.runs)
  from weir.rollup r where r.seconds = 60 and r.at >= from_at and r.at < until_at and r.tenant = ''
  group by r.at, grouping sets ((), (r.queue_id), (r.kind))
  union all
  select r.at, 60, 0, '', r.tenant, sum(r.enqueued),
    sum(r.completed),
    sum(r.completed_later), sum(r.dead), sum(r.cancelled), sum(r.failed), sum(r.timed_out), sum(r.lost),
    sum(r.snoozed), sum(r.released), sum(r.rerun), sum(r.wait_seconds), max(r.wait_longest),
    weir.merge_histograms(r.waits), sum(r.run_seconds), max(r.run_longest), weir.merge_histograms(r.runs)
  from weir.rollup r where r.seconds = 60 and r.at >= from_at and r.at < until_at and r.tenant <> ''
  group by r.at, r.tenant;
  delete from weir.rollup_sum s where s.seconds = 3600 and s.at >= from_hour and s.at < until_hour;
  insert into weir.rollup_sum
  select date_bin('1 hour', r.at, 'epoch'), 3600, r.queue_id, r.kind, r.tenant, sum(r.enqueued), sum(r.completed),
    sum(r.completed_later), sum(r.dead), sum(r.cancelled), sum(r.failed), sum(r.timed_out), sum(r.lost),
    sum(r.snoozed), sum(r.released), sum(r.rerun), sum(r.wait_seconds), max(r.wait_longest),
    weir.merge_histograms(r.waits), sum(r.run_seconds), max(r.run_longest), weir.merge_histograms(r.runs)
  from weir.rollup_sum r where r.seconds = 60 and r.at >= from_hour and r.at < until_hour
  group by 1, r.queue_id, r.kind, r.tenant;
end $$;
comment on function weir.sum_rollups(timestamptz, timestamptz) is
  'Internal. Sums up these minutes again, and the hours that they are in.';

create or replace function weir.sum_enqueued(counted jsonb, sign int) returns void language sql as $$
  insert into weir.rollup_sum as s (at, seconds, queue_id, kind, tenant, enqueued)
  select date_bin(make_interval(secs => l.seconds), x.at, 'epoch'), l.seconds, coalesce(x.queue_id, 0),
    coalesce(x.kind, ''), coalesce(x.tenant, ''), sign * sum(x.enqueued)
  from jsonb_to_recordset(counted) x(at timestamptz, queue_id int, kind text, tenant text, enqueued bigint)
  join (values (60), (3600), (86400)) l(seconds) on l.seconds < 86400 or x.at < (select weir.sum_days_until())
  group by 1, 2, grouping sets ((), (x.queue_id), (x.kind), (x.tenant))
  having grouping(x.tenant) = 1 or x.tenant <> ''
  on conflict on constraint rollup_sum_pkey do update set enqueued = s.enqueued + excluded.enqueued
$$;
comment on function weir.sum_enqueued(jsonb, int) is
  'Internal. Adds enqueued jobs to the sums of their minutes, hours and days, or subtracts them with sign -1.';

create or replace function weir.sum_days_until() returns timestamptz language sql stable as $$
  select coalesce(max(s.at) + interval '24 hours', '-infinity') from weir.rollup_sum s
  where s.kind = '' and s.queue_id = 0 and s.tenant = '' and s.seconds = 86400
$$;
comment on function weir.sum_days_until() is 'Internal. Up to when there are sums of whole days.';

-- Jobs may still be added to such a day (weir.sum_enqueued), so the caller has the turn roll_up.
create or replace function weir.sum_days(bound timestamptz) returns void language sql set jit = off as $$
  insert into weir.rollup_sum
  select date_bin('1 day', s.at, 'epoch') as day, 86400, s.queue_id, s.kind, s.tenant, sum(s.enqueued),
    sum(s.completed), sum(s.completed_later), sum(s.dead), sum(s.cancelled), sum(s.failed), sum(s.timed_out),
    sum(s.lost), sum(s.snoozed), sum(s.released), sum(s.rerun), sum(s.wait_seconds), max(s.wait_longest),
    weir.merge_histograms(s.waits), sum(s.run_seconds), max(s.run_longest), weir.merge_histograms(s.runs)
  from weir.rollup_sum s
  where s.seconds = 3600 and s.at >= (select weir.sum_days_until()) and s.at < date_bin('1 day', bound, 'epoch')
  group by day, s.queue_id, s.kind, s.tenant
$$;
comment on function weir.sum_days(timestamptz) is
  'Internal. Sums up the hours of whole days before a time, up to which minutes are folded.';

-- grain: how long rows may be, 60, 3600 or 86400. Time is cut in hours, where hours are fine enough.
create or replace function weir.sum_spans(since timestamptz, until timestamptz, grain int)
returns table (seconds int, from_at timestamptz, until_at timestamptz) language plpgsql stable as $$
#variable_conflict use_variable
declare
  first_day timestamptz := date_bin('1 day', since + interval '23 h 59 min 59.999999 s', 'epoch');
  last_day timestamptz;
begin
  if grain = 86400 then
    last_day := least(weir.sum_days_until(), date_bin('1 day', until, 'epoch'));
  end if;
  if first_day < last_day then
    return query values (3600, since, first_day), (86400, first_day, last_day), (3600, last_day, until);
  else
    return query values (least(grain, 3600), since, until);
  end if;
end $$;
comment on function weir.sum_spans(timestamptz, timestamptz, int) is
  'Internal. The rows of weir.rollup_sum that make up a time, by their length.';
