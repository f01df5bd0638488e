-- What becomes of a breaker's jobs while it is open. How they come back is in 0041_breaker_flow.sql.
--
-- A job's breaker is the one that it names itself, or else its queue's. A claim that meets a job whose breaker is gated takes it out of job_ready and puts it where the
-- policy says, so that no claim meets it again; only a queue whose own breaker holds is left as it is, and passed over as if it were paused. Jobs that may run all
-- the same carry the breaker's version in job_ready.let_through: probes, and those that come back at a rate. With the next change of state that is void.
--

create or replace function weir.job_fingerprint(kind text, args jsonb) returns uuid language sql immutable as $$
  select md5(kind || ' ' || args::text)::uuid
$$;

create or replace function weir.remember_results(job_ids bigint[], breaker_ids int[]) returns void language plpgsql
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
    join weir.breaker b on b.id = u.breaker_id and b.id = any (breaker_ids) and b.while_open ->> 'policy' = 'complete_last_result'
  on conflict do nothing;
end $$;

create or replace function weir.sweep_breaker_results(most int default 10000) returns int language plpgsql set jit = off set enable_seqscan = off as $$
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
create or replace function weir.policy_now(b weir.breaker) returns jsonb language sql stable as $$
  select case
    when b.state = 'closed' or b.wants_probes or b.while_open ->> 'policy' in ('hold', 'throttle')
      or (b.while_open ->> 'until')::timestamptz <= clock_timestamp() or b.opened_at + make_interval(secs => (b.while_open ->> 'for_seconds')::float8) <= clock_timestamp()
      then '{"policy": "hold"}'::jsonb
    else b.while_open
  end
$$;

-- A claim's share of one queue while some breaker is gated: takes up to `share` jobs, and moves up to `budget` others where their breakers' policies send them.
-- Its first look takes rows as a claim without a gate does (0008_claim.sql), for jobs that no gate is about. Where it meets others it looks further than it wants
-- to take, so from then on it locks first and deletes what it has decided about. Locks: as claiming, and some more rows of job_ready, until the claim ends.
create or replace function weir.take_gated(queue_id int, place int, queue_name text, queue_breaker int, after bigint[], share int, budget int,
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
  low bigint[];
  look int := share;
  sifting boolean := false;
  seen record;
  told record;
  ways int[];
  stay record;
  gone record;
begin
  ids := '{}'; tokens := '{}'; attempts := '{}'; priorities := '{}'; degraded := '{}'; diverted := 0;
  select array_agg(b.id), array_agg(b.name), array_agg(b.version), array_agg(weir.policy_now(b)) into gate_ids, names, versions, policies from weir.breaker b where b.gated;
  own := array_position(gate_ids, queue_breaker);
  holding := coalesce(policies[own] ->> 'policy' = 'hold', false);
  low := case when holding then array_fill(versions[own], array[10]) else after end;
  loop
    if holding then
      with next as materialized (
        select r.* from generate_series(10, 1, -1) c cross join lateral (
          select x.ctid as tid, coalesce(x.job_id, x.seq) as job_id, x.seq, x.attempt, x.priority, x.let_through from weir.job_ready x
          where x.queue_id = take_gated.place and x.priority = c and x.seq > low[c] and x.let_through is not null and x.let_through = versions[own]
          order by x.seq limit look for update skip locked) r
        limit look
      )
      select array_agg(n.tid) as tids, array_agg(n.job_id) as ids, array_agg(n.seq) as seqs, array_agg(n.attempt) as attempts, array_agg(n.priority) as priorities,
        array_agg(n.let_through) as passes, min(n.job_id) as lowest, max(n.job_id) as highest, count(*)::int as n into seen from next n;
    else
      with next as materialized (
        select r.* from generate_series(10, 1, -1) c cross join lateral (
          select x.ctid as tid, coalesce(x.job_id, x.seq) as job_id, x.seq, x.attempt, x.priority, x.let_through from weir.job_ready x
          where x.queue_id = take_gated.place and x.priority = c and x.seq > low[c] order by x.seq limit look for update skip locked) r
        limit look
      ), taken as (
        delete from weir.job_ready r where r.ctid = any (array(select n.tid from next n where not sifting))
      )
      select array_agg(n.tid) as tids, array_agg(n.job_id) as ids, array_agg(n.seq) as seqs, array_agg(n.attempt) as attempts, array_agg(n.priority) as priorities,
        array_agg(n.let_through) as passes, min(n.job_id) as lowest, max(n.job_id) as highest, count(*)::int as n into seen from next n;
    end if;
    exit when seen.n = 0;
    -- A pass that none of the gates knows: one of them has changed its state since it was read. By what was read its probes would be put aside.
    if exists (select from unnest(seen.passes) u(pass) where u.pass <> all (versions)) then
      select array_agg(b.id), array_agg(b.name), array_agg(b.version), array_agg(weir.policy_now(b)) into gate_ids, names, versions, policies from weir.breaker b where b.gated;
      own := array_position(gate_ids, queue_breaker);
    end if;
    select array_agg(u.n) as ns, array_agg(j.breaker) as names into told from unnest(seen.ids) with ordinality u(id, n)
    cross join lateral (select x.breaker from weir.job x where x.id = u.id and x.id between seen.lowest and seen.highest and x.breaker is not null offset 0) j;
    if own is null and not coalesce(told.names && names, false) and not sifting then  -- no gate is about any of them
      ids := seen.ids;
      tokens := seen.seqs;
      attempts := array(select (a + 1)::smallint from unnest(seen.attempts) a);
      priorities := seen.priorities;
      exit;
    end if;
    -- What becomes of each: 0 stays, -1 stays and is degraded, otherwise the place of the gate that it goes by.
    ways := array(
      select case
          when f.gate is null or f.pass = versions[f.gate] or policies[f.gate] ->> 'policy' = 'reroute' and policies[f.gate] ->> 'queue' = queue_name then 0
          when policies[f.gate] ->> 'policy' = 'degraded' then -1
          else f.gate end
      from (
        select u.n, u.pass, case when t.n is null then own else array_position(names, t.name) end as gate
        from unnest(seen.passes) with ordinality u(pass, n) left join unnest(told.ns, told.names) t(n, name) on t.n = u.n
      ) f order by f.n);
    select coalesce(array_agg(u.tid), '{}') as tids, coalesce(array_agg(u.id), '{}') as ids, array_agg(u.seq) as seqs, array_agg((u.attempt + 1)::smallint) as attempts,
      array_agg(u.priority) as priorities, array_agg(u.id) filter (where u.way = -1) as weak into stay
    from (select * from unnest(seen.tids, seen.ids, seen.seqs, seen.attempts, seen.priorities, ways) u(tid, id, seq, attempt, priority, way)
      where u.way <= 0 limit share - cardinality(ids)) u;
    if holding or sifting then
      delete from weir.job_ready r where r.ctid = any (stay.tids || array(select u.tid from unnest(seen.tids, ways) u(tid, way) where u.way > 0));
    end if;
    ids := ids || stay.ids;
    tokens := tokens || stay.seqs;
    attempts := attempts || stay.attempts;
    priorities := priorities || stay.priorities;
    degraded := degraded || stay.weak;
    for gone in
      select u.way, u.priority, array_agg(u.id) as ids, array_agg(u.seq - case when u.pass is null then 0 else 4611686018427387904 end) as seqs, array_agg(u.attempt) as attempts, count(*)::int as n
      from unnest(seen.ids, seen.seqs, seen.attempts, seen.priorities, seen.passes, ways) u(id, seq, attempt, priority, pass, way) where u.way > 0 group by u.way, u.priority order by u.way, u.priority desc
    loop
      perform weir.divert_jobs(gate_ids[gone.way], names[gone.way], policies[gone.way], take_gated.queue_id, gone.priority, gone.ids, gone.seqs, gone.attempts);
      if place <> queue_id then
        perform weir.on_admitted_jobs_removed(gone.ids, queue_id);  -- of a queue with limits: they are no longer in flight
      end if;
      diverted := diverted + gone.n;
    end loop;
    exit when seen.n < look or cardinality(ids) >= share or diverted >= budget;
    low := array(select greatest(low[c], (select max(u.seq) from unnest(seen.seqs, seen.priorities) u(seq, priority) where u.priority = c)) from generate_series(1, 10) c);
    sifting := true;
    look := greatest(share - cardinality(ids), 500);
  end loop;
end $$;

-- Jobs that a claim has just taken out of job_ready, to where the policy of their breaker sends them. No attempt is counted. A job that is routed has another queue from then on. One that had been let through
-- before (its seq is negative) goes before all that never were.
create or replace function weir.divert_jobs(breaker_id int, name text, way jsonb, queue_id int, priority smallint, ids bigint[], seqs bigint[], attempts smallint[]) returns void
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
    perform weir.on_jobs_ended(weir.jobs_with_followers(array(select u.id from unnest(ids, given) u(id, result) where u.result is not null)));
    select array_agg(u.id), array_agg(u.seq), array_agg(u.attempt) into ids, seqs, attempts from unnest(ids, seqs, attempts, given) u(id, seq, attempt, result) where u.result is null;
  end if;
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
  select u.id, queue_id, priority, u.attempt, 'breaker', name, u.seq from unnest(ids, seqs, attempts) u(id, seq, attempt);
end $$;
comment on function weir.job_fingerprint(text, jsonb) is 'Internal. What two jobs of the same kind and args have in common.';
comment on function weir.remember_results(bigint[], int[]) is 'Internal. Notes which of these completed jobs have a result, for breakers that may hand it out again.';
comment on function weir.sweep_breaker_results(int) is 'Removes notes of results (policy complete_last_result) that are not the newest, or whose job is gone. Returns how many.';
comment on function weir.policy_now(weir.breaker) is 'Internal. What becomes of the jobs of a gated breaker at this moment: its while_open, or hold.';
comment on function weir.take_gated(int, int, text, int, bigint[], int, int) is 'Internal. A claim''s share of one queue while some breaker is gated.';
comment on function weir.divert_jobs(int, text, jsonb, int, smallint, bigint[], bigint[], smallint[]) is 'Internal. Puts jobs of a gated breaker where its policy sends them.';
