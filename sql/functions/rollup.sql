-- Roll-ups: counts of each minute, by queue, kind and tenant, made once from the append-only tables. Throughput,
-- latency and failures are read from them instead of from a million rows. A chore calls weir.roll_up. The views add
-- the minutes since the last roll-up, so they are correct without the chore, only slower.
--
-- An attempt or a job counts in the minute in which it ended. A minute is always counted as a whole and its row
-- replaced, so it can be counted again. That happens once all of it is visible (weir.settled). If a transaction stays
-- open for long, the minute is counted without it, recorded in rollup_unsettled, and counted again after its end. A job
-- that is run again loses its outcome, but an event keeps it.
--
-- Enqueued jobs are counted by ranges of ids, each range once, and added to the minutes in which they were enqueued. An
-- index of weir.job by time would slow down every enqueue. A range that is not settled is counted and recorded in
-- rollup_unsettled_ids; the difference is added later.

-- Replaces the counts of these minutes, except of the jobs enqueued. Locks: their rows.
create or replace function weir.roll_up_minutes(from_at timestamptz, until_at timestamptz, again boolean)
returns bigint language plpgsql as $$
declare
  rows bigint;
begin
  if again then
    delete from weir.rollup r where r.at >= from_at and r.at < until_at and r.seconds = 60 and r.enqueued = 0;
    update weir.rollup r set completed = 0, completed_later = 0, dead = 0, cancelled = 0, failed = 0, timed_out = 0,
      lost = 0, snoozed = 0, released = 0, rerun = 0,
      wait_seconds = 0, wait_longest = 0, waits = '{}', run_seconds = 0, run_longest = 0, runs = '{}' where r.at >=
        from_at and r.at < until_at and r.seconds = 60;
    delete from weir.rollup_failure f where f.at >= from_at and f.at < until_at;
  end if;
  with counted as (
    insert into weir.rollup as r select * from weir.count_ends(from_at, until_at)
    union all select * from weir.count_ends(from_at, until_at, null, true) where weir.has_tenants()
    on conflict on constraint rollup_pkey do update set completed = excluded.completed,
      completed_later = excluded.completed_later, dead = excluded.dead, cancelled = excluded.cancelled,
      failed = excluded.failed, timed_out = excluded.timed_out, lost = excluded.lost, snoozed = excluded.snoozed,
        released = excluded.released, rerun = excluded.rerun,
      wait_seconds = excluded.wait_seconds, wait_longest = excluded.wait_longest, waits = excluded.waits,
      run_seconds = excluded.run_seconds, run_longest = excluded.run_longest, runs = excluded.runs
    returning r.tenant, r.completed + r.dead + r.cancelled + r.failed + r.timed_out + r.lost + r.snoozed + r.released
      as n
  )
  select coalesce(sum(c.n), 0) into rows from counted c where c.tenant = '';
  insert into weir.rollup_failure select * from weir.count_failures(from_at, until_at);
  perform weir.sum_rollups(from_at, until_at);
  perform weir.sum_failures(from_at, until_at, again);
  perform weir.roll_up_work(from_at, until_at);
  return rows;
end $$;
comment on function weir.roll_up_minutes(timestamptz, timestamptz, boolean) is
  'Internal. Rolls up these minutes, except for the jobs enqueued. again: they have been rolled up before. Returns '
  'the number of ends and attempts.';

create or replace function weir.add_enqueued(counted jsonb, sign int) returns void language sql as $$
  insert into weir.rollup as r (at, queue_id, kind, tenant, enqueued)
  select x.at, x.queue_id, x.kind, coalesce(x.tenant, ''), sign * sum(x.enqueued)
  from jsonb_to_recordset(counted) x(at timestamptz, queue_id int, kind text, tenant text, enqueued bigint)
  group by x.at, x.queue_id, x.kind, grouping sets ((), (x.tenant)) having grouping(x.tenant) = 1 or x.tenant <> ''
  on conflict on constraint rollup_pkey do update set enqueued = r.enqueued + excluded.enqueued;
  select weir.sum_enqueued(counted, sign)
$$;
comment on function weir.add_enqueued(jsonb, int) is
  'Internal. Adds enqueued jobs to their minutes, or subtracts them with sign -1.';

-- One step of bounded size: the next range of ids; or else the next minutes; or else one range or minute that was not
-- settled before. One session at a time (turn.sql). READ COMMITTED only: after it has read up
-- to where all is visible, it must see all that was committed by then.
create or replace function weir.roll_up(patience interval default '30 s', most int default 500000, out did text,
  out counted bigint, out until timestamptz)
language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  c weir.rollup_cursor;
  settled_at timestamptz;
  settled_seq bigint;
  drawn_seq bigint;
  now_at timestamptz;
  next_at timestamptz;
  high bigint;
  tally jsonb;
  late weir.rollup_unsettled_ids;
begin
  counted := 0;
  if not weir.try_turn('roll_up') then
    did := 'busy';
    return;
  end if;
  select w.settled_at, least(w.seq, (select min(s) from unnest(w.holder_seqs) s)), w.seq into settled_at, settled_seq,
    drawn_seq
  from weir.watermark w order by w.tick desc limit 1;
  now_at := clock_timestamp();
  select * into c from weir.rollup_cursor;
  until := c.until;

  -- Jobs that are settled, and after a transaction has been open for longer than `patience`, the others too.
  high := case when c.seq < settled_seq then settled_seq when c.seq < drawn_seq and settled_at <= now_at - patience
    then drawn_seq end;
  if high is not null then
    select coalesce(jsonb_agg(to_jsonb(e)), '[]'), coalesce(sum(e.enqueued), 0),
      case when sum(e.enqueued) >= most then max(e.highest) else high end
      into tally, counted, high from weir.count_enqueued(c.seq, high, most) e;
    tally := weir.name_tally(tally);
    perform weir.add_enqueued(tally, 1);
    if high > settled_seq then
      insert into weir.rollup_unsettled_ids (low, high, counted) values (c.seq, high, tally);
    end if;
    update weir.rollup_cursor r set seq = high;
    if counted > 0 then
      did := 'jobs';
      return;
    end if;
  end if;

  -- Whole minutes that are settled, or one that has not been settled for longer than `patience`.
  next_at := c.until + interval '1 minute' * least(c.stride,
    floor(extract(epoch from least(settled_at, now_at) - c.until) / 60));
  if next_at <= c.until and c.until + interval '1 minute' <= now_at - patience then
    next_at := c.until + interval '1 minute';
    insert into weir.rollup_unsettled (at) values (c.until);
  end if;
  if next_at > c.until then
    did := 'minutes';
    counted := weir.roll_up_minutes(c.until, next_at, false);
    update weir.rollup_cursor r set until = next_at,
      stride = case when counted < most / 4 then least(r.stride * 2, 240) when counted > most
        then greatest(r.stride / 2, 1) else r.stride end
    returning r.until into until;
    return;
  end if;

  delete from weir.rollup_unsettled u where u.at = (select min(x.at) from weir.rollup_unsettled x
    where x.at + interval '1 minute' <= settled_at) returning u.at into next_at;
  if found then
    did := 'late';
    counted := weir.roll_up_minutes(next_at, next_at + interval '1 minute', true);
    return;
  end if;
  delete from weir.rollup_unsettled_ids u where u.low = (select min(x.low) from weir.rollup_unsettled_ids x
    where x.high <= settled_seq) returning * into late;
  if found then
    did := 'late';
    perform weir.add_enqueued(late.counted, -1);
    select coalesce(jsonb_agg(to_jsonb(e)), '[]'), coalesce(sum(e.enqueued), 0) into tally, counted
      from weir.count_enqueued(late.low, late.high) e;
    perform weir.add_enqueued(weir.name_tally(tally), 1);
    return;
  end if;
  did := 'nothing';
end $$;
comment on function weir.roll_up(interval, int) is
  'Rolls up the next part: up to `most` enqueued jobs, or the next minutes. What is not settled waits up to '
  '`patience`, and is counted again once it is. did: jobs, minutes, late (something was counted again), nothing (all '
  'is rolled up), or busy (another session is rolling up). until: all minutes before it are rolled up. The service '
  'calls it every minute.';

-- It folds one hour at a time, the oldest first. Locks: their rows, and the turn roll_up, with a try.
create or replace function weir.sweep_rollups(minutes_for interval default '3 days',
  hours_for interval default '400 days', most int default 24) returns int language plpgsql as $$
declare
  bound timestamptz := date_bin('1 hour', least(now() - minutes_for,
    (select u.at from weir.rollup_unsettled u order by u.at limit 1),
    (select c.until from weir.rollup_cursor c)), 'epoch');
  hour timestamptz;
  folded int := 0;
begin
  while folded < most loop
    select date_bin('1 hour', min(r.at), 'epoch') into hour from weir.rollup r where r.seconds = 60 and r.at < bound;
    exit when hour is null;
    with gone as (
      delete from weir.rollup r where r.seconds = 60 and r.at >= hour and r.at < hour + interval '1 hour' returning r.*
    )
    insert into weir.rollup as r
    select hour, 3600, g.queue_id, g.kind, g.tenant, sum(g.enqueued), sum(g.completed), sum(g.completed_later),
      sum(g.dead),
      sum(g.cancelled), sum(g.failed), sum(g.timed_out), sum(g.lost),
      sum(g.snoozed), sum(g.released), sum(g.rerun), sum(g.wait_seconds), max(g.wait_longest),
        weir.merge_histograms(g.waits), sum(g.run_seconds), max(g.run_longest), weir.merge_histograms(g.runs)
    from gone g group by g.queue_id, g.kind, g.tenant
    on conflict on constraint rollup_pkey do update set enqueued = r.enqueued + excluded.enqueued,
      completed = r.completed + excluded.completed,
      completed_later = r.completed_later + excluded.completed_later, dead = r.dead + excluded.dead,
        cancelled = r.cancelled + excluded.cancelled, failed = r.failed + excluded.failed,
      timed_out = r.timed_out + excluded.timed_out, lost = r.lost + excluded.lost,
        snoozed = r.snoozed + excluded.snoozed, released = r.released + excluded.released,
        rerun = r.rerun + excluded.rerun,
      wait_seconds = r.wait_seconds + excluded.wait_seconds, wait_longest = greatest(r.wait_longest,
        excluded.wait_longest), waits = weir.add_histograms(r.waits, excluded.waits),
      run_seconds = r.run_seconds + excluded.run_seconds, run_longest = greatest(r.run_longest, excluded.run_longest),
        runs = weir.add_histograms(r.runs, excluded.runs);
    folded := folded + 1;
  end loop;
  perform weir.fold_failures(bound);
  perform weir.sum_failure_days(bound);
  if weir.try_turn('roll_up') then
    perform weir.sum_days(bound);
  end if;
  delete from weir.rollup_failure_hour f where f.at < now() - hours_for;
  delete from weir.rollup_failure_sum s where s.seconds in (3600, 86400) and s.at < now() - hours_for;
  delete from weir.rollup r where r.seconds = 3600 and r.at < now() - hours_for;
  delete from weir.rollup_sum s where s.seconds = 60 and s.at < bound;
  delete from weir.rollup_sum s where s.seconds in (3600, 86400) and s.at < now() - hours_for;
  delete from weir.rollup_worker w where w.seconds = 60 and w.at < bound;
  delete from weir.rollup_worker w where w.seconds = 3600 and w.at < now() - hours_for;
  delete from weir.rollup_name n where n.seen_at < now() - interval '7 days';
  return folded;
end $$;
comment on function weir.sweep_rollups(interval, interval, int) is
  'Folds minutes older than minutes_for into hours, up to `most` hours, and failures older than minutes_for into '
  'hours by class; removes hours older than hours_for. Returns how many hours were folded.';
