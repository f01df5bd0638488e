-- Circuit breakers: they watch the failures of the things that jobs depend on, and hold the jobs while a dependency
-- fails.
--
--               failures reach the threshold                 the wait is over
--   closed ────────────────────────────────────▶ open ──────────────────────────▶ half_open
--      ▲                                           ▲                                 │   │
--      │                                           └── a probe fails: wait longer ───┘   │
--      └──────────────────────────────── enough probes succeed ──────────────────────────┘
--
-- A breaker is gated while it is open or half_open, and after it closed until the jobs that it held are back. Claims
-- check gated breakers only (breaker_policy.sql). Each change of state holds a transaction-level advisory lock on the
-- breaker, taken with a try: one session makes the change, and no other waits for it. The lock is short, because
-- samples are evaluated by a trigger at commit, however long the transaction was.

create or replace function weir.refuse_breaker(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR065', message = format('there is no breaker %L', refuse_breaker.name),
    hint = 'The first job that names a breaker creates it, and so does weir.set_breaker.';
end $$;
comment on function weir.refuse_breaker(text) is 'Internal. Raises WR065 breaker_not_found.';

create or replace function weir.breaker_key(id int) returns bigint language sql immutable as $$
  select hashtextextended('weir.breaker ' || id, 0)
$$;
comment on function weir.breaker_key(int) is 'Internal. The advisory lock of a breaker; transaction level only.';

-- Called by enqueues. Like weir.ensure_queues, it takes no lock on a breaker that exists.
create or replace function weir.ensure_breakers(names text[]) returns void language plpgsql as $$
begin
  if (select count(*) from weir.breaker b where b.name = any (names) and b.deleted_at is null) < cardinality(names) then
    insert into weir.breaker as b (name, failure_threshold)
    select n, 5 from unnest(names) n where not exists (select from weir.breaker x
      where x.name = n and x.deleted_at is null) order by n
    on conflict (name) do update set deleted_at = null, created_at = clock_timestamp() where b.deleted_at is not null;
  end if;
end $$;
comment on function weir.ensure_breakers(text[]) is
  'Internal. Creates the breakers of these distinct names that do not exist.';

create or replace function weir.breaker_by_name(name text) returns weir.breaker language plpgsql
  set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  select * into b from weir.breaker x where x.name = breaker_by_name.name and x.deleted_at is null;
  if not found then
    perform weir.refuse_breaker(breaker_by_name.name);
  end if;
  return b;
end $$;
comment on function weir.breaker_by_name(text) is 'Internal. The breaker of this name. Errors: WR065.';

-- For changes by hand: waits for a session that is changing the breaker.
create or replace function weir.lock_breaker(name text) returns weir.breaker language plpgsql as $$
begin
  perform pg_advisory_xact_lock(weir.breaker_key((weir.breaker_by_name(lock_breaker.name)).id));
  return weir.breaker_by_name(lock_breaker.name);
end $$;
comment on function weir.lock_breaker(text) is
  'Internal. The breaker of this name, locked until the transaction ends. Errors: WR065.';

-- Locks: the breaker (advisory), then its row.
create or replace function weir.set_breaker(name text, settings jsonb default '{}', replace boolean default false,
  by text default null) returns void language plpgsql set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  problem text[] := weir.breaker_problem(settings);
  b weir.breaker;
  now_at timestamptz := clock_timestamp();
begin
  if weir.is_queue_name(set_breaker.name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2], 'Nothing was changed. docs/breakers.md lists the settings.');
  end if;
  perform weir.check_by_and_reason(by, null);
  perform weir.ensure_breakers(array[set_breaker.name]);
  b := weir.lock_breaker(set_breaker.name);
  if replace then
    settings := '{"failure_threshold": 5, "failure_ratio": null, "min_calls": 10, "window_seconds": 60,
        "open_seconds": 60, "half_open_probes": 1, "close_after": 1, "counts": {}, "while_open": {"policy": "hold"},
        "ramp_per_second": 10, "ramp_factor": 2}'::jsonb
      || jsonb_build_object('max_open_seconds', greatest(900, (settings ->> 'open_seconds')::float8))
      || coalesce((select jsonb_object_agg(e.key, e.value) from jsonb_each(settings) e where e.value <> 'null'), '{}');
  end if;
  b.failure_ratio := case when settings ->> 'failure_ratio' is not null then (settings ->> 'failure_ratio')::float8
    when settings ->> 'failure_threshold' is not null then null else b.failure_ratio end;
  b.failure_threshold := case when settings ->> 'failure_ratio' is not null then null
    else coalesce((settings ->> 'failure_threshold')::numeric::int, b.failure_threshold) end;
  b.min_calls := coalesce((settings ->> 'min_calls')::numeric::int, b.min_calls);
  b.window_seconds := coalesce((settings ->> 'window_seconds')::numeric::int, b.window_seconds);
  b.open_seconds := coalesce((settings ->> 'open_seconds')::float8, b.open_seconds);
  b.max_open_seconds := coalesce((settings ->> 'max_open_seconds')::float8, b.max_open_seconds);
  b.half_open_probes := coalesce((settings ->> 'half_open_probes')::numeric::int, b.half_open_probes);
  b.close_after := coalesce((settings ->> 'close_after')::numeric::int, b.close_after);
  b.counts := case when jsonb_typeof(settings -> 'counts') = 'object' then settings -> 'counts' else b.counts end;
  b.while_open := case when jsonb_typeof(settings -> 'while_open') = 'object' then settings -> 'while_open'
    else b.while_open end;
  b.ramp_per_second := coalesce((settings ->> 'ramp_per_second')::float8, b.ramp_per_second);
  b.ramp_factor := coalesce((settings ->> 'ramp_factor')::float8, b.ramp_factor);
  if b.max_open_seconds < b.open_seconds then
    perform weir.refuse_argument('max_open_seconds', format('must be at least open_seconds, %s', b.open_seconds));
  end if;
  update weir.breaker x set failure_threshold = b.failure_threshold, failure_ratio = b.failure_ratio,
    min_calls = b.min_calls, window_seconds = b.window_seconds, open_seconds = b.open_seconds,
    max_open_seconds = b.max_open_seconds, half_open_probes = b.half_open_probes, close_after = b.close_after,
    counts = b.counts, while_open = b.while_open, ramp_per_second = b.ramp_per_second, ramp_factor = b.ramp_factor,
    release_from = case when x.state = 'open' then now_at else x.release_from end,
    released = case when x.state = 'open' then 0 else x.released end
  where x.id = b.id;
  if b.while_open ->> 'policy' = 'reroute' then
    perform pg_advisory_xact_lock(hashtext('weir'), hashtext('reroute'));
    perform weir.ensure_queues(array[b.while_open ->> 'queue']);
    perform weir.refuse_reroute_cycle('while_open.queue');
  end if;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by, detail)
    values (b.id, b.name, 'set', b.state, b.state, by, settings #- '{while_open,result}');
end $$;
comment on function weir.set_breaker(text, jsonb, boolean, text) is
  'Creates a breaker or changes its settings: {failure_threshold, or failure_ratio with min_calls; window_seconds, '
  'open_seconds, max_open_seconds, half_open_probes, close_after, ramp_per_second, ramp_factor, counts: {types, '
  'pattern, except_types}, while_open: {policy: hold, reroute {queue}, complete_last_result {result}, '
  'complete_default {result}, degraded, throttle {per_second} or postpone {delay_seconds}, each except hold with '
  'until or for_seconds}}. A setting that is not named keeps its value; with replace => true it gets its default. '
  'Errors: WR010.';

create or replace function weir.delete_breaker(name text, by text default null) returns void language plpgsql
  set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  perform weir.check_by_and_reason(by, null);
  b := weir.lock_breaker(delete_breaker.name);
  if b.state <> 'closed' or b.gated or exists (select from weir.queue q where q.breaker_id = b.id)
     or exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name) then
    raise exception using errcode = 'WR066', message = format('breaker %L is in use', b.name),
      hint = 'A breaker can be deleted when it is closed, holds no jobs and belongs to no queue.';
  end if;
  update weir.breaker x set deleted_at = clock_timestamp(), pinned = null, pinned_until = null, openings = 0,
    failure_threshold = 5, failure_ratio = null, min_calls = default, window_seconds = default,
    open_seconds = default, max_open_seconds = default, half_open_probes = default, close_after = default,
    counts = default, while_open = default, ramp_per_second = default, ramp_factor = default
  where x.id = b.id;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by)
    values (b.id, b.name, 'deleted', 'closed', 'closed', delete_breaker.by);
end $$;
comment on function weir.delete_breaker(text, text) is
  'Hides a breaker that is closed, holds no jobs and belongs to no queue, and resets its settings. The next job that '
  'names it brings it back. Errors: WR010, WR065, WR066.';
