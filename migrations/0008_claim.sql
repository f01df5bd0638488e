-- Claiming: from job_ready to job_lease, for one worker or for all that wait on a node at once.
--
-- Hot tables are reached only by restriction clauses over arrays and scalar subqueries, never by joins, and the plans are
-- pinned: a queue table's statistics are always wrong, and each freedom left to the planner has been seen to collapse a running system.
--
-- +goose Up
-- Locks: the job_ready rows it takes (skip locked). Rows come back in the order of priority and place, slot by slot.
-- +goose StatementBegin
create function weir.claim_batch(queues text[], workers text[], counts int[], leases int[], after_tick bigint default null, after_positions bigint[] default null)
returns table (job_id bigint, token bigint, kind text, queue text, args jsonb, attempt smallint, max_attempts smallint, timeout_seconds int,
  lease_expires_at timestamptz, priority smallint, tags text[], metadata jsonb, created_at timestamptz, slot int, tick bigint, refusal text, dependencies jsonb, degraded boolean)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  wanted int := (select sum(c) from unnest(counts) c);
  now_tick bigint;
  floor_seq bigint;
  q record;
  p smallint;
  after bigint[];
  share int;
  left_queues int;
  cut boolean;
  tids tid[];
  took record;
  got int := 0;
  ids bigint[] := '{}';
  tokens bigint[] := '{}';
  attempts smallint[] := '{}';
  priorities smallint[] := '{}';
  queue_ids int[] := '{}';
  queue_names text[] := '{}';
  default_leases int[] := '{}';
  slots int[];
  lowest bigint;
  highest bigint;
  now_at timestamptz;
  late_seq bigint;
  refusals text[];
  counted boolean[];
  governed int[] := '{}';  -- queues with limits, and what their lines tell apart
  line_bys smallint[] := '{}';
  rated int[] := '{}';  -- queues with limits whose rate is of claims (see weir.queue_tokens), and how many were claimed of each
  rated_jobs int[] := '{}';
  breaking int[];  -- queues with a breaker of their own
  gated boolean := exists (select from weir.breaker b where b.gated);
  weak bigint[] := '{}';  -- jobs to be worked on without what their breakers stand for
  sifted int := 0;
begin
  if exists (select from weir.worker w where w.name = any (workers) and (w.capacity is not null or w.paused_at is not null or w.draining_at is not null)) then
    select a.allowed, a.refusals, a.counted into counts, refusals, counted from weir.admit_claims(workers, counts) a;
    wanted := (select sum(c) from unnest(counts) c);
  end if;
  select array_agg(x.id) filter (where x.breaker_id is not null) into breaking from weir.queue x where x.name = any (queues);
  -- First the watermark, then the frontiers: read the other way round, a tick in between could hide an entry.
  select w.tick, w.seq, (select min(h.seq) from unnest(w.holder_seqs, w.holder_since) h(seq, since) where h.since > clock_timestamp() - interval '1 s')
    into now_tick, floor_seq, late_seq from weir.watermark w order by w.tick desc limit 1;
  -- In the first round each queue gives its share, in the second what is still wanted. The third is for a claim that came up short: it looks again from
  -- where those may have committed who were writing at the last tick, so that nobody misses what was committed before the claim began. Older
  -- writers are left to the next tick: a claim must not walk over all that happened since they began.
  for round in 1..3 loop
    exit when wanted = 0;
    continue when round = 2 and not cut;
    exit when round = 3 and late_seq is null and after_tick is distinct from now_tick;
    cut := false;
    left_queues := (select count(*) from weir.queue x where x.name = any (queues) and (x.paused_at is null or x.resume_at <= clock_timestamp()));
    for q in select x.id, case when x.governed then -x.id else x.id end as place, x.name, x.lease_seconds, x.breaker_id, x.governed and x.limits ? 'rate' as rated, x.line_by, array_position(queues, x.name) as n from weir.queue x
             where x.name = any (queues) and (x.paused_at is null or x.resume_at <= clock_timestamp()) order by random() loop
      if q.place < 0 and q.id <> all (governed) then
        governed := governed || q.id;
        line_bys := line_bys || q.line_by;
      end if;
      select f.positions into after from weir.frontier f where f.queue_id = q.place order by f.tick desc limit 1;
      share := case when round = 1 then ceil((wanted - got)::numeric / greatest(left_queues, 1)) else wanted - got end;
      left_queues := left_queues - 1;
      for c in 1..10 loop
        after[c] := case when round < 3 then greatest(coalesce(after[c], floor_seq), case when after_tick = now_tick then after_positions[(q.n - 1) * 10 + c] end)
                         else least(coalesce(after[c], floor_seq), late_seq) end;
      end loop;
      if gated then
        select * into took from weir.take_gated(q.id, q.place, q.name, q.breaker_id, after, share, 2000 - sifted);
        ids := ids || took.ids;
        tokens := tokens || took.tokens;
        attempts := attempts || took.attempts;
        priorities := priorities || took.priorities;
        queue_ids := queue_ids || array_fill(q.id, array[cardinality(took.ids)]);
        queue_names := queue_names || array_fill(q.name, array[cardinality(took.ids)]);
        default_leases := default_leases || array_fill(q.lease_seconds, array[cardinality(took.ids)]);
        weak := weak || took.degraded;
        sifted := sifted + took.diverted;
        got := got + cardinality(took.ids);
        if q.rated and took.ids <> '{}' then
          rated := rated || q.id;
          rated_jobs := rated_jobs || cardinality(took.ids);
        end if;
        cut := cut or share <= cardinality(took.ids);
        exit when got >= wanted or sifted >= 2000;
        continue;
      end if;
      for p in  -- only the priorities that have something: ten cheap probes instead of ten statements
        select c from generate_series(10, 1, -1) c
        where (select true from weir.job_ready r where r.queue_id = q.place and r.priority = c and r.seq > after[c] limit 1) loop
        tids := array(select r.ctid from weir.job_ready r where r.queue_id = q.place and r.priority = p and r.seq > after[p]
                      order by r.seq limit share for update skip locked);
        continue when tids = '{}';
        with gone as (delete from weir.job_ready r where r.ctid = any (tids) returning r.job_id, r.seq, r.attempt)
        select array_agg(g.job_id order by g.seq) as ids, array_agg(g.seq order by g.seq) as tokens,
               array_agg(g.attempt + 1 order by g.seq)::smallint[] as attempts, count(*)::int as n
          into took from gone g;
        ids := ids || took.ids;
        tokens := tokens || took.tokens;
        attempts := attempts || took.attempts;
        priorities := priorities || array_fill(p, array[took.n]);
        queue_ids := queue_ids || array_fill(q.id, array[took.n]);
        queue_names := queue_names || array_fill(q.name, array[took.n]);
        default_leases := default_leases || array_fill(q.lease_seconds, array[took.n]);
        got := got + took.n;
        share := share - took.n;
        if q.rated then
          rated := rated || q.id;
          rated_jobs := rated_jobs || took.n;
        end if;
        exit when share <= 0;
      end loop;
      cut := cut or share <= 0;
      exit when got >= wanted;
    end loop;
    exit when got >= wanted or sifted >= 2000;
  end loop;
  if sifted >= 2000 and got < wanted then
    return query select 0::bigint, 0::bigint, '', '', 'null'::jsonb, 0::smallint, 0::smallint, 0, clock_timestamp(), 0::smallint, '{}'::text[], '{}'::jsonb, clock_timestamp(), 1, now_tick, 'sifting', null::jsonb, false;
  end if;
  if refusals is not null then
    return query select 0::bigint, 0::bigint, '', '', 'null'::jsonb, 0::smallint, 0::smallint, 0, clock_timestamp(), 0::smallint, '{}'::text[], '{}'::jsonb, clock_timestamp(),
      r.n::int, now_tick, r.refusal, null::jsonb, false from unnest(refusals) with ordinality r(refusal, n) where r.refusal is not null;
  end if;
  if got = 0 then
    return;
  end if;

  -- The facts once, at the end. The bounds are for the executor, which prunes partitions by a range but not by an array.
  slots := array(select s.n from unnest(counts) with ordinality s(count, n) cross join generate_series(1, s.count));
  select min(i), max(i) into lowest, highest from unnest(ids) i;
  now_at := clock_timestamp();
  if rated <> '{}' then
    insert into weir.line_news (queue_id, claimed, claimed_at) select u.id, u.n, now_at from unnest(rated, rated_jobs) u(id, n);
  end if;
  return query
  with picked as materialized (
    select u.*, j.kind, j.args, j.max_attempts, j.timeout_seconds, j.tags, j.metadata, j.created_at, j.result_ttl_seconds, j.workflow_id, case when j.workflow_id is not null then true end as followed,
      case when u.queue_id = any (governed) then weir.line_name(line_bys[array_position(governed, u.queue_id)], j.tenant, j.concurrency_key) end as line,
      case  -- who hears how it ends: not of a job that does without, or that was routed away
        when j.breaker is not null then case when u.id <> all (weak) then
          (select b.id from weir.breaker b where b.name = j.breaker and b.while_open ->> 'queue' is distinct from u.queue_name) end
        when u.queue_id = any (breaking) then case when u.id <> all (weak) then (select x.breaker_id from weir.queue x where x.id = u.queue_id) end
      end as breaker_id,
      least(coalesce(nullif(leases[u.slot], 0), u.lease), j.timeout_seconds) as first_lease
    from unnest(ids, tokens, attempts, priorities, queue_ids, queue_names, default_leases, slots[1:got]) with ordinality
      u(id, token, attempt, priority, queue_id, queue_name, lease, slot, n)
    join weir.job j on j.id = u.id
    where j.id = any (ids) and j.id between lowest and highest
  ), leased as (
    insert into weir.job_lease (job_id, token, leased_at, expires_at, deadline_at, queue_id, lease_seconds, priority, attempt, worker, result_ttl_seconds, counted, followed, line, breaker_id)
    select k.id, k.token, now_at, now_at + make_interval(secs => k.first_lease), now_at + make_interval(secs => k.timeout_seconds),
      k.queue_id, coalesce(nullif(leases[k.slot], 0), k.lease), k.priority, k.attempt, workers[k.slot], k.result_ttl_seconds, counted[k.slot], k.followed, k.line, k.breaker_id
    from picked k
  )
  select k.id, k.token, k.kind, k.queue_name, k.args, k.attempt, k.max_attempts, k.timeout_seconds, now_at + make_interval(secs => k.first_lease),
    k.priority, k.tags, k.metadata, k.created_at, k.slot, now_tick, null::text,
    -- A subquery that does not depend on the row: it is run once, when the first step of a workflow comes, and not at all where there is none.
    case when k.workflow_id is not null then (select weir.step_inputs(array(select p.id from picked p where p.workflow_id is not null))) -> k.id::text end,
    gated and k.id = any (weak)
  from picked k order by k.n;
end $$;

create function weir.claim(queues text[], worker text, max_jobs int default 1, lease_seconds int default null)
returns table (job_id bigint, token bigint, kind text, queue text, args jsonb, attempt smallint, max_attempts smallint, timeout_seconds int,
  lease_expires_at timestamptz, priority smallint, tags text[], metadata jsonb, created_at timestamptz, dependencies jsonb, degraded boolean)
language plpgsql as $$
#variable_conflict use_variable
declare
  row record;
  sifting boolean;
  got int := 0;
begin
  if coalesce(cardinality(queues), 0) not between 1 and 100 then
    perform weir.refuse_argument('queues', 'must name 1 to 100 queues');
  elsif worker is null or length(worker) not between 1 and 200 then
    perform weir.refuse_argument('worker', 'must be a name of 1 to 200 characters');
  elsif max_jobs is null or max_jobs not between 1 and 10000 then
    perform weir.refuse_argument('max_jobs', 'must be from 1 to 10000');
  elsif lease_seconds not between 1 and 3600 then
    perform weir.refuse_argument('lease_seconds', 'must be from 1 to 3600');
  end if;
  perform weir.see_workers(array[worker]);
  if not exists (select from weir.breaker b where b.gated) then
    return query select c.job_id, c.token, c.kind, c.queue, c.args, c.attempt, c.max_attempts, c.timeout_seconds, c.lease_expires_at, c.priority,
      c.tags, c.metadata, c.created_at, c.dependencies, c.degraded
    from weir.claim_batch(queues, array[worker], array[max_jobs], array[lease_seconds]) c where c.job_id > 0;
    return;
  end if;
  -- A claim moves jobs of open breakers out of its way, so many at a time. Where it finds nothing else it goes on, for a while.
  for round in 1..20 loop
    sifting := false;
    for row in select c.* from weir.claim_batch(queues, array[worker], array[max_jobs], array[lease_seconds]) c loop
      if row.job_id = 0 then
        sifting := sifting or row.refusal = 'sifting';
        continue;
      end if;
      job_id := row.job_id; token := row.token; kind := row.kind; queue := row.queue; args := row.args; attempt := row.attempt; max_attempts := row.max_attempts;
      timeout_seconds := row.timeout_seconds; lease_expires_at := row.lease_expires_at; priority := row.priority; tags := row.tags; metadata := row.metadata;
      created_at := row.created_at; dependencies := row.dependencies; degraded := row.degraded;
      got := got + 1;
      return next;
    end loop;
    exit when got > 0 or not sifting;
  end loop;
end $$;
-- +goose StatementEnd
comment on function weir.claim_batch(text[], text[], int[], int[], bigint, bigint[]) is
  'Internal, for a node that claims for many workers at once: counts[i] jobs for workers[i] with leases of leases[i] seconds (null or 0: the queue''s). '
  'slot names the worker. A row with job_id 0 says that the slot was to get fewer jobs, and why (refusal: draining, paused or at_capacity), or that the claim ended early because it had to move many jobs of open circuit breakers out of its way (sifting). after_positions (ten a queue, for priority 1 to 10) may be passed where the last claim answered with the same tick: places behind which it has claimed everything.';
comment on function weir.claim(text[], text, int, int) is
  'Takes up to max_jobs available jobs of these queues for a worker, highest priority first and first in, first out within it, several queues in equal shares. '
  'Each comes with a token for weir.complete, fail, snooze, release and heartbeat, and is taken back at lease_expires_at unless a heartbeat moves that '
  '(lease_seconds: default the queue''s, 30). Never waits for another claim. A step of a workflow comes with the results of those that it depends on, by name (dependencies; null for a plain job). '
  'A worker that is paused, drains or has as many jobs as it may gets none: weir.claim_refusal says why. degraded: its circuit breaker is open, and the job is to be done without that dependency. Errors: WR010.';

-- +goose Down
drop function weir.claim(text[], text, int, int), weir.claim_batch(text[], text[], int[], int[], bigint, bigint[]);
