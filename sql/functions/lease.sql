-- Leases: refusing a stale token, asserting and locking leases, and taking back those that ran out.
--
-- Functions that take many jobs take two arrays, ids and tokens, that pair up. The pairs are looked up in a hashed
-- subquery, which the CASE keeps the planner from turning into a join.

create or replace function weir.refuse_stale(job_id bigint) returns void language plpgsql set jit = off
  set enable_seqscan = off as $$
#variable_conflict use_variable
begin
  if exists (select from weir.job j where j.id = job_id) and weir.sees_job(job_id, '{worker}') then
    raise exception using errcode = 'WR001', message = format('the lease on job %s is not held with this token',
      job_id),
      hint = 'It ended, expired or was given to another worker. Nothing was changed; stop working on the job.';
  end if;
  perform weir.refuse_unknown_job(job_id);
end $$;
comment on function weir.refuse_stale(bigint) is
  'Internal. Raises WR001 stale_token, or WR002 job_not_found where there is no such job.';

-- For a transaction with acks of several outcomes: each of the functions locks in the order of the ids, but several
-- of them one after the other do not.
create or replace function weir.lock_leases(job_ids bigint[]) returns void language plpgsql set jit = off
  set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform from weir.job_lease l where l.job_id = any (job_ids) order by l.job_id for update;
  perform weir.lock_workflows_of(array(select l.job_id from weir.job_lease l where l.job_id = any (job_ids)
    and l.followed));
end $$;
comment on function weir.lock_leases(bigint[]) is
  'Internal. Locks leases in the order of their ids until the transaction ends, then the workflows that they are '
  'steps of.';

-- Reads only leases that ran out since `after`, which the last call returned: the watermark's settled_at, before
-- which no lease that is still to be committed can end. Locks: job_lease rows, skip locked (a worker that is
-- completing, or asserts its lease, keeps it).
create or replace function weir.expire_leases(max_jobs int default 1000, after timestamptz default '-infinity',
  out expired int, out looked_until timestamptz)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off set enable_sort = off as $$
declare
  now_at timestamptz;
  late record;
begin
  select w.settled_at into looked_until from weir.watermark w order by w.tick desc limit 1;
  now_at := clock_timestamp();  -- after settled_at: what runs out in between is for this look
  select array_agg(l.job_id) as ids, array_agg(l.token) as tokens, array_agg(l.leased_at) as begins,
    min(l.job_id) as lowest, max(l.job_id) as highest, count(*)::int as n
  into late from (
    select x.job_id, x.token, x.leased_at from weir.job_lease x
    where x.expires_at > after and x.expires_at <= now_at order by x.expires_at
      limit max_jobs for update skip locked) l;
  expired := late.n;
  if expired > 0 then
    perform weir.end_attempts(array_agg(l.id), array_agg(l.token),
      array_agg(case when l.timed_out then jsonb_build_object('type', 'timeout', 'message',
        format('ran past its timeout of %s seconds', l.timeout_seconds))
                else jsonb_build_object('type', 'lost', 'message', 'the lease ran out: no heartbeat came in time') end),
      array_agg(case when not l.timed_out then interval '0' end), array_agg(true),
        array_agg(case when l.timed_out then 'timed_out'::weir.event_kind else 'lost' end))
    from (
      select u.id, u.token, j.timeout_seconds, u.begun + make_interval(secs => j.timeout_seconds) <= now_at as timed_out
      from unnest(late.ids, late.tokens, late.begins) u(id, token, begun)
      cross join lateral (select x.timeout_seconds from weir.job x where x.id = u.id and x.id between late.lowest
        and late.highest offset 0) j) l;
  end if;
  -- The next call begins before leases that have run out and are still there: they were left for it, or another
  -- session has them locked.
  looked_until := least(looked_until, (select x.expires_at - interval '1 us' from weir.job_lease x
    where x.expires_at > after and x.expires_at <= now_at
    order by x.expires_at limit 1));
end $$;
comment on function weir.expire_leases(int, timestamptz) is
  'Takes back up to max_jobs jobs whose lease ran out after `after`: available again at once, or, past their '
  'timeout, retried as their policy says; dead when their attempts are used up. Every node calls it about twice a '
  'second, passing looked_until of the last call. Returns how many it took.';

-- Locks: the job_lease row, FOR KEY SHARE until the caller's transaction ends: heartbeats go on, but the job cannot
-- be taken back.
create or replace function weir.assert_lease(job_id bigint, token bigint) returns void language plpgsql set jit = off
  set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
begin
  if session_user <> current_user then
    token := (weir.own_tokens(array[job_id], array[token]))[1];
  end if;
  perform from weir.job_lease l where l.job_id = assert_lease.job_id and l.token = assert_lease.token for key share;
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;
comment on function weir.assert_lease(bigint, bigint) is
  'Refuses unless the lease is held with this token, and keeps it from being taken back until the transaction ends. '
  'Errors: WR001, WR002.';
