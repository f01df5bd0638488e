-- Steps that no worker gets: they wait for a signal, a time, or another workflow, and end by themselves.
--

-- Ends a step that waited, in whatever way, if it is held for this reason. Its workflow is locked; the caller follows it up.
create or replace function weir.end_held(job_id bigint, reason text, state weir.job_state, result jsonb, error jsonb) returns boolean language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  h weir.job_held;
begin
  delete from weir.job_held x where x.job_id = end_held.job_id and x.reason = end_held.reason returning * into h;
  if not found then
    return false;
  end if;
  insert into weir.job_outcome (job_id, started_at, queue_id, state, attempt, result, error, result_until)
  select h.job_id, h.held_at, h.queue_id, state, h.attempt, result, error, case when result is not null then clock_timestamp() + make_interval(secs => j.result_ttl_seconds) end
  from weir.job j where j.id = h.job_id;
  if state = 'dead' then
    insert into weir.job_dead (job_id, queue_id) values (h.job_id, h.queue_id);
  end if;
  return true;
end $$;

-- The condition of a step holds that is not plain: it is scheduled, or waits, or has nothing to wait for and ends. True: it completed. Its workflow is locked.
create or replace function weir.begin_wait(job_id bigint) returns boolean language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  s weir.workflow_step;
  h weir.job_held;
  now_at timestamptz := clock_timestamp();
  due timestamptz;
  kept jsonb;
  child bigint;
  state text;
  failure text;
begin
  select * into s from weir.workflow_step x where x.job_id = begin_wait.job_id;
  select * into h from weir.job_held x where x.job_id = begin_wait.job_id and x.reason = 'dependency';
  if not found then
    return false;
  end if;

  if s.wait_for is null and s.workflow is null then
    due := coalesce(s.run_at, now_at + make_interval(secs => s.delay_seconds));
    delete from weir.job_held x where x.job_id = begin_wait.job_id;
    if due > now_at then
      insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt) values (h.job_id, due, h.queue_id, h.priority, h.attempt);
    else
      insert into weir.job_ready (queue_id, priority, attempt, seq, job_id) values (h.queue_id, h.priority, h.attempt, nextval('weir.job_id_seq'), h.job_id);
      perform weir.wake(array(select q.name from weir.queue q where q.id = h.queue_id));
    end if;

  elsif s.wait_for ->> 'signal' is not null then
    select e.detail into kept from weir.workflow_event e where e.workflow_id = s.workflow_id and e.event = 'signal' and e.name = s.wait_for ->> 'signal' order by e.at desc limit 1;
    if found then
      return weir.end_held(job_id, 'dependency', 'completed', kept -> 'payload', null);
    end if;
    update weir.job_held x set reason = 'signal', key = s.wait_for ->> 'signal', held_at = now_at where x.job_id = begin_wait.job_id;
    insert into weir.workflow_wait (job_id, workflow_id, signal, until)
    values (job_id, s.workflow_id, s.wait_for ->> 'signal', now_at + make_interval(secs => (s.wait_for ->> 'timeout_seconds')::float8));

  elsif s.wait_for is not null then
    due := coalesce((s.wait_for ->> 'until')::timestamptz, now_at + make_interval(secs => (s.wait_for ->> 'seconds')::float8));
    if due <= now_at then
      return weir.end_held(job_id, 'dependency', 'completed', null, null);
    end if;
    update weir.job_held x set reason = 'timer', key = to_char(due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), held_at = now_at where x.job_id = begin_wait.job_id;
    insert into weir.workflow_wait (job_id, workflow_id, until) values (job_id, s.workflow_id, due);

  else
    update weir.job_held x set reason = 'workflow', held_at = now_at where x.job_id = begin_wait.job_id;
    -- One that is run again goes on with the workflow that it had, if that failed or is under way.
    select w.id, w.state into child, state from weir.workflow w where w.parent_job_id = begin_wait.job_id order by w.id desc limit 1;
    update weir.job_held x set key = child::text where x.job_id = begin_wait.job_id;
    if not (case when state = 'running' then true when state in ('failed', 'cancelled') then weir.resume_workflow(child, null) else false end) then
      update weir.job_held x set key = null where x.job_id = begin_wait.job_id;
      begin
        child := (select n.workflow_id from weir.store_workflow(s.workflow - 'idempotency_key', job_id, weir.ancestors_of(s.workflow_id)) n);
        update weir.job_held x set key = child::text where x.job_id = begin_wait.job_id;
      exception when others then
        if sqlstate like '40%' or sqlstate = '55P03' then
          raise;  -- this is about the moment, not about the workflow
        end if;
        failure := sqlerrm;
      end;
      if failure is not null then
        if weir.end_held(job_id, 'workflow', 'dead', null, jsonb_build_object('type', 'workflow', 'message', 'its workflow could not be submitted: ' || failure)) then
          perform weir.follow_steps(array[job_id], array[false]);
        end if;
      end if;
    end if;
  end if;
  return false;
end $$;

create or replace function weir.ancestors_of(workflow_id bigint) returns bigint[] language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  above bigint[] := (select coalesce(w.ancestors, '{}') || w.id from weir.workflow w where w.id = ancestors_of.workflow_id);
begin
  if cardinality(above) > 20 then
    perform weir.refuse_argument('workflow', 'would be within more than 20 others', 'Does a step start its own workflow again?');
  end if;
  return above;
end $$;

-- Locks: the job_lease row; the workflow and those it belongs to.
create or replace function weir.start_workflow(job_id bigint, token bigint, definition jsonb) returns bigint language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  l weir.job_lease;
  child bigint;
begin
  w.id := (select s.workflow_id from weir.workflow_step s where s.job_id = start_workflow.job_id);
  if w.id is null then
    perform weir.assert_lease(job_id, token);
    raise exception using errcode = 'WR054', message = format('job %s is no step of a workflow', job_id), hint = 'Only a running step can start a workflow and wait for it. Anybody can submit one.';
  end if;
  delete from weir.job_lease x where x.job_id = start_workflow.job_id and x.token = start_workflow.token returning * into l;
  if not found then
    perform weir.refuse_stale(job_id);
  end if;
  if l.line is not null then
    perform weir.on_line_jobs_ended(array[(l.queue_id, l.job_id, l.line, false)::weir.line_exit]);
  end if;
  w := weir.lock_workflow(w.id);
  if w.state <> 'running' or l.cancel_requested_at is not null then
    perform weir.refuse_over(w);
  end if;
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason) values (l.job_id, l.queue_id, l.priority, l.attempt, 'workflow');
  child := (select n.workflow_id from weir.store_workflow(definition - 'idempotency_key', job_id, weir.ancestors_of(w.id)) n);
  update weir.job_held x set key = child::text where x.job_id = start_workflow.job_id;
  insert into weir.workflow_event (workflow_id, event, name, detail)
  select w.id, 'child_started', s.name, jsonb_build_object('workflow_id', child::text) from weir.workflow_step s where s.job_id = start_workflow.job_id;
  return child;
end $$;

-- A workflow is over that a step waits for. Both workflows are locked.
create or replace function weir.child_ended(workflow_id bigint) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  w weir.workflow;
  results jsonb;
  said jsonb;
  done boolean;
begin
  select * into w from weir.workflow x where x.id = child_ended.workflow_id;
  if not exists (select from weir.job_held h where h.job_id = w.parent_job_id and h.reason = 'workflow' and (h.key is null or h.key = w.id::text)) then
    return;
  end if;
  said := jsonb_build_object('workflow_id', w.id::text, 'state', w.state);
  if w.state = 'completed' then
    select jsonb_object_agg(s.name, o.result) into results
    from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id
    where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.is_last and o.state = 'completed' and o.result is not null;
    said := said || jsonb_build_object('results', case when pg_column_size(results) <= 524288 then coalesce(results, '{}') else null end);
    done := weir.end_held(w.parent_job_id, 'workflow', 'completed', said, null);
  elsif w.state = 'failed' then
    done := weir.end_held(w.parent_job_id, 'workflow', 'dead', said, jsonb_build_object('type', 'workflow', 'message', format('workflow %s failed: %s', w.id, w.failure ->> 'message')));
  else
    done := weir.end_held(w.parent_job_id, 'workflow', 'cancelled', said, jsonb_build_object('type', 'workflow', 'message', format('workflow %s was cancelled', w.id)));
  end if;
  if done then
    perform weir.follow_steps(array[w.parent_job_id], array[w.state = 'completed']);
  end if;
end $$;

-- Locks: the workflow and those it belongs to.
create or replace function weir.signal(workflow_id bigint, name text, payload jsonb default null) returns int language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  waiting bigint[];
begin
  if name is null or length(name) not between 1 and 200 then
    perform weir.refuse_argument('name', 'must be 1 to 200 characters');
  elsif weir.size_problem(payload, 1048576) is not null then
    perform weir.refuse_argument('payload', weir.size_problem(payload, 1048576));
  end if;
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(workflow_id);
  if w.finished_at is not null then
    perform weir.refuse_over(w);
  end if;
  insert into weir.workflow_event (workflow_id, event, name, detail) values (w.id, 'signal', name, jsonb_build_object('payload', payload));
  with gone as (delete from weir.workflow_wait x where x.workflow_id = w.id and x.signal = signal.name returning x.job_id)
  select coalesce(array_agg(g.job_id order by g.job_id), '{}') into waiting from gone g;
  waiting := array(select x from unnest(waiting) x where weir.end_held(x, 'signal', 'completed', payload, null));
  if waiting <> '{}' then
    perform weir.follow_steps(waiting, array_fill(true, array[cardinality(waiting)]));
  end if;
  return cardinality(waiting);
end $$;

-- Locks: the workflows of waits that are over, and of deadlines that have passed, in the order of their ids.
create or replace function weir.tend_workflows(most int default 500, out tended int, out next_in_seconds float8) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  now_at timestamptz := clock_timestamp();
  late bigint[] := array(select w.id from weir.workflow w where w.deadline_at <= now_at and w.finished_at is null and w.state = 'running' order by w.deadline_at limit most);
  stopping bigint[] := array(select w.id from weir.workflow w where w.state in ('stopping', 'compensating') and w.stopped_at > now_at - interval '1 minute' order by w.stopped_at limit most);
  due bigint[] := array(select x.workflow_id from weir.workflow_wait x where x.until <= now_at order by x.until limit most);
  next_at timestamptz;
  one record;
  ended bigint[] := '{}';
  good boolean[] := '{}';
begin
  tended := 0;
  if late <> '{}' or stopping <> '{}' or due <> '{}' then
    lock table weir.job_ready in row exclusive mode;
    perform weir.lock_workflows(late || stopping || due);
    for one in
      delete from weir.workflow_wait x using weir.workflow_step s
      where x.workflow_id = any (due) and x.until <= now_at and s.job_id = x.job_id returning x.job_id, x.signal, s.wait_for ->> 'on_timeout' as on_timeout
    loop
      if one.signal is null or one.on_timeout = 'continue' then
        if weir.end_held(one.job_id, case when one.signal is null then 'timer' else 'signal' end, 'completed', null, null) then
          ended := ended || one.job_id;
          good := good || true;
        end if;
      elsif weir.end_held(one.job_id, 'signal', case when one.on_timeout = 'skip' then 'cancelled'::weir.job_state else 'dead' end, null,
          jsonb_build_object('type', case when one.on_timeout = 'skip' then 'skipped' else 'timeout' end, 'message', format('signal %s did not come in time', one.signal))) then
        ended := ended || one.job_id;
        good := good || false;
      end if;
    end loop;
    tended := cardinality(ended);
    if ended <> '{}' then
      perform weir.follow_steps(ended, good);
    end if;
    for one in select w.id, w.deadline_seconds, w.on_failure from weir.workflow w where w.id = any (late) and w.deadline_at <= now_at and w.state = 'running' order by w.id loop
      insert into weir.workflow_event (workflow_id, event) values (one.id, 'deadline');
      ended := weir.stop_workflow(one.id, 'failed', jsonb_build_object('type', 'deadline', 'message', format('it was not over after %s seconds', one.deadline_seconds)), one.on_failure = 'compensate', true);
      if ended <> '{}' then
        perform weir.follow_steps(ended, array_fill(false, array[cardinality(ended)]));
      end if;
      tended := tended + 1;
    end loop;
    -- Those who were just being claimed when a workflow was stopped, or had just failed, were not to be seen then.
    for one in select w.id from weir.workflow w where w.id = any (stopping) and w.state = 'stopping' order by w.id loop
      ended := weir.stop_steps(one.id, false);
      if ended <> '{}' then
        perform weir.follow_steps(ended, array_fill(false, array[cardinality(ended)]));
        tended := tended + cardinality(ended);
      end if;
    end loop;
  end if;
  next_at := least((select x.until from weir.workflow_wait x where x.until > now_at order by x.until limit 1),
    (select w.deadline_at from weir.workflow w where w.deadline_at > now_at and w.finished_at is null order by w.deadline_at limit 1));
  next_in_seconds := case when next_at is not null then greatest(0, extract(epoch from next_at - clock_timestamp())) end;  -- greatest passes over a null
end $$;
comment on function weir.end_held(bigint, text, weir.job_state, jsonb, jsonb) is 'Internal. Ends a step that is held for this reason; false: it is not.';
comment on function weir.begin_wait(bigint) is 'Internal. What a step does whose condition holds and that is not plain: wait, be scheduled, or complete at once (true).';
comment on function weir.ancestors_of(bigint) is 'Internal. A workflow and those it belongs to. Raises WR010 where they are too many.';
comment on function weir.start_workflow(bigint, bigint, jsonb) is
  'A running step (its job and token) starts a workflow and ends as that ends: its attempt is over, and it is held (reason workflow) until then. Its result is {workflow_id, state, results of the last steps by name}. '
  'Returns the id of the workflow. Errors: WR001, WR002, WR010, WR013, WR051, WR054.';
comment on function weir.child_ended(bigint) is 'Internal. Ends the step that waits for a workflow which is over.';
comment on function weir.signal(bigint, text, jsonb) is
  'Sends a signal to a workflow: every step that waits for its name, now or later, completes with the payload (of at most 1 MiB) as its result; of several of one name the newest counts for those that wait later. '
  'Returns how many waited. Errors: WR010, WR050, WR051.';
comment on function weir.tend_workflows(int) is
  'Ends waits whose time is over and stops workflows past their deadline, up to `most`. Every node calls it several times a second. Returns how many it did, and in how many seconds the next is due, or null.';
