-- Submitting workflows, and adding steps to one that runs. Everything is checked (workflow_check.sql) before anything
-- is stored; after that, only a queue that is full makes a submission fail.

create or replace function weir.submit_workflow(definition jsonb) returns bigint language plpgsql as $$
begin
  return (select s.workflow_id from weir.store_workflow(weir.impose_on_workflow(definition),
    tenant => weir.login_tenant()) s);
end $$;
comment on function weir.submit_workflow(jsonb) is
  'Stores a workflow with all its steps inside the caller''s transaction and returns its id: {name, steps, '
  'on_failure, deadline_seconds, metadata, idempotency_key}. A step: {name, kind, args, depends_on, needs, '
  'on_failure, compensation, and the options of a job}, or wait_for or workflow in place of the kind. Unknown names, '
  'duplicate names and cycles are refused before anything is stored. Errors: WR006, WR010, WR013, WR016, WR018, WR019.';

-- parent_job_id, ancestors: of a child workflow, the step that waits for it and the workflows around it. It has their
-- tenant and principal. tenant: of all its steps, whatever they say; null: the one that they agree on, if they do.
-- Locks: weir.job_ready against advance_frontier; an idempotency key; then as enqueue_batch.
create or replace function weir.store_workflow(definition jsonb, parent_job_id bigint default null,
  ancestors bigint[] default null, tenant text default null, principal int default null, out workflow_id bigint,
    out duplicate boolean)
language plpgsql as $$
declare
  w weir.workflow;
  problem text[] := weir.workflow_problem(coalesce(definition, '[]'));
  stored record;
  first_id bigint;
begin
  if problem is not null then
    perform weir.refuse_argument(coalesce(nullif(problem[1], ''), 'definition'), problem[2]);
  end if;
  lock table weir.job_ready in row exclusive mode;  -- before a number is drawn: see frontier.sql
  w.id := nextval('weir.job_id_seq');
  if definition ->> 'idempotency_key' is not null then
    first_id := weir.take_idempotency_key(definition, store_workflow.tenant, w.id);
    if first_id <> w.id then
      workflow_id := first_id;
      duplicate := true;
      return;
    end if;
  end if;
  if store_workflow.parent_job_id is not null then
    select p.tenant, p.principal into w.tenant, w.principal
    from weir.workflow_step s join weir.workflow p on p.id = s.workflow_id
    where s.job_id = store_workflow.parent_job_id;
  else
    w.tenant := store_workflow.tenant;
    w.principal := store_workflow.principal;
  end if;
  w.tenant := coalesce(w.tenant, weir.tenant_of_steps(definition -> 'steps'));
  w.steps := 0;
  w.created_at := clock_timestamp();
  select * into stored from weir.store_steps(w, definition -> 'steps');
  insert into weir.workflow (id, created_at, name, on_failure, steps, last_id, waits_for, compensable,
    deadline_seconds, deadline_at, metadata, parent_job_id, ancestors, tenant, principal)
  values (w.id, w.created_at, definition ->> 'name', coalesce(definition ->> 'on_failure', 'fail_fast'), stored.steps,
    stored.last_id, stored.last_steps, stored.compensable, (definition ->> 'deadline_seconds')::float8,
    clock_timestamp() + make_interval(secs => (definition ->> 'deadline_seconds')::float8),
    case when definition ->> 'metadata' is not null then definition -> 'metadata' end,
    store_workflow.parent_job_id, store_workflow.ancestors, w.tenant, w.principal);
  if stored.unsettled <> '{}' then
    perform weir.reevaluate_steps(stored.unsettled);
  end if;
  workflow_id := w.id;
  duplicate := false;
end $$;
comment on function weir.store_workflow(jsonb, bigint, bigint[], text, int) is
  'Internal. weir.submit_workflow, also for child workflows. duplicate: the idempotency key is taken, and the workflow '
  'is the first one''s.';

create or replace function weir.tenant_of_steps(steps jsonb) returns text language sql immutable as $$
  select case when count(*) = count(s.step ->> 'tenant') and min(s.step ->> 'tenant') = max(s.step ->> 'tenant')
    then min(s.step ->> 'tenant') end
  from jsonb_array_elements(case when jsonb_typeof(steps) = 'array' then steps else '[]' end) s(step)
$$;
comment on function weir.tenant_of_steps(jsonb) is 'Internal. The tenant that all of these steps have, or null.';

-- What is no step is left for check_steps to refuse.
create or replace function weir.stamp_steps(w weir.workflow, steps jsonb) returns jsonb language sql immutable as $$
  select case when w.tenant is null or jsonb_typeof(steps) is distinct from 'array' then steps
    else (select coalesce(jsonb_agg(case when jsonb_typeof(s.step) <> 'object' then s.step
        else s.step || jsonb_build_object('tenant', w.tenant) end
        order by s.n), '[]')
      from jsonb_array_elements(steps) with ordinality s(step, n)) end
$$;
comment on function weir.stamp_steps(weir.workflow, jsonb) is
  'Internal. Steps with the tenant of their workflow, whatever they say.';

-- Locks: the job_lease row, for key share; the workflow and its ancestors; then as store_steps.
create or replace function weir.add_steps(job_id bigint, token bigint, steps jsonb) returns setof bigint
language plpgsql set jit = off set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  stored record;
begin
  perform weir.assert_lease(job_id, token);
  w.id := (select s.workflow_id from weir.workflow_step s where s.job_id = add_steps.job_id);
  if w.id is null then
    raise exception using errcode = 'WR054', message = format('job %s is not a step of a workflow', job_id),
      hint = 'Only a running step can add steps, and only to its own workflow.';
  end if;
  w := weir.lock_workflow(w.id);
  if w.state <> 'running' then
    perform weir.refuse_ended_workflow(w);
  end if;
  select * into stored from weir.store_steps(w, steps, job_id);
  update weir.workflow x set steps = x.steps + stored.steps, last_id = greatest(x.last_id, stored.last_id),
    waits_for = x.waits_for + case when x.counts_all then stored.steps else stored.last_steps end,
    compensable = x.compensable or stored.compensable
  where x.id = w.id;
  insert into weir.workflow_event (workflow_id, event, name, detail)
  select w.id, 'steps_added', s.name, jsonb_build_object('steps', jsonb_array_length(steps))
  from weir.workflow_step s where s.job_id = add_steps.job_id;
  if stored.unsettled <> '{}' then
    perform weir.reevaluate_steps(stored.unsettled);
  end if;
  return query select s.job_id from weir.workflow_step s
    where s.workflow_id = w.id and s.added_by = add_steps.job_id
      and s.name in (select x ->> 'name' from jsonb_array_elements(steps) x)
    order by s.number;
end $$;
comment on function weir.add_steps(bigint, bigint, jsonb) is
  'A running step (its job and token) adds steps to its own workflow. It may complete afterwards in the same '
  'transaction. The new steps may depend on it, on each other and on any other step. Returns the ids of their jobs '
  'in the order given. Errors: WR001, WR002, WR010, WR013, WR016, WR018, WR019, WR051 (the workflow is stopping), '
  'WR054 (the job is not a step).';

-- Checks steps, then stores them for a workflow that is locked or not stored yet. added_by: the step that adds them.
-- Returns what the workflow's row must know: how many steps there are (compensations not counted), how many of them are
-- last (a negative number where old steps no longer are), the highest id, and whether there is a compensation.
-- unsettled: held steps that may have nothing to wait for. The caller reevaluates them after it has written that row.
-- Its planner settings hold for enqueue_steps, insert_steps and extend_old_steps too, which only it calls.
-- Locks: as enqueue_batch; then old steps that new ones depend on.
create or replace function weir.store_steps(w weir.workflow, given jsonb, added_by bigint default null,
  out steps int, out last_steps int, out last_id bigint, out compensable boolean, out unsettled bigint[])
language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  definitions jsonb := weir.stamp_steps(w, given);
  g weir.step_graph := weir.check_steps(w, definitions, 'steps', added_by);
  ids bigint[];  -- of the steps in the order of the definitions
  counts record;
begin
  if exists (select from weir.queue q where q.tenant is not null) then
    definitions := weir.impose_queue_tenants(definitions, 'steps');
  end if;
  perform weir.refuse_foreign_breakers(definitions, 'steps');
  ids := weir.enqueue_steps(w, definitions, g);
  select * into counts from weir.insert_steps(w, definitions, g, ids, added_by);
  steps := counts.steps;
  last_steps := counts.last_steps;
  compensable := counts.compensable;
  last_id := (select max(i) from unnest(ids) i);
  unsettled := '{}';
  if added_by is not null or g.special then
    unsettled := array(select ids[d.n] from jsonb_array_elements(definitions) with ordinality d(step, n)
      where d.n <> all (g.compensations)
        and (d.step ->> 'kind' is null or added_by is not null and weir.has_dependencies(d.step))
      order by 1);
  end if;
  if g.old_parents <> '{}' then
    last_steps := last_steps - weir.extend_old_steps(definitions, g, ids);
  end if;
end $$;
comment on function weir.store_steps(weir.workflow, jsonb, bigint) is
  'Internal. Checks steps and stores them with their jobs. Returns what the workflow''s row must know.';

-- For queries in which it is inlined.
create or replace function weir.has_dependencies(step jsonb) returns boolean language sql immutable as $$
  select jsonb_array_length(case when step ->> 'depends_on' is not null then step -> 'depends_on' else '[]' end) > 0
$$;
comment on function weir.has_dependencies(jsonb) is 'Internal. The definition of a step names dependencies.';

-- Enqueues the jobs of checked steps in the order of their dependencies, so that each has a higher id than those it
-- depends on. Returns the ids in the order of the definitions.
create or replace function weir.enqueue_steps(w weir.workflow, definitions jsonb, g weir.step_graph) returns bigint[]
language plpgsql as $$
declare
  batch constant int := 10000;  -- as many as enqueue_batch takes
  step_fields constant text[] := '{name,depends_on,needs,on_failure,compensation,wait_for,workflow}';
  ranks int[] := g.ranks;
  compensations int[] := g.compensations;
  jobs jsonb;
  ids bigint[] := '{}';
begin
  select jsonb_agg(
      case when s.step ->> 'kind' is not null then s.job else s.job || jsonb_build_object('kind',
        case when s.step ->> 'workflow' is not null then 'weir.workflow' else 'weir.wait' end) end
      || jsonb_build_object('step', s.step -> 'name')
      || case when s.held then '{"held": true, "run_at": null, "delay_seconds": null}'::jsonb else '{}' end
      order by s.rank) into jobs
  from (
    select d.step, ranks[d.n] as rank, d.step - step_fields as job,
      weir.has_dependencies(d.step) or d.step ->> 'kind' is null or d.n = any (compensations) as held
    from jsonb_array_elements(definitions) with ordinality d(step, n)) s;
  if cardinality(ranks) <= batch then
    ids := array(select b.job_id from weir.enqueue_batch(jobs, w.id, principals => array[w.principal]) b);
  else
    for i in 0..(cardinality(ranks) - 1) / batch loop
      ids := ids || array(select b.job_id from weir.enqueue_batch(
        (select jsonb_agg(j.job order by j.n) from jsonb_array_elements(jobs) with ordinality j(job, n)
          where j.n > i * batch and j.n <= (i + 1) * batch), w.id, principals => array[w.principal]) b);
    end loop;
  end if;
  return array(select ids[r.rank] from unnest(ranks) with ordinality r(rank, n) order by r.n);
end $$;
comment on function weir.enqueue_steps(weir.workflow, jsonb, weir.step_graph) is
  'Internal. Enqueues the jobs of checked steps. Returns their ids in the order of the definitions.';

-- ids: of the jobs of these steps, in the order of the definitions.
create or replace function weir.insert_steps(w weir.workflow, definitions jsonb, g weir.step_graph, ids bigint[],
  added_by bigint, out steps int, out last_steps int, out compensable boolean)
language plpgsql as $$
#variable_conflict use_variable
begin
  with edge as materialized (
    select u.child, u.place, u.parent, coalesce(ids[u.parent], u.old) as parent_id, ids[u.child] as child_id
    from unnest(g.parents, g.children, g.places, g.old_parents) u(parent, child, place, old)
  ), dependency as materialized (
    select e.child, array_agg(e.parent_id order by e.place) as ids, count(*)::int as n from edge e group by e.child
  ), dependent as materialized (
    select e.parent, array_agg(e.child_id order by e.child_id) as ids,
      bool_and((definitions -> (e.child - 1) ->> 'needs') is not distinct from 'any') as only_any
    from edge e where e.parent is not null group by e.parent
  ), undo as materialized (
    select u.compensation, u.compensated from unnest(g.compensations, g.compensated) u(compensation, compensated)
  ), stored as (
    insert into weir.workflow_step (job_id, workflow_id, number, dependencies, is_last, plain, needs, name,
      depends_on, children, on_failure, compensated_by, compensates, delay_seconds, run_at, wait_for, workflow,
      added_by)
    select ids[d.n], w.id, case when added_by is null then 0 else w.steps end + d.n - 1, coalesce(up.n, 0),
      coalesce(down.only_any, true) and undoes.compensation is null,
      d.step ->> 'kind' is not null and d.step ->> 'delay_seconds' is null and d.step ->> 'run_at' is null,
      coalesce(d.step ->> 'needs', 'completed'), d.step ->> 'name', coalesce(up.ids, '{}'), coalesce(down.ids, '{}'),
      d.step ->> 'on_failure', ids[undone.compensation], ids[undoes.compensated],
      (d.step ->> 'delay_seconds')::float8, (d.step ->> 'run_at')::timestamptz,
      case when d.step ->> 'wait_for' is not null then d.step -> 'wait_for' end,
      case when d.step ->> 'workflow' is not null then d.step -> 'workflow' end, added_by
    from (select x.step, x.n::int as n from jsonb_array_elements(definitions) with ordinality x(step, n)) d
      left join dependency up on up.child = d.n
      left join dependent down on down.parent = d.n
      left join undo undoes on undoes.compensation = d.n
      left join undo undone on undone.compensated = d.n
    order by ids[d.n]
    returning is_last, compensates
  ), joins as (
    -- Steps that are added get theirs from reevaluate_steps: some of their dependencies may have ended.
    insert into weir.workflow_join (job_id, waits_for)
    select ids[d.child], d.n from dependency d where d.n > 1 and added_by is null
  )
  select count(*) filter (where s.compensates is null)::int, count(*) filter (where s.is_last)::int,
    bool_or(s.compensates is not null) into steps, last_steps, compensable from stored s;
end $$;
comment on function weir.insert_steps(weir.workflow, jsonb, weir.step_graph, bigint[], bigint) is
  'Internal. Stores the rows of steps whose jobs are stored. Returns how many, how many are last, and whether one is a '
  'compensation.';

-- Old steps that new ones depend on get them as children, and are no longer last, unless all their children are `any`
-- steps, which do not wait for every end. Returns how many open steps are no longer last.
create or replace function weir.extend_old_steps(definitions jsonb, g weir.step_graph, ids bigint[]) returns int
language plpgsql as $$
declare
  old_parents bigint[] := g.old_parents;
  lost int;
begin
  with added as materialized (
    select u.old, array_agg(ids[u.child] order by ids[u.child]) as ids,
      bool_and((definitions -> (u.child - 1) ->> 'needs') is not distinct from 'any') as only_any
    from unnest(old_parents, g.children) u(old, child) where u.old is not null group by u.old
  ), before as materialized (
    select s.job_id, s.is_last and not a.only_any
      and (select o.job_id from weir.job_outcome o where o.job_id = s.job_id) is null as lost
    from weir.workflow_step s join added a on a.old = s.job_id where s.job_id = any (old_parents)
  ), changed as (
    update weir.workflow_step s set children = s.children || a.ids, is_last = s.is_last and a.only_any from added a
    where s.job_id = a.old and s.job_id = any (old_parents)
  )
  select count(*) filter (where b.lost)::int into lost from before b;
  return lost;
end $$;
comment on function weir.extend_old_steps(jsonb, weir.step_graph, bigint[]) is
  'Internal. Adds new steps to the children of the old ones that they depend on. Returns how many open steps are no '
  'longer last.';

-- The tenant and the principal are the workflow's. A caller who is bound to queues sees it if it may use those of all
-- its steps; a step without a worker waits in none.
create or replace function weir.sees_workflow(bounds jsonb, workflow_id bigint, tenant text, principal int)
returns boolean language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
begin
  return bounds is null or (weir.is_within(bounds - 'queues', tenant, null, principal)
    and (bounds -> 'queues' is null or not exists (
      select from weir.workflow_step s join weir.job j on j.id = s.job_id join weir.queue q on q.id = j.queue_id
      where s.workflow_id = sees_workflow.workflow_id and j.kind not in ('weir.wait', 'weir.workflow')
        and not weir.is_within(jsonb_build_object('queues', bounds -> 'queues'), null, q.name, null))));
end $$;
comment on function weir.sees_workflow(jsonb, bigint, text, int) is
  'Internal. Whether a workflow is within the bounds of a caller (null: none).';
