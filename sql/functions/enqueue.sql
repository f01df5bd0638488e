-- enqueue

-- Refuses where the queue would be fuller than it may be. Counts what is committed, and what this transaction enqueued.
create or replace function weir.refuse_full(queue weir.queue, more int) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  floor_seq bigint := (select w.seq from weir.watermark w order by w.tick desc limit 1);
  after bigint[] := (select f.positions from weir.frontier f where f.queue_id = queue.id order by f.tick desc limit 1);
  depth int := 0;
begin
  for p in 1..10 loop
    depth := depth + (select count(*) from (select from weir.job_ready r where r.queue_id = queue.id and r.priority = p
      and r.seq > coalesce(after[p], floor_seq) limit queue.max_depth - depth) x);
  end loop;
  if queue.governed then
    depth := depth + (select count(*) from (select from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' limit queue.max_depth - depth) x);
  end if;
  if depth + more > queue.max_depth then
    raise exception using errcode = 'WR013', message = format('queue %L is full: it may hold %s available jobs', queue.name, queue.max_depth),
      hint = 'Try again when workers have caught up, or raise its max_depth. Nothing was enqueued.';
  end if;
end $$;

-- Locks: weir.queue rows that are new; job_unique rows of the keys named, in the order of the keys.
-- With a workflow_id it is called by store_steps, which has checked the jobs: they carry their name (step), and whether they are to be held.
create or replace function weir.enqueue_batch(jobs jsonb, workflow_id bigint default null, schedules text[] default null, slots timestamptz[] default null) returns table (job_id bigint, duplicate boolean, priority smallint, max_attempts smallint, timeout_seconds int,
  run_at timestamptz, created_at timestamptz) language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  keys record;
  named int;
  first_name text;
  last_name text;
  names text[];
  known text[];
  ids bigint[];
  owners bigint[];
  keyed boolean;
  bare boolean;
  plain boolean;
  bounded boolean;
  governed boolean;
  queue_ids int[];
  priorities smallint[];
  attempts smallint[];
  timeouts int[];
  line_bys smallint[];
  now_at timestamptz;
begin
  if jsonb_typeof(jobs) is distinct from 'array' then
    perform weir.refuse_argument('jobs', 'must be a JSON array of jobs');
  elsif jsonb_array_length(jobs) > 10000 then
    perform weir.refuse_argument('jobs', 'has more than 10000 jobs', 'Enqueue them in several calls.');
  elsif jsonb_array_length(jobs) = 0 then
    return;
  end if;
  -- Most jobs are plain, and seen to be so in one expression; the others are looked at one by one. bare: they have no other fields than these four; plain ones have a key and a tenant at most.
  select count(e.job ->> 'queue'), min(e.job ->> 'queue' collate "C"), max(e.job ->> 'queue' collate "C"),
    bool_or(e.rest ->> 'unique' is not null or e.rest ->> 'idempotency_key' is not null), bool_and(e.rest = '{}'),
    bool_and(((e.rest = '{}' or e.rest - '{concurrency_key,tenant}'::text[] = '{}'
        and weir.label_problem(e.rest -> 'concurrency_key') is null and weir.label_problem(e.rest -> 'tenant') is null)
      and jsonb_typeof(e.job -> 'kind') = 'string' and length(e.job ->> 'kind') between 1 and 200
      and coalesce(jsonb_typeof(e.job -> 'queue') = 'string', true) and coalesce(pg_column_size(e.job -> 'args') <= 65536, true)
      and coalesce(e.job -> 'priority' = any ('{1,2,3,4,5,6,7,8,9,10}'::jsonb[]), true)) is true)
    into named, first_name, last_name, keyed, bare, plain
  from (select x as job, case when jsonb_typeof(x) = 'object' then x - '{kind,args,queue,priority}'::text[] else '{"": 0}' end as rest from jsonb_array_elements(jobs) x offset 0) e;
  names := case when named = 0 then '{default}' when named = jsonb_array_length(jobs) and first_name = last_name then array[first_name]
    else array(select distinct coalesce(e ->> 'queue', 'default') from jsonb_array_elements(jobs) e) end;
  for look in 1..2 loop
    -- Parallel arrays, not a join: its order could change, and numbers are to be drawn in the order of the jobs.
    select array_agg(q.name order by q.name), array_agg(q.id order by q.name), array_agg(q.priority order by q.name), array_agg(q.max_attempts order by q.name),
      array_agg(q.timeout_seconds order by q.name), array_agg(q.line_by order by q.name), bool_or(q.max_depth is not null), bool_or(q.governed)
      into known, queue_ids, priorities, attempts, timeouts, line_bys, bounded, governed from weir.queue q where q.name = any (names) and q.deleted_at is null;
    if look = 1 and not plain then
      perform weir.refuse_bad_jobs(jobs) where enqueue_batch.workflow_id is null;
      perform weir.ensure_breakers(array(select distinct e.job ->> 'breaker' from jsonb_array_elements(jobs) e(job) where e.job ->> 'breaker' is not null));
    end if;
    exit when cardinality(known) = cardinality(names);
    perform weir.refuse_bad_jobs(jobs) where enqueue_batch.workflow_id is null and look = 1 and plain;  -- a name that is not known may be none
    perform weir.ensure_queues(names);
  end loop;
  names := known;

  lock table weir.job_ready in row exclusive mode;  -- before a number is drawn and the time is taken: see 0005_frontier.sql
  if plain and not bounded and enqueue_batch.workflow_id is null and schedules is null and (not governed or array_position(line_bys, null) is null) then
    now_at := clock_timestamp();
    if not governed then
      return query
      with facts as (
        insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, tenant, concurrency_key)
        select nextval('weir.job_id_seq'), now_at, queue_ids[e.q], timeouts[e.q], coalesce((e.job ->> 'priority')::numeric::smallint, priorities[e.q]), attempts[e.q],
          e.job ->> 'kind', coalesce(e.job -> 'args', '{}'), case when not bare then e.job ->> 'tenant' end, case when not bare then e.job ->> 'concurrency_key' end
        from (select x.job, case when cardinality(names) = 1 then 1 else array_position(names, coalesce(x.job ->> 'queue', 'default')) end as q from jsonb_array_elements(jobs) x(job)) e
        returning id, queue_id, priority, max_attempts, timeout_seconds
      ), ready as (
        insert into weir.job_ready (queue_id, priority, seq) select f.queue_id, f.priority, f.id from facts f
      )
      select f.id, false, f.priority, f.max_attempts, f.timeout_seconds, null::timestamptz, now_at from facts f;
    else
      return query
      with facts as (
        insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, tenant, concurrency_key)
        select nextval('weir.job_id_seq'), now_at, queue_ids[e.q], timeouts[e.q], coalesce((e.job ->> 'priority')::numeric::smallint, priorities[e.q]), attempts[e.q],
          e.job ->> 'kind', coalesce(e.job -> 'args', '{}'), e.job ->> 'tenant', e.job ->> 'concurrency_key'
        from (select x.job, case when cardinality(names) = 1 then 1 else array_position(names, coalesce(x.job ->> 'queue', 'default')) end as q from jsonb_array_elements(jobs) x(job)) e
        returning id, queue_id, priority, max_attempts, timeout_seconds, tenant, concurrency_key
      ), lines as (  -- see line.sql
        insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
        select f.id, f.queue_id, f.priority, 0, 'line', weir.line_name(line_bys[array_position(queue_ids, f.queue_id)], f.tenant, f.concurrency_key), f.id from facts f
        returning job_held.queue_id, job_held.key, job_held.priority, job_held.seq
      ), note as (
        insert into weir.admission_inbox (queue_id, arrived, priorities, floors, counts)
        select l.queue_id, array_agg(l.key), array_agg(l.priority), array_agg(l.floor), array_agg(l.n)
        from (select x.queue_id, x.key, x.priority, min(x.seq) - 1 as floor, count(*)::int as n from lines x group by x.queue_id, x.key, x.priority) l group by l.queue_id
      )
      select f.id, false, f.priority, f.max_attempts, f.timeout_seconds, null::timestamptz, now_at from facts f;
    end if;
    perform weir.wake(names);
    return;
  end if;
  if keyed then
    select array_agg(nextval('weir.job_id_seq') order by i) into ids from generate_series(1, jsonb_array_length(jobs)) i;
    owners := ids;
    -- In the order of the keys, so that two batches do not deadlock.
    for keys in select e.job, e.n from jsonb_array_elements(jobs) with ordinality e(job, n) where e.job ->> 'idempotency_key' is not null
      order by e.job ->> 'idempotency_key', e.n loop
      owners[keys.n] := weir.take_idempotency_key(keys.job, ids[keys.n]);
    end loop;
    for keys in select e.job -> 'unique' as uniq, e.job ->> 'idempotency_key' as key, e.n from jsonb_array_elements(jobs) with ordinality e(job, n) where e.job ->> 'unique' is not null
      order by e.job #>> '{unique,key}', e.n loop
      if owners[keys.n] = ids[keys.n] then
        owners[keys.n] := weir.take_unique_key(keys.uniq, ids[keys.n], ids);
        -- If another job has the unique key, that one is the answer to the idempotency key too.
        update weir.job_idempotency i set job_id = owners[keys.n] where i.key = keys.key and owners[keys.n] <> ids[keys.n];
      end if;
    end loop;
  end if;

  now_at := clock_timestamp();
  if bounded then
    perform weir.refuse_full(q, (select count(*)::int from jsonb_array_elements(jobs) with ordinality e(job, n) where coalesce(e.job ->> 'queue', 'default') = q.name
      and owners[e.n] is not distinct from ids[e.n] and coalesce((e.job ->> 'delay_seconds')::float8, 0) <= 0 and coalesce((e.job ->> 'run_at')::timestamptz <= now_at, true)
      and (enqueue_batch.workflow_id is null or e.job -> 'held' is null)))
    from weir.queue q where q.name = any (names) and q.max_depth is not null;
  end if;
  return query
  with input as materialized (
    select e.job, e.more, e.n, coalesce(ids[e.n], nextval('weir.job_id_seq')) as id, coalesce(owners[e.n] <> ids[e.n], false) as duplicate, e.q,
      coalesce((e.job ->> 'priority')::numeric::smallint, priorities[e.q]) as priority,
      coalesce((e.more ->> 'max_attempts')::numeric::smallint, attempts[e.q]) as max_attempts,
      coalesce((e.more ->> 'timeout_seconds')::numeric::int, timeouts[e.q]) as timeout_seconds,
      coalesce((e.more ->> 'run_at')::timestamptz, now_at + make_interval(secs => (e.more ->> 'delay_seconds')::float8)) as run_at,
      enqueue_batch.workflow_id is not null and e.job -> 'held' is not null as held
    from (select x.job, case when not plain then x.job end as more, x.n, array_position(names, coalesce(x.job ->> 'queue', 'default')) as q from jsonb_array_elements(jobs) with ordinality x(job, n)) e
  ), facts as (
    insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, retry, tags, metadata, unique_key, tenant, parent_id, result_ttl_seconds, run_at,
      workflow_id, step, breaker, schedule, slot, concurrency_key)
    select i.id, now_at, queue_ids[i.q], i.timeout_seconds, i.priority, i.max_attempts, i.job ->> 'kind', coalesce(i.job -> 'args', '{}'),
      case when i.more ->> 'retry' is not null then i.more -> 'retry' end,
      case when i.more ->> 'tags' is not null then array(select jsonb_array_elements_text(i.more -> 'tags')) end,
      case when i.more ->> 'metadata' is not null then i.more -> 'metadata' end,
      i.more #>> '{unique,key}', case when not bare then i.job ->> 'tenant' end, (i.more ->> 'parent_id')::bigint, (i.more ->> 'result_ttl_seconds')::numeric::int, case when i.run_at > now_at then i.run_at end,
      enqueue_batch.workflow_id, case when enqueue_batch.workflow_id is not null then i.more ->> 'step' end, i.more ->> 'breaker', schedules[i.n], slots[i.n], case when not bare then i.job ->> 'concurrency_key' end
    from input i where not i.duplicate
  ), ready as (
    insert into weir.job_ready (queue_id, priority, seq)
    select queue_ids[i.q], i.priority, i.id from input i where not i.duplicate and not i.held and line_bys[i.q] is null and (i.run_at is null or i.run_at <= now_at)
  ), later as (
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
    select i.id, i.run_at, queue_ids[i.q], i.priority, 0 from input i where not i.duplicate and i.run_at > now_at
  ), held as (
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason) select i.id, queue_ids[i.q], i.priority, 0, 'dependency' from input i where enqueue_batch.workflow_id is not null and i.held
  ), lines as (  -- of queues with limits: see line.sql
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
    select i.id, queue_ids[i.q], i.priority, 0, 'line', weir.line_name(line_bys[i.q], i.job ->> 'tenant', i.job ->> 'concurrency_key'), i.id
    from input i where governed and line_bys[i.q] is not null and not i.duplicate and not i.held and (i.run_at is null or i.run_at <= now_at)
    returning job_held.queue_id, job_held.key, job_held.priority, job_held.seq
  ), note as (
    insert into weir.admission_inbox (queue_id, arrived, priorities, floors, counts)
    select l.queue_id, array_agg(l.key), array_agg(l.priority), array_agg(l.floor), array_agg(l.n)
    from (select x.queue_id, x.key, x.priority, min(x.seq) - 1 as floor, count(*)::int as n from lines x where governed group by x.queue_id, x.key, x.priority) l group by l.queue_id
  )
  select case when i.duplicate then owners[i.n] else i.id end, i.duplicate, i.priority, i.max_attempts, i.timeout_seconds,
    case when i.run_at > now_at then i.run_at end, now_at
  from input i order by i.n;
  perform weir.wake(names);
end $$;

create or replace function weir.enqueue_many(jobs jsonb) returns setof bigint language sql as $$
  select job_id from weir.enqueue_batch(jobs)
$$;

create or replace function weir.enqueue(kind text, args jsonb default '{}', queue text default 'default', priority int default null, run_at timestamptz default null,
  max_attempts int default null, unique_key text default null, options jsonb default '{}') returns bigint language plpgsql as $$
declare
  job jsonb := coalesce(options, '{}') || jsonb_build_object('kind', kind, 'args', coalesce(args, '{}'), 'queue', queue)
    || case when priority is null then '{}' else jsonb_build_object('priority', priority) end
    || case when run_at is null then '{}' else jsonb_build_object('run_at', run_at) end
    || case when max_attempts is null then '{}' else jsonb_build_object('max_attempts', max_attempts) end
    || case when unique_key is null then '{}' else jsonb_build_object('unique', jsonb_build_object('key', unique_key)) end;
begin
  return (select b.job_id from weir.enqueue_batch(jsonb_build_array(job)) b);
end $$;
comment on function weir.refuse_full(weir.queue, int) is 'Internal. Raises WR013 queue_full if so many more jobs would make more than max_depth available ones, or in lines.';
comment on function weir.enqueue_batch(jsonb, bigint, text[], timestamptz[]) is
  'Enqueues an array of jobs, all or none, in order: {kind, args, queue, priority, run_at or delay_seconds, max_attempts, timeout_seconds, retry, '
  'unique, idempotency_key, tenant, concurrency_key, tags, metadata, parent_id, result_ttl_seconds, breaker}; only kind is required. Returns a row a job in the same order with what was not said filled in; duplicate: its unique or idempotency key is taken, and the job that has it is named. workflow_id, schedules and slots are for weir''s own use. Errors: WR006, WR010, WR013.';
comment on function weir.enqueue_many(jsonb) is 'Enqueues an array of up to 10,000 jobs, all or none, and returns their ids in the same order. Takes what weir.enqueue_batch takes. Errors: WR006, WR010, WR013.';
comment on function weir.enqueue(text, jsonb, text, int, timestamptz, int, text, jsonb) is
  'Enqueues one job inside the caller''s transaction and returns its id (with a unique_key that a job not yet ended has: that job''s id). '
  'Priority 1 to 10, 10 first. options takes the other fields of weir.enqueue_batch: delay_seconds, timeout_seconds, retry, unique, idempotency_key, tenant, concurrency_key, tags, metadata, parent_id, result_ttl_seconds, breaker. Errors: WR006, WR010, WR013.';
