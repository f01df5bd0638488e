-- Filters of jobs: checks, and searches in batches, so that a search over any number of jobs can stop in time.

create or replace function weir.job_filter_fields() returns text[] language sql immutable as $$
  select '{state,queue,kind,tag,tenant,worker,error,error_type,args,q,parent_id,workflow_id,
    priority,min_priority,max_priority,min_attempts,max_attempts,has_error,
    min_run_seconds,max_run_seconds,min_wait_seconds,max_wait_seconds,
    created_after,created_before,started_after,started_before,finished_after,finished_before,bounds}'::text[]
$$;
comment on function weir.job_filter_fields() is 'Internal. The fields of a filter of jobs.';

create or replace function weir.texts_of(value jsonb) returns text[] language sql immutable as $$
  select case jsonb_typeof(value) when 'array' then array(select jsonb_array_elements_text(value))
    when 'string' then array[value #>> '{}'] end
$$;
comment on function weir.texts_of(jsonb) is
  'Internal. The strings of a JSON value that is one or an array of them; null for anything else.';

-- bounds keep the caller of a node to its own jobs: {tenant, queues (patterns of like), principal, own}. Nodes set them
-- beside what the caller asks for.
create or replace function weir.bounds_problem(bounds jsonb) returns text language sql immutable as $$
  select case when jsonb_typeof(bounds) <> 'object' or bounds - '{tenant,queues,principal,own}'::text[] <> '{}'
    or jsonb_typeof(bounds -> 'tenant') <> 'string' or jsonb_typeof(bounds -> 'own') <> 'boolean'
    or jsonb_typeof(bounds -> 'queues') <> 'array' or weir.integer_problem(bounds -> 'principal', 1, 2147483647)
      is not null then 'is for nodes: {tenant, queues, principal, own}' end
$$;
comment on function weir.bounds_problem(jsonb) is 'Internal. Why the bounds in a filter are invalid, or null.';

create or replace function weir.is_within(bounds jsonb, tenant text, queue text, principal int) returns boolean
language sql immutable as $$
  select bounds is null or (
    (bounds ->> 'tenant' is null or tenant = bounds ->> 'tenant')
    and (bounds -> 'queues' is null or queue like any (array(select jsonb_array_elements_text(bounds -> 'queues'))))
    and ((bounds ->> 'own')::boolean is not true or principal = (bounds ->> 'principal')::int)) is true
$$;
comment on function weir.is_within(jsonb, text, text, int) is
  'Internal. Whether a job of this tenant, queue and principal is within the bounds of a caller (null: none).';

create or replace function weir.choices_problem(value jsonb, choices text[] default null) returns text
language sql immutable as $$
  select case when coalesce(jsonb_typeof(value), 'null') = 'null' then null
    when jsonb_typeof(value) not in ('string', 'array') then 'must be a string or an array of strings'
    when jsonb_typeof(value) = 'array' and jsonb_array_length(value) not between 1 and 20
      then 'must have 1 to 20 elements'
    when exists (select from jsonb_array_elements(case when jsonb_typeof(value) = 'array' then value
      else jsonb_build_array(value) end) e where jsonb_typeof(e) <> 'string' or length(e #>> '{}') not between 1
        and 200) then 'must be a string of 1 to 200 characters, or an array of them'
    when not weir.texts_of(value) <@ choices then 'must be any of ' || array_to_string(choices, ', ') end
$$;
comment on function weir.choices_problem(jsonb, text[]) is
  'Internal. What is wrong with a JSON value that should be absent, a string or 1 to 20 of them (of these choices), or '
  'null.';

create or replace function weir.words_problem(value jsonb) returns text language sql immutable as $$
  select case when coalesce(jsonb_typeof(value), 'null') = 'null' then null
    when jsonb_typeof(value) <> 'string' or length(value #>> '{}') not between 1 and 200
      then 'must be a string of 1 to 200 characters'
    when weir.search_query(value #>> '{}') is null then 'must have a word to search for' end
$$;
comment on function weir.words_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or words to search for, or null.';

-- One field: what is wrong with its value, or null.
create or replace function weir.job_filter_field_problem(field text, value jsonb) returns text
language sql stable as $$
  select case
    when jsonb_typeof(value) = 'null' then null
    when field = 'state' then weir.choices_problem(value, enum_range(null::weir.job_state)::text[])
    when field in ('queue', 'kind', 'tag') then weir.choices_problem(value)
    when field in ('error', 'q') then weir.words_problem(value)
    when field in ('tenant', 'worker', 'error_type') then
      case when jsonb_typeof(value) <> 'string' or length(value #>> '{}') not between 1 and 200
        then 'must be a string of 1 to 200 characters' end
    when field like any ('{created\_%,started\_%,finished\_%}') then weir.time_problem(value)
    when field like '%\_seconds' then weir.number_problem(value, 0, weir.max_seconds())
    when field in ('priority', 'min_priority', 'max_priority') then weir.integer_problem(value, 1, 10)
    when field = 'min_attempts' then weir.integer_problem(value, 1, 100)
    when field = 'max_attempts' then weir.integer_problem(value, 0, 100)
    when field = 'has_error' then case when jsonb_typeof(value) <> 'boolean' then 'must be true or false' end
    when field = 'args' then case when jsonb_typeof(value) <> 'object' then 'must be an object'
      else weir.size_problem(value, 4096) end
    when field in ('parent_id', 'workflow_id') then
      case when value #>> '{}' !~ '^0*[1-9][0-9]{0,18}$'
        then 'must be the id of a ' || case field when 'parent_id' then 'job' else 'workflow' end
        when (value #>> '{}')::numeric > 9223372036854775807 then 'must be at most 9223372036854775807' end
    when field = 'bounds' then weir.bounds_problem(value)
    else 'is not a field of a filter of jobs'
  end
$$;
comment on function weir.job_filter_field_problem(text, jsonb) is
  'Internal. Why the value of a field of a filter of jobs is invalid, or null.';

create or replace function weir.job_filter_problem(filter jsonb) returns text[] language sql stable as $$
  select case when jsonb_typeof(filter) is distinct from 'object' then array['filter', 'must be an object'] else (
    select array['filter.' || f.key, p.problem] from jsonb_each(filter) with ordinality f(key, value, n)
    cross join lateral (select weir.job_filter_field_problem(f.key, f.value) as problem) p
    where p.problem is not null order by p.problem = 'is not a field of a filter of jobs' desc, f.n limit 1) end
$$;
comment on function weir.job_filter_problem(jsonb) is
  'Internal. The first field of a filter of jobs that is invalid, and why; null: none.';

-- Scans the narrowest index that the filter allows: a workflow's steps, a parent's children, or the table of a state.
-- The plans are pinned: statistics of a table that has just been filled would choose to read all of it and sort.
create or replace function weir.scan_job_ids(filter jsonb, after_id bigint, until_id bigint, most int)
returns bigint[] language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  states text[] := weir.texts_of(filter -> 'state');
  state text := case when cardinality(states) = 1 then states[1] end;
begin
  if filter ->> 'workflow_id' is not null then
    -- OFFSET 0, or the primary key would be read for the sake of its order.
    return array(select t.job_id from (select s.job_id from weir.workflow_step s
        where s.workflow_id = (filter ->> 'workflow_id')::bigint offset 0) t
      where t.job_id > after_id and t.job_id <= until_id order by t.job_id limit most);
  elsif filter ->> 'parent_id' is not null then
    return array(select t.id from weir.job t where t.parent_id = (filter ->> 'parent_id')::bigint
      and t.id > after_id and t.id <= until_id
      order by t.id limit most);
  elsif state is null and not 'available' = any (states) then
    return array(select distinct i from unnest(states) s(name) cross join unnest(weir.scan_job_ids(
      filter || jsonb_build_object('state', s.name), after_id, until_id, most)) i order by i limit most);
  elsif state = 'running' then
    return array(select t.job_id from weir.job_lease t where t.job_id > after_id and t.job_id <= until_id
      order by t.job_id limit most);
  elsif state in ('scheduled', 'retryable') then
    return array(select t.job_id from weir.job_scheduled t where t.retryable = (state = 'retryable')
      and t.job_id > after_id and t.job_id <= until_id
      order by t.job_id limit most);
  elsif state = 'held' then
    return array(select t.job_id from weir.job_held t where t.job_id > after_id and t.job_id <= until_id
      order by t.job_id limit most);
  elsif state = 'dead' then
    return array(select t.job_id from weir.job_outcome t where t.state = 'dead'
      and t.job_id > after_id and t.job_id <= until_id
      order by t.job_id limit most);
  elsif state in ('completed', 'cancelled') then
    return array(select t.job_id from weir.job_outcome t where t.job_id > after_id and t.job_id <= until_id
      order by t.job_id limit most);
  end if;
  return array(select t.id from weir.job t where t.id > after_id and t.id <= until_id
    order by t.id limit most);
end $$;
comment on function weir.scan_job_ids(jsonb, bigint, bigint, int) is
  'Internal. The next batch of up to `most` ids above after_id and up to until_id, in rising order, among which are '
  'all jobs that a filter can match.';

-- The same for a list, which shows the newest first, and for the states of jobs that have not ended.
create or replace function weir.newest_job_ids(filter jsonb, before bigint, most int) returns bigint[]
language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  states text[] := weir.texts_of(filter -> 'state');
  state text := case when cardinality(states) = 1 then states[1] end;
begin
  if filter ->> 'workflow_id' is not null then
    -- OFFSET 0, or the primary key would be read for the sake of its order.
    return array(select t.job_id from (select s.job_id from weir.workflow_step s
        where s.workflow_id = (filter ->> 'workflow_id')::bigint offset 0) t
      where t.job_id < before order by t.job_id desc limit most);
  elsif filter ->> 'parent_id' is not null then
    return array(select t.id from weir.job t where t.parent_id = (filter ->> 'parent_id')::bigint
      and t.id < before
      order by t.id desc limit most);
  elsif state is null and not 'available' = any (states) then
    return array(select distinct i from unnest(states) s(name) cross join unnest(weir.newest_job_ids(
      filter || jsonb_build_object('state', s.name), before, most)) i order by i desc limit most);
  elsif state = 'running' then
    return array(select t.job_id from weir.job_lease t where t.job_id < before
      order by t.job_id desc limit most);
  elsif state in ('scheduled', 'retryable') then
    return array(select t.job_id from weir.job_scheduled t where t.retryable = (state = 'retryable')
      and t.job_id < before
      order by t.job_id desc limit most);
  elsif state = 'held' then
    return array(select t.job_id from weir.job_held t where t.job_id < before
      order by t.job_id desc limit most);
  end if;
  return array(select t.id from weir.job t where t.id < before
    order by t.id desc limit most);
end $$;
comment on function weir.newest_job_ids(jsonb, bigint, int) is
  'Internal. The next batch of up to `most` ids below `before`, in falling order, among which are all jobs that a '
  'filter can match.';

-- The conditions are in the order of what they cost. Errors are looked up only where the others hold.
create or replace function weir.filter_job_ids(job_ids bigint[], filter jsonb, states text[] default null) returns
  setof bigint language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
  asked weir.job_state[] := weir.texts_of(filter -> 'state')::weir.job_state[];
  allowed weir.job_state[] := states::weir.job_state[];
  queues text[] := weir.texts_of(filter -> 'queue');
  kinds text[] := weir.texts_of(filter -> 'kind');
  any_tags text[] := weir.texts_of(filter -> 'tag');
  f record;
  words tsquery := weir.search_query(filter ->> 'q');
  error_words tsquery := weir.search_query(filter ->> 'error');
  bounds jsonb := nullif(filter -> 'bounds', 'null');
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
begin
  select * into f from jsonb_to_record(filter) x(tenant text, worker text, error_type text, args jsonb,
    parent_id bigint, workflow_id bigint, priority numeric, min_priority numeric, max_priority numeric,
    min_attempts numeric, max_attempts numeric, has_error boolean, min_run_seconds float8, max_run_seconds float8,
    min_wait_seconds float8, max_wait_seconds float8, created_after timestamptz, created_before timestamptz,
    started_after timestamptz, started_before timestamptz, finished_after timestamptz, finished_before timestamptz);
  return query
  select j.id from weir.jobs j
  where j.id = any (job_ids) and j.id >= lowest and j.id <= highest
    and (asked is null or j.state = any (asked)) and (allowed is null or j.state = any (allowed))
    and (queues is null or j.queue = any (queues)) and (kinds is null or j.kind = any (kinds))
    and (f.tenant is null or j.tenant = f.tenant) and (any_tags is null or j.tags && any_tags)
    and (f.worker is null or j.worker = f.worker)
    and (f.parent_id is null or j.parent_id = f.parent_id)
    and (f.workflow_id is null or j.workflow_id = f.workflow_id)
    and (f.priority is null or j.priority = f.priority)
    and (f.min_priority is null or j.priority >= f.min_priority)
    and (f.max_priority is null or j.priority <= f.max_priority)
    and (f.min_attempts is null or j.attempt >= f.min_attempts)
    and (f.max_attempts is null or j.attempt <= f.max_attempts)
    and (f.created_after is null or j.created_at >= f.created_after)
    and (f.created_before is null or j.created_at < f.created_before)
    and (f.started_after is null or j.started_at >= f.started_after)
    and (f.started_before is null or j.started_at < f.started_before)
    and (f.finished_after is null or j.finished_at >= f.finished_after)
    and (f.finished_before is null or j.finished_at < f.finished_before)
    and (f.min_run_seconds is null
      or weir.run_seconds(j.started_at, j.finished_at) >= f.min_run_seconds)
    and (f.max_run_seconds is null
      or weir.run_seconds(j.started_at, j.finished_at) <= f.max_run_seconds)
    and (f.args is null or j.args @> f.args)
    and (bounds is null or exists (select from weir.job x where x.id = j.id
      and weir.is_within(bounds, x.tenant, j.queue, x.principal)))
    and (f.has_error is null or (j.errors is not null) = f.has_error)
    and (f.error_type is null or j.error ->> 'type' = f.error_type
      or j.errors is not null and weir.has_failure(j.errors, f.error_type, null))
    and (error_words is null or j.error is not null and weir.error_words(j.error) @@ error_words
      or j.errors is not null and weir.has_failure(j.errors, null, error_words))
    and (words is null or weir.job_words(j.kind, j.args, j.tags) @@ words
      or j.error is not null and weir.error_words(j.error) @@ words
      or j.errors is not null and weir.has_failure(j.errors, null, words))
    and (f.min_wait_seconds is null
      or weir.wait_seconds(j.id, j.started_at, j.finished_at) >= f.min_wait_seconds)
    and (f.max_wait_seconds is null
      or weir.wait_seconds(j.id, j.started_at, j.finished_at) <= f.max_wait_seconds);
end $$;
comment on function weir.filter_job_ids(bigint[], jsonb, text[]) is
  'Internal. Those of these jobs that match a filter and are in one of these states (null: any).';

-- A dead letter that was purged, or routed to another queue, has had what it needed. Its job stays dead.
create or replace function weir.bulk_retryable(job_ids bigint[]) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off as $$
begin
  return array(select i from unnest(job_ids) with ordinality u(i, n)
    where not exists (select from weir.job_outcome o where o.job_id = i and o.state = 'dead')
      or exists (select from weir.job_dead d where d.job_id = i) order by n);
end $$;
comment on function weir.bulk_retryable(bigint[]) is
  'Internal. Those of these jobs that bulk_retry may run again: not the dead ones that have no dead letter any more.';

create or replace function weir.count_jobs(filter jsonb default '{}', kind text default null,
  seconds float8 default 2, out total bigint, out exact boolean) language plpgsql stable as $$
#variable_conflict use_variable
declare
  problem text[] := weir.job_filter_problem(filter);
  began timestamptz := clock_timestamp();
  step record;
  found bigint[];
  before bigint := 9223372036854775807;
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  total := 0;
  loop
    select s.ids, s.reached into step from weir.search_step(filter, before, 2000) s;
    found := array(select i from weir.filter_job_ids(step.ids, filter, case when filter ->> 'state' is null
      then weir.bulk_states(kind) end) i);
    if kind = 'bulk_retry' then
      found := weir.bulk_retryable(found);
    end if;
    total := total + cardinality(found);
    before := step.reached;
    exact := before is null;
    exit when exact or clock_timestamp() > began + make_interval(secs => seconds);
  end loop;
end $$;
comment on function weir.count_jobs(jsonb, text, float8) is
  'Counts the jobs that match a filter, whose fields docs/search.md describes. kind: count only jobs in the states '
  'that this kind of operation applies to (bulk_retry: no dead ones without a dead letter). exact is '
  'false if counting took longer than `seconds`: then there are at least total. Errors: WR010.';
