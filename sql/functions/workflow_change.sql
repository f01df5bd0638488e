-- What people do to workflows: cancel, run again from where it failed, fork.
--

-- Takes steps of locked workflows out of the places where they wait, and cancels them; returns those that it took. SKIP LOCKED: who has one of them locked
-- waits for the workflow perhaps.
-- Locks: the rows that it takes, which are gone then.
create or replace function weir.take_steps(job_ids bigint[], why jsonb) returns bigint[] language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  ids bigint[];
  attempts smallint[];
  more record;
  one record;
begin
  if job_ids = '{}' then
    return '{}';
  end if;
  with gone as (
    delete from weir.job_held h where h.job_id = any (array(select x.job_id from weir.job_held x where x.job_id = any (job_ids) for update skip locked)) returning h.job_id, h.attempt
  )
  select coalesce(array_agg(g.job_id), '{}'), coalesce(array_agg(g.attempt), '{}') into ids, attempts from gone g;
  with gone as (
    delete from weir.job_scheduled s where s.job_id = any (array(select x.job_id from weir.job_scheduled x where x.job_id = any (job_ids) for update skip locked)) returning s.job_id, s.attempt, s.queue_id
  ), back as (
    delete from weir.job_ready r where r.ctid = any (array(select x.ctid from weir.job_ready x where x.job_id = any (job_ids) for update skip locked)) returning r.job_id, r.attempt, r.queue_id
  )
  select array_agg(g.job_id) as ids, array_agg(g.attempt) as attempts, array_agg(g.job_id) filter (where exists (select from weir.queue q where q.admitted_id = g.queue_id)) as admitted into more from (select * from gone union all select * from back) g;
  ids := ids || more.ids;
  attempts := attempts || more.attempts;
  -- What is available for the first time is found by its facts.
  for one in
    select j.id, j.queue_id, j.priority from weir.job j where j.id = any (array(select i from unnest(job_ids) i where i <> all (ids)))
      and not exists (select from weir.job_outcome o where o.job_id = j.id) and not exists (select from weir.job_lease l where l.job_id = j.id)
  loop
    delete from weir.job_ready r where r.ctid = (select x.ctid from weir.job_ready x where x.queue_id = one.queue_id and x.priority = one.priority and x.seq = one.id and x.job_id is null for update skip locked);
    if found then
      ids := ids || one.id;
      attempts := attempts || 0::smallint;
    end if;
  end loop;
  insert into weir.job_outcome (job_id, queue_id, state, attempt, error)
  select j.id, j.queue_id, 'cancelled', u.attempt, why from unnest(ids, attempts) u(id, attempt) join weir.job j on j.id = u.id where j.id = any (ids);
  delete from weir.workflow_wait x where x.job_id = any (ids);
  delete from weir.workflow_join x where x.job_id = any (ids);
  if more.admitted is not null then
    perform weir.on_admitted_jobs_removed(more.admitted);
  end if;
  perform weir.release_reserved_lines(ids);
  return ids;
end $$;

-- Cancels what waits of a locked workflow, and asks what runs to stop. Unless everything, steps that need only the end of others are left: they are there for this.
create or replace function weir.stop_steps(workflow_id bigint, everything boolean) returns bigint[] language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  open bigint[];
begin
  select * into w from weir.workflow x where x.id = stop_steps.workflow_id;
  open := array(select s.job_id from weir.workflow_step s where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is null
    and not exists (select from weir.job_outcome o where o.job_id = s.job_id)
    and (everything or w.stop_as = 'cancelled' or w.failure ->> 'type' = 'deadline' or s.needs <> 'ended' or s.dependencies = 0));
  with asked as (
    update weir.job_lease l set cancel_requested_at = clock_timestamp()
    where l.job_id = any (array(select x.job_id from weir.job_lease x where x.job_id = any (open) and x.cancel_requested_at is null for update skip locked)) returning l.*
  )
  insert into weir.job_event (job_id, kind, attempt, state, worker) select a.job_id, 'cancel_requested', a.attempt, 'running', a.worker from asked a;
  return weir.take_steps(open, jsonb_build_object('type', 'stopped', 'message', case when w.stop_as = 'cancelled' then 'its workflow was cancelled' else 'its workflow failed: ' || coalesce(w.failure ->> 'message', '') end));
end $$;

create or replace function weir.stop_workflow(workflow_id bigint, stop_as text, failure jsonb, compensates boolean, everything boolean) returns bigint[] language plpgsql as $$
#variable_conflict use_variable
begin
  update weir.workflow w set state = 'stopping', stop_as = stop_workflow.stop_as, failure = stop_workflow.failure, compensates = w.compensable and stop_workflow.compensates, stopped_at = clock_timestamp()
  where w.id = stop_workflow.workflow_id;
  insert into weir.workflow_event (workflow_id, event, name, detail) values (stop_workflow.workflow_id, 'stopping', failure ->> 'step', failure);
  return weir.stop_steps(workflow_id, everything);
end $$;

create or replace function weir.cancel_locked(workflow_id bigint, why jsonb, compensate boolean) returns void language plpgsql set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
  taken bigint[];
begin
  perform weir.lock_workflows(array[cancel_locked.workflow_id]);
  select * into w from weir.workflow x where x.id = cancel_locked.workflow_id;
  if w.finished_at is not null or w.state = 'compensating' or w.stop_as = 'cancelled' then
    return;
  end if;
  taken := weir.stop_workflow(w.id, 'cancelled', why, compensate, true);
  if taken <> '{}' then
    perform weir.follow_steps(taken, array_fill(false, array[cardinality(taken)]));
  end if;
end $$;

-- Locks: the workflow and those it belongs to.
create or replace function weir.cancel_workflow(workflow_id bigint, compensate boolean default false) returns text language plpgsql set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
begin
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(cancel_workflow.workflow_id);
  if w.finished_at is not null or w.state = 'compensating' then
    perform weir.refuse_over(w);
  elsif w.stop_as is distinct from 'cancelled' then
    insert into weir.workflow_event (workflow_id, event) values (w.id, 'cancel_requested');
    perform weir.cancel_locked(w.id, '{"type": "cancelled", "message": "it was cancelled"}', cancel_workflow.compensate);
  end if;
  return (select x.state from weir.workflow x where x.id = w.id);
end $$;

-- Steps that have ended wait for their dependencies again. Their workflow is locked, and so are their outcomes.
create or replace function weir.reopen_steps(job_ids bigint[], by text) returns void language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  delete from weir.job_dead d where d.job_id = any (job_ids);
  with took as (
    delete from weir.job_outcome o where o.job_id = any (job_ids) returning o.*
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select t.job_id, 'retried', t.attempt, 'held', jsonb_strip_nulls(jsonb_build_object('state', t.state, 'started_at', t.started_at, 'finished_at', t.finished_at,
      'worker', t.worker, 'error', t.error, 'by', reopen_steps.by, 'reset_attempts', case when t.attempt > 0 then true end)) from took t
  )
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
  select t.job_id, t.queue_id, j.priority, 0, 'dependency' from took t join weir.job j on j.id = t.job_id;
end $$;

-- A locked workflow goes on: all that it holds for a dependency is weighed anew.
create or replace function weir.go_on(workflow_id bigint, event text, step text, detail jsonb) returns void language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_variable
begin
  insert into weir.workflow_event (workflow_id, event, name, detail)
  select w.id, go_on.event, go_on.step, jsonb_strip_nulls(coalesce(go_on.detail, '{}') || jsonb_build_object('state', w.state, 'finished_at', w.finished_at, 'failure', w.failure)) from weir.workflow w where w.id = go_on.workflow_id;
  update weir.workflow w set state = 'running', finished_at = null, completed = null, dead = null, cancelled = null, stop_as = null, stopped_at = null, failure = null, compensates = false, exact = true,
    deadline_at = case when w.finished_at is null and w.deadline_at > clock_timestamp() then w.deadline_at else clock_timestamp() + make_interval(secs => w.deadline_seconds) end,
    waits_for = (select count(*) from weir.workflow_step s where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is null
      and not exists (select from weir.job_outcome o where o.job_id = s.job_id))
  where w.id = go_on.workflow_id;
  perform weir.weigh_steps(array(select s.job_id from weir.workflow_step s join weir.job_held h on h.job_id = s.job_id
    where s.workflow_id = go_on.workflow_id and h.reason = 'dependency' and s.compensates is null));
end $$;

-- Locks: the letters and outcomes, skip locked.
create or replace function weir.free_ends(job_ids bigint[]) returns bigint[] language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  letters bigint[] := array(select d.job_id from weir.job_dead d where d.job_id = any (job_ids));
  free bigint[] := array(select d.job_id from weir.job_dead d where d.job_id = any (letters) for update skip locked);
begin
  return array(select o.job_id from weir.job_outcome o where o.job_id = any (array(select i from unnest(job_ids) i where i <> all (letters) or i = any (free))) for update skip locked);
end $$;

-- Locks: the workflow and those it belongs to; then the letters and outcomes of its steps, skip locked: who has one of them is running that step again by itself, and waits for the workflow.
create or replace function weir.resume_workflow(workflow_id bigint, by text) returns boolean language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  ids bigint[];
begin
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(resume_workflow.workflow_id);
  if w.state in ('stopping', 'compensating') then
    perform weir.refuse_over(w);
  end if;
  -- What did not complete, what was compensated, and what depends on those; and the compensations, should they be needed again.
  with recursive again (id) as (
    select s.job_id from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id where s.workflow_id = w.id and s.compensates is null and (o.state <> 'completed'
      or (select c.state from weir.job_outcome c where c.job_id = s.compensated_by) = 'completed')
    union select c.id from again a join weir.workflow_step s on s.job_id = a.id cross join unnest(s.children) c(id)
  )
  select coalesce(array_agg(a.id), '{}') into ids from again a where exists (select from weir.job_outcome o where o.job_id = a.id);
  ids := weir.free_ends(ids);
  if ids = '{}' then
    return false;
  end if;
  if w.finished_at is not null then
    ids := ids || weir.free_ends(array(select s.job_id from weir.workflow_step s where s.workflow_id = w.id and s.compensates is not null));
  end if;
  perform weir.reopen_steps(ids, by);
  perform weir.go_on(w.id, 'retried', null, jsonb_strip_nulls(jsonb_build_object('by', by)));
  return true;
end $$;

create or replace function weir.retry_workflow(workflow_id bigint, by text default null) returns text language plpgsql set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
begin
  if weir.requester_problem(retry_workflow.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(retry_workflow.by));
  end if;
  if not weir.resume_workflow(retry_workflow.workflow_id, retry_workflow.by) then
    raise exception using errcode = 'WR052', message = format('workflow %s has no step that failed or was cancelled', retry_workflow.workflow_id),
      hint = 'Only what did not complete is run again. weir.fork_workflow runs steps again that did, in a new workflow.';
  end if;
  return (select x.state from weir.workflow x where x.id = retry_workflow.workflow_id);
end $$;

-- Called by on_jobs_reopened: steps that had ended are available again, because somebody retried or redrove them by themselves. Their workflow goes on, with what was
-- cancelled or skipped because of them. Locks: the workflows; outcomes of their other steps, which only who has the workflow takes away, but for run_again: skip locked.
create or replace function weir.on_steps_reopened(job_ids bigint[]) returns void language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  ids bigint[] := array(select distinct x.workflow_id from (select s.workflow_id from weir.workflow_step s where s.job_id = any (job_ids)
    and s.job_id between (select min(i) from unnest(job_ids) i) and (select max(i) from unnest(job_ids) i) offset 0) x order by 1);
  w record;
  back bigint[];
  again bigint[];
begin
  if ids = '{}' then
    return;
  end if;
  lock table weir.job_ready in row exclusive mode;
  perform weir.lock_workflows(ids);
  for w in select x.* from weir.workflow x where x.id = any (ids) order by x.id loop
    -- They came back as available. A step that no worker gets, or whose dependencies have not ended, is held.
    back := array(select s.job_id from weir.workflow_step s where s.job_id = any (job_ids) and s.workflow_id = w.id and (s.wait_for is not null or s.workflow is not null
      or exists (select from unnest(s.depends_on) d where not exists (select from weir.job_outcome o where o.job_id = d))));
    with gone as (
      delete from weir.job_ready r where r.job_id = any (back) returning r.*
    )
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
    select g.job_id, coalesce((select q.id from weir.queue q where q.admitted_id = g.queue_id), g.queue_id), g.priority, g.attempt, 'dependency' from gone g;
    if w.state = 'compensating' then
      perform weir.take_steps(array(select s.job_id from weir.workflow_step s where s.job_id = any (job_ids) and s.workflow_id = w.id and s.compensates is null),
        '{"type": "stopped", "message": "its workflow is compensating"}');
      continue;
    end if;
    again := array(select o.job_id from weir.job_outcome o where o.job_id = any (array(select s.job_id from weir.workflow_step s where s.workflow_id = w.id))
      and o.state = 'cancelled' and o.error ->> 'type' in ('skipped', 'stopped') for update skip locked);
    perform weir.reopen_steps(again, null);
    perform weir.go_on(w.id, 'step_retried', s.name, null) from weir.workflow_step s where s.job_id = (select min(j.job_id) from weir.workflow_step j where j.job_id = any (job_ids) and j.workflow_id = w.id);
  end loop;
end $$;

-- Locks: the workflow that is forked, for as long as it takes to read it.
create or replace function weir.fork_workflow(workflow_id bigint, from_steps text[], by text default null) returns bigint language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  missing int;
  new_id bigint;
  olds bigint[];
  news bigint[];
  again bigint[];
  copied bigint[];
begin
  if weir.requester_problem(fork_workflow.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(fork_workflow.by));
  end if;
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(fork_workflow.workflow_id);
  select u.i into missing from unnest(from_steps) with ordinality u(name, i)
  where not exists (select from weir.workflow_step s where s.workflow_id = w.id and s.name = u.name and s.compensates is null) order by u.i limit 1;
  if missing is not null then
    perform weir.refuse_argument(format('from[%s]', missing - 1), 'names no step of the workflow');
  elsif coalesce(cardinality(from_steps), 0) = 0 then
    perform weir.refuse_argument('from', 'must name at least one step');
  end if;
  -- From those on, and all that did not complete, and what comes after that.
  with recursive again (id) as (
    select s.job_id from weir.workflow_step s where s.workflow_id = w.id and (s.name = any (from_steps) or s.compensates is not null
      or (select o.state from weir.job_outcome o where o.job_id = s.job_id) is distinct from 'completed')
    union select c.id from again a join weir.workflow_step s on s.job_id = a.id cross join unnest(s.children) c(id)
  )
  select array_agg(a.id) into again from again a;
  new_id := nextval('weir.job_id_seq');
  select array_agg(x.job_id order by x.job_id), array_agg(x.new_id order by x.job_id) into olds, news
  from (select s.job_id, nextval('weir.job_id_seq') as new_id from (select y.job_id from weir.workflow_step y where y.workflow_id = w.id order by y.job_id) s) x;
  copied := array(select o from unnest(olds) o where o <> all (again));
  insert into weir.workflow (id, name, on_failure, steps, last_id, waits_for, exact, compensable, deadline_seconds, deadline_at, metadata, forked_from)
  values (new_id, w.name, w.on_failure, w.steps, news[cardinality(news)], w.steps - cardinality(copied), true, w.compensable, w.deadline_seconds,
    clock_timestamp() + make_interval(secs => w.deadline_seconds), w.metadata, w.id);
  insert into weir.workflow_step (job_id, workflow_id, number, dependencies, is_last, plain, needs, name, depends_on, children, on_failure, compensated_by, compensates,
    delay_seconds, run_at, wait_for, workflow, added_by, copied_from)
  select m.new, new_id, s.number, s.dependencies, s.is_last, s.plain, s.needs, s.name,
    array(select news[array_position(olds, d.id)] from unnest(s.depends_on) with ordinality d(id, n) order by d.n), array(select news[array_position(olds, c)] from unnest(s.children) c order by 1),
    s.on_failure, news[array_position(olds, s.compensated_by)], news[array_position(olds, s.compensates)], s.delay_seconds, s.run_at, s.wait_for, s.workflow,
    news[array_position(olds, s.added_by)], case when s.job_id <> all (again) then s.job_id end
  from unnest(olds, news) m(old, new) join weir.workflow_step s on s.job_id = m.old;
  insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args, retry, tags, metadata, tenant, parent_id, result_ttl_seconds, workflow_id, step, concurrency_key, breaker)
  select m.new, j.queue_id, j.timeout_seconds, j.priority, j.max_attempts, j.kind, j.args, j.retry, j.tags, j.metadata, j.tenant, j.parent_id, j.result_ttl_seconds, new_id, j.step, j.concurrency_key, j.breaker
  from unnest(olds, news) m(old, new) join weir.job j on j.id = m.old;
  insert into weir.job_outcome (job_id, queue_id, state, attempt, worker, result, result_until)
  select m.new, o.queue_id, o.state, o.attempt, o.worker, o.result, o.result_until from unnest(olds, news) m(old, new) join weir.job_outcome o on o.job_id = m.old where m.old = any (copied);
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
  select m.new, j.queue_id, j.priority, 0, 'dependency' from unnest(olds, news) m(old, new) join weir.job j on j.id = m.old where m.old = any (again);
  update weir.queue q set deleted_at = null where q.deleted_at is not null and q.id in (select j.queue_id from weir.job j where j.id = any (olds));
  insert into weir.workflow_event (workflow_id, event, detail) values (w.id, 'forked', jsonb_strip_nulls(jsonb_build_object('workflow_id', new_id::text, 'from', to_jsonb(from_steps), 'by', by)));
  perform weir.weigh_steps(array(select m.new from unnest(olds, news) m(old, new) where m.old = any (again)));
  return new_id;
end $$;
comment on function weir.take_steps(bigint[], jsonb) is 'Internal. Cancels those of these steps that wait, with the reason; returns them. The caller follows them up.';
comment on function weir.stop_steps(bigint, boolean) is 'Internal. Cancels what waits of a workflow that is to stop, and asks the workers of what runs to stop. Returns what it cancelled.';
comment on function weir.stop_workflow(bigint, text, jsonb, boolean, boolean) is 'Internal. A workflow is to stop: notes why, and calls stop_steps.';
comment on function weir.cancel_locked(bigint, jsonb, boolean) is 'Internal. Cancels a workflow; one that is over is left alone.';
comment on function weir.cancel_workflow(bigint, boolean) is
  'Cancels a workflow: what waits is cancelled, what runs goes on until its worker learns of it at its next heartbeat; with compensate the compensations of what completed run then. Returns its state: stopping, compensating or cancelled. '
  'Again while it is stopping: nothing more. Errors: WR050, WR051.';
comment on function weir.reopen_steps(bigint[], text) is 'Internal. Holds steps again that have ended.';
comment on function weir.go_on(bigint, text, text, jsonb) is 'Internal. A workflow is running again, with all that it holds weighed anew.';
comment on function weir.free_ends(bigint[]) is 'Internal. Those of these jobs that have ended and that nobody is just running again; locks their letters and outcomes.';
comment on function weir.resume_workflow(bigint, text) is 'Internal. weir.retry_workflow; false: there is nothing to run again.';
comment on function weir.retry_workflow(bigint, text) is
  'Runs all steps of a workflow again that did not complete, or were compensated, and those that depend on them, with their attempts counted from 0 and a deadline anew; what completed stays. Same id. `by` (1 to 200 characters) is kept as an event. '
  'Returns its state. Errors: WR010, WR050, WR051 (it is stopping), WR052 (there is nothing to run again).';
comment on function weir.on_steps_reopened(bigint[]) is 'Internal. For jobs that had ended and are available again, and may be steps: their workflows go on.';
comment on function weir.fork_workflow(bigint, text[], text) is
  'Submits a copy of a workflow in which the steps named, all that did not complete, and all that depend on those run again; the others have the results they had. Returns the id of the new workflow. Errors: WR010, WR050.';
