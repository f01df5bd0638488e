-- How large a JSON value is when it is printed, which is what a worker, a log and a browser get.
--
-- Its binary form says little about that. A number keeps its exponent: 1e131071 takes 14 bytes and prints 131,072
-- digits, and 0e-16383 prints 16,385 characters. Anything else prints at most 16 times as long as it is stored.

-- True for every value with a number that may print longer than it is stored, and for some that do not, such as 0.
-- The path is strict, so that `**` reaches each value once; a comparison with anything but a number is false.
create or replace function weir.has_odd_number(value jsonb) returns boolean language sql immutable as $$
  select value @? 'strict $.** ? (@ < 1e-20 || @ > 1e30)'
$$;
comment on function weir.has_odd_number(jsonb) is
  'Internal. Whether a JSON value has a number, at any depth, that may print longer than it is stored.';

create or replace function weir.json_size(value jsonb) returns int language plpgsql immutable as $$
declare
  printed text := value::text;
begin
  if octet_length(printed) not between 1048577 and 2097152 then
    return octet_length(printed);  -- near enough: the exact size matters only about 1 MiB
  end if;
  -- PostgreSQL prints a space after each comma and colon. Those outside of strings do not count.
  return octet_length(printed) - x.spaces from (select length(s) - length(replace(s, ' ', '')) as spaces
    from regexp_replace(printed, '"([^"\\]|\\.)*"', '', 'g') s) x;
end $$;
comment on function weir.json_size(jsonb) is
  'Internal. Bytes of a JSON value written without white space; exact about 1 MiB.';

-- Each level is an array or an object in another. More of them overrun the stack of PostgreSQL, or of a JSON reader.
create or replace function weir.is_deep(value jsonb) returns boolean language sql immutable as $$
  select value @? 'strict $.**{100}'
$$;
comment on function weir.is_deep(jsonb) is 'Internal. Whether a JSON value has more than 100 levels.';

-- Inlined. The strict path is quicker, and null where a job has no args. A level takes at least 8 bytes.
create or replace function weir.may_have_odd_args(jobs jsonb, largest int) returns boolean language sql immutable as $$
  select coalesce(jobs @? 'strict $[*].args.** ? (@ < 1e-20 || @ > 1e30)',
      jobs @? 'lax $[*].args.** ? (@ < 1e-20 || @ > 1e30)')
    or largest >= 800 and jobs @? 'lax $[*].args.**{100}'
$$;
comment on function weir.may_have_odd_args(jsonb, int) is
  'Internal. weir.has_odd_number or weir.is_deep for the args of jobs, the largest of which takes `largest` bytes.';

-- The numbers come before the size: they bound what json_size has to print. api/payload.go has the same bounds.
create or replace function weir.size_problem(value jsonb, most int) returns text language plpgsql immutable as $$
declare
  odd boolean := weir.has_odd_number(value);
begin
  if weir.is_deep(value) then
    return 'must be nested at most 100 levels deep';
  -- a sign and 0. beside
  elsif odd and exists (select from jsonb_path_query(value, 'strict $.** ? (@ < 1e-20 || @ > 1e30)') n
    where octet_length(n #>> '{}') > 1003) then
    return 'must not have a number that takes more than 1000 digits to write out';
  elsif (odd or pg_column_size(value) > most / 16) and weir.json_size(value) > (case
    when weir.is_encrypted(value) then most / 3 * 4 + 1024 else most end) then  -- it has become longer by a third
    return 'must be at most ' || case when most % 1048576 = 0 then most / 1048576 || ' MiB' else most / 1024
      || ' KiB' end;
  end if;
  return null;
end $$;
comment on function weir.size_problem(jsonb, int) is
  'Internal. What is wrong with the size of a JSON value that should print to at most `most` bytes, or null. It may '
  'have 100 levels, and numbers of 1000 digits.';

create or replace function weir.refuse_large(field text, "values" jsonb[], most int) returns void
language plpgsql immutable as $$
declare
  bad record;
begin
  select u.n, weir.size_problem(u.value, most) as problem into bad
  from unnest("values") with ordinality u(value, n) where weir.size_problem(u.value, most) is not null order by u.n
    limit 1;
  if found then
    perform weir.refuse_argument(format('%s[%s]', field, bad.n), bad.problem,
      'Keep it elsewhere and give its address. Nothing was changed.');
  end if;
end $$;
comment on function weir.refuse_large(text, jsonb[], int) is
  'Internal. Raises WR010 for the first of these values that prints to more than `most` bytes.';
