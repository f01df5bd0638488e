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
-- check gated breakers only (breaker_policy.sql). Each change of state locks the breaker's row, skip locked: one
-- session makes the change, and no other waits for it. The lock is short, because samples are evaluated by a trigger at
-- commit, however long the transaction was.

create or replace function weir.refuse_breaker(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR065', message = format('there is no breaker %L', refuse_breaker.name),
    hint = 'The first job that names a breaker creates it, and so does weir.set_breaker.';
end $$;
comment on function weir.refuse_breaker(text) is 'Internal. Raises WR065 breaker_not_found.';

-- Called by enqueues. Like weir.ensure_queues, it takes no lock on a breaker that exists.
create or replace function weir.ensure_breakers(names text[], declared boolean default false,
  jobs jsonb default null) returns void language plpgsql as $$
declare
  missing text[];
  most int;
  place text;
begin
  if (select count(*) from weir.breaker b where b.name = any (names) and b.deleted_at is null) = cardinality(names) then
    return;
  end if;
  missing := array(select n from unnest(names) n where not exists (select from weir.breaker x where x.name = n
    and x.deleted_at is null) order by n);
  if not ensure_breakers.declared then
    most := weir.database_setting('max_implicit_breakers', 10000);
    place := (select format('jobs[%s].breaker', e.n - 1) from jsonb_array_elements(jobs) with ordinality e(job, n)
      where e.job ->> 'breaker' = any (missing) order by e.n limit 1);
    perform weir.refuse_new_names('breaker', array(select weir.breaker_label(n) from unnest(missing) n),
      (select count(*) from (select from weir.breaker b where not b.declared and b.deleted_at is null limit most) x),
      most, place);
    -- A tenant has a tenth of them at most, so that it leaves names to others.
    perform weir.refuse_new_names('breaker', t.labels, (select count(*) from weir.breaker b
      where not b.declared and b.deleted_at is null and starts_with(b.name, t.tenant || '/')
        and weir.breaker_tenant(b.name) = t.tenant), (most + 9) / 10, place)
    from (select weir.breaker_tenant(n) as tenant, array_agg(weir.breaker_label(n)) as labels from unnest(missing) n
      where weir.breaker_tenant(n) is not null group by 1) t;
  end if;
  insert into weir.breaker as b (name, failure_threshold, declared)
  select n, 5, ensure_breakers.declared from unnest(missing) n
  on conflict (name) do update set deleted_at = null, created_at = clock_timestamp(), declared = excluded.declared
    where b.deleted_at is not null;
end $$;
comment on function weir.ensure_breakers(text[], boolean, jsonb) is
  'Internal. Creates the breakers of these distinct names that do not exist: by an operator (declared), or as these '
  'jobs name them. Errors: WR016.';

create or replace function weir.breaker_by_name(name text, wanted text[] default '{operator}') returns weir.breaker
language plpgsql set enable_seqscan = off as $$
declare
  reference text := weir.own_breaker(weir.breaker_caller(wanted), breaker_by_name.name);
  b weir.breaker;
begin
  select * into b from weir.breaker x where x.name = reference and x.deleted_at is null;
  if not found then
    perform weir.refuse_breaker(breaker_by_name.name);
  end if;
  return b;
end $$;
comment on function weir.breaker_by_name(text, text[]) is
  'Internal. The breaker that the caller means by this name. wanted: as of weir.caller_bounds. Errors: 42501, WR065.';

-- For changes by hand: waits for a session that is changing the breaker.
create or replace function weir.lock_breaker(name text) returns weir.breaker language plpgsql
  set enable_seqscan = off as $$
declare
  reference text := weir.own_breaker(weir.breaker_caller(), lock_breaker.name);
begin
  perform from weir.breaker x where x.name = reference and x.deleted_at is null for no key update;
  return weir.breaker_by_name(lock_breaker.name);
end $$;
comment on function weir.lock_breaker(text) is
  'Internal. The breaker that the caller means by this name, locked until the transaction ends. Errors: 42501, WR065.';

-- Locks: the turn set_routes, where jobs go to another queue; then the breaker's row.
create or replace function weir.set_breaker(name text, settings jsonb default '{}', replace boolean default false,
  by text default null) returns void language plpgsql set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  caller text := weir.breaker_caller();
  reference text := weir.own_breaker(caller, set_breaker.name);
  problem text[] := weir.breaker_problem(settings);
  b weir.breaker;
  now_at timestamptz := clock_timestamp();
begin
  if weir.is_breaker_reference(reference) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2], 'Nothing was changed. docs/breakers.md lists the settings.');
  end if;
  perform weir.refuse_forged(settings #> '{while_open,result}', 'while_open.result');
  perform weir.check_by_and_reason(by, null);
  if settings -> 'while_open' ->> 'policy' = 'reroute' then
    perform weir.take_turn('set_routes');
  end if;
  perform weir.ensure_breakers(array[reference], declared => true);
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
  update weir.breaker x set declared = true, failure_threshold = b.failure_threshold, failure_ratio = b.failure_ratio,
    min_calls = b.min_calls, window_seconds = b.window_seconds, open_seconds = b.open_seconds,
    max_open_seconds = b.max_open_seconds, half_open_probes = b.half_open_probes, close_after = b.close_after,
    counts = b.counts, while_open = b.while_open, ramp_per_second = b.ramp_per_second, ramp_factor = b.ramp_factor,
    release_from = case when x.state = 'open' then now_at else x.release_from end,
    released = case when x.state = 'open' then 0 else x.released end
  where x.id = b.id;
  if settings -> 'while_open' ->> 'policy' = 'reroute' then
    perform weir.ensure_queues(array[b.while_open ->> 'queue'], declared => caller is null);
    if exists (select from weir.queue q where q.name = b.while_open ->> 'queue'
      and q.tenant <> coalesce(weir.breaker_tenant(b.name), '')) then
      perform weir.refuse_argument('while_open.queue', 'belongs to another tenant');
    end if;
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
  'name: of a tenant''s breaker `tenant/name`; a login with a tenant names its own. Errors: WR010, WR016.';

create or replace function weir.delete_breaker(name text, by text default null) returns void language plpgsql
  set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  perform weir.check_by_and_reason(by, null);
  b := weir.lock_breaker(delete_breaker.name);
  if b.state <> 'closed' or b.gated or exists (select from weir.queue q where q.breaker_id = b.id)
     or exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name) then
    raise exception using errcode = 'WR066', message = format('breaker %L is in use', delete_breaker.name),
      hint = 'A breaker can be deleted when it is closed, holds no jobs and belongs to no queue.';
  end if;
  update weir.breaker x set deleted_at = clock_timestamp(), declared = default, pinned = null, pinned_until = null,
    openings = 0, failure_threshold = 5, failure_ratio = null, min_calls = default, window_seconds = default,
    open_seconds = default, max_open_seconds = default, half_open_probes = default, close_after = default,
    counts = default, while_open = default, ramp_per_second = default, ramp_factor = default
  where x.id = b.id;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by)
    values (b.id, b.name, 'deleted', 'closed', 'closed', delete_breaker.by);
end $$;
comment on function weir.delete_breaker(text, text) is
  'Hides a breaker that is closed, holds no jobs and belongs to no queue, and resets its settings. The next job that '
  'names it brings it back. Errors: WR010, WR065, WR066.';
