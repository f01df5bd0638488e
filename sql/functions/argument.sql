-- The schema, the one sequence, and the words that every table uses.
--

-- The errors of the SQL contract. A code keeps its meaning for ever; docs/sql.md lists them.
--   WR001 stale_token        WR005 job_not_retryable
--   WR002 job_not_found      WR006 idempotency_mismatch
--                            WR010 invalid_argument
--   WR003 job_ended          WR011 queue_not_found
--   WR004 job_not_editable   WR012 queue_not_empty
--                            WR013 queue_full
--   WR050 workflow_not_found   WR051 workflow_ended   WR052 workflow_not_failed   WR054 not_a_step
--   WR040 webhook_not_found  WR041 webhook_exists
--   WR014 dead_letter_not_found   WR015 worker_not_found   WR020 operation_not_found   WR021 operation_ended
--   WR065 breaker_not_found       WR066 breaker_in_use     WR067 breaker_pinned
--   WR030 schedule_not_found      WR031 schedule_exists
create or replace function weir.refuse_argument(field text, problem text, hint text default null) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR010', message = format('%s %s', field, problem), column = field,
    hint = coalesce(hint, 'Nothing was changed. docs/sql.md lists what each function takes.');
end $$;
comment on function weir.refuse_argument(text, text, text) is
  'Internal. Raises WR010 invalid_argument; the error''s column field carries the path of the argument.';

create or replace function weir.number_problem(value jsonb, lowest float8, highest float8) returns text language sql immutable as $$
  select case
    when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'number' then 'must be a number from ' || lowest::text || ' to ' || highest::text
    when (value #>> '{}')::numeric not between lowest::numeric and highest::numeric then 'must be a number from ' || lowest::text || ' to ' || highest::text
  end
$$;

create or replace function weir.integer_problem(value jsonb, lowest int, highest int) returns text language sql immutable as $$
  select case
    when weir.number_problem(value, lowest, highest) is not null or case when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric % 1 <> 0 else false end
      then 'must be a whole number from ' || lowest::text || ' to ' || highest::text
  end
$$;
comment on function weir.number_problem(jsonb, float8, float8) is 'Internal. What is wrong with a JSON value that should be absent or a number in a range, or null.';
comment on function weir.integer_problem(jsonb, int, int) is 'Internal. What is wrong with a JSON value that should be absent or a whole number in a range, or null.';

create or replace function weir.first_key(object jsonb) returns text language sql immutable as $$
  select k from jsonb_object_keys(object) k limit 1
$$;

create or replace function weir.json_size(value jsonb) returns int language plpgsql immutable as $$
declare
  printed text := value::text;
begin
  if octet_length(printed) not between 1048577 and 2097152 then
    return octet_length(printed);  -- near enough: only about 1 MiB does it matter
  end if;
  -- PostgreSQL prints a space after each comma and colon; those that are not in strings do not count.
  return octet_length(printed) - x.spaces from (select length(s) - length(replace(s, ' ', '')) as spaces
    from regexp_replace(printed, '"([^"\\]|\\.)*"', '', 'g') s) x;
end $$;

create or replace function weir.time_problem(value jsonb) returns text language plpgsql immutable as $$
begin
  if jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)$' then
    perform (value #>> '{}')::timestamptz;
    return null;
  end if;
  return 'must be a time with its zone, as in 2026-01-31T09:30:00Z';
exception when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
  return 'must be a time that exists, as in 2026-01-31T09:30:00Z';
end $$;

-- A character that is no good in a name of a line is no good here: see line.sql.
create or replace function weir.label_problem(value jsonb) returns text language sql immutable as $$
  select case when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'string' or length(value #>> '{}') not between 1 and 200 then 'must be a string of 1 to 200 characters'
    when value #>> '{}' ~ '[\x01-\x1f]' then 'must not contain control characters' end
$$;
comment on function weir.first_key(jsonb) is 'Internal. One key of a JSON object.';
comment on function weir.json_size(jsonb) is 'Internal. Bytes of a JSON value written without white space; exact about 1 MiB.';
comment on function weir.time_problem(jsonb) is 'Internal. What is wrong with a JSON value that should be a time with its zone (RFC 3339), or null.';
comment on function weir.label_problem(jsonb) is 'Internal. What is wrong with a JSON value that should be absent or a tenant or key, or null.';

create or replace function weir.name_problem(value jsonb) returns text language sql immutable as $$
  select case when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'string' or not weir.is_queue_name(value #>> '{}')
      then 'must be 1 to 128 letters, digits or _ . : -' end
$$;
comment on function weir.name_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or the name of a queue or a circuit breaker, or null.';

create or replace function weir.names_problem(names jsonb, longest int) returns text language sql immutable as $$
  select case
    when names is null or jsonb_typeof(names) = 'null' then null
    when jsonb_typeof(names) <> 'array' then 'must be an array of strings'
    when jsonb_array_length(names) > 100 then 'must name at most 100'
    when exists (select from jsonb_array_elements(names) n where jsonb_typeof(n) <> 'string' or length(n #>> '{}') not between 1 and longest)
      then 'must be an array of strings of 1 to ' || longest || ' characters' end
$$;
comment on function weir.names_problem(jsonb, int) is 'Internal. What is wrong with a JSON value that should be absent or an array of names, or null.';

create or replace function weir.choice_problem(value jsonb, choices text[]) returns text language sql immutable as $$
  select case when value is not null and jsonb_typeof(value) <> 'null' and (jsonb_typeof(value) <> 'string' or value #>> '{}' <> all (choices))
    then 'must be ' || array_to_string(choices[1:cardinality(choices) - 1], ', ') || ' or ' || choices[cardinality(choices)] end
$$;
comment on function weir.choice_problem(jsonb, text[]) is 'Internal. What is wrong with a JSON value that should be absent or one of several words, or null.';
