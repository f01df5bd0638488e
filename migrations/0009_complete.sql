-- Completing: from job_lease to job_outcome.
--
-- Functions that take many jobs take two arrays, ids and tokens, that pair up. The pairs are looked up in a hashed subquery, which the CASE keeps
-- the planner from turning into a join.
--
-- +goose Up
-- +goose StatementBegin
create function weir.refuse_stale(job_id bigint) returns void language plpgsql set jit = off set enable_seqscan = off as $$
#variable_conflict use_variable
begin
  if exists (select from weir.job j where j.id = job_id) then
    raise exception using errcode = 'WR001', message = format('the lease on job %s is not held with this token', job_id),
      hint = 'It ended, expired or was given to another worker. Nothing was changed; stop working on the job.';
  end if;
  raise exception using errcode = 'WR002', message = format('there is no job %s', job_id),
    hint = 'Ids come from weir.enqueue. Ended jobs go when their retention is over.';
end $$;

create function weir.refuse_uneven(job_ids bigint[], lengths int[]) returns void language plpgsql immutable as $$
begin
  if exists (select from unnest(lengths) n where n is not null and n <> cardinality(job_ids)) then
    perform weir.refuse_argument('job_ids', 'and the other arrays must have the same length');
  end if;
end $$;

create function weir.refuse_large(results jsonb[]) returns void language plpgsql immutable as $$
declare
  n int := (select u.n from unnest(results) with ordinality u(result, n) where pg_column_size(u.result) > 65536 and weir.json_size(u.result) > 1048576 limit 1);
begin
  if n is not null then
    perform weir.refuse_argument(format('results[%s]', n), 'must be at most 1 MiB', 'Keep the result elsewhere, and give its address. Nothing was changed.');
  end if;
end $$;

-- For a transaction with acks of several outcomes: each of the functions locks in the order of the ids, but several of them one after the other do not.
create function weir.lock_leases(job_ids bigint[]) returns void language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform from weir.job_lease l where l.job_id = any (job_ids) order by l.job_id for update;
  perform weir.lock_workflows_of(array(select l.job_id from weir.job_lease l where l.job_id = any (job_ids) and l.followed));
end $$;

-- Locks: the job_lease rows, in the order of their ids; then what weir.jobs_left locks, if a step of a workflow is among them.
create function weir.complete_many(job_ids bigint[], tokens bigint[], results jsonb[] default null) returns setof bigint
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  done record;
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(results)]);
  if results is null then
    with freed as (
      delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token)) then true end
      returning l.job_id, l.leased_at, l.queue_id, l.attempt, l.worker, l.followed, l.line, l.breaker_id
    ), ended as (
      insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker)
      select f.job_id, f.leased_at, f.queue_id, 'completed', f.attempt, f.worker from freed f
    )
    select array_agg(f.job_id) as ids, array_agg(f.job_id) filter (where f.followed) as followed,
      array_agg((f.queue_id, f.job_id, f.line, false)::weir.line_leaver) filter (where f.line is not null) as leavers,
      array_agg(f.job_id) filter (where f.breaker_id is not null) as heard, array_agg(f.breaker_id) filter (where f.breaker_id is not null) as breakers into done from freed f;
  else
    if pg_column_size(results) > 65536 then
      perform weir.refuse_large(results);
    end if;
    with freed as (
      delete from weir.job_lease l where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token)) then true end
      returning l.job_id, l.token, l.leased_at, l.queue_id, l.attempt, l.worker, l.result_ttl_seconds, l.followed, l.line, l.breaker_id
    ), given as (
      select distinct on (g.token) g.token, g.result from unnest(tokens, results) g(token, result)
    ), ended as (
      insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, worker, result, result_until)
      select f.job_id, f.leased_at, f.queue_id, 'completed', f.attempt, f.worker, g.result,
        case when g.result is not null then clock_timestamp() + make_interval(secs => f.result_ttl_seconds) end
      from freed f left join given g on g.token = f.token
    )
    select array_agg(f.job_id) as ids, array_agg(f.job_id) filter (where f.followed) as followed,
      array_agg((f.queue_id, f.job_id, f.line, false)::weir.line_leaver) filter (where f.line is not null) as leavers,
      array_agg(f.job_id) filter (where f.breaker_id is not null) as heard, array_agg(f.breaker_id) filter (where f.breaker_id is not null) as breakers into done from freed f;
  end if;
  if done.heard is not null then
    perform weir.hear_breakers(done.heard, done.breakers);
  end if;
  if done.leavers is not null then
    perform weir.lines_left(done.leavers);
  end if;
  if done.followed is not null then
    perform weir.jobs_left(done.followed);
  end if;
  return query select unnest(done.ids);
end $$;

create function weir.complete(job_id bigint, token bigint, result jsonb default null) returns void language plpgsql as $$
begin
  if weir.json_size(result) > 1048576 then
    perform weir.refuse_argument('result', 'must be at most 1 MiB', 'Keep the result elsewhere, and give its address. Nothing was changed.');
  end if;
  perform weir.complete_many(array[job_id], array[token], case when result is not null then array[result] end);
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
end $$;
-- +goose StatementEnd
comment on function weir.refuse_stale(bigint) is 'Internal. Raises WR001 stale_token, or WR002 job_not_found where there is no such job.';
comment on function weir.refuse_uneven(bigint[], int[]) is 'Internal. Raises WR010 where arrays that belong together differ in length.';
comment on function weir.refuse_large(jsonb[]) is 'Internal. Raises WR010 where one of them is larger than 1 MiB.';
comment on function weir.lock_leases(bigint[]) is 'Internal. Locks leases in the order of their ids until the transaction ends, then the workflows that they are steps of.';
comment on function weir.complete_many(bigint[], bigint[], jsonb[]) is
  'Completes each of these jobs whose lease is held with the token at the same place, and returns the ids that were accepted. The others change nothing. '
  'Results are at most 1 MiB each. Errors: WR010.';
comment on function weir.complete(bigint, bigint, jsonb) is
  'The job is done; result is any JSON of at most 1 MiB. Commits with the caller''s transaction, so effects made in it happen exactly once. Errors: WR001, WR002, WR010.';

-- +goose Down
drop function weir.complete(bigint, bigint, jsonb), weir.complete_many(bigint[], bigint[], jsonb[]), weir.lock_leases(bigint[]), weir.refuse_large(jsonb[]), weir.refuse_uneven(bigint[], int[]), weir.refuse_stale(bigint);
