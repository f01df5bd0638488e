-- Limits: how many jobs of a queue, of each key or of one tenant may be in flight, how fast they start, and how tenants
-- share the queue.
--
-- A queue's own limits are in weir.queue.limits; limits of single keys and tenants are in weir.limit_override. What
-- follows from them for the jobs of the queue is in line.sql and admission.sql.

create or replace function weir.set_limit(queue text, key text default null, tenant text default null,
  limits jsonb default null) returns void
language plpgsql as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(set_limit.queue);
  field constant text := case when key is not null then 'key' else 'tenant' end;
  problem text[];
begin
  if (key is null) = (tenant is null) then
    perform weir.refuse_argument('key', 'and tenant exclude each other, and one of them is required');
  elsif weir.label_problem(to_jsonb(coalesce(key, tenant))) is not null then
    perform weir.refuse_argument(field, weir.label_problem(to_jsonb(coalesce(key, tenant))));
  elsif jsonb_typeof(limits) not in ('object', 'null') then
    perform weir.refuse_argument('limits', 'must be an object {concurrency, rate, weight}');
  end if;
  limits := nullif(jsonb_strip_nulls(nullif(limits, 'null')), '{}');
  problem := weir.override_problem(limits, field);
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2], problem[3]);
  end if;
  perform from weir.queue x where x.id = q for no key update;
  if limits is null then
    delete from weir.limit_override o where o.queue_id = q and o.what = field and o.name = coalesce(key, tenant);
  else
    insert into weir.limit_override (queue_id, what, name, concurrency, per_second, burst, weight)
    values (q, field, coalesce(key, tenant), (limits ->> 'concurrency')::numeric::int,
      (limits #>> '{rate,per_second}')::float8,
      case when limits ? 'rate' then weir.rate_burst(limits -> 'rate') end, (limits ->> 'weight')::float8)
    on conflict on constraint limit_override_pkey do update set concurrency = excluded.concurrency,
      per_second = excluded.per_second, burst = excluded.burst, weight = excluded.weight;
  end if;
  perform weir.recompute_limits(q);
end $$;
comment on function weir.set_limit(text, text, text, jsonb) is
  'Sets the limits of one key ({concurrency, rate: {per_second, burst}}) or one tenant ({weight, concurrency}) of a '
  'queue, which replace those of each key or tenant; null or {} removes them. What is not named stays as for all. In '
  'force within a second. Errors: WR010, WR011.';

-- Locks: the queue's row. The admitter reads the new version in its next pass: after a tenth of a second at most, or a
-- fifth if the queue had no limits before.
create or replace function weir.recompute_limits(queue_id int) returns void language plpgsql as $$
declare
  keyed boolean;
  shared boolean;
  is_governed boolean;
begin
  perform from weir.queue q where q.id = recompute_limits.queue_id for no key update;
  select coalesce(q.limits ?| '{per_key,key_rate}', false)
      or exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'key'),
    coalesce(q.limits ? 'tenants', false) or exists (select from weir.limit_override o
      where o.queue_id = q.id and o.what = 'tenant')
    into keyed, shared from weir.queue q where q.id = recompute_limits.queue_id;
  select q.limits is not null or keyed or shared into is_governed from weir.queue q
    where q.id = recompute_limits.queue_id;
  update weir.queue q set
    governed = is_governed,
    admitted_id = case when is_governed and q.admitted_id is null then nextval('weir.queue_id_seq')
      else q.admitted_id end,
    line_by = case when is_governed then keyed::int + 2 * shared::int end,
    limits_version = q.limits_version + 1
  where q.id = recompute_limits.queue_id;
end $$;
comment on function weir.recompute_limits(int) is
  'Internal. After a change of a queue''s limits or overrides: whether it is governed, and what its lines tell apart.';

create or replace function weir.rate_burst(rate jsonb) returns float8 language sql immutable
  return coalesce((rate ->> 'burst')::float8, greatest(1, ceil((rate ->> 'per_second')::float8)));
comment on function weir.rate_burst(jsonb) is
  'Internal. The burst of a rate: as given, or the jobs of one second, at least one.';

create or replace function weir.rate_problem(rate jsonb, field text) returns text[] language sql immutable as $$
  select case
    when rate is null or jsonb_typeof(rate) = 'null' then null
    when jsonb_typeof(rate) <> 'object' then array[field, 'must be an object {per_second, burst}']
    when rate - '{per_second,burst}'::text[] <> '{}' then
      array[field || '.' || weir.first_key(rate - '{per_second,burst}'::text[]),
        'is unknown: a rate has per_second and burst']
    when rate ->> 'per_second' is null then array[field || '.per_second', 'is missing']
    when weir.number_problem(rate -> 'per_second', 0.00001, 1000000) is not null then
      array[field || '.per_second', 'must be a number from 0.00001 to 1000000']
    when weir.integer_problem(rate -> 'burst', 1, 1000000) is not null then
      array[field || '.burst', weir.integer_problem(rate -> 'burst', 1, 1000000)]
  end
$$;
comment on function weir.rate_problem(jsonb, text) is 'Internal. The field of a rate that is invalid and why, or null.';

create or replace function weir.weights_problem(tenants jsonb, field text) returns text[] language sql immutable as $$
  select case
    when tenants is null or jsonb_typeof(tenants) = 'null' then null
    when jsonb_typeof(tenants) <> 'object' then array[field, 'must be an object {weights}']
    when tenants - 'weights' <> '{}' then array[field || '.' || weir.first_key(tenants - 'weights'),
      'is unknown: tenants has weights']
    when tenants ->> 'weights' is null then null
    when jsonb_typeof(tenants -> 'weights') <> 'object' then array[field || '.weights', 'must be an object of numbers']
    when pg_column_size(tenants) > 65536 then
      array[field || '.weights', 'must be at most 64 KiB', 'Set the weights of single tenants with weir.set_limit.']
    else (
      select array[field || '.weights',
          'must have names of 1 to 200 characters that are not . or .., and numbers from 0.001 to 1000']
        from jsonb_each(tenants -> 'weights') w
      where weir.label_problem(to_jsonb(w.key)) is not null or jsonb_typeof(w.value) <> 'number'
        or weir.number_problem(w.value, 0.001, 1000) is not null limit 1)
  end
$$;
comment on function weir.weights_problem(jsonb, text) is
  'Internal. The field of a queue''s limits of tenants that is invalid and why, or null.';

create or replace function weir.limits_problem(limits jsonb, field text default 'limits') returns text[]
  language sql immutable as $$
  select case
    when limits is null or jsonb_typeof(limits) = 'null' then null
    when jsonb_typeof(limits) <> 'object' then array[field,
      'must be an object {concurrency, per_key, rate, key_rate, tenants}']
    when limits - '{concurrency,per_key,rate,key_rate,tenants}'::text[] <> '{}' then
      array[field || '.' || weir.first_key(limits - '{concurrency,per_key,rate,key_rate,tenants}'::text[]),
        'is not a limit of a queue']
    when weir.integer_problem(limits -> 'concurrency', 1, 1000000) is not null then
      array[field || '.concurrency', weir.integer_problem(limits -> 'concurrency', 1, 1000000)]
    when weir.integer_problem(limits -> 'per_key', 1, 1000000) is not null then
      array[field || '.per_key', weir.integer_problem(limits -> 'per_key', 1, 1000000)]
    when weir.rate_problem(limits -> 'rate', '') is not null then weir.rate_problem(limits -> 'rate', field || '.rate')
    when weir.rate_problem(limits -> 'key_rate', '') is not null
      then weir.rate_problem(limits -> 'key_rate', field || '.key_rate')
    else weir.weights_problem(limits -> 'tenants', field || '.tenants')
  end
$$;
comment on function weir.limits_problem(jsonb, text) is
  'Internal. The field of a queue''s limits that is invalid and why, or null.';

create or replace function weir.override_problem(limits jsonb, field text) returns text[] language sql immutable as $$
  select case
    when field = 'key' and limits - '{concurrency,rate}'::text[] <> '{}' then
      array[weir.first_key(limits - '{concurrency,rate}'::text[]), 'is not a limit of a key',
        'A key has concurrency and rate.']
    when field = 'tenant' and limits - '{weight,concurrency}'::text[] <> '{}' then
      array[weir.first_key(limits - '{weight,concurrency}'::text[]), 'is not a limit of a tenant',
        'A tenant has weight and concurrency.']
    when weir.integer_problem(limits -> 'concurrency', 1, 1000000) is not null then
      array['concurrency', weir.integer_problem(limits -> 'concurrency', 1, 1000000)]
    when weir.number_problem(limits -> 'weight', 0.001, 1000) is not null
      then array['weight', weir.number_problem(limits -> 'weight', 0.001, 1000)]
    else weir.rate_problem(limits -> 'rate', 'rate')
  end
$$;
comment on function weir.override_problem(jsonb, text) is
  'Internal. The field of the limits of one key or tenant that is invalid and why, or null.';
