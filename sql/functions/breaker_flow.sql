-- How a breaker's jobs get through: what is due by time, which the nodes look for a few times a second.
--
--   open: the wait is over ─▶ half_open: probes ─▶ closed: the ramp ─▶ no longer gated
--     └── policy throttle: some at a rate
--
-- Whoever does it holds the breaker's advisory lock, got by trying, until its transaction ends: so it is one session of all. If it dies meanwhile, nothing was done, and
-- the next one does it. Jobs are let through in the order of their priorities and places, with the breaker's version as their pass (0037_breaker_policy.sql).
--

-- Lets up to n jobs of a breaker go, in order: those that are held, then those at the head of its queues. With a version claims take them whatever the
-- gate; without one they are available as any. Locks: their rows, skip locked. The caller holds the breaker's lock.
create or replace function weir.let_go(b weir.breaker, most int, version bigint, probes boolean default false) returns int
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  moved int := 0;
  p int;
  ways int[] := '{10,9,8,7,6,5,4,3,2,1}';  -- which priority comes next
  tids tid[];
  got record;
  after bigint[];
  floor_seq bigint;
  q record;
  woken int[] := '{}';
begin
  if most <= 0 then
    return 0;
  end if;
  lock table weir.job_ready in row exclusive mode;
  -- Probes are those that have waited longest, whatever their priority: one that failed has a new place, and lets the others try.
  if probes then
    ways := array(select f.p from (select c.p, h.seq from generate_series(1, 10) c(p) cross join lateral (
      select x.seq from weir.job_held x where x.reason = 'breaker' and x.key = b.name and x.priority = c.p order by x.seq limit most) h) f order by f.seq limit most);
  end if;
  -- First from where the last one ended, not to walk over dead entries; then from the start, in case one was held late.
  for round in 1..2 loop
    foreach p in array ways loop
      exit when moved >= most;
      tids := array(select h.ctid from weir.job_held h where h.reason = 'breaker' and h.key = b.name and h.priority = p
        and h.seq > case when round = 1 then coalesce(b.flow_after[p], -9223372036854775808) else -9223372036854775808 end
        order by h.seq limit case when probes then 1 else most - moved end for update skip locked);
      continue when tids = '{}';
      with gone as (
        delete from weir.job_held h where h.ctid = any (tids) returning h.*
      ), ordered as (
        select g.* from gone g order by g.seq
      ), ready as (
        insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
        select o.queue_id, o.priority, o.attempt, nextval('weir.job_id_seq'), o.job_id, version from ordered o
      ), told as (
        insert into weir.job_event (job_id, kind, attempt, state, detail)
        select g.job_id, 'let_through', g.attempt, 'available', jsonb_strip_nulls(jsonb_build_object('breaker', b.name, 'held_at', g.held_at, 'probe', case when probes then true end)) from gone g
      ), probing as (
        insert into weir.breaker_probe (breaker_id, job_id, version) select b.id, g.job_id, version from gone g where probes
        on conflict on constraint breaker_probe_pkey do update set version = excluded.version, sent_at = clock_timestamp()
      )
      select count(*)::int as n, max(g.seq) as seq, array_agg(distinct g.queue_id) as queues into got from gone g;
      moved := moved + got.n;
      woken := woken || got.queues;
      b.flow_after[p] := greatest(b.flow_after[p], got.seq);
    end loop;
    exit when moved >= most or b.flow_after = '{}';
  end loop;
  update weir.breaker x set flow_after = b.flow_after where x.id = b.id and x.flow_after <> b.flow_after;

  floor_seq := (select w.seq from weir.watermark w order by w.tick desc limit 1);
  for q in select x.ready_id as place, x.id from weir.queue x where x.breaker_id = b.id and version is not null loop
    select f.positions into after from weir.frontier f where f.queue_id = q.place order by f.tick desc limit 1;
    if probes then
      ways := array(select f.p from (select c.p, r.seq from generate_series(1, 10) c(p) cross join lateral (
        select x.seq from weir.job_ready x where x.queue_id = q.place and x.priority = c.p and x.seq > coalesce(after[c.p], floor_seq) and x.let_through is distinct from version
        order by x.seq limit most) r) f order by f.seq limit most);
    end if;
    foreach p in array ways loop
      exit when moved >= most;
      tids := array(select r.ctid from weir.job_ready r where r.queue_id = q.place and r.priority = p and r.seq > coalesce(after[p], floor_seq)
        and r.let_through is distinct from version order by r.seq limit case when probes then 1 else most - moved end for update skip locked);
      continue when tids = '{}';
      with gone as (
        delete from weir.job_ready r where r.ctid = any (tids) returning r.queue_id, r.priority, r.attempt, r.seq, coalesce(r.job_id, r.seq) as job_id
      ), ordered as (
        select g.* from gone g order by g.seq
      ), ready as (
        insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
        select o.queue_id, o.priority, o.attempt, nextval('weir.job_id_seq'), o.job_id, version from ordered o
      ), probing as (
        insert into weir.breaker_probe (breaker_id, job_id, version) select b.id, g.job_id, version from gone g where probes
        on conflict on constraint breaker_probe_pkey do update set version = excluded.version, sent_at = clock_timestamp()
      )
      select count(*)::int as n into got from gone g;
      moved := moved + got.n;
      woken := woken || q.id;
    end loop;
  end loop;
  if moved > 0 then
    perform weir.wake(array(select x.name from weir.queue x where x.id = any (woken)));
  end if;
  return moved;
end $$;

-- Keeps as many probes under way as there should be. One whose job is neither available nor running any more, and has not been heard of, is lost.
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
      and not exists (select from weir.job_lease l where l.job_id = x.job_id) and not exists (select from weir.job_ready r where r.job_id = x.job_id and r.let_through = b.version)
      and not exists (select from weir.job_held h where h.job_id = x.job_id and h.let_through = b.version)
    for update skip locked));
  select count(*) into under_way from weir.breaker_probe p where p.breaker_id = b.id and p.version = b.version;
  select coalesce(sum(s.ok), 0) into succeeded from weir.breaker_sample s where s.breaker_id = b.id and s.at >= b.changed_at and s.version = b.version;
  wanted := least(b.half_open_probes - under_way, greatest(b.half_open_probes, b.close_after) - succeeded - under_way);
  sent := weir.let_go(b, wanted, b.version, probes => true);
  update weir.breaker x set wants_probes = sent < wanted where x.id = b.id and x.wants_probes <> (sent < wanted);
  return sent;
end $$;

-- Lets go what is due by now at a rate: a ramp's after it closed, a throttle's while it is open. Of what was missed, because nobody called, a second's worth at most is made up for.
-- The ramp's rate is ramp_per_second * ramp_factor^t after t seconds, and what is due by then its integral.
create or replace function weir.flow_breaker(b weir.breaker, most int) returns int language plpgsql as $$
declare
  seconds float8 := extract(epoch from clock_timestamp() - b.flow_from);
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
  b.flow_count := greatest(b.flow_count, due - greatest(rate, 1));
  n := least(most, floor(due - b.flow_count));
  if n <= 0 then
    return 0;
  end if;
  moved := weir.let_go(b, n, b.version);
  update weir.breaker x set flow_count = case when moved < n then due else b.flow_count + moved end where x.id = b.id;
  -- A queue that is held whole flows freely again from 10,000 a second on: moving each job once more would only slow it down.
  if b.state = 'closed' and (moved < n or rate >= 10000 and not exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name)) then
    update weir.breaker x set gated = false where x.id = b.id;
    insert into weir.breaker_event (breaker_id, breaker, event, from_state, state) values (b.id, b.name, 'recovered', 'closed', 'closed');
    perform weir.wake(array(select q.name from weir.queue q where q.breaker_id = b.id));
  end if;
  return moved;
end $$;

-- Everything of one breaker that is due. Locks: the breaker (advisory, by trying), its row, then those of its jobs, skip locked.
create or replace function weir.tick_breaker(breaker_id int, most int) returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  b weir.breaker;
begin
  if not pg_try_advisory_xact_lock(weir.breaker_key(tick_breaker.breaker_id)) then
    return 0;
  end if;
  select * into b from weir.breaker x where x.id = tick_breaker.breaker_id;
  if b.pinned_until <= clock_timestamp() then
    perform weir.unpin_breaker(b, null, 'its time is over');
    select * into b from weir.breaker x where x.id = b.id;
  end if;
  if b.pinned is null then
    if b.state = 'open' and b.next_probe_at <= clock_timestamp() then
      perform weir.turn_breaker(b, 'half_open', null, 'the wait is over');
    else
      perform weir.judge_breaker(b.id);
    end if;
    select * into b from weir.breaker x where x.id = b.id;
  end if;
  return case
    when b.state = 'half_open' then weir.send_probes(b)
    when b.state = 'closed' and b.gated then weir.flow_breaker(b, most)
    when b.state = 'open' and weir.policy_now(b) ->> 'policy' <> 'hold' or not b.gated then weir.let_go(b, most, null)
    when b.state = 'open' and b.while_open ->> 'policy' = 'throttle'
      and (b.while_open ->> 'until')::timestamptz <= clock_timestamp() is not true and b.opened_at + make_interval(secs => (b.while_open ->> 'for_seconds')::float8) <= clock_timestamp() is not true
      then weir.flow_breaker(b, most)
    else 0
  end;
end $$;

-- READ COMMITTED only: each statement must see what was committed before it began.
create or replace function weir.tick_breakers(most int default 2000, out breakers int, out moved int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  now_at timestamptz := clock_timestamp();
  due int;
  gated int[];
  pinned int[];
  failed int[];
  held text[];
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'tick_breakers needs a READ COMMITTED transaction', hint = 'Its statements must each see what was committed before they began.';
  end if;
  breakers := 0;
  moved := 0;
  -- There may be thousands, and it is asked several times a second: each of these finds only those that it is about. That a breaker which is no longer gated holds jobs
  -- is so where a claim put them aside and committed late; the names are found by going from one to the next in the index.
  gated := array(select b.id from weir.breaker b where b.gated);
  pinned := array(select b.id from weir.breaker b where b.pinned_until <= now_at);
  failed := array(select s.breaker_id from weir.breaker_sample s where s.failed > 0 and s.at > now_at - interval '3 s' order by s.at);
  held := array(
    with recursive held (key) as (
      (select h.key from weir.job_held h where h.reason = 'breaker' order by h.key limit 1)
      union all
      select (select h.key from weir.job_held h where h.reason = 'breaker' and h.key > w.key order by h.key limit 1) from held w where w.key is not null
    )
    select w.key collate "default" from held w where w.key is not null);
  for due in select distinct u.id from unnest(gated || pinned || failed || array(select b.id from weir.breaker b where b.name = any (held))) u(id) order by u.id loop
    breakers := breakers + 1;
    moved := moved + weir.tick_breaker(due, most);
  end loop;
end $$;

-- Called by end_attempts for those of its jobs that are probes. A probe that fails because the dependency is still sick has done its work: it goes back with no attempt lost.
-- The breaker has heard of it then.
create or replace function weir.spare_probes(job_ids bigint[], tokens bigint[], errors jsonb[], retries boolean[], kinds weir.event_kind[]) returns setof bigint
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
    if weir.counts_error(b.counts, probe.error)
       and exists (select from weir.job_lease l where l.job_id = probe.id and l.token = probe.token and l.cancel_requested_at is null)
       and exists (select from weir.put_back(array[probe.id], array[probe.token], array[interval '0'], probe.kind, probe.error || jsonb_build_object('spared_by', b.name))) then
      perform weir.hear_breakers(array[probe.id], array[b.id], array[probe.error]);
      return next probe.id;
    end if;
  end loop;
end $$;

-- For who asks why a job does not run: what a gated breaker does to it.
create or replace function weir.breaker_reason(name text, queue_id int, out code text, out message text, out detail jsonb) language plpgsql stable as $$
declare
  b weir.breaker;
begin
  select * into b from weir.breaker x where x.gated and x.id = case when breaker_reason.name is not null then (select n.id from weir.breaker n where n.name = breaker_reason.name)
    else (select q.breaker_id from weir.queue q where q.id = breaker_reason.queue_id) end;
  if b.id is null then
    return;
  end if;
  code := 'held_breaker';
  message := format('its circuit breaker %s ', b.name) || case b.state
    when 'open' then 'is open' || coalesce(format(' and is probed next at %s', to_char(b.next_probe_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')), ', and is pinned')
    when 'half_open' then 'is half-open: it waits for probes' else 'has closed, and the jobs that it held come back one after the other' end;
  detail := jsonb_strip_nulls(jsonb_build_object('key', b.name, 'breaker', b.name, 'state', b.state, 'since', b.changed_at, 'next_probe_at', b.next_probe_at, 'pinned', b.pinned,
    'policy', weir.policy_now(b) -> 'policy'));
end $$;
comment on function weir.let_go(weir.breaker, int, bigint, boolean) is 'Internal. Makes jobs that a breaker holds available, in order. Returns how many.';
comment on function weir.send_probes(weir.breaker) is 'Internal. Keeps as many probes under way as a half-open breaker is to have. Returns how many it sent.';
comment on function weir.flow_breaker(weir.breaker, int) is 'Internal. Lets go what is due at a ramp''s or a throttle''s rate. Returns how many.';
comment on function weir.tick_breaker(int, int) is 'Internal. Does what is due for one breaker, if nobody else is at it. Returns how many jobs it let go.';
comment on function weir.tick_breakers(int) is
  'Does what is due for all breakers: those whose wait is over become half_open and send their probes, those whose probes succeeded close, and jobs that were held come back. Every node calls it a few '
  'times a second; where no service runs, call it now and then. Returns how many breakers it looked at and how many jobs it let go. Errors: WR010 in a REPEATABLE READ transaction.';
comment on function weir.spare_probes(bigint[], bigint[], jsonb[], boolean[], weir.event_kind[]) is 'Internal. Puts back failed probes with no attempt lost. Returns which.';
comment on function weir.breaker_reason(text, int) is 'Internal. Why a job with a gated breaker does not run, or null.';
