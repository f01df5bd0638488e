-- Checks of arguments that many functions share. Each *_problem function returns what is wrong with a value, or null.
--
-- The errors of the SQL contract. A code keeps its meaning for ever; docs/sql.md lists them.
--   WR001 stale_token          WR002 job_not_found        WR003 job_ended              WR004 job_not_editable
--   WR005 job_not_retryable    WR006 idempotency_mismatch
--   WR010 invalid_argument     WR011 queue_not_found      WR012 queue_not_empty        WR013 queue_full
--   WR014 dead_letter_not_found WR015 worker_not_found      WR016 too_many_names
--   WR017 quota_not_found      WR018 tenant_mismatch      WR019 quota_exceeded
--   WR020 operation_not_found  WR021 operation_ended      WR023 queue_encrypted
--   WR024 worker_taken
--   WR030 schedule_not_found   WR031 schedule_exists
--   WR040 webhook_not_found    WR041 webhook_exists
--   WR050 workflow_not_found   WR051 workflow_ended       WR052 workflow_not_failed    WR054 not_a_step
--   WR065 breaker_not_found    WR066 breaker_in_use       WR067 breaker_pinned
--   WR093 preset_not_found     WR094 preset_builtin       WR095 preset_exists
--   WR100 alert_rule_not_found WR101 alert_not_found      WR102 alert_target_not_found
--   WR103 alert_rule_exists    WR104 alert_target_exists  WR105 alert_resolved       WR106 alert_target_in_use

create or replace function weir.refuse_argument(field text, problem text, hint text default null) returns void
language plpgsql as $$
begin
  raise exception using errcode = 'WR010', message = format('%s %s', field, problem), column = field,
    hint = coalesce(hint, 'Nothing was changed. docs/sql.md lists what each function takes.');
end $$;
comment on function weir.refuse_argument(text, text, text) is
  'Internal. Raises WR010 invalid_argument; the error''s column field carries the path of the argument.';

create or replace function weir.number_problem(value jsonb, lowest float8, highest float8) returns text
language sql immutable as $$
  select case
    when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'number' or (value #>> '{}')::numeric not between lowest::numeric and highest::numeric
      then 'must be a number from ' || lowest::text || ' to ' || highest::text
  end
$$;
comment on function weir.number_problem(jsonb, float8, float8) is
  'Internal. What is wrong with a JSON value that should be absent or a number in a range, or null.';

create or replace function weir.integer_problem(value jsonb, lowest int, highest int) returns text
language sql immutable as $$
  select case
    when weir.number_problem(value, lowest, highest) is not null
      or case when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric % 1 <> 0 else false end
      then 'must be a whole number from ' || lowest::text || ' to ' || highest::text
  end
$$;
comment on function weir.integer_problem(jsonb, int, int) is
  'Internal. What is wrong with a JSON value that should be absent or a whole number in a range, or null.';

-- A time that PostgreSQL rounds to the year 10000, or that lies before the year 1 in UTC, could not be written as RFC
-- 3339.
create or replace function weir.time_problem(value jsonb) returns text language plpgsql immutable as $$
begin
  if jsonb_typeof(value) is distinct from 'string'
    or value #>> '{}' !~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]'
      || '([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') then
    return 'must be a time with its zone, as in 2026-01-31T09:30:00Z';
  elsif (value #>> '{}')::timestamptz not between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z' then
    return 'must be a time from the year 1 to the year 9999 in UTC, to the microsecond';
  end if;
  return null;
exception when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
  return 'must be a time that exists, as in 2026-01-31T09:30:00Z';
end $$;
comment on function weir.time_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be a time with its zone (RFC 3339), or null.';

-- null: as the policy says. A day counts 24 hours and a month 30 days.
create or replace function weir.refuse_bad_delays(field text, delays interval[], required boolean) returns void
language plpgsql immutable as $$
declare
  n int := (select u.n from unnest(delays) with ordinality u(delay, n)
    where case when u.delay is null then required
      else u.delay < interval '0' or u.delay > make_interval(secs => weir.max_seconds()) end order by u.n limit 1);
begin
  if n is not null then
    perform weir.refuse_argument(format('%s[%s]', field, n), 'must be from 0 to 10 years');
  end if;
end $$;
comment on function weir.refuse_bad_delays(text, interval[], boolean) is
  'Internal. Raises WR010 for the first delay that is negative or longer than ten years, or null where one is '
  'required.';

-- A control character would be taken for the separator in the name of a line; see line.sql. A path with . or .. leads
-- elsewhere, so REST could not name them.
create or replace function weir.label_problem(value jsonb) returns text language sql immutable as $$
  select case when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'string' or length(value #>> '{}') not between 1 and 200
      then 'must be a string of 1 to 200 characters'
    when value #>> '{}' ~ '[\x01-\x1f]|^[.][.]?$' then 'must not have control characters, or be . or ..' end
$$;
comment on function weir.label_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or a tenant or a concurrency key, or null.';

create or replace function weir.name_problem(value jsonb) returns text language sql immutable as $$
  select case when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'string' or not weir.is_queue_name(value #>> '{}')
      then 'must be 1 to 128 letters, digits or _ . : -' end
$$;
comment on function weir.name_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or the name of a queue, or null.';

create or replace function weir.reference_problem(value jsonb) returns text language sql immutable as $$
  select case when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'string' or not weir.is_breaker_reference(value #>> '{}')
      then 'must be 1 to 128 letters, digits or _ . : -' end
$$;
comment on function weir.reference_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or the reference of a circuit breaker, or null.';

create or replace function weir.names_problem(names jsonb, longest int) returns text language sql immutable as $$
  select case
    when names is null or jsonb_typeof(names) = 'null' then null
    when jsonb_typeof(names) <> 'array' then 'must be an array of strings'
    when jsonb_array_length(names) > 100 then 'must name at most 100'
    when exists (select from jsonb_array_elements(names) n
      where jsonb_typeof(n) <> 'string' or length(n #>> '{}') not between 1 and longest)
      then 'must be an array of strings of 1 to ' || longest || ' characters' end
$$;
comment on function weir.names_problem(jsonb, int) is
  'Internal. What is wrong with a JSON value that should be absent or an array of names, or null.';

create or replace function weir.choice_problem(value jsonb, choices text[]) returns text language sql immutable as $$
  select case
    when value is not null and jsonb_typeof(value) <> 'null'
      and (jsonb_typeof(value) <> 'string' or value #>> '{}' <> all (choices))
      then 'must be ' || array_to_string(choices[1:cardinality(choices) - 1], ', ') || ' or '
        || choices[cardinality(choices)] end
$$;
comment on function weir.choice_problem(jsonb, text[]) is
  'Internal. What is wrong with a JSON value that should be absent or one of several words, or null.';

create or replace function weir.first_key(object jsonb) returns text language sql immutable as $$
  select k from jsonb_object_keys(object) k limit 1
$$;
comment on function weir.first_key(jsonb) is 'Internal. One key of a JSON object.';

create or replace function weir.refuse_uneven(job_ids bigint[], lengths int[]) returns void
language plpgsql immutable as $$
begin
  if exists (select from unnest(lengths) n where n is not null and n <> cardinality(job_ids)) then
    perform weir.refuse_argument('job_ids', 'and the other arrays must have the same length');
  end if;
end $$;
comment on function weir.refuse_uneven(bigint[], int[]) is
  'Internal. Raises WR010 where arrays that belong together differ in length.';
