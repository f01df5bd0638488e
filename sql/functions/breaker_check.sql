-- Checks of what callers say about breakers: settings, policies, and names and reasons of changes by hand.

-- Patterns are matched in transactions that acks of other callers share, so none may take long. Back-references and
-- look-around take exponential time; without them the time grows with the text. To prepare a pattern takes time that
-- grows with more than the cube of what it is when its bounds are written out: (?:a?a?…)* of 985 characters took 32
-- seconds, of 200 it takes 0.05.
create or replace function weir.pattern_problem(pattern text) returns text language plpgsql immutable as $$
declare
  plain text := replace(pattern, '\\', '');  -- without escaped backslashes
  size float8 := length(pattern);
  bounds float8 := 1;
  bound record;
begin
  if length(pattern) not between 1 and 200 then
    return 'must be a regular expression of 1 to 200 characters';
  elsif plain ~ '\\[0-9]' then
    return 'must be a regular expression without back-references';
  elsif plain ~ '\(\?(?!:|i\))' or plain ~ '^\*\*\*' then
    return 'must be a regular expression without look-around, and without options other than (?i)';
  end if;
  -- The bound of a group multiplies what is in it, that of a single character adds to the pattern.
  for bound in select m[1] = ')' as of_group, greatest(m[2]::float8, nullif(m[3], '')::float8, 1) as times
    from regexp_matches(plain, '(.?)\{([0-9]{1,3}),?([0-9]{0,3})\}', 'g') m loop
    size := size + case when bound.of_group then 0 else bound.times end;
    bounds := bounds * case when bound.of_group then bound.times else 1 end;
  end loop;
  if bounds > 1 and bounds * length(pattern) > 200 or bounds * size > 500 then
    return 'must be a regular expression whose bounds {m,n} repeat less';
  end if;
  perform '' ~ pattern;
  return null;
exception when invalid_regular_expression then
  return 'must be a regular expression';
end $$;
comment on function weir.pattern_problem(text) is 'Internal. What is wrong with a regular expression, or null.';

create or replace function weir.counts_problem(counts jsonb) returns text[] language plpgsql immutable as $$
begin
  if counts is null or jsonb_typeof(counts) = 'null' then
    return null;
  elsif jsonb_typeof(counts) <> 'object' then
    return array['counts', 'must be an object {types, pattern, except_types}'];
  elsif counts - '{types,pattern,except_types}'::text[] <> '{}' then
    return array['counts.' || weir.first_key(counts - '{types,pattern,except_types}'::text[]),
      'is unknown: counts has types, pattern and except_types'];
  elsif counts ? 'types' and (jsonb_typeof(counts -> 'types') = 'null'
    or weir.tags_problem(counts -> 'types') is not null) then
    return array['counts.types', 'must be an array of at most 50 strings of 1 to 200 characters'];
  elsif counts ? 'except_types' and (jsonb_typeof(counts -> 'except_types') = 'null'
    or weir.tags_problem(counts -> 'except_types') is not null) then
    return array['counts.except_types', 'must be an array of at most 50 strings of 1 to 200 characters'];
  elsif counts ? 'pattern' and jsonb_typeof(counts -> 'pattern') <> 'string' then
    return array['counts.pattern', 'must be a regular expression'];
  elsif weir.pattern_problem(counts ->> 'pattern') is not null then
    return array['counts.pattern', weir.pattern_problem(counts ->> 'pattern')];
  end if;
  return null;
end $$;
comment on function weir.counts_problem(jsonb) is
  'Internal. The field of a breaker''s counts that is invalid and why, or null.';

create or replace function weir.while_open_problem(while_open jsonb) returns text[] language plpgsql stable as $$
declare
  policy text := while_open ->> 'policy';
  fields text[];
begin
  if while_open is null or jsonb_typeof(while_open) = 'null' then
    return null;
  elsif jsonb_typeof(while_open) <> 'object' then
    return array['while_open', 'must be an object {policy, …}'];
  elsif jsonb_typeof(while_open -> 'policy') is distinct from 'string'
     or policy not in ('hold', 'reroute', 'complete_last_result', 'complete_default', 'degraded', 'throttle',
       'postpone') then
    return array['while_open.policy',
      'must be hold, reroute, complete_last_result, complete_default, degraded, throttle or postpone'];
  end if;
  fields := '{policy}'::text[] || case policy when 'hold' then '{}'::text[]
    when 'reroute' then '{queue,until,for_seconds}' when 'complete_last_result' then '{result,until,for_seconds}'
    when 'complete_default' then '{result,until,for_seconds}' when 'degraded' then '{until,for_seconds}'
      when 'throttle' then '{per_second,until,for_seconds}' else '{delay_seconds,until,for_seconds}' end;
  if while_open - fields <> '{}' then
    return array['while_open.' || weir.first_key(while_open - fields), 'is not a field of policy ' || policy];
  elsif policy = 'reroute' and (jsonb_typeof(while_open -> 'queue') is distinct from 'string'
    or not weir.is_queue_name(while_open ->> 'queue')) then
    return array['while_open.queue', 'must be the name of a queue'];
  elsif policy = 'complete_default' and not while_open ? 'result' then
    return array['while_open.result', 'must be set, to any JSON: policy complete_default requires it'];
  elsif weir.size_problem(while_open -> 'result', 65536) is not null then
    return array['while_open.result', 'must be at most 64 KiB'];
  elsif policy = 'throttle' and (while_open ->> 'per_second' is null
    or weir.number_problem(while_open -> 'per_second', 0.001, 100000) is not null) then
    return array['while_open.per_second', 'must be a number from 0.001 to 100000: policy throttle requires it'];
  elsif policy = 'postpone' and (while_open ->> 'delay_seconds' is null
    or weir.number_problem(while_open -> 'delay_seconds', 0.1, 604800) is not null) then
    return array['while_open.delay_seconds', 'must be a number from 0.1 to 604800: policy postpone requires it'];
  elsif while_open ->> 'until' is not null and weir.time_problem(while_open -> 'until') is not null then
    return array['while_open.until', weir.time_problem(while_open -> 'until')];
  elsif weir.number_problem(while_open -> 'for_seconds', 0.1, 31536000) is not null then
    return array['while_open.for_seconds', weir.number_problem(while_open -> 'for_seconds', 0.1, 31536000)];
  elsif while_open ->> 'until' is not null and while_open ->> 'for_seconds' is not null then
    return array['while_open.until', 'and for_seconds exclude each other'];
  end if;
  return null;
end $$;
comment on function weir.while_open_problem(jsonb) is
  'Internal. The field of a breaker''s while_open that is invalid and why, or null.';

create or replace function weir.breaker_problem(settings jsonb) returns text[] language plpgsql stable as $$
declare
  known constant text[] := array['failure_threshold', 'failure_ratio', 'min_calls', 'window_seconds', 'open_seconds',
    'max_open_seconds', 'half_open_probes', 'close_after', 'counts', 'while_open', 'ramp_per_second', 'ramp_factor'];
begin
  if jsonb_typeof(settings) is distinct from 'object' then
    return array['settings', 'must be a JSON object'];
  elsif settings - known <> '{}' then
    return array[weir.first_key(settings - known), 'is not a setting of a breaker'];
  elsif settings ->> 'failure_threshold' is not null and settings ->> 'failure_ratio' is not null then
    return array['failure_ratio', 'and failure_threshold exclude each other'];
  end if;
  return coalesce(
    (select array[p.field, p.problem] from (values
      ('failure_threshold', weir.integer_problem(settings -> 'failure_threshold', 1, 1000000)),
      ('failure_ratio', case when weir.number_problem(settings -> 'failure_ratio', 0, 1) is not null
        or (settings ->> 'failure_ratio')::numeric <= 0
        then 'must be a number above 0, at most 1' end),
      ('min_calls', weir.integer_problem(settings -> 'min_calls', 1, 1000000)),
      ('window_seconds', case when weir.integer_problem(settings -> 'window_seconds', 1, 3600) is not null
        then 'must be a whole number from 1 to 3600: samples are kept for an hour' end),
      ('open_seconds', weir.number_problem(settings -> 'open_seconds', 0.1, 86400)),
      ('max_open_seconds', weir.number_problem(settings -> 'max_open_seconds', 0.1, 86400)),
      ('half_open_probes', weir.integer_problem(settings -> 'half_open_probes', 1, 1000)),
      ('close_after', weir.integer_problem(settings -> 'close_after', 1, 1000)),
      ('ramp_per_second', weir.number_problem(settings -> 'ramp_per_second', 0.1, 100000)),
      ('ramp_factor', weir.number_problem(settings -> 'ramp_factor', 1, 10))
    ) p(field, problem) where p.problem is not null limit 1),
    weir.counts_problem(settings -> 'counts'), weir.while_open_problem(settings -> 'while_open'));
end $$;
comment on function weir.breaker_problem(jsonb) is
  'Internal. The setting of a breaker that is invalid and why, or null.';

-- Follows jobs of each queue with a breaker along policy reroute, as if every breaker were open. Callers that set a
-- part of such a route have the turn set_routes, so that two of them cannot close a cycle together.
create or replace function weir.refuse_reroute_cycle(field text) returns void language plpgsql as $$
declare
  cycle text;
begin
  with recursive onward (first, at, route) as (
    select q.name, q.name, q.name from weir.queue q where q.breaker_id is not null
    union all
    select o.first, b.while_open ->> 'queue', o.route || ' -> ' || (b.while_open ->> 'queue')
    from onward o join weir.queue q on q.name = o.at join weir.breaker b on b.id = q.breaker_id
    where b.while_open ->> 'policy' = 'reroute' and (o.route = o.first or o.at <> o.first) and length(o.route) < 10000
  )
  select o.route into cycle from onward o where o.at = o.first and o.route <> o.first limit 1;
  if cycle is not null then
    perform weir.refuse_argument(field, 'leads back to the same queue: ' || cycle,
      'Jobs would circle between the queues while the breakers are open.');
  end if;
end $$;
comment on function weir.refuse_reroute_cycle(text) is
  'Internal. Raises WR010 if breakers would route jobs of a queue back to it.';

create or replace function weir.check_by_and_reason(by text, reason text) returns void language plpgsql immutable as $$
begin
  if weir.requester_problem(check_by_and_reason.by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(check_by_and_reason.by));
  elsif length(check_by_and_reason.reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  end if;
end $$;
comment on function weir.check_by_and_reason(text, text) is
  'Internal. Raises WR010 if the author or the reason of a change is too long.';
