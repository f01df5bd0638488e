-- Deferred steps: they are delayed, or wait for a time, a signal or a child workflow. The last three need no worker.
-- They are held inside the database and end there.
--
-- begin_deferred_step starts such a wait, end_held_step ends it. What ends it: weir.signal, the child workflow
-- (end_parent_step), or the time (run_workflow_timers).

-- The condition of a deferred step holds: it is scheduled, starts to wait, or completes at once (true), and the caller
-- settles it. Its workflow is locked.
create or replace function weir.begin_deferred_step(job_id bigint) returns boolean language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  s weir.workflow_step;
  h weir.job_held;
  now_at timestamptz := clock_timestamp();
  due timestamptz;
  signalled jsonb;
begin
  select * into s from weir.workflow_step x where x.job_id = begin_deferred_step.job_id;
  select * into h from weir.job_held x where x.job_id = begin_deferred_step.job_id and x.reason = 'dependency';
  if not found then
    return false;
  end if;

  if s.wait_for is null and s.workflow is null then
    due := coalesce(s.run_at, now_at + make_interval(secs => s.delay_seconds));
    delete from weir.job_held x where x.job_id = begin_deferred_step.job_id;
    if due > now_at then
      insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
      values (h.job_id, due, h.queue_id, h.priority, h.attempt);
    else
      insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
      values (h.queue_id, h.priority, h.attempt, nextval('weir.job_id_seq'), h.job_id);
      perform weir.wake(array(select q.name from weir.queue q where q.id = h.queue_id));
    end if;

  elsif s.wait_for ->> 'signal' is not null then
    select e.detail into signalled from weir.workflow_event e
    where e.workflow_id = s.workflow_id and e.event = 'signal' and e.name = s.wait_for ->> 'signal'
    order by e.at desc limit 1;
    if found then
      return weir.end_held_step(job_id, 'dependency', 'completed', signalled -> 'payload', null);
    end if;
    update weir.job_held x set reason = 'signal', key = s.wait_for ->> 'signal', held_at = now_at
    where x.job_id = begin_deferred_step.job_id;
    insert into weir.workflow_wait (job_id, workflow_id, signal, until)
    values (job_id, s.workflow_id, s.wait_for ->> 'signal',
      now_at + make_interval(secs => (s.wait_for ->> 'timeout_seconds')::float8));

  elsif s.wait_for is not null then
    due := coalesce((s.wait_for ->> 'until')::timestamptz,
      now_at + make_interval(secs => (s.wait_for ->> 'seconds')::float8));
    if due <= now_at then
      return weir.end_held_step(job_id, 'dependency', 'completed', null, null);
    end if;
    update weir.job_held x set reason = 'timer', held_at = now_at,
      key = to_char(due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    where x.job_id = begin_deferred_step.job_id;
    insert into weir.workflow_wait (job_id, workflow_id, until) values (job_id, s.workflow_id, due);

  else
    perform weir.begin_child_workflow(s);
  end if;
  return false;
end $$;
comment on function weir.begin_deferred_step(bigint) is
  'Internal. Schedules a deferred step or starts its wait. True: it completed at once, and the caller settles it.';

-- A retried step resumes its last child workflow, if that failed, was cancelled or still runs. Else it submits a new
-- one.
create or replace function weir.begin_child_workflow(s weir.workflow_step) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  child_id bigint;
  child_state text;
  failure text;
begin
  select w.id, w.state into child_id, child_state from weir.workflow w
  where w.parent_job_id = s.job_id order by w.id desc limit 1;
  -- The key is set first, because resuming the child may already end it, and with it this step.
  update weir.job_held h set reason = 'workflow', held_at = clock_timestamp(), key = child_id::text
  where h.job_id = s.job_id;
  if child_state = 'running' then
    return;
  elsif child_state in ('failed', 'cancelled') then
    if weir.resume_workflow(child_id, null, false) then
      return;
    end if;
  end if;

  update weir.job_held h set key = null where h.job_id = s.job_id;
  begin
    child_id := (select n.workflow_id from weir.store_workflow(s.workflow - 'idempotency_key', s.job_id,
      weir.ancestors_of(s.workflow_id)) n);
    update weir.job_held h set key = child_id::text where h.job_id = s.job_id;
  exception when others then
    if sqlstate like '40%' or sqlstate = '55P03' then
      raise;  -- a deadlock, a serialization failure or a lock timeout says nothing about the workflow
    end if;
    failure := sqlerrm;
  end;
  if failure is not null then
    if weir.end_held_step(s.job_id, 'workflow', 'dead', null, jsonb_build_object('type', 'workflow',
        'message', 'its workflow could not be submitted: ' || failure)) then
      perform weir.settle_steps(array[s.job_id], array[false]);
    end if;
  end if;
end $$;
comment on function weir.begin_child_workflow(weir.workflow_step) is
  'Internal. Submits or resumes the child workflow of a held step, which waits for it from now on.';

create or replace function weir.ancestors_of(workflow_id bigint) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
  ancestors bigint[] := (select coalesce(w.ancestors, '{}') || w.id
    from weir.workflow w where w.id = ancestors_of.workflow_id);
begin
  if cardinality(ancestors) > 20 then
    perform weir.refuse_argument('workflow', 'would be nested more than 20 deep',
      'Check whether a step starts its own workflow again.');
  end if;
  return ancestors;
end $$;
comment on function weir.ancestors_of(bigint) is
  'Internal. The ancestors of a child of this workflow: its own, and itself last. Raises WR010 where they are over 20.';

-- Locks: the job_lease row; the workflow and its ancestors.
create or replace function weir.start_workflow(job_id bigint, token bigint, definition jsonb) returns bigint
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  l weir.job_lease;
  child_id bigint;
begin
  w.id := (select s.workflow_id from weir.workflow_step s where s.job_id = start_workflow.job_id);
  if w.id is null then
    perform weir.assert_lease(job_id, token);
    raise exception using errcode = 'WR054', message = format('job %s is not a step of a workflow', job_id),
      hint = 'Only a running step can start a workflow and wait for it. Submit the workflow instead.';
  end if;
  delete from weir.job_lease x where x.job_id = start_workflow.job_id and x.token = start_workflow.token
  returning * into l;
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
  if l.line is not null then
    perform weir.on_line_jobs_ended(array[(l.queue_id, l.job_id, l.line, false)::weir.line_exit]);
  end if;
  w := weir.lock_workflow(w.id);
  if w.state <> 'running' or l.cancel_requested_at is not null then
    perform weir.refuse_ended_workflow(w);
  end if;
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
  values (l.job_id, l.queue_id, l.priority, l.attempt, 'workflow');
  child_id := (select n.workflow_id
    from weir.store_workflow(definition - 'idempotency_key', job_id, weir.ancestors_of(w.id)) n);
  update weir.job_held x set key = child_id::text where x.job_id = start_workflow.job_id;
  insert into weir.workflow_event (workflow_id, event, name, detail)
  select w.id, 'child_started', s.name, jsonb_build_object('workflow_id', child_id::text)
  from weir.workflow_step s where s.job_id = start_workflow.job_id;
  return child_id;
end $$;
comment on function weir.start_workflow(bigint, bigint, jsonb) is
  'A running step (its job and token) starts a child workflow and ends when that ends. Its attempt is over, and it is '
  'held (reason workflow) until then. Its result is {workflow_id, state, results: those of the last steps by name}. '
  'Returns the id of the workflow. Errors: WR001, WR002, WR010, WR013, WR018, WR019, WR051, WR054.';

-- Ends a step that waits, if it is held for this reason. Its workflow is locked; the caller settles it.
create or replace function weir.end_held_step(job_id bigint, reason text, state weir.job_state, result jsonb,
  error jsonb)
returns boolean language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  h weir.job_held;
begin
  delete from weir.job_held x where x.job_id = end_held_step.job_id and x.reason = end_held_step.reason
  returning * into h;
  if not found then
    return false;
  end if;
  insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, result, error, result_until)
  select h.job_id, h.held_at, h.queue_id, state, h.attempt, result, error,
    case when result is not null then clock_timestamp() + make_interval(secs => j.result_ttl_seconds) end
  from weir.job j where j.id = h.job_id;
  if state = 'dead' then
    insert into weir.job_dead (job_id, queue_id) values (h.job_id, h.queue_id);
  end if;
  return true;
end $$;
comment on function weir.end_held_step(bigint, text, weir.job_state, jsonb, jsonb) is
  'Internal. Ends a step that is held for this reason. False: no such step is held.';

-- Called when a child workflow has ended. Both workflows are locked.
create or replace function weir.end_parent_step(child_id bigint) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
  child weir.workflow;
  results jsonb;
  result jsonb;
  error jsonb;
  step_state weir.job_state;
begin
  select * into child from weir.workflow x where x.id = child_id;
  if not exists (select from weir.job_held h
      where h.job_id = child.parent_job_id and h.reason = 'workflow' and (h.key is null or h.key = child.id::text)) then
    return;
  end if;
  result := jsonb_build_object('workflow_id', child.id::text, 'state', child.state);
  if child.state = 'completed' then
    step_state := 'completed';
    select jsonb_object_agg(s.name, o.result) into results
    from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id
    where s.workflow_id = child.id and s.job_id between child.id and child.last_id and s.is_last
      and o.state = 'completed' and o.result is not null;
    result := result || jsonb_build_object('results',
      case when pg_column_size(results) <= 524288 then coalesce(results, '{}') else null end);
  elsif child.state = 'failed' then
    step_state := 'dead';
    error := jsonb_build_object('type', 'workflow',
      'message', format('workflow %s failed: %s', child.id, child.failure ->> 'message'));
  else
    step_state := 'cancelled';
    error := jsonb_build_object('type', 'workflow', 'message', format('workflow %s was cancelled', child.id));
  end if;
  if weir.end_held_step(child.parent_job_id, 'workflow', step_state, result, error) then
    perform weir.settle_steps(array[child.parent_job_id], array[child.state = 'completed']);
  end if;
end $$;
comment on function weir.end_parent_step(bigint) is
  'Internal. Ends the step that waits for this child workflow, which has ended.';

-- Locks: the workflow and its ancestors.
create or replace function weir.signal(workflow_id bigint, name text, payload jsonb default null) returns int
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  waiting bigint[];
begin
  if name is null or length(name) not between 1 and 200 or name in ('.', '..') then
    perform weir.refuse_argument('name', 'must have 1 to 200 characters, and not be . or ..');
  elsif weir.size_problem(payload, 1048576) is not null then
    perform weir.refuse_argument('payload', weir.size_problem(payload, 1048576));
  end if;
  perform weir.refuse_forged(payload, 'payload');
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(workflow_id);
  if w.finished_at is not null then
    perform weir.refuse_ended_workflow(w);
  end if;
  insert into weir.workflow_event (workflow_id, event, name, detail)
  values (w.id, 'signal', name, jsonb_build_object('payload', payload));
  with ended as (
    delete from weir.workflow_wait x where x.workflow_id = w.id and x.signal = signal.name returning x.job_id
  )
  select coalesce(array_agg(e.job_id order by e.job_id), '{}') into waiting from ended e;
  waiting := array(select x from unnest(waiting) x where weir.end_held_step(x, 'signal', 'completed', payload, null));
  if waiting <> '{}' then
    perform weir.settle_steps(waiting, array_fill(true, array[cardinality(waiting)]));
  end if;
  perform weir.record_change('signalWorkflow', 'workflows/' || w.id, null,
    jsonb_build_object('signal', name, 'steps', cardinality(waiting)));
  return cardinality(waiting);
end $$;
comment on function weir.signal(bigint, text, jsonb) is
  'Sends a signal to a workflow. Every step that waits for its name, now or later, completes with the payload (at most '
  '1 MiB) as its result. If several signals have one name, later steps get the newest. Returns how many steps were '
  'waiting. Errors: WR010, WR050, WR051.';

-- Called by every node several times a second.
-- Locks: the workflows of waits that are over, and of deadlines that have passed, in the order of their ids.
create or replace function weir.run_workflow_timers(max_workflows int default 500, out handled int,
  out next_in_seconds float8)
language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  now_at timestamptz := clock_timestamp();
  late bigint[] := array(select w.id from weir.workflow w
    where w.deadline_at <= now_at and w.finished_at is null and w.state = 'running'
    order by w.deadline_at limit max_workflows);
  stopping bigint[] := array(select w.id from weir.workflow w
    where w.state in ('stopping', 'compensating') and w.stopped_at > now_at - interval '1 minute'
    order by w.stopped_at limit max_workflows);
  due bigint[] := array(select x.workflow_id from weir.workflow_wait x
    where x.until <= now_at order by x.until limit max_workflows);
  next_at timestamptz;
  w record;
  cancelled bigint[];
begin
  handled := 0;
  if late <> '{}' or stopping <> '{}' or due <> '{}' then
    lock table weir.job_ready in row exclusive mode;
    perform weir.lock_workflows(late || stopping || due);
    handled := weir.end_due_waits(due, now_at);
    for w in
      select x.id, x.deadline_seconds, x.on_failure from weir.workflow x
      where x.id = any (late) and x.deadline_at <= now_at and x.state = 'running' order by x.id
    loop
      insert into weir.workflow_event (workflow_id, event) values (w.id, 'deadline');
      cancelled := weir.stop_workflow(w.id, 'failed', jsonb_build_object('type', 'deadline',
        'message', format('it did not end within %s seconds', w.deadline_seconds)), w.on_failure = 'compensate', true);
      if cancelled <> '{}' then
        perform weir.settle_steps(cancelled, array_fill(false, array[cardinality(cancelled)]));
      end if;
      handled := handled + 1;
    end loop;
    -- Steps that were being claimed or were failing when their workflow was stopped were locked, and so passed over.
    for w in select x.id from weir.workflow x where x.id = any (stopping) and x.state = 'stopping' order by x.id loop
      cancelled := weir.stop_steps(w.id, false);
      if cancelled <> '{}' then
        perform weir.settle_steps(cancelled, array_fill(false, array[cardinality(cancelled)]));
        handled := handled + cardinality(cancelled);
      end if;
    end loop;
  end if;
  next_at := least(  -- ignores nulls, and so does greatest
    (select x.until from weir.workflow_wait x where x.until > now_at order by x.until limit 1),
    (select x.deadline_at from weir.workflow x where x.deadline_at > now_at and x.finished_at is null
      order by x.deadline_at limit 1));
  next_in_seconds := case when next_at is not null
    then greatest(0, extract(epoch from next_at - clock_timestamp())) end;
end $$;
comment on function weir.run_workflow_timers(int) is
  'Ends waits whose time is over and stops workflows past their deadline, up to max_workflows of each. Every node '
  'calls it several times a second. Returns how many it handled, and in how many seconds the next is due, or null.';

-- Returns how many waits it ended. The workflows are locked.
create or replace function weir.end_due_waits(workflow_ids bigint[], now_at timestamptz) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  wait record;
  ended bigint[] := '{}';
  completed boolean[] := '{}';
begin
  for wait in
    delete from weir.workflow_wait x using weir.workflow_step s
    where x.workflow_id = any (workflow_ids) and x.until <= now_at and s.job_id = x.job_id
    returning x.job_id, x.signal, s.wait_for ->> 'on_timeout' as on_timeout
  loop
    if wait.signal is null or wait.on_timeout = 'continue' then
      if weir.end_held_step(wait.job_id, case when wait.signal is null then 'timer' else 'signal' end, 'completed',
          null, null) then
        ended := ended || wait.job_id;
        completed := completed || true;
      end if;
    elsif weir.end_held_step(wait.job_id, 'signal',
        case when wait.on_timeout = 'skip' then 'cancelled'::weir.job_state else 'dead' end, null,
        jsonb_build_object('type', case when wait.on_timeout = 'skip' then 'skipped' else 'timeout' end,
          'message', format('signal %s did not come in time', wait.signal))) then
      ended := ended || wait.job_id;
      completed := completed || false;
    end if;
  end loop;
  if ended <> '{}' then
    perform weir.settle_steps(ended, completed);
  end if;
  return cardinality(ended);
end $$;
comment on function weir.end_due_waits(bigint[], timestamptz) is
  'Internal. Ends the waits of these workflows whose time is over. Returns how many.';
