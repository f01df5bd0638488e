-- Enqueueing. It only inserts (but for a unique key that it takes over), so an application may call it inside a
-- transaction of any length: no claim and no completion ever waits for it.

create or replace function weir.enqueue(kind text, args jsonb default '{}', queue text default 'default',
  priority int default null,
  run_at timestamptz default null, max_attempts int default null, unique_key text default null,
    options jsonb default '{}')
returns bigint language plpgsql as $$
declare
  job jsonb := coalesce(options, '{}') || jsonb_build_object('kind', kind, 'args', coalesce(args, '{}'), 'queue', queue)
    || case when priority is null then '{}' else jsonb_build_object('priority', priority) end
    || case when run_at is null then '{}' else jsonb_build_object('run_at', weir.print_time(run_at)) end
    || case when max_attempts is null then '{}' else jsonb_build_object('max_attempts', max_attempts) end
    || case when unique_key is null then '{}' else jsonb_build_object('unique',
      jsonb_build_object('key', unique_key)) end;
  jobs jsonb := jsonb_build_array(job);
begin
  if session_user <> current_user then
    jobs := weir.impose_on_jobs(jobs);
  end if;
  if options <> '{}' then
    perform weir.refuse_bad_options(options, jobs -> 0);
  end if;
  return (select b.job_id from weir.enqueue_batch(jobs) b);
end $$;
comment on function weir.enqueue(text, jsonb, text, int, timestamptz, int, text, jsonb) is
  'Enqueues one job in the caller''s transaction and returns its id. A job with a unique_key that an unfinished job '
  'has is not enqueued; that job''s id is returned. Priority 1 to 10, 10 first. options takes the other fields of '
  'weir.enqueue_batch: delay_seconds, timeout_seconds, retry, unique, idempotency_key, tenant, concurrency_key, '
  'tags, metadata, parent_id, result_ttl_seconds, breaker. Errors: WR006, WR010, WR013, WR016, WR018, WR019, WR023.';

-- In PL/pgSQL, which keeps its plan: a SQL function plans its statement at each call.
create or replace function weir.enqueue_many(jobs jsonb) returns setof bigint language plpgsql as $$
begin
  if session_user <> current_user then
    jobs := weir.impose_on_jobs(jobs);
  end if;
  return query select b.job_id from weir.enqueue_batch(jobs) b;
end $$;
comment on function weir.enqueue_many(jsonb) is
  'weir.enqueue_batch, returning only the ids, in order. Errors: WR006, WR010, WR013, WR016, WR018, WR019, WR023.';

-- Locks: weir.queue rows that are new; then those of weir.take_keys and of weir.charge_jobs. The other parameters are
-- internal. With workflow_id, weir.store_steps calls it and has checked the jobs: each carries its name (step) and
-- whether it starts held. schedules and slots go with the jobs at the same places, and so do principals
-- (weir.principal.id, 0: unknown), unless there is only one of them, who enqueues all.
create or replace function weir.enqueue_batch(jobs jsonb, workflow_id bigint default null,
  schedules text[] default null, slots timestamptz[] default null, principals int[] default null)
returns table (job_id bigint, duplicate boolean, priority smallint, max_attempts smallint, timeout_seconds int,
  run_at timestamptz, created_at timestamptz, state text, imposed text) language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  named int; first_name text; last_name text;  -- queues that the jobs name
  keyed boolean; bare boolean; plain boolean; largest int;  -- what the jobs are; the bytes of the largest, as stored
  enqueuer int := case when cardinality(principals) = 1 then nullif(principals[1], 0) end;  -- of all jobs
  names text[]; known text[];  -- of the queues; known: in order, and what goes with each
  queue_ids int[]; priorities smallint[]; attempts smallint[]; timeouts int[]; line_bys smallint[];
  bounded boolean; governed boolean; encrypted boolean; owned boolean;  -- whether one of the queues is
  charged boolean := false;
  now_at timestamptz;
begin
  if jsonb_typeof(jobs) is distinct from 'array' then
    perform weir.refuse_argument('jobs', 'must be a JSON array of jobs');
  elsif jsonb_array_length(jobs) > 10000 then
    perform weir.refuse_argument('jobs', 'has more than 10000 jobs', 'Enqueue them in several calls.');
  elsif jsonb_array_length(jobs) = 0 then
    return;
  end if;
  -- Most jobs are plain, and one expression shows it; the others are checked one by one. Bare jobs have only these
  -- four fields; plain ones may also have a concurrency key and a tenant.
  select count(e.job ->> 'queue'), min(e.job ->> 'queue' collate "C"), max(e.job ->> 'queue' collate "C"),
    bool_or(e.rest ->> 'unique' is not null or e.rest ->> 'idempotency_key' is not null), bool_and(e.rest = '{}'),
    bool_and(((e.rest = '{}' or e.rest - '{concurrency_key,tenant}'::text[] = '{}'
        and weir.label_problem(e.rest -> 'concurrency_key') is null and weir.label_problem(e.rest -> 'tenant') is null)
      and jsonb_typeof(e.job -> 'kind') = 'string' and length(e.job ->> 'kind') between 1 and 200
      and coalesce(jsonb_typeof(e.job -> 'queue') = 'string', true) and pg_column_size(e.job) <= 65536
      and coalesce(e.job -> 'priority' = any ('{1,2,3,4,5,6,7,8,9,10}'::jsonb[]), true)) is true),
    max(pg_column_size(e.job))
    into named, first_name, last_name, keyed, bare, plain, largest
  from (select x as job, case when jsonb_typeof(x) = 'object' then x - '{kind,args,queue,priority}'::text[]
    else '{"": 0}' end as rest
    from jsonb_array_elements(jobs) x offset 0) e;
  if not plain then
    perform weir.refuse_bad_jobs(jobs) where enqueue_batch.workflow_id is null;
    perform weir.ensure_breakers(array(select distinct e ->> 'breaker' from jsonb_array_elements(jobs) e
      where e ->> 'breaker' is not null), jobs => case when enqueue_batch.workflow_id is null then jobs end);
  elsif weir.may_have_odd_args(jobs, largest) then
    perform weir.refuse_large_args(jobs);
  end if;
  names := case when named = 0 then '{default}'
    when named = jsonb_array_length(jobs) and first_name = last_name then array[first_name]
    else array(select distinct coalesce(e ->> 'queue', 'default') from jsonb_array_elements(jobs) e) end;
  -- Before a number is drawn and the time is taken (frontier.sql), and before the queues are read (queue_tenant.sql).
  lock table weir.job_ready in row exclusive mode;
  for attempt in 1..2 loop
    -- Parallel arrays, not a join: its order could change, and numbers are drawn in the order of the jobs.
    select array_agg(q.name order by q.name), array_agg(q.id order by q.name), array_agg(q.priority order by q.name),
      array_agg(q.max_attempts order by q.name), array_agg(q.timeout_seconds order by q.name),
      array_agg(q.line_by order by q.name),
      bool_or(q.max_depth is not null), bool_or(q.governed), bool_or(q.tenant is not null), bool_or(q.encrypted)
      into known, queue_ids, priorities, attempts, timeouts, line_bys, bounded, governed, owned, encrypted
    from weir.queue q where q.name = any (names) and q.deleted_at is null;
    exit when cardinality(known) = cardinality(names);
    perform weir.refuse_bad_jobs(jobs) where plain and enqueue_batch.workflow_id is null;  -- a new name may be none
    perform weir.ensure_queues(names, jobs => case when enqueue_batch.workflow_id is null then jobs end);
  end loop;
  if encrypted and schedules is null then
    perform weir.refuse_readable_args(jobs, names);
  end if;
  if owned then
    jobs := weir.impose_queue_tenants(jobs, case when enqueue_batch.workflow_id is null then 'jobs' end);
    bare := false;
  end if;
  if not bare then
    charged := exists (select from weir.tenant_quota) and weir.has_quota(jobs);  -- after the lock: see scan_for_tenant
  end if;
  if plain and not (bounded or governed or charged) and enqueue_batch.workflow_id is null and schedules is null then
    now_at := clock_timestamp();
    return query
    with facts as (
      insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, tenant,
        concurrency_key, principal)
      select nextval('weir.job_id_seq'), now_at, queue_ids[e.q], timeouts[e.q],
        coalesce((e.job ->> 'priority')::numeric::smallint, priorities[e.q]), attempts[e.q], e.job ->> 'kind',
        coalesce(e.job -> 'args', '{}'),
        case when not bare then e.job ->> 'tenant' end, case when not bare then e.job ->> 'concurrency_key' end,
        coalesce(enqueuer, nullif(principals[e.n], 0))
      from (select x.job, x.n, case when cardinality(known) = 1 then 1
        else array_position(known, coalesce(x.job ->> 'queue', 'default')) end as q
        from jsonb_array_elements(jobs) with ordinality x(job, n)) e
      returning id, queue_id, priority, max_attempts, timeout_seconds, tenant
    ), ready as (
      insert into weir.job_ready (queue_id, priority, seq) select f.queue_id, f.priority, f.id from facts f
    )
    select f.id, false, f.priority, f.max_attempts, f.timeout_seconds, null::timestamptz, now_at, 'available',
      case when owned then f.tenant end from facts f;
  else
    return query select s.job_id, s.duplicate, s.priority, s.max_attempts, s.timeout_seconds, s.run_at, s.created_at,
      s.state, case when owned then jobs -> (s.n - 1)::int ->> 'tenant' end
    from weir.store_jobs(jobs,
      (known, queue_ids, priorities, attempts, timeouts, line_bys, bounded)::weir.queue_settings, plain, keyed, charged,
      enqueue_batch.workflow_id, schedules, slots, principals) with ordinality
      s(job_id, duplicate, priority, max_attempts, timeout_seconds, run_at, created_at, state, n);
  end if;
  perform weir.wake(names);
end $$;
comment on function weir.enqueue_batch(jsonb, bigint, text[], timestamptz[], int[]) is
  'Enqueues an array of up to 10,000 jobs, all or none, and returns a row for each in the same order: its id, what '
  'its queue''s defaults filled in, its state (available, scheduled or held), and the tenant that it has from its '
  'queue (imposed). duplicate: its unique or '
  'idempotency key was taken, job_id is the job that has it, and the rest of the row is null or means nothing. '
  'Fields of a job: kind, args, queue, priority, run_at or delay_seconds, max_attempts, timeout_seconds, retry '
  '{strategy, base_seconds, max_seconds, jitter}, unique {key, scope, ttl_seconds}, idempotency_key, tenant, '
  'concurrency_key, tags, metadata, parent_id, result_ttl_seconds, breaker. Errors: WR006, WR010, WR013, WR016, '
  'WR018, WR019, WR023.';

-- In a session's time zone a time could print with seconds in its offset, or in the year 10000.
create or replace function weir.print_time(at timestamptz) returns text language sql immutable as $$
  select case when isfinite(at) then to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || case
    when extract(year from at at time zone 'UTC') < 1 then ' BC' else '' end
    else at::text end
$$;
comment on function weir.print_time(timestamptz) is 'Internal. A time in UTC as JSON has it.';

-- Takes the idempotency keys, then the unique keys, of the jobs with these ids. Returns for each job the one that has
-- its keys: itself, or an earlier one. Locks: the keys' rows, each kind in the order of the keys, so that two batches
-- do not deadlock.
create or replace function weir.take_keys(jobs jsonb, ids bigint[]) returns bigint[] language plpgsql as $$
declare
  owners bigint[] := ids;
  e record;
begin
  for e in
    select x.job, x.n from jsonb_array_elements(jobs) with ordinality x(job, n)
    where x.job ->> 'idempotency_key' is not null order by x.job ->> 'idempotency_key', x.job ->> 'tenant', x.n
  loop
    owners[e.n] := weir.take_idempotency_key(e.job, e.job ->> 'tenant', ids[e.n]);
  end loop;
  for e in
    select x.job -> 'unique' as uniq, x.job ->> 'idempotency_key' as key, x.job ->> 'tenant' as tenant, x.n
    from jsonb_array_elements(jobs) with
      ordinality x(job, n)
    where x.job ->> 'unique' is not null order by x.job #>> '{unique,key}', x.job ->> 'tenant', x.n
  loop
    if owners[e.n] = ids[e.n] then
      owners[e.n] := weir.take_unique_key(e.uniq, e.tenant, ids[e.n], ids);
      -- If another job has the unique key, that one is the answer to the idempotency key too.
      update weir.job_idempotency i set job_id = owners[e.n] where i.key = e.key and i.tenant = coalesce(e.tenant, '')
        and owners[e.n] <> ids[e.n];
    end if;
  end loop;
  return owners;
end $$;
comment on function weir.take_keys(jsonb, bigint[]) is
  'Internal. Takes the keys of new jobs; returns for each job the one that has them.';

-- Counts what is committed, and what this transaction enqueued.
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
    depth := depth + (select count(*) from (select from weir.job_held h
      where h.queue_id = queue.id and h.reason = 'line' limit queue.max_depth - depth) x);
  end if;
  if depth + more > queue.max_depth then
    raise exception using errcode = 'WR013',
      message = format('queue %L is full: it may hold %s available jobs', queue.name, queue.max_depth),
      hint = 'Try again when workers have caught up, or raise its max_depth. Nothing was enqueued.';
  end if;
end $$;
comment on function weir.refuse_full(weir.queue, int) is
  'Internal. Raises WR013 queue_full if that many more jobs would make more than max_depth that are available or in '
  'lines.';

-- Stores jobs of any kind: with keys, in queues with limits or a bound, for a time, as steps. Its one statement names
-- for each job the table that it goes to. charged: a tenant of them has a quota. Locks: those of take_keys, then those
-- of charge_jobs.
create or replace function weir.store_jobs(jobs jsonb, queues weir.queue_settings, plain boolean, keyed boolean,
  charged boolean, workflow_id bigint, schedules text[], slots timestamptz[], principals int[])
returns table (job_id bigint, duplicate boolean, priority smallint, max_attempts smallint, timeout_seconds int,
  run_at timestamptz, created_at timestamptz, state text) language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  names text[] := queues.names;
  queue_ids int[] := queues.ids;
  priorities smallint[] := queues.priorities;
  attempts smallint[] := queues.max_attempts;
  timeouts int[] := queues.timeouts;
  line_bys smallint[] := queues.line_bys;
  is_step boolean := store_jobs.workflow_id is not null;
  enqueuer int := case when cardinality(principals) = 1 then nullif(principals[1], 0) end;  -- of all jobs
  ids bigint[];
  owners bigint[];
  now_at timestamptz;
begin
  perform weir.refuse_foreign_breakers(jobs, 'jobs') where not plain and not is_step;
  if keyed or charged then
    ids := array(select nextval('weir.job_id_seq') from generate_series(1, jsonb_array_length(jobs)));
  end if;
  if keyed then
    owners := weir.take_keys(jobs, ids);
  end if;
  now_at := clock_timestamp();
  if queues.bounded then
    perform weir.refuse_full(q, (select count(*)::int from jsonb_array_elements(jobs) with ordinality e(job, n)
      where coalesce(e.job ->> 'queue', 'default') = q.name and (owners is null or owners[e.n] = ids[e.n])
        and coalesce((e.job ->> 'delay_seconds')::float8, 0) <= 0
          and coalesce((e.job ->> 'run_at')::timestamptz <= now_at, true)
        and (not is_step or e.job -> 'held' is null)))
    from weir.queue q where q.name = any (names) and q.max_depth is not null;
  end if;
  if charged then
    perform weir.charge_jobs(jobs, ids, owners);
  end if;
  return query
  with given as (  -- more: what a plain job cannot have; q: its queue's place in the arrays
    select x.job, case when not plain then x.job end as more, x.n,
      array_position(names, coalesce(x.job ->> 'queue', 'default')) as q
    from jsonb_array_elements(jobs) with ordinality x(job, n)
  ), timed as (
    select g.*, coalesce(ids[g.n], nextval('weir.job_id_seq')) as id,
      coalesce(owners[g.n] <> ids[g.n], false) as duplicate,
      coalesce((g.job ->> 'priority')::numeric::smallint, priorities[g.q]) as priority,
      coalesce((g.more ->> 'max_attempts')::numeric::smallint, attempts[g.q]) as max_attempts,
      coalesce((g.more ->> 'timeout_seconds')::numeric::int, timeouts[g.q]) as timeout_seconds,
      coalesce((g.more ->> 'run_at')::timestamptz,
        now_at + make_interval(secs => (g.more ->> 'delay_seconds')::float8)) as run_at
    from given g
  ), input as materialized (  -- place: where the job goes
    select t.*, case when t.duplicate then null when is_step and t.job -> 'held' is not null then 'dependency'
      when t.run_at > now_at then 'scheduled' when line_bys[t.q] is not null then 'line' else 'available' end as place
    from timed t
  ), facts as (
    insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, retry, tags,
      metadata, unique_key,
      tenant, parent_id, result_ttl_seconds, run_at, workflow_id, step, breaker, schedule, slot, concurrency_key,
      principal)
    select i.id, now_at, queue_ids[i.q], i.timeout_seconds, i.priority, i.max_attempts, i.job ->> 'kind',
      coalesce(i.job -> 'args', '{}'),
      nullif(i.more -> 'retry', 'null'), case when i.more ->> 'tags' is not null
        then array(select jsonb_array_elements_text(i.more -> 'tags')) end,
      nullif(i.more -> 'metadata', 'null'), i.more #>> '{unique,key}', i.job ->> 'tenant',
        (i.more ->> 'parent_id')::bigint,
      (i.more ->> 'result_ttl_seconds')::numeric::int, case when i.run_at > now_at then i.run_at end,
      store_jobs.workflow_id, case when is_step then i.more ->> 'step' end, i.more ->> 'breaker', schedules[i.n],
        slots[i.n],
      i.job ->> 'concurrency_key', coalesce(enqueuer, nullif(principals[i.n], 0))
    from input i where not i.duplicate
  ), ready as (
    insert into weir.job_ready (queue_id, priority, seq)
    select queue_ids[i.q], i.priority, i.id from input i where i.place = 'available'
  ), later as (
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
    select i.id, i.run_at, queue_ids[i.q], i.priority, 0 from input i where i.place = 'scheduled'
  ), held as (  -- those in lines in the order of their ids; see line.sql
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
    select i.id, queue_ids[i.q], i.priority, 0, i.place,
      case when i.place = 'line' then weir.line_name(line_bys[i.q], i.job ->> 'tenant',
        i.job ->> 'concurrency_key') end,
      case when i.place = 'line' then i.id end
    from input i where i.place in ('line', 'dependency')
    returning job_held.queue_id, job_held.key, job_held.priority, job_held.seq, job_held.reason
  ), lines as (
    select h.queue_id, h.key, h.priority, min(h.seq) - 1 as floor, count(*)::int as n
    from held h where h.reason = 'line' group by h.queue_id, h.key, h.priority
  ), note as (  -- for the admitter, one row a queue
    insert into weir.admission_inbox (queue_id, arrived, priorities, floors, counts)
    select l.queue_id, array_agg(l.key), array_agg(l.priority), array_agg(l.floor), array_agg(l.n) from lines l
      group by l.queue_id
  )
  select case when i.duplicate then owners[i.n] else i.id end, i.duplicate, i.priority, i.max_attempts,
    i.timeout_seconds,
    case when i.run_at > now_at then i.run_at end, now_at, case when i.place in ('line', 'dependency') then 'held'
      else i.place end
  from input i order by i.n;
end $$;
comment on function weir.store_jobs(jsonb, weir.queue_settings, boolean, boolean, boolean, bigint, text[],
  timestamptz[], int[]) is
  'Internal. Stores jobs that weir.enqueue_batch has checked, and returns its rows.';
