-- Workers: what is known of each, how many jobs it may hold at once, and whether its claims get any. Registering is
-- optional.
--
-- There are two tables, so that decisions never wait for workers: registration and people write weir.worker; claims
-- and heartbeats write weir.worker_seen, perhaps in an application's long transaction. A claim reads only
-- weir.worker, which changes so seldom that reading it stays fast however long the xmin horizon is held back.
--
-- Capacity: the leases of a worker with a capacity are flagged (job_lease.counted) and so have an index of their own.
-- A claim locks the worker's row in weir.worker_turn, skip locked, before it counts them and keeps the lock until its
-- transaction ends, so one of two concurrent claims gets nothing.

create or replace function weir.refuse_worker(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR015', message = format('there is no worker %L', refuse_worker.name),
    hint = 'A worker appears at its first claim or registration. Removed workers and those not seen for a week '
      'are gone.';
end $$;
comment on function weir.refuse_worker(text) is 'Internal. Raises WR015 worker_not_found.';

create or replace function weir.sign_worker(name text, seen_at timestamptz) returns void language plpgsql
set lock_timeout = '1ms' as $$
begin
  if (select count(*) from weir.worker_seen) >= weir.database_setting('max_workers', 10000) then
    return;
  end if;
  insert into weir.worker_seen (name, first_seen_at, last_seen_at) values (sign_worker.name, seen_at, seen_at)
    on conflict on constraint worker_seen_pkey do nothing;
exception when lock_not_available then
  null;  -- another transaction inserts the same
end $$;
comment on function weir.sign_worker(text, timestamptz) is
  'Internal. Adds a worker that is new, unless another transaction is just adding it, or there are as many as the '
  'setting weir.max_workers of the database allows: then it works without a record.';

-- Locks: worker_seen rows, skip locked. So it waits for no other transaction longer than a millisecond for each name.
create or replace function weir.touch_workers(names text[], seconds_ago float8[] default null) returns void
language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  now_at timestamptz := clock_timestamp();
  known text[];
  stale boolean;
  unknown text;
begin
  select array_agg(s.name), bool_or(s.last_seen_at < now_at - interval '5 s') into known, stale
    from weir.worker_seen s where s.name = any (names);
  -- In stricter isolation levels a row that another session has just written would be an error, only for a last-seen
  -- time.
  if not stale and names <@ known or current_setting('transaction_isolation') not in ('read committed',
    'read uncommitted') then
    return;
  end if;
  if stale then
    with free as materialized (
      select s.name from weir.worker_seen s where s.name = any (names)
        and s.last_seen_at < now_at - interval '5 s' for no key update skip locked
    )
    update weir.worker_seen s set
      last_seen_at = greatest(s.last_seen_at, now_at - make_interval(secs => coalesce(u.ago, 0))),
      capped_at = w.capped_at,
      counted_from = case when w.capped_at is not null then weir.first_counted_lease(s.name, case
        when s.capped_at = w.capped_at then s.counted_from end) end
    from unnest(names, seconds_ago) u(name, ago) left join weir.worker w on w.name = u.name
    where s.name = u.name and s.name in (select f.name from free f);
  end if;
  for unknown, now_at in
    select u.name, now_at - make_interval(secs => coalesce(u.ago, 0)) from unnest(names, seconds_ago) u(name, ago)
      where u.name <> all (coalesce(known, '{}')) loop
    perform weir.sign_worker(unknown, now_at);
  end loop;
end $$;
comment on function weir.touch_workers(text[], float8[]) is
  'Records that these workers were seen seconds_ago (null: now), and adds those that are new. Writes at most every 5 '
  'seconds for each, and skips rows that are locked. The service calls it for all that claim through it; weir.claim '
  'calls it too. Names must be distinct.';

-- A worker that only claims has no owner, and callers who are bound to something do not see it.
create or replace function weir.require_worker(name text, bounds jsonb) returns void language plpgsql as $$
begin
  if not exists (select from weir.worker w where w.name = require_worker.name
      and weir.reaches(bounds, w.tenant, w.queues))
    and (bounds is not null or not exists (select from weir.worker_seen s where s.name = require_worker.name)) then
    perform weir.refuse_worker(require_worker.name);
  end if;
end $$;
comment on function weir.require_worker(text, jsonb) is
  'Internal. Raises WR015 unless the worker has registered, has claimed, or has been paused or drained, and is within '
  'the bounds of the caller.';

create or replace function weir.refuse_new_worker(name text) returns void language plpgsql as $$
declare
  most int := weir.database_setting('max_workers', 10000);
begin
  if (select count(*) from (select from weir.worker w limit most) x) >= most then
    raise exception using errcode = 'WR016', column = 'name',
      message = format('worker %L would be one of more than %s', refuse_new_worker.name, most),
      hint = 'Remove workers that are gone, or raise the database''s setting weir.max_workers. Nothing was changed.';
  end if;
end $$;
comment on function weir.refuse_new_worker(text) is
  'Internal. Raises WR016 too_many_names where there are as many workers as there may be.';

-- Locks: the worker's row; and, where it gets a capacity that had none, the job_lease rows that it has, skip locked.
create or replace function weir.set_worker(name text, settings jsonb, replace boolean, caller jsonb default null)
returns void language plpgsql as $$
#variable_conflict use_variable
declare
  old weir.worker;
  unknown text;
  problem text;
  now_capped boolean;
begin
  if set_worker.name is null or length(set_worker.name) not between 1 and 200 or set_worker.name in ('.', '..') then
    perform weir.refuse_argument('name', 'must have 1 to 200 characters, and not be . or ..');
  end if;
  if jsonb_typeof(settings) is distinct from 'object' then
    perform weir.refuse_argument('settings', 'must be a JSON object');
  end if;
  select k into unknown from jsonb_object_keys(settings) k where k not in ('hostname', 'capacity', 'queues',
    'version', 'labels') limit 1;
  if unknown is not null then
    perform weir.refuse_argument(unknown, 'is not a setting of a worker',
      'The settings are hostname, capacity, queues, version and labels.');
  end if;
  select r.field, r.problem into unknown, problem from (values
      ('hostname', case when coalesce(jsonb_typeof(settings -> 'hostname'), 'null') not in ('string', 'null')
        or length(settings ->> 'hostname') > 255 then 'must be a text of at most 255 characters' end),
      ('version', case when coalesce(jsonb_typeof(settings -> 'version'), 'null') not in ('string', 'null')
        or length(settings ->> 'version') > 200 then 'must be a text of at most 200 characters' end),
      ('capacity', weir.integer_problem(settings -> 'capacity', 0, 10000)),
      ('queues', case
        when coalesce(jsonb_typeof(settings -> 'queues'), 'null') = 'null' then null
        when jsonb_typeof(settings -> 'queues') <> 'array' or jsonb_array_length(settings -> 'queues') > 100
          or exists (select from jsonb_array_elements(settings -> 'queues') q where jsonb_typeof(q) <> 'string'
            or not weir.is_queue_name(q #>> '{}'))
        then 'must be at most 100 names of queues' end),
      ('labels', case
        when coalesce(jsonb_typeof(settings -> 'labels'), 'null') = 'null' then null
        when jsonb_typeof(settings -> 'labels') <> 'object' or octet_length((settings -> 'labels')::text) > 8192
          or exists (select from jsonb_each(settings -> 'labels') l where jsonb_typeof(l.value) <> 'string')
        then 'must be an object of texts, at most 8 KiB' end)) r(field, problem) where r.problem is not null limit 1;
  if problem is not null then
    perform weir.refuse_argument(unknown, problem);
  end if;
  if not exists (select from weir.worker w where w.name = set_worker.name) then
    perform weir.refuse_new_worker(set_worker.name);
  end if;
  insert into weir.worker (name) values (set_worker.name) on conflict do nothing;
  select x.* into old from weir.worker x where x.name = set_worker.name for no key update;
  if not weir.is_own_worker(old, caller) then
    raise exception using errcode = 'WR024', message = format('worker %L is another''s', set_worker.name),
      hint = 'Take another name: those of workers are not apart by tenant.';
  end if;
  update weir.worker w set
    hostname = case when settings ? 'hostname' or replace then settings ->> 'hostname' else w.hostname end,
    version = case when settings ? 'version' or replace then settings ->> 'version' else w.version end,
    queues = case when jsonb_typeof(settings -> 'queues') = 'array'
      then array(select jsonb_array_elements_text(settings -> 'queues'))
                  when settings ? 'queues' or replace then '{}' else w.queues end,
    labels = case when jsonb_typeof(settings -> 'labels') = 'object' then settings -> 'labels' when
      settings ? 'labels' or replace then '{}' else w.labels end,
    capacity = case when jsonb_typeof(settings -> 'capacity') = 'number'
      then nullif((settings ->> 'capacity')::numeric::int, 0)
                    when settings ? 'capacity' or replace then 10 else w.capacity end
  where w.name = set_worker.name;
  if caller is not null and not weir.is_owned(old) then
    update weir.worker x set tenant = caller ->> 'tenant',
      principal = case when (caller ->> 'worker')::boolean then (caller ->> 'principal')::int end,
      login = case when (caller ->> 'worker')::boolean then (caller ->> 'login')::oid end
    where x.name = set_worker.name;
  end if;
  update weir.worker w set capped_at = case when w.capacity is not null then clock_timestamp() end
  where w.name = set_worker.name and (w.capacity is null) <> (w.capped_at is null)
    returning w.capped_at is not null into now_capped;
  insert into weir.worker_turn (name) select w.name from weir.worker w where w.name = set_worker.name
    and w.capacity is not null on conflict do nothing;
  if now_capped then
    update weir.job_lease l set counted = true
    where l.job_id = any (array(select x.job_id from weir.job_lease x where x.worker = set_worker.name
      and x.counted is not true for no key update skip locked));
  end if;
  perform pg_notify('weir_worker', set_worker.name);
end $$;
comment on function weir.set_worker(text, jsonb, boolean, jsonb) is
  'Internal. The common part of register_worker and edit_worker. Errors: WR010, WR016, WR024.';

create or replace function weir.register_worker_as(name text, settings jsonb, caller jsonb) returns void
language plpgsql as $$
declare
  w weir.worker;
begin
  perform weir.set_worker(register_worker_as.name, settings, true, caller);
  select x.* into w from weir.worker x where x.name = register_worker_as.name;
  perform weir.refuse_queues_beyond(caller, w.queues);
  if not (caller ->> 'worker')::boolean and not weir.reaches(caller, w.tenant, w.queues) then
    perform weir.refuse_argument('queues', 'must name queues that the caller may use');
  end if;
  update weir.worker x set registered_at = clock_timestamp() where x.name = w.name and x.registered_at is null;
  perform weir.touch_workers(array[w.name]);
end $$;
comment on function weir.register_worker_as(text, jsonb, jsonb) is
  'Internal. weir.register_worker for a caller; see weir.is_own_worker. Errors: WR010, WR011, WR016, WR024.';

create or replace function weir.register_worker(name text, settings jsonb default '{}') returns void
language plpgsql as $$
begin
  perform weir.register_worker_as(register_worker.name, settings, weir.worker_login());
end $$;
comment on function weir.register_worker(text, jsonb) is
  'Registers a worker: {hostname, capacity, queues, version, labels}. capacity is how many jobs it may hold at once '
  '(default 10; 0: no limit). Settings that are left out are reset; a pause or drain stays. The record belongs '
  'to the login, and is not for others to write but operators. Errors: WR010, WR011, WR016, WR024.';

-- What it says of itself is not in the audit trail; what others decide about it is.
create or replace function weir.worker_settings(name text) returns jsonb language sql stable as $$
  select jsonb_build_object('hostname', w.hostname, 'version', w.version, 'queues', w.queues, 'labels', w.labels,
    'capacity', w.capacity, 'paused_at', w.paused_at, 'draining_at', w.draining_at)
  from weir.worker w where w.name = worker_settings.name
$$;
comment on function weir.worker_settings(text) is
  'Internal. The settings of a worker for the audit trail; null: none were made.';

create or replace function weir.record_worker_change(operation text, name text, was jsonb) returns void
language plpgsql as $$
declare
  became jsonb := weir.worker_settings(record_worker_change.name);
  names text[] := array(select k from jsonb_object_keys(coalesce(became, was)) k
    where was -> k is distinct from became -> k);
begin
  if was is distinct from became then
    perform weir.record_change(operation, 'workers/' || record_worker_change.name, weir.audited_settings(was, names),
      weir.audited_settings(became, names));
  end if;
end $$;
comment on function weir.record_worker_change(text, text, jsonb) is
  'Internal. Writes down in the audit trail what has changed since weir.worker_settings was `was`.';

create or replace function weir.edit_worker(name text, changes jsonb) returns void language plpgsql as $$
declare
  was jsonb := weir.worker_settings(edit_worker.name);
  bounds jsonb := weir.caller_bounds();
begin
  perform weir.require_worker(edit_worker.name, bounds);
  perform weir.set_worker(edit_worker.name, changes, false);
  perform weir.refuse_queues_beyond(bounds, w.queues) from weir.worker w where w.name = edit_worker.name;
  perform weir.record_worker_change('editWorker', edit_worker.name, was);
end $$;
comment on function weir.edit_worker(text, jsonb) is
  'Changes the given settings of a worker, any of {hostname, capacity, queues, version, labels}; see '
  'register_worker. Errors: WR010, WR011, WR015.';

-- Locks: the worker_seen row, skip locked.
create or replace function weir.worker_heartbeat_as(name text, load float8, caller jsonb, out state text,
  out capacity int, out registered boolean) language plpgsql as $$
#variable_conflict use_variable
declare
  w weir.worker;
begin
  if load < 0 or load > 1000000 or load = 'NaN' then
    perform weir.refuse_argument('load', 'must be from 0 to 1000000');
  end if;
  perform weir.require_worker(worker_heartbeat_as.name, null);
  select x.* into w from weir.worker x where x.name = worker_heartbeat_as.name;
  if not weir.is_own_worker(w, caller) or w.tenant is distinct from coalesce(caller ->> 'tenant', w.tenant) then
    perform weir.refuse_worker(worker_heartbeat_as.name);
  end if;
  perform weir.touch_workers(array[worker_heartbeat_as.name]);
  update weir.worker_seen s set last_seen_at = clock_timestamp(), load = coalesce(worker_heartbeat_as.load, s.load)
  where s.name = any (array(select x.name from weir.worker_seen x
    where x.name = worker_heartbeat_as.name for no key update skip locked));
  state := case when w.draining_at is not null then 'draining' when w.paused_at is not null then 'paused'
    else 'active' end;
  capacity := w.capacity;
  registered := w.registered_at is not null;
end $$;
comment on function weir.worker_heartbeat_as(text, float8, jsonb) is
  'Internal. weir.worker_heartbeat for a caller; see weir.is_own_worker. Errors: WR010, WR015.';

create or replace function weir.worker_heartbeat(name text, load float8 default null, out state text,
  out capacity int, out registered boolean) language plpgsql as $$
begin
  select h.* into state, capacity, registered
  from weir.worker_heartbeat_as(worker_heartbeat.name, load, weir.worker_login()) h;
end $$;
comment on function weir.worker_heartbeat(text, float8) is
  'Extends the time that a worker counts as alive. load: any number from 0 to 1000000 (null: unchanged). Returns its '
  'state (active, paused or draining), its capacity (null: no limit), and whether it is registered: a worker that '
  'was removed is not, and may register again. Errors: WR010, WR015.';

create or replace function weir.pause_worker(name text) returns void language plpgsql as $$
declare
  was jsonb := weir.worker_settings(pause_worker.name);
begin
  perform weir.require_worker(pause_worker.name, weir.caller_bounds());
  insert into weir.worker as w (name, paused_at) values (pause_worker.name, clock_timestamp())
  on conflict on constraint worker_pkey do update set paused_at = coalesce(w.paused_at, excluded.paused_at);
  perform weir.record_worker_change('pauseWorker', pause_worker.name, was);
end $$;
comment on function weir.pause_worker(text) is
  'From now on, claims by this worker get nothing. It keeps the jobs that it holds. Errors: WR015.';

create or replace function weir.drain_worker(name text) returns void language plpgsql as $$
declare
  was jsonb := weir.worker_settings(drain_worker.name);
begin
  perform weir.require_worker(drain_worker.name, weir.caller_bounds());
  insert into weir.worker as w (name, draining_at) values (drain_worker.name, clock_timestamp())
  on conflict on constraint worker_pkey do update set draining_at = coalesce(w.draining_at, excluded.draining_at);
  perform weir.record_worker_change('drainWorker', drain_worker.name, was);
end $$;
comment on function weir.drain_worker(text) is
  'From now on, claims by this worker get nothing: it should finish its jobs and exit. It is done when weir.workers '
  'shows running 0. Errors: WR015.';

create or replace function weir.resume_worker(name text) returns void language plpgsql as $$
declare
  was jsonb := weir.worker_settings(resume_worker.name);
begin
  perform weir.require_worker(resume_worker.name, weir.caller_bounds());
  update weir.worker w set paused_at = null, draining_at = null where w.name = resume_worker.name;
  perform weir.record_worker_change('resumeWorker', resume_worker.name, was);
  perform pg_notify('weir_worker', resume_worker.name);
end $$;
comment on function weir.resume_worker(text) is 'Ends a pause and a drain. Errors: WR015.';

-- Locks: the job_lease rows that it has, in the order of their ids, skip locked: a job that is
-- being completed is left alone.
create or replace function weir.remove_worker(name text) returns int language plpgsql set jit = off as $$
declare
  ids bigint[];
  tokens bigint[];
  moved int := 0;
  was jsonb := weir.worker_settings(remove_worker.name);
begin
  perform weir.require_worker(remove_worker.name, weir.caller_bounds());
  delete from weir.worker w where w.name = remove_worker.name;
  delete from weir.worker_seen s where s.name = any (array(select x.name from weir.worker_seen x
    where x.name = remove_worker.name for update skip locked));
  delete from weir.worker_turn t where t.name = any (array(select x.name from weir.worker_turn x
    where x.name = remove_worker.name for update skip locked));  -- sweep_workers removes one that is locked
  select array_agg(l.job_id), array_agg(l.token) into ids, tokens
  from (select x.job_id, x.token from weir.job_lease x where x.worker = remove_worker.name
    order by x.job_id for update skip locked) l;
  if ids is not null then
    select count(*) into moved from weir.put_back(ids, tokens, array_fill(null::interval, array[cardinality(ids)]),
      'released', '{"reason": "worker_removed"}');
  end if;
  perform weir.record_change('removeWorker', 'workers/' || remove_worker.name, jsonb_strip_nulls(was));
  perform pg_notify('weir_worker', remove_worker.name);
  return moved;
end $$;
comment on function weir.remove_worker(text) is
  'Removes a worker and releases its jobs at once: they are available, no attempt is used up, and its tokens are '
  'stale. A job that a transaction is just completing is left to that transaction. Returns the number of jobs. If '
  'the worker claims again, it is added again. Errors: WR015.';

create or replace function weir.sweep_workers(silent_for interval default '7 days') returns int language plpgsql
  set jit = off as $$
declare
  gone text[] := array(select v.name from weir.workers v where v.last_seen_at < clock_timestamp() - silent_for
    and v.running = 0 and v.paused_at is null);
begin
  delete from weir.worker w where w.name = any (gone);
  delete from weir.worker_seen s where s.name = any (gone);
  delete from weir.worker_turn t where t.name = any (array(select x.name from weir.worker_turn x
    where not exists (select from weir.worker w where w.name = x.name) for update skip locked));
  return cardinality(gone);
end $$;
comment on function weir.sweep_workers(interval) is
  'Removes workers without jobs that have not been seen for silent_for; paused ones stay. Returns how many. The '
  'service calls it every ten minutes.';
