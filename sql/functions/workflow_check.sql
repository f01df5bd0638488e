-- Checking the definition of a workflow. Nothing is stored here. Each *_problem function returns {field, problem}, or
-- null if there is none; the others raise WR010 with the place of the field.

-- What is wrong with a workflow, its steps and the child workflows in its steps. For definitions that are kept and
-- submitted later (schedules).
create or replace function weir.check_workflow(definition jsonb) returns void language plpgsql stable as $$
declare
  problem text[] := weir.workflow_problem(coalesce(definition, '[]'));
begin
  if problem is not null then
    perform weir.refuse_argument(coalesce(nullif(problem[1], ''), 'definition'), problem[2]);
  end if;
  perform weir.check_steps(null, definition -> 'steps', 'steps');
end $$;
comment on function weir.check_workflow(jsonb) is
  'Internal. Raises WR010 if a workflow could not be submitted as it is. Stores nothing.';

-- All that can be said of a workflow without its steps.
create or replace function weir.workflow_problem(definition jsonb) returns text[] language plpgsql stable as $$
declare
  fields constant text[] := '{on_failure,deadline_seconds,metadata,idempotency_key}';
  rest jsonb;
begin
  if definition is null or jsonb_typeof(definition) = 'null' then
    return null;
  elsif jsonb_typeof(definition) <> 'object' then
    return array['', 'must be an object with a name and steps'];
  elsif jsonb_typeof(definition -> 'name') is distinct from 'string'
      or length(definition ->> 'name') not between 1 and 200 or definition ->> 'name' ~ '[[:cntrl:]]' then
    return array['name', 'must be a string of 1 to 200 characters'];
  elsif jsonb_typeof(definition -> 'steps') is distinct from 'array'
      or jsonb_array_length(definition -> 'steps') = 0 then
    return array['steps', 'must be an array of at least one step'];
  end if;
  rest := definition - '{name,steps}'::text[];
  if rest = '{}' then
    return null;
  elsif rest - fields <> '{}' then
    return array[weir.first_key(rest - fields), 'is not a field of a workflow'];
  end if;
  return (
    select array[p.field, p.problem] from (values
      ('on_failure', weir.choice_problem(rest -> 'on_failure', '{fail_fast,continue,compensate}')),
      ('deadline_seconds', weir.number_problem(rest -> 'deadline_seconds', 0.001, weir.max_seconds())),
      ('metadata', case when rest ->> 'metadata' is not null and jsonb_typeof(rest -> 'metadata') <> 'object'
        then 'must be an object of at most 64 KiB' else weir.size_problem(rest -> 'metadata', 65536) end),
      ('idempotency_key', case when rest ->> 'idempotency_key' is not null
        and (jsonb_typeof(rest -> 'idempotency_key') <> 'string'
          or length(rest ->> 'idempotency_key') not between 1 and 255)
        then 'must be a string of 1 to 255 characters' end)
    ) p(field, problem) where p.problem is not null limit 1);
end $$;
comment on function weir.workflow_problem(jsonb) is
  'Internal. What is wrong with a workflow apart from its steps: its field and why, or null.';

create or replace function weir.max_workflow_steps() returns int language sql stable as $$
  select weir.database_setting('max_steps', 10000)
$$;
comment on function weir.max_workflow_steps() is
  'Internal. How many steps a workflow may have: the setting weir.max_steps of the database, or 10,000.';

-- Checks steps that are submitted as the array `field`, or added to workflow w by the step added_by. w is null for a
-- definition that is only checked. Returns their graph.
create or replace function weir.check_steps(w weir.workflow, definitions jsonb, field text,
  added_by bigint default null)
returns weir.step_graph language plpgsql stable as $$
declare
  g weir.step_graph;
  child record;
begin
  if jsonb_typeof(definitions) is distinct from 'array' or jsonb_array_length(definitions) = 0 then
    perform weir.refuse_argument(field, 'must be an array of at least one step');
  elsif coalesce(w.steps, 0) + jsonb_array_length(definitions) > weir.max_workflow_steps() then
    perform weir.refuse_argument(field, format('would make more than %s steps', weir.max_workflow_steps()),
      'Give each step more work, or move steps into child workflows. The database''s setting weir.max_steps is the '
      'limit.');
  end if;
  g := weir.check_step_fields(definitions, field);
  if g.special then
    -- A child workflow is checked now, all of it: when it is submitted, there is no caller to return an error to.
    for child in
      select d.n, d.step #> '{workflow,steps}' as steps
      from jsonb_array_elements(definitions) with ordinality d(step, n) where d.step ->> 'workflow' is not null
    loop
      perform weir.check_steps(null, child.steps, format('%s[%s].workflow.steps', field, child.n - 1));
    end loop;
  end if;
  g := weir.check_dependencies(w, definitions, g, field, added_by);
  if g.special then
    g := weir.check_compensations(definitions, g, field);
  end if;
  g.ranks := weir.rank_steps(g, field);
  return g;
end $$;
comment on function weir.check_steps(weir.workflow, jsonb, text, bigint) is
  'Internal. Checks steps and returns their graph. Raises WR010. Stores nothing.';

-- Fills in parents, children, places and old_parents.
create or replace function weir.check_dependencies(w weir.workflow, definitions jsonb, g weir.step_graph, field text,
  added_by bigint)
returns weir.step_graph language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_nestloop = off set enable_mergejoin = off as $$
declare
  max_dependencies int := 20 * weir.max_workflow_steps();
  dependency_names text[];
  bad record;
begin
  select array_agg(p.n order by d.child, d.place), array_agg(d.child order by d.child, d.place),
      array_agg(d.place order by d.child, d.place), array_agg(d.name order by d.child, d.place)
    into g.parents, g.children, g.places, dependency_names
  from (
    select s.n::int as child, x.name, (x.place - 1)::int as place
    from jsonb_array_elements(definitions) with ordinality s(step, n)
      cross join jsonb_array_elements_text(case when s.step ->> 'depends_on' is not null then s.step -> 'depends_on'
        else '[]' end) with ordinality x(name, place)) d
  left join (select u.name, u.n::int as n from unnest(g.names) with ordinality u(name, n)) p on p.name = d.name;
  g.parents := coalesce(g.parents, '{}');
  g.children := coalesce(g.children, '{}');
  if cardinality(g.parents) > max_dependencies then
    perform weir.refuse_argument(field, format('have more than %s dependencies', max_dependencies),
      'Where many steps depend on many, put one step between them.');
  end if;
  if added_by is not null then
    select s.name into bad from weir.workflow_step s where s.workflow_id = w.id and s.name = any (g.names) limit 1;
    if found then
      perform weir.refuse_argument(format('%s[%s].name', field, array_position(g.names, bad.name) - 1),
        'is the name of a step that the workflow has');
    end if;
    g.old_parents := array(
      select (select s.job_id from weir.workflow_step s
        where u.parent is null and s.workflow_id = w.id and s.name = u.name and s.compensates is null)
      from unnest(g.parents, dependency_names) with ordinality u(parent, name, i) order by u.i);
  end if;
  select u.child, u.place, u.name into bad
  from unnest(g.parents, g.children, g.places, dependency_names, g.old_parents) with ordinality
    u(parent, child, place, name, old, i)
  where u.parent is null and u.old is null or u.parent = u.child order by u.i limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, bad.child - 1, bad.place),
      case when bad.name = g.names[bad.child] then 'is the step itself' else 'names no step of the workflow' end);
  end if;
  select d.child, d.place into bad from (
    select u.child, u.place, row_number() over (partition by u.child, u.name order by u.place) as nth
    from unnest(g.children, g.places, dependency_names) u(child, place, name)) d
  where d.nth > 1 order by d.child, d.place limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, bad.child - 1, bad.place),
      'names the same step twice');
  end if;
  return g;
end $$;
comment on function weir.check_dependencies(weir.workflow, jsonb, weir.step_graph, text, bigint) is
  'Internal. Checks the dependencies of steps, and returns the graph with them.';

-- Fills in compensations and compensated.
create or replace function weir.check_compensations(definitions jsonb, g weir.step_graph, field text)
returns weir.step_graph language plpgsql stable as $$
declare
  step int;  -- the number of a step, from 1
  compensation int;
  problem text;
  hint text;
begin
  select coalesce(array_agg(c.compensation order by c.n), '{}'), coalesce(array_agg(c.n order by c.n), '{}')
    into g.compensations, g.compensated
  from (
    select d.n::int, array_position(g.names, d.step ->> 'compensation') as compensation
    from jsonb_array_elements(definitions) with ordinality d(step, n)
    where d.step ->> 'compensation' is not null) c;
  for i in 1..cardinality(g.compensations) loop
    step := g.compensated[i];
    compensation := g.compensations[i];
    if compensation is null or compensation = step then
      problem := 'must name another of these steps';
    elsif definitions -> (compensation - 1) ->> 'kind' is null then
      problem := 'names a step that needs no worker';
    elsif array_position(g.compensations, compensation) < i then
      problem := 'names a step that is already the compensation of another one';
    elsif compensation = any (g.compensated) or compensation = any (g.parents) or compensation = any (g.children) then
      problem := 'names a step that has dependencies, dependents or a compensation';
      hint := 'A compensation stands alone: it runs when the workflow compensates, and gets the result of the step '
        'that it undoes.';
    end if;
    if problem is not null then
      perform weir.refuse_argument(format('%s[%s].compensation', field, step - 1), problem, hint);
    end if;
  end loop;
  return g;
end $$;
comment on function weir.check_compensations(jsonb, weir.step_graph, text) is
  'Internal. Checks the compensations of steps, and returns the graph with them.';
