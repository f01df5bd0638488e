-- Completing: from job_lease to job_outcome.
--
-- Functions that take many jobs take arrays, ids and tokens, that pair up. The pairs are looked up in a hashed
-- subquery, which the CASE keeps the planner from turning into a join.

-- Locks: with steps, as weir.add_steps; with jobs, as weir.enqueue_batch; then as weir.complete_batch.
create or replace function weir.complete(job_id bigint, token bigint, result jsonb default null,
  jobs jsonb default null, steps jsonb default null) returns void
language plpgsql as $$
#variable_conflict use_variable
begin
  if result is not null and weir.size_problem(result, 1048576) is not null then
    perform weir.refuse_argument('result', weir.size_problem(result, 1048576),
      'Keep it elsewhere and give its address. Nothing was changed.');
  end if;
  if session_user <> current_user then
    token := (weir.own_tokens(array[job_id], array[token]))[1];
    perform weir.refuse_forged(result, 'result');
  end if;
  if steps is not null then
    perform weir.add_steps(job_id, token,
      weir.impose_on_workflow(jsonb_build_object('steps', steps)) -> 'steps');
  end if;
  if jobs is not null then
    perform from weir.enqueue_batch(weir.follow_ups(job_id, weir.impose_on_jobs(jobs)));
  end if;
  perform from weir.complete_batch(array[job_id], array[token], case when result is not null then array[result] end) c
  where c.refusal is null;
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;
comment on function weir.complete(bigint, bigint, jsonb, jsonb, jsonb) is
  'The job is done; result is any JSON of at most 1 MiB. Commits with the caller''s transaction, so effects made in '
  'it happen exactly once. jobs: follow-up jobs to enqueue, as for weir.enqueue_batch; their parent is the job and '
  'their tenant is its tenant, unless they name others. steps: as for weir.add_steps. Errors: WR001, WR002, WR010, '
  'WR023; with jobs or steps those of weir.enqueue_batch and weir.add_steps.';

-- A job has a parent of its own tenant or none, so one that names another tenant has no parent by default. What is no
-- job is left for weir.enqueue_batch to refuse.
create or replace function weir.follow_ups(job_id bigint, jobs jsonb) returns jsonb language plpgsql stable
  set jit = off set enable_seqscan = off as $$
declare
  owner text := (select j.tenant from weir.job j where j.id = follow_ups.job_id);
begin
  if jsonb_typeof(jobs) is distinct from 'array' then
    return jobs;
  end if;
  return (select coalesce(jsonb_agg(case when jsonb_typeof(e.job) = 'object' then e.job
      || case when e.job ->> 'tenant' is null and owner is not null then jsonb_build_object('tenant', owner)
        else '{}' end
      || case when e.job ->> 'parent_id' is null and (owner is null or coalesce(e.job ->> 'tenant', owner) = owner)
        then jsonb_build_object('parent_id', follow_ups.job_id::text) else '{}' end
      else e.job end order by e.n), '[]')
    from jsonb_array_elements(jobs) with ordinality e(job, n));
end $$;
comment on function weir.follow_ups(bigint, jsonb) is
  'Internal. Jobs that a completion enqueues: with the job as their parent and of its tenant, unless they say '
  'otherwise.';

-- In PL/pgSQL, which keeps its plan: a SQL function plans its statement at each call.
create or replace function weir.complete_many(job_ids bigint[], tokens bigint[], results jsonb[] default null)
returns setof bigint language plpgsql as $$
begin
  if session_user <> current_user then
    tokens := weir.own_tokens(job_ids, tokens);
    perform weir.refuse_forged(r, 'results') from unnest(results) r where weir.is_encrypted(r);
  end if;
  return query select c.job_id from weir.complete_batch(job_ids, tokens, results) c where c.refusal is null;
end $$;
comment on function weir.complete_many(bigint[], bigint[], jsonb[]) is
  'Completes each of these jobs whose lease is held with the token at the same place, and returns the ids that were '
  'accepted. The others change nothing. Results are at most 1 MiB each. Errors: WR010, WR023.';

-- Locks: the job_lease rows, in the order of their ids; then what weir.on_jobs_ended locks, if a step of a workflow
-- is among them.
create or replace function weir.complete_batch(job_ids bigint[], tokens bigint[], results jsonb[])
returns table (job_id bigint, refusal text) language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  done record;
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(results)]);
  if results is null then
    with freed as (
      delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token))
          then true end
      returning l.job_id, l.leased_at, l.queue_id, l.attempt, l.worker, l.followed, l.line, l.breaker_id
    ), ended as (
      insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker)
      select f.job_id, f.leased_at, f.queue_id, 'completed', f.attempt, f.worker from freed f
    )
    select array_agg(f.job_id) as ids, array_agg(f.job_id) filter (where f.followed) as followed,
      array_agg((f.queue_id, f.job_id, f.line, false)::weir.line_exit) filter (where f.line is not null) as exits,
      array_agg(f.job_id) filter (where f.breaker_id is not null) as heard,
      array_agg(f.breaker_id) filter (where f.breaker_id is not null) as breakers into done from freed f;
  else
    if pg_column_size(results) > 65536
      or true = any (array(select weir.has_odd_number(r) or weir.is_deep(r) from unnest(results) r)) then
      perform weir.refuse_large('results', results, 1048576);
    end if;
    with freed as (
      delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token))
          then true end
      returning l.job_id, l.token, l.leased_at, l.queue_id, l.attempt, l.worker, l.result_ttl_seconds, l.followed,
        l.line, l.breaker_id
    ), given as (
      select distinct on (g.token) g.token, g.result from unnest(tokens, results) g(token, result)
    ), ended as (
      insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker, result, result_until)
      select f.job_id, f.leased_at, f.queue_id, 'completed', f.attempt, f.worker, g.result,
        case when g.result is not null then clock_timestamp() + make_interval(secs => f.result_ttl_seconds) end
      from freed f left join given g on g.token = f.token
    )
    select array_agg(f.job_id) as ids, array_agg(f.job_id) filter (where f.followed) as followed,
      array_agg((f.queue_id, f.job_id, f.line, false)::weir.line_exit) filter (where f.line is not null) as exits,
      array_agg(f.job_id) filter (where f.breaker_id is not null) as heard,
      array_agg(f.breaker_id) filter (where f.breaker_id is not null) as breakers,
      array_agg(f.token) filter (where f.queue_id = any (array(select q.id from weir.queue q where q.encrypted)))
        as encrypted into done from freed f;
    if done.encrypted is not null then
      perform weir.refuse_readable_results(done.encrypted, tokens, results);
    end if;
  end if;
  if done.heard is not null then
    perform weir.record_breaker_outcomes(done.heard, done.breakers);
  end if;
  if done.exits is not null then
    perform weir.on_line_jobs_ended(done.exits);
  end if;
  if done.followed is not null then
    perform weir.on_jobs_ended(done.followed);
  end if;
  return query select a, null::text from unnest(done.ids) a;
  if cardinality(job_ids) <> coalesce(cardinality(done.ids), 0) then
    return query select * from weir.refused_acks(job_ids, done.ids);
  end if;
end $$;
comment on function weir.complete_batch(bigint[], bigint[], jsonb[]) is
  'Internal. weir.complete_many with a row for each job: refusal is null where it was accepted, or else stale_token '
  'or not_found.';

-- Called after the accepted jobs were taken, so any other job that exists has a stale token.
create or replace function weir.refused_acks(job_ids bigint[], accepted bigint[])
returns table (job_id bigint, refusal text)
language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  refused bigint[] := array(select u from unnest(job_ids) u
    where (u in (select a from unnest(accepted) a)) is not true);
  known bigint[];
begin
  known := array(select j.id from weir.job j where j.id = any (refused));
  return query select u, case when u in (select k from unnest(known) k) then 'stale_token' else 'not_found' end
    from unnest(refused) u;
end $$;
comment on function weir.refused_acks(bigint[], bigint[]) is
  'Internal. The jobs of an ack that were not accepted, each with stale_token, or not_found where there is no such '
  'job.';
