-- Failing: from job_lease to a retry, a dead letter or, if that was requested, to cancelled.

-- The one way in which an attempt fails. For each job whose lease is held with the token: cancelled, if that was
-- asked for, or its worker asks for it now (the kind cancel_requested); dead, if it may not be retried or its attempts
-- are used up; otherwise scheduled again, or available at once where the wait is zero. Locks: the job_lease rows, in
-- the order of their ids.
create or replace function weir.end_attempts(job_ids bigint[], tokens bigint[], errors jsonb[], waits interval[],
  retries boolean[], kinds weir.event_kind[])
returns table (job_id bigint, state weir.job_state, run_at timestamptz) language plpgsql set jit = off
  set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  now_at timestamptz;
  done record;
  spared bigint[];
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(errors), cardinality(waits),
    cardinality(retries), cardinality(kinds)]);
  lock table weir.job_ready in row exclusive mode;
  if exists (select from weir.breaker_probe) and exists (select from weir.breaker_probe p
    where p.job_id = any (end_attempts.job_ids)) then
    spared := array(select weir.requeue_failed_probes(job_ids, tokens, errors, retries, kinds));
    return query select s, 'available'::weir.job_state, null::timestamptz from unnest(spared) s;
  end if;
  now_at := clock_timestamp();
  with facts as materialized (
    select j.id, j.max_attempts, j.retry from weir.job j where j.id = any (job_ids)
  ), freed as (
    delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token))
          then true end returning l.*
  ), given as (
    select distinct on (g.token) g.* from unnest(tokens, errors, waits, retries, kinds) g(token, error, wait, retry,
      kind)
  ), ended as materialized (
    select f.*, g.error, g.kind, q.dead_letter_queue_id,
      q.encrypted and g.kind in ('failed', 'cancel_requested') and weir.is_readable_error(g.error) as readable,
      case when f.cancel_requested_at is not null or g.kind = 'cancel_requested' then 'cancelled'::weir.job_state
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
    select e.queue_id, e.priority, e.attempt, nextval('weir.job_id_seq'), e.job_id from ended e
      where e.new_state = 'available'
  ), outcome as (
    insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker, error)
    select e.job_id, e.leased_at, e.queue_id, e.new_state, e.attempt, e.worker, e.error from ended e
      where e.new_state in ('dead', 'cancelled')
  ), dead as (
    insert into weir.job_dead (job_id, queue_id) select e.job_id, e.queue_id from ended e where e.new_state = 'dead'
      and e.dead_letter_queue_id is null
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, started_at, run_at, worker, detail)
    select e.job_id, e.kind, e.attempt, e.new_state, e.leased_at, case when e.new_state = 'retryable'
      then e.new_run_at end, e.worker, e.error from ended e
  )
  select array_agg(e.job_id) as ids, array_agg(e.new_state) as states,
    array_agg(case when e.new_state = 'retryable' then e.new_run_at end) as times,
    array_agg(distinct e.queue_id) filter (where e.new_state = 'available') as woken,
      array_agg(e.job_id) filter (where e.followed) as followed,
    array_agg((e.queue_id, e.job_id, e.line, e.new_state in ('retryable',
      'available'))::weir.line_exit) filter (where e.line is not null) as exits,
    array_agg(e.job_id) filter (where e.breaker_id is not null and e.new_state <> 'cancelled') as heard,
    array_agg(e.breaker_id) filter (where e.breaker_id is not null and e.new_state <> 'cancelled') as breakers,
      array_agg(e.error) filter (where e.breaker_id is not null and e.new_state <> 'cancelled') as failures,
    array_agg(e.job_id) filter (where e.new_state = 'dead' and e.dead_letter_queue_id is not null) as routed,
    array_agg(e.job_id) filter (where e.readable) as readable into done from ended e;
  if done.readable is not null then
    perform weir.refuse_readable(done.readable[1], 'error');
  end if;
  if done.routed is not null then
    perform weir.route_dead(done.routed);
  end if;
  if done.heard is not null then
    perform weir.record_breaker_outcomes(done.heard, done.breakers, done.failures);
  end if;
  if done.exits is not null then
    perform weir.on_line_jobs_ended(weir.reserve_lines(done.exits));
  end if;
  if done.followed is not null then
    perform weir.on_jobs_ended(done.followed);
  end if;
  if done.woken is not null then
    perform weir.wake(array(select q.name from weir.queue q where q.id = any (done.woken)));
  end if;
  return query select * from unnest(done.ids, done.states, done.times);
end $$;
comment on function weir.end_attempts(bigint[], bigint[], jsonb[], interval[], boolean[], weir.event_kind[]) is
  'Internal. The one way in which an attempt fails: cancelled, dead, retryable or available. Returns the jobs whose '
  'token was good.';

-- Other members than these three are kept if the whole error is small.
create or replace function weir.bounded_error(error jsonb) returns jsonb language sql immutable as $$
  select case
    when jsonb_typeof(error) is distinct from 'object' then jsonb_build_object('message',
      left(coalesce(error #>> '{}', 'failed'), 8192))
    when weir.is_encrypted(error -> 'encrypted') then jsonb_strip_nulls(jsonb_build_object('message', '(encrypted)',
      'type', left(error ->> 'type', 200), 'encrypted', error -> 'encrypted'))
    else case when pg_column_size(error) <= 8192 and weir.size_problem(error, 131072) is null then error else '{}' end
      || jsonb_strip_nulls(jsonb_build_object('message', left(coalesce(error ->> 'message', 'failed'), 8192),
        'type', left(error ->> 'type', 200), 'stack', left(error ->> 'stack', 16384)))
  end
$$;
comment on function weir.bounded_error(jsonb) is
  'Internal. An error as it is kept: an object with a message, at most 24 KiB of message, type and stack. What a node '
  'encrypted of it stays whole.';

create or replace function weir.fail_batch(job_ids bigint[], tokens bigint[], errors jsonb[], retry_ins interval[],
  retries boolean[], cancels boolean[])
returns table (job_id bigint, refusal text, state weir.job_state, run_at timestamptz) language plpgsql as $$
#variable_conflict use_column
declare
  n int := cardinality(job_ids);
  accepted bigint[] := '{}';
  f record;
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(errors), cardinality(retry_ins),
    cardinality(retries), cardinality(cancels)]);
  perform weir.refuse_bad_delays('retry_ins', retry_ins, required => false);
  for f in
    select e.* from weir.end_attempts(job_ids, tokens,
      array(select weir.bounded_error(u.error) from unnest(errors) with ordinality u(error, n) order by u.n),
      coalesce(retry_ins, array_fill(null::interval, array[n])),
      array(select coalesce(u.retry, true) from unnest(coalesce(retries, array_fill(true, array[n]))) with
        ordinality u(retry, n) order by u.n),
      case when cancels is null then array_fill('failed'::weir.event_kind, array[n])
        else array(select case when u.cancel then 'cancel_requested' else 'failed' end::weir.event_kind
          from unnest(cancels) with ordinality u(cancel, n) order by u.n) end) e
  loop
    accepted := accepted || f.job_id;
    job_id := f.job_id; refusal := null; state := f.state; run_at := f.run_at;
    return next;
  end loop;
  if cardinality(accepted) < n then
    return query select r.job_id, r.refusal, null::weir.job_state, null::timestamptz
      from weir.refused_acks(job_ids, accepted) r;
  end if;
end $$;
comment on function weir.fail_batch(bigint[], bigint[], jsonb[], interval[], boolean[], boolean[]) is
  'Internal. weir.fail_many with a row for each job: refusal is null where it was accepted, or else stale_token or '
  'not_found.';

create or replace function weir.fail_many(job_ids bigint[], tokens bigint[], errors jsonb[],
  retry_ins interval[] default null,
  retries boolean[] default null, cancels boolean[] default null)
returns table (job_id bigint, state weir.job_state, run_at timestamptz) language plpgsql as $$
begin
  if session_user <> current_user then
    tokens := weir.own_tokens(job_ids, tokens);
    perform weir.refuse_forged(e -> 'encrypted', 'errors') from unnest(errors) e where jsonb_typeof(e) = 'object';
  end if;
  return query select f.job_id, f.state, f.run_at
    from weir.fail_batch(job_ids, tokens, errors, retry_ins, retries, cancels) f where f.refusal is null;
end $$;
comment on function weir.fail_many(bigint[], bigint[], jsonb[], interval[], boolean[], boolean[]) is
  'weir.fail for many at once; returns a row for each whose token was good: its new state, and run_at if it is '
  'retryable. Errors: WR010, WR023.';

create or replace function weir.fail(job_id bigint, token bigint, error jsonb, retry_in interval default null,
  retry boolean default true, cancel boolean default false)
returns text language plpgsql as $$
#variable_conflict use_variable
declare
  new_state weir.job_state;
begin
  if retry_in < interval '0' or retry_in > make_interval(secs => weir.max_seconds()) then
    perform weir.refuse_argument('retry_in', 'must be from 0 to 10 years');
  end if;
  select f.state into new_state from weir.fail_many(array[job_id], array[token], array[error], array[retry_in],
    array[retry], case when cancel then array[true] end) f;
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
  return new_state;
end $$;
comment on function weir.fail(bigint, bigint, jsonb, interval, boolean, boolean) is
  'The attempt failed; error is {message, type, stack}. The job is tried again after retry_in, or as its retry '
  'policy says; with retry => false, or after max_attempts, it is dead; with cancel => true it is cancelled, which '
  'is no failure. Returns its new state: retryable, available (no wait), dead, or cancelled, also if it was '
  'asked for while it ran. Errors: WR001, WR002, WR010, WR023.';
