-- Attempts that do not complete: fail, snooze, release, and leases that ran out.
--
-- +goose Up
-- The one way in which an attempt fails. For each job whose lease is held with the token: cancelled, if that was asked for; dead, if it
-- may not be retried or its attempts are used up; otherwise scheduled again, or available at once where the wait is zero.
-- Locks: the job_lease rows, in the order of their ids.
-- +goose StatementBegin
create function weir.end_attempts(job_ids bigint[], tokens bigint[], errors jsonb[], waits interval[], retries boolean[], kinds weir.event_kind[])
returns table (job_id bigint, state weir.job_state, run_at timestamptz) language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  now_at timestamptz;
  done record;
  spared bigint[];
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(errors), cardinality(waits), cardinality(retries), cardinality(kinds)]);
  lock table weir.job_ready in row exclusive mode;
  if exists (select from weir.breaker_probe) and exists (select from weir.breaker_probe p where p.job_id = any (end_attempts.job_ids)) then
    spared := array(select weir.spare_probes(job_ids, tokens, errors, retries, kinds));
    return query select s, 'available'::weir.job_state, null::timestamptz from unnest(spared) s;
  end if;
  now_at := clock_timestamp();
  with facts as materialized (
    select j.id, j.max_attempts, j.retry from weir.job j where j.id = any (job_ids)
  ), freed as (
    delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token)) then true end returning l.*
  ), given as (
    select distinct on (g.token) g.* from unnest(tokens, errors, waits, retries, kinds) g(token, error, wait, retry, kind)
  ), ended as materialized (
    select f.*, g.error, g.kind, q.dead_letter_queue_id,
      case when f.cancel_requested_at is not null then 'cancelled'::weir.job_state
        when not g.retry or f.attempt >= facts.max_attempts then 'dead'
        when coalesce(g.wait, d.delay) > interval '0' then 'retryable'
        else 'available' end as new_state,
      now_at + coalesce(g.wait, d.delay) as new_run_at
    from freed f
    join facts on facts.id = f.job_id
    join given g on g.token = f.token
    join weir.queue q on q.id = f.queue_id
    cross join lateral (select weir.retry_delay(coalesce(facts.retry, q.retry), f.attempt) as delay) d
  ), later as (
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt, retryable)
    select e.job_id, e.new_run_at, e.queue_id, e.priority, e.attempt, true from ended e where e.new_state = 'retryable'
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select e.queue_id, e.priority, e.attempt, nextval('weir.job_id_seq'), e.job_id from ended e where e.new_state = 'available'
  ), outcome as (
    insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker, error)
    select e.job_id, e.leased_at, e.queue_id, e.new_state, e.attempt, e.worker, e.error from ended e where e.new_state in ('dead', 'cancelled')
  ), dead as (
    insert into weir.job_dead (job_id, queue_id) select e.job_id, e.queue_id from ended e where e.new_state = 'dead' and e.dead_letter_queue_id is null
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, started_at, run_at, worker, detail)
    select e.job_id, e.kind, e.attempt, e.new_state, e.leased_at, case when e.new_state = 'retryable' then e.new_run_at end, e.worker, e.error from ended e
  )
  select array_agg(e.job_id) as ids, array_agg(e.new_state) as states, array_agg(case when e.new_state = 'retryable' then e.new_run_at end) as times,
    array_agg(distinct e.queue_id) filter (where e.new_state = 'available') as woken, array_agg(e.job_id) filter (where e.followed) as followed,
    array_agg((e.queue_id, e.job_id, e.line, e.new_state in ('retryable', 'available'))::weir.line_leaver) filter (where e.line is not null) as leavers,
    array_agg(e.job_id) filter (where e.breaker_id is not null and e.new_state <> 'cancelled') as heard,
    array_agg(e.breaker_id) filter (where e.breaker_id is not null and e.new_state <> 'cancelled') as breakers, array_agg(e.error) filter (where e.breaker_id is not null and e.new_state <> 'cancelled') as failures,
    array_agg(e.job_id) filter (where e.new_state = 'dead' and e.dead_letter_queue_id is not null) as routed into done from ended e;
  if done.routed is not null then
    perform weir.route_dead(done.routed);
  end if;
  if done.heard is not null then
    perform weir.hear_breakers(done.heard, done.breakers, done.failures);
  end if;
  if done.leavers is not null then
    perform weir.lines_left(weir.keep_lines(done.leavers));
  end if;
  if done.followed is not null then
    perform weir.jobs_left(done.followed);
  end if;
  if done.woken is not null then
    perform weir.wake(array(select q.name from weir.queue q where q.id = any (done.woken)));
  end if;
  return query select * from unnest(done.ids, done.states, done.times);
end $$;

-- An error may be large; what is kept of it is not.
create function weir.bounded_error(error jsonb) returns jsonb language sql immutable as $$
  select case
    when jsonb_typeof(error) is distinct from 'object' then jsonb_build_object('message', left(coalesce(error #>> '{}', 'failed'), 8192))
    else case when pg_column_size(error) <= 8192 then error else '{}' end || jsonb_strip_nulls(jsonb_build_object(
      'message', left(coalesce(error ->> 'message', 'failed'), 8192), 'type', left(error ->> 'type', 200), 'stack', left(error ->> 'stack', 16384)))
  end
$$;

create function weir.fail_many(job_ids bigint[], tokens bigint[], errors jsonb[], retry_ins interval[] default null, retries boolean[] default null)
returns table (job_id bigint, state weir.job_state, run_at timestamptz) language sql as $$
  select * from weir.end_attempts(job_ids, tokens, array(select weir.bounded_error(e) from unnest(errors) with ordinality u(e, n) order by n),
    coalesce(retry_ins, array_fill(null::interval, array[cardinality(job_ids)])),
    case when retries is null then array_fill(true, array[cardinality(job_ids)]) else array(select coalesce(r, true) from unnest(retries) with ordinality u(r, n) order by n) end,
    array_fill('failed'::weir.event_kind, array[cardinality(job_ids)]))
$$;

create function weir.fail(job_id bigint, token bigint, error jsonb, retry_in interval default null, retry boolean default true) returns text language plpgsql as $$
#variable_conflict use_variable
declare
  new_state weir.job_state;
begin
  if retry_in < interval '0' or retry_in > interval '10 years' then
    perform weir.refuse_argument('retry_in', 'must be from 0 to 10 years');
  end if;
  select f.state into new_state from weir.fail_many(array[job_id], array[token], array[error], array[retry_in], array[retry]) f;
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
  return new_state;
end $$;

-- Back to waiting without loss of an attempt. Locks: the job_lease rows, in the order of their ids.
create function weir.put_back(job_ids bigint[], tokens bigint[], delays interval[], kind weir.event_kind, detail jsonb default null) returns setof bigint
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  now_at timestamptz;
  done record;
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(delays)]);
  lock table weir.job_ready in row exclusive mode;
  now_at := clock_timestamp();
  with freed as (
    delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token)) then true end returning l.*
  ), given as (
    select distinct on (g.token) g.* from unnest(tokens, delays) g(token, delay)
  ), back as materialized (
    select f.*, now_at + g.delay as run_at, f.cancel_requested_at is not null as cancelled, coalesce(g.delay <= interval '0', true) as at_once
    from freed f join given g on g.token = f.token
  ), later as (
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
    select b.job_id, b.run_at, b.queue_id, b.priority, b.attempt - 1 from back b where not b.cancelled and not b.at_once
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select b.queue_id, b.priority, b.attempt - 1, nextval('weir.job_id_seq'), b.job_id from back b where not b.cancelled and b.at_once
  ), outcome as (
    insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker)
    select b.job_id, b.leased_at, b.queue_id, 'cancelled', b.attempt, b.worker from back b where b.cancelled
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, started_at, run_at, worker, detail)
    select b.job_id, put_back.kind, b.attempt, case when b.cancelled then 'cancelled'::weir.job_state when b.at_once then 'available' else 'scheduled' end, b.leased_at,
      case when not b.cancelled and not b.at_once then b.run_at end, b.worker, put_back.detail
    from back b
  )
  select array_agg(b.job_id) as ids, array_agg(b.job_id) filter (where b.followed) as followed,
    array_agg((b.queue_id, b.job_id, b.line, not b.cancelled)::weir.line_leaver) filter (where b.line is not null) as leavers into done from back b;
  if done.leavers is not null then
    perform weir.lines_left(weir.keep_lines(done.leavers));
  end if;
  if done.followed is not null then
    perform weir.jobs_left(done.followed);
  end if;
  if kind = 'released' or interval '0' = any (delays) then
    perform weir.wake(array(select distinct q.name from weir.job j join weir.queue q on q.id = j.queue_id where j.id = any (job_ids)));
  end if;
  return query select unnest(done.ids);
end $$;

create function weir.snooze_many(job_ids bigint[], tokens bigint[], delays interval[]) returns setof bigint language sql as $$
  select weir.put_back(job_ids, tokens, delays, 'snoozed')
$$;

create function weir.release_many(job_ids bigint[], tokens bigint[]) returns setof bigint language sql as $$
  select weir.put_back(job_ids, tokens, array_fill(null::interval, array[cardinality(job_ids)]), 'released')
$$;

create function weir.snooze(job_id bigint, token bigint, delay interval) returns void language plpgsql as $$
#variable_conflict use_variable
begin
  if delay is null or delay < interval '0' or delay > interval '10 years' then
    perform weir.refuse_argument('delay', 'must be from 0 to 10 years');
  end if;
  perform weir.snooze_many(array[job_id], array[token], array[delay]);
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;

create function weir.release(job_id bigint, token bigint) returns void language plpgsql as $$
begin
  perform weir.release_many(array[job_id], array[token]);
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;

-- Looks only at leases that ran out since `after`; a caller passes what the last call returned. That is the
-- watermark's settled_at, which no lease that is yet to be committed can lie before.
-- Locks: job_lease rows, skip locked (a worker that is just completing, or asserts its lease, keeps it).
create function weir.expire_leases(max_jobs int default 1000, after timestamptz default '-infinity', out expired int, out looked_until timestamptz)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  now_at timestamptz;
  late record;
begin
  select w.settled_at into looked_until from weir.watermark w order by w.tick desc limit 1;
  now_at := clock_timestamp();  -- after settled_at: what runs out in between is for this look
  select array_agg(l.job_id) as ids, array_agg(l.token) as tokens, array_agg(l.leased_at) as begins, min(l.job_id) as lowest, max(l.job_id) as highest, count(*)::int as n
  into late from (
    select x.job_id, x.token, x.leased_at from weir.job_lease x
    where x.expires_at > after and x.expires_at <= now_at order by x.expires_at limit max_jobs for update skip locked) l;
  expired := late.n;
  if expired > 0 then
    perform weir.end_attempts(array_agg(l.id), array_agg(l.token),
      array_agg(case when l.timed_out then jsonb_build_object('type', 'timeout', 'message', format('ran past its timeout of %s seconds', l.timeout_seconds))
                else jsonb_build_object('type', 'lost', 'message', 'the lease ran out: no heartbeat came in time') end),
      array_agg(case when not l.timed_out then interval '0' end), array_agg(true), array_agg(case when l.timed_out then 'timed_out'::weir.event_kind else 'lost' end))
    from (
      select u.id, u.token, j.timeout_seconds, u.begun + make_interval(secs => j.timeout_seconds) <= now_at as timed_out
      from unnest(late.ids, late.tokens, late.begins) u(id, token, begun)
      cross join lateral (select x.timeout_seconds from weir.job x where x.id = u.id and x.id between late.lowest and late.highest offset 0) j) l;
  end if;
  -- The next look begins before what has run out and is still there: a part of it was left for the next call, or somebody has it locked.
  looked_until := least(looked_until, (select x.expires_at - interval '1 us' from weir.job_lease x where x.expires_at > after and x.expires_at <= now_at
    order by x.expires_at limit 1));
end $$;
-- +goose StatementEnd
comment on function weir.end_attempts(bigint[], bigint[], jsonb[], interval[], boolean[], weir.event_kind[]) is
  'Internal. The one way in which an attempt fails: cancelled, dead, retryable or available. Returns the jobs whose token was good.';
comment on function weir.bounded_error(jsonb) is 'Internal. An error as it is kept: an object with a message, at most 24 KiB of message, type and stack.';
comment on function weir.fail_many(bigint[], bigint[], jsonb[], interval[], boolean[]) is
  'weir.fail for many at once; returns a row for each whose token was good: its new state, and run_at if it is retryable.';
comment on function weir.fail(bigint, bigint, jsonb, interval, boolean) is
  'The attempt failed; error is {message, type, stack}. The job is tried again after retry_in, or as its retry policy says; with retry => false, or after max_attempts, it is dead. '
  'Returns its new state: retryable, available (no wait), dead, or cancelled if that was asked for. Errors: WR001, WR002, WR010.';
comment on function weir.put_back(bigint[], bigint[], interval[], weir.event_kind, jsonb) is 'Internal. Leases back to scheduled (a delay) or available (none), with no attempt lost; cancelled if that was asked for. detail is kept with the events.';
comment on function weir.snooze_many(bigint[], bigint[], interval[]) is 'weir.snooze for many at once; returns the ids whose token was good.';
comment on function weir.release_many(bigint[], bigint[]) is 'weir.release for many at once; returns the ids whose token was good.';
comment on function weir.snooze(bigint, bigint, interval) is 'Not now: the job is scheduled again after delay, and no attempt is lost. Errors: WR001, WR002, WR010.';
comment on function weir.release(bigint, bigint) is 'Gives the job back at once, at the end of its priority, and no attempt is lost: for a worker that shuts down. Errors: WR001, WR002.';
comment on function weir.expire_leases(int, timestamptz) is
  'Takes back up to max_jobs jobs whose lease ran out after `after`: available again at once, or, past their timeout, retried as their policy says; dead when their attempts are used up. '
  'Every node calls it about twice a second, passing looked_until of the last call. Returns how many it took.';

-- +goose Down
drop function weir.expire_leases(int, timestamptz), weir.release(bigint, bigint), weir.snooze(bigint, bigint, interval), weir.release_many(bigint[], bigint[]),
  weir.snooze_many(bigint[], bigint[], interval[]), weir.put_back(bigint[], bigint[], interval[], weir.event_kind, jsonb),
  weir.fail(bigint, bigint, jsonb, interval, boolean), weir.fail_many(bigint[], bigint[], jsonb[], interval[], boolean[]), weir.bounded_error(jsonb),
  weir.end_attempts(bigint[], bigint[], jsonb[], interval[], boolean[], weir.event_kind[]);
