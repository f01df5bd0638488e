-- Claiming: from job_ready to job_lease, for one worker or for all that wait on a node at once.
--
-- Hot tables are reached only by restriction clauses over arrays and scalar subqueries, never by joins, and the plans
-- are pinned: a queue table's statistics are always wrong, and each freedom left to the planner has been seen to
-- collapse a running system.

-- The breaker that counts the outcome of an attempt: the job's own, unless the job was rerouted because of it, or
-- else its queue's.
create or replace function weir.reporting_breaker(breaker text, queue_id int, queue_name text) returns int
language plpgsql stable set enable_seqscan = off as $$
begin
  if reporting_breaker.breaker is null then
    return (select q.breaker_id from weir.queue q where q.id = reporting_breaker.queue_id);
  end if;
  return (select b.id from weir.breaker b where b.name = reporting_breaker.breaker and b.while_open ->> 'queue'
    is distinct from reporting_breaker.queue_name);
end $$;
comment on function weir.reporting_breaker(text, int, text) is
  'Internal. The circuit breaker (weir.breaker.id) that counts the outcome of an attempt; null: none.';

-- Locks: the job_ready rows it takes (skip locked). Rows come back in the order of priority and place, slot by slot.
create or replace function weir.claim_batch(queues text[], workers text[], counts int[], leases int[],
  after_tick bigint default null, after_positions bigint[] default null, looks int default 1,
  principals int[] default null)
returns table (job_id bigint, token bigint, kind text, queue text, args jsonb, attempt smallint,
  max_attempts smallint, timeout_seconds int,
  lease_expires_at timestamptz, priority smallint, tags text[], metadata jsonb, created_at timestamptz, slot int,
    tick bigint, refusal text, dependencies jsonb, degraded boolean)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off
  set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  wanted int := (select sum(c) from unnest(counts) c);
  round int;
  now_tick bigint;
  floor_seq bigint;
  epoch int;  -- of the tokens; see weir.lease_token
  timeline int;
  holders bigint[];
  holders_since timestamptz[];
  late_seq bigint;
  queue_ids int[];  -- of the queues that are not paused, in an order of chance, with what goes with them
  queue_names text[];
  default_leases int[];
  breakers int[];
  rated boolean[];  -- its rate is of claims: see weir.queue_tokens
  ready_ids int[];  -- under which they stand in job_ready
  governed int[];
  line_bys smallint[];  -- what the lines of the governed ones tell apart
  breaking int[];  -- queues with a breaker of their own
  place int;
  positions bigint[];
  claimed_to bigint[];
  share int;
  cut boolean;
  took record;
  got int := 0;
  ids bigint[] := '{}';
  tokens bigint[] := '{}';
  attempts smallint[] := '{}';
  priorities smallint[] := '{}';
  sources int[] := '{}';  -- which of the queues each is from
  slots int[];
  lowest bigint;
  highest bigint;
  now_at timestamptz;
  taken text[];  -- refusals because of owners
  refusals text[];
  counted boolean[];
  caller_login oid := case when session_user <> current_user and not weir.is_owner() then weir.login_id() end;
  gated boolean := exists (select from weir.breaker b where b.gated);
  weak bigint[] := '{}';  -- jobs to be worked on without what their breakers stand for
  sift int;            -- how many jobs of open breakers it moves out of its way, in each queue and round,
  sifting boolean;     -- whether a queue has more of them,
  moved int := 0;      -- and how many it has moved
begin
  if exists (select from weir.worker w where w.name = any (workers)
    and (w.capacity is not null or w.paused_at is not null or w.draining_at is not null
      or w.principal <> any (principals) or w.login is distinct from caller_login)) then
    if exists (select from weir.worker w where w.name = any (workers)
      and (w.principal <> any (principals) or w.login is distinct from caller_login)) then
      select o.owned, o.allowed, o.refusals into workers, counts, taken
      from weir.own_slots(workers, counts, principals, caller_login) o;
    end if;
    select a.allowed, a.refusals, a.counted into counts, refusals, counted from weir.admit_claims(workers, counts) a;
    wanted := (select sum(c) from unnest(counts) c);
  end if;
  select array_agg(x.id), array_agg(x.name), array_agg(x.lease_seconds), array_agg(x.breaker_id),
    array_agg(x.governed and x.limits ? 'rate'), array_agg(x.line_by),
    array_agg(x.ready_id), array_agg(x.id) filter (where x.governed),
      array_agg(x.id) filter (where x.breaker_id is not null)
    into queue_ids, queue_names, default_leases, breakers, rated, line_bys, ready_ids, governed, breaking
  from (select q.* from weir.queue q where q.name = any (queues)
    and (q.paused_at is null or q.resume_at <= clock_timestamp()) order by random()) x;
  -- First the watermark, then the frontiers: in the reverse order, a tick in between could hide an entry.
  select w.tick, w.seq, w.holder_seqs, w.holder_since, w.epoch, w.wal_timeline into now_tick, floor_seq, holders,
    holders_since, epoch, timeline
  from weir.watermark w order by w.tick desc limit 1;
  -- In the first round each queue gives its share, in the second the rest of what is wanted. The third and the fourth
  -- do the same for a claim that is still short: they scan again from the lowest place where transactions that were
  -- writing at the last tick may have committed, so that no claim misses a job that was committed before it began.
  -- Older writers are left to the next tick: a claim must not walk over all that happened since they began, unless
  -- that is little. The second round is repeated, at most `looks` times, if jobs of open breakers were in the way and
  -- there are more of them.
  sift := ceil(2000.0 / cardinality(queue_ids));
  foreach round in array 1 || array_fill(2, array[looks]) || array[3, 4] loop
    exit when wanted = 0;
    continue when round in (2, 4) and not cut;
    if round = 3 and holders <> '{}' then
      late_seq := (select min(h.seq) from unnest(holders, holders_since) h(seq, since)
        where h.since > clock_timestamp() - interval '1 s' or h.seq > floor_seq - 256);
    end if;
    exit when round = 3 and late_seq is null and after_tick is distinct from now_tick;
    cut := false;
    sifting := false;
    for n in 1..coalesce(cardinality(queue_ids), 0) loop
      place := ready_ids[n];
      positions := (select f.positions from weir.frontier f where f.queue_id = place order by f.tick desc limit 1);
      claimed_to := case when round < 3 and after_tick = now_tick
        then after_positions[array_position(queues, queue_names[n]) * 10 - 9 : array_position(queues,
        queue_names[n]) * 10] end;
      share := case when round in (1, 3) then ceil((wanted - got)::numeric / (cardinality(queue_ids) - n + 1))
        else wanted - got end;
      if gated then
        select * into took from weir.claim_gated(queue_ids[n], place, queue_names[n], breakers[n],
          array(select least(greatest(coalesce(positions[c], floor_seq), claimed_to[c]), late_seq)
            from generate_series(1, 10) c), share, sift);
        weak := weak || took.degraded;
        sifting := sifting or took.diverted >= sift;
        moved := moved + took.diverted;
      else
        -- Priority by priority, as far as it takes: an index scan each, which locks no more than is taken, so what it
        -- reads is in order without a sort.
        with next as materialized (
          select r.* from generate_series(10, 1, -1) c cross join lateral (
            select x.ctid as tid, coalesce(x.job_id, x.seq) as job_id, x.seq, x.attempt, x.priority
              from weir.job_ready x
            where x.queue_id = place and x.priority = c
              and x.seq > least(greatest(coalesce(positions[c], floor_seq), claimed_to[c]), late_seq)
            order by x.seq limit share for update skip locked) r
          limit share
        ), gone as (
          delete from weir.job_ready r where r.ctid = any (array(select n.tid from next n))
        )
        select coalesce(array_agg(n.job_id), '{}') as ids, array_agg(n.seq) as tokens,
          array_agg(n.attempt + 1)::smallint[] as attempts, array_agg(n.priority) as priorities into took from next n;
      end if;
      share := share - cardinality(took.ids);
      if took.ids <> '{}' then
        ids := ids || took.ids;
        tokens := tokens || took.tokens;
        attempts := attempts || took.attempts;
        priorities := priorities || took.priorities;
        sources := sources || array_fill(n, array[cardinality(took.ids)]);
        got := got + cardinality(took.ids);
      end if;
      cut := cut or share <= 0 or sifting;
      exit when got >= wanted;
    end loop;
    exit when got >= wanted or moved >= 2000 * case when got > 0 then 1 else looks end;
  end loop;
  -- Why a slot gets fewer jobs than it asked for, as rows without a job.
  tick := now_tick;
  if sifting and got < wanted then
    slot := 1;
    refusal := 'sifting';
    return next;
  end if;
  if refusals is not null then
    for slot, refusal in select r.n, coalesce(r.taken, r.refusal) from unnest(taken, refusals) with ordinality
      r(taken, refusal, n) where coalesce(r.taken, r.refusal) is not null loop
      return next;
    end loop;
  end if;
  if got = 0 then
    return;
  end if;

  slots := case when cardinality(counts) = 1 then array_fill(1, array[got])
    else array(select s.n from unnest(counts) with ordinality s(count, n) cross join generate_series(1, s.count)) end;
  select min(i), max(i) into lowest, highest from unnest(ids) i;
  now_at := clock_timestamp();
  epoch := weir.claim_epoch(epoch, timeline);
  if true = any (rated) then
    insert into weir.admission_inbox (queue_id, claimed, claimed_at) select queue_ids[u.n], count(*), now_at
      from unnest(sources) u(n) where rated[u.n] group by u.n;
  end if;
  -- The facts once, at the end, one index look-up each, in the order in which the jobs were taken: a hash join would
  -- lose the order, and a sort would copy the args again. The bounds keep the executor from opening other partitions.
  return query
  with picked as materialized (
    select u.id, weir.lease_token(tokens[u.n], epoch) as token, attempts[u.n] as attempt, priorities[u.n] as priority,
      queue_ids[sources[u.n]] as queue_id, queue_names[sources[u.n]] as queue_name, slots[u.n] as slot,
      coalesce(nullif(leases[slots[u.n]], 0), default_leases[sources[u.n]]) as lease, j.kind, j.args, j.max_attempts,
        j.timeout_seconds, j.tags, j.metadata, j.created_at, j.result_ttl_seconds, j.workflow_id,
      case when j.workflow_id is not null then true end as followed,
      case when queue_ids[sources[u.n]] = any (governed) then weir.line_name(line_bys[sources[u.n]], j.tenant,
        j.concurrency_key) end as line,
      -- not of a job that does without
      case when j.breaker is not null or queue_ids[sources[u.n]] = any (breaking) then case when u.id <> all (weak) then
        weir.reporting_breaker(j.breaker, queue_ids[sources[u.n]], queue_names[sources[u.n]]) end end as breaker_id
    from unnest(ids) with ordinality u(id, n)
    cross join lateral (select x.* from weir.job x where x.id = u.id and x.id between lowest and highest offset 0) j
  ), leased as (
    insert into weir.job_lease (job_id, token, leased_at, expires_at, queue_id, lease_seconds, priority, attempt,
      worker, result_ttl_seconds, counted, followed, line, breaker_id, principal, login)
    select k.id, k.token, now_at, now_at + make_interval(secs => least(k.lease, k.timeout_seconds)), k.queue_id,
      k.lease, k.priority, k.attempt, workers[k.slot], k.result_ttl_seconds, counted[k.slot], k.followed, k.line,
      k.breaker_id, nullif(principals[k.slot], 0), caller_login
    from picked k
  )
  select k.id, k.token, k.kind, k.queue_name, k.args, k.attempt, k.max_attempts, k.timeout_seconds,
    now_at + make_interval(secs => least(k.lease, k.timeout_seconds)),
    k.priority, k.tags, k.metadata, k.created_at, k.slot, now_tick, null::text,
    -- A subquery that does not depend on the row: it runs once, at the first step of a workflow, and not at all
    -- without one.
    case when k.workflow_id is not null then (select weir.step_inputs(array(select p.id from picked p
      where p.workflow_id is not null))) -> k.id::text end,
    gated and k.id = any (weak)
  from picked k;
end $$;
comment on function weir.claim_batch(text[], text[], int[], int[], bigint, bigint[], int, int[]) is
  'Internal, for a node that claims for many workers at once: counts[i] jobs for workers[i] with leases of leases[i] '
  'seconds (null or 0: the queue''s). slot names the worker. A row with a refusal has no job (null): it says why the '
  'slot gets fewer jobs than it asked for (taken, draining, paused or at_capacity), or that the claim ended early '
  'because it had to move many jobs of open circuit breakers out of its way (sifting). after_positions (ten a queue, '
  'for priority 1 to 10) may be passed where the last claim answered with the same tick: places behind which it has '
  'claimed everything. looks: how many times it looks again where it met nothing but such jobs, about 2000 each '
  'time. principals[i]: who claims for workers[i] (weir.principal.id, or 0).';

create or replace function weir.claim(queues text[], worker text, max_jobs int default 1,
  lease_seconds int default null)
returns table (job_id bigint, token bigint, kind text, queue text, args jsonb, attempt smallint,
  max_attempts smallint, timeout_seconds int,
  lease_expires_at timestamptz, priority smallint, tags text[], metadata jsonb, created_at timestamptz,
    dependencies jsonb, degraded boolean)
language plpgsql set enable_seqscan = off as $$
#variable_conflict use_variable
begin
  if coalesce(cardinality(queues), 0) not between 1 and 100 then
    perform weir.refuse_argument('queues', 'must name 1 to 100 queues');
  elsif worker is null or length(worker) not between 1 and 200 or worker in ('.', '..') then
    perform weir.refuse_argument('worker', 'must be a name of 1 to 200 characters, other than . and ..');
  elsif max_jobs is null or max_jobs not between 1 and 10000 then
    perform weir.refuse_argument('max_jobs', 'must be from 1 to 10000');
  elsif lease_seconds not between 1 and 3600 then
    perform weir.refuse_argument('lease_seconds', 'must be from 1 to 3600');
  end if;
  if session_user <> current_user then
    perform weir.require_queues('worker', queues);
  end if;
  if exists (select from weir.queue q where q.encrypted and q.name = any (queues)) then
    perform weir.refuse_encrypted_queues(queues);
  end if;
  perform weir.touch_workers(array[worker]);
  return query select c.job_id, c.token, c.kind, c.queue, c.args, c.attempt, c.max_attempts, c.timeout_seconds,
    c.lease_expires_at, c.priority, c.tags, c.metadata, c.created_at, c.dependencies, c.degraded
  from weir.claim_batch(queues, array[worker], array[max_jobs], array[lease_seconds], looks => 20) c
    where c.refusal is null;
end $$;
comment on function weir.claim(text[], text, int, int) is
  'Takes up to max_jobs available jobs of these queues for a worker, highest priority first and first in, first out '
  'within it, several queues in equal shares. Each comes with a token for weir.complete, fail, snooze, release and '
  'heartbeat, and is taken back at lease_expires_at unless a heartbeat moves that (lease_seconds: default the '
  'queue''s, 30). Never waits for another claim. A step of a workflow comes with the results of those that it '
  'depends on, by name (dependencies; null for a plain job). A worker that is paused, draining or at capacity '
  'gets none: weir.claim_refusal says why. degraded: its circuit breaker is open, and the job should run '
  'without that dependency. Errors: WR010, WR023.';
