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
  select coalesce(nullif(current_setting('weir.max_steps', true), '')::int, 10000)
$$;
comment on function weir.max_workflow_steps() is
  'Internal. How many steps a workflow may have: the setting weir.max_steps, or 10,000.';

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
      'Give each step more work, or move steps into child workflows. The setting weir.max_steps is the limit.');
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

-- Returns a graph with names and special.
create or replace function weir.check_step_fields(definitions jsonb, field text) returns weir.step_graph
language plpgsql stable as $$
declare
  g weir.step_graph;
  unusual int[];
  bad record;
begin
  g.compensations := '{}';
  g.compensated := '{}';
  -- Most steps are plain, which one expression can tell. Only the others are checked one by one.
  select array_agg(d.step ->> 'name' order by d.n),
      bool_or(d.step ->> 'compensation' is not null or d.step ->> 'wait_for' is not null
        or d.step ->> 'workflow' is not null or d.step ->> 'delay_seconds' is not null
        or d.step ->> 'run_at' is not null),
      array_agg(d.n order by d.n) filter (where not coalesce(d.step - '{name,kind,args,depends_on}'::text[] = '{}'
        and jsonb_typeof(d.step -> 'name') = 'string' and jsonb_typeof(d.step -> 'kind') = 'string'
        and length(d.step ->> 'name') between 1 and 200 and length(d.step ->> 'kind') between 1 and 200
        and d.step ->> 'name' !~ '[[:cntrl:]]' and weir.size_problem(d.step -> 'args', 1048576) is null
        and coalesce(jsonb_typeof(d.step -> 'depends_on'), 'array') = 'array'
        and not jsonb_path_exists(d.step, '$.depends_on[*] ? (@.type() != "string")'), false))
    into g.names, g.special, unusual
  from (
    select case when jsonb_typeof(x.step) = 'object' then x.step else '{"": 0}' end as step, x.n::int as n
    from jsonb_array_elements(definitions) with ordinality x(step, n)) d;
  if unusual is not null then
    select d.n, weir.step_problem(d.step) as problem into bad
    from jsonb_array_elements(definitions) with ordinality d(step, n)
    where d.n = any (unusual) and weir.step_problem(d.step) is not null order by d.n limit 1;
    if found then
      perform weir.refuse_argument(rtrim(format('%s[%s].%s', field, bad.n - 1, bad.problem[1]), '.'), bad.problem[2]);
    end if;
  end if;
  select d.n, d.first into bad from (
    select u.n, min(u.n) over (partition by u.name) as first from unnest(g.names) with ordinality u(name, n)) d
  where d.n > d.first order by d.n limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s].name', field, bad.n - 1),
      format('is the name of %s[%s] too', field, bad.first - 1));
  end if;
  return g;
end $$;
comment on function weir.check_step_fields(jsonb, text) is
  'Internal. Checks each step alone, and that no two have one name. Returns a graph with their names.';

-- The fields that only a step has; job_problem checks the rest, which are those of a job.
create or replace function weir.step_problem(step jsonb) returns text[] language plpgsql stable as $$
declare
  problem text[];
  job jsonb;
begin
  if jsonb_typeof(step) <> 'object' then
    return array['', 'must be an object with at least a name and a kind'];
  elsif jsonb_typeof(step -> 'name') is distinct from 'string' or length(step ->> 'name') not between 1 and 200
      or step ->> 'name' ~ '[[:cntrl:]]' then
    return array['name', 'must be a string of 1 to 200 characters'];
  elsif step ->> 'depends_on' is not null and (jsonb_typeof(step -> 'depends_on') <> 'array'
      or exists (select from jsonb_array_elements(step -> 'depends_on') d where jsonb_typeof(d) <> 'string')) then
    return array['depends_on', 'must be an array of names of steps'];
  elsif num_nonnulls(step ->> 'kind', step ->> 'wait_for', step ->> 'workflow') <> 1 then
    return array['kind', 'is required, or wait_for or workflow in its place'];
  elsif step ->> 'unique' is not null then
    return array['unique', 'is not a field of a step'];
  elsif step ->> 'idempotency_key' is not null then
    return array['idempotency_key', 'is not a field of a step'];
  end if;
  select array[p.field, p.problem] into problem from (values
      ('needs', weir.choice_problem(step -> 'needs', '{completed,ended,any}')),
      ('on_failure', weir.choice_problem(step -> 'on_failure', '{fail_fast,continue,compensate}')),
      ('compensation', case when step ->> 'compensation' is not null
        and jsonb_typeof(step -> 'compensation') <> 'string' then 'must be the name of a step' end)
    ) p(field, problem) where p.problem is not null limit 1;
  if problem is not null then
    return problem;
  end if;
  job := step - '{name,depends_on,needs,on_failure,compensation,wait_for,workflow}'::text[];
  if step ->> 'kind' is null then
    if weir.wait_problem(step -> 'wait_for') is not null then
      return weir.wait_problem(step -> 'wait_for');
    elsif coalesce(job ->> 'run_at', job ->> 'delay_seconds') is not null then
      return array[case when job ->> 'run_at' is not null then 'run_at' else 'delay_seconds' end,
        'goes only with a kind'];
    end if;
    problem := weir.workflow_problem(step -> 'workflow');
    if problem is not null then
      return array[rtrim('workflow.' || problem[1], '.'), problem[2]];
    end if;
    job := job || '{"kind": "x"}';
  end if;
  return weir.job_problem(job);
end $$;
comment on function weir.step_problem(jsonb) is
  'Internal. What is wrong with a step alone: its field and why, or null.';

create or replace function weir.wait_problem(wait_for jsonb) returns text[] language sql immutable as $$
  select case
    when wait_for is null or jsonb_typeof(wait_for) = 'null' then null
    when jsonb_typeof(wait_for) <> 'object' then array['wait_for', 'must be an object with a signal, seconds or until']
    when wait_for - '{signal,timeout_seconds,on_timeout,seconds,until}'::text[] <> '{}'
      then array['wait_for', 'has a field other than signal, timeout_seconds, on_timeout, seconds and until']
    when num_nonnulls(wait_for ->> 'signal', wait_for ->> 'seconds', wait_for ->> 'until') <> 1
      then array['wait_for', 'must have one of signal, seconds and until']
    when wait_for ->> 'signal' is not null
        and (jsonb_typeof(wait_for -> 'signal') <> 'string' or length(wait_for ->> 'signal') not between 1 and 200
          or wait_for ->> 'signal' in ('.', '..'))
      then array['wait_for.signal', 'must be a string of 1 to 200 characters, and not be . or ..']
    when weir.number_problem(wait_for -> 'seconds', 0, weir.max_seconds()) is not null
      then array['wait_for.seconds', weir.number_problem(wait_for -> 'seconds', 0, weir.max_seconds())]
    when wait_for ->> 'until' is not null and weir.time_problem(wait_for -> 'until') is not null
      then array['wait_for.until', weir.time_problem(wait_for -> 'until')]
    when weir.number_problem(wait_for -> 'timeout_seconds', 0, weir.max_seconds()) is not null
      then array['wait_for.timeout_seconds',
        weir.number_problem(wait_for -> 'timeout_seconds', 0, weir.max_seconds())]
    when coalesce(wait_for ->> 'on_timeout', 'fail') not in ('fail', 'continue', 'skip')
      then array['wait_for.on_timeout', 'must be fail, continue or skip']
    when wait_for ->> 'signal' is null
        and coalesce(wait_for ->> 'timeout_seconds', wait_for ->> 'on_timeout') is not null
      then array['wait_for', 'has a time limit only with a signal']
    when wait_for ->> 'on_timeout' is not null and wait_for ->> 'timeout_seconds' is null
      then array['wait_for.on_timeout', 'goes only with timeout_seconds']
  end
$$;
comment on function weir.wait_problem(jsonb) is
  'Internal. What is wrong with the wait_for of a step: its field and why, or null.';

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

-- The place of each step in an order in which each comes after those it depends on: the order given, where that is one.
create or replace function weir.rank_steps(g weir.step_graph, field text) returns int[] language plpgsql stable as $$
declare
  n int := cardinality(g.names);
  ordered int[];
begin
  if not exists (select from unnest(g.parents, g.children) u(parent, child) where u.parent > u.child) then
    return array(select generate_series(1, n));
  end if;
  ordered := weir.order_steps(n, g.parents, g.children);
  if cardinality(ordered) < n then
    perform weir.refuse_cycle(g.names, ordered, g.parents, g.children, g.places, field);
  end if;
  return array(select o.rank::int from unnest(ordered) with ordinality o(step, rank) order by o.step);
end $$;
comment on function weir.rank_steps(weir.step_graph, text) is
  'Internal. The place of each step in the order of dependencies. Raises WR010 where there is a cycle.';

-- Kahn's algorithm (A. B. Kahn, Topological sorting of large networks, 1962) over steps 1 to n. Dependency i: step
-- children[i] depends on parents[i], which is null for an old step. Returns the steps so that each comes after those it
-- depends on, without those in a cycle or behind one.
create or replace function weir.order_steps(n int, parents int[], children int[]) returns int[]
language plpgsql immutable as $$
declare
  open_parents int[] := array_fill(0, array[n]);
  first int[] := array_fill(0, array[n]);  -- of each step: its first dependency as a parent; next leads to the others
  next int[] := array_fill(0, array[greatest(cardinality(parents), 1)]);
  ordered int[] := '{}';
  done int := 1;
  i int;
begin
  for k in 1..coalesce(cardinality(parents), 0) loop
    continue when parents[k] is null;
    open_parents[children[k]] := open_parents[children[k]] + 1;
    next[k] := first[parents[k]];
    first[parents[k]] := k;
  end loop;
  for s in 1..n loop
    if open_parents[s] = 0 then
      ordered := ordered || s;
    end if;
  end loop;
  while done <= cardinality(ordered) loop
    i := first[ordered[done]];
    while i > 0 loop
      open_parents[children[i]] := open_parents[children[i]] - 1;
      if open_parents[children[i]] = 0 then
        ordered := ordered || children[i];
      end if;
      i := next[i];
    end loop;
    done := done + 1;
  end loop;
  return ordered;
end $$;
comment on function weir.order_steps(int, int[], int[]) is
  'Internal. Steps in the order of dependencies; those in a cycle or behind one are left out.';

-- Walks from a step that order_steps left out to one that it depends on and that was left out too, until it comes to a
-- step for the second time.
create or replace function weir.refuse_cycle(names text[], ordered int[], parents int[], children int[], places int[],
  field text)
returns void language plpgsql as $$
declare
  n int := cardinality(names);
  done boolean[] := array_fill(false, array[n]);
  up int[] := array_fill(0, array[n]);
  via int[] := array_fill(0, array[n]);
  seen int[] := array_fill(0, array[n]);
  at int;
  path int[] := '{}';
  first int;
begin
  for i in 1..cardinality(ordered) loop
    done[ordered[i]] := true;
  end loop;
  for k in reverse cardinality(parents)..1 loop
    if parents[k] is not null and not done[parents[k]] and not done[children[k]] then
      up[children[k]] := parents[k];
      via[children[k]] := places[k];
    end if;
  end loop;
  at := (select s.i from generate_series(1, n) s(i) where not done[s.i] limit 1);
  while seen[at] = 0 loop
    path := path || at;
    seen[at] := cardinality(path);
    at := up[at];
  end loop;
  path := path[seen[at]:];  -- each depends on the next, and the last on the first
  select w.i into first from unnest(path) w(i) order by w.i limit 1;
  path := path[array_position(path, first):] || path[:array_position(path, first) - 1] || first;
  perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, first - 1, via[first]), 'closes a cycle: '
      || (select string_agg(case when p.nth <= 20 or p.nth > cardinality(path) - 2 then names[p.i] else '…' end,
            ' -> ' order by p.nth desc)
          from unnest(path) with ordinality p(i, nth) where p.nth <= 21 or p.nth > cardinality(path) - 2),
    'Each arrow leads to a step that depends on the one before it. Nothing was stored.');
end $$;
comment on function weir.refuse_cycle(text[], int[], int[], int[], int[], text) is
  'Internal. Raises WR010 with the names of the steps of a cycle.';
