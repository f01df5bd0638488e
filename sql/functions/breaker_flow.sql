-- How the jobs of a breaker get through again: what is due at a time. Nodes check it a few times a second.
--
--   open: the wait is over ─▶ half_open: probes ─▶ closed: the ramp ─▶ no longer gated
--     └── policy throttle: some at a rate
--
-- A session does this for a breaker while it holds the lock of the breaker's row, taken with skip locked, until its
-- transaction ends. If the session dies, nothing has happened, and the next one does it. Jobs are let through by
-- priority and place, marked with the breaker's version (breaker_policy.sql).

-- A probe is lost if its job is neither available nor running nor held for its version, and no outcome was recorded.
create or replace function weir.send_probes(b weir.breaker) returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  under_way int;
  succeeded bigint;
  wanted int;
  sent int;
begin
  delete from weir.breaker_probe p where p.breaker_id = b.id and p.job_id = any (array(
    select x.job_id from weir.breaker_probe x where x.breaker_id = b.id
      and not exists (select from weir.job_lease l where l.job_id = x.job_id)
        and not exists (select from weir.job_ready r where r.job_id = x.job_id and r.let_through = b.version)
      and not exists (select from weir.job_held h where h.job_id = x.job_id and h.let_through = b.version)
    for update skip locked));
  select count(*) into under_way from weir.breaker_probe p where p.breaker_id = b.id and p.version = b.version;
  select coalesce(sum(s.ok), 0) into succeeded from weir.breaker_sample s
    where s.breaker_id = b.id and s.at >= b.changed_at and s.version = b.version;
  wanted := least(b.half_open_probes - under_way, greatest(b.half_open_probes, b.close_after) - succeeded - under_way);
  sent := weir.release_breaker_jobs(b, wanted, b.version, probes => true);
  update weir.breaker x set wants_probes = sent < wanted where x.id = b.id and x.wants_probes <> (sent < wanted);
  return sent;
end $$;
comment on function weir.send_probes(weir.breaker) is
  'Internal. Sends probes until a half-open breaker has as many under way as its settings say. Returns how many it '
  'sent.';

-- The rate is the ramp's after the breaker closed, and the throttle's while it is open. After t seconds the ramp has
-- the rate ramp_per_second * ramp_factor^t, and has released its integral. If no call came for a while, at most one
-- second's worth is made up for.
create or replace function weir.release_at_rate(b weir.breaker, most int) returns int language plpgsql as $$
declare
  seconds float8 := extract(epoch from clock_timestamp() - b.release_from);
  rate float8;
  due float8;
  n int;
  moved int;
begin
  if b.state = 'open' then
    rate := (b.while_open ->> 'per_second')::float8;
    due := rate * seconds;
  else
    rate := b.ramp_per_second * exp(least(ln(b.ramp_factor) * seconds, 40));
    due := case when b.ramp_factor = 1 then rate * seconds else (rate - b.ramp_per_second) / ln(b.ramp_factor) end;
  end if;
  b.released := greatest(b.released, due - greatest(rate, 1));
  n := least(most, floor(due - b.released));
  if n <= 0 then
    return 0;
  end if;
  moved := weir.release_breaker_jobs(b, n, b.version);
  update weir.breaker x set released = case when moved < n then due else b.released + moved end where x.id = b.id;
  -- From 10,000 a second on, a queue that is held as a whole is free again: to move each job once more would only slow
  -- it down.
  if b.state = 'closed' and (moved < n or rate >= 10000
    and not exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name)) then
    update weir.breaker x set gated = false where x.id = b.id;
    insert into weir.breaker_event (breaker_id, breaker, event, from_state, state)
      values (b.id, b.name, 'recovered', 'closed', 'closed');
    perform weir.wake(array(select q.name from weir.queue q where q.breaker_id = b.id));
  end if;
  return moved;
end $$;
comment on function weir.release_at_rate(weir.breaker, int) is
  'Internal. Releases the jobs that are due at the rate of a ramp or throttle. Returns how many.';

-- An open breaker that waits to be probed is left alone: there may be many, several times a second.
create or replace function weir.waits_to_be_probed(b weir.breaker) returns boolean language sql volatile as $$
  select b.state = 'open' and b.gated and (b.pinned_until <= clock_timestamp()) is not true
    and (b.pinned is not null or b.next_probe_at <= clock_timestamp()) is not true
$$;
comment on function weir.waits_to_be_probed(weir.breaker) is
  'Internal. Whether a breaker is open, and neither its wait nor a pin is over.';

-- Locks: the breaker's row, then rows of its jobs, all skip locked.
create or replace function weir.tick_breaker(breaker_id int, most int) returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  b weir.breaker;
begin
  select * into b from weir.breaker x where x.id = tick_breaker.breaker_id;
  if weir.waits_to_be_probed(b) and b.while_open ->> 'policy' = 'hold' then
    return 0;
  end if;
  select * into b from weir.breaker x where x.id = tick_breaker.breaker_id for no key update skip locked;
  if not found then
    return 0;
  end if;
  if b.pinned_until <= clock_timestamp() then
    perform weir.unpin_breaker(b, null, 'the pin expired');
    select * into b from weir.breaker x where x.id = b.id;
  end if;
  if b.pinned is null then
    if b.state = 'open' and b.next_probe_at <= clock_timestamp() then
      perform weir.set_breaker_state(b, 'half_open', null, 'the wait is over');
    else
      perform weir.evaluate_breaker(b.id);
    end if;
    select * into b from weir.breaker x where x.id = b.id;
  end if;
  return case
    when b.state = 'half_open' then weir.send_probes(b)
    when b.state = 'closed' and b.gated then weir.release_at_rate(b, most)
    when b.state = 'open' and weir.current_policy(b) ->> 'policy' <> 'hold'
      or not b.gated then weir.release_breaker_jobs(b, most, null)
    when b.state = 'open' and b.while_open ->> 'policy' = 'throttle'
      and (b.while_open ->> 'until')::timestamptz <= clock_timestamp() is not true
        and b.opened_at + make_interval(secs => (b.while_open ->> 'for_seconds')::float8) <= clock_timestamp()
        is not true
      then weir.release_at_rate(b, most)
    else 0
  end;
end $$;
comment on function weir.tick_breaker(int, int) is
  'Internal. Does what is due for one breaker, unless another session has it locked. Returns how many jobs it '
  'released.';

create or replace function weir.tick_breakers(most int default 2000, out breakers int, out moved int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_sort = off as $$
declare
  now_at timestamptz := clock_timestamp();
  due int;
  gated int[];
  pinned int[];
  failed int[];
  held text[];
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'tick_breakers needs a READ COMMITTED transaction',
      hint = 'Each of its statements must see what was committed before it began.';
  end if;
  breakers := 0;
  moved := 0;
  -- There may be thousands of breakers, several times a second, so each query reads only those with something due. A
  -- breaker that is no longer gated holds jobs if a claim diverted them and committed late; their names come from a
  -- loose scan of the index.
  gated := array(select b.id from weir.breaker b where b.gated);
  pinned := array(select b.id from weir.breaker b where b.pinned_until <= now_at);
  failed := array(select s.breaker_id from weir.breaker_sample s where s.failed > 0 and s.at > now_at - interval '3 s'
    order by s.at);
  held := array(
    with recursive held (key) as (
      (select h.key from weir.job_held h where h.reason = 'breaker' order by h.key limit 1)
      union all
      select (select h.key from weir.job_held h where h.reason = 'breaker' and h.key > w.key order by h.key limit 1)
        from held w where w.key is not null
    )
    select w.key collate "default" from held w where w.key is not null);
  for due in select distinct u.id from unnest(gated || pinned || failed
    || array(select b.id from weir.breaker b where b.name = any (held))) u(id) order by u.id loop
    breakers := breakers + 1;
    moved := moved + weir.tick_breaker(due, most);
  end loop;
end $$;
comment on function weir.tick_breakers(int) is
  'Does what is due for all breakers: a breaker whose wait is over becomes half_open and sends probes, one whose '
  'probes succeeded closes, and held jobs come back. Every node calls it a few times a second; where no node runs, '
  'call it from time to time. Returns how many breakers it checked and how many jobs it released. Errors: WR010 in a '
  'REPEATABLE READ transaction.';

-- Called by end_attempts. A probe that fails because the dependency still fails has done its work: it goes back without
-- losing an attempt, and its outcome is recorded for the breaker.
create or replace function weir.requeue_failed_probes(job_ids bigint[], tokens bigint[], errors jsonb[],
  retries boolean[], kinds weir.event_kind[]) returns setof bigint
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  probe record;
  b weir.breaker;
begin
  for probe in
    select u.id, u.token, u.error, u.kind, p.breaker_id
    from (select x.job_id, x.breaker_id from weir.breaker_probe x where x.job_id = any (job_ids) offset 0) p
    join unnest(job_ids, tokens, errors, retries, kinds) u(id, token, error, retry, kind) on u.id = p.job_id
    where u.retry and u.kind in ('failed', 'timed_out')
    order by u.id
  loop
    select * into b from weir.breaker x where x.id = probe.breaker_id;
    if weir.is_counted_failure(b.counts, probe.error)
       and exists (select from weir.job_lease l where l.job_id = probe.id and l.token = probe.token
         and l.cancel_requested_at is null)
       and exists (select from weir.put_back(array[probe.id], array[probe.token], array[interval '0'], probe.kind,
         probe.error || jsonb_build_object('spared_by', b.name))) then
      perform weir.record_breaker_outcomes(array[probe.id], array[b.id], array[probe.error]);
      return next probe.id;
    end if;
  end loop;
end $$;
comment on function weir.requeue_failed_probes(bigint[], bigint[], jsonb[], boolean[], weir.event_kind[]) is
  'Internal. Makes failed probes available again without losing an attempt. Returns their ids.';

create or replace function weir.breaker_reason(name text, queue_id int, viewer text, out code text, out message text,
  out detail jsonb) language plpgsql stable as $$
declare
  b weir.breaker;
  shown text;
begin
  select * into b from weir.breaker x where x.gated and x.id = case
    when breaker_reason.name is not null then (select n.id from weir.breaker n where n.name = breaker_reason.name)
    else (select q.breaker_id from weir.queue q where q.id = breaker_reason.queue_id) end;
  if b.id is null then
    return;
  end if;
  shown := weir.shown_breaker(b.name, viewer);
  code := 'held_breaker';
  message := format('its circuit breaker %s ', shown) || case b.state
    when 'open' then 'is open' || coalesce(format(' and is probed next at %s',
      to_char(b.next_probe_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')), ', and is pinned')
    when 'half_open' then 'is half-open and waits for its probes'
      else 'has closed, and its held jobs come back one after the other' end;
  detail := jsonb_strip_nulls(jsonb_build_object('key', shown, 'breaker', shown, 'state', b.state, 'since',
    b.changed_at, 'next_probe_at', b.next_probe_at, 'pinned', b.pinned,
    'policy', weir.current_policy(b) -> 'policy'));
end $$;
comment on function weir.breaker_reason(text, int, text) is
  'Internal, for weir.why: what the gated breaker of a job does to it, or null. viewer: as of weir.shown_breaker.';
