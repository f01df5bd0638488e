-- What a job must be like to be enqueued. weir.enqueue_batch asks for each job that its own quick test does not pass.

create or replace function weir.tags_problem(tags jsonb) returns text language sql immutable as $$
  select case
    when tags is null or jsonb_typeof(tags) = 'null' then null
    when jsonb_typeof(tags) <> 'array' or jsonb_array_length(tags) > 50
      or exists (select from jsonb_array_elements(tags) t where jsonb_typeof(t) <> 'string'
        or length(t #>> '{}') not between 1 and 200)
      then 'must be an array of at most 50 strings of 1 to 200 characters' end
$$;
comment on function weir.tags_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or an array of at most 50 tags, or null.';

create or replace function weir.unique_problem(uniq jsonb) returns text[] language sql immutable as $$
  select case
    when uniq is null or jsonb_typeof(uniq) = 'null' then null
    when jsonb_typeof(uniq) <> 'object' then array['unique', 'must be an object {key, scope, ttl_seconds}']
    when uniq - '{key,scope,ttl_seconds}'::text[] <> '{}' then array['unique',
      'may only have key, scope and ttl_seconds']
    when jsonb_typeof(uniq -> 'key') is distinct from 'string' or length(uniq ->> 'key') not between 1 and 500
      then array['unique.key', 'must be a string of 1 to 500 characters']
    when coalesce(uniq ->> 'scope', 'active') not in ('active', 'ttl')
      then array['unique.scope', 'must be active or ttl']
    when weir.number_problem(uniq -> 'ttl_seconds', 1, 31536000) is not null
      then array['unique.ttl_seconds', weir.number_problem(uniq -> 'ttl_seconds', 1, 31536000)]
    when (coalesce(uniq ->> 'scope', 'active') = 'ttl') <> (uniq ->> 'ttl_seconds' is not null)
      then array['unique.ttl_seconds', 'is required with scope ttl and only allowed with it']
  end
$$;
comment on function weir.unique_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or a unique key: its field and why, or null.';

create or replace function weir.parent_problem(parent jsonb, tenant text) returns text language plpgsql stable
  set jit = off set enable_seqscan = off as $$
declare
  given text := parent #>> '{}';
begin
  if parent is null or jsonb_typeof(parent) = 'null' then
    return null;
  elsif jsonb_typeof(parent) not in ('string', 'number') or given !~ '^[0-9]{1,30}$' then
    return 'must be the id of a job';
  elsif given::numeric > 9223372036854775807 then
    return 'names no job';
  end if;
  return case when not exists (select from weir.job j where j.id = given::bigint
      and (j.tenant is null or j.tenant = parent_problem.tenant))
    or session_user <> current_user and not weir.sees_job(given::bigint, '{producer,worker}') then 'names no job' end;
end $$;
comment on function weir.parent_problem(jsonb, text) is
  'Internal. What is wrong with a JSON value that should be absent or the id of an existing job of no tenant or of '
  'this one, or null.';

create or replace function weir.job_problem(job jsonb) returns text[] language plpgsql stable as $$
declare
  known constant text[] := '{idempotency_key,priority,run_at,delay_seconds,max_attempts,timeout_seconds,retry,unique,
    tenant,concurrency_key,tags,metadata,parent_id,result_ttl_seconds,breaker}';
  rest jsonb;
begin
  if jsonb_typeof(job) <> 'object' then
    return array['', 'must be an object with at least a kind'];
  elsif jsonb_typeof(job -> 'kind') is distinct from 'string' or length(job ->> 'kind') not between 1 and 200 then
    return array['kind', 'must be a string of 1 to 200 characters'];
  elsif weir.name_problem(job -> 'queue') is not null then
    return array['queue', weir.name_problem(job -> 'queue')];
  elsif weir.size_problem(job -> 'args', 1048576) is not null then
    return array['args', weir.size_problem(job -> 'args', 1048576)];
  end if;
  rest := job - '{kind,args,queue}'::text[];
  if rest = '{}' then
    return null;  -- most jobs say no more
  elsif rest - known <> '{}' then
    return array[weir.first_key(rest - known), 'is no field of a job'];
  end if;
  return (
    select array[field, problem] from (values
      ('priority', weir.integer_problem(rest -> 'priority', 1, 10)),
      ('max_attempts', weir.integer_problem(rest -> 'max_attempts', 1, 100)),
      ('timeout_seconds', weir.integer_problem(rest -> 'timeout_seconds', 1, 604800)),
      ('delay_seconds', weir.number_problem(rest -> 'delay_seconds', 0, weir.max_seconds())),
      ('run_at', case when rest ->> 'run_at' is not null then weir.time_problem(rest -> 'run_at') end),
      ('run_at', case when rest ->> 'run_at' is not null and rest ->> 'delay_seconds' is not null
        then 'and delay_seconds exclude each other' end),
      ('retry', case when rest ->> 'retry' is not null then weir.retry_problem(rest -> 'retry') end),
      ((weir.unique_problem(rest -> 'unique'))[1], (weir.unique_problem(rest -> 'unique'))[2]),
      ('idempotency_key', case when rest ->> 'idempotency_key' is not null
        and (jsonb_typeof(rest -> 'idempotency_key') <> 'string' or length(rest ->> 'idempotency_key') not between 1
          and 255)
        then 'must be a string of 1 to 255 characters' end),
      ('tenant', weir.label_problem(rest -> 'tenant')),
      ('concurrency_key', weir.label_problem(rest -> 'concurrency_key')),
      ('tags', weir.tags_problem(rest -> 'tags')),
      ('metadata', case when rest ->> 'metadata' is not null and jsonb_typeof(rest -> 'metadata') <> 'object'
        then 'must be an object of at most 64 KiB' else weir.size_problem(rest -> 'metadata', 65536) end),
      ('breaker', weir.reference_problem(rest -> 'breaker')),
      ('result_ttl_seconds', weir.integer_problem(rest -> 'result_ttl_seconds', 1, 31536000)),
      ('parent_id', weir.parent_problem(rest -> 'parent_id', rest ->> 'tenant'))
    ) p(field, problem) where problem is not null limit 1);
end $$;
comment on function weir.job_problem(jsonb) is
  'Internal. What is wrong with a job to be enqueued: its field and why, or null.';

create or replace function weir.refuse_bad_jobs(jobs jsonb) returns void language plpgsql as $$
declare
  bad record;
begin
  select e.n, weir.job_problem(e.job) as problem into bad
  from jsonb_array_elements(jobs) with ordinality e(job, n) where weir.job_problem(e.job) is not null limit 1;
  if found then
    perform weir.refuse_argument(rtrim(format('jobs[%s].%s', bad.n - 1, bad.problem[1]), '.'), bad.problem[2]);
  end if;
end $$;
comment on function weir.refuse_bad_jobs(jsonb) is
  'Internal. Raises WR010 for the first job that cannot be enqueued, with the path of the field that is bad.';

create or replace function weir.refuse_bad_options(options jsonb, job jsonb) returns void language plpgsql as $$
declare
  problem text[] := weir.job_problem(job);
begin
  if jsonb_typeof(options) <> 'object' then
    perform weir.refuse_argument('options', 'must be an object');
  elsif options ? split_part(problem[1], '.', 1) then
    perform weir.refuse_argument('options.' || problem[1], problem[2]);
  end if;
end $$;
comment on function weir.refuse_bad_options(jsonb, jsonb) is
  'Internal. Raises WR010 where a field of the options of weir.enqueue is bad, with its place.';

-- For jobs that pass in all but their args, which may hold numbers that print long.
create or replace function weir.refuse_large_args(jobs jsonb) returns void language plpgsql as $$
declare
  bad record;
begin
  select e.n, weir.size_problem(e.job -> 'args', 1048576) as problem into bad
  from jsonb_array_elements(jobs) with ordinality e(job, n) where weir.size_problem(e.job -> 'args',
    1048576) is not null limit 1;
  if found then
    perform weir.refuse_argument(format('jobs[%s].args', bad.n - 1), bad.problem);
  end if;
end $$;
comment on function weir.refuse_large_args(jsonb) is
  'Internal. Raises WR010 for the first job whose args print to more than 1 MiB.';
