-- Workers under control: who they are, how many jobs each may have at once, and whether it is to get any at all. Nobody needs to register.
--
-- Two tables, so that what people decide never waits for what workers do: weir.worker is written by registration and by people,
-- weir.worker_sign by signs of life, perhaps in an application's long transaction. A claim reads only weir.worker, which is written so
-- seldom that the look is quick however long the horizon is held back.
--
-- Capacity: leases of a worker that has one are flagged (job_lease.counted) and so in an index of their own. A claim takes a try-lock on the
-- worker's name before it counts them, and has it until its transaction ends, so of two claims at once one gets nothing.
--
-- +goose Up
create table weir.worker (
  name text not null constraint worker_pkey primary key constraint worker_name_is_1_to_200_characters check (length(name) between 1 and 200),
  decided_at timestamptz not null default clock_timestamp(),
  registered_at timestamptz,
  hostname text,
  version text,
  queues text[] not null default '{}',
  labels jsonb not null default '{}',
  capacity int constraint capacity_is_1_to_10000 check (capacity between 1 and 10000),
  capped_at timestamptz,
  paused_at timestamptz,
  draining_at timestamptz
);
comment on table weir.worker is 'What workers said of themselves when they registered, and what people decided about them. A worker may have no row here.';
comment on column weir.worker.name is 'The name that its claims give, 1 to 200 characters.';
comment on column weir.worker.decided_at is 'When this row came: it registered, or somebody decided something about it.';
comment on column weir.worker.registered_at is 'When it first registered; null: it never did, or was removed since.';
comment on column weir.worker.hostname is 'The machine that it says it runs on.';
comment on column weir.worker.version is 'Its version, as it says.';
comment on column weir.worker.queues is 'The queues that it says it works on. For people: a claim names its queues itself.';
comment on column weir.worker.labels is 'Anything it wants to be known by: an object of strings, at most 8 KiB.';
comment on column weir.worker.capacity is 'It may have so many jobs at once, on all nodes together; null: no limit.';
comment on column weir.worker.capped_at is 'Since when it has had a capacity without a break. Its leases since then, and those it had, are counted.';
comment on column weir.worker.paused_at is 'While set, its claims get nothing.';
comment on column weir.worker.draining_at is 'While set, its claims get nothing, because it is to finish what it has and end.';

create table weir.worker_sign (
  name text not null constraint worker_sign_pkey primary key,
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  load float8,
  counted_from timestamptz,
  capped_at timestamptz
) with (fillfactor = 50, autovacuum_vacuum_threshold = 1000);
comment on table weir.worker_sign is 'Signs of life of workers, each written at most every 5 seconds. One that never registered has its only row here.';
comment on column weir.worker_sign.name is 'The name that its claims give.';
comment on column weir.worker_sign.first_seen_at is 'Its first sign of life.';
comment on column weir.worker_sign.last_seen_at is 'Its last claim or heartbeat of its own. A heartbeat of a job is not written here: its lease tells.';
comment on column weir.worker_sign.load is 'How busy it last said it is; what the number means is its own affair.';
comment on column weir.worker_sign.counted_from is 'All of its counted leases began at or after this: where counting them starts.';
comment on column weir.worker_sign.capped_at is 'The weir.worker.capped_at for which counted_from holds.';

create index job_lease_counted on weir.job_lease (worker, leased_at) where counted;

-- +goose StatementBegin
create function weir.worker_lock(name text) returns bigint language sql immutable as $$
  select hashtextextended('weir.worker ' || name, 0)
$$;

create function weir.refuse_worker(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR015', message = format('there is no worker %L', refuse_worker.name),
    hint = 'A worker comes into being at its first claim, or when it registers; one that is removed or silent for long is forgotten.';
end $$;

-- Locks: worker_sign rows, skip locked. A name that is new is inserted only by whoever gets the try-lock on it, because an insert
-- would wait for another transaction that inserts the same. It waits for nobody.
create function weir.see_workers(names text[], seconds_ago float8[] default null) returns void language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  now_at timestamptz := clock_timestamp();
  known text[];
  stale boolean;
  unknown text;
begin
  select array_agg(s.name), bool_or(s.last_seen_at < now_at - interval '5 s') into known, stale from weir.worker_sign s where s.name = any (names);
  -- In stricter levels a row that somebody has just written would be an error, and that for no more than a sign of life.
  if not stale and names <@ known or current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    return;
  end if;
  if stale then
    with free as materialized (
      select s.name from weir.worker_sign s where s.name = any (names) and s.last_seen_at < now_at - interval '5 s' for no key update skip locked
    )
    update weir.worker_sign s set
      last_seen_at = greatest(s.last_seen_at, now_at - make_interval(secs => coalesce(u.ago, 0))),
      capped_at = w.capped_at,
      counted_from = case when w.capped_at is not null then weir.count_from(s.name, case when s.capped_at = w.capped_at then s.counted_from end) end
    from unnest(names, seconds_ago) u(name, ago) left join weir.worker w on w.name = u.name
    where s.name = u.name and s.name in (select f.name from free f);
  end if;
  for unknown, now_at in
    select u.name, now_at - make_interval(secs => coalesce(u.ago, 0)) from unnest(names, seconds_ago) u(name, ago) where u.name <> all (coalesce(known, '{}')) loop
    if pg_try_advisory_xact_lock(weir.worker_lock('sign ' || unknown)) then
      insert into weir.worker_sign (name, first_seen_at, last_seen_at) values (unknown, now_at, now_at) on conflict on constraint worker_sign_pkey do nothing;
    end if;
  end loop;
end $$;

-- A lease that is yet to be committed began after the watermark's settled_at.
create function weir.count_from(worker text, last timestamptz) returns timestamptz language sql volatile
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
  select least((select w.settled_at from weir.watermark w order by w.tick desc limit 1),
    (select l.leased_at from weir.job_lease l where l.worker = count_from.worker and l.counted and l.leased_at >= coalesce(last, '-infinity') order by l.leased_at limit 1))
$$;

create function weir.count_leases(workers text[], capped_ats timestamptz[]) returns bigint[] language sql volatile
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select array_agg((select count(*) from weir.job_lease l where l.worker = u.worker and l.counted
      and l.leased_at >= coalesce((select s.counted_from from weir.worker_sign s where s.name = u.worker and s.capped_at = u.capped_at), '-infinity')) order by u.n)
  from unnest(workers, capped_ats) with ordinality u(worker, capped_at, n)
$$;

-- Called by a claim for all of its slots at once, where some worker has a capacity, is paused or drains.
-- Locks: a try-lock (advisory, transaction level) on the name of each worker with a capacity. Where somebody else has it, the worker gets
-- nothing this time.
create function weir.admit_claims(workers text[], counts int[], out allowed int[], out refusals text[], out counted boolean[])
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  names text[];
  capacities int[];
  capped_ats timestamptz[];
  halts text[];
  had bigint[];
begin
  select array_agg(w.name), array_agg(w.capacity), array_agg(w.capped_at), array_agg(case
      when w.draining_at is not null then 'draining'
      when w.paused_at is not null then 'paused'
      when not pg_try_advisory_xact_lock(weir.worker_lock(w.name)) then 'at_capacity' end)
    into names, capacities, capped_ats, halts
  from weir.worker w where w.name = any (workers) and (w.capacity is not null or w.paused_at is not null or w.draining_at is not null);
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') and exists (select from unnest(halts) h where h is null) then
    raise exception using errcode = 'WR010', message = 'a worker with a capacity claims in a READ COMMITTED transaction',
      hint = 'In a stricter one the jobs that it has cannot be counted. Claim in a transaction of its own, or take away the capacity.', column = 'worker';
  end if;
  -- Only now, with a new snapshot: it sees what those had committed who had the locks before.
  had := weir.count_leases(names, capped_ats);
  select array_agg(greatest(least(a.count, a.room - a.before), 0)::int order by a.n),
         array_agg(case when a.count > a.room - a.before then coalesce(a.halt, 'at_capacity') end order by a.n),
         array_agg(case when a.capacity is not null then true end order by a.n)
    into allowed, refusals, counted
  from (
    select u.n, u.count, case when r.halt is null then r.capacity - r.had else 0 end as room, r.halt, r.capacity, sum(u.count) over (partition by u.name order by u.n) - u.count as before
    from unnest(workers, counts) with ordinality u(name, count, n)
    left join unnest(names, had, halts, capacities) r(name, had, halt, capacity) on r.name = u.name) a;
end $$;

create function weir.claim_refusal(worker text) returns text language sql stable as $$
  select case
    when w.draining_at is not null then 'draining'
    when w.paused_at is not null then 'paused'
    when w.capacity <= (weir.count_leases(array[w.name], array[w.capped_at]))[1] then 'at_capacity' end
  from weir.worker w where w.name = claim_refusal.worker
$$;
-- +goose StatementEnd
comment on function weir.worker_lock(text) is 'Internal. The key of the advisory lock on a worker''s name.';
comment on function weir.refuse_worker(text) is 'Internal. Raises WR015 worker_not_found.';
comment on function weir.see_workers(text[], float8[]) is
  'These workers were seen, so many seconds ago (null: now): makes those known that were not, and notes the time, at most every 5 seconds for each. The service calls it for all '
  'that claim through it; weir.claim calls it too. Skips what others have locked. Names must be distinct.';
comment on function weir.count_from(text, timestamptz) is 'Internal. A time that no counted lease of this worker lies before; the last such time spares it the leases before that.';
comment on function weir.count_leases(text[], timestamptz[]) is 'Internal. How many counted leases each of these workers has.';
comment on function weir.admit_claims(text[], int[]) is
  'Internal. How many jobs each slot of a claim may get (allowed), why not all that it asked for (refusals: draining, paused, at_capacity, or null), and whether its leases are counted. Errors: WR010.';
comment on function weir.claim_refusal(text) is
  'Why a claim by this worker gets nothing just now: draining, paused, at_capacity (it has as many jobs as it may), or null: nothing keeps it.';

-- A worker is lost after 30 seconds without a sign of life. That is found out by whoever looks, so it is never late.
create view weir.workers as
select n.name,
  case when x.last_seen_at < clock_timestamp() - interval '30 s' then 'lost'
    when w.draining_at is not null then 'draining'
    when w.paused_at is not null then 'paused'
    else 'active' end as state,
  w.hostname, w.version, coalesce(w.queues, '{}') as queues, coalesce(w.labels, '{}') as labels, w.capacity, coalesce(l.running, 0) as running, s.load,
  coalesce(least(w.registered_at, s.first_seen_at), x.last_seen_at) as registered_at, x.last_seen_at, w.paused_at, w.draining_at
from (select k.name from weir.worker k union select k.name from weir.worker_sign k) n
left join weir.worker w on w.name = n.name
left join weir.worker_sign s on s.name = n.name
left join (select k.worker, count(*) as running, max(greatest(k.leased_at, k.expires_at - make_interval(secs => k.lease_seconds))) as seen_at
           from weir.job_lease k group by k.worker) l on l.worker = n.name
cross join lateral (select greatest(s.last_seen_at, l.seen_at, case when s.name is null then w.decided_at end) as last_seen_at) x;
comment on view weir.workers is 'Who works: workers that registered or claimed, whether they are well, and how many jobs they have. Reads all running jobs once.';
comment on column weir.workers.state is 'lost: no sign of life for 30 seconds; else draining, paused or active. One that drains and has running 0 is done.';
comment on column weir.workers.running is 'Jobs that it has now.';
comment on column weir.workers.registered_at is 'When it registered or was first seen.';
comment on column weir.workers.last_seen_at is 'Its last sign of life: a claim, a heartbeat of its own or of one of the jobs that it has. Up to 5 seconds old where it claims all the time.';

-- +goose StatementBegin
create function weir.know_worker(name text) returns void language plpgsql as $$
begin
  if not exists (select from weir.worker w where w.name = know_worker.name) and not exists (select from weir.worker_sign s where s.name = know_worker.name) then
    perform weir.refuse_worker(know_worker.name);
  end if;
end $$;

-- Locks: the worker's row; and, where it gets a capacity that had none, the job_lease rows that it has, skip locked.
create function weir.set_worker(name text, settings jsonb, replace boolean) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  unknown text;
  problem text;
  now_capped boolean;
begin
  if set_worker.name is null or length(set_worker.name) not between 1 and 200 then
    perform weir.refuse_argument('name', 'must have 1 to 200 characters');
  end if;
  if jsonb_typeof(settings) is distinct from 'object' then
    perform weir.refuse_argument('settings', 'must be a JSON object');
  end if;
  select k into unknown from jsonb_object_keys(settings) k where k not in ('hostname', 'capacity', 'queues', 'version', 'labels') limit 1;
  if unknown is not null then
    perform weir.refuse_argument(unknown, 'is nothing that is known of a worker', 'Known are: hostname, capacity, queues, version, labels.');
  end if;
  select r.field, r.problem into unknown, problem from (values
      ('hostname', case when coalesce(jsonb_typeof(settings -> 'hostname'), 'null') not in ('string', 'null') or length(settings ->> 'hostname') > 255 then 'must be a text of at most 255 characters' end),
      ('version', case when coalesce(jsonb_typeof(settings -> 'version'), 'null') not in ('string', 'null') or length(settings ->> 'version') > 200 then 'must be a text of at most 200 characters' end),
      ('capacity', weir.integer_problem(settings -> 'capacity', 0, 10000)),
      ('queues', case
        when coalesce(jsonb_typeof(settings -> 'queues'), 'null') = 'null' then null
        when jsonb_typeof(settings -> 'queues') <> 'array' or jsonb_array_length(settings -> 'queues') > 100
          or exists (select from jsonb_array_elements(settings -> 'queues') q where jsonb_typeof(q) <> 'string' or q #>> '{}' !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$')
        then 'must be at most 100 names of queues' end),
      ('labels', case
        when coalesce(jsonb_typeof(settings -> 'labels'), 'null') = 'null' then null
        when jsonb_typeof(settings -> 'labels') <> 'object' or octet_length((settings -> 'labels')::text) > 8192
          or exists (select from jsonb_each(settings -> 'labels') l where jsonb_typeof(l.value) <> 'string')
        then 'must be an object of texts, at most 8 KiB' end)) r(field, problem) where r.problem is not null limit 1;
  if problem is not null then
    perform weir.refuse_argument(unknown, problem);
  end if;
  insert into weir.worker (name) values (set_worker.name) on conflict do nothing;
  perform from weir.worker w where w.name = set_worker.name for no key update;
  update weir.worker w set
    hostname = case when settings ? 'hostname' or replace then settings ->> 'hostname' else w.hostname end,
    version = case when settings ? 'version' or replace then settings ->> 'version' else w.version end,
    queues = case when jsonb_typeof(settings -> 'queues') = 'array' then array(select jsonb_array_elements_text(settings -> 'queues'))
                  when settings ? 'queues' or replace then '{}' else w.queues end,
    labels = case when jsonb_typeof(settings -> 'labels') = 'object' then settings -> 'labels' when settings ? 'labels' or replace then '{}' else w.labels end,
    capacity = case when jsonb_typeof(settings -> 'capacity') = 'number' then nullif((settings ->> 'capacity')::numeric::int, 0)
                    when settings ? 'capacity' or replace then 10 else w.capacity end
  where w.name = set_worker.name;
  update weir.worker w set capped_at = case when w.capacity is not null then clock_timestamp() end
  where w.name = set_worker.name and (w.capacity is null) <> (w.capped_at is null) returning w.capped_at is not null into now_capped;
  if now_capped then
    update weir.job_lease l set counted = true
    where l.job_id = any (array(select x.job_id from weir.job_lease x where x.worker = set_worker.name and x.counted is not true for no key update skip locked));
  end if;
  perform pg_notify('weir_worker', set_worker.name);
end $$;

create function weir.register_worker(name text, settings jsonb default '{}') returns void language plpgsql as $$
begin
  perform weir.set_worker(register_worker.name, settings, true);
  update weir.worker w set registered_at = clock_timestamp() where w.name = register_worker.name and w.registered_at is null;
  perform weir.see_workers(array[register_worker.name]);
end $$;

create function weir.edit_worker(name text, changes jsonb) returns void language plpgsql as $$
begin
  perform weir.know_worker(edit_worker.name);
  perform weir.set_worker(edit_worker.name, changes, false);
end $$;

-- Locks: the worker_sign row, skip locked.
create function weir.worker_heartbeat(name text, load float8 default null, out state text, out capacity int, out registered boolean) language plpgsql as $$
#variable_conflict use_variable
begin
  if load < 0 or load > 1000000 or load = 'NaN' then
    perform weir.refuse_argument('load', 'must be from 0 to 1000000');
  end if;
  perform weir.know_worker(worker_heartbeat.name);
  perform weir.see_workers(array[worker_heartbeat.name]);
  update weir.worker_sign s set last_seen_at = clock_timestamp(), load = coalesce(worker_heartbeat.load, s.load)
  where s.name = any (array(select x.name from weir.worker_sign x where x.name = worker_heartbeat.name for no key update skip locked));
  select case when w.draining_at is not null then 'draining' when w.paused_at is not null then 'paused' else 'active' end, w.capacity, w.registered_at is not null
    into state, capacity, registered from weir.worker w where w.name = worker_heartbeat.name;
  state := coalesce(state, 'active');
  registered := coalesce(registered, false);
end $$;

create function weir.pause_worker(name text) returns void language plpgsql as $$
begin
  perform weir.know_worker(pause_worker.name);
  insert into weir.worker as w (name, paused_at) values (pause_worker.name, clock_timestamp())
  on conflict on constraint worker_pkey do update set paused_at = coalesce(w.paused_at, excluded.paused_at);
end $$;

create function weir.drain_worker(name text) returns void language plpgsql as $$
begin
  perform weir.know_worker(drain_worker.name);
  insert into weir.worker as w (name, draining_at) values (drain_worker.name, clock_timestamp())
  on conflict on constraint worker_pkey do update set draining_at = coalesce(w.draining_at, excluded.draining_at);
end $$;

create function weir.resume_worker(name text) returns void language plpgsql as $$
begin
  perform weir.know_worker(resume_worker.name);
  update weir.worker w set paused_at = null, draining_at = null where w.name = resume_worker.name;
  perform pg_notify('weir_worker', resume_worker.name);
end $$;

-- Locks: the job_lease rows that it has, in the order of their ids, skip locked: what somebody is just completing is left to that.
create function weir.remove_worker(name text) returns int language plpgsql set jit = off as $$
declare
  ids bigint[];
  tokens bigint[];
  moved int := 0;
begin
  perform weir.know_worker(remove_worker.name);
  delete from weir.worker w where w.name = remove_worker.name;
  delete from weir.worker_sign s where s.name = any (array(select x.name from weir.worker_sign x where x.name = remove_worker.name for update skip locked));
  select array_agg(l.job_id), array_agg(l.token) into ids, tokens
  from (select x.job_id, x.token from weir.job_lease x where x.worker = remove_worker.name order by x.job_id for update skip locked) l;
  if ids is not null then
    select count(*) into moved from weir.put_back(ids, tokens, array_fill(null::interval, array[cardinality(ids)]), 'released', '{"reason": "worker_removed"}');
  end if;
  perform pg_notify('weir_worker', remove_worker.name);
  return moved;
end $$;

create function weir.sweep_workers(silent_for interval default '7 days') returns int language plpgsql set jit = off as $$
declare
  gone text[] := array(select v.name from weir.workers v where v.last_seen_at < clock_timestamp() - silent_for and v.running = 0 and v.paused_at is null);
begin
  delete from weir.worker w where w.name = any (gone);
  delete from weir.worker_sign s where s.name = any (gone);
  return cardinality(gone);
end $$;

-- What ended in a span of time is found by the BRIN indexes on finished_at and at, so a call reads what all workers ended in that span.
create function weir.worker_history(worker text, since timestamptz default now() - interval '1 hour', before timestamptz default 'infinity', before_job bigint default null, max_rows int default 100)
returns table (job_id bigint, kind text, queue text, attempt smallint, outcome text, started_at timestamptz, ended_at timestamptz, error text)
language plpgsql stable set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
  select h.job_id, (select j.kind from weir.job j where j.id = h.job_id),
    (select q.name from weir.queue q where q.id = (select j.queue_id from weir.job j where j.id = h.job_id)), h.attempt, h.outcome, h.started_at, h.ended_at, h.error
  from (
    (select o.job_id, o.attempt, 'completed' as outcome, o.started_at, o.finished_at as ended_at, null::text as error from weir.job_outcome o
     where o.finished_at >= since and o.finished_at <= before and o.worker = worker_history.worker and o.state = 'completed'
       and (before_job is null or (o.finished_at, o.job_id) < (before, before_job))
     order by o.finished_at desc, o.job_id desc limit max_rows)
    union all
    (select e.job_id, e.attempt, e.kind::text, e.started_at, e.at, left(e.detail ->> 'message', 200) from weir.job_event e
     where e.at >= since and e.at <= before and e.worker = worker_history.worker and e.started_at is not null
       and (before_job is null or (e.at, e.job_id) < (before, before_job))
     order by e.at desc, e.job_id desc limit max_rows)) h
  order by h.ended_at desc, h.job_id desc limit max_rows;
end $$;

create function weir.worker_stats(span interval default '1 hour', only_worker text default null)
returns table (worker text, completed bigint, failed bigint, busy interval) language plpgsql stable set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  now_at timestamptz := clock_timestamp();
  since timestamptz := now_at - span;
begin
  return query
  select a.worker, sum(a.completed)::bigint, sum(a.failed)::bigint, sum(a.until - greatest(a.started_at, since)) from (
    select o.worker, 1 as completed, 0 as failed, o.started_at, o.finished_at as until from weir.job_outcome o where o.finished_at > since and o.state = 'completed'
      and (only_worker is null or o.worker = only_worker)
    union all
    select e.worker, 0, case when e.kind in ('failed', 'timed_out', 'lost') then 1 else 0 end, e.started_at, e.at from weir.job_event e
      where e.at > since and e.started_at is not null and (only_worker is null or e.worker = only_worker)
    union all
    select l.worker, 0, 0, l.leased_at, greatest(now_at, l.leased_at) from weir.job_lease l where only_worker is null or l.worker = only_worker) a
  where a.worker is not null group by a.worker;
end $$;
-- +goose StatementEnd
comment on function weir.know_worker(text) is 'Internal. Raises WR015 unless the worker registered, claimed, or was decided about.';
comment on function weir.set_worker(text, jsonb, boolean) is 'Internal. What register_worker and edit_worker have in common.';
comment on function weir.register_worker(text, jsonb) is
  'A worker says what it is: {hostname, capacity, queues, version, labels}; capacity is how many jobs it may have at once (default 10; 0: no limit). What is not named is forgotten; '
  'a pause or drain stays. Errors: WR010.';
comment on function weir.edit_worker(text, jsonb) is 'Changes what is named of {hostname, capacity, queues, version, labels}; see register_worker. Errors: WR010, WR015.';
comment on function weir.worker_heartbeat(text, float8) is
  'The worker lives; load is any number from 0 to 1000000 (null: as it was). Returns whether it is active, paused or draining, its capacity (null: no limit), and whether it is registered: one that was removed is not, and may do so again. Errors: WR010, WR015.';
comment on function weir.pause_worker(text) is 'From now on claims by this worker get nothing; it goes on with what it has. Errors: WR015.';
comment on function weir.drain_worker(text) is 'The worker is to finish what it has and end: from now on its claims get nothing. It is done when weir.workers shows running 0. Errors: WR015.';
comment on function weir.resume_worker(text) is 'Ends a pause and a drain. Errors: WR015.';
comment on function weir.remove_worker(text) is
  'Forgets a worker and gives its jobs back at once: available, no attempt lost, its tokens stale. A job that a transaction is just completing is left to that. '
  'Returns how many jobs. Should the worker claim again, it is known again. Errors: WR015.';
comment on function weir.sweep_workers(interval) is 'Forgets workers without jobs that gave no sign of life for so long; one that is paused stays. Returns how many. The service calls it every ten minutes.';
comment on function weir.worker_history(text, timestamptz, timestamptz, bigint, int) is
  'Attempts of this worker that ended from since to before (with before_job: before that job of that moment), newest first: completed, failed, timed_out, lost, snoozed or released. '
  'Reads all that ended in that time, and what no vacuum has been at since: about a second for five million.';
comment on function weir.worker_stats(interval, text) is
  'For each worker, or one: attempts completed and failed (timed out and lost ones included) in the last span, and how long it was busy in it, all its jobs added up, running ones included. '
  'Reads all that ended in that time, and what no vacuum has been at since: about a second for a million.';

-- +goose Down
drop function weir.worker_stats(interval, text), weir.worker_history(text, timestamptz, timestamptz, bigint, int), weir.sweep_workers(interval), weir.remove_worker(text),
  weir.resume_worker(text), weir.drain_worker(text), weir.pause_worker(text), weir.worker_heartbeat(text, float8), weir.edit_worker(text, jsonb),
  weir.register_worker(text, jsonb), weir.set_worker(text, jsonb, boolean), weir.know_worker(text);
drop view weir.workers;
drop function weir.claim_refusal(text), weir.admit_claims(text[], int[]), weir.count_leases(text[], timestamptz[]), weir.count_from(text, timestamptz),
  weir.see_workers(text[], float8[]), weir.refuse_worker(text), weir.worker_lock(text);
drop index weir.job_lease_counted;
drop table weir.worker_sign, weir.worker;
