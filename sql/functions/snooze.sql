-- Snooze and release: from job_lease back to waiting, without the loss of an attempt.

-- Locks: the job_lease rows, in the order of their ids.
create or replace function weir.put_back(job_ids bigint[], tokens bigint[], delays interval[], kind weir.event_kind,
  detail jsonb default null) returns setof bigint
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
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token))
          then true end returning l.*
  ), given as (
    select distinct on (g.token) g.* from unnest(tokens, delays) g(token, delay)
  ), back as materialized (
    select f.*, now_at + g.delay as run_at, f.cancel_requested_at is not null as cancelled,
      coalesce(g.delay <= interval '0', true) as at_once
    from freed f join given g on g.token = f.token
  ), later as (
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
    select b.job_id, b.run_at, b.queue_id, b.priority, b.attempt - 1 from back b where not b.cancelled and not b.at_once
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select b.queue_id, b.priority, b.attempt - 1, nextval('weir.job_id_seq'), b.job_id from back b
      where not b.cancelled and b.at_once
  ), outcome as (
    insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker)
    select b.job_id, b.leased_at, b.queue_id, 'cancelled', b.attempt, b.worker from back b where b.cancelled
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, started_at, run_at, worker, detail)
    select b.job_id, put_back.kind, b.attempt, case when b.cancelled then 'cancelled'::weir.job_state when b.at_once
      then 'available' else 'scheduled' end, b.leased_at,
      case when not b.cancelled and not b.at_once then b.run_at end, b.worker, put_back.detail
    from back b
  )
  select array_agg(b.job_id) as ids, array_agg(b.job_id) filter (where b.followed) as followed,
    array_agg((b.queue_id, b.job_id, b.line,
      not b.cancelled)::weir.line_exit) filter (where b.line is not null) as exits into done from back b;
  if done.exits is not null then
    perform weir.on_line_jobs_ended(weir.reserve_lines(done.exits));
  end if;
  if done.followed is not null then
    perform weir.on_jobs_ended(done.followed);
  end if;
  if kind = 'released' or interval '0' = any (delays) then
    perform weir.wake(array(select distinct q.name from weir.job j join weir.queue q on q.id = j.queue_id
      where j.id = any (job_ids)));
  end if;
  return query select unnest(done.ids);
end $$;
comment on function weir.put_back(bigint[], bigint[], interval[], weir.event_kind, jsonb) is
  'Internal. Leases back to scheduled (a delay) or available (none), with no attempt lost; cancelled if that was '
  'asked for. detail is kept with the events.';

-- delays: null to release.
create or replace function weir.snooze_batch(job_ids bigint[], tokens bigint[], delays interval[])
returns table (job_id bigint, refusal text)
language plpgsql as $$
declare
  accepted bigint[];
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(delays)]);
  perform weir.refuse_bad_delays('delays', delays, required => true);
  accepted := array(select weir.put_back(job_ids, tokens, coalesce(delays,
    array_fill(null::interval, array[cardinality(job_ids)])),
    case when delays is null then 'released' else 'snoozed' end::weir.event_kind));
  return query select a, null::text from unnest(accepted) a;
  if cardinality(accepted) < cardinality(job_ids) then
    return query select * from weir.refused_acks(job_ids, accepted);
  end if;
end $$;
comment on function weir.snooze_batch(bigint[], bigint[], interval[]) is
  'Internal. weir.snooze_many, or without delays weir.release_many, with a row for each job: refusal is null where '
  'it was accepted, or else stale_token or not_found.';

create or replace function weir.snooze_many(job_ids bigint[], tokens bigint[], delays interval[]) returns setof bigint
language plpgsql as $$
begin
  if delays is null then
    perform weir.refuse_argument('delays', 'must have a delay for each job');
  end if;
  if session_user <> current_user then
    tokens := weir.own_tokens(job_ids, tokens);
  end if;
  return query select s.job_id from weir.snooze_batch(job_ids, tokens, delays) s where s.refusal is null;
end $$;
comment on function weir.snooze_many(bigint[], bigint[], interval[]) is
  'weir.snooze for many at once; returns the ids whose token was good. Errors: WR010.';

create or replace function weir.release_many(job_ids bigint[], tokens bigint[]) returns setof bigint
language plpgsql as $$
begin
  if session_user <> current_user then
    tokens := weir.own_tokens(job_ids, tokens);
  end if;
  return query select s.job_id from weir.snooze_batch(job_ids, tokens, null) s where s.refusal is null;
end $$;
comment on function weir.release_many(bigint[], bigint[]) is
  'weir.release for many at once; returns the ids whose token was good. Errors: WR010.';

create or replace function weir.snooze(job_id bigint, token bigint, delay interval) returns void language plpgsql as $$
#variable_conflict use_variable
begin
  if delay is null or delay < interval '0' or delay > make_interval(secs => weir.max_seconds()) then
    perform weir.refuse_argument('delay', 'must be from 0 to 10 years');
  end if;
  perform weir.snooze_many(array[job_id], array[token], array[delay]);
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;
comment on function weir.snooze(bigint, bigint, interval) is
  'Not now: the job is scheduled again after delay, and no attempt is lost. Errors: WR001, WR002, WR010.';

create or replace function weir.release(job_id bigint, token bigint) returns void language plpgsql as $$
begin
  perform weir.release_many(array[job_id], array[token]);
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;
comment on function weir.release(bigint, bigint) is
  'Gives the job back at once, at the end of its priority, and no attempt is lost: for a worker that shuts down. '
  'Errors: WR001, WR002.';
