-- What happens to the jobs of a breaker while it is gated. breaker_flow.sql says how they come back.
--
-- A job's breaker is the one that it names, or else its queue's. A claim that meets a job of a gated breaker moves it
-- out of job_ready, to where the breaker's policy says, so that no later claim meets it. There is one exception: a
-- queue whose own breaker has policy hold stays as it is, and claims skip it as if it were paused. Jobs that may run
-- nevertheless (probes, and jobs that come back at a rate) carry the breaker's version in job_ready.let_through, which
-- is void after the next change of state.

create or replace function weir.job_fingerprint(tenant text, kind text, args jsonb) returns uuid
language sql immutable as $$
  select md5(coalesce(to_jsonb(tenant)::text, '') || kind || ' ' || args::text)::uuid
$$;
comment on function weir.job_fingerprint(text, text, jsonb) is
  'Internal. Equal for jobs with the same tenant, kind and args.';

create or replace function weir.record_results(job_ids bigint[], breaker_ids int[]) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
begin
  with given as materialized (
    select o.job_id from weir.job_outcome o where o.job_id = any (job_ids) and o.job_id between lowest and highest
      and o.result is not null
  ), facts as materialized (
    select j.id, weir.job_fingerprint(j.tenant, j.kind, j.args) as fingerprint from weir.job j
      where j.id = any (job_ids) and j.id between lowest and highest
  )
  insert into weir.breaker_result (breaker_id, fingerprint, job_id)
  select u.breaker_id, f.fingerprint, u.job_id from unnest(job_ids, breaker_ids) u(job_id, breaker_id)
    join given g on g.job_id = u.job_id join facts f on f.id = u.job_id
    join weir.breaker b on b.id = u.breaker_id and b.id = any (breaker_ids)
      and b.while_open ->> 'policy' = 'complete_last_result'
  on conflict do nothing;
end $$;
comment on function weir.record_results(bigint[], int[]) is
  'Internal. Records which of these completed jobs have a result, for breakers with policy complete_last_result.';

create or replace function weir.sweep_breaker_results(most int default 10000) returns int language plpgsql
  set jit = off set enable_seqscan = off as $$
declare
  swept int;
begin
  delete from weir.breaker_result r where r.ctid = any (array(
    select x.ctid from weir.breaker_result x
    where exists (select from weir.breaker_result n where n.breaker_id = x.breaker_id and n.fingerprint = x.fingerprint
      and n.job_id > x.job_id)
      or not exists (select from weir.job_outcome o where o.job_id = x.job_id)
    limit most for update skip locked));
  get diagnostics swept = row_count;
  return swept;
end $$;
comment on function weir.sweep_breaker_results(int) is
  'Removes records of results (policy complete_last_result) that are not the newest, or whose job is gone. Returns '
  'how many.';

-- Probes, jobs that come back and throttled jobs are held first, so these states have policy hold.
create or replace function weir.current_policy(b weir.breaker) returns jsonb language sql stable
  return case
    when b.state = 'closed' or b.wants_probes or b.while_open ->> 'policy' in ('hold', 'throttle')
      or (b.while_open ->> 'until')::timestamptz <= clock_timestamp()
        or b.opened_at + make_interval(secs => (b.while_open ->> 'for_seconds')::float8) <= clock_timestamp()
      then '{"policy": "hold"}'::jsonb
    else b.while_open
  end;
comment on function weir.current_policy(weir.breaker) is
  'Internal. The policy for jobs of a gated breaker at this moment: its while_open, or hold.';

-- The first look takes rows in one statement, as a claim without gated breakers does. If there are jobs of gated
-- breakers among them, it must look further than it wants to take; from then on it locks rows, decides, and deletes.
-- Locks: rows of job_ready, skip locked, some more than it takes, until the claim ends.
create or replace function weir.claim_gated(queue_id int, ready_id int, queue_name text, queue_breaker int,
  after bigint[], share int, budget int,
  out ids bigint[], out tokens bigint[], out attempts smallint[], out priorities smallint[], out degraded bigint[],
  out diverted int)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off
  set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  gate_ids int[];
  names text[];
  versions bigint[];
  policies jsonb[];
  own int;          -- the position of the queue's own breaker among the gated ones,
  holding boolean;  -- and whether it holds the whole queue
  low bigint[];
  look int := share;
  sifting boolean := false;
  seen record;
  named record;
  decisions int[];
  stay record;
  gone record;
begin
  ids := '{}'; tokens := '{}'; attempts := '{}'; priorities := '{}'; degraded := '{}'; diverted := 0;
  select array_agg(b.id), array_agg(b.name), array_agg(b.version), array_agg(weir.current_policy(b))
    into gate_ids, names, versions, policies from weir.breaker b where b.gated;
  own := array_position(gate_ids, queue_breaker);
  holding := coalesce(policies[own] ->> 'policy' = 'hold', false);
  low := case when holding then array_fill(versions[own], array[10]) else after end;
  loop
    select * into seen from weir.read_ready_jobs(claim_gated.ready_id, low, look,
      case when holding then versions[own] end, take => not holding and not sifting);
    exit when seen.n = 0;
    -- A version that no breaker has: one of them changed its state after it was read, and its probes would be diverted.
    if exists (select from unnest(seen.passes) u(pass) where u.pass <> all (versions)) then
      select array_agg(b.id), array_agg(b.name), array_agg(b.version), array_agg(weir.current_policy(b))
        into gate_ids, names, versions, policies from weir.breaker b where b.gated;
      own := array_position(gate_ids, queue_breaker);
    end if;
    select array_agg(u.n) as ns, array_agg(j.breaker) as names into named from unnest(seen.ids) with ordinality u(id, n)
    cross join lateral (select x.breaker from weir.job x
      where x.id = u.id and x.id between seen.lowest and seen.highest and x.breaker is not null offset 0) j;
    if own is null and not coalesce(named.names && names, false) and not sifting then
      -- None of them has a gated breaker, and all are taken.
      ids := seen.ids;
      tokens := seen.seqs;
      attempts := array(select (a + 1)::smallint from unnest(seen.attempts) a);
      priorities := seen.priorities;
      exit;
    end if;
    -- For each job: 0 stays, -1 stays and is degraded, otherwise the position of the breaker that diverts it.
    decisions := array(
      select case
          when f.gate is null or f.pass = versions[f.gate] then 0
          when policies[f.gate] ->> 'policy' = 'reroute' and policies[f.gate] ->> 'queue' = queue_name then 0
          when policies[f.gate] ->> 'policy' = 'degraded' then -1
          else f.gate end
      from (
        select u.n, u.pass, case when t.n is null then own else array_position(names, t.name) end as gate
        from unnest(seen.passes) with ordinality u(pass, n)
          left join unnest(named.ns, named.names) t(n, name) on t.n = u.n
      ) f order by f.n);
    select coalesce(array_agg(u.tid), '{}') as tids, coalesce(array_agg(u.id), '{}') as ids, array_agg(u.seq) as seqs,
      array_agg((u.attempt + 1)::smallint) as attempts,
      array_agg(u.priority) as priorities, array_agg(u.id) filter (where u.gate = -1) as weak into stay
    from (select * from unnest(seen.tids, seen.ids, seen.seqs, seen.attempts, seen.priorities, decisions)
      u(tid, id, seq, attempt, priority, gate) where u.gate <= 0 limit share - cardinality(ids)) u;
    if holding or sifting then
      delete from weir.job_ready r where r.ctid = any (stay.tids
        || array(select u.tid from unnest(seen.tids, decisions) u(tid, gate) where u.gate > 0));
    end if;
    ids := ids || stay.ids;
    tokens := tokens || stay.seqs;
    attempts := attempts || stay.attempts;
    priorities := priorities || stay.priorities;
    degraded := degraded || stay.weak;
    for gone in
      select u.gate, u.priority, array_agg(u.id) as ids,
        array_agg(u.seq - case when u.pass is null then 0 else 4611686018427387904 end) as seqs,
        array_agg(u.attempt) as attempts, count(*)::int as n
      from unnest(seen.ids, seen.seqs, seen.attempts, seen.priorities, seen.passes, decisions)
        u(id, seq, attempt, priority, pass, gate)
      where u.gate > 0 group by u.gate, u.priority order by u.gate, u.priority desc
    loop
      perform weir.divert_jobs(gate_ids[gone.gate], names[gone.gate], policies[gone.gate], claim_gated.queue_id,
        gone.priority, gone.ids, gone.seqs, gone.attempts);
      if ready_id <> queue_id then  -- the queue has limits, and these jobs are no longer in flight
        perform weir.on_admitted_jobs_removed(gone.ids, queue_id);
      end if;
      diverted := diverted + gone.n;
    end loop;
    exit when seen.n < look or cardinality(ids) >= share or diverted >= budget;
    low := array(select greatest(low[c], (select max(u.seq) from unnest(seen.seqs, seen.priorities) u(seq, priority)
      where u.priority = c)) from generate_series(1, 10) c);
    sifting := true;
    look := greatest(share - cardinality(ids), 500);
  end loop;
end $$;
comment on function weir.claim_gated(int, int, text, int, bigint[], int, int) is
  'Internal. A claim from one queue while a breaker is gated: takes up to `share` jobs, and diverts up to `budget` '
  'jobs of gated breakers.';

-- Locks: the rows, skip locked.
create or replace function weir.read_ready_jobs(ready_id int, after bigint[], most int, version bigint, take boolean,
  out tids tid[], out ids bigint[], out seqs bigint[], out attempts smallint[], out priorities smallint[],
  out passes bigint[], out lowest bigint, out highest bigint, out n int)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off
  set enable_mergejoin = off as $$
begin
  if version is not null then
    with next as materialized (
      select r.* from generate_series(10, 1, -1) c cross join lateral (
        select x.ctid as tid, coalesce(x.job_id, x.seq) as job_id, x.seq, x.attempt, x.priority, x.let_through
        from weir.job_ready x
        where x.queue_id = read_ready_jobs.ready_id and x.priority = c and x.seq > after[c]
          and x.let_through is not null and x.let_through = version
        order by x.seq limit most for update skip locked) r
      limit most
    )
    select array_agg(x.tid), array_agg(x.job_id), array_agg(x.seq), array_agg(x.attempt), array_agg(x.priority),
        array_agg(x.let_through), min(x.job_id), max(x.job_id), count(*)::int
      into tids, ids, seqs, attempts, priorities, passes, lowest, highest, n from next x;
  else
    with next as materialized (
      select r.* from generate_series(10, 1, -1) c cross join lateral (
        select x.ctid as tid, coalesce(x.job_id, x.seq) as job_id, x.seq, x.attempt, x.priority, x.let_through
        from weir.job_ready x
        where x.queue_id = read_ready_jobs.ready_id and x.priority = c and x.seq > after[c]
        order by x.seq limit most for update skip locked) r
      limit most
    ), taken as (
      delete from weir.job_ready r where r.ctid = any (array(select x.tid from next x where take))
    )
    select array_agg(x.tid), array_agg(x.job_id), array_agg(x.seq), array_agg(x.attempt), array_agg(x.priority),
        array_agg(x.let_through), min(x.job_id), max(x.job_id), count(*)::int
      into tids, ids, seqs, attempts, priorities, passes, lowest, highest, n from next x;
  end if;
end $$;
comment on function weir.read_ready_jobs(int, bigint[], int, bigint, boolean) is
  'Internal. Locks up to `most` available jobs by priority and place, those let through by this version or (null) any, '
  'and deletes them from job_ready if take is set. n: how many.';

-- For jobs that a claim has just taken out of job_ready. No attempt is counted. A rerouted job belongs to its new queue
-- from then on. A job that was let through before has a negative seq (2^62 below its place), so it comes back before
-- jobs that never were.
create or replace function weir.divert_jobs(breaker_id int, name text, policy jsonb, queue_id int, priority smallint,
  ids bigint[], seqs bigint[], attempts smallint[]) returns void
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  lowest bigint := (select min(i) from unnest(ids) i);
  highest bigint := (select max(i) from unnest(ids) i);
  target record;
  results jsonb[];
  sources bigint[];
begin
  if policy ->> 'policy' = 'reroute' then
    select q.id, q.name into target from weir.queue q where q.name = policy ->> 'queue';
    with facts as (
      update weir.job j set queue_id = target.id where j.id = any (ids) and j.id between lowest and highest
    ), moved as (
      insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
      select target.id, priority, u.attempt, nextval('weir.job_id_seq'), u.id
        from unnest(ids, seqs, attempts) u(id, seq, attempt)
    )
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select u.id, 'rerouted', u.attempt, 'available', jsonb_build_object('breaker', name, 'from',
      (select q.name from weir.queue q where q.id = divert_jobs.queue_id), 'queue', target.name)
      from unnest(ids, attempts) u(id, attempt);
    update weir.queue q set deleted_at = null where q.id = target.id and q.deleted_at is not null;
    perform weir.wake(array[target.name]);
    return;
  elsif policy ->> 'policy' = 'postpone' then
    with moved as (
      insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
      select u.id, clock_timestamp() + make_interval(secs => (policy ->> 'delay_seconds')::float8), queue_id, priority,
        u.attempt from unnest(ids, attempts) u(id, attempt)
      returning *
    )
    insert into weir.job_event (job_id, kind, attempt, state, run_at, detail)
    select m.job_id, 'postponed', m.attempt, 'scheduled', m.run_at, jsonb_build_object('breaker', name) from moved m;
    return;
  elsif policy ->> 'policy' in ('complete_default', 'complete_last_result') then
    results := array_fill(policy -> 'result', array[cardinality(ids)]);
    if policy ->> 'policy' = 'complete_last_result' then
      -- For each, the newest job of the same tenant, kind and args that has a result.
      select array_agg(f.source order by u.n), array_agg(coalesce(f.result, policy -> 'result') order by u.n)
        into sources, results
      from unnest(ids) with ordinality u(id, n) cross join lateral (
        select max(s.job_id) as source, (array_agg(s.result))[1] as result from (
          select o.job_id, o.result from weir.breaker_result r join weir.job_outcome o on o.job_id = r.job_id
          where r.breaker_id = divert_jobs.breaker_id and r.fingerprint
            = (select weir.job_fingerprint(j.tenant, j.kind, j.args) from weir.job j where j.id = u.id)
            and o.result is not null and (o.result_until > clock_timestamp()) is not false
          order by r.job_id desc limit 1) s) f;
    end if;
    with completed as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt, result)
      select u.id, queue_id, 'completed', u.attempt, u.result
        from unnest(ids, attempts, results) u(id, attempt, result) where u.result is not null
    )
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select u.id, 'substituted', u.attempt, 'completed',
      jsonb_strip_nulls(jsonb_build_object('breaker', name, 'policy', policy -> 'policy', 'from_job', u.source::text))
    from unnest(ids, attempts, results, sources) u(id, attempt, result, source) where u.result is not null;
    perform weir.on_jobs_ended(weir.jobs_with_followers(array(select u.id from unnest(ids, results) u(id, result)
      where u.result is not null)));
    select array_agg(u.id), array_agg(u.seq), array_agg(u.attempt) into ids, seqs, attempts
      from unnest(ids, seqs, attempts, results) u(id, seq, attempt, result) where u.result is null;
  end if;
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
  select u.id, queue_id, priority, u.attempt, 'breaker', name, u.seq
    from unnest(ids, seqs, attempts) u(id, seq, attempt);
end $$;
comment on function weir.divert_jobs(int, text, jsonb, int, smallint, bigint[], bigint[], smallint[]) is
  'Internal. Moves jobs of a gated breaker to where its policy says.';
