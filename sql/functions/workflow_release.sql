-- Settling: what the end of a step changes. Which steps can run now, which never will, and has the workflow ended?
--
-- on_steps_ended is the way in for steps that a worker had. It locks the workflows and calls settle_steps, and so does
-- every other function that ends a step (workflow_wait.sql, workflow_change.sql). settle_steps repeats these rounds
-- until nothing changes: evaluate_children decides, release_steps, begin_deferred_step and skip_steps act,
-- stop_workflows_of_dead_steps stops what failed. How a workflow ends is in workflow_finish.sql. The functions that
-- only settle_steps calls have no planner settings: its own hold while it runs, and setting them again costs a single
-- completion 6 % of its CPU time.
--
-- Everywhere here: `completed` goes with `ended`, and says of each step whether it completed (true) or died, was
-- cancelled or was skipped (false). A step is deferred if no worker may have it as soon as its condition holds, because
-- of a delay, a time, a signal or a child workflow (weir.workflow_step.plain is false).

-- Called by on_jobs_ended, after the new state of the jobs is written.
-- Locks: weir.job_ready against advance_frontier; then the workflows of the steps and their ancestors.
create or replace function weir.on_steps_ended(job_ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_nestloop = off set enable_mergejoin = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  workflow_ids bigint[];
  ended bigint[];
  completed boolean[];
  cancelled bigint[];
begin
  -- OFFSET 0, here and below, keeps the planner from reading a whole index for the sake of its order.
  select array_agg(distinct x.workflow_id) into workflow_ids
  from (select s.workflow_id from weir.workflow_step s
    where s.job_id = any (job_ids) and s.job_id between lowest and highest offset 0) x;
  if workflow_ids is null then
    return;
  end if;
  lock table weir.job_ready in row exclusive mode;  -- before a number is drawn: see frontier.sql
  perform weir.lock_workflows(workflow_ids);
  select array_agg(o.job_id), array_agg(o.state = 'completed') into ended, completed
  from weir.job_outcome o where o.job_id = any (job_ids) and o.job_id between lowest and highest;
  if coalesce(cardinality(ended), 0) < cardinality(job_ids) then
    -- Some steps wait again: for a retry, or because their worker released them. A workflow that is stopping keeps
    -- none.
    cancelled := array(select s.job_id from weir.workflow_step s
      where s.job_id = any (job_ids) and s.job_id <> all (coalesce(ended, '{}')) and s.compensates is null
        and s.workflow_id in (select w.id from weir.workflow w
          where w.id = any (workflow_ids) and w.state in ('stopping', 'compensating')));
    if cancelled <> '{}' then
      cancelled := weir.cancel_waiting_steps(cancelled, '{"type": "stopped", "message": "its workflow was stopped"}');
      ended := ended || cancelled;
      completed := completed || array_fill(false, array[cardinality(cancelled)]);
    end if;
  end if;
  if ended is not null then
    perform weir.settle_steps(ended, completed);
  end if;
end $$;
comment on function weir.on_steps_ended(bigint[]) is
  'Internal. For jobs that left their worker or were cancelled, and may be steps: settles their workflows.';

-- The one place where steps are released and skipped, and workflows end. The caller has locked the workflows.
-- to_release, to_begin, to_skip: held steps that the caller has decided about already: plain ones and deferred ones
-- whose condition holds, and those whose condition can no longer hold, each with the name of the step to blame.
create or replace function weir.settle_steps(ended bigint[], completed boolean[], to_release bigint[] default '{}',
  to_begin bigint[] default '{}', to_skip bigint[] default '{}', skip_causes text[] default '{}')
returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_nestloop = off set enable_mergejoin = off as $$
declare
  all_ended bigint[] := '{}';
  all_completed boolean := true;
  dead bigint[] := '{}';
  decided record;
  queue_ids int[] := '{}';
begin
  loop
    if ended <> '{}' then
      all_ended := all_ended || ended;
      all_completed := all_completed and true = all (completed);
      select * into decided from weir.evaluate_children(ended, completed);
      to_release := to_release || decided.to_release;
      to_begin := to_begin || decided.to_begin;
      to_skip := to_skip || decided.to_skip;
      skip_causes := skip_causes || decided.skip_causes;
      if not all_completed then
        dead := dead || array(select o.job_id from weir.job_outcome o
          where o.job_id = any (ended) and o.job_id between (select min(i) from unnest(ended) i)
            and (select max(i) from unnest(ended) i) and o.state = 'dead');
        perform weir.clear_waits(ended);
      end if;
    end if;
    ended := '{}';
    completed := '{}';

    if to_release <> '{}' then
      queue_ids := queue_ids || weir.release_steps(to_release);
      to_release := '{}';
    end if;
    if to_begin <> '{}' then
      ended := array(select x.id from unnest(to_begin) x(id) where weir.begin_deferred_step(x.id));
      completed := array_fill(true, array[cardinality(ended)]);
      to_begin := '{}';
    end if;
    if to_skip <> '{}' then
      ended := ended || weir.skip_steps(to_skip, skip_causes);
      completed := completed || array_fill(false, array[cardinality(ended) - cardinality(completed)]);
      to_skip := '{}';
      skip_causes := '{}';
    end if;
    continue when ended <> '{}';

    -- Only now, when all that could still run has been released: a dead step may stop its workflow, which ends more.
    exit when dead = '{}';
    ended := weir.stop_workflows_of_dead_steps(dead);
    completed := array_fill(false, array[cardinality(ended)]);
    dead := '{}';
    exit when ended = '{}';
  end loop;

  if queue_ids <> '{}' then
    perform weir.wake(array(select q.name from weir.queue q where q.id = any (queue_ids)));
  end if;
  if all_ended <> '{}' then
    perform weir.finish_workflows(all_ended, all_completed);
  end if;
end $$;
comment on function weir.settle_steps(bigint[], boolean[], bigint[], bigint[], bigint[], text[]) is
  'Internal. Releases and skips steps, and stops and ends workflows, until nothing changes.';

-- Decides about the steps that depend on those that ended. Those that wait for several steps are counted down.
create or replace function weir.evaluate_children(ended bigint[], completed boolean[], out to_release bigint[],
  out to_begin bigint[], out to_skip bigint[], out skip_causes text[])
language plpgsql as $$
declare
  lowest bigint := (select min(i) from unnest(ended) i);
  highest bigint := (select max(i) from unnest(ended) i);
  children record;
  decided record;
  counted record;
begin
  with parent as materialized (
    select s.job_id, s.name, s.children
    from weir.workflow_step s where s.job_id = any (ended) and s.job_id between lowest and highest
  ), child as materialized (
    select c.id, count(*) filter (where e.completed)::int as completed,
      count(*) filter (where not e.completed)::int as failed, min(p.name) filter (where not e.completed) as cause
    from parent p join unnest(ended, completed) e(id, completed) on e.id = p.job_id
      cross join lateral unnest(p.children) c(id)
    group by c.id
  )
  select array_agg(c.id) as ids, array_agg(c.completed) as completed, array_agg(c.failed) as failed,
    array_agg(c.cause) as causes, min(c.id) as lowest, max(c.id) as highest into children from child c;
  if children.ids is null then
    to_release := '{}';
    to_begin := '{}';
    to_skip := '{}';
    skip_causes := '{}';
    return;
  end if;

  with child as materialized (
    select s.job_id, s.needs, s.dependencies, s.plain
    from weir.workflow_step s
    where s.job_id = any (children.ids) and s.job_id between children.lowest and children.highest
  ), decided as materialized (
    select c.*, n.completed + n.failed as ended, n.cause,
      case when c.needs = 'completed' and n.failed > 0
          or c.needs = 'any' and c.dependencies = 1 and n.completed = 0 then 'skip'
        when c.needs = 'any' and n.completed > 0 or c.dependencies = 1 then 'run' else 'count' end as decision
    from child c
      join unnest(children.ids, children.completed, children.failed, children.causes) n(id, completed, failed, cause)
        on n.id = c.job_id
  )
  select array_agg(d.job_id) filter (where d.dependencies = 1 and d.decision = 'run' and d.plain) as to_release,
    array_agg(d.job_id) filter (where d.dependencies = 1 and d.decision = 'run' and not d.plain) as to_begin,
    array_agg(d.job_id) filter (where d.dependencies = 1 and d.decision = 'skip') as to_skip,
    array_agg(d.cause) filter (where d.dependencies = 1 and d.decision = 'skip') as skip_causes,
    array_agg(d.job_id) filter (where d.dependencies > 1) as join_ids,
    array_agg(d.ended) filter (where d.dependencies > 1) as join_ended,
    array_agg(d.decision) filter (where d.dependencies > 1) as join_decisions,
    array_agg(d.plain) filter (where d.dependencies > 1) as join_plain,
    array_agg(d.needs) filter (where d.dependencies > 1) as join_needs,
    array_agg(d.cause) filter (where d.dependencies > 1) as join_causes into decided from decided d;
  to_release := coalesce(decided.to_release, '{}');
  to_begin := coalesce(decided.to_begin, '{}');
  to_skip := coalesce(decided.to_skip, '{}');
  skip_causes := coalesce(decided.skip_causes, '{}');
  if decided.join_ids is not null then
    select * into counted from weir.count_down_joins(decided.join_ids, decided.join_ended, decided.join_decisions,
      decided.join_plain, decided.join_needs, decided.join_causes);
    to_release := to_release || counted.to_release;
    to_begin := to_begin || counted.to_begin;
    to_skip := to_skip || counted.to_skip;
    skip_causes := skip_causes || counted.skip_causes;
  end if;
end $$;
comment on function weir.evaluate_children(bigint[], boolean[]) is
  'Internal. Which steps that depend on these may run now (plain ones: to_release, deferred ones: to_begin), and which '
  'never can (to_skip, skip_causes).';

-- Counts down the steps that wait for several others: one update for each step that still waits, however many of its
-- dependencies ended in this call. A step that is decided loses its row. decisions: run and skip where a single end
-- decides, else count. Parallel arrays: what is known of step ids[i] is at place i of the others.
create or replace function weir.count_down_joins(ids bigint[], ended int[], decisions text[], plain boolean[],
  needs text[], causes text[], out to_release bigint[], out to_begin bigint[], out to_skip bigint[],
  out skip_causes text[])
language plpgsql as $$
begin
  with input as materialized (
    select * from unnest(count_down_joins.ids, count_down_joins.ended, count_down_joins.decisions,
      count_down_joins.plain, count_down_joins.needs, count_down_joins.causes) i(id, n, decision, plain, needs, cause)
  ), counted as (
    update weir.workflow_join j set waits_for = j.waits_for - i.n from input i
    where i.id = j.job_id and i.decision = 'count' and j.job_id = any (count_down_joins.ids) and j.waits_for > i.n
  ), done as (
    delete from weir.workflow_join j using input i
    where i.id = j.job_id and j.job_id = any (count_down_joins.ids) and (i.decision <> 'count' or j.waits_for <= i.n)
    -- Where the count of an `any` step ends at 0, none of its dependencies completed.
    returning i.id, i.plain, i.decision = 'skip' or i.decision = 'count' and i.needs = 'any' as skipped, i.cause
  )
  select coalesce(array_agg(d.id) filter (where not d.skipped and d.plain), '{}'),
    coalesce(array_agg(d.id) filter (where not d.skipped and not d.plain), '{}'),
    coalesce(array_agg(d.id) filter (where d.skipped), '{}'),
    coalesce(array_agg(d.cause) filter (where d.skipped), '{}')
    into to_release, to_begin, to_skip, skip_causes from done d;
end $$;
comment on function weir.count_down_joins(bigint[], int[], text[], boolean[], text[], text[]) is
  'Internal, for evaluate_children: the steps with several dependencies.';

-- A step that was cancelled may still have had a count, a wait or a child workflow.
create or replace function weir.clear_waits(job_ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  child_id bigint;
begin
  delete from weir.workflow_join j where j.job_id = any (job_ids);
  delete from weir.workflow_wait x where x.job_id = any (job_ids);
  for child_id in
    select x.id from unnest(job_ids) j(id) cross join lateral (
      select w.id, w.finished_at from weir.workflow w where w.parent_job_id = j.id offset 0) x
    where x.finished_at is null order by x.id
  loop
    perform weir.cancel_unless_ended(child_id,
      '{"type": "cancelled", "message": "the step that waited for it was cancelled"}', false);
  end loop;
end $$;
comment on function weir.clear_waits(bigint[]) is
  'Internal. Deletes what steps that have ended were waiting for, and cancels their child workflows.';

-- Returns the ids of the queues in which jobs became available.
create or replace function weir.release_steps(job_ids bigint[]) returns int[] language plpgsql as $$
declare
  queue_ids int[];
begin
  with released as (
    delete from weir.job_held h where h.job_id = any (job_ids) and h.reason = 'dependency'
    returning h.job_id, h.queue_id, h.priority, h.attempt
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select r.queue_id, r.priority, r.attempt, nextval('weir.job_id_seq'), r.job_id
    from (select * from released x order by x.job_id) r
  )
  select array_agg(distinct r.queue_id) into queue_ids from released r;
  return coalesce(queue_ids, '{}');
end $$;
comment on function weir.release_steps(bigint[]) is
  'Internal. Makes held steps available. Returns the ids of their queues.';

-- Returns the steps that it skipped: those that were still held. causes[i]: the step that job_ids[i] needed.
create or replace function weir.skip_steps(job_ids bigint[], causes text[]) returns bigint[] language plpgsql as $$
declare
  skipped bigint[];
begin
  with held as (
    delete from weir.job_held h where h.job_id = any (job_ids) and h.reason = 'dependency'
    returning h.job_id, h.queue_id, h.attempt
  ), ended as (
    insert into weir.job_outcome as o (job_id, queue_id, state, attempt, error)
    select h.job_id, h.queue_id, 'cancelled', h.attempt, jsonb_build_object('type', 'skipped',
      'message', format('step %s, which it depends on, did not complete', c.name))
    from held h join unnest(job_ids, causes) c(id, name) on c.id = h.job_id
    returning o.job_id
  )
  select array_agg(e.job_id) into skipped from ended e;
  return coalesce(skipped, '{}');
end $$;
comment on function weir.skip_steps(bigint[], text[]) is
  'Internal. Cancels held steps whose condition can no longer hold. Returns them.';

-- Returns the steps that were cancelled with their workflows; the caller settles them.
create or replace function weir.stop_workflows_of_dead_steps(job_ids bigint[]) returns bigint[] language plpgsql as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  stop record;
  cancelled bigint[] := '{}';
begin
  for stop in
    -- One dead step a workflow: first those that ask for compensation, then the one that died first.
    select distinct on (w.id) w.id, s.name, o.error ->> 'message' as message,
      coalesce(s.on_failure, w.on_failure) = 'compensate' as compensates
    from (select x.* from weir.workflow_step x
        where x.job_id = any (job_ids) and x.job_id between lowest and highest offset 0) s
      join weir.workflow w on w.id = s.workflow_id join weir.job_outcome o on o.job_id = s.job_id
    where o.job_id = any (job_ids) and o.job_id between lowest and highest
      and w.id = any (array(select x.workflow_id from weir.workflow_step x
        where x.job_id = any (job_ids) and x.job_id between lowest and highest))
      and w.state = 'running' and coalesce(s.on_failure, w.on_failure) <> 'continue'
    order by w.id, coalesce(s.on_failure, w.on_failure) <> 'compensate', o.finished_at
  loop
    cancelled := cancelled || weir.stop_workflow(stop.id, 'failed', jsonb_build_object('type', 'step',
      'step', stop.name, 'message', left(format('step %s is dead: %s', stop.name, stop.message), 1000)),
      stop.compensates, false);
  end loop;
  return cancelled;
end $$;
comment on function weir.stop_workflows_of_dead_steps(bigint[]) is
  'Internal. Stops the workflows that a dead step makes fail. Returns the steps that were cancelled.';

-- Decides about held steps from the state of their dependencies, not from counts: for steps that were just added, and
-- when steps that had ended run again. The caller has locked the workflows.
create or replace function weir.reevaluate_steps(job_ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  to_release bigint[];
  to_begin bigint[];
  to_skip bigint[];
  skip_causes text[];
begin
  delete from weir.workflow_join j where j.job_id = any (job_ids);
  with decided as materialized (
    select s.job_id, s.plain, s.dependencies, d.open, d.cause,
      case when s.needs = 'completed' and d.failed > 0
          or s.needs = 'any' and d.completed = 0 and d.open = 0 and s.dependencies > 0 then 'skip'
        when d.open = 0 or s.needs = 'any' and d.completed > 0 then 'run' end as decision
    from weir.job_held h join weir.workflow_step s on s.job_id = h.job_id
    cross join lateral (
      select count(*) filter (where o.state = 'completed') as completed,
        count(*) filter (where o.state <> 'completed') as failed, count(*) filter (where o.job_id is null) as open,
        (select p.name from weir.workflow_step p
          where p.job_id = min(x.id) filter (where o.state <> 'completed')) as cause
      from unnest(s.depends_on) x(id) left join lateral (
        select p.job_id, p.state from weir.job_outcome p where p.job_id = x.id offset 0) o on true
    ) d
    where h.job_id = any (job_ids) and h.reason = 'dependency' and s.compensates is null
  ), joins as (
    insert into weir.workflow_join (job_id, waits_for)
    select d.job_id, d.open from decided d where d.decision is null and d.dependencies > 1
  )
  select coalesce(array_agg(d.job_id) filter (where d.decision = 'run' and d.plain), '{}'),
    coalesce(array_agg(d.job_id) filter (where d.decision = 'run' and not d.plain), '{}'),
    coalesce(array_agg(d.job_id) filter (where d.decision = 'skip'), '{}'),
    coalesce(array_agg(d.cause) filter (where d.decision = 'skip'), '{}')
    into to_release, to_begin, to_skip, skip_causes from decided d;
  if to_release <> '{}' or to_begin <> '{}' or to_skip <> '{}' then
    perform weir.settle_steps('{}', '{}', to_release, to_begin, to_skip, skip_causes);
  end if;
end $$;
comment on function weir.reevaluate_steps(bigint[]) is
  'Internal. Releases, skips or counts held steps anew, by the state of their dependencies.';
