-- Roll-ups: what happened a minute, by queue and kind, counted once from the append-only tables, so that nobody who asks how fast, how long or
-- how often reads a million rows. A chore calls weir.roll_up; the views add what is not rolled up yet, so they are right without it, only slower.
--
-- Ends and attempts belong to the minute in which they ended. A minute is counted as a whole and its row replaced, so counting it again gives the
-- same. It is counted when all of it is visible (weir.settled). Where a transaction stays open for long, the minute is counted without it, noted
-- in rollup_unsettled, and counted again when that transaction has ended. A job that is run again loses its outcome; the event says what it was.
--
-- Jobs enqueued are counted by ranges of ids, each once (weir.job has no index by time: every enqueue would pay for it), and added to the minute
-- in which they were enqueued. A range that is not settled is counted as it is, kept in rollup_unsettled_ids, and the difference added later.
--
-- Times are counted in buckets, eight to each doubling: bucket 1 is below 1 ms, bucket n from 2^((n-2)/8) to 2^((n-1)/8) ms. Buckets of minutes,
-- kinds or queues may be added up. A percentile is the geometric middle of its bucket, so at most 2^(1/16) - 1 = 4.5 % off the exact one.
--
-- +goose Up
create table weir.rollup (
  at timestamptz not null,
  seconds smallint not null default 60 constraint rollup_is_of_a_minute_or_an_hour check (seconds in (60, 3600)),
  queue_id int not null,
  kind text not null,
  enqueued bigint not null default 0,
  completed bigint not null default 0,
  completed_later bigint not null default 0,
  dead bigint not null default 0,
  cancelled bigint not null default 0,
  failed bigint not null default 0,
  timed_out bigint not null default 0,
  lost bigint not null default 0,
  snoozed bigint not null default 0,
  released bigint not null default 0,
  rerun bigint not null default 0,
  wait_seconds float8 not null default 0,
  wait_longest float8 not null default 0,
  waits int[] not null default '{}',
  run_seconds float8 not null default 0,
  run_longest float8 not null default 0,
  runs int[] not null default '{}',
  constraint rollup_pkey primary key (at, queue_id, kind, seconds)
);
create index rollup_minutes on weir.rollup (at) where seconds = 60;
comment on table weir.rollup is 'What happened in a minute, or in an hour some days later, by queue and kind. Add rows up as you like; no moment is in two of them.';
comment on column weir.rollup.at is 'Its beginning.';
comment on column weir.rollup.seconds is 'Its length: 60, or 3600 once its minutes were folded into an hour.';
comment on column weir.rollup.queue_id is 'weir.queue.id';
comment on column weir.rollup.kind is 'Kind of the jobs.';
comment on column weir.rollup.enqueued is 'Jobs enqueued.';
comment on column weir.rollup.completed is 'Jobs completed.';
comment on column weir.rollup.completed_later is 'Those of them that were completed at an attempt after the first.';
comment on column weir.rollup.dead is 'Jobs that died.';
comment on column weir.rollup.cancelled is 'Jobs cancelled.';
comment on column weir.rollup.failed is 'Attempts that failed.';
comment on column weir.rollup.timed_out is 'Attempts that ran past their timeout.';
comment on column weir.rollup.lost is 'Attempts that lost their lease.';
comment on column weir.rollup.snoozed is 'Attempts that put their job off.';
comment on column weir.rollup.released is 'Attempts that gave their job back.';
comment on column weir.rollup.rerun is 'Jobs that were run again by hand: retried or redriven.';
comment on column weir.rollup.wait_seconds is 'How long the jobs of the attempts that ended had been available before they began, all added up.';
comment on column weir.rollup.wait_longest is 'The longest of these waits, in seconds.';
comment on column weir.rollup.waits is 'How many of these waits there were in each bucket; see weir.time_bucket.';
comment on column weir.rollup.run_seconds is 'How long the attempts ran that completed a job, all added up.';
comment on column weir.rollup.run_longest is 'The longest of these runs, in seconds.';
comment on column weir.rollup.runs is 'How many of these runs there were in each bucket; see weir.time_bucket.';

create table weir.rollup_failure (
  at timestamptz not null,
  queue_id int not null,
  kind text not null,
  event weir.event_kind not null,
  type text not null,
  message text not null,
  attempts bigint not null,
  last_at timestamptz not null,
  last_job_id bigint not null
);
create index rollup_failure_at on weir.rollup_failure (at);
comment on table weir.rollup_failure is 'What failed in a minute and why: the fifty most frequent failures of each queue, and one row a kind and event for the others.';
comment on column weir.rollup_failure.at is 'The beginning of the minute.';
comment on column weir.rollup_failure.queue_id is 'weir.queue.id';
comment on column weir.rollup_failure.kind is 'Kind of the jobs.';
comment on column weir.rollup_failure.event is 'How the attempts ended: failed, timed_out or lost.';
comment on column weir.rollup_failure.type is 'The class of the error, its first 100 characters; empty where there is none.';
comment on column weir.rollup_failure.message is 'The error, its first 200 characters.';
comment on column weir.rollup_failure.attempts is 'How many attempts ended so.';
comment on column weir.rollup_failure.last_at is 'When the last of them did.';
comment on column weir.rollup_failure.last_job_id is 'And whose it was.';

create table weir.rollup_cursor (
  one boolean not null default true constraint rollup_cursor_pkey primary key constraint there_is_one_cursor check (one),
  until timestamptz not null,
  seq bigint not null,
  stride int not null default 1
);
comment on table weir.rollup_cursor is 'One row: how far roll-ups have come.';
comment on column weir.rollup_cursor.one is 'True.';
comment on column weir.rollup_cursor.until is 'All minutes before this one are rolled up.';
comment on column weir.rollup_cursor.seq is 'All jobs up to this id are counted.';
comment on column weir.rollup_cursor.stride is 'How many minutes to roll up at once when behind.';
insert into weir.rollup_cursor (until, seq) values (date_bin('1 minute', now(), 'epoch'), 0);

create table weir.rollup_unsettled (
  at timestamptz not null constraint rollup_unsettled_pkey primary key
);
comment on table weir.rollup_unsettled is 'Minutes that were rolled up while a transaction was open that may add to them.';
comment on column weir.rollup_unsettled.at is 'The beginning of the minute.';

create table weir.rollup_unsettled_ids (
  low bigint not null constraint rollup_unsettled_ids_pkey primary key,
  high bigint not null,
  counted jsonb not null
);
comment on table weir.rollup_unsettled_ids is 'Ranges of ids that were counted while a transaction was open that may add to them.';
comment on column weir.rollup_unsettled_ids.low is 'The range begins behind this id,';
comment on column weir.rollup_unsettled_ids.high is 'and ends with this one.';
comment on column weir.rollup_unsettled_ids.counted is 'What was counted: [{at, queue_id, kind, enqueued}].';

-- +goose StatementBegin
create function weir.ended_at(detail jsonb) returns timestamptz language sql immutable as $$
  select (detail ->> 'finished_at')::timestamptz  -- with its offset, so that no setting matters
$$;
-- +goose StatementEnd
comment on function weir.ended_at(jsonb) is 'Internal. When a job had ended that was run again: of the detail of that event.';
create index job_event_ran_again on weir.job_event (weir.ended_at(detail)) where kind in ('retried', 'redriven');

-- +goose StatementBegin
create function weir.time_bucket(seconds float8) returns int language sql immutable as $$
  select case when seconds is null then null when seconds < 0.001 then 1 else least(2 + floor(8 * ln(seconds * 1000) / ln(2.0::float8))::int, 300) end
$$;

create function weir.histogram(buckets int[], counts int[]) returns int[] language plpgsql immutable as $$
declare
  made int[] := array_fill(0, array[coalesce((select max(b) from unnest(buckets) b), 0)]);
begin
  for i in 1..coalesce(cardinality(buckets), 0) loop
    made[buckets[i]] := made[buckets[i]] + counts[i];
  end loop;
  return made;
end $$;

create function weir.add_histograms(a int[], b int[]) returns int[] language sql immutable as $$
  select array(select least(coalesce(u.x, 0)::bigint + coalesce(u.y, 0), 2147483647)::int from unnest(a, b) with ordinality u(x, y, n) order by u.n)
$$;

create aggregate weir.merge_histograms(int[]) (sfunc = weir.add_histograms, stype = int[], initcond = '{}');

create function weir.percentile(histogram int[], fraction float8) returns float8 language plpgsql immutable as $$
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

-- One pass over what ended in a time. Facts and earlier events are looked up one by one, which OFFSET 0 holds the planner to: a join might begin
-- with all facts there are.
create function weir.count_ends(from_at timestamptz, until_at timestamptz, of_queue int default null) returns setof weir.rollup language plpgsql stable
set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off as $$
begin
  return query
  with ends as (
    select o.job_id, o.state::text as what, o.started_at, o.finished_at as ended_at, o.attempt
    from weir.job_outcome o where o.finished_at >= from_at and o.finished_at < until_at and (of_queue is null or o.queue_id = of_queue)
    union all
    select e.job_id, e.detail ->> 'state', (e.detail ->> 'started_at')::timestamptz, weir.ended_at(e.detail), e.attempt
    from weir.job_event e where e.kind in ('retried', 'redriven') and weir.ended_at(e.detail) >= from_at and weir.ended_at(e.detail) < until_at
    union all
    select e.job_id, case when e.kind in ('retried', 'redriven') then 'rerun' else e.kind::text end, e.started_at, e.at, e.attempt
    from weir.job_event e where e.at >= from_at and e.at < until_at
      and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven')
  ), times as (
    select date_bin('1 minute', x.ended_at, 'epoch') as at, j.queue_id, j.kind, x.what, x.attempt,
      case when x.what = 'completed' then greatest(date_part('epoch', x.ended_at - x.started_at), 0) end as run,
      -- Every attempt that failed has its event, so the outcomes of dead and cancelled jobs add no wait.
      case when x.what in ('completed', 'failed', 'timed_out', 'lost', 'snoozed', 'released') and x.started_at is not null then
        greatest(date_part('epoch', x.started_at - coalesce(
          (select max(coalesce(e.run_at, e.at)) from weir.job_event e where e.job_id = x.job_id and coalesce(e.run_at, e.at) <= x.started_at
             and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven', 'edited')),
          j.run_at, j.created_at)), 0) end as wait
    from ends x cross join lateral (select f.queue_id, f.kind, f.run_at, f.created_at from weir.job f where f.id = x.job_id offset 0) j
    where of_queue is null or j.queue_id = of_queue
    offset 0
  ), sized as (
    select t.*, weir.time_bucket(t.wait) as wait_bucket, weir.time_bucket(t.run) as run_bucket from times t
  ), summed as (
    select s.at, s.queue_id, s.kind, s.wait_bucket, s.run_bucket, grouping(s.wait_bucket) as no_wait, grouping(s.run_bucket) as no_run, count(*) as n,
      count(*) filter (where s.what = 'completed') as completed, count(*) filter (where s.what = 'completed' and s.attempt > 1) as completed_later,
      count(*) filter (where s.what = 'dead') as dead, count(*) filter (where s.what = 'cancelled') as cancelled,
      count(*) filter (where s.what = 'failed') as failed, count(*) filter (where s.what = 'timed_out') as timed_out, count(*) filter (where s.what = 'lost') as lost,
      count(*) filter (where s.what = 'snoozed') as snoozed, count(*) filter (where s.what = 'released') as released, count(*) filter (where s.what = 'rerun') as rerun,
      coalesce(sum(s.wait), 0) as wait_seconds, coalesce(max(s.wait), 0) as wait_longest, coalesce(sum(s.run), 0) as run_seconds, coalesce(max(s.run), 0) as run_longest
    from sized s
    group by grouping sets ((s.at, s.queue_id, s.kind), (s.at, s.queue_id, s.kind, s.wait_bucket), (s.at, s.queue_id, s.kind, s.run_bucket))
  )
  select s.at, 60::smallint, s.queue_id, s.kind, 0::bigint, max(s.completed), max(s.completed_later), max(s.dead), max(s.cancelled), max(s.failed), max(s.timed_out), max(s.lost),
    max(s.snoozed), max(s.released), max(s.rerun),
    max(s.wait_seconds), max(s.wait_longest), weir.histogram(array_agg(s.wait_bucket) filter (where s.no_wait = 0 and s.wait_bucket is not null),
      array_agg(s.n::int) filter (where s.no_wait = 0 and s.wait_bucket is not null)),
    max(s.run_seconds), max(s.run_longest), weir.histogram(array_agg(s.run_bucket) filter (where s.no_run = 0 and s.run_bucket is not null),
      array_agg(s.n::int) filter (where s.no_run = 0 and s.run_bucket is not null))
  from summed s group by s.at, s.queue_id, s.kind;
end $$;

create function weir.count_failures(from_at timestamptz, until_at timestamptz, of_queue int default null) returns setof weir.rollup_failure language plpgsql stable
set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return query
  with failures as (
    select date_bin('1 minute', e.at, 'epoch') as at, j.queue_id, j.kind, e.kind as event, coalesce(left(e.detail ->> 'type', 100), '') as type,
      coalesce(left(e.detail ->> 'message', 200), '') as message, count(*) as attempts, max(e.at) as last_at, max(e.job_id) as last_job_id
    from weir.job_event e cross join lateral (select f.queue_id, f.kind from weir.job f where f.id = e.job_id offset 0) j
    where e.at >= from_at and e.at < until_at and e.kind in ('failed', 'timed_out', 'lost') and (of_queue is null or j.queue_id = of_queue)
    group by 1, 2, 3, 4, 5, 6
  ), ranked as (
    select f.*, row_number() over (partition by f.at, f.queue_id order by f.attempts desc, f.last_job_id desc) > 50 as rare from failures f
  )
  select r.at, r.queue_id, r.kind, r.event, case when r.rare then '' else r.type end, case when r.rare then '(others)' else r.message end,
    sum(r.attempts)::bigint, max(r.last_at), max(r.last_job_id)
  from ranked r group by 1, 2, 3, 4, 5, 6;
end $$;

create function weir.count_enqueued(low bigint, high bigint, most int default null, of_queue int default null)
returns table (at timestamptz, queue_id int, kind text, enqueued bigint, highest bigint) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
begin
  return query
  select date_bin('1 minute', j.created_at, 'epoch'), j.queue_id, j.kind, count(*), max(j.id)
  from (select x.id, x.created_at, x.queue_id, x.kind from weir.job x where x.id > count_enqueued.low and x.id <= count_enqueued.high order by x.id limit most) j
  where of_queue is null or j.queue_id = of_queue
  group by 1, 2, 3;
end $$;

create function weir.rollup_rest(of_queue int default null) returns setof weir.rollup language plpgsql stable as $$
declare
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
begin
  return query select * from weir.count_ends(c.until, 'infinity', of_queue);
  return query select e.at, 60::smallint, e.queue_id, e.kind, e.enqueued, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
    0::float8, 0::float8, '{}'::int[], 0::float8, 0::float8, '{}'::int[] from weir.count_enqueued(c.seq, 9223372036854775807, null, of_queue) e;
end $$;

create function weir.failures_rest(of_queue int default null) returns setof weir.rollup_failure language sql stable as $$
  select f.* from weir.rollup_cursor c cross join lateral weir.count_failures(c.until, 'infinity', of_queue) f
$$;

-- Replaces what was counted of these minutes but for the jobs enqueued. Locks: their rows.
create function weir.replace_minutes(from_at timestamptz, until_at timestamptz, again boolean) returns bigint language plpgsql as $$
declare
  rows bigint;
begin
  if again then
    delete from weir.rollup r where r.at >= from_at and r.at < until_at and r.seconds = 60 and r.enqueued = 0;
    update weir.rollup r set completed = 0, completed_later = 0, dead = 0, cancelled = 0, failed = 0, timed_out = 0, lost = 0, snoozed = 0, released = 0, rerun = 0,
      wait_seconds = 0, wait_longest = 0, waits = '{}', run_seconds = 0, run_longest = 0, runs = '{}' where r.at >= from_at and r.at < until_at and r.seconds = 60;
    delete from weir.rollup_failure f where f.at >= from_at and f.at < until_at;
  end if;
  with counted as (
    insert into weir.rollup as r select * from weir.count_ends(from_at, until_at)
    on conflict on constraint rollup_pkey do update set completed = excluded.completed, completed_later = excluded.completed_later, dead = excluded.dead, cancelled = excluded.cancelled,
      failed = excluded.failed, timed_out = excluded.timed_out, lost = excluded.lost, snoozed = excluded.snoozed, released = excluded.released, rerun = excluded.rerun,
      wait_seconds = excluded.wait_seconds, wait_longest = excluded.wait_longest, waits = excluded.waits,
      run_seconds = excluded.run_seconds, run_longest = excluded.run_longest, runs = excluded.runs
    returning r.completed + r.dead + r.cancelled + r.failed + r.timed_out + r.lost + r.snoozed + r.released as n
  )
  select coalesce(sum(c.n), 0) into rows from counted c;
  insert into weir.rollup_failure select * from weir.count_failures(from_at, until_at);
  return rows;
end $$;

create function weir.add_enqueued(counted jsonb, sign int) returns void language sql as $$
  insert into weir.rollup as r (at, queue_id, kind, enqueued)
  select x.at, x.queue_id, x.kind, sign * x.enqueued from jsonb_to_recordset(counted) x(at timestamptz, queue_id int, kind text, enqueued bigint)
  on conflict on constraint rollup_pkey do update set enqueued = r.enqueued + excluded.enqueued
$$;

-- One step, of bounded size: the next range of ids, or the next minutes, or, when there are none, one of what was not settled. One session at a time
-- (advisory lock, transaction level). READ COMMITTED only: it must see what was committed before it read how far everything is visible.
create function weir.roll_up(patience interval default '30 s', most int default 500000, out did text, out counted bigint, out until timestamptz)
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
  select w.settled_at, least(w.seq, (select min(s) from unnest(w.holder_seqs) s)), w.seq into settled_at, settled_seq, drawn_seq
  from weir.watermark w order by w.tick desc limit 1;
  now_at := clock_timestamp();
  select * into c from weir.rollup_cursor;
  until := c.until;

  -- Jobs that are settled; those that are not too, where a transaction has been open for longer than `patience`.
  high := case when c.seq < settled_seq then settled_seq when c.seq < drawn_seq and settled_at <= now_at - patience then drawn_seq end;
  if high is not null then
    select coalesce(jsonb_agg(jsonb_build_object('at', e.at, 'queue_id', e.queue_id, 'kind', e.kind, 'enqueued', e.enqueued)), '[]'),
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
  next_at := c.until + interval '1 minute' * least(c.stride, floor(extract(epoch from least(settled_at, now_at) - c.until) / 60));
  if next_at <= c.until and c.until + interval '1 minute' <= now_at - patience then
    next_at := c.until + interval '1 minute';
    insert into weir.rollup_unsettled (at) values (c.until);
  end if;
  if next_at > c.until then
    did := 'minutes';
    counted := weir.replace_minutes(c.until, next_at, false);
    update weir.rollup_cursor r set until = next_at,
      stride = case when counted < most / 4 then least(r.stride * 2, 240) when counted > most then greatest(r.stride / 2, 1) else r.stride end
    returning r.until into until;
    return;
  end if;

  delete from weir.rollup_unsettled u where u.at = (select min(x.at) from weir.rollup_unsettled x where x.at + interval '1 minute' <= settled_at) returning u.at into next_at;
  if found then
    did := 'late';
    counted := weir.replace_minutes(next_at, next_at + interval '1 minute', true);
    return;
  end if;
  delete from weir.rollup_unsettled_ids u where u.low = (select min(x.low) from weir.rollup_unsettled_ids x where x.high <= settled_seq) returning * into late;
  if found then
    did := 'late';
    perform weir.add_enqueued(late.counted, -1);
    select coalesce(jsonb_agg(to_jsonb(e)), '[]'), coalesce(sum(e.enqueued), 0) into tally, counted from weir.count_enqueued(late.low, late.high) e;
    perform weir.add_enqueued(tally, 1);
    return;
  end if;
  did := 'nothing';
end $$;

-- Folds the oldest hours, an hour a turn, and removes what is older still. Locks: their rows.
create function weir.sweep_rollups(minutes_for interval default '3 days', hours_for interval default '400 days', most int default 24) returns int language plpgsql as $$
declare
  bound timestamptz := date_bin('1 hour', least(now() - minutes_for, (select u.at from weir.rollup_unsettled u order by u.at limit 1),
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
    select hour, 3600, g.queue_id, g.kind, sum(g.enqueued), sum(g.completed), sum(g.completed_later), sum(g.dead), sum(g.cancelled), sum(g.failed), sum(g.timed_out), sum(g.lost),
      sum(g.snoozed), sum(g.released), sum(g.rerun), sum(g.wait_seconds), max(g.wait_longest), weir.merge_histograms(g.waits), sum(g.run_seconds), max(g.run_longest), weir.merge_histograms(g.runs)
    from gone g group by g.queue_id, g.kind
    on conflict on constraint rollup_pkey do update set enqueued = r.enqueued + excluded.enqueued, completed = r.completed + excluded.completed,
      completed_later = r.completed_later + excluded.completed_later, dead = r.dead + excluded.dead, cancelled = r.cancelled + excluded.cancelled, failed = r.failed + excluded.failed,
      timed_out = r.timed_out + excluded.timed_out, lost = r.lost + excluded.lost, snoozed = r.snoozed + excluded.snoozed, released = r.released + excluded.released, rerun = r.rerun + excluded.rerun,
      wait_seconds = r.wait_seconds + excluded.wait_seconds, wait_longest = greatest(r.wait_longest, excluded.wait_longest), waits = weir.add_histograms(r.waits, excluded.waits),
      run_seconds = r.run_seconds + excluded.run_seconds, run_longest = greatest(r.run_longest, excluded.run_longest), runs = weir.add_histograms(r.runs, excluded.runs);
    folded := folded + 1;
  end loop;
  delete from weir.rollup_failure f where f.at < bound;
  delete from weir.rollup r where r.seconds = 3600 and r.at < now() - hours_for;
  return folded;
end $$;
-- +goose StatementEnd
comment on function weir.time_bucket(float8) is
  'The bucket of a time in seconds: 1 below 1 ms, then eight to each doubling: bucket n from 2^((n-2)/8) to 2^((n-1)/8) ms; 300, for over four years, is the last.';
comment on function weir.histogram(int[], int[]) is 'Internal. The array with these counts in these buckets.';
comment on function weir.add_histograms(int[], int[]) is 'Internal. Adds two histograms bucket by bucket. A bucket holds at most 2^31 - 1.';
comment on aggregate weir.merge_histograms(int[]) is 'Adds histograms of times (weir.rollup.waits, runs), of whatever minutes, queues and kinds. weir.percentile reads the sum.';
comment on function weir.percentile(int[], float8) is
  'A percentile of a histogram of times, in seconds; fraction is 0.5, 0.95, 0.99, … The nearest-rank percentile, at most 4.5 % off, or 0.5 ms below 1 ms. Null where the histogram is empty.';
comment on function weir.count_ends(timestamptz, timestamptz, int) is 'Internal. Counts what ended from one time until before another, by minute, queue and kind.';
comment on function weir.count_failures(timestamptz, timestamptz, int) is 'Internal. Counts the attempts that failed from one time until before another, by minute, queue, kind and error.';
comment on function weir.count_enqueued(bigint, bigint, int, int) is 'Internal. Counts the jobs with ids above low and up to high, the first `most` of them, by minute, queue and kind.';
comment on function weir.rollup_rest(int) is 'Internal. What is not rolled up yet, counted now.';
comment on function weir.failures_rest(int) is 'Internal. The failures that are not rolled up yet, counted now.';
comment on function weir.replace_minutes(timestamptz, timestamptz, boolean) is 'Internal. Rolls up these minutes, but for the jobs enqueued; `again`: they were before. Returns how many ends and attempts.';
comment on function weir.add_enqueued(jsonb, int) is 'Internal. Adds jobs enqueued to their minutes, or with sign -1 takes them away.';
comment on function weir.roll_up(interval, int) is
  'Rolls up the next part of what happened: up to `most` jobs enqueued, or the next minutes. What is not settled waits for up to `patience`, and is counted again when it is. '
  'did: jobs, minutes, late (something was counted again), nothing (all is rolled up), or busy (another session is at it); until: all minutes before are rolled up. The service calls it every minute.';
comment on function weir.sweep_rollups(interval, interval, int) is
  'Folds minutes older than minutes_for into hours, up to `most` hours, and removes hours older than hours_for, and failures older than minutes_for. Returns how many hours were folded.';

create view weir.throughput as
select x.at, x.seconds, q.name as queue, x.kind, sum(x.enqueued)::bigint as enqueued, sum(x.completed)::bigint as completed, sum(x.completed_later)::bigint as completed_later,
  sum(x.dead)::bigint as dead, sum(x.cancelled)::bigint as cancelled, sum(x.failed)::bigint as failed, sum(x.timed_out)::bigint as timed_out, sum(x.lost)::bigint as lost,
  sum(x.snoozed)::bigint as snoozed, sum(x.released)::bigint as released, sum(x.rerun)::bigint as rerun
from (select * from weir.rollup union all select * from weir.rollup_rest()) x
join weir.queue q on q.id = x.queue_id
group by 1, 2, 3, 4;
comment on view weir.throughput is
  'How much: what was enqueued and what ended in each minute (seconds: 60; 3600 in rows of more than three days ago, which are of an hour), by queue and kind. The last minutes are counted when you look.';
comment on column weir.throughput.queue is 'The name of the queue.';

create view weir.latency as
select x.at, x.seconds, q.name as queue, x.kind, w.attempts, x.wait_seconds / nullif(w.attempts, 0) as wait_mean,
  least(weir.percentile(x.waits, 0.5), x.wait_longest) as wait_p50, least(weir.percentile(x.waits, 0.95), x.wait_longest) as wait_p95,
  least(weir.percentile(x.waits, 0.99), x.wait_longest) as wait_p99, x.wait_longest,
  x.completed, x.run_seconds / nullif(x.completed, 0) as run_mean,
  least(weir.percentile(x.runs, 0.5), x.run_longest) as run_p50, least(weir.percentile(x.runs, 0.95), x.run_longest) as run_p95,
  least(weir.percentile(x.runs, 0.99), x.run_longest) as run_p99, x.run_longest, x.waits, x.runs
from (select * from weir.rollup union all select * from weir.rollup_rest()) x
join weir.queue q on q.id = x.queue_id
cross join lateral (select coalesce(sum(n), 0)::bigint as attempts from unnest(x.waits) n) w
where x.waits <> '{}' or x.runs <> '{}';
comment on view weir.latency is
  'How long, in seconds: how long jobs were available before an attempt began, and how long the attempts ran that completed one; by minute (or hour), queue and kind. An attempt belongs to the minute in '
  'which it ended. Percentiles are at most 4.5 % off; to have them over several rows: weir.percentile(weir.merge_histograms(waits), 0.95).';
comment on column weir.latency.queue is 'The name of the queue.';
comment on column weir.latency.attempts is 'Attempts that ended, and whose waits these are.';
comment on column weir.latency.wait_mean is 'Mean wait.';
comment on column weir.latency.wait_p50 is 'Median of the waits.';
comment on column weir.latency.wait_p95 is '95th percentile of the waits.';
comment on column weir.latency.wait_p99 is '99th percentile of the waits.';
comment on column weir.latency.run_mean is 'Mean run of the attempts that completed a job.';
comment on column weir.latency.run_p50 is 'Median of these runs.';
comment on column weir.latency.run_p95 is '95th percentile of these runs.';
comment on column weir.latency.run_p99 is '99th percentile of these runs.';

create view weir.failures as
select x.at, q.name as queue, x.kind, x.event, x.type, x.message, x.attempts, x.last_at, x.last_job_id
from (select * from weir.rollup_failure union all select * from weir.failures_rest()) x
join weir.queue q on q.id = x.queue_id;
comment on view weir.failures is
  'What fails: failed attempts of the last three days by minute, queue, kind and error; of each minute and queue the fifty most frequent, the others as one row with the message (others).';
comment on column weir.failures.queue is 'The name of the queue.';

-- A column of these views that is a column of a roll-up says what that one says.
-- +goose StatementBegin
do $do$
declare
  c record;
begin
  for c in
    select v.relname as view, a.attname as name, col_description(b.attrelid, b.attnum) as description
    from (values ('throughput', 'weir.rollup'), ('latency', 'weir.rollup'), ('failures', 'weir.rollup_failure')) s(view, source)
    join pg_class v on v.relname = s.view and v.relnamespace = 'weir'::regnamespace
    join pg_attribute a on a.attrelid = v.oid and a.attnum > 0 and col_description(v.oid, a.attnum) is null
    join pg_attribute b on b.attrelid = s.source::regclass and b.attname = a.attname
  loop
    execute format('comment on column weir.%I.%I is %L', c.view, c.name, c.description);
  end loop;
end $do$;
-- +goose StatementEnd

-- +goose Down
drop view weir.failures, weir.latency, weir.throughput;
drop function weir.sweep_rollups(interval, interval, int), weir.roll_up(interval, int), weir.add_enqueued(jsonb, int), weir.replace_minutes(timestamptz, timestamptz, boolean),
  weir.failures_rest(int), weir.rollup_rest(int), weir.count_enqueued(bigint, bigint, int, int), weir.count_failures(timestamptz, timestamptz, int), weir.count_ends(timestamptz, timestamptz, int);
drop aggregate weir.merge_histograms(int[]);
drop function weir.percentile(int[], float8), weir.add_histograms(int[], int[]), weir.histogram(int[], int[]), weir.time_bucket(float8);
drop index weir.job_event_ran_again;
drop function weir.ended_at(jsonb);
drop table weir.rollup_unsettled_ids, weir.rollup_unsettled, weir.rollup_cursor, weir.rollup_failure, weir.rollup;
