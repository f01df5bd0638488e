-- Roll-ups: what happened in each minute, by queue and kind, counted once from the append-only tables, so that
-- readers of throughput, latency and failures need not read a million rows. A chore calls weir.roll_up. The views add
-- what is not rolled up yet, so they are right without the chore, only slower.
--
-- Ends and attempts belong to the minute in which they ended. A minute is counted as a whole and its row replaced, so
-- counting it again gives the same result. It is counted once all of it is visible (weir.settled). If a transaction
-- stays open for long, the minute is counted without it, recorded in rollup_unsettled, and counted again when that
-- transaction has ended. A job that is run again loses its outcome; its event keeps what it was.
--
-- Enqueued jobs are counted by ranges of ids, each once (an index of weir.job by time would cost every enqueue), and
-- added to the minute in which they were enqueued. A range that is not settled is counted as it is and kept in
-- rollup_unsettled_ids; the difference is added later.
--
-- Times are counted in buckets, eight to each doubling: bucket 1 is below 1 ms, bucket n from 2^((n-2)/8) to
-- 2^((n-1)/8) ms. Buckets of minutes, kinds or queues may be added up. A percentile is the geometric middle of its
-- bucket, so it is at most 2^(1/16) - 1 = 4.5 % off.

create or replace function weir.time_bucket(seconds float8) returns int language sql immutable
  return case when seconds is null then null when seconds < 0.001 then 1
    else least(2 + floor(8 * ln(seconds * 1000) / ln(2.0::float8))::int, 300) end;
comment on function weir.time_bucket(float8) is
  'The bucket of a time in seconds: 1 below 1 ms, then eight to each doubling: bucket n from 2^((n-2)/8) to '
  '2^((n-1)/8) ms; 300, for over four years, is the last.';

create or replace function weir.histogram(buckets int[], counts int[]) returns int[] language plpgsql immutable as $$
declare
  made int[] := array_fill(0, array[coalesce((select max(b) from unnest(buckets) b), 0)]);
begin
  for i in 1..coalesce(cardinality(buckets), 0) loop
    made[buckets[i]] := made[buckets[i]] + counts[i];
  end loop;
  return made;
end $$;
comment on function weir.histogram(int[], int[]) is 'Internal. The array with these counts in these buckets.';

create or replace function weir.add_histograms(a int[], b int[]) returns int[] language sql immutable
  return array(select least(coalesce(u.x, 0)::bigint + coalesce(u.y, 0), 2147483647)::int from unnest(a, b) with
    ordinality u(x, y, n) order by u.n);
comment on function weir.add_histograms(int[], int[]) is
  'Internal. Adds two histograms bucket by bucket. A bucket holds at most 2^31 - 1.';

create or replace function weir.percentile(histogram int[], fraction float8) returns float8
language plpgsql immutable as $$
declare
  wanted bigint := ceil(percentile.fraction * (select sum(h) from unnest(percentile.histogram) h));
  seen bigint := 0;
begin
  for n in 1..coalesce(cardinality(percentile.histogram), 0) loop
    seen := seen + percentile.histogram[n];
    if seen > 0 and seen >= wanted then
      return case when n = 1 then 0.0005 else 0.001 * 2 ^ ((n - 1.5) / 8.0::float8) end;
    end if;
  end loop;
  return null;
end $$;
comment on function weir.percentile(int[], float8) is
  'A percentile of a histogram of times, in seconds; fraction is 0.5, 0.95, 0.99, … The nearest-rank percentile, at '
  'most 4.5 % off, or 0.5 ms below 1 ms. Null where the histogram is empty.';

-- One pass over what ended in a time. Facts and earlier events are looked up one by one, which OFFSET 0 holds the
-- planner to: a join might begin with all facts there are.
create or replace function weir.count_ends(from_at timestamptz, until_at timestamptz, of_queue int default null)
returns setof weir.rollup language plpgsql stable
set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off as $$
begin
  return query
  with ends as (
    select o.job_id, o.state::text as what, o.started_at, o.finished_at as ended_at, o.attempt
    from weir.job_outcome o where o.finished_at >= from_at and o.finished_at < until_at
      and (of_queue is null or o.queue_id = of_queue)
    union all
    select e.job_id, e.detail ->> 'state', (e.detail ->> 'started_at')::timestamptz, weir.ended_at(e.detail), e.attempt
    from weir.job_event e where e.kind in ('retried', 'redriven') and weir.ended_at(e.detail) >= from_at
      and weir.ended_at(e.detail) < until_at
    union all
    select e.job_id, case when e.kind in ('retried', 'redriven') then 'rerun' else e.kind::text end, e.started_at,
      e.at, e.attempt
    from weir.job_event e where e.at >= from_at and e.at < until_at
      and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven')
  ), times as (
    select date_bin('1 minute', x.ended_at, 'epoch') as at, j.queue_id, j.kind, x.what, x.attempt,
      case when x.what = 'completed' then greatest(date_part('epoch', x.ended_at - x.started_at), 0) end as run,
      -- Every attempt that failed has its event, so the outcomes of dead and cancelled jobs add no wait.
      case when x.what in ('completed', 'failed', 'timed_out', 'lost', 'snoozed', 'released')
        and x.started_at is not null then
        greatest(date_part('epoch', x.started_at - coalesce(
          (select max(coalesce(e.run_at, e.at)) from weir.job_event e where e.job_id = x.job_id
            and coalesce(e.run_at, e.at) <= x.started_at
             and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven', 'edited')),
          j.run_at, j.created_at)), 0) end as wait
    from ends x cross join lateral (select f.queue_id, f.kind, f.run_at, f.created_at from weir.job f
      where f.id = x.job_id offset 0) j
    where of_queue is null or j.queue_id = of_queue
    offset 0
  ), sized as (
    select t.*, weir.time_bucket(t.wait) as wait_bucket, weir.time_bucket(t.run) as run_bucket from times t
  ), summed as (
    select s.at, s.queue_id, s.kind, s.wait_bucket, s.run_bucket, grouping(s.wait_bucket) as no_wait,
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
    group by grouping sets ((s.at, s.queue_id, s.kind), (s.at, s.queue_id, s.kind, s.wait_bucket),
      (s.at, s.queue_id, s.kind, s.run_bucket))
  )
  select s.at, 60::smallint, s.queue_id, s.kind, 0::bigint, max(s.completed), max(s.completed_later), max(s.dead),
    max(s.cancelled), max(s.failed), max(s.timed_out), max(s.lost),
    max(s.snoozed), max(s.released), max(s.rerun),
    max(s.wait_seconds), max(s.wait_longest), weir.histogram(array_agg(s.wait_bucket) filter (where s.no_wait = 0
      and s.wait_bucket is not null),
      array_agg(s.n::int) filter (where s.no_wait = 0 and s.wait_bucket is not null)),
    max(s.run_seconds), max(s.run_longest), weir.histogram(array_agg(s.run_bucket) filter (where s.no_run = 0
      and s.run_bucket is not null),
      array_agg(s.n::int) filter (where s.no_run = 0 and s.run_bucket is not null))
  from summed s group by s.at, s.queue_id, s.kind;
end $$;
comment on function weir.count_ends(timestamptz, timestamptz, int) is
  'Internal. Counts what ended from one time until before another, by minute, queue and kind.';

create or replace function weir.count_failures(from_at timestamptz, until_at timestamptz, of_queue int default null)
returns setof weir.rollup_failure language plpgsql stable
set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return query
  with failures as (
    select date_bin('1 minute', e.at, 'epoch') as at, j.queue_id, j.kind, e.kind as event,
      coalesce(left(e.detail ->> 'type', 100), '') as type,
      coalesce(left(e.detail ->> 'message', 200), '') as message, count(*) as attempts, max(e.at) as last_at,
        max(e.job_id) as last_job_id
    from weir.job_event e cross join lateral (select f.queue_id, f.kind from weir.job f
      where f.id = e.job_id offset 0) j
    where e.at >= from_at and e.at < until_at and e.kind in ('failed', 'timed_out', 'lost')
      and (of_queue is null or j.queue_id = of_queue)
    group by 1, 2, 3, 4, 5, 6
  ), ranked as (
    select f.*, row_number() over (partition by f.at, f.queue_id order by f.attempts desc,
      f.last_job_id desc) > 50 as rare from failures f
  )
  select r.at, r.queue_id, r.kind, r.event, case when r.rare then '' else r.type end, case when r.rare then '(others)'
    else r.message end,
    sum(r.attempts)::bigint, max(r.last_at), max(r.last_job_id)
  from ranked r group by 1, 2, 3, 4, 5, 6;
end $$;
comment on function weir.count_failures(timestamptz, timestamptz, int) is
  'Internal. Counts the attempts that failed from one time until before another, by minute, queue, kind and error.';

create or replace function weir.count_enqueued(low bigint, high bigint, most int default null,
  of_queue int default null)
returns table (at timestamptz, queue_id int, kind text, enqueued bigint, highest bigint) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
begin
  return query
  select date_bin('1 minute', j.created_at, 'epoch'), j.queue_id, j.kind, count(*), max(j.id)
  from (select x.id, x.created_at, x.queue_id, x.kind from weir.job x where x.id > count_enqueued.low
    and x.id <= count_enqueued.high order by x.id limit most) j
  where of_queue is null or j.queue_id = of_queue
  group by 1, 2, 3;
end $$;
comment on function weir.count_enqueued(bigint, bigint, int, int) is
  'Internal. Counts the jobs with ids above low and up to high, the first `most` of them, by minute, queue and kind.';

create or replace function weir.pending_rollup(of_queue int default null) returns setof weir.rollup
language plpgsql stable as $$
declare
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
begin
  return query select * from weir.count_ends(c.until, 'infinity', of_queue);
  return query select e.at, 60::smallint, e.queue_id, e.kind, e.enqueued, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
    0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
    0::float8, 0::float8, '{}'::int[], 0::float8, 0::float8, '{}'::int[]
      from weir.count_enqueued(c.seq, 9223372036854775807, null, of_queue) e;
end $$;
comment on function weir.pending_rollup(int) is 'Internal. What is not rolled up yet, counted now.';

create or replace function weir.pending_failures(of_queue int default null) returns setof weir.rollup_failure
language sql stable as $$
  select f.* from weir.rollup_cursor c cross join lateral weir.count_failures(c.until, 'infinity', of_queue) f
$$;
comment on function weir.pending_failures(int) is 'Internal. The failures that are not rolled up yet, counted now.';

-- Replaces what was counted of these minutes but for the jobs enqueued. Locks: their rows.
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
    on conflict on constraint rollup_pkey do update set completed = excluded.completed,
      completed_later = excluded.completed_later, dead = excluded.dead, cancelled = excluded.cancelled,
      failed = excluded.failed, timed_out = excluded.timed_out, lost = excluded.lost, snoozed = excluded.snoozed,
        released = excluded.released, rerun = excluded.rerun,
      wait_seconds = excluded.wait_seconds, wait_longest = excluded.wait_longest, waits = excluded.waits,
      run_seconds = excluded.run_seconds, run_longest = excluded.run_longest, runs = excluded.runs
    returning r.completed + r.dead + r.cancelled + r.failed + r.timed_out + r.lost + r.snoozed + r.released as n
  )
  select coalesce(sum(c.n), 0) into rows from counted c;
  insert into weir.rollup_failure select * from weir.count_failures(from_at, until_at);
  return rows;
end $$;
comment on function weir.roll_up_minutes(timestamptz, timestamptz, boolean) is
  'Internal. Rolls up these minutes, except for the jobs enqueued. again: they have been rolled up before. Returns '
  'the number of ends and attempts.';

create or replace function weir.add_enqueued(counted jsonb, sign int) returns void language sql as $$
  insert into weir.rollup as r (at, queue_id, kind, enqueued)
  select x.at, x.queue_id, x.kind, sign * x.enqueued from jsonb_to_recordset(counted) x(at timestamptz, queue_id int,
    kind text, enqueued bigint)
  on conflict on constraint rollup_pkey do update set enqueued = r.enqueued + excluded.enqueued
$$;
comment on function weir.add_enqueued(jsonb, int) is
  'Internal. Adds enqueued jobs to their minutes, or subtracts them with sign -1.';

-- One step, of bounded size: the next range of ids, or the next minutes, or, when there are none, one of what was not
-- settled. One session at a time (advisory lock, transaction level). READ COMMITTED only: it must see what was
-- committed before it read how far everything is visible.
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
  if not pg_try_advisory_xact_lock(hashtext('weir'), hashtext('roll_up')) then
    did := 'busy';
    return;
  end if;
  select w.settled_at, least(w.seq, (select min(s) from unnest(w.holder_seqs) s)), w.seq into settled_at, settled_seq,
    drawn_seq
  from weir.watermark w order by w.tick desc limit 1;
  now_at := clock_timestamp();
  select * into c from weir.rollup_cursor;
  until := c.until;

  -- Jobs that are settled; those that are not too, where a transaction has been open for longer than `patience`.
  high := case when c.seq < settled_seq then settled_seq when c.seq < drawn_seq and settled_at <= now_at - patience
    then drawn_seq end;
  if high is not null then
    select coalesce(jsonb_agg(jsonb_build_object('at', e.at, 'queue_id', e.queue_id, 'kind', e.kind, 'enqueued',
      e.enqueued)), '[]'),
      coalesce(sum(e.enqueued), 0), case when sum(e.enqueued) >= most then max(e.highest) else high end
      into tally, counted, high from weir.count_enqueued(c.seq, high, most) e;
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

  -- Whole minutes that are settled; one that is not, where that has lasted for longer than `patience`.
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
    perform weir.add_enqueued(tally, 1);
    return;
  end if;
  did := 'nothing';
end $$;
comment on function weir.roll_up(interval, int) is
  'Rolls up the next part: up to `most` enqueued jobs, or the next minutes. What is not settled waits up to '
  '`patience`, and is counted again once it is. did: jobs, minutes, late (something was counted again), nothing (all '
  'is rolled up), or busy (another session is rolling up). until: all minutes before it are rolled up. The service '
  'calls it every minute.';

-- Folds the oldest hours, an hour a turn, and removes what is older still. Locks: their rows.
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
    select hour, 3600, g.queue_id, g.kind, sum(g.enqueued), sum(g.completed), sum(g.completed_later), sum(g.dead),
      sum(g.cancelled), sum(g.failed), sum(g.timed_out), sum(g.lost),
      sum(g.snoozed), sum(g.released), sum(g.rerun), sum(g.wait_seconds), max(g.wait_longest),
        weir.merge_histograms(g.waits), sum(g.run_seconds), max(g.run_longest), weir.merge_histograms(g.runs)
    from gone g group by g.queue_id, g.kind
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
  delete from weir.rollup_failure f where f.at < bound;
  delete from weir.rollup r where r.seconds = 3600 and r.at < now() - hours_for;
  return folded;
end $$;
comment on function weir.sweep_rollups(interval, interval, int) is
  'Folds minutes older than minutes_for into hours, up to `most` hours, and removes hours older than hours_for, and '
  'failures older than minutes_for. Returns how many hours were folded.';

create or replace aggregate weir.merge_histograms(int[]) (sfunc = weir.add_histograms, stype = int[], initcond = '{}');
comment on aggregate weir.merge_histograms(int[]) is
  'Adds histograms of times (weir.rollup.waits, runs), of whatever minutes, queues and kinds. weir.percentile reads '
  'the sum.';
