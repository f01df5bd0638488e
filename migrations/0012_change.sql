-- What people do to jobs: cancel, run again, change.
--
-- A job may move between two looks at its places, so each function below looks in the order in which jobs move, and a few times.
--
-- +goose Up
-- Takes a waiting job out of its place. Returns where it was: scheduled, retryable, held, available; or null.
-- Locks: its one row, which is gone then.
-- +goose StatementBegin
create function weir.take_waiting(job_id bigint, out was weir.job_state, out attempt smallint, out run_at timestamptz,
  out held_at timestamptz, out held_reason text, out held_key text)
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  fact record;
  place int;
begin
  delete from weir.job_scheduled s where s.job_id = take_waiting.job_id
    returning case when s.retryable then 'retryable' else 'scheduled' end, s.attempt, s.run_at into was, attempt, run_at;
  if found then return; end if;
  delete from weir.job_held h where h.job_id = take_waiting.job_id returning 'held', h.attempt, h.held_at, h.reason, h.key into was, attempt, held_at, held_reason, held_key;
  if found then return; end if;
  delete from weir.job_ready r where r.job_id = take_waiting.job_id returning 'available', r.attempt, r.queue_id into was, attempt, place;
  if place < 0 then
    perform weir.places_left(array[take_waiting.job_id], -place);
  end if;
  if was is not null then return; end if;
  select j.queue_id, j.priority into fact from weir.job j where j.id = take_waiting.job_id;
  delete from weir.job_ready r where r.queue_id = fact.queue_id and r.priority = fact.priority and r.seq = take_waiting.job_id and r.job_id is null
    returning 'available', r.attempt into was, attempt;
end $$;

create function weir.cancel(job_id bigint) returns text language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  took_from weir.job_state;
  made smallint;
  ended weir.job_state;
  is_step boolean := (select j.workflow_id is not null from weir.job j where j.id = cancel.job_id);
  locked boolean := false;
begin
  if is_step is null then
    perform weir.refuse_stale(cancel.job_id);
  end if;
  for round in 1..case when is_step then 25 else 5 end loop
    -- Of a step that waits, the workflow is locked before its place. Of one that runs, the lease would have to come first, and the caller may have the workflow locked from
    -- an earlier call: so nobody is waited for who has the lease, because who ends the step waits for the workflow.
    if is_step and not locked and not exists (select from weir.job_lease l where l.job_id = cancel.job_id) then
      perform weir.lock_workflows_of(array[cancel.job_id]);
      locked := true;
    end if;
    if locked or not is_step then
      select t.was, t.attempt into took_from, made from weir.take_waiting(cancel.job_id) t;
    end if;
    if took_from is not null then
      insert into weir.job_outcome (job_id, queue_id, state, attempt)
      select j.id, j.queue_id, 'cancelled', made from weir.job j where j.id = cancel.job_id;
      perform weir.jobs_left(weir.followed_jobs(array[cancel.job_id]));
      return 'cancelled';
    end if;
    if is_step then
      perform from weir.job_lease l where l.job_id = cancel.job_id for update skip locked;
      if not found and exists (select from weir.job_lease l where l.job_id = cancel.job_id) then
        perform pg_sleep(0.01);
        continue;
      end if;
    end if;
    with asked as (
      update weir.job_lease l set cancel_requested_at = coalesce(l.cancel_requested_at, clock_timestamp()) where l.job_id = cancel.job_id returning l.*
    )
    insert into weir.job_event (job_id, kind, attempt, state, worker) select a.job_id, 'cancel_requested', a.attempt, 'running', a.worker from asked a;
    if found then
      return 'running';
    end if;
    select o.state into ended from weir.job_outcome o where o.job_id = cancel.job_id;
    if found then
      raise exception using errcode = 'WR003', message = format('job %s has ended: it is %s', cancel.job_id, ended), hint = 'Only a job that waits or runs can be cancelled.';
    end if;
  end loop;
  raise exception using errcode = 'serialization_failure', message = format('job %s kept moving', cancel.job_id), hint = 'Try again.';
end $$;

-- Runs jobs again that have ended. Takes the dead letter first, then the outcome: whoever comes second finds neither.
-- Locks: the job_dead rows, then the job_outcome rows, each in the order of their ids.
create function weir.run_again(job_ids bigint[], how weir.event_kind, reset_attempts boolean, by text default null) returns setof bigint
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  letters bigint[];
  lowest bigint;
  highest bigint;
  done record;
begin
  with gone as (delete from weir.job_dead d where d.job_id = any (run_again.job_ids) returning d.job_id)
  select coalesce(array_agg(g.job_id), '{}') into letters from gone g;
  if how = 'redriven' then
    job_ids := letters;
  end if;
  select min(i), max(i) into lowest, highest from unnest(job_ids) i;
  with facts as materialized (
    select j.id, j.priority from weir.job j where j.id = any (run_again.job_ids) and j.id between lowest and highest
  ), took as (
    delete from weir.job_outcome o where o.job_id = any (run_again.job_ids) and o.job_id between lowest and highest returning o.*
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select t.job_id, how, t.attempt, 'available', jsonb_strip_nulls(jsonb_build_object('state', t.state, 'started_at', t.started_at, 'finished_at', t.finished_at,
      'worker', t.worker, 'error', t.error, 'by', run_again.by, 'reset_attempts', case when reset_attempts then true end)) from took t
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select t.queue_id, f.priority, case when reset_attempts then 0 else t.attempt end, nextval('weir.job_id_seq'), t.job_id
    from took t join facts f on f.id = t.job_id order by t.job_id
  )
  select array_agg(t.job_id order by t.job_id) as ids, array_agg(distinct t.queue_id) as queues into done from took t;
  update weir.queue q set deleted_at = null where q.deleted_at is not null and q.id = any (done.queues);
  perform weir.jobs_came_back(weir.followed_jobs(done.ids));
  perform weir.wake(array(select q.name from weir.queue q where q.id = any (done.queues)));
  return query select unnest(done.ids);
end $$;

create function weir.retry(job_id bigint, reset_attempts boolean default false) returns text language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
  if not exists (select from weir.job j where j.id = retry.job_id) then
    perform weir.refuse_stale(retry.job_id);
  end if;
  with took as (
    delete from weir.job_scheduled s where s.job_id = retry.job_id returning s.*
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select t.job_id, 'retried', t.attempt, 'available', jsonb_build_object('state', case when t.retryable then 'retryable' else 'scheduled' end, 'run_at', t.run_at)
      || case when reset_attempts then '{"reset_attempts": true}' else '{}' end::jsonb from took t
  )
  insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
  select t.queue_id, t.priority, case when reset_attempts then 0 else t.attempt end, nextval('weir.job_id_seq'), t.job_id from took t;
  if found then
    perform weir.wake(array(select q.name from weir.job j join weir.queue q on q.id = j.queue_id where j.id = retry.job_id));
    return 'available';
  end if;
  perform weir.run_again(array[retry.job_id], 'retried', reset_attempts);
  if not found then
    raise exception using errcode = 'WR005', message = format('job %s neither ended nor waits for a time', retry.job_id),
      hint = 'A job that is available or running needs no retry; a held one waits for something else.';
  end if;
  return 'available';
end $$;

create function weir.edit(job_id bigint, changes jsonb) returns text language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  took record;
  fact weir.job;
  problem text[];
  allowed text[] := '{priority,run_at,max_attempts,timeout_seconds,tags}';
  new_run_at timestamptz;
  new_state text;
begin
  if jsonb_typeof(changes) is distinct from 'object' then
    perform weir.refuse_argument('changes', 'must be a JSON object');
  elsif changes = '{}' then
    perform weir.refuse_argument('changes', 'must name something to change');
  elsif changes - allowed <> '{}' then
    perform weir.refuse_argument(weir.first_key(changes - allowed), 'cannot be changed', 'These can: priority, run_at, max_attempts, timeout_seconds, tags.');
  end if;
  problem := weir.job_problem(changes || '{"kind": "x"}');
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  lock table weir.job_ready in row exclusive mode;
  perform weir.lock_workflows_of(array[edit.job_id]);  -- before its place, if it is a step
  select * into took from weir.take_waiting(edit.job_id);
  if took.was is null then
    if not exists (select from weir.job j where j.id = edit.job_id) then
      perform weir.refuse_stale(edit.job_id);
    end if;
    raise exception using errcode = 'WR004', message = format('job %s is running or has ended', edit.job_id), hint = 'Only a job that waits can be changed.';
  end if;
  update weir.job j set
    priority = coalesce((changes ->> 'priority')::numeric::smallint, j.priority),
    max_attempts = coalesce((changes ->> 'max_attempts')::numeric::smallint, j.max_attempts),
    timeout_seconds = coalesce((changes ->> 'timeout_seconds')::numeric::int, j.timeout_seconds),
    tags = case when jsonb_typeof(changes -> 'tags') = 'array' then array(select jsonb_array_elements_text(changes -> 'tags')) else j.tags end
  where j.id = edit.job_id returning * into fact;
  new_run_at := coalesce((changes ->> 'run_at')::timestamptz, took.run_at);
  new_state := case when took.was = 'held' and took.held_reason <> 'line' then 'held' when new_run_at > clock_timestamp() then case when took.was = 'retryable' then 'retryable' else 'scheduled' end else 'available' end;
  if new_state = 'held' then
    insert into weir.job_held (job_id, held_at, queue_id, priority, attempt, reason, key)
    values (edit.job_id, took.held_at, fact.queue_id, fact.priority, took.attempt, took.held_reason, took.held_key);
  elsif new_state = 'available' then
    -- Its old place cannot be told from a claimed one, so it gets a new one.
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    values (fact.queue_id, fact.priority, took.attempt, nextval('weir.job_id_seq'), edit.job_id);
    perform weir.wake(array(select q.name from weir.queue q where q.id = fact.queue_id));
    new_state := case when (select q.governed from weir.queue q where q.id = fact.queue_id) then 'held' else new_state end;
  else
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt, retryable)
    values (edit.job_id, new_run_at, fact.queue_id, fact.priority, took.attempt, new_state = 'retryable');
  end if;
  insert into weir.job_event (job_id, kind, attempt, state, run_at, detail)
  values (edit.job_id, 'edited', took.attempt, new_state::weir.job_state, case when new_state in ('scheduled', 'retryable') then new_run_at end, changes);
  return new_state;
end $$;

create function weir.check_waiting(state text) returns void language plpgsql immutable as $$
begin
  if state is null or state not in ('available', 'scheduled', 'retryable', 'held', 'waiting') then
    perform weir.refuse_argument('state', 'must be available, scheduled, retryable, held or waiting (all of these)');
  end if;
end $$;

create function weir.count_waiting(name text, state text default 'waiting') returns bigint language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(count_waiting.name);
  governed boolean := (select x.governed from weir.queue x where x.id = q);  -- of such a queue, what lies under its own id is on its way into lines
begin
  perform weir.check_waiting(state);
  return case when state in ('available', 'waiting') or state = 'held' and governed then (select count(*) from weir.job_ready r
      where r.queue_id = q and (state = 'waiting' or governed = (state = 'held')) or r.queue_id = -q and state <> 'held') else 0 end
    + case when state in ('scheduled', 'retryable', 'waiting') then (select count(*) from weir.job_scheduled s where s.queue_id = q
        and (state = 'waiting' or s.retryable = (state = 'retryable'))) else 0 end
    + case when state in ('held', 'waiting') then (select count(*) from weir.job_held h where h.queue_id = q) else 0 end;
end $$;

-- Locks: the workflows of those that are steps; the rows of the jobs in their places, skip locked.
create function weir.purge_queue(name text, max_jobs int default 10000, state text default 'available') returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(purge_queue.name);
  governed boolean := (select x.governed from weir.queue x where x.id = q);
  places int[] := array[]::int[] || case when state = 'waiting' or governed = (state = 'held') then q end || case when state <> 'held' then -q end;
  tids tid[];
  ids bigint[] := '{}';
  admitted bigint[];
  steps bigint[] := '{}';
begin
  perform weir.check_waiting(state);
  -- A step is only taken if its workflow is locked before its place.
  steps := array(select w.job_id from weir.workflow_step w where w.job_id = any (array(
    (select coalesce(r.job_id, r.seq) from weir.job_ready r where r.queue_id = any (places) and (purge_queue.state in ('available', 'waiting') or purge_queue.state = 'held' and governed) limit max_jobs)
    union all (select s.job_id from weir.job_scheduled s where s.queue_id = q and purge_queue.state in ('scheduled', 'retryable', 'waiting') limit max_jobs)
    union all (select h.job_id from weir.job_held h where h.queue_id = q and purge_queue.state in ('held', 'waiting') limit max_jobs))));
  perform weir.lock_workflows_of(steps);
  if state in ('available', 'waiting') or state = 'held' and governed then
    tids := array(select r.ctid from weir.job_ready r where r.queue_id = any (places)
      and (coalesce(r.job_id, r.seq) = any (steps) or not exists (select from weir.workflow_step w where w.job_id = coalesce(r.job_id, r.seq))) limit max_jobs for update skip locked);
    with gone as (delete from weir.job_ready r where r.ctid = any (tids) returning coalesce(r.job_id, r.seq) as job_id, r.queue_id, r.attempt), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt) select g.job_id, abs(g.queue_id), 'cancelled', g.attempt from gone g
    )
    select ids || coalesce(array_agg(g.job_id), '{}'), array_agg(g.job_id) filter (where g.queue_id < 0) into ids, admitted from gone g;
    if admitted is not null then
      perform weir.places_left(admitted, q);
    end if;
  end if;
  if state in ('scheduled', 'retryable', 'waiting') then
    tids := array(select s.ctid from weir.job_scheduled s where s.queue_id = q and (state = 'waiting' or s.retryable = (state = 'retryable'))
      and (s.job_id = any (steps) or not exists (select from weir.workflow_step w where w.job_id = s.job_id)) limit max_jobs - cardinality(ids) for update skip locked);
    with gone as (delete from weir.job_scheduled s where s.ctid = any (tids) returning s.*), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt) select g.job_id, g.queue_id, 'cancelled', g.attempt from gone g
    )
    select ids || coalesce(array_agg(g.job_id), '{}') into ids from gone g;
  end if;
  if state in ('held', 'waiting') then
    tids := array(select h.ctid from weir.job_held h where h.queue_id = q
      and (h.job_id = any (steps) or not exists (select from weir.workflow_step w where w.job_id = h.job_id)) limit max_jobs - cardinality(ids) for update skip locked);
    with gone as (delete from weir.job_held h where h.ctid = any (tids) returning h.*), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt) select g.job_id, g.queue_id, 'cancelled', g.attempt from gone g
    )
    select ids || coalesce(array_agg(g.job_id), '{}') into ids from gone g;
  end if;
  perform weir.jobs_left(weir.followed_jobs(ids));
  return cardinality(ids);
end $$;

create function weir.delete_queue(name text) returns void language plpgsql as $$
declare
  q int := weir.queue_id(delete_queue.name);
begin
  if exists (select from weir.job_ready r where r.queue_id in (q, -q)) or exists (select from weir.job_lease l where l.queue_id = q)
     or exists (select from weir.job_scheduled s where s.queue_id = q) or exists (select from weir.job_held h where h.queue_id = q) then
    raise exception using errcode = 'WR012', message = format('queue %L still has jobs', delete_queue.name), hint = 'Let them end, cancel them, or purge the queue.';
  end if;
  delete from weir.limit_override o where o.queue_id = q;
  perform weir.set_queue(delete_queue.name, '{}', replace => true);
  update weir.queue x set deleted_at = clock_timestamp(), paused_at = null, pause_reason = null, resume_at = null where x.id = q;
end $$;
-- +goose StatementEnd
comment on function weir.take_waiting(bigint) is 'Internal. Takes a waiting job out of its place and says which that was, or null.';
comment on function weir.cancel(bigint) is
  'Cancels a job. One that waits is cancelled; one that runs goes on until its worker learns of it at its next heartbeat, or its lease ends. Returns cancelled or running. Errors: WR002, WR003.';
comment on function weir.run_again(bigint[], weir.event_kind, boolean, text) is
  'Internal. Runs jobs again that have ended, or with redriven those that are dead letters. Returns the ids of those that it found so.';
comment on function weir.retry(bigint, boolean) is
  'Runs a job again now that ended or waits for a time; same id; its attempts so far are kept unless reset_attempts. Returns available. Errors: WR002, WR005.';
comment on function weir.edit(bigint, jsonb) is
  'Changes a job that waits: {priority, run_at, max_attempts, timeout_seconds, tags}. An available job goes to the end of its priority. Returns its state. Errors: WR002, WR004, WR010.';
comment on function weir.check_waiting(text) is 'Internal. Raises WR010 unless it is a state in which jobs wait, or waiting.';
comment on function weir.count_waiting(text, text) is
  'How many jobs of a queue wait in a state: available, scheduled, retryable, held, or waiting (all of these). About a second for ten million. Errors: WR010, WR011.';
comment on function weir.purge_queue(text, int, text) is
  'Cancels up to max_jobs waiting jobs of a queue: available, scheduled, retryable, held, or waiting (all of these). Returns how many. Call it until it returns 0. Errors: WR010, WR011.';
comment on function weir.delete_queue(text) is 'Hides a queue without jobs and puts its settings back; its next job brings it back. Errors: WR011, WR012.';

-- +goose Down
drop function weir.delete_queue(text), weir.purge_queue(text, int, text), weir.count_waiting(text, text), weir.check_waiting(text), weir.edit(bigint, jsonb), weir.retry(bigint, boolean), weir.run_again(bigint[], weir.event_kind, boolean, text), weir.cancel(bigint), weir.take_waiting(bigint);
