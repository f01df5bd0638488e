-- Queues: the unit of routing, and the home of defaults. The first job of a queue creates it.

-- Called by every enqueue. Takes no lock on a queue that exists. The first job of a new queue inserts its row, so a
-- second transaction that enqueues to the same new queue waits for the first to end; names go in sorted order, so
-- none deadlock.
create or replace function weir.ensure_queues(names text[], declared boolean default false, jobs jsonb default null)
returns void language plpgsql as $$
declare
  missing text[];
  most int;
begin
  if (select count(*) from weir.queue q where q.name = any (names) and q.deleted_at is null) = cardinality(names) then
    return;
  end if;
  missing := array(select n from unnest(names) n where not exists (select from weir.queue x where x.name = n
    and x.deleted_at is null) order by n);
  if not ensure_queues.declared then
    most := weir.database_setting('max_implicit_queues', 10000);
    perform weir.refuse_new_names('queue', missing, (select count(*) from (select from weir.queue q
      where not q.declared and q.deleted_at is null limit most) x), most,
      (select format('jobs[%s].queue', e.n - 1) from jsonb_array_elements(jobs) with ordinality e(job, n)
        where coalesce(e.job ->> 'queue', 'default') = any (missing) order by e.n limit 1));
  end if;
  insert into weir.queue as q (name, declared) select n, ensure_queues.declared from unnest(missing) n
  on conflict (name) do update set deleted_at = null, created_at = now(), declared = excluded.declared
    where q.deleted_at is not null;
end $$;
comment on function weir.ensure_queues(text[], boolean, jsonb) is
  'Internal. Creates those of these distinct queues that do not exist yet: by an operator (declared), or as these jobs '
  'name them. Errors: WR016.';

-- The caller has the turn set_routes, so that two sessions cannot close a cycle together.
create or replace function weir.refuse_circle(name text, target text) returns void language plpgsql as $$
declare
  way text;
begin
  with recursive onward (id, name, next_id, way) as (
    select q.id, q.name, q.dead_letter_queue_id, q.name from weir.queue q where q.name = refuse_circle.target
    union all select q.id, q.name, q.dead_letter_queue_id, o.way || ' -> ' || q.name from onward o
      join weir.queue q on q.id = o.next_id where o.name <> refuse_circle.name
  )
  select refuse_circle.name || ' -> ' || o.way into way from onward o where o.name = refuse_circle.name;
  if way is not null then
    perform weir.refuse_argument('dead_letter_queue', 'leads back to this queue: ' || way,
      'A job that dies would go round for ever.');
  end if;
end $$;
comment on function weir.refuse_circle(text, text) is
  'Internal. Raises WR010 where dead letters of the queue `name`, if they went to `target`, would come back to it.';

create or replace function weir.check_queue_settings(settings jsonb) returns void language plpgsql as $$
declare
  problem text := weir.retry_problem(settings -> 'retry');
  unknown text;
  dead_letter_queue text := nullif(settings ->> 'dead_letter_queue', '');
  breaker text := nullif(settings ->> 'breaker', '');
begin
  if jsonb_typeof(settings) is distinct from 'object' then
    perform weir.refuse_argument('settings', 'must be a JSON object');
  end if;
  select k into unknown from jsonb_object_keys(settings) k
  where k not in ('priority', 'max_attempts', 'timeout_seconds', 'lease_seconds', 'retry', 'retention_seconds',
    'dead_retention_seconds', 'dead_letter_queue', 'max_depth', 'breaker', 'limits', 'tenant', 'encrypted')
    limit 1;
  if unknown is not null then
    perform weir.refuse_argument(unknown, 'is not a setting of a queue',
      'Settings: priority, max_attempts, timeout_seconds, lease_seconds, retry, retention_seconds, '
      'dead_retention_seconds, dead_letter_queue, max_depth, breaker, limits, tenant, encrypted.');
  end if;
  if problem is not null then
    perform weir.refuse_argument('retry', problem);
  end if;
  select r.field, r.problem into unknown, problem from (values
      ('priority', weir.integer_problem(settings -> 'priority', 1, 10)),
      ('max_attempts', weir.integer_problem(settings -> 'max_attempts', 1, 100)),
      ('timeout_seconds', weir.integer_problem(settings -> 'timeout_seconds', 1, 604800)),
      ('lease_seconds', weir.integer_problem(settings -> 'lease_seconds', 1, 3600)),
      ('retention_seconds', weir.integer_problem(settings -> 'retention_seconds', 60, weir.max_seconds())),
      ('dead_retention_seconds', weir.integer_problem(settings -> 'dead_retention_seconds', 60, weir.max_seconds())),
      ('dead_letter_queue', case when jsonb_typeof(settings -> 'dead_letter_queue') not in ('string', 'null')
        or not weir.is_queue_name(dead_letter_queue)
        then 'must be the name of a queue, or empty' end),
      ('breaker', case when jsonb_typeof(settings -> 'breaker') not in ('string', 'null')
        or not weir.is_breaker_reference(breaker)
        then 'must be the name of a circuit breaker, or empty' end),
      ('encrypted', case when jsonb_typeof(settings -> 'encrypted') not in ('boolean', 'null')
        then 'must be true or false' end),
      ('tenant', case when settings ->> 'tenant' <> '' then weir.label_problem(settings -> 'tenant') end),
      ('max_depth', weir.integer_problem(settings -> 'max_depth', 0, 10000000))) r(field, problem)
        where r.problem is not null limit 1;
  if problem is not null then
    perform weir.refuse_argument(unknown, problem);
  end if;
  if weir.limits_problem(settings -> 'limits') is not null then
    perform weir.refuse_argument((weir.limits_problem(settings -> 'limits'))[1],
      (weir.limits_problem(settings -> 'limits'))[2]);
  end if;
end $$;
comment on function weir.check_queue_settings(jsonb) is 'Internal. Raises WR010 for settings that no queue can have.';

create or replace function weir.set_queue(name text, settings jsonb default '{}', replace boolean default false)
returns void language plpgsql as $$
#variable_conflict use_variable
declare
  dead_letter_queue text := nullif(settings ->> 'dead_letter_queue', '');
  tenant text := nullif(settings ->> 'tenant', '');
  tenant_before text;
  breaker text := weir.own_breaker(weir.caller_bounds() ->> 'tenant', nullif(settings ->> 'breaker', ''));
begin
  if weir.is_queue_name(set_queue.name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  end if;
  perform weir.check_queue_settings(settings);
  if settings ->> 'breaker' <> '' and breaker is null then
    perform weir.refuse_argument('breaker', 'must be the name of a circuit breaker, or empty');
  end if;
  -- First of all: a session that has the turn may wait for rows that this one has written.
  if dead_letter_queue is not null or breaker is not null or tenant is not null then
    perform weir.take_turn('set_routes');
  end if;
  perform weir.ensure_queues(array(select distinct n from unnest(array[set_queue.name, dead_letter_queue]) n
    where n is not null), declared => true);
  if dead_letter_queue is not null then
    perform weir.refuse_circle(set_queue.name, dead_letter_queue);
  end if;
  if breaker is not null then
    perform weir.ensure_breakers(array[breaker], declared => true);
  end if;
  select q.tenant into tenant_before from weir.queue q where q.name = set_queue.name;
  update weir.queue q set
    declared = true,
    priority = coalesce((settings ->> 'priority')::numeric::smallint, case when replace then 5 else q.priority end),
    max_attempts = coalesce((settings ->> 'max_attempts')::numeric::smallint, case when replace then 5
      else q.max_attempts end),
    timeout_seconds = coalesce((settings ->> 'timeout_seconds')::numeric::int, case when replace then 300
      else q.timeout_seconds end),
    lease_seconds = coalesce((settings ->> 'lease_seconds')::numeric::int, case when replace then 30
      else q.lease_seconds end),
    retention_seconds = coalesce((settings ->> 'retention_seconds')::numeric::int, case when replace then 604800
      else q.retention_seconds end),
    dead_retention_seconds = coalesce((settings ->> 'dead_retention_seconds')::numeric::int, case when replace
      then 2592000 else q.dead_retention_seconds end),
    dead_letter_queue_id = case when settings ? 'dead_letter_queue' or replace
      then (select d.id from weir.queue d where d.name = dead_letter_queue) else q.dead_letter_queue_id end,
    breaker_id = case when settings ? 'breaker' or replace then (select b.id from weir.breaker b
      where b.name = breaker) else q.breaker_id end,
    max_depth = case when settings ? 'max_depth' or replace then nullif((settings ->> 'max_depth')::numeric::int, 0)
      else q.max_depth end,
    encrypted = coalesce((settings ->> 'encrypted')::boolean, case when replace then false else q.encrypted end),
    retry = case when jsonb_typeof(settings -> 'retry') = 'object'
      then (case when replace then weir.default_retry() else q.retry end) || (settings -> 'retry')
                 when replace then weir.default_retry() else q.retry end,
    limits = case when settings ? 'limits' or replace
      then nullif(jsonb_strip_nulls(nullif(settings -> 'limits', 'null')), '{}') else q.limits end,
    tenant = case when settings ? 'tenant' or replace then tenant else q.tenant end
  where q.name = set_queue.name;
  perform weir.check_queue_tenant(set_queue.name, tenant_before);
  if settings ? 'encrypted' or replace then
    perform pg_notify('weir_queue', set_queue.name);
  end if;
  if breaker is not null then
    perform weir.refuse_reroute_cycle('breaker');
  end if;
  if settings ? 'limits' or replace then
    perform weir.recompute_limits(q.id) from weir.queue q where q.name = set_queue.name;
  end if;
end $$;
comment on function weir.set_queue(text, jsonb, boolean) is
  'Creates a queue or changes its settings: {priority, max_attempts, timeout_seconds, lease_seconds, retry, '
  'retention_seconds, dead_retention_seconds, dead_letter_queue, max_depth, breaker, limits, tenant, encrypted}. Other '
  'settings keep their values, or with replace => true get their defaults; max_depth 0 is no limit, an empty '
  'dead_letter_queue, breaker or tenant and empty limits none. Errors: WR010, WR012 (it has jobs of other tenants).';

create or replace function weir.queue_id(name text) returns int language plpgsql stable as $$
declare found_id int := (select q.id from weir.queue q where q.name = queue_id.name and q.deleted_at is null);
begin
  if found_id is null then
    perform weir.refuse_queue(queue_id.name);
  end if;
  return found_id;
end $$;
comment on function weir.queue_id(text) is 'The id of a queue. Errors: WR011.';

create or replace function weir.pause_queue(name text, reason text default null, resume_at timestamptz default null)
returns void language plpgsql as $$
#variable_conflict use_variable
declare
  now_at timestamptz := clock_timestamp();
begin
  perform weir.require_queues('operator', array[pause_queue.name]);
  if reason is not null and length(reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  elsif resume_at <= now_at or resume_at > now_at + make_interval(secs => weir.max_seconds()) then
    perform weir.refuse_argument('resume_at', 'must be in the future, by at most 10 years');
  end if;
  update weir.queue q set paused_at = case when q.resume_at <= now_at then now_at
    else coalesce(q.paused_at, now_at) end,
    pause_reason = reason, resume_at = pause_queue.resume_at
  where q.id = weir.queue_id(pause_queue.name);
end $$;
comment on function weir.pause_queue(text, text, timestamptz) is
  'From now on, until resume_at (null: until weir.resume_queue), claims take nothing from this queue; running jobs '
  'go on. Of a queue that is paused already the reason and the end are replaced. Errors: WR010, WR011.';

create or replace function weir.resume_queue(name text) returns void language plpgsql as $$
begin
  perform weir.require_queues('operator', array[resume_queue.name]);
  update weir.queue q set paused_at = null, pause_reason = null, resume_at = null
    where q.id = weir.queue_id(resume_queue.name);
  perform weir.wake(array[resume_queue.name]);
end $$;
comment on function weir.resume_queue(text) is 'Ends a pause. Errors: WR011.';

-- Claims go by the clock; this wakes the claims that wait. Locks: the rows of the queues whose pause is over.
create or replace function weir.resume_due(out resumed int, out next_at timestamptz) language plpgsql as $$
declare
  names text[];
begin
  perform weir.act_as_engine();
  with due as (
    update weir.queue q set paused_at = null, pause_reason = null, resume_at = null
      where q.resume_at <= clock_timestamp() returning q.name
  )
  select array_agg(d.name) into names from due d;
  resumed := coalesce(cardinality(names), 0);
  if resumed > 0 then
    perform weir.wake(names);
  end if;
  next_at := (select min(q.resume_at) from weir.queue q);
end $$;
comment on function weir.resume_due() is
  'Wakes claims that wait for jobs of queues whose pause is over (resume_at). Every node calls it, at resume_at or a '
  'second later. Returns how many, and when the next one is due.';

create or replace function weir.delete_queue(name text) returns void language plpgsql as $$
declare
  q int := weir.queue_id(delete_queue.name);
begin
  perform weir.require_queues('operator', array[delete_queue.name]);
  if exists (select from weir.job_ready r where r.queue_id in (select u.id from weir.queue x cross
    join unnest(array[x.id, x.admitted_id]) u(id) where x.id = q))
    or exists (select from weir.job_lease l where l.queue_id = q)
     or exists (select from weir.job_scheduled s where s.queue_id = q)
       or exists (select from weir.job_held h where h.queue_id = q) then
    raise exception using errcode = 'WR012', message = format('queue %L still has jobs', delete_queue.name),
      hint = 'Wait until they end, cancel them, or purge the queue.';
  end if;
  update weir.queue x set deleted_at = clock_timestamp(), paused_at = null, pause_reason = null, resume_at = null,
    priority = default, max_attempts = default, timeout_seconds = default, lease_seconds = default, retry = default,
    retention_seconds = default, dead_retention_seconds = default, dead_letter_queue_id = default,
    max_depth = default, breaker_id = default, limits = default, encrypted = default, declared = default
  where x.id = q;
  delete from weir.limit_override o where o.queue_id = q;
  perform weir.recompute_limits(q);
end $$;
comment on function weir.delete_queue(text) is
  'Hides a queue without jobs and restores the default settings; its next job creates it again. Errors: WR011, WR012.';
