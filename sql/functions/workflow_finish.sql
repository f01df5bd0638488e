-- The end of a workflow: counting down its steps, running its compensations, and deciding how it ended.
--
-- While every step completes, only the last steps are counted (weir.workflow_step.is_last), so that most completions
-- write nothing to the workflow's row. From the first step that does not complete, all steps are counted (counts_all).

-- For an UPDATE, in which it is inlined: the workflow ends now, and nothing but completions happened to it.
create or replace function weir.completes_with(w weir.workflow, last_steps int) returns boolean
language sql immutable as $$
  select w.waits_for = last_steps and not w.counts_all and not w.compensable and w.state = 'running'
$$;
comment on function weir.completes_with(weir.workflow, int) is
  'Internal. All steps of a workflow have completed once this many more of its last steps have.';

-- Counts off steps that ended, and ends the workflows that have no open step left. The workflows are locked. Only
-- settle_steps calls it, whose planner settings hold here.
create or replace function weir.finish_workflows(ended bigint[], all_completed boolean) returns void
language plpgsql as $$
declare
  lowest bigint := (select min(i) from unnest(ended) i);
  highest bigint := (select max(i) from unnest(ended) i);
  counts record;
  changed record;
begin
  select array_agg(c.id) as ids, array_agg(c.steps) as steps, array_agg(c.last_steps) as last_steps into counts
  from (
    select s.workflow_id as id, count(*) filter (where s.compensates is null)::int as steps,
      count(*) filter (where s.is_last)::int as last_steps
    from (select x.workflow_id, x.compensates, x.is_last from weir.workflow_step x
      where x.job_id = any (ended) and x.job_id between lowest and highest offset 0) s
    group by s.workflow_id) c;
  if not all_completed then
    perform weir.count_all_steps(counts.ids, ended);
  end if;
  -- A workflow whose steps all completed ends here, without reading them. For any other, finish_workflow decides how.
  for changed in
    update weir.workflow w set
      waits_for = w.waits_for - case when w.counts_all then c.steps else c.last_steps end,
      state = case when weir.completes_with(w, c.last_steps) then 'completed' else w.state end,
      finished_at = case when weir.completes_with(w, c.last_steps) then clock_timestamp() end,
      completed = case when weir.completes_with(w, c.last_steps) then w.steps end,
      dead = case when weir.completes_with(w, c.last_steps) then 0 end,
      cancelled = case when weir.completes_with(w, c.last_steps) then 0 end
    from unnest(counts.ids, counts.steps, counts.last_steps) c(id, steps, last_steps)
    where c.id = w.id and w.id = any (counts.ids) and w.finished_at is null
      and (c.last_steps > 0 or w.counts_all or w.state = 'compensating')
    returning w.id, w.waits_for, w.state, w.parent_job_id
  loop
    if changed.state <> 'completed' and (changed.waits_for = 0 or changed.state = 'compensating') then
      perform weir.finish_workflow(changed.id);
    elsif changed.state = 'completed' and changed.parent_job_id is not null then
      perform weir.end_parent_step(changed.id);
    end if;
  end loop;
end $$;
comment on function weir.finish_workflows(bigint[], boolean) is
  'Internal. Counts off steps that ended, and ends or compensates the workflows that have none left.';

-- just_ended: the steps that the caller is about to count off. The workflows are locked.
create or replace function weir.count_all_steps(workflow_ids bigint[], just_ended bigint[]) returns void
language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  lowest bigint := (select min(i) from unnest(just_ended) i);
  highest bigint := (select max(i) from unnest(just_ended) i);
begin
  -- Here and below a value is read, not its existence: for EXISTS, the planner may hash a whole index.
  workflow_ids := array(select i from unnest(workflow_ids) i where i in (
    select x.workflow_id
    from (select s.workflow_id, s.job_id from weir.workflow_step s
      where s.job_id = any (just_ended) and s.job_id between lowest and highest offset 0) x
    where (select o.state from weir.job_outcome o where o.job_id = x.job_id) <> 'completed'));
  update weir.workflow w set counts_all = true, waits_for = (
      select count(*) from weir.workflow_step s
      where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is null
        and (s.job_id = any (just_ended)
          or (select o.job_id from weir.job_outcome o where o.job_id = s.job_id) is null))
  where w.id = any (workflow_ids) and not w.counts_all;
end $$;
comment on function weir.count_all_steps(bigint[], bigint[]) is
  'Internal. Those of these workflows in which a step did not complete count all their steps from now on.';

-- Called for a locked workflow of which no step is open, except perhaps compensations.
create or replace function weir.finish_workflow(workflow_id bigint) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  counts record;
begin
  select * into w from weir.workflow x where x.id = workflow_id;
  if w.finished_at is not null or w.waits_for > 0 then
    return;
  elsif w.compensable and weir.compensate(w) then
    return;
  end if;
  select count(*) filter (where o.state = 'completed' and s.compensates is null) as completed,
    count(*) filter (where o.state = 'dead' and s.compensates is null) as dead,
    count(*) filter (where o.state = 'cancelled' and s.compensates is null) as cancelled,
    count(*) filter (where o.state = 'dead') as all_dead,
    count(*) filter (where o.state = 'cancelled' and s.compensates is null
      and o.error ->> 'type' is distinct from 'skipped') as cancelled_by_hand into counts
  from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id
  where s.workflow_id = w.id and s.job_id between w.id and w.last_id;
  update weir.workflow x set finished_at = clock_timestamp(), completed = counts.completed, dead = counts.dead,
    cancelled = counts.cancelled,
    state = coalesce(x.stop_as, case when counts.all_dead > 0 then 'failed'
      when counts.cancelled_by_hand > 0 then 'cancelled' else 'completed' end),
    failure = coalesce(x.failure, case when counts.all_dead > 0 then (
      select jsonb_build_object('type', 'step', 'step', s.name,
        'message', left(format('step %s is dead: %s', s.name, o.error ->> 'message'), 1000))
      from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id
      where s.workflow_id = w.id and s.job_id between w.id and w.last_id and o.state = 'dead'
      order by o.finished_at limit 1) end)
  where x.id = w.id;
  if w.parent_job_id is not null then
    perform weir.end_parent_step(w.id);
  end if;
end $$;
comment on function weir.finish_workflow(bigint) is
  'Internal. Runs the next compensation of a workflow that has no other open step, or ends it.';

-- Compensations run one at a time, that of the step that completed last first. True: one runs, or was just released.
-- False: none is left to run, and those that were not needed are cancelled.
create or replace function weir.compensate(w weir.workflow) returns boolean language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
  compensations bigint[] := array(select s.job_id from weir.workflow_step s
    where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is not null);
  held bigint[] := array(select h.job_id from weir.job_held h
    where h.job_id = any (compensations) and h.reason = 'dependency');
  next bigint;
begin
  if w.compensates then
    if exists (select from unnest(compensations) c
        where c <> all (held) and not exists (select from weir.job_outcome o where o.job_id = c)) then
      return true;
    end if;
    next := (select s.job_id from weir.workflow_step s join weir.job_outcome o on o.job_id = s.compensates
      where s.job_id = any (held) and o.state = 'completed' order by o.finished_at desc, o.job_id desc limit 1);
    if next is not null then
      if w.state <> 'compensating' then
        update weir.workflow x set state = 'compensating', stopped_at = coalesce(x.stopped_at, clock_timestamp())
        where x.id = w.id;
        insert into weir.workflow_event (workflow_id, event) values (w.id, 'compensating');
      end if;
      perform weir.settle_steps('{}', '{}', case when s.plain then array[next] else '{}' end,
        case when s.plain then '{}' else array[next] end)
      from weir.workflow_step s where s.job_id = next;
      return true;
    end if;
  end if;
  with unused as (delete from weir.job_held h where h.job_id = any (held) returning h.*)
  insert into weir.job_outcome (job_id, queue_id, state, attempt, error)
  select u.job_id, u.queue_id, 'cancelled', u.attempt,
    '{"type": "skipped", "message": "there was nothing to compensate"}' from unused u;
  return false;
end $$;
comment on function weir.compensate(weir.workflow) is
  'Internal. Runs the next compensation of a workflow. False: none is left, and the workflow may end.';
