-- Forks: copies of a workflow in which some steps run again, and the others have the results that they had.

-- Locks: weir.job_ready against advance_frontier; the workflow that is forked and its ancestors.
create or replace function weir.fork_workflow(workflow_id bigint, from_steps text[], by text default null)
returns bigint language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  missing int;
  new_id bigint;
  old_ids bigint[];
  new_ids bigint[];
  again bigint[];
begin
  if weir.requester_problem(fork_workflow.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(fork_workflow.by));
  end if;
  lock table weir.job_ready in row exclusive mode;
  w := weir.lock_workflow(fork_workflow.workflow_id);
  select u.i into missing from unnest(from_steps) with ordinality u(name, i)
  where not exists (select from weir.workflow_step s
    where s.workflow_id = w.id and s.name = u.name and s.compensates is null)
  order by u.i limit 1;
  if missing is not null then
    perform weir.refuse_argument(format('from[%s]', missing - 1), 'names no step of the workflow');
  elsif coalesce(cardinality(from_steps), 0) = 0 then
    perform weir.refuse_argument('from', 'must name at least one step');
  end if;
  -- The steps named, those that did not complete, the compensations, and what depends on any of them.
  with recursive again (id) as (
    select s.job_id from weir.workflow_step s
    where s.workflow_id = w.id and (s.name = any (from_steps) or s.compensates is not null
      or (select o.state from weir.job_outcome o where o.job_id = s.job_id) is distinct from 'completed')
    union
    select c.id from again a join weir.workflow_step s on s.job_id = a.id cross join unnest(s.children) c(id)
  )
  select array_agg(a.id) into again from again a;
  new_id := nextval('weir.job_id_seq');
  select array_agg(x.job_id order by x.job_id), array_agg(x.new_id order by x.job_id) into old_ids, new_ids
  from (select s.job_id, nextval('weir.job_id_seq') as new_id
    from (select y.job_id from weir.workflow_step y where y.workflow_id = w.id order by y.job_id) s) x;
  insert into weir.workflow (id, name, on_failure, steps, last_id, waits_for, counts_all, compensable,
    deadline_seconds, deadline_at, metadata, forked_from, tenant, principal)
  values (new_id, w.name, w.on_failure, w.steps, new_ids[cardinality(new_ids)],
    w.steps - (select count(*) from unnest(old_ids) o where o <> all (again)), true, w.compensable,
    w.deadline_seconds, clock_timestamp() + make_interval(secs => w.deadline_seconds), w.metadata, w.id,
    w.tenant, w.principal);
  perform weir.copy_steps(new_id, old_ids, new_ids, again);
  insert into weir.workflow_event (workflow_id, event, detail)
  values (w.id, 'forked', jsonb_strip_nulls(jsonb_build_object('workflow_id', new_id::text,
    'from', to_jsonb(from_steps), 'by', by)));
  perform weir.reevaluate_steps(array(select m.new from unnest(old_ids, new_ids) m(old, new)
    where m.old = any (again)));
  perform weir.record_change('forkWorkflow', 'workflows/' || w.id, null, jsonb_strip_nulls(jsonb_build_object(
    'workflow_id', new_id::text, 'from', to_jsonb(from_steps), 'by', by)));
  return new_id;
end $$;
comment on function weir.fork_workflow(bigint, text[], text) is
  'Submits a copy of a workflow in which the steps named, all that did not complete, and all that depend on those run '
  'again. The others have the results that they had. Returns the id of the new workflow. Errors: WR010, WR019, '
  'WR018, WR050.';

-- Step old_ids[i] becomes new_ids[i]. again: the old steps that run again; the others are copied as completed.
create or replace function weir.copy_steps(new_id bigint, old_ids bigint[], new_ids bigint[], again bigint[])
returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
begin
  insert into weir.workflow_step (job_id, workflow_id, number, dependencies, is_last, plain, needs, name, depends_on,
    children, on_failure, compensated_by, compensates, delay_seconds, run_at, wait_for, workflow, added_by,
    copied_from)
  select m.new, copy_steps.new_id, s.number, s.dependencies, s.is_last, s.plain, s.needs, s.name,
    array(select new_ids[array_position(old_ids, d.id)] from unnest(s.depends_on) with ordinality d(id, n)
      order by d.n),
    array(select new_ids[array_position(old_ids, c)] from unnest(s.children) c order by 1),
    s.on_failure, new_ids[array_position(old_ids, s.compensated_by)],
    new_ids[array_position(old_ids, s.compensates)], s.delay_seconds, s.run_at, s.wait_for, s.workflow,
    new_ids[array_position(old_ids, s.added_by)], case when s.job_id <> all (again) then s.job_id end
  from unnest(old_ids, new_ids) m(old, new) join weir.workflow_step s on s.job_id = m.old;
  perform weir.fitting_jobs(old_ids, false);
  perform weir.charge_copies(old_ids, new_ids, again);
  insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args, retry, tags, metadata,
    tenant, parent_id, result_ttl_seconds, workflow_id, step, concurrency_key, breaker, principal)
  select m.new, j.queue_id, j.timeout_seconds, j.priority, j.max_attempts, j.kind, j.args, j.retry, j.tags,
    j.metadata, j.tenant, j.parent_id, j.result_ttl_seconds, copy_steps.new_id, j.step, j.concurrency_key, j.breaker,
    j.principal
  from unnest(old_ids, new_ids) m(old, new) join weir.job j on j.id = m.old;
  insert into weir.job_outcome (job_id, queue_id, state, attempt, worker, result, result_until)
  select m.new, o.queue_id, o.state, o.attempt, o.worker, o.result, o.result_until
  from unnest(old_ids, new_ids) m(old, new) join weir.job_outcome o on o.job_id = m.old
  where m.old <> all (again);
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason)
  select m.new, j.queue_id, j.priority, 0, 'dependency'
  from unnest(old_ids, new_ids) m(old, new) join weir.job j on j.id = m.old where m.old = any (again);
  update weir.queue q set deleted_at = null
  where q.deleted_at is not null and q.id in (select j.queue_id from weir.job j where j.id = any (old_ids));
end $$;
comment on function weir.copy_steps(bigint, bigint[], bigint[], bigint[]) is
  'Internal, for weir.fork_workflow. Copies the steps of a workflow and their jobs into a new one.';
