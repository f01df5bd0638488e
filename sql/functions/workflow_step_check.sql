-- Checking each step of a workflow alone.

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
