-- Facets: how many jobs of a filter have which state, queue, kind and so on.
--
-- Jobs are counted in batches, newest first, until the time is over. Then the counts are lower bounds, exact for the
-- jobs that were enqueued since searched_back_to. Nothing is scaled up: the newest jobs are no sample of the others.
-- Where a filter names nothing but states and queues, and only these are asked for, jobs are counted in the tables of
-- their places, without a look at each.

create or replace function weir.facet_names() returns text[] language sql immutable as $$
  select '{state,queue,kind,error_type,tenant,worker,tag,priority}'::text[]
$$;
comment on function weir.facet_names() is 'Internal. The facets that jobs can be counted by.';

-- A job counts once for each class among the errors of its attempts, and for each of its tags.
create or replace function weir.facet_counts(job_ids bigint[], facets text[])
returns table (facet text, value text, jobs bigint) language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  by_error constant boolean := 'error_type' = any (facets);
begin
  return query
  with looked as materialized (
    select j.state, j.queue, j.kind, j.tenant, j.worker, j.priority, j.tags, j.error ->> 'type' as error_type,
      case when by_error then j.errors end as errors
    from weir.jobs j where j.id = any (job_ids) and j.id between lowest and highest
  )
  select v.facet, v.value, count(*) from looked l cross join lateral (
    select x.facet, x.value from (values ('state', l.state::text), ('queue', l.queue), ('kind', l.kind),
      ('tenant', l.tenant), ('worker', l.worker), ('priority', l.priority::text)) x(facet, value)
    where x.value is not null and x.facet = any (facets)
    union all select distinct 'tag', t from unnest(l.tags) t where 'tag' = any (facets)
    union all (select 'error_type', e.type from (select l.error_type as type
      union select f ->> 'type' from jsonb_array_elements(l.errors) f) e where by_error and e.type is not null)) v
  group by v.facet, v.value;
end $$;
comment on function weir.facet_counts(bigint[], text[]) is 'Internal. Counts these jobs by facets.';

create or replace function weir.add_counts(counts weir.facet_count[], more weir.facet_count[], most int)
returns weir.facet_count[] language sql immutable as $$
  select array_agg((s.facet, s.value, s.jobs)::weir.facet_count) from (
    select x.facet, case when x.n <= most then x.value end as value, sum(x.jobs)::bigint as jobs from (
      select u.facet, u.value, sum(u.jobs) as jobs,
        row_number() over (partition by u.facet, u.value is null order by sum(u.jobs) desc, u.value) as n
      from (select * from unnest(counts) union all select * from unnest(more)) u group by u.facet, u.value) x
    group by 1, 2) s
$$;
comment on function weir.add_counts(weir.facet_count[], weir.facet_count[], int) is
  'Internal. Adds counts up, with at most this many values of each facet and the rest under null.';

-- What is in hand when the time is over: counts, of how many jobs, and how far back (null: of all).
create or replace function weir.scan_facets(filter jsonb, facets text[], until timestamptz,
  out counts weir.facet_count[], out counted bigint, out searched_back_to timestamptz) language plpgsql stable as $$
#variable_conflict use_variable
declare
  size int := case when filter ?| '{q,error}' then 100 else 1000 end;
  before bigint := 9223372036854775807;
  step record;
  found_ids bigint[];
  began timestamptz;
begin
  counts := '{}';
  counted := 0;
  loop
    began := clock_timestamp();
    select s.ids, s.reached into step from weir.search_step(filter, before, size) s;
    found_ids := case when filter = '{}' then step.ids
      else array(select p from weir.filter_job_ids(step.ids, filter) p) end;
    if found_ids <> '{}' then
      counted := counted + cardinality(found_ids);
      counts := weir.add_counts(counts, array(select (c.facet, c.value, c.jobs)::weir.facet_count
        from weir.facet_counts(found_ids, facets) c), 1000);
    end if;
    exit when step.reached is null;
    before := step.reached;
    if clock_timestamp() > until then
      searched_back_to := weir.created_from(before);
      exit;
    end if;
    size := case when clock_timestamp() < began + interval '50 ms' then least(2 * size, 4000)
      when clock_timestamp() > began + interval '200 ms' then greatest(size / 4, 1) else size end;
  end loop;
end $$;
comment on function weir.scan_facets(jsonb, text[], timestamptz) is
  'Internal. Counts the jobs of a filter by facets, newest first, until a time. searched_back_to: when the last job '
  'was enqueued that it looked at; null: it looked at all.';

-- Jobs that have not ended are counted in the tables of their places, and ended ones in their outcomes, newest first.
-- pairs: by state (facet) and queue (value).
create or replace function weir.count_places(filter jsonb, until timestamptz, out pairs weir.facet_count[],
  out exact boolean, out searched_back_to timestamptz) language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_sort = off as $$
#variable_conflict use_variable
declare
  states text[] := coalesce(weir.texts_of(filter -> 'state'), enum_range(null::weir.job_state)::text[]);
  wanted text[] := weir.texts_of(filter -> 'queue');
  queues text[] := array(select q.name from weir.queue q where (wanted is null or q.name = any (wanted))
    and weir.is_within(filter -> 'bounds', null, q.name, null));
  before bigint := 9223372036854775807;
  step record;
begin
  select coalesce(array_agg((x.state, d.queue, x.jobs)::weir.facet_count) filter (where x.jobs > 0), '{}'),
    coalesce(bool_and(d.exact), true) into pairs, exact
  from weir.queue_depth d cross join lateral (values ('available', d.available), ('running', d.running),
    ('scheduled', d.scheduled), ('retryable', d.retryable), ('held', d.held)) x(state, jobs)
  where d.queue = any (queues) and x.state = any (states);
  while states && '{completed,cancelled,dead}' loop
    select array_agg((o.state::text, q.name, o.jobs)::weir.facet_count) filter (where q.name = any (queues)
      and o.state::text = any (states)) as pairs, min(o.lowest) as lowest, sum(o.jobs) as looked into step
    from (select x.queue_id, x.state, count(*) as jobs, min(x.job_id) as lowest
      from (select y.job_id, y.queue_id, y.state from weir.job_outcome y where y.job_id < before
        order by y.job_id desc limit 20000) x group by x.queue_id, x.state) o
    left join weir.queue q on q.id = o.queue_id;
    pairs := weir.add_counts(pairs, step.pairs, 2147483647);
    exit when coalesce(step.looked, 0) < 20000;
    before := step.lowest;
    if clock_timestamp() > until then
      searched_back_to := weir.created_from(before);
      exit;
    end if;
  end loop;
end $$;
comment on function weir.count_places(jsonb, timestamptz) is
  'Internal. Counts jobs by state and queue, for a filter that names nothing else. exact: no count stopped at a bound '
  'of weir.queue_depth. searched_back_to: as of weir.scan_facets.';

create or replace function weir.job_facets(filter jsonb default '{}',
  facets text[] default '{state,queue,kind,error_type}', seconds float8 default 1) returns jsonb
language plpgsql stable as $$
#variable_conflict use_variable
declare
  problem text[] := weir.job_filter_problem(filter);
  until timestamptz := clock_timestamp() + make_interval(secs => seconds);
  looked record;
  found_counts weir.facet_count[];
  counted bigint;
  exact boolean := true;
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  elsif not coalesce(cardinality(facets) > 0 and facets <@ weir.facet_names(), false) then
    perform weir.refuse_argument('facets', 'must be any of ' || array_to_string(weir.facet_names(), ', '));
  elsif (seconds between 0 and 5) is not true then
    perform weir.refuse_argument('seconds', 'must be from 0 to 5');
  end if;
  if filter - '{state,queue,bounds}'::text[] = '{}' and facets <@ '{state,queue}'
    and not coalesce(filter -> 'bounds' ?| '{tenant,own}', false) then
    select p.*, sum(u.jobs)::bigint as counted into looked from weir.count_places(filter, until) p
      left join lateral unnest(p.pairs) u on true group by p.pairs, p.exact, p.searched_back_to;
    found_counts := array(select (f.facet, f.value, sum(u.jobs)::bigint)::weir.facet_count from unnest(looked.pairs) u
      cross join lateral (values ('state', u.facet), ('queue', u.value)) f(facet, value)
      where f.facet = any (facets) group by f.facet, f.value);
    exact := looked.exact;
  else
    select s.* into looked from weir.scan_facets(filter, facets, until) s;
    found_counts := looked.counts;
  end if;
  counted := coalesce(looked.counted, 0);
  found_counts := weir.add_counts(found_counts, null, 50);
  return jsonb_strip_nulls(jsonb_build_object('counted', counted, 'estimated', not exact
      or looked.searched_back_to is not null, 'searched_back_to', looked.searched_back_to,
    'facets', (select jsonb_object_agg(f.name, coalesce(v.shown, '[]')) from unnest(facets) f(name)
      left join lateral (select jsonb_agg(jsonb_build_object('value', u.value, 'count', u.jobs)
        order by u.jobs desc, u.value) as shown from unnest(found_counts) u
        where u.facet = f.name and u.value is not null) v on true),
    'other', (select coalesce(jsonb_object_agg(u.facet, u.jobs), '{}') from unnest(found_counts) u
      where u.value is null)));
end $$;
comment on function weir.job_facets(jsonb, text[], float8) is
  'Counts the jobs of a filter (see weir.count_jobs) by facets: state, queue, kind, error_type (the classes of errors '
  'of their attempts), tenant, worker, tag, priority. Returns {facets: {state: [{value, count}, ...], ...}, other: '
  '{kind: count}, counted, estimated, searched_back_to}: up to 50 values of each facet, the most frequent first, and '
  'the sum of the counts of the others. counted: how many jobs. estimated: counting took longer than `seconds` (0 to '
  '5), or stopped at a bound of weir.queue_depth; then there are at least as many. searched_back_to: of the jobs that '
  'were enqueued before, some were not looked at. Errors: WR010.';
