-- Enqueueing. It only inserts (but for a unique key that it takes over), so an application may call it inside a transaction as long
-- as it likes: no claim and no completion ever waits for it.
--

create or replace function weir.tags_are_good(tags jsonb) returns boolean language sql immutable as $$
  select case when jsonb_typeof(tags) = 'array' then jsonb_array_length(tags) <= 50
    and not exists (select from jsonb_array_elements(tags) t where jsonb_typeof(t) <> 'string' or length(t #>> '{}') not between 1 and 200)
  else false end
$$;

create or replace function weir.unique_problem(uniq jsonb) returns text[] language sql immutable as $$
  select case
    when uniq is null or jsonb_typeof(uniq) = 'null' then null
    when jsonb_typeof(uniq) <> 'object' then array['unique', 'must be an object {key, scope, ttl_seconds}']
    when uniq - '{key,scope,ttl_seconds}'::text[] <> '{}' then array['unique', 'knows only key, scope and ttl_seconds']
    when jsonb_typeof(uniq -> 'key') is distinct from 'string' or length(uniq ->> 'key') not between 1 and 500
      then array['unique.key', 'must be a string of 1 to 500 characters']
    when coalesce(uniq ->> 'scope', 'active') not in ('active', 'ttl') then array['unique.scope', 'must be active or ttl']
    when weir.number_problem(uniq -> 'ttl_seconds', 1, 31536000) is not null
      then array['unique.ttl_seconds', weir.number_problem(uniq -> 'ttl_seconds', 1, 31536000)]
    when (coalesce(uniq ->> 'scope', 'active') = 'ttl') <> (uniq ->> 'ttl_seconds' is not null) then array['unique.ttl_seconds', 'goes with scope ttl, and scope ttl with it']
  end
$$;

create or replace function weir.parent_problem(parent jsonb) returns text language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  given text := parent #>> '{}';
begin
  if jsonb_typeof(parent) not in ('string', 'number') or given !~ '^[0-9]{1,30}$' then
    return 'must be the id of a job';
  elsif given::numeric > 9223372036854775807 then
    return 'names no job';
  end if;
  return case when not exists (select from weir.job j where j.id = given::bigint) then 'names no job' end;
end $$;

create or replace function weir.job_problem(job jsonb) returns text[] language plpgsql stable as $$
declare
  rest jsonb;
begin
  if jsonb_typeof(job) <> 'object' then
    return array['', 'must be an object with at least a kind'];
  elsif jsonb_typeof(job -> 'kind') is distinct from 'string' or length(job ->> 'kind') not between 1 and 200 then
    return array['kind', 'must be a string of 1 to 200 characters'];
  elsif weir.name_problem(job -> 'queue') is not null then
    return array['queue', weir.name_problem(job -> 'queue')];
  elsif pg_column_size(job -> 'args') > 65536 and weir.json_size(job -> 'args') > 1048576 then  -- a byte of text takes up to 16 in jsonb
    return array['args', 'must be at most 1 MiB'];
  end if;
  rest := job - '{kind,args,queue}'::text[];
  if rest = '{}' then
    return null;  -- most jobs say no more
  elsif rest - '{idempotency_key,priority,run_at,delay_seconds,max_attempts,timeout_seconds,retry,unique,tenant,concurrency_key,tags,metadata,parent_id,result_ttl_seconds,breaker}'::text[] <> '{}' then
    return array[weir.first_key(rest - '{idempotency_key,priority,run_at,delay_seconds,max_attempts,timeout_seconds,retry,unique,tenant,concurrency_key,tags,metadata,parent_id,result_ttl_seconds,breaker}'::text[]),
      'is no field of a job'];
  end if;
  return (
    select array[field, problem] from (values
      ('priority', weir.integer_problem(rest -> 'priority', 1, 10)),
      ('max_attempts', weir.integer_problem(rest -> 'max_attempts', 1, 100)),
      ('timeout_seconds', weir.integer_problem(rest -> 'timeout_seconds', 1, 604800)),
      ('delay_seconds', weir.number_problem(rest -> 'delay_seconds', 0, weir.max_seconds())),
      ('run_at', case when rest ->> 'run_at' is not null then weir.time_problem(rest -> 'run_at') end),
      ('run_at', case when rest ->> 'run_at' is not null and rest ->> 'delay_seconds' is not null then 'and delay_seconds exclude each other' end),
      ('retry', case when rest ->> 'retry' is not null then weir.retry_problem(rest -> 'retry') end),
      ((weir.unique_problem(rest -> 'unique'))[1], (weir.unique_problem(rest -> 'unique'))[2]),
      ('idempotency_key', case when rest ->> 'idempotency_key' is not null
        and (jsonb_typeof(rest -> 'idempotency_key') <> 'string' or length(rest ->> 'idempotency_key') not between 1 and 255)
        then 'must be a string of 1 to 255 characters' end),
      ('tenant', weir.label_problem(rest -> 'tenant')),
      ('concurrency_key', weir.label_problem(rest -> 'concurrency_key')),
      ('tags', case when rest ->> 'tags' is not null and not weir.tags_are_good(rest -> 'tags') then 'must be an array of at most 50 strings of 1 to 200 characters' end),
      ('metadata', case when rest ->> 'metadata' is not null and (jsonb_typeof(rest -> 'metadata') <> 'object' or octet_length((rest -> 'metadata')::text) > 65536)
        then 'must be an object of at most 64 KiB' end),
      ('breaker', weir.name_problem(rest -> 'breaker')),
      ('result_ttl_seconds', weir.integer_problem(rest -> 'result_ttl_seconds', 1, 31536000)),
      ('parent_id', case when rest ->> 'parent_id' is not null then weir.parent_problem(rest -> 'parent_id') end)
    ) p(field, problem) where problem is not null limit 1);
end $$;

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
comment on function weir.tags_are_good(jsonb) is 'Internal. Whether it is an array of at most 50 strings of 1 to 200 characters.';
comment on function weir.parent_problem(jsonb) is 'Internal. What is wrong with a JSON value that should be the id of a job that is there, or null.';
comment on function weir.job_problem(jsonb) is 'Internal. What is wrong with a job that somebody wants to enqueue: its field and why, or null.';
comment on function weir.refuse_bad_jobs(jsonb) is 'Internal. Raises WR010 for the first job that cannot be enqueued, and says which field of it is bad.';
comment on function weir.unique_problem(jsonb) is 'Internal. What is wrong with a job''s unique object: its field and why, or null.';
