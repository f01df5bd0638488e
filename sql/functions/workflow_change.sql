-- Stopping a workflow and running it again: cancel, retry, fork, and retries of single steps.

-- Locks: the workflow and its ancestors.
create or replace function weir.cancel_workflow(workflow_id bigint, compensate boolean default false) returns text
language plpgsql set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
begin
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(cancel_workflow.workflow_id);
  if w.finished_at is not null or w.state = 'compensating' then
    perform weir.refuse_ended_workflow(w);
  elsif w.stop_as is distinct from 'cancelled' then
    insert into weir.workflow_event (workflow_id, event) values (w.id, 'cancel_requested');
    perform weir.cancel_unless_ended(w.id, '{"type": "cancelled", "message": "it was cancelled"}',
      cancel_workflow.compensate);
    perform weir.record_change('cancelWorkflow', 'workflows/' || w.id, jsonb_build_object('state', w.state),
      jsonb_build_object('state', (select x.state from weir.workflow x where x.id = w.id), 'compensate',
        cancel_workflow.compensate));
  end if;
  return (select x.state from weir.workflow x where x.id = w.id);
end $$;
comment on function weir.cancel_workflow(bigint, boolean) is
  'Cancels a workflow. Waiting steps are cancelled. Running ones go on until their workers learn of it at their next '
  'heartbeat. With compensate, the compensations of completed steps then run. Returns its state: stopping, '
  'compensating or cancelled. A repeated call while it is stopping does nothing. Errors: WR050, WR051.';

-- Locks: the workflow and its ancestors.
create or replace function weir.cancel_unless_ended(workflow_id bigint, failure jsonb, compensate boolean) returns void
language plpgsql set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
  cancelled bigint[];
begin
  perform weir.lock_workflows(array[cancel_unless_ended.workflow_id]);
  select * into w from weir.workflow x where x.id = cancel_unless_ended.workflow_id;
  if w.finished_at is not null or w.state = 'compensating' or w.stop_as = 'cancelled' then
    return;
  end if;
  cancelled := weir.stop_workflow(w.id, 'cancelled', failure, compensate, true);
  if cancelled <> '{}' then
    perform weir.settle_steps(cancelled, array_fill(false, array[cardinality(cancelled)]));
  end if;
end $$;
comment on function weir.cancel_unless_ended(bigint, jsonb, boolean) is
  'Internal. Cancels a workflow, unless it has ended, compensates or is being cancelled.';

-- stop_as: its state at the end, failed or cancelled. all_steps: as in stop_steps. The workflow is locked.
create or replace function weir.stop_workflow(workflow_id bigint, stop_as text, failure jsonb, compensates boolean,
  all_steps boolean)
returns bigint[] language plpgsql as $$
#variable_conflict use_variable
begin
  update weir.workflow w set state = 'stopping', stop_as = stop_workflow.stop_as, failure = stop_workflow.failure,
    compensates = w.compensable and stop_workflow.compensates, stopped_at = clock_timestamp()
  where w.id = stop_workflow.workflow_id;
  insert into weir.workflow_event (workflow_id, event, name, detail)
  values (stop_workflow.workflow_id, 'stopping', failure ->> 'step', failure);
  return weir.stop_steps(workflow_id, all_steps);
end $$;
comment on function weir.stop_workflow(bigint, text, jsonb, boolean, boolean) is
  'Internal. Marks a workflow as stopping, with the reason, and stops its steps. Returns those that were cancelled.';

-- Steps that need only the end of others still run when a step died, unless all_steps: they clean up and report.
-- Locks: leases and places of waiting steps, skip locked. The workflow is locked.
create or replace function weir.stop_steps(workflow_id bigint, all_steps boolean) returns bigint[] language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  open bigint[];
begin
  select * into w from weir.workflow x where x.id = stop_steps.workflow_id;
  open := array(select s.job_id from weir.workflow_step s
    where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is null
      and not exists (select from weir.job_outcome o where o.job_id = s.job_id)
      and (all_steps or w.stop_as = 'cancelled' or w.failure ->> 'type' = 'deadline' or s.needs <> 'ended'
        or s.dependencies = 0));
  with asked as (
    update weir.job_lease l set cancel_requested_at = clock_timestamp()
    where l.job_id = any (array(select x.job_id from weir.job_lease x
      where x.job_id = any (open) and x.cancel_requested_at is null for update skip locked))
    returning l.*
  )
  insert into weir.job_event (job_id, kind, attempt, state, worker)
  select a.job_id, 'cancel_requested', a.attempt, 'running', a.worker from asked a;
  return weir.cancel_waiting_steps(open, jsonb_build_object('type', 'stopped', 'message',
    case when w.stop_as = 'cancelled' then 'its workflow was cancelled'
      else 'its workflow failed: ' || coalesce(w.failure ->> 'message', '') end));
end $$;
comment on function weir.stop_steps(bigint, boolean) is
  'Internal. Cancels the waiting steps of a workflow that stops, and asks the workers of the running ones to stop. '
  'Returns what it cancelled.';

-- SKIP LOCKED: a session that has locked one of these rows may be waiting for the workflow, and settles that step.
-- Locks: the rows that it deletes. The workflows are locked.
create or replace function weir.cancel_waiting_steps(job_ids bigint[], error jsonb) returns bigint[] language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  ids bigint[];
  attempts smallint[];
  more record;
  fresh record;
begin
  if job_ids = '{}' then
    return '{}';
  end if;
  with held as (
    delete from weir.job_held h
    where h.job_id = any (array(select x.job_id from weir.job_held x
      where x.job_id = any (job_ids) for update skip locked))
    returning h.job_id, h.attempt
  )
  select coalesce(array_agg(h.job_id), '{}'), coalesce(array_agg(h.attempt), '{}') into ids, attempts from held h;
  with scheduled as (
    delete from weir.job_scheduled s
    where s.job_id = any (array(select x.job_id from weir.job_scheduled x
      where x.job_id = any (job_ids) for update skip locked))
    returning s.job_id, s.attempt, s.queue_id
  ), ready as (
    delete from weir.job_ready r
    where r.ctid = any (array(select x.ctid from weir.job_ready x
      where x.job_id = any (job_ids) for update skip locked))
    returning r.job_id, r.attempt, r.queue_id
  )
  select array_agg(g.job_id) as ids, array_agg(g.attempt) as attempts,
    array_agg(g.job_id) filter (where exists (select from weir.queue q where q.admitted_id = g.queue_id)) as admitted
    into more from (select * from scheduled union all select * from ready) g;
  ids := ids || more.ids;
  attempts := attempts || more.attempts;
  -- A job that is available for the first time has a row without a job_id, found by the place that follows from the
  -- job.
  for fresh in
    select j.id, j.queue_id, j.priority from weir.job j
    where j.id = any (array(select i from unnest(job_ids) i where i <> all (ids)))
      and not exists (select from weir.job_outcome o where o.job_id = j.id)
      and not exists (select from weir.job_lease l where l.job_id = j.id)
  loop
    delete from weir.job_ready r where r.ctid = (select x.ctid from weir.job_ready x
      where x.queue_id = fresh.queue_id and x.priority = fresh.priority and x.seq = fresh.id and x.job_id is null
      for update skip locked);
    if found then
      ids := ids || fresh.id;
      attempts := attempts || 0::smallint;
    end if;
  end loop;
  insert into weir.job_outcome (job_id, queue_id, state, attempt, error)
  select j.id, j.queue_id, 'cancelled', u.attempt, cancel_waiting_steps.error
  from unnest(ids, attempts) u(id, attempt) join weir.job j on j.id = u.id where j.id = any (ids);
  delete from weir.workflow_wait x where x.job_id = any (ids);
  delete from weir.workflow_join x where x.job_id = any (ids);
  if more.admitted is not null then
    perform weir.on_admitted_jobs_removed(more.admitted);
  end if;
  perform weir.release_reserved_lines(ids);
  return ids;
end $$;
comment on function weir.cancel_waiting_steps(bigint[], jsonb) is
  'Internal. Cancels those of these steps that wait, with this error. Returns them; the caller settles them.';

-- Locks: as resume_workflow.
create or replace function weir.retry_workflow(workflow_id bigint, by text default null) returns text language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
begin
  if weir.requester_problem(retry_workflow.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(retry_workflow.by));
  end if;
  if not weir.resume_workflow(retry_workflow.workflow_id, retry_workflow.by, true) then
    raise exception using errcode = 'WR052',
      message = format('workflow %s has no step that failed or was cancelled', retry_workflow.workflow_id),
      hint = 'A retry runs only steps that did not complete. weir.fork_workflow also runs completed steps again, in a '
        'new workflow.';
  end if;
  perform weir.record_change('retryWorkflow', 'workflows/' || retry_workflow.workflow_id, null,
    jsonb_strip_nulls(jsonb_build_object('by', retry_workflow.by)));
  return (select x.state from weir.workflow x where x.id = retry_workflow.workflow_id);
end $$;
comment on function weir.retry_workflow(bigint, text) is
  'Runs all steps of a workflow again that did not complete or were compensated, and those that depend on them. '
  'Attempts count from 0 and the deadline starts again. Completed steps keep their results, the workflow keeps its '
  'id. `by` (1 to 200 characters) is kept as an event. Returns its state. Errors: WR010, WR050, WR051 (it is '
  'stopping), WR018, WR019, WR052 (there is nothing to run again).';

-- False: there is nothing to run again.
-- Locks: the workflow and its ancestors; then the dead letters and outcomes of its steps, skip locked: a session that
-- has locked one of them is retrying that step alone, and waits for the workflow.
create or replace function weir.resume_workflow(workflow_id bigint, by text, charged boolean) returns boolean
language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  ids bigint[];
begin
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(resume_workflow.workflow_id);
  if w.state in ('stopping', 'compensating') then
    perform weir.refuse_ended_workflow(w);
  end if;
  -- What did not complete or was compensated, and what depends on that.
  with recursive again (id) as (
    select s.job_id from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id
    where s.workflow_id = w.id and s.compensates is null and (o.state <> 'completed'
      or (select c.state from weir.job_outcome c where c.job_id = s.compensated_by) = 'completed')
    union
    select c.id from again a join weir.workflow_step s on s.job_id = a.id cross join unnest(s.children) c(id)
  )
  select coalesce(array_agg(a.id), '{}') into ids from again a
  where exists (select from weir.job_outcome o where o.job_id = a.id);
  ids := weir.lock_outcomes(ids);
  if ids = '{}' then
    return false;
  end if;
  if w.finished_at is not null then  -- the compensations too, in case they are needed again
    ids := ids || weir.lock_outcomes(array(select s.job_id from weir.workflow_step s
      where s.workflow_id = w.id and s.compensates is not null));
  end if;
  if charged then
    perform weir.charge_again(weir.fitting_jobs(ids, false), false);
  end if;
  perform weir.reopen_steps(ids, by);
  perform weir.reactivate_workflow(w.id, 'retried', null, jsonb_strip_nulls(jsonb_build_object('by', by)));
  return true;
end $$;
comment on function weir.resume_workflow(bigint, text, boolean) is
  'Internal. Does what weir.retry_workflow does. charged: the quotas of tenants are kept. False: there is nothing to '
  'run again.';

-- Locks: the dead letters and outcomes, skip locked.
create or replace function weir.lock_outcomes(job_ids bigint[]) returns bigint[] language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  letters bigint[] := array(select d.job_id from weir.job_dead d where d.job_id = any (job_ids));
  locked bigint[] := array(select d.job_id from weir.job_dead d where d.job_id = any (letters) for update skip locked);
begin
  return array(select o.job_id from weir.job_outcome o
    where o.job_id = any (array(select i from unnest(job_ids) i where i <> all (letters) or i = any (locked)))
    for update skip locked);
end $$;
comment on function weir.lock_outcomes(bigint[]) is
  'Internal. Locks the outcomes and dead letters of these jobs. Returns those that no other session had locked.';

-- The workflow and the outcomes of the steps are locked.
create or replace function weir.reopen_steps(job_ids bigint[], by text) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
begin
  delete from weir.job_dead d where d.job_id = any (job_ids);
  with reopened as (
    delete from weir.job_outcome o where o.job_id = any (job_ids) returning o.*
  ), noted as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select r.job_id, 'retried', r.attempt, 'held', jsonb_strip_nulls(jsonb_build_object('state', r.state,
      'started_at', r.started_at, 'finished_at', r.finished_at, 'worker', r.worker, 'error', r.error,
      'by', reopen_steps.by, 'reset_attempts', case when r.attempt > 0 then true end)) from reopened r
  )
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
  select r.job_id, r.queue_id, j.priority, 0, 'dependency' from reopened r join weir.job j on j.id = r.job_id;
  perform weir.note_jobs_of_tenants(job_ids);
end $$;
comment on function weir.reopen_steps(bigint[], text) is
  'Internal. Puts ended steps back into the state held, for their dependencies.';

-- The workflow is locked. event, step and detail: the event that is kept, with the state the workflow had.
create or replace function weir.reactivate_workflow(workflow_id bigint, event text, step text, detail jsonb)
returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_variable
begin
  insert into weir.workflow_event (workflow_id, event, name, detail)
  select w.id, reactivate_workflow.event, reactivate_workflow.step,
    jsonb_strip_nulls(coalesce(reactivate_workflow.detail, '{}')
      || jsonb_build_object('state', w.state, 'finished_at', w.finished_at, 'failure', w.failure))
  from weir.workflow w where w.id = reactivate_workflow.workflow_id;
  update weir.workflow w set state = 'running', finished_at = null, completed = null, dead = null, cancelled = null,
    stop_as = null, stopped_at = null, failure = null, compensates = false, counts_all = true,
    deadline_at = case when w.finished_at is null and w.deadline_at > clock_timestamp() then w.deadline_at
      else clock_timestamp() + make_interval(secs => w.deadline_seconds) end,
    waits_for = (select count(*) from weir.workflow_step s
      where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is null
        and not exists (select from weir.job_outcome o where o.job_id = s.job_id))
  where w.id = reactivate_workflow.workflow_id;
  perform weir.reevaluate_steps(array(select s.job_id
    from weir.workflow_step s join weir.job_held h on h.job_id = s.job_id
    where s.workflow_id = reactivate_workflow.workflow_id and h.reason = 'dependency' and s.compensates is null));
end $$;
comment on function weir.reactivate_workflow(bigint, text, text, jsonb) is
  'Internal. Sets a workflow to running, counts its open steps, and evaluates all steps that wait for dependencies.';

-- Called by on_jobs_reopened: steps that had ended are available again, because they were retried or redriven alone.
-- Their workflow runs again, with everything that was cancelled or skipped because of them.
-- Locks: the workflows; then the outcomes of their other steps, skip locked.
create or replace function weir.on_steps_reopened(job_ids bigint[]) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
  ids bigint[] := array(select distinct x.workflow_id from (select s.workflow_id from weir.workflow_step s
    where s.job_id = any (job_ids) and s.job_id between (select min(i) from unnest(job_ids) i)
      and (select max(i) from unnest(job_ids) i) offset 0) x order by 1);
  w record;
  waiting bigint[];
  again bigint[];
begin
  if ids = '{}' then
    return;
  end if;
  lock table weir.job_ready in row exclusive mode;
  perform weir.lock_workflows(ids);
  for w in select x.* from weir.workflow x where x.id = any (ids) order by x.id loop
    -- A step that needs no worker, or that has an open dependency, must be held instead.
    waiting := array(select s.job_id from weir.workflow_step s
      where s.job_id = any (job_ids) and s.workflow_id = w.id
        and (s.wait_for is not null or s.workflow is not null or exists (select from unnest(s.depends_on) d
          where not exists (select from weir.job_outcome o where o.job_id = d))));
    with ready as (
      delete from weir.job_ready r where r.job_id = any (waiting) returning r.*
    )
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
    select r.job_id, coalesce((select q.id from weir.queue q where q.admitted_id = r.queue_id), r.queue_id),
      r.priority, r.attempt, 'dependency' from ready r;
    if w.state = 'compensating' then
      perform weir.cancel_waiting_steps(array(select s.job_id from weir.workflow_step s
          where s.job_id = any (job_ids) and s.workflow_id = w.id and s.compensates is null),
        '{"type": "stopped", "message": "its workflow is compensating"}');
      continue;
    end if;
    again := array(select o.job_id from weir.job_outcome o
      where o.job_id = any (array(select s.job_id from weir.workflow_step s where s.workflow_id = w.id))
        and o.state = 'cancelled' and o.error ->> 'type' in ('skipped', 'stopped') for update skip locked);
    perform weir.reopen_steps(again, null);
    perform weir.reactivate_workflow(w.id, 'step_retried', s.name, null) from weir.workflow_step s
    where s.job_id = (select min(x.job_id) from weir.workflow_step x
      where x.job_id = any (job_ids) and x.workflow_id = w.id);
  end loop;
end $$;
comment on function weir.on_steps_reopened(bigint[]) is
  'Internal. For jobs that had ended and are available again, and may be steps: their workflows run again.';
