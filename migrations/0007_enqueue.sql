-- Enqueueing. It only inserts (but for a unique key that it takes over), so an application may call it inside a transaction as long
-- as it likes: no claim and no completion ever waits for it.
--
-- +goose Up
-- +goose StatementBegin
create function weir.first_key(object jsonb) returns text language sql immutable as $$
  select k from jsonb_object_keys(object) k limit 1
$$;

create function weir.json_size(value jsonb) returns int language plpgsql immutable as $$
declare
  printed text := value::text;
begin
  if octet_length(printed) not between 1048577 and 2097152 then
    return octet_length(printed);  -- near enough: only about 1 MiB does it matter
  end if;
  -- PostgreSQL prints a space after each comma and colon; those that are not in strings do not count.
  return octet_length(printed) - x.spaces from (select length(s) - length(replace(s, ' ', '')) as spaces
    from regexp_replace(printed, '"([^"\\]|\\.)*"', '', 'g') s) x;
end $$;

create function weir.time_problem(value jsonb) returns text language plpgsql immutable as $$
begin
  if jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)$' then
    perform (value #>> '{}')::timestamptz;
    return null;
  end if;
  return 'must be a time with its zone, as in 2026-01-31T09:30:00Z';
exception when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
  return 'must be a time that exists, as in 2026-01-31T09:30:00Z';
end $$;

create function weir.tags_are_good(tags jsonb) returns boolean language sql immutable as $$
  select case when jsonb_typeof(tags) = 'array' then jsonb_array_length(tags) <= 50
    and not exists (select from jsonb_array_elements(tags) t where jsonb_typeof(t) <> 'string' or length(t #>> '{}') not between 1 and 200)
  else false end
$$;

create function weir.unique_problem(uniq jsonb) returns text[] language sql immutable as $$
  select case
    when uniq is null or jsonb_typeof(uniq) = 'null' then null
    when jsonb_typeof(uniq) <> 'object' then array['unique', 'must be an object {key, scope, ttl_seconds}']
    when uniq - '{key,scope,ttl_seconds}'::text[] <> '{}' then array['unique', 'knows only key, scope and ttl_seconds']
    when jsonb_typeof(uniq -> 'key') is distinct from 'string' or length(uniq ->> 'key') not between 1 and 500
      then array['unique.key', 'must be a string of 1 to 500 characters']
    when coalesce(uniq ->> 'scope', 'active') not in ('active', 'ttl') then array['unique.scope', 'must be active or ttl']
    when weir.number_problem(uniq -> 'ttl_seconds', 1, 31536000) is not null
      then array['unique.ttl_seconds', weir.number_problem(uniq -> 'ttl_seconds', 1, 31536000)]
    when (coalesce(uniq ->> 'scope', 'active') = 'ttl') <> (uniq ->> 'ttl_seconds' is not null) then array['unique.ttl_seconds', 'goes with scope ttl, and scope ttl with it']
  end
$$;

create function weir.parent_problem(parent jsonb) returns text language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  given text := parent #>> '{}';
begin
  if jsonb_typeof(parent) not in ('string', 'number') or given !~ '^[0-9]{1,30}$' then
    return 'must be the id of a job';
  elsif given::numeric > 9223372036854775807 then
    return 'names no job';
  end if;
  return case when not exists (select from weir.job j where j.id = given::bigint) then 'names no job' end;
end $$;

-- A character that is no good in a name of a line is no good here: see 0028_limit.sql.
create function weir.label_problem(value jsonb) returns text language sql immutable as $$
  select case when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'string' or length(value #>> '{}') not between 1 and 200 then 'must be a string of 1 to 200 characters'
    when value #>> '{}' ~ '[\x01-\x1f]' then 'must not contain control characters' end
$$;

create function weir.job_problem(job jsonb) returns text[] language plpgsql stable as $$
declare
  rest jsonb;
begin
  if jsonb_typeof(job) <> 'object' then
    return array['', 'must be an object with at least a kind'];
  elsif jsonb_typeof(job -> 'kind') is distinct from 'string' or length(job ->> 'kind') not between 1 and 200 then
    return array['kind', 'must be a string of 1 to 200 characters'];
  elsif job ->> 'queue' is not null and (jsonb_typeof(job -> 'queue') <> 'string' or job ->> 'queue' !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$') then
    return array['queue', 'must be 1 to 128 letters, digits or _ . : -'];
  elsif pg_column_size(job -> 'args') > 65536 and weir.json_size(job -> 'args') > 1048576 then  -- a byte of text takes up to 16 in jsonb
    return array['args', 'must be at most 1 MiB'];
  end if;
  rest := job - '{kind,args,queue}'::text[];
  if rest = '{}' then
    return null;  -- most jobs say no more
  elsif rest - '{idempotency_key,priority,run_at,delay_seconds,max_attempts,timeout_seconds,retry,unique,tenant,concurrency_key,tags,metadata,parent_id,result_ttl_seconds,breaker}'::text[] <> '{}' then
    return array[weir.first_key(rest - '{idempotency_key,priority,run_at,delay_seconds,max_attempts,timeout_seconds,retry,unique,tenant,concurrency_key,tags,metadata,parent_id,result_ttl_seconds,breaker}'::text[]),
      'is no field of a job'];
  end if;
  return (
    select array[field, problem] from (values
      ('priority', weir.integer_problem(rest -> 'priority', 1, 10)),
      ('max_attempts', weir.integer_problem(rest -> 'max_attempts', 1, 100)),
      ('timeout_seconds', weir.integer_problem(rest -> 'timeout_seconds', 1, 604800)),
      ('delay_seconds', weir.number_problem(rest -> 'delay_seconds', 0, 315360000)),
      ('run_at', case when rest ->> 'run_at' is not null then weir.time_problem(rest -> 'run_at') end),
      ('run_at', case when rest ->> 'run_at' is not null and rest ->> 'delay_seconds' is not null then 'and delay_seconds exclude each other' end),
      ('retry', case when rest ->> 'retry' is not null then weir.retry_problem(rest -> 'retry') end),
      ((weir.unique_problem(rest -> 'unique'))[1], (weir.unique_problem(rest -> 'unique'))[2]),
      ('idempotency_key', case when rest ->> 'idempotency_key' is not null
        and (jsonb_typeof(rest -> 'idempotency_key') <> 'string' or length(rest ->> 'idempotency_key') not between 1 and 255)
        then 'must be a string of 1 to 255 characters' end),
      ('tenant', weir.label_problem(rest -> 'tenant')),
      ('concurrency_key', weir.label_problem(rest -> 'concurrency_key')),
      ('tags', case when rest ->> 'tags' is not null and not weir.tags_are_good(rest -> 'tags') then 'must be an array of at most 50 strings of 1 to 200 characters' end),
      ('metadata', case when rest ->> 'metadata' is not null and (jsonb_typeof(rest -> 'metadata') <> 'object' or octet_length((rest -> 'metadata')::text) > 65536)
        then 'must be an object of at most 64 KiB' end),
      ('breaker', case when rest ->> 'breaker' is not null and (jsonb_typeof(rest -> 'breaker') <> 'string' or rest ->> 'breaker' !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$')
        then 'must be 1 to 128 letters, digits or _ . : -' end),
      ('result_ttl_seconds', weir.integer_problem(rest -> 'result_ttl_seconds', 1, 31536000)),
      ('parent_id', case when rest ->> 'parent_id' is not null then weir.parent_problem(rest -> 'parent_id') end)
    ) p(field, problem) where problem is not null limit 1);
end $$;

-- Gives `key` to `candidate`, one of the jobs that are just being enqueued, or tells who has it. Waits for another transaction that is taking the same key.
create function weir.take_unique_key(uniq jsonb, candidate bigint, batch bigint[]) returns bigint language plpgsql set jit = off set enable_seqscan = off as $$
declare
  taken weir.job_unique;
  new_until timestamptz := case when uniq ->> 'scope' = 'ttl' then clock_timestamp() + make_interval(secs => (uniq ->> 'ttl_seconds')::float8) end;
begin
  loop
    insert into weir.job_unique (key, job_id, until) values (uniq ->> 'key', candidate, new_until) on conflict do nothing;
    if found then return candidate; end if;
    select * into taken from weir.job_unique u where u.key = uniq ->> 'key';
    continue when not found;
    if taken.until > clock_timestamp()
       or taken.until is null and not exists (select from weir.job_outcome o where o.job_id = taken.job_id)
          and (taken.job_id = any (batch) or exists (select from weir.job j where j.id = taken.job_id)) then
      return taken.job_id;
    end if;
    update weir.job_unique u set job_id = candidate, until = new_until where u.key = taken.key and u.job_id = taken.job_id;
    if found then return candidate; end if;
  end loop;
end $$;

-- The same for an idempotency key, which is known for a day whatever becomes of the job, and refuses another request than the first.
create function weir.take_idempotency_key(job jsonb, candidate bigint) returns bigint language plpgsql set jit = off set enable_seqscan = off as $$
declare
  mark text := md5((job - 'idempotency_key')::text);
  taken weir.job_idempotency;
begin
  loop
    insert into weir.job_idempotency as i (key, job_id, fingerprint, until)
    values (job ->> 'idempotency_key', candidate, mark, clock_timestamp() + interval '1 day')
    on conflict on constraint job_idempotency_pkey do update set job_id = candidate, fingerprint = mark, until = excluded.until
      where i.until <= clock_timestamp();
    if found then return candidate; end if;
    select * into taken from weir.job_idempotency i where i.key = job ->> 'idempotency_key';
    continue when not found;
    if taken.fingerprint <> mark then
      raise exception using errcode = 'WR006', message = 'the idempotency key was used for another request',
        hint = 'Send the same request again, or use a new key. Keys are known for 24 hours.';
    end if;
    return taken.job_id;
  end loop;
end $$;

-- Refuses where the queue would be fuller than it may be. Counts what is committed, and what this transaction enqueued.
create function weir.refuse_full(queue weir.queue, more int) returns void language plpgsql
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

create function weir.refuse_bad_jobs(jobs jsonb) returns void language plpgsql as $$
declare
  bad record;
begin
  select e.n, weir.job_problem(e.job) as problem into bad
  from jsonb_array_elements(jobs) with ordinality e(job, n) where weir.job_problem(e.job) is not null limit 1;
  if found then
    perform weir.refuse_argument(rtrim(format('jobs[%s].%s', bad.n - 1, bad.problem[1]), '.'), bad.problem[2]);
  end if;
end $$;

-- Locks: weir.queue rows that are new; job_unique rows of the keys named, in the order of the keys.
-- With a workflow_id it is called by store_steps, which has checked the jobs: they carry their name (step), and whether they are to be held.
create function weir.enqueue_batch(jobs jsonb, workflow_id bigint default null, schedules text[] default null, slots timestamptz[] default null) returns table (job_id bigint, duplicate boolean, priority smallint, max_attempts smallint, timeout_seconds int,
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
      ), lines as (  -- see 0028_limit.sql
        insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
        select f.id, f.queue_id, f.priority, 0, 'line', weir.line_name(line_bys[array_position(queue_ids, f.queue_id)], f.tenant, f.concurrency_key), f.id from facts f
        returning job_held.queue_id, job_held.key, job_held.priority, job_held.seq
      ), news as (
        insert into weir.line_news (queue_id, came, priorities, floors, counts)
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
  ), lines as (  -- of queues with limits: see 0028_limit.sql
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq)
    select i.id, queue_ids[i.q], i.priority, 0, 'line', weir.line_name(line_bys[i.q], i.job ->> 'tenant', i.job ->> 'concurrency_key'), i.id
    from input i where governed and line_bys[i.q] is not null and not i.duplicate and not i.held and (i.run_at is null or i.run_at <= now_at)
    returning job_held.queue_id, job_held.key, job_held.priority, job_held.seq
  ), news as (
    insert into weir.line_news (queue_id, came, priorities, floors, counts)
    select l.queue_id, array_agg(l.key), array_agg(l.priority), array_agg(l.floor), array_agg(l.n)
    from (select x.queue_id, x.key, x.priority, min(x.seq) - 1 as floor, count(*)::int as n from lines x where governed group by x.queue_id, x.key, x.priority) l group by l.queue_id
  )
  select case when i.duplicate then owners[i.n] else i.id end, i.duplicate, i.priority, i.max_attempts, i.timeout_seconds,
    case when i.run_at > now_at then i.run_at end, now_at
  from input i order by i.n;
  perform weir.wake(names);
end $$;

create function weir.enqueue_many(jobs jsonb) returns setof bigint language sql as $$
  select job_id from weir.enqueue_batch(jobs)
$$;

create function weir.enqueue(kind text, args jsonb default '{}', queue text default 'default', priority int default null, run_at timestamptz default null,
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
-- +goose StatementEnd
comment on function weir.first_key(jsonb) is 'Internal. One key of a JSON object.';
comment on function weir.json_size(jsonb) is 'Internal. Bytes of a JSON value written without white space; exact about 1 MiB.';
comment on function weir.time_problem(jsonb) is 'Internal. What is wrong with a JSON value that should be a time with its zone (RFC 3339), or null.';
comment on function weir.tags_are_good(jsonb) is 'Internal. Whether it is an array of at most 50 strings of 1 to 200 characters.';
comment on function weir.parent_problem(jsonb) is 'Internal. What is wrong with a JSON value that should be the id of a job that is there, or null.';
comment on function weir.label_problem(jsonb) is 'Internal. What is wrong with a JSON value that should be absent or a tenant or key, or null.';
comment on function weir.job_problem(jsonb) is 'Internal. What is wrong with a job that somebody wants to enqueue: its field and why, or null.';
comment on function weir.refuse_bad_jobs(jsonb) is 'Internal. Raises WR010 for the first job that cannot be enqueued, and says which field of it is bad.';
comment on function weir.unique_problem(jsonb) is 'Internal. What is wrong with a job''s unique object: its field and why, or null.';
comment on function weir.take_unique_key(jsonb, bigint, bigint[]) is 'Internal. Gives a unique key to a new job, or returns the job that has it.';
comment on function weir.take_idempotency_key(jsonb, bigint) is 'Internal. Gives an idempotency key to a new job, or returns the job that it made. Raises WR006 idempotency_mismatch.';
comment on function weir.refuse_full(weir.queue, int) is 'Internal. Raises WR013 queue_full if so many more jobs would make more than max_depth available ones, or in lines.';
comment on function weir.enqueue_batch(jsonb, bigint, text[], timestamptz[]) is
  'Enqueues an array of jobs, all or none, in order: {kind, args, queue, priority, run_at or delay_seconds, max_attempts, timeout_seconds, retry, '
  'unique, idempotency_key, tenant, concurrency_key, tags, metadata, parent_id, result_ttl_seconds, breaker}; only kind is required. Returns a row a job in the same order with what was not said filled in; duplicate: its unique or idempotency key is taken, and the job that has it is named. workflow_id, schedules and slots are for weir''s own use. Errors: WR006, WR010, WR013.';
comment on function weir.enqueue_many(jsonb) is 'Enqueues an array of up to 10,000 jobs, all or none, and returns their ids in the same order. Takes what weir.enqueue_batch takes. Errors: WR006, WR010, WR013.';
comment on function weir.enqueue(text, jsonb, text, int, timestamptz, int, text, jsonb) is
  'Enqueues one job inside the caller''s transaction and returns its id (with a unique_key that a job not yet ended has: that job''s id). '
  'Priority 1 to 10, 10 first. options takes the other fields of weir.enqueue_batch: delay_seconds, timeout_seconds, retry, unique, idempotency_key, tenant, concurrency_key, tags, metadata, parent_id, result_ttl_seconds, breaker. Errors: WR006, WR010, WR013.';

-- +goose Down
drop function weir.enqueue(text, jsonb, text, int, timestamptz, int, text, jsonb), weir.enqueue_many(jsonb), weir.enqueue_batch(jsonb, bigint, text[], timestamptz[]),
  weir.refuse_bad_jobs(jsonb), weir.refuse_full(weir.queue, int), weir.take_idempotency_key(jsonb, bigint), weir.take_unique_key(jsonb, bigint, bigint[]), weir.job_problem(jsonb), weir.label_problem(jsonb), weir.parent_problem(jsonb), weir.unique_problem(jsonb), weir.tags_are_good(jsonb), weir.time_problem(jsonb), weir.json_size(jsonb), weir.first_key(jsonb);
