-- Submitting workflows, and adding steps to one that runs. Everything is checked before anything is stored.
--

create or replace function weir.wait_problem(wait_for jsonb) returns text[] language sql immutable as $$
  select case
    when wait_for is null or jsonb_typeof(wait_for) = 'null' then null
    when jsonb_typeof(wait_for) <> 'object' then array['wait_for', 'must be an object with a signal, seconds or until']
    when wait_for - '{signal,timeout_seconds,on_timeout,seconds,until}'::text[] <> '{}' then array['wait_for', 'knows only signal, timeout_seconds, on_timeout, seconds and until']
    when num_nonnulls(wait_for ->> 'signal', wait_for ->> 'seconds', wait_for ->> 'until') <> 1 then array['wait_for', 'must have one of signal, seconds and until']
    when wait_for ->> 'signal' is not null and (jsonb_typeof(wait_for -> 'signal') <> 'string' or length(wait_for ->> 'signal') not between 1 and 200)
      then array['wait_for.signal', 'must be a string of 1 to 200 characters']
    when weir.number_problem(wait_for -> 'seconds', 0, weir.max_seconds()) is not null then array['wait_for.seconds', weir.number_problem(wait_for -> 'seconds', 0, weir.max_seconds())]
    when wait_for ->> 'until' is not null and weir.time_problem(wait_for -> 'until') is not null then array['wait_for.until', weir.time_problem(wait_for -> 'until')]
    when weir.number_problem(wait_for -> 'timeout_seconds', 0, weir.max_seconds()) is not null
      then array['wait_for.timeout_seconds', weir.number_problem(wait_for -> 'timeout_seconds', 0, weir.max_seconds())]
    when coalesce(wait_for ->> 'on_timeout', 'fail') not in ('fail', 'continue', 'skip') then array['wait_for.on_timeout', 'must be fail, continue or skip']
    when wait_for ->> 'signal' is null and coalesce(wait_for ->> 'timeout_seconds', wait_for ->> 'on_timeout') is not null
      then array['wait_for', 'has a time limit only with a signal']
    when wait_for ->> 'on_timeout' is not null and wait_for ->> 'timeout_seconds' is null then array['wait_for.on_timeout', 'goes with timeout_seconds']
  end
$$;

-- The fields that only a step has. What is left is a job's.
create or replace function weir.step_problem(step jsonb) returns text[] language plpgsql stable as $$
declare
  problem text[];
  job jsonb;
begin
  if jsonb_typeof(step) <> 'object' then
    return array['', 'must be an object with at least a name and a kind'];
  elsif jsonb_typeof(step -> 'name') is distinct from 'string' or length(step ->> 'name') not between 1 and 200 or step ->> 'name' ~ '[[:cntrl:]]' then
    return array['name', 'must be a string of 1 to 200 characters'];
  elsif step ->> 'depends_on' is not null and (jsonb_typeof(step -> 'depends_on') <> 'array'
      or exists (select from jsonb_array_elements(step -> 'depends_on') d where jsonb_typeof(d) <> 'string')) then
    return array['depends_on', 'must be an array of names of steps'];
  elsif num_nonnulls(step ->> 'kind', step ->> 'wait_for', step ->> 'workflow') <> 1 then
    return array['kind', 'is required, or wait_for or workflow in its place'];
  elsif step ->> 'unique' is not null then
    return array['unique', 'is no field of a step'];
  elsif step ->> 'idempotency_key' is not null then
    return array['idempotency_key', 'is no field of a step'];
  end if;
  select array[p.field, p.problem] into problem from (values
      ('needs', weir.choice_problem(step -> 'needs', '{completed,ended,any}')),
      ('on_failure', weir.choice_problem(step -> 'on_failure', '{fail_fast,continue,compensate}')),
      ('compensation', case when step ->> 'compensation' is not null and jsonb_typeof(step -> 'compensation') <> 'string' then 'must be the name of a step' end)
    ) p(field, problem) where p.problem is not null limit 1;
  if problem is not null then
    return problem;
  end if;
  job := step - '{name,depends_on,needs,on_failure,compensation,wait_for,workflow}'::text[];
  if step ->> 'kind' is null then
    if weir.wait_problem(step -> 'wait_for') is not null then
      return weir.wait_problem(step -> 'wait_for');
    elsif coalesce(job ->> 'run_at', job ->> 'delay_seconds') is not null then
      return array[case when job ->> 'run_at' is not null then 'run_at' else 'delay_seconds' end, 'goes with a kind'];
    end if;
    problem := weir.definition_problem(step -> 'workflow');
    if problem is not null then
      return array[rtrim('workflow.' || problem[1], '.'), problem[2]];
    end if;
    job := job || '{"kind": "x"}';
  end if;
  return weir.job_problem(job);
end $$;

-- What can be said of a workflow without its steps.
create or replace function weir.definition_problem(definition jsonb) returns text[] language plpgsql stable as $$
declare
  rest jsonb;
begin
  if definition is null or jsonb_typeof(definition) = 'null' then
    return null;
  elsif jsonb_typeof(definition) <> 'object' then
    return array['', 'must be an object with a name and steps'];
  elsif jsonb_typeof(definition -> 'name') is distinct from 'string' or length(definition ->> 'name') not between 1 and 200 or definition ->> 'name' ~ '[[:cntrl:]]' then
    return array['name', 'must be a string of 1 to 200 characters'];
  elsif jsonb_typeof(definition -> 'steps') is distinct from 'array' or jsonb_array_length(definition -> 'steps') = 0 then
    return array['steps', 'must be an array of at least one step'];
  end if;
  rest := definition - '{name,steps}'::text[];
  if rest = '{}' then
    return null;
  elsif rest - '{on_failure,deadline_seconds,metadata,idempotency_key}'::text[] <> '{}' then
    return array[weir.first_key(rest - '{on_failure,deadline_seconds,metadata,idempotency_key}'::text[]), 'is no field of a workflow'];
  end if;
  return (
    select array[p.field, p.problem] from (values
      ('on_failure', weir.choice_problem(rest -> 'on_failure', '{fail_fast,continue,compensate}')),
      ('deadline_seconds', weir.number_problem(rest -> 'deadline_seconds', 0.001, weir.max_seconds())),
      ('metadata', case when rest ->> 'metadata' is not null and jsonb_typeof(rest -> 'metadata') <> 'object'
        then 'must be an object of at most 64 KiB' else weir.size_problem(rest -> 'metadata', 65536) end),
      ('idempotency_key', case when rest ->> 'idempotency_key' is not null
        and (jsonb_typeof(rest -> 'idempotency_key') <> 'string' or length(rest ->> 'idempotency_key') not between 1 and 255)
        then 'must be a string of 1 to 255 characters' end)
    ) p(field, problem) where p.problem is not null limit 1);
end $$;

-- Kahn's algorithm (A. B. Kahn, Topological sorting of large networks, 1962) over steps 1 to n; dependency i is of step children[i] on parents[i], which is null
-- for one that was there before. Returns the steps in an order in which each comes after those it depends on. Where there is none, those in a cycle, or behind one, are left out.
create or replace function weir.order_steps(n int, parents int[], children int[]) returns int[] language plpgsql immutable as $$
declare
  waits_for int[] := array_fill(0, array[n]);
  first int[] := array_fill(0, array[n]);
  next int[] := array_fill(0, array[greatest(cardinality(parents), 1)]);
  ordered int[] := '{}';
  head int := 1;
  i int;
begin
  for k in 1..coalesce(cardinality(parents), 0) loop
    continue when parents[k] is null;
    waits_for[children[k]] := waits_for[children[k]] + 1;
    next[k] := first[parents[k]];
    first[parents[k]] := k;
  end loop;
  for s in 1..n loop
    if waits_for[s] = 0 then
      ordered := ordered || s;
    end if;
  end loop;
  while head <= cardinality(ordered) loop
    i := first[ordered[head]];
    while i > 0 loop
      waits_for[children[i]] := waits_for[children[i]] - 1;
      if waits_for[children[i]] = 0 then
        ordered := ordered || children[i];
      end if;
      i := next[i];
    end loop;
    head := head + 1;
  end loop;
  return ordered;
end $$;

-- Goes from a step that was left out to one that it depends on and that was left out too, until it comes to a step for the second time.
create or replace function weir.refuse_cycle(names text[], ordered int[], parents int[], children int[], places int[], field text) returns void language plpgsql as $$
declare
  n int := cardinality(names);
  done boolean[] := array_fill(false, array[n]);
  up int[] := array_fill(0, array[n]);
  via int[] := array_fill(0, array[n]);
  seen int[] := array_fill(0, array[n]);
  at int;
  way int[] := '{}';
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
    way := way || at;
    seen[at] := cardinality(way);
    at := up[at];
  end loop;
  way := way[seen[at]:];  -- each depends on the next, and the last on the first
  select w.i into first from unnest(way) w(i) order by w.i limit 1;
  way := way[array_position(way, first):] || way[:array_position(way, first) - 1] || first;
  perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, first - 1, via[first]), 'closes a cycle: '
      || (select string_agg(case when w.nth <= 20 or w.nth > cardinality(way) - 2 then names[w.i] else '…' end, ' -> ' order by w.nth desc)
          from unnest(way) with ordinality w(i, nth) where w.nth <= 21 or w.nth > cardinality(way) - 2),
    'Each arrow leads to a step that depends on the one before it. Nothing was stored.');
end $$;
comment on function weir.wait_problem(jsonb) is 'Internal. What is wrong with a step''s wait_for: its field and why, or null.';
comment on function weir.step_problem(jsonb) is 'Internal. What is wrong with a step by itself: its field and why, or null.';
comment on function weir.definition_problem(jsonb) is 'Internal. What is wrong with a workflow apart from its steps: its field and why, or null.';
comment on function weir.order_steps(int, int[], int[]) is 'Internal. Steps in an order in which each comes after those it depends on; those in a cycle or behind one are left out.';
comment on function weir.refuse_cycle(text[], int[], int[], int[], int[], text) is 'Internal. Raises WR010 with the names of the steps of a cycle.';
