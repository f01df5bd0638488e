-- limit

create or replace function weir.rate_problem(rate jsonb, field text) returns text[] language sql immutable as $$
  select case
    when rate is null or jsonb_typeof(rate) = 'null' then null
    when jsonb_typeof(rate) <> 'object' then array[field, 'must be an object {per_second, burst}']
    when rate - '{per_second,burst}'::text[] <> '{}' then array[field || '.' || weir.first_key(rate - '{per_second,burst}'::text[]), 'is no part of a rate']
    when rate ->> 'per_second' is null then array[field || '.per_second', 'is missing']
    when weir.number_problem(rate -> 'per_second', 0.00001, 1000000) is not null then array[field || '.per_second', 'must be a number from 0.00001 to 1000000']
    when weir.integer_problem(rate -> 'burst', 1, 1000000) is not null then array[field || '.burst', weir.integer_problem(rate -> 'burst', 1, 1000000)]
  end
$$;

create or replace function weir.limits_problem(limits jsonb, field text default 'limits') returns text[] language sql immutable as $$
  select case
    when limits is null or jsonb_typeof(limits) = 'null' then null
    when jsonb_typeof(limits) <> 'object' then array[field, 'must be an object {concurrency, per_key, rate, key_rate, tenants}']
    when limits - '{concurrency,per_key,rate,key_rate,tenants}'::text[] <> '{}'
      then array[field || '.' || weir.first_key(limits - '{concurrency,per_key,rate,key_rate,tenants}'::text[]), 'is no limit']
    when weir.integer_problem(limits -> 'concurrency', 1, 1000000) is not null then array[field || '.concurrency', weir.integer_problem(limits -> 'concurrency', 1, 1000000)]
    when weir.integer_problem(limits -> 'per_key', 1, 1000000) is not null then array[field || '.per_key', weir.integer_problem(limits -> 'per_key', 1, 1000000)]
    when weir.rate_problem(limits -> 'rate', '') is not null then weir.rate_problem(limits -> 'rate', field || '.rate')
    when weir.rate_problem(limits -> 'key_rate', '') is not null then weir.rate_problem(limits -> 'key_rate', field || '.key_rate')
    when limits ->> 'tenants' is null then null
    when jsonb_typeof(limits -> 'tenants') <> 'object' then array[field || '.tenants', 'must be an object {weights}']
    when (limits -> 'tenants') - 'weights' <> '{}' then array[field || '.tenants.' || weir.first_key((limits -> 'tenants') - 'weights'), 'is no setting of tenants']
    when limits #>> '{tenants,weights}' is null then null
    when jsonb_typeof(limits #> '{tenants,weights}') <> 'object' then array[field || '.tenants.weights', 'must be an object of numbers']
    when pg_column_size(limits) > 65536 then array[field || '.tenants.weights', 'must be at most 64 KiB', 'weir.set_limit sets the weight of one tenant.']
    else (select array[field || '.tenants.weights', 'must be names of 1 to 200 characters with numbers from 0.001 to 1000']
      from jsonb_each(limits #> '{tenants,weights}') w
      where length(w.key) not between 1 and 200 or jsonb_typeof(w.value) <> 'number' or weir.number_problem(w.value, 0.001, 1000) is not null limit 1)
  end
$$;

-- Locks: the queue's row. The admitter sees the new version at its next pass, a tenth of a second later at the latest (a fifth, if no queue had limits before).
create or replace function weir.govern(queue_id int) returns void language plpgsql as $$
declare
  keyed boolean;
  shared boolean;
begin
  perform from weir.queue q where q.id = govern.queue_id for no key update;
  select coalesce(q.limits ?| '{per_key,key_rate}', false) or exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'key'),
    coalesce(q.limits ? 'tenants', false) or exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'tenant')
    into keyed, shared from weir.queue q where q.id = govern.queue_id;
  update weir.queue q set
    governed = q.limits is not null or keyed or shared,
    admitted_id = case when q.admitted_id is null and (q.limits is not null or keyed or shared) then nextval('weir.queue_id_seq') else q.admitted_id end,
    line_by = case when q.limits is not null or keyed or shared then keyed::int + 2 * shared::int end,
    limits_version = q.limits_version + 1
  where q.id = govern.queue_id;
end $$;

create or replace function weir.set_limit(queue text, key text default null, tenant text default null, limits jsonb default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(set_limit.queue);
  field text := case when key is not null then 'key' else 'tenant' end;
  bad text;
begin
  if (key is null) = (tenant is null) then
    perform weir.refuse_argument('key', 'and tenant exclude each other, and one of them must be given');
  elsif length(coalesce(key, tenant)) not between 1 and 200 or coalesce(key, tenant) ~ '[\x01-\x1f]' then
    perform weir.refuse_argument(field, 'must be 1 to 200 characters, none of them a control character');
  elsif jsonb_typeof(limits) not in ('object', 'null') then
    perform weir.refuse_argument('limits', 'must be an object {concurrency, rate, weight}');
  end if;
  limits := nullif(jsonb_strip_nulls(nullif(limits, 'null')), '{}');
  bad := weir.first_key(limits - case when field = 'key' then '{concurrency,rate}'::text[] else '{weight,concurrency}' end);
  if bad is not null then
    perform weir.refuse_argument(bad, case field when 'key' then 'is no limit of a key' else 'is no limit of a tenant' end, 'A key has concurrency and rate, a tenant weight and concurrency.');
  elsif weir.integer_problem(limits -> 'concurrency', 1, 1000000) is not null then
    perform weir.refuse_argument('concurrency', weir.integer_problem(limits -> 'concurrency', 1, 1000000));
  elsif weir.number_problem(limits -> 'weight', 0.001, 1000) is not null then
    perform weir.refuse_argument('weight', weir.number_problem(limits -> 'weight', 0.001, 1000));
  elsif weir.rate_problem(limits -> 'rate', 'rate') is not null then
    perform weir.refuse_argument((weir.rate_problem(limits -> 'rate', 'rate'))[1], (weir.rate_problem(limits -> 'rate', 'rate'))[2]);
  end if;
  perform from weir.queue x where x.id = q for no key update;
  delete from weir.limit_override o where o.queue_id = q and o.what = field and o.name = coalesce(key, tenant);
  if limits is not null then
    insert into weir.limit_override (queue_id, what, name, concurrency, per_second, burst, weight)
    values (q, field, coalesce(key, tenant), (limits ->> 'concurrency')::numeric::int, (limits #>> '{rate,per_second}')::float8,
      case when limits ? 'rate' then weir.rate_burst(limits -> 'rate') end, (limits ->> 'weight')::float8);
  end if;
  perform weir.govern(q);
end $$;

create or replace function weir.rate_burst(rate jsonb) returns float8 language sql immutable as $$
  select coalesce((rate ->> 'burst')::float8, greatest(1, ceil((rate ->> 'per_second')::float8)))
$$;
comment on function weir.rate_problem(jsonb, text) is 'Internal. What is wrong with a rate: its field and why, or null.';
comment on function weir.limits_problem(jsonb, text) is 'Internal. What is wrong with the limits of a queue: the field and why, or null.';
comment on function weir.govern(int) is 'Internal. Works out from a queue''s limits and overrides whether it is governed, and what its lines tell apart.';
comment on function weir.rate_burst(jsonb) is 'Internal. The burst of a rate: what it says, or what comes in a second, at least one.';
comment on function weir.set_limit(text, text, text, jsonb) is
  'Gives one key ({concurrency, rate: {per_second, burst}}) or one tenant ({weight, concurrency}) of a queue limits of its own, in place of those for all; null or {} takes them away. '
  'What is not named is as for all. In force within a second. Errors: WR010, WR011.';

-- One statement: all of it is seen at one moment.
create or replace function weir.check_limits(repair boolean default false) returns table (queue text, line text, problem text, counted bigint, found bigint) language plpgsql set jit = off as $$
begin
  if not exists (select from weir.queue q where q.governed) then
    return;
  end if;
  return query
  with governed as materialized (
    select q.id, q.name, q.admitted_id, q.line_by from weir.queue q
    cross join lateral (select a.* from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1) a
    where q.governed and a.phase = 'open' and a.version = q.limits_version
  ), news as materialized (
    select n.queue_id, w.name, count(*) as n from weir.line_news n cross join unnest(n.went, n.went_jobs) w(name, job_id) group by 1, 2
  ), lines as materialized (
    select l.queue_id, l.name, sum(l.in_flight) as in_flight from weir.line l group by 1, 2
  ), flying as materialized (
    select a.queue_id, weir.line_name(g.line_by, j.tenant, j.concurrency_key) as name, count(*) as n
    from (
      select l.queue_id, l.job_id from weir.job_lease l where l.line is not null
      union all select g.id, r.job_id from governed g join weir.job_ready r on r.queue_id = g.admitted_id
      union all select k.queue_id, k.job_id from weir.line_reservation k) a
    join governed g on g.id = a.queue_id join weir.job j on j.id = a.job_id group by 1, 2
  ), wrong as materialized (
    select g.id, x.name as line, 'in flight' as problem, x.counted::bigint, x.found::bigint from governed g cross join lateral (
      select coalesce(l.name, f.name) as name, coalesce(l.in_flight, 0) - coalesce((select sum(n.n) from news n where n.queue_id = g.id and n.name = coalesce(l.name, f.name)), 0) as counted,
        coalesce(f.n, 0) as found
      from (select * from lines where queue_id = g.id) l full join (select * from flying where queue_id = g.id) f on f.name = l.name) x
    where x.counted <> x.found
    union all
    select g.id, null, 'in flight, of the queue', a.in_flight - coalesce((select sum(n.n) from news n where n.queue_id = g.id), 0)::bigint, coalesce((select sum(f.n) from flying f where f.queue_id = g.id), 0)::bigint
    from governed g cross join lateral (select x.in_flight from weir.admission x where x.queue_id = g.id order by x.tick desc limit 1) a
    where a.in_flight - coalesce((select sum(n.n) from news n where n.queue_id = g.id), 0) <> coalesce((select sum(f.n) from flying f where f.queue_id = g.id), 0)
    union all
    select g.id, min(k.name), 'keeps its line, but waits nowhere', count(*), 0 from governed g join weir.line_reservation k on k.queue_id = g.id
    where not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = g.id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = g.id)
    group by g.id
    union all
    select g.id, h.key, 'waits where nobody looks', 0, count(*) from governed g join weir.job_held h on h.queue_id = g.id and h.reason = 'line'
    left join lateral (select x.* from weir.line x where x.queue_id = g.id and x.name = h.key order by x.tick desc limit 1) l on true
    where coalesce(l.floors[array_position(l.priorities, h.priority)] >= h.seq, true)
      and not exists (select from weir.line_news n cross join unnest(n.came, n.priorities, n.floors) c(name, priority, floor)
        where n.queue_id = g.id and c.name = h.key and c.priority = h.priority and c.floor < h.seq)
    group by g.id, h.key
  ), orphans as (
    delete from weir.line_reservation k where repair and k.queue_id in (select w.id from wrong w)
      and not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = k.queue_id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = k.queue_id)
  ), anew as (
    update weir.queue q set limits_version = q.limits_version + 1 where repair and q.id in (select w.id from wrong w)
  ), stale as (
    update weir.admission a set line_by = null where repair and a.queue_id in (select w.id from wrong w)
  )
  select g.name, w.line, w.problem, w.counted, w.found from wrong w join governed g on g.id = w.id order by 1, 2;
end $$;
comment on function weir.check_limits(boolean) is
  'Recounts what the admitter keeps count of, from the rows, and returns what does not agree: nothing, if all is well. What a pass has yet to take note of is taken into account. '
  'With repair, lines with something wrong are made anew at the next pass. Nodes call it so every half minute.';
