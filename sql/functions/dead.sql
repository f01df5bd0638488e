-- Dead letters: jobs that died, kept until they are redriven, purged, or past their retention.
--
-- A queue may name another one as its dead letter queue. Then a job that dies leaves no dead letter: a copy of it is
-- enqueued there instead.

-- Called by end_attempts for jobs that just died in a queue with a dead letter queue. It refuses nothing, or the job
-- could not die: the copy may be larger than what may be enqueued, and its queue fuller. Locks: as enqueueing; and
-- the row of a queue that was deleted, which comes back.
create or replace function weir.route_dead(job_ids bigint[]) returns void language plpgsql set jit = off
  set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  lowest bigint := (select min(i) from unnest(route_dead.job_ids) i);
  highest bigint := (select max(i) from unnest(route_dead.job_ids) i);
  names text[];
  tenanted bigint[];
begin
  lock table weir.job_ready in row exclusive mode;
  with facts as materialized (
    select j.* from weir.job j where j.id = any (route_dead.job_ids) and j.id between lowest and highest
  ), ends as materialized (
    select o.job_id, o.attempt, o.error from weir.job_outcome o where o.job_id = any (route_dead.job_ids)
      and o.job_id between lowest and highest
  ), copies as materialized (
    select nextval('weir.job_id_seq') as id, f.id as dead_id, e.attempt, f.priority, f.kind, f.args, f.tags, f.tenant,
      t.id as queue_id, t.name as queue, t.timeout_seconds, t.max_attempts,
      coalesce(f.metadata, '{}') || jsonb_build_object('dead_letter',
        jsonb_build_object('job_id', f.id::text, 'queue', q.name, 'attempts', e.attempt, 'error',
          e.error - 'stack')) as metadata
    from facts f join ends e on e.job_id = f.id join weir.queue q on q.id = f.queue_id
      join weir.queue t on t.id = q.dead_letter_queue_id
  ), stored as (
    insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args, tags, metadata, tenant)
    select c.id, c.queue_id, c.timeout_seconds, c.priority, c.max_attempts, c.kind, c.args, c.tags, c.metadata,
      c.tenant from copies c
  ), ready as (
    insert into weir.job_ready (queue_id, priority, seq) select c.queue_id, c.priority, c.id from copies c
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, detail)
    select c.dead_id, 'routed', c.attempt, jsonb_build_object('job_id', c.id::text, 'queue', c.queue) from copies c
  )
  select array_agg(distinct c.queue), array_agg(c.id) filter (where c.tenant is not null) into names, tenanted
  from copies c;
  update weir.queue q set deleted_at = null where q.deleted_at is not null and q.name = any (names);
  if tenanted is not null then
    perform weir.note_jobs_of_tenants(tenanted);
  end if;
  perform weir.wake(names);
end $$;
comment on function weir.route_dead(bigint[]) is
  'Internal. Enqueues a copy of each of these jobs, which have just died, into the dead letter queue of its queue.';

create or replace function weir.refuse_unknown_dead_letter(job_id bigint) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR014', message = format('there is no dead letter %s',
    refuse_unknown_dead_letter.job_id),
    hint = 'It never died, or has since been redriven, purged or routed to another queue. weir.jobs shows its state.';
end $$;
comment on function weir.refuse_unknown_dead_letter(bigint) is 'Internal. Raises WR014 dead_letter_not_found.';

create or replace function weir.requester_problem(by text) returns text language sql immutable as $$
  select case when length(by) not between 1 and 200 then 'must be 1 to 200 characters' end
$$;
comment on function weir.requester_problem(text) is 'Internal. Why the name of a requester (`by`) is invalid, or null.';

create or replace function weir.redrive(job_id bigint, by text default null, keep_attempts boolean default false)
returns text language plpgsql as $$
begin
  perform weir.require_job(redrive.job_id, '{operator}');
  if weir.requester_problem(redrive.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(redrive.by));
  end if;
  perform weir.run_again(weir.charge_again(weir.fitting_jobs(array[redrive.job_id], false), false), 'redriven',
    not keep_attempts, redrive.by);
  if not found then
    perform weir.refuse_unknown_dead_letter(redrive.job_id);
  end if;
  perform weir.record_change('redriveDeadLetter', 'dead/' || redrive.job_id, '{"state": "dead"}',
    jsonb_strip_nulls(jsonb_build_object('state', 'available', 'keep_attempts', keep_attempts, 'by', redrive.by)));
  return 'available';
end $$;
comment on function weir.redrive(bigint, text, boolean) is
  'Runs a dead letter again now: same id, attempts from 0 unless keep_attempts. `by` (1 to 200 characters) is kept '
  'as an event. Returns available. Errors: WR010, WR014, WR019, '
  'WR018.';

-- Locks: the job_dead rows, in the order of their ids.
create or replace function weir.purge_dead_letters(job_ids bigint[], by text) returns int language plpgsql
  set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  dropped int;
begin
  with gone as (
    delete from weir.job_dead d where d.job_id = any (purge_dead_letters.job_ids) returning d.job_id
  ), ends as materialized (
    select o.job_id, o.attempt from weir.job_outcome o where o.job_id = any (purge_dead_letters.job_ids)
      and o.job_id between (select min(i) from unnest(purge_dead_letters.job_ids) i)
        and (select max(i) from unnest(purge_dead_letters.job_ids) i)
  )
  insert into weir.job_event (job_id, kind, attempt, detail)
  select g.job_id, 'purged', e.attempt, jsonb_strip_nulls(jsonb_build_object('by', purge_dead_letters.by)) from gone g
    join ends e on e.job_id = g.job_id;
  get diagnostics dropped = row_count;
  return dropped;
end $$;
comment on function weir.purge_dead_letters(bigint[], text) is
  'Internal. Removes the dead letters of these jobs and records it in their events. Returns how many.';

create or replace function weir.purge_dead(job_id bigint, by text default null) returns void language plpgsql as $$
begin
  perform weir.require_job(purge_dead.job_id, '{operator}');
  if weir.requester_problem(purge_dead.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(purge_dead.by));
  end if;
  if weir.purge_dead_letters(array[purge_dead.job_id], purge_dead.by) = 0 then
    perform weir.refuse_unknown_dead_letter(purge_dead.job_id);
  end if;
  perform weir.record_change('purgeDeadLetter', 'dead/' || purge_dead.job_id, null,
    jsonb_strip_nulls(jsonb_build_object('by', purge_dead.by)));
end $$;
comment on function weir.purge_dead(bigint, text) is
  'Removes a dead letter. Its job stays dead until the retention of its queue is over. `by` (1 to 200 characters) is '
  'kept as an event. Errors: WR010, WR014.';

-- A queue after the other, because one that keeps its letters for long must not be in the way of the others. Locks:
-- the job_dead rows, skip locked.
create or replace function weir.sweep_dead(most int default 1000) returns int language plpgsql set jit = off
  set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  q record;
  swept int := 0;
begin
  -- Queues with letters: a loose scan, from one id to the next in the index.
  for q in
    with recursive lettered (id) as (
      (select d.queue_id from weir.job_dead d order by d.queue_id limit 1)
      union all
      select (select d.queue_id from weir.job_dead d where d.queue_id > h.id order by d.queue_id limit 1)
        from lettered h where h.id is not null
    )
    select x.id, now() - make_interval(secs => x.dead_retention_seconds) as bound
    from lettered h join weir.queue x on x.id = h.id
  loop
    swept := swept + weir.purge_dead_letters(array(
      select d.job_id from weir.job_dead d where d.queue_id = q.id and d.died_at < q.bound order by d.died_at
        limit most - swept for update skip locked), 'retention');
    exit when swept >= most;
  end loop;
  return swept;
end $$;
comment on function weir.sweep_dead(int) is
  'Purges up to `most` dead letters that died longer ago than their queue keeps them (dead_retention_seconds). '
  'Returns how many.';

create or replace function weir.dead_filter_fields() returns text[] language sql immutable as $$
  select '{queue,kind,tenant,tag,error_type,q,died_after,died_before,min_attempts,bounds}'::text[]
$$;
comment on function weir.dead_filter_fields() is 'Internal. The fields of a filter of dead letters.';

create or replace function weir.dead_filter_problem(filter jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(filter) is distinct from 'object' then array['filter', 'must be an object']
    when filter - weir.dead_filter_fields() <> '{}' then
      array['filter.' || weir.first_key(filter - weir.dead_filter_fields()),
        'is not a field of a filter of dead letters']
    else (
      select array['filter.' || p.field, p.problem] from (
        select f.field, case when filter ->> f.field is not null
          and (jsonb_typeof(filter -> f.field) <> 'string' or length(filter ->> f.field) not between 1 and 200)
          then 'must be a string of 1 to 200 characters' end
        from unnest('{queue,kind,tenant,tag,error_type,q}'::text[]) f(field)
        union all select f.field, case when filter ->> f.field is not null
          then weir.time_problem(filter -> f.field) end from unnest('{died_after,died_before}'::text[]) f(field)
        union all select 'min_attempts', weir.integer_problem(filter -> 'min_attempts', 1, 100)
        union all select 'bounds', weir.bounds_problem(filter -> 'bounds')
      ) p(field, problem) where p.problem is not null limit 1)
  end
$$;
comment on function weir.dead_filter_problem(jsonb) is
  'Internal. The first field of a filter of dead letters that is invalid, and why; null: none.';

-- The facts are looked up a letter at a time, and only where the filter asks for them: letters are few among jobs.
create or replace function weir.filter_dead_letter_ids(job_ids bigint[], filter jsonb) returns setof bigint
language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
  set enable_mergejoin = off as $$
declare
  after timestamptz := (filter ->> 'died_after')::timestamptz;
  before timestamptz := (filter ->> 'died_before')::timestamptz;
  of_queue int := (select q.id from weir.queue q where q.name = filter ->> 'queue');
  asks boolean := jsonb_strip_nulls(filter) ?| '{kind,tenant,tag,error_type,q,min_attempts,bounds}';
  words text := lower(filter ->> 'q');
begin
  return query
  select d.job_id from weir.job_dead d
  where d.job_id = any (job_ids) and (after is null or d.died_at >= after) and (before is null or d.died_at < before)
    and (filter ->> 'queue' is null or d.queue_id = of_queue)
    and case when asks then exists (
      select from weir.job j join weir.job_outcome o on o.job_id = j.id join weir.queue q on q.id = j.queue_id
      where j.id = d.job_id and weir.is_within(filter -> 'bounds', j.tenant, q.name, j.principal)
        and (filter ->> 'kind' is null or j.kind = filter ->> 'kind')
        and (filter ->> 'tenant' is null or j.tenant = filter ->> 'tenant')
        and (filter ->> 'tag' is null or filter ->> 'tag' = any (j.tags))
          and (filter ->> 'error_type' is null or o.error ->> 'type' = filter ->> 'error_type')
        and (filter ->> 'min_attempts' is null or o.attempt >= (filter ->> 'min_attempts')::numeric)
        and (words is null or strpos(lower(concat_ws(' ', j.kind, j.args::text, o.error::text,
          (select string_agg(e.detail::text, ' ') from weir.job_event e where e.job_id = j.id
            and e.kind in ('failed', 'timed_out', 'lost')))), words) > 0))
      else true end;
end $$;
comment on function weir.filter_dead_letter_ids(bigint[], jsonb) is
  'Internal. Those of these jobs that are dead letters and match a filter.';

create or replace function weir.count_dead(filter jsonb default '{}') returns bigint language plpgsql stable as $$
declare
  problem text[] := weir.dead_filter_problem(filter);
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  return (select count(*) from weir.filter_dead_letter_ids(array(select d.job_id from weir.job_dead d), filter));
end $$;
comment on function weir.count_dead(jsonb) is
  'Counts the dead letters that match a filter: {queue, kind, tenant, tag, error_type, q (text in kind, args or '
  'errors), died_after, died_before, min_attempts}, all optional. Errors: WR010.';
