-- Quiet hours of rules of alerts: {timezone, days, from, to}. Alerts open anyway; what they send waits for the
-- end.

create or replace function weir.quiet_problem(quiet jsonb) returns text[] language sql stable as $$
  select case
    when quiet is null or jsonb_typeof(quiet) = 'null' then null
    when jsonb_typeof(quiet) <> 'object' then array['quiet', 'must be an object']
    when quiet - '{timezone,days,from,to}'::text[] <> '{}' then
      array['quiet.' || weir.first_key(quiet - '{timezone,days,from,to}'::text[]), 'is no setting of quiet hours']
    else (select array['quiet.' || p.field, p.problem] from (values
      ('from', case when quiet ->> 'from' is null then 'is required'
        when quiet ->> 'from' !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' then 'must be a time of day, as 22:00' end),
      ('to', case when quiet ->> 'to' is null then 'is required'
        when quiet ->> 'to' !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' then 'must be a time of day, as 06:30' end),
      ('timezone', case when quiet ->> 'timezone' is not null
        and not exists (select from weir.time_zone z where z.name = quiet ->> 'timezone')
        then 'must be a name of the IANA time zone database, such as Europe/Berlin' end),
      ('days', case when quiet -> 'days' is null or jsonb_typeof(quiet -> 'days') = 'null' then null
        when jsonb_typeof(quiet -> 'days') <> 'array' or quiet -> 'days' = '[]'
          or not quiet -> 'days' <@ '["mon", "tue", "wed", "thu", "fri", "sat", "sun"]'
          or jsonb_array_length(quiet -> 'days') > 7
        then 'must be a list of mon, tue, wed, thu, fri, sat, sun' end)) p(field, problem)
      where p.problem is not null limit 1)
  end
$$;
comment on function weir.quiet_problem(jsonb) is
  'Internal. What is wrong with quiet hours: the field and why, or null.';

-- Where the clock changes, the offset of the end may differ from that of now.
create or replace function weir.local_to_time(zone text, local timestamp) returns timestamptz language sql stable as $$
  select (local - make_interval(secs => weir.utc_offset(zone,
    (local - make_interval(secs => weir.utc_offset(zone, local at time zone 'UTC'))) at time zone 'UTC')))
    at time zone 'UTC'
$$;
comment on function weir.local_to_time(text, timestamp) is 'Internal. When it is this local time in a zone.';

-- A period belongs to the day on which it begins; from 22:00 to 06:00 it ends on the next day. Equal times: all day.
create or replace function weir.quiet_until(quiet jsonb, at timestamptz) returns timestamptz
language plpgsql stable as $$
#variable_conflict use_variable
declare
  zone text := coalesce(quiet ->> 'timezone', 'UTC');
  until timestamptz := at;
  local timestamp;
  starts timestamp;
  ends timestamptz;
begin
  if quiet is null then
    return null;
  end if;
  for round in 1..8 loop  -- one period may begin where the one before ends
    local := (until at time zone 'UTC') + make_interval(secs => weir.utc_offset(zone, until));
    ends := null;
    for back in 0..1 loop
      starts := (local::date - back) + (quiet ->> 'from')::time;
      continue when coalesce(jsonb_typeof(quiet -> 'days'), 'null') <> 'null'
        and not quiet -> 'days' ? (array['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])[extract(isodow
          from starts)::int];
      ends := weir.local_to_time(zone, starts::date + (quiet ->> 'to')::time
        + case when (quiet ->> 'to') > (quiet ->> 'from') then interval '0' else interval '1 day' end);
      exit when weir.local_to_time(zone, starts) <= until and until < ends;
      ends := null;
    end loop;
    exit when ends is null;
    until := ends;
  end loop;
  return nullif(until, at);
end $$;
comment on function weir.quiet_until(jsonb, timestamptz) is
  'Internal. The end of the quiet hours that a time lies in; null: in none. Looks eight periods ahead.';
