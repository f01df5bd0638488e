-- What becomes of a breaker's jobs while it is open, and how they come back.
--
-- A job's breaker is the one that it names itself, or else its queue's. A claim that meets a job whose breaker is gated takes it out of job_ready and puts it where the
-- policy says, so that no claim meets it again; only a queue whose own breaker holds is left as it is, and passed over as if it were paused. Jobs that may run all
-- the same carry the breaker's version in job_ready.let_through: probes, and those that come back at a rate. With the next change of state that is void.
--
-- +goose Up
create index job_held_breaker on weir.job_held (key, priority, seq) where reason = 'breaker';
create index job_ready_let_through on weir.job_ready (queue_id, priority, seq) where let_through is not null;

create table weir.breaker_result (
  breaker_id int not null,
  fingerprint uuid not null,
  job_id bigint not null,
  constraint breaker_result_pkey primary key (breaker_id, fingerprint, job_id)
);
comment on table weir.breaker_result is 'Which jobs have completed with a result, for breakers whose policy is complete_last_result. Appended; the newest of a fingerprint counts, older ones are swept.';
comment on column weir.breaker_result.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_result.fingerprint is 'The MD5 of the job''s kind and args.';
comment on column weir.breaker_result.job_id is 'weir.job.id; its outcome has the result.';

-- +goose StatementBegin
create function weir.job_fingerprint(kind text, args jsonb) returns uuid language sql immutable as $$
  select md5(kind || ' ' || args::text)::uuid
$$;

create function weir.remember_results(job_ids bigint[], breaker_ids int[]) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
begin
  with given as materialized (
    select o.job_id from weir.job_outcome o where o.job_id = any (job_ids) and o.job_id between lowest and highest and o.result is not null
  ), facts as materialized (
    select j.id, weir.job_fingerprint(j.kind, j.args) as fingerprint from weir.job j where j.id = any (job_ids) and j.id between lowest and highest
  )
  insert into weir.breaker_result (breaker_id, fingerprint, job_id)
  select u.breaker_id, f.fingerprint, u.job_id from unnest(job_ids, breaker_ids) u(job_id, breaker_id) join given g on g.job_id = u.job_id join facts f on f.id = u.job_id
    join weir.breaker b on b.id = u.breaker_id and b.while_open ->> 'policy' = 'complete_last_result'
  on conflict do nothing;
end $$;

create function weir.sweep_breaker_results(most int default 10000) returns int language plpgsql set jit = off set enable_seqscan = off as $$
declare
  swept int;
begin
  delete from weir.breaker_result r where r.ctid = any (array(
    select x.ctid from weir.breaker_result x
    where exists (select from weir.breaker_result n where n.breaker_id = x.breaker_id and n.fingerprint = x.fingerprint and n.job_id > x.job_id)
      or not exists (select from weir.job_outcome o where o.job_id = x.job_id)
    limit most for update skip locked));
  get diagnostics swept = row_count;
  return swept;
end $$;

-- The policy that holds at this moment. Probing and coming back go by way of the line, and so does a throttle.
create function weir.policy_now(b weir.breaker) returns jsonb language sql stable as $$
  select case
    when b.state = 'closed' or b.wants_probes or b.while_open ->> 'policy' in ('hold', 'throttle')
      or (b.while_open ->> 'until')::timestamptz <= clock_timestamp() or b.opened_at + make_interval(secs => (b.while_open ->> 'for_seconds')::float8) <= clock_timestamp()
      then '{"policy": "hold"}'::jsonb
    else b.while_open
  end
$$;

-- A claim's share of one queue while some breaker is gated: takes up to `share` jobs, and moves up to `budget` others where their breakers' policies send them.
-- Locks: as claiming. It may lock some more rows of job_ready than it takes, until the claim ends.
create function weir.take_gated(queue_id int, place int, queue_name text, queue_breaker int, after bigint[], share int, budget int,
  out ids bigint[], out tokens bigint[], out attempts smallint[], out priorities smallint[], out degraded bigint[], out diverted int)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  gate_ids int[];
  names text[];
  versions bigint[];
  policies jsonb[];
  own int;          -- the place of the queue's own breaker among the gates,
  holding boolean;  -- and whether it holds the whole queue
  seen record;
  told record;
  ways int[];
  stay record;
  gone record;
  moved int;
  look int;
  low bigint;
begin
  ids := '{}'; tokens := '{}'; attempts := '{}'; priorities := '{}'; degraded := '{}'; diverted := 0;
  select array_agg(b.id), array_agg(b.name), array_agg(b.version), array_agg(weir.policy_now(b)) into gate_ids, names, versions, policies from weir.breaker b where b.gated;
  own := array_position(gate_ids, queue_breaker);
  holding := coalesce(policies[own] ->> 'policy' = 'hold', false);
  for p in reverse 10..1 loop
    low := case when holding then versions[own] else after[p] end;
    look := share - cardinality(ids);
    while look > 0 and diverted < budget loop
      if holding then
        select array_agg(x.tid) as tids, array_agg(x.job_id) as ids, array_agg(x.seq) as seqs, array_agg(x.attempt) as attempts, array_agg(x.let_through) as passes, count(*)::int as n into seen from (
          select r.ctid as tid, r.* from weir.job_ready r where r.queue_id = take_gated.place and r.priority = p and r.seq > low and r.let_through is not null and r.let_through = versions[own]
          order by r.seq limit look for update skip locked) x;
      else
        select array_agg(x.tid) as tids, array_agg(x.job_id) as ids, array_agg(x.seq) as seqs, array_agg(x.attempt) as attempts, array_agg(x.let_through) as passes, count(*)::int as n into seen from (
          select r.ctid as tid, r.* from weir.job_ready r where r.queue_id = take_gated.place and r.priority = p and r.seq > low order by r.seq limit look for update skip locked) x;
      end if;
      exit when seen.n = 0;
      select array_agg(j.id) as ids, array_agg(j.breaker) as names into told from weir.job j
      where j.id = any (seen.ids) and j.id between (select min(i) from unnest(seen.ids) i) and (select max(i) from unnest(seen.ids) i) and j.breaker is not null;
      -- What becomes of each: 0 stays, -1 stays and is degraded, otherwise the place of the gate that it goes by.
      ways := array(
        select case
            when f.gate is null or f.pass = versions[f.gate] or policies[f.gate] ->> 'policy' = 'reroute' and policies[f.gate] ->> 'queue' = queue_name then 0
            when policies[f.gate] ->> 'policy' = 'degraded' then -1
            else f.gate end
        from (
          select u.n, u.pass, case when t.id is null then own else array_position(names, t.name) end as gate
          from unnest(seen.ids, seen.passes) with ordinality u(id, pass, n) left join unnest(told.ids, told.names) t(id, name) on t.id = u.id
        ) f order by f.n);
      select coalesce(array_agg(u.tid), '{}') as tids, coalesce(array_agg(u.id), '{}') as ids, array_agg(u.seq) as seqs, array_agg((u.attempt + 1)::smallint) as attempts,
        array_agg(u.id) filter (where u.way = -1) as weak into stay
      from (select * from unnest(seen.tids, seen.ids, seen.seqs, seen.attempts, ways) u(tid, id, seq, attempt, way) where u.way <= 0 limit share - cardinality(ids)) u;
      delete from weir.job_ready r where r.ctid = any (stay.tids);
      ids := ids || stay.ids;
      tokens := tokens || stay.seqs;
      attempts := attempts || stay.attempts;
      priorities := priorities || array_fill(p::smallint, array[cardinality(stay.ids)]);
      degraded := degraded || stay.weak;
      moved := 0;
      for gone in
        select u.way, array_agg(u.tid) as tids, array_agg(u.id) as ids, array_agg(u.seq - case when u.pass is null then 0 else 4611686018427387904 end) as seqs,
          array_agg(u.attempt) as attempts, count(*)::int as n
        from unnest(seen.tids, seen.ids, seen.seqs, seen.attempts, seen.passes, ways) u(tid, id, seq, attempt, pass, way) where u.way > 0 group by u.way order by u.way
      loop
        delete from weir.job_ready r where r.ctid = any (gone.tids);
        perform weir.divert_jobs(gate_ids[gone.way], names[gone.way], policies[gone.way], take_gated.queue_id, p::smallint, gone.ids, gone.seqs, gone.attempts);
        if place < 0 then
          perform weir.places_left(gone.ids, queue_id);  -- of a queue with limits: they are no longer in flight
        end if;
        moved := moved + gone.n;
      end loop;
      diverted := diverted + moved;
      exit when seen.n < look;
      low := seen.seqs[seen.n];
      look := case when share <= cardinality(ids) then 0 when moved > 0 then greatest(share - cardinality(ids), 500) else share - cardinality(ids) end;
    end loop;
    exit when share <= cardinality(ids) or diverted >= budget;
  end loop;
end $$;

-- Jobs that a claim has just taken out of job_ready, to where the policy of their breaker sends them. No attempt is counted. A job that is routed has another queue from then on. One that had been let through
-- before (its seq is negative) goes before all that never were.
create function weir.divert_jobs(breaker_id int, name text, way jsonb, queue_id int, priority smallint, ids bigint[], seqs bigint[], attempts smallint[]) returns void
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  lowest bigint := (select min(i) from unnest(ids) i);
  highest bigint := (select max(i) from unnest(ids) i);
  target record;
  given jsonb[];
  sources bigint[];
begin
  if way ->> 'policy' = 'reroute' then
    select q.id, q.name into target from weir.queue q where q.name = way ->> 'queue';
    with facts as (
      update weir.job j set queue_id = target.id where j.id = any (ids) and j.id between lowest and highest
    ), moved as (
      insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
      select target.id, priority, u.attempt, nextval('weir.job_id_seq'), u.id from unnest(ids, seqs, attempts) u(id, seq, attempt)
    )
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select u.id, 'rerouted', u.attempt, 'available', jsonb_build_object('breaker', name, 'from', (select q.name from weir.queue q where q.id = divert_jobs.queue_id), 'queue', target.name) from unnest(ids, attempts) u(id, attempt);
    update weir.queue q set deleted_at = null where q.id = target.id and q.deleted_at is not null;
    perform weir.wake(array[target.name]);
    return;
  elsif way ->> 'policy' = 'postpone' then
    with moved as (
      insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
      select u.id, clock_timestamp() + make_interval(secs => (way ->> 'delay_seconds')::float8), queue_id, priority, u.attempt from unnest(ids, attempts) u(id, attempt)
      returning *
    )
    insert into weir.job_event (job_id, kind, attempt, state, run_at, detail)
    select m.job_id, 'postponed', m.attempt, 'scheduled', m.run_at, jsonb_build_object('breaker', name) from moved m;
    return;
  elsif way ->> 'policy' in ('complete_default', 'complete_last_result') then
    given := array_fill(way -> 'result', array[cardinality(ids)]);
    if way ->> 'policy' = 'complete_last_result' then
      -- The newest job of the same kind and args that has a result, for each.
      select array_agg(f.source order by u.n), array_agg(coalesce(f.result, way -> 'result') order by u.n) into sources, given
      from unnest(ids) with ordinality u(id, n) cross join lateral (
        select max(s.job_id) as source, (array_agg(s.result))[1] as result from (
          select o.job_id, o.result from weir.breaker_result r join weir.job_outcome o on o.job_id = r.job_id
          where r.breaker_id = divert_jobs.breaker_id and r.fingerprint = (select weir.job_fingerprint(j.kind, j.args) from weir.job j where j.id = u.id)
            and o.result is not null and (o.result_until > clock_timestamp()) is not false
          order by r.job_id desc limit 1) s) f;
    end if;
    with ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt, result)
      select u.id, queue_id, 'completed', u.attempt, u.result from unnest(ids, attempts, given) u(id, attempt, result) where u.result is not null
    )
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select u.id, 'substituted', u.attempt, 'completed', jsonb_strip_nulls(jsonb_build_object('breaker', name, 'policy', way -> 'policy', 'from_job', u.source::text))
    from unnest(ids, attempts, given, sources) u(id, attempt, result, source) where u.result is not null;
    perform weir.jobs_left(weir.followed_jobs(array(select u.id from unnest(ids, given) u(id, result) where u.result is not null)));
    select array_agg(u.id), array_agg(u.seq), array_agg(u.attempt) into ids, seqs, attempts from unnest(ids, seqs, attempts, given) u(id, seq, attempt, result) where u.result is null;
  end if;
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
  select u.id, queue_id, priority, u.attempt, 'breaker', name, u.seq from unnest(ids, seqs, attempts) u(id, seq, attempt);
end $$;

-- Lets up to n jobs of a breaker go, in order: those that are held, then those at the head of its queues. With a version claims take them whatever the
-- gate; without one they are available as any. Locks: their rows, skip locked. The caller holds the breaker's lock.
create function weir.let_go(b weir.breaker, most int, version bigint, probes boolean default false) returns int
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
  for q in select case when x.governed then -x.id else x.id end as place, x.id from weir.queue x where x.breaker_id = b.id and version is not null loop
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
        delete from weir.job_ready r where r.ctid = any (tids) returning r.*
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
create function weir.send_probes(b weir.breaker) returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  under_way int;
  succeeded bigint;
  wanted int;
  sent int;
begin
  delete from weir.breaker_probe p where p.breaker_id = b.id and p.job_id = any (array(
    select x.job_id from weir.breaker_probe x where x.breaker_id = b.id
      and not exists (select from weir.job_lease l where l.job_id = x.job_id) and not exists (select from weir.job_ready r where r.job_id = x.job_id and r.seq <> r.job_id and r.let_through = b.version)
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
create function weir.flow_breaker(b weir.breaker, most int) returns int language plpgsql as $$
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
create function weir.tick_breaker(breaker_id int, most int) returns int language plpgsql
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
create function weir.tick_breakers(most int default 2000, out breakers int, out moved int) language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  due int;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'tick_breakers needs a READ COMMITTED transaction', hint = 'Its statements must each see what was committed before they began.';
  end if;
  breakers := 0;
  moved := 0;
  for due in
    select b.id from weir.breaker b
    where b.gated or b.pinned_until <= clock_timestamp()
      or exists (select from weir.breaker_sample s where s.breaker_id = b.id and s.at > clock_timestamp() - interval '3 s' and s.failed > 0)
      or exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name)
    order by b.id loop
    breakers := breakers + 1;
    moved := moved + weir.tick_breaker(due, most);
  end loop;
end $$;

-- Called by end_attempts for those of its jobs that are probes. A probe that fails because the dependency is still sick has done its work: it goes back with no attempt lost.
-- The breaker has heard of it then.
create function weir.spare_probes(job_ids bigint[], tokens bigint[], errors jsonb[], retries boolean[], kinds weir.event_kind[]) returns setof bigint
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  probe record;
begin
  for probe in
    select u.id, u.token, u.error, u.kind, b.id as breaker_id, b.name
    from unnest(job_ids, tokens, errors, retries, kinds) u(id, token, error, retry, kind)
    join weir.breaker_probe p on p.job_id = u.id join weir.breaker b on b.id = p.breaker_id
    where u.retry and u.kind in ('failed', 'timed_out') and weir.counts_error(b.counts, u.error)
      and exists (select from weir.job_lease l where l.job_id = u.id and l.token = u.token and l.cancel_requested_at is null)
    order by u.id
  loop
    if exists (select from weir.put_back(array[probe.id], array[probe.token], array[interval '0'], probe.kind, probe.error || jsonb_build_object('spared_by', probe.name))) then
      perform weir.hear_breakers(array[probe.id], array[probe.breaker_id], array[probe.error]);
      return next probe.id;
    end if;
  end loop;
end $$;

-- For who asks why a job does not run: what a gated breaker does to it.
create function weir.breaker_reason(name text, queue_id int, out code text, out message text, out detail jsonb) language plpgsql stable as $$
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
-- +goose StatementEnd

comment on function weir.job_fingerprint(text, jsonb) is 'Internal. What two jobs of the same kind and args have in common.';
comment on function weir.remember_results(bigint[], int[]) is 'Internal. Notes which of these completed jobs have a result, for breakers that may hand it out again.';
comment on function weir.sweep_breaker_results(int) is 'Removes notes of results (policy complete_last_result) that are not the newest, or whose job is gone. Returns how many.';
comment on function weir.policy_now(weir.breaker) is 'Internal. What becomes of the jobs of a gated breaker at this moment: its while_open, or hold.';
comment on function weir.take_gated(int, int, text, int, bigint[], int, int) is 'Internal. A claim''s share of one queue while some breaker is gated.';
comment on function weir.divert_jobs(int, text, jsonb, int, smallint, bigint[], bigint[], smallint[]) is 'Internal. Puts jobs of a gated breaker where its policy sends them.';
comment on function weir.let_go(weir.breaker, int, bigint, boolean) is 'Internal. Makes jobs that a breaker holds available, in order. Returns how many.';
comment on function weir.send_probes(weir.breaker) is 'Internal. Keeps as many probes under way as a half-open breaker is to have. Returns how many it sent.';
comment on function weir.flow_breaker(weir.breaker, int) is 'Internal. Lets go what is due at a ramp''s or a throttle''s rate. Returns how many.';
comment on function weir.tick_breaker(int, int) is 'Internal. Does what is due for one breaker, if nobody else is at it. Returns how many jobs it let go.';
comment on function weir.tick_breakers(int) is
  'Does what is due for all breakers: those whose wait is over become half_open and send their probes, those whose probes succeeded close, and jobs that were held come back. Every node calls it a few '
  'times a second; where no service runs, call it now and then. Returns how many breakers it looked at and how many jobs it let go. Errors: WR010 in a REPEATABLE READ transaction.';
comment on function weir.spare_probes(bigint[], bigint[], jsonb[], boolean[], weir.event_kind[]) is 'Internal. Puts back failed probes with no attempt lost. Returns which.';
comment on function weir.breaker_reason(text, int) is 'Internal. Why a job with a gated breaker does not run, or null.';

-- +goose Down
drop function weir.breaker_reason(text, int), weir.spare_probes(bigint[], bigint[], jsonb[], boolean[], weir.event_kind[]), weir.tick_breakers(int), weir.tick_breaker(int, int),
  weir.flow_breaker(weir.breaker, int), weir.send_probes(weir.breaker), weir.let_go(weir.breaker, int, bigint, boolean),
  weir.divert_jobs(int, text, jsonb, int, smallint, bigint[], bigint[], smallint[]), weir.take_gated(int, int, text, int, bigint[], int, int), weir.policy_now(weir.breaker),
  weir.sweep_breaker_results(int), weir.remember_results(bigint[], int[]), weir.job_fingerprint(text, jsonb);
drop table weir.breaker_result;
drop index weir.job_ready_let_through, weir.job_held_breaker;
