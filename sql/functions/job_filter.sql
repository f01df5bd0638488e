-- Filters of jobs: checks, and searches in batches, so that a search over any number of jobs can stop in time.

create or replace function weir.job_filter_fields() returns text[] language sql immutable as $$
  select '{state,queue,kind,tenant,tag,worker,parent_id,workflow_id,priority,created_after,created_before,
    finished_after,finished_before,min_attempts,has_error,q,bounds}'::text[]
$$;
comment on function weir.job_filter_fields() is 'Internal. The fields of a filter of jobs.';

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

create or replace function weir.job_filter_problem(filter jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(filter) is distinct from 'object' then array['filter', 'must be an object']
    when filter - weir.job_filter_fields() <> '{}' then
      array['filter.' || weir.first_key(filter - weir.job_filter_fields()), 'is not a field of a filter of jobs']
    else (
      select array['filter.' || p.field, p.problem] from (
        select f.field, case when filter ->> f.field is not null
          and (jsonb_typeof(filter -> f.field) <> 'string' or length(filter ->> f.field) not between 1 and 200)
          then 'must be a string of 1 to 200 characters' end
        from unnest('{queue,kind,tenant,tag,worker,q}'::text[]) f(field)
        union all select f.field, case when filter ->> f.field is not null then weir.time_problem(filter -> f.field) end
        from unnest('{created_after,created_before,finished_after,finished_before}'::text[]) f(field)
        union all select 'min_attempts', weir.integer_problem(filter -> 'min_attempts', 1, 100)
        union all select 'priority', weir.integer_problem(filter -> 'priority', 1, 10)
        union all select 'has_error', case when filter ->> 'has_error' is not null
          and jsonb_typeof(filter -> 'has_error') <> 'boolean' then 'must be true or false' end
        union all select 'bounds', weir.bounds_problem(filter -> 'bounds')
        union all select 'parent_id', case when filter ->> 'parent_id' is not null
          and filter ->> 'parent_id' !~ '^[0-9]{1,18}$' then 'must be the id of a job' end
        union all select 'workflow_id', case when filter ->> 'workflow_id' is not null
          and filter ->> 'workflow_id' !~ '^[0-9]{1,18}$' then 'must be the id of a workflow' end
        union all select 'state', case when filter ->> 'state' is not null
          and filter ->> 'state' <> all (enum_range(null::weir.job_state)::text[]) then 'must be a state of a job' end
      ) p(field, problem) where p.problem is not null limit 1)
  end
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
  state text := filter ->> 'state';
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
    return array(select t.job_id from weir.job_dead t where t.job_id > after_id and t.job_id <= until_id
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

-- The same for a list, which shows the newest first.
create or replace function weir.newest_job_ids(filter jsonb, before bigint, most int) returns bigint[]
language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  state text := filter ->> 'state';
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
  elsif state = 'dead' then
    return array(select t.job_id from weir.job_dead t where t.job_id < before
      order by t.job_id desc limit most);
  elsif state in ('completed', 'cancelled') then
    return array(select t.job_id from weir.job_outcome t where t.job_id < before
      order by t.job_id desc limit most);
  end if;
  return array(select t.id from weir.job t where t.id < before
    order by t.id desc limit most);
end $$;
comment on function weir.newest_job_ids(jsonb, bigint, int) is
  'Internal. The next batch of up to `most` ids below `before`, in falling order, among which are all jobs that a '
  'filter can match.';

create or replace function weir.filter_job_ids(job_ids bigint[], filter jsonb, states text[] default null) returns
  setof bigint language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
  asked weir.job_state := (filter ->> 'state')::weir.job_state;
  created_after timestamptz := (filter ->> 'created_after')::timestamptz;
  created_before timestamptz := (filter ->> 'created_before')::timestamptz;
  finished_after timestamptz := (filter ->> 'finished_after')::timestamptz;
  finished_before timestamptz := (filter ->> 'finished_before')::timestamptz;
  has_error boolean := (filter ->> 'has_error')::boolean;
  words text := lower(filter ->> 'q');
  bounds jsonb := filter -> 'bounds';
begin
  return query
  select j.id from weir.jobs j
  where j.id = any (job_ids) and (asked is null or j.state = asked) and (states is null or j.state::text = any (states))
    and (filter ->> 'queue' is null or j.queue = filter ->> 'queue')
      and (filter ->> 'kind' is null or j.kind = filter ->> 'kind')
    and (filter ->> 'tenant' is null or j.tenant = filter ->> 'tenant')
      and (filter ->> 'tag' is null or filter ->> 'tag' = any (j.tags))
    and (filter ->> 'worker' is null or j.worker = filter ->> 'worker')
      and (filter ->> 'parent_id' is null or j.parent_id = (filter ->> 'parent_id')::bigint)
    and (filter ->> 'workflow_id' is null or j.workflow_id = (filter ->> 'workflow_id')::bigint)
    and (filter ->> 'priority' is null or j.priority = (filter ->> 'priority')::numeric)
      and (filter ->> 'min_attempts' is null or j.attempt >= (filter ->> 'min_attempts')::numeric)
    and (created_after is null or j.created_at >= created_after)
      and (created_before is null or j.created_at < created_before)
    and (finished_after is null or j.finished_at >= finished_after)
      and (finished_before is null or j.finished_at < finished_before)
    and (has_error is null or (j.errors is not null) = has_error)
    and (bounds is null or exists (select from weir.job f where f.id = j.id
      and weir.is_within(bounds, f.tenant, j.queue, f.principal)))
    and (words is null or strpos(lower(concat_ws(' ', j.kind, j.args::text, j.error::text, j.errors::text)),
      words) > 0);
end $$;
comment on function weir.filter_job_ids(bigint[], jsonb, text[]) is
  'Internal. Those of these jobs that match a filter and are in one of these states (null: any).';

create or replace function weir.count_jobs(filter jsonb default '{}', kind text default null,
  seconds float8 default 2, out total bigint, out exact boolean) language plpgsql stable as $$
#variable_conflict use_variable
declare
  problem text[] := weir.job_filter_problem(filter);
  began timestamptz := clock_timestamp();
  ids bigint[];
  last bigint := 0;
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  total := 0;
  exact := true;
  loop
    ids := weir.scan_job_ids(filter, last, 9223372036854775807, 2000);
    total := total + (select count(*) from weir.filter_job_ids(ids, filter, case when filter ->> 'state' is null
      then weir.bulk_states(kind) end));
    last := ids[cardinality(ids)];
    exact := cardinality(ids) < 2000;
    exit when exact or clock_timestamp() > began + make_interval(secs => seconds);
  end loop;
end $$;
comment on function weir.count_jobs(jsonb, text, float8) is
  'Counts the jobs that match a filter: {state, queue, kind, tenant, tag, worker, parent_id, workflow_id, priority, '
  'created_after, created_before, finished_after, finished_before, min_attempts, has_error, q (text in kind, args or '
  'errors)}, all optional. kind: count only jobs in the states that this kind of operation applies to. exact is '
  'false if counting took longer than `seconds`: then there are at least total. Errors: WR010.';
