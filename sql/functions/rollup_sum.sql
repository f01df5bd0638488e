-- Sums of roll-ups, for charts of a long time: weir.rollup_sum has few rows a minute and an hour, whatever the
-- number of queues, kinds and tenants. They are kept with the roll-ups, in the same transaction. Hours are there beside
-- their minutes, the hour under way too.

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
  cross join (values (60), (3600)) l(seconds)
  group by 1, 2, grouping sets ((), (x.queue_id), (x.kind), (x.tenant))
  having grouping(x.tenant) = 1 or x.tenant <> ''
  on conflict on constraint rollup_sum_pkey do update set enqueued = s.enqueued + excluded.enqueued
$$;
comment on function weir.sum_enqueued(jsonb, int) is
  'Internal. Adds enqueued jobs to the sums of their minutes and hours, or subtracts them with sign -1.';
