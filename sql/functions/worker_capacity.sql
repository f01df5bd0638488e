-- Capacity of workers: how many more jobs a claim may take.

-- A lease that is yet to be committed began after the watermark's settled_at.
create or replace function weir.first_counted_lease(worker text, last timestamptz) returns timestamptz
language sql volatile
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
  select least((select w.settled_at from weir.watermark w order by w.tick desc limit 1),
    (select l.leased_at from weir.job_lease l where l.worker = first_counted_lease.worker and l.counted
      and l.leased_at >= coalesce(last, '-infinity') order by l.leased_at limit 1))
$$;
comment on function weir.first_counted_lease(text, timestamptz) is
  'Internal. A time before which this worker has no counted lease. `last`, the previous such time, spares the query '
  'older leases.';

create or replace function weir.count_leases(workers text[], capped_ats timestamptz[]) returns bigint[]
language sql volatile
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select array_agg((select count(*) from weir.job_lease l where l.worker = u.worker and l.counted
      and l.leased_at >= coalesce((select s.counted_from from weir.worker_seen s where s.name = u.worker
        and s.capped_at = u.capped_at), '-infinity')) order by u.n)
  from unnest(workers, capped_ats) with ordinality u(worker, capped_at, n)
$$;
comment on function weir.count_leases(text[], timestamptz[]) is
  'Internal. The number of counted leases of each of these workers.';

-- Called by a claim for all of its slots at once if one of the workers has a capacity, is paused or drains. Locks: the
-- worker_turn row of each worker with a capacity, skip locked. If another session has it, the worker gets nothing this
-- time.
create or replace function weir.admit_claims(workers text[], counts int[], out allowed int[], out refusals text[],
  out counted boolean[])
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off as $$
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
      when w.capacity is not null and (select t.name from weir.worker_turn t where t.name = w.name
        for update skip locked) is null then 'at_capacity' end)
    into names, capacities, capped_ats, halts
  from weir.worker w where w.name = any (workers) and (w.capacity is not null or w.paused_at is not null
    or w.draining_at is not null);
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted')
    and exists (select from unnest(halts) h where h is null) then
    raise exception using errcode = 'WR010',
      message = 'a worker with a capacity can only claim in a READ COMMITTED transaction',
      hint = 'In a stricter one its jobs cannot be counted. Claim in a separate transaction, or remove the capacity.',
        column = 'worker';
  end if;
  -- Only now, with a new snapshot: it sees what those had committed who had the locks before.
  had := weir.count_leases(names, capped_ats);
  select array_agg(greatest(least(a.count, a.room - a.before), 0)::int order by a.n),
         array_agg(case when a.count > a.room - a.before then coalesce(a.halt, 'at_capacity') end order by a.n),
         array_agg(case when a.capacity is not null then true end order by a.n)
    into allowed, refusals, counted
  from (
    select u.n, u.count, case when r.halt is null then r.capacity - r.had else 0 end as room, r.halt, r.capacity,
      sum(u.count) over (partition by u.name order by u.n) - u.count as before
    from unnest(workers, counts) with ordinality u(name, count, n)
    left join unnest(names, had, halts, capacities) r(name, had, halt, capacity) on r.name = u.name) a;
end $$;
comment on function weir.admit_claims(text[], int[]) is
  'Internal. How many jobs each slot of a claim may take (allowed), why that is fewer than it asked for (refusals: '
  'draining, paused, at_capacity, or null), and whether its leases are counted. Errors: WR010.';

create or replace function weir.claim_refusal(worker text) returns text language sql stable as $$
  select case
    when not weir.may_claim_as(w.principal, w.login, null, case when not weir.is_owner() then weir.login_id() end)
      then 'taken'
    when w.draining_at is not null then 'draining'
    when w.paused_at is not null then 'paused'
    when w.capacity <= (weir.count_leases(array[w.name], array[w.capped_at]))[1] then 'at_capacity' end
  from weir.worker w where w.name = claim_refusal.worker
$$;
comment on function weir.claim_refusal(text) is
  'Why a claim by this worker gets nothing now: taken (another registered it), draining, paused, at_capacity, or null: '
  'it is not refused.';
