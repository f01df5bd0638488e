-- workflow_submit

-- Stores steps of a workflow that is locked, or not yet there. added_by: the step that adds them. Returns what the workflow's row has to know, and
-- which of them may have nothing to wait for although they are held. Locks: as enqueue_batch; then steps that get children.
create or replace function weir.store_steps(w weir.workflow, steps jsonb, field text, added_by bigint default null, only_check boolean default false,
  out many int, out lasts int, out last_id bigint, out compensable boolean, out unsure bigint[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_nestloop = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  most int := coalesce(nullif(current_setting('weir.max_steps', true), '')::int, 10000);
  n int;
  names text[];
  unusual boolean;
  bad record;
  parents int[];
  children int[];
  places int[];
  wanted text[];
  olds bigint[];
  ordered int[];
  rank int[];
  comps int[];
  undone int[];
  ids bigint[] := '{}';
  id_of bigint[];
  jobs jsonb;
begin
  if jsonb_typeof(steps) is distinct from 'array' or jsonb_array_length(steps) = 0 then
    perform weir.refuse_argument(field, 'must be an array of at least one step');
  end if;
  n := jsonb_array_length(steps);
  if coalesce(w.steps, 0) + n > most then
    perform weir.refuse_argument(field, format('would make more than %s steps', most), 'Let steps do more each, or start workflows of their own. The setting weir.max_steps of the database is the limit.');
  end if;
  -- Most steps are plain, and seen to be so in one expression; the others are looked at one by one.
  select array_agg(e.step ->> 'name' order by e.n), bool_or(e.step ->> 'compensation' is not null or e.step ->> 'wait_for' is not null or e.step ->> 'workflow' is not null
        or e.step ->> 'delay_seconds' is not null or e.step ->> 'run_at' is not null),
      array_agg(e.n order by e.n) filter (where not coalesce(e.step - '{name,kind,args,depends_on}'::text[] = '{}' and jsonb_typeof(e.step -> 'name') = 'string' and jsonb_typeof(e.step -> 'kind') = 'string'
        and length(e.step ->> 'name') between 1 and 200 and length(e.step ->> 'kind') between 1 and 200 and e.step ->> 'name' !~ '[[:cntrl:]]'
        and weir.size_problem(e.step -> 'args', 1048576) is null and coalesce(jsonb_typeof(e.step -> 'depends_on'), 'array') = 'array'
        and not jsonb_path_exists(e.step, '$.depends_on[*] ? (@.type() != "string")'), false))
    into names, unusual, comps
  from (select case when jsonb_typeof(x.step) = 'object' then x.step else '{"": 0}' end as step, x.n::int as n from jsonb_array_elements(steps) with ordinality x(step, n)) e;
  if comps is not null then
    select e.n, weir.step_problem(e.step) as problem into bad
    from jsonb_array_elements(steps) with ordinality e(step, n) where e.n = any (comps) and weir.step_problem(e.step) is not null order by e.n limit 1;
    if found then
      perform weir.refuse_argument(rtrim(format('%s[%s].%s', field, bad.n - 1, bad.problem[1]), '.'), bad.problem[2]);
    end if;
  end if;
  if unusual then
    -- A workflow within is looked at now, all of it: when its time comes there is nobody to tell.
    for bad in select e.n, e.step #> '{workflow,steps}' as steps from jsonb_array_elements(steps) with ordinality e(step, n) where e.step ->> 'workflow' is not null loop
      perform weir.store_steps(null, bad.steps, format('%s[%s].workflow.steps', field, bad.n - 1), only_check => true);
    end loop;
  end if;
  select d.n, d.first into bad from (select u.i as n, min(u.i) over (partition by u.name) as first from unnest(names) with ordinality u(name, i)) d where d.n > d.first order by d.n limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s].name', field, bad.n - 1), format('is the name of %s[%s] too', field, bad.first - 1));
  end if;

  -- The dependencies, as numbers of these steps.
  select array_agg(p.n order by d.child, d.place), array_agg(d.child order by d.child, d.place), array_agg(d.place order by d.child, d.place),
      array_agg(d.name order by d.child, d.place) into parents, children, places, wanted
  from (select e.n::int as child, x.name, (x.place - 1)::int as place from jsonb_array_elements(steps) with ordinality e(step, n)
        cross join jsonb_array_elements_text(case when e.step ->> 'depends_on' is not null then e.step -> 'depends_on' else '[]' end) with ordinality x(name, place)) d
  left join (select u.name, u.i::int as n from unnest(names) with ordinality u(name, i)) p on p.name = d.name;
  parents := coalesce(parents, '{}');
  children := coalesce(children, '{}');
  if cardinality(parents) > 20 * most then
    perform weir.refuse_argument(field, format('have more than %s dependencies', 20 * most), 'Put a step between many and many.');
  end if;
  if added_by is not null then
    select s.name into bad from weir.workflow_step s where s.workflow_id = w.id and s.name = any (names) limit 1;
    if found then
      perform weir.refuse_argument(format('%s[%s].name', field, array_position(names, bad.name) - 1), 'is the name of a step that the workflow has');
    end if;
    olds := array(select (select s.job_id from weir.workflow_step s where u.n is null and s.workflow_id = w.id and s.name = u.name and s.compensates is null)
      from unnest(parents, wanted) with ordinality u(n, name, i) order by u.i);
  end if;
  select u.i, u.child, u.place, u.name into bad from unnest(parents, children, places, wanted, olds) with ordinality u(parent, child, place, name, old, i)
    where u.parent is null and u.old is null or u.parent = u.child order by u.i limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, bad.child - 1, bad.place),
      case when bad.name = names[bad.child] then 'is the step itself' else 'names no step of the workflow' end);
  end if;
  select d.child, d.place into bad from (select u.child, u.place, row_number() over (partition by u.child, u.name order by u.place) as nth
    from unnest(children, places, wanted) u(child, place, name)) d where d.nth > 1 order by d.child, d.place limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, bad.child - 1, bad.place), 'names the same step twice');
  end if;

  -- The compensations: comps[i] undoes undone[i].
  comps := '{}';
  undone := '{}';
  if unusual then
    select array_agg(c.comp order by c.n), array_agg(c.n order by c.n) into comps, undone
    from (select e.n::int, array_position(names, e.step ->> 'compensation') as comp from jsonb_array_elements(steps) with ordinality e(step, n) where e.step ->> 'compensation' is not null) c;
    comps := coalesce(comps, '{}');
    undone := coalesce(undone, '{}');
    for i in 1..cardinality(comps) loop
      if comps[i] is null or comps[i] = undone[i] then
        perform weir.refuse_argument(format('%s[%s].compensation', field, undone[i] - 1), 'names no other of these steps');
      elsif steps -> (comps[i] - 1) ->> 'kind' is null then
        perform weir.refuse_argument(format('%s[%s].compensation', field, undone[i] - 1), 'names a step that no worker gets');
      elsif array_position(comps, comps[i]) < i then
        perform weir.refuse_argument(format('%s[%s].compensation', field, undone[i] - 1), 'names a step that compensates another one already');
      elsif comps[i] = any (undone) or comps[i] = any (parents) or comps[i] = any (children) then
        perform weir.refuse_argument(format('%s[%s].compensation', field, undone[i] - 1), 'names a step that has dependencies, or a compensation of its own, or that others depend on',
          'A compensation stands by itself: it runs when the workflow compensates, and gets the result of the step that it undoes.');
      end if;
    end loop;
  end if;

  if exists (select from unnest(parents, children) u(parent, child) where u.parent > u.child) then
    ordered := weir.order_steps(n, parents, children);
    if cardinality(ordered) < n then
      perform weir.refuse_cycle(names, ordered, parents, children, places, field);
    end if;
    rank := array(select o.place::int from unnest(ordered) with ordinality o(i, place) order by o.i);
  else
    ordered := array(select generate_series(1, n));
    rank := ordered;
  end if;

  if only_check then
    return;
  end if;
  -- Nothing was stored so far, and nothing is refused from here on but by the queues' limits.
  select jsonb_agg(case when s.step ->> 'kind' is not null then s.job else s.job || jsonb_build_object('kind', case when s.step ->> 'workflow' is not null then 'weir.workflow' else 'weir.wait' end) end
      || jsonb_build_object('step', s.step -> 'name')
      || case when s.held then '{"held": true, "run_at": null, "delay_seconds": null}'::jsonb else '{}' end order by s.place) into jobs
  from (select e.step, rank[e.n] as place, e.step - '{name,depends_on,needs,on_failure,compensation,wait_for,workflow}'::text[] as job,
          jsonb_array_length(case when e.step ->> 'depends_on' is not null then e.step -> 'depends_on' else '[]' end) > 0 or e.step ->> 'kind' is null or e.n = any (comps) as held
        from jsonb_array_elements(steps) with ordinality e(step, n)) s;
  if n <= 10000 then
    ids := array(select b.job_id from weir.enqueue_batch(jobs, w.id) b);
  else
    for c in 0..(n - 1) / 10000 loop
      ids := ids || array(select b.job_id from weir.enqueue_batch(
        (select jsonb_agg(j.job order by j.i) from jsonb_array_elements(jobs) with ordinality j(job, i) where j.i > c * 10000 and j.i <= (c + 1) * 10000), w.id) b);
    end loop;
  end if;
  id_of := array(select ids[r] from unnest(rank) with ordinality r(r, i) order by i);

  with edges as materialized (
    select u.child, u.place, u.parent, coalesce(id_of[u.parent], u.old) as parent_id, id_of[u.child] as child_id from unnest(parents, children, places, olds) u(parent, child, place, old)
  ), ups as materialized (
    select e.child, array_agg(e.parent_id order by e.place) as ids, count(*)::int as many from edges e group by e.child
  ), downs as materialized (
    select e.parent, array_agg(e.child_id order by e.child_id) as ids, bool_and((steps -> (e.child - 1) ->> 'needs') is not distinct from 'any') as loose
    from edges e where e.parent is not null group by e.parent
  ), undo as materialized (
    select u.comp, u.undone from unnest(comps, undone) u(comp, undone)
  ), stored as (
    insert into weir.workflow_step (job_id, workflow_id, number, dependencies, is_last, plain, needs, name, depends_on, children, on_failure, compensated_by, compensates,
      delay_seconds, run_at, wait_for, workflow, added_by)
    select id_of[s.n], w.id, case when added_by is null then 0 else w.steps end + s.n - 1, coalesce(ups.many, 0), coalesce(downs.loose, true) and c.comp is null,
      s.step ->> 'kind' is not null and s.step ->> 'delay_seconds' is null and s.step ->> 'run_at' is null, coalesce(s.step ->> 'needs', 'completed'), s.step ->> 'name',
      coalesce(ups.ids, '{}'), coalesce(downs.ids, '{}'), s.step ->> 'on_failure', id_of[u.comp], id_of[c.undone],
      (s.step ->> 'delay_seconds')::float8, (s.step ->> 'run_at')::timestamptz, case when s.step ->> 'wait_for' is not null then s.step -> 'wait_for' end,
      case when s.step ->> 'workflow' is not null then s.step -> 'workflow' end, added_by
    from (select e.step, e.n::int as n from jsonb_array_elements(steps) with ordinality e(step, n)) s
    left join ups on ups.child = s.n
    left join downs on downs.parent = s.n
    left join undo c on c.comp = s.n
    left join undo u on u.undone = s.n
    order by id_of[s.n]
    returning is_last, compensates
  ), joins as (
    insert into weir.workflow_join (job_id, waits_for) select id_of[ups.child], ups.many from ups where ups.many > 1 and added_by is null
  )
  select count(*) filter (where s.is_last)::int, count(*) filter (where s.compensates is null)::int, bool_or(s.compensates is not null)
    into lasts, many, compensable from stored s;
  last_id := ids[n];
  unsure := '{}';
  if added_by is not null or unusual then
    unsure := array(select id_of[e.n] from jsonb_array_elements(steps) with ordinality e(step, n) where e.n <> all (comps)
      and (e.step ->> 'kind' is null or added_by is not null and jsonb_array_length(case when e.step ->> 'depends_on' is not null then e.step -> 'depends_on' else '[]' end) > 0) order by 1);
  end if;
  if olds <> '{}' then
    -- Those that others depend on from now on are no longer the last, but for those that only steps depend on that need any of several.
    with kids as materialized (
      select u.old, array_agg(id_of[u.child] order by id_of[u.child]) as ids, bool_and((steps -> (u.child - 1) ->> 'needs') is not distinct from 'any') as loose
      from unnest(olds, children) u(old, child) where u.old is not null group by u.old
    ), before as materialized (
      select s.job_id, s.is_last and not k.loose and (select o.job_id from weir.job_outcome o where o.job_id = s.job_id) is null as lost
      from weir.workflow_step s join kids k on k.old = s.job_id where s.job_id = any (olds)
    ), changed as (
      update weir.workflow_step s set children = s.children || k.ids, is_last = s.is_last and k.loose from kids k where s.job_id = k.old and s.job_id = any (olds)
    )
    select lasts - count(*) filter (where b.lost)::int into lasts from before b;
  end if;
end $$;

-- Locks: as enqueue_batch; an idempotency key; with a parent, its lease, then the workflows it belongs to.
create or replace function weir.store_workflow(definition jsonb, parent_job_id bigint default null, ancestors bigint[] default null, out workflow_id bigint, out duplicate boolean) language plpgsql as $$
declare
  w weir.workflow;
  problem text[] := weir.definition_problem(coalesce(definition, '[]'));
  stored record;
  first bigint;
begin
  if problem is not null then
    perform weir.refuse_argument(coalesce(nullif(problem[1], ''), 'definition'), problem[2]);
  end if;
  lock table weir.job_ready in row exclusive mode;  -- before a number is drawn: see 0005_frontier.sql
  w.id := nextval('weir.job_id_seq');
  if definition ->> 'idempotency_key' is not null then
    first := weir.take_idempotency_key(definition, w.id);
    if first <> w.id then
      workflow_id := first;
      duplicate := true;
      return;
    end if;
  end if;
  w.steps := 0;
  w.created_at := clock_timestamp();
  select * into stored from weir.store_steps(w, definition -> 'steps', 'steps');
  insert into weir.workflow (id, created_at, name, on_failure, steps, last_id, waits_for, compensable, deadline_seconds, deadline_at, metadata, parent_job_id, ancestors)
  values (w.id, w.created_at, definition ->> 'name', coalesce(definition ->> 'on_failure', 'fail_fast'), stored.many, stored.last_id, stored.lasts, stored.compensable,
    (definition ->> 'deadline_seconds')::float8, clock_timestamp() + make_interval(secs => (definition ->> 'deadline_seconds')::float8),
    case when definition ->> 'metadata' is not null then definition -> 'metadata' end, store_workflow.parent_job_id, store_workflow.ancestors);
  if stored.unsure <> '{}' then
    perform weir.weigh_steps(stored.unsure);
  end if;
  workflow_id := w.id;
  duplicate := false;
end $$;

create or replace function weir.submit_workflow(definition jsonb) returns bigint language sql as $$
  select s.workflow_id from weir.store_workflow(definition) s
$$;

-- Locks: the job_lease row, for key share; the workflow and those it belongs to; then as store_steps.
create or replace function weir.add_steps(job_id bigint, token bigint, steps jsonb) returns setof bigint language plpgsql set jit = off set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  stored record;
begin
  perform weir.assert_lease(job_id, token);
  w.id := (select s.workflow_id from weir.workflow_step s where s.job_id = add_steps.job_id);
  if w.id is null then
    raise exception using errcode = 'WR054', message = format('job %s is no step of a workflow', job_id), hint = 'Only a running step can add steps, and to its own workflow.';
  end if;
  w := weir.lock_workflow(w.id);
  if w.state <> 'running' then
    perform weir.refuse_over(w);
  end if;
  select * into stored from weir.store_steps(w, steps, 'steps', job_id);
  update weir.workflow x set steps = x.steps + stored.many, last_id = greatest(x.last_id, stored.last_id),
    waits_for = x.waits_for + case when x.exact then stored.many else stored.lasts end, compensable = x.compensable or stored.compensable where x.id = w.id;
  insert into weir.workflow_event (workflow_id, event, name, detail)
  select w.id, 'steps_added', s.name, jsonb_build_object('steps', jsonb_array_length(steps)) from weir.workflow_step s where s.job_id = add_steps.job_id;
  if stored.unsure <> '{}' then
    perform weir.weigh_steps(stored.unsure);
  end if;
  return query select s.job_id from weir.workflow_step s where s.workflow_id = w.id and s.added_by = add_steps.job_id
    and s.name in (select x ->> 'name' from jsonb_array_elements(steps) x) order by s.number;
end $$;
comment on function weir.store_steps(weir.workflow, jsonb, text, bigint, boolean) is 'Internal. Checks steps and stores them with their jobs.';
comment on function weir.store_workflow(jsonb, bigint, bigint[]) is 'Internal. weir.submit_workflow, for a job that waits for the workflow too.';
comment on function weir.submit_workflow(jsonb) is
  'Stores a workflow with all its steps inside the caller''s transaction and returns its id: {name, steps, on_failure, deadline_seconds, metadata, idempotency_key}. '
  'A step: {name, kind, args, depends_on, needs, on_failure, compensation, and the options of a job}, or wait_for or workflow in place of the kind. Unknown and duplicate names and cycles are refused before anything is stored. Errors: WR006, WR010, WR013.';
comment on function weir.add_steps(bigint, bigint, jsonb) is
  'A running step (its job and token) adds steps to its own workflow, and may complete in the same transaction, after it. The new ones may depend on it, on each other and on any other step. '
  'Returns the ids of their jobs in the order given. Errors: WR001, WR002, WR010, WR013, WR051 (the workflow is stopping), WR054 (no step of a workflow).';
