-- Cron: expressions parsed into masks of numbers, and the next local time that such masks include.

create or replace function weir.lowest_bit(mask bigint) returns int language sql immutable as $$
  select round(ln((mask & -mask)::float8) / 0.6931471805599453)::int
$$;
comment on function weir.lowest_bit(bigint) is 'Internal. The position of the lowest bit that is set.';

create or replace function weir.cron_number(word text, lowest int, highest int, names text[]) returns int
language sql immutable as $$
  select case
    when word ~ '^[0-9]{1,4}$' then case when word::int between lowest and highest then word::int end
    else array_position(names, word) - 1 + lowest
  end
$$;
comment on function weir.cron_number(text, int, int, text[]) is
  'Internal. The number that a word in a field of a cron expression stands for; null: it is out of range.';

-- One field without the forms that only days have (L, #). The problem reads after "cron has a … that".
create or replace function weir.parse_cron_field(items text[], lowest int, highest int, names text[],
  out mask bigint, out problem text) language plpgsql immutable as $$
declare
  item text;
  part text[];
  low int;
  high int;
  step int;
  top int := case when names[1] = 'sun' then 6 else highest end;  -- Sunday is 0 and 7
begin
  mask := 0;
  foreach item in array items loop
    part := regexp_match(item, '^(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:(/)([0-9]*))?$');
    if part is null or part[1] in ('*', '?') and part[2] is not null then
      problem := 'is not a list of *, a number, or a range, each with or without a step';
    elsif part[1] in ('*', '?') then
      low := lowest;
      high := top;
    else
      low := weir.cron_number(part[1], lowest, highest, names);
      high := case
        when part[2] is not null then weir.cron_number(part[2], lowest, highest, names)
        when part[3] is null then low
        else top
      end;
      if names[1] = 'sun' and part[2] is not null and high = 0 then
        high := 7;
      end if;
      if low is null or high is null then
        problem := format('is not from %s to %s', lowest, highest) || case when names is not null
          then format(' or a name from %s to %s', names[1], names[cardinality(names)]) else '' end;
      elsif low > high then
        problem := 'is a range that ends before it begins: write it as two';
      end if;
    end if;
    step := case when part[3] is null then 1 when part[4] ~ '^[0-9]{1,4}$' then part[4]::int else 0 end;
    if problem is null and step not between 1 and greatest(highest - lowest, 1) then
      problem := format('has a step that is not from 1 to %s', highest - lowest);
    end if;
    exit when problem is not null;
    for n in low..high by step loop
      mask := mask | (1::bigint << case when names[1] = 'sun' then n % 7 else n end);
    end loop;
  end loop;
end $$;
comment on function weir.parse_cron_field(text[], int, int, text[]) is
  'Internal. The numbers that one field of a cron expression includes, or what is wrong with it.';

-- An item that only days have: L and L-3 of the month, 5#2 and 5L of the week. All results are null for an item that
-- any field may have. field: 1 second … 4 day of the month, 5 month, 6 day of the week.
create or replace function weir.parse_cron_day(item text, field int, out last_days bigint, out nth_weekdays bigint,
  out last_weekdays bigint, out problem text) language plpgsql immutable as $$
declare
  day_names constant text[] := '{sun,mon,tue,wed,thu,fri,sat}';
  part text[];
  n int;
begin
  if field = 4 and item ~ '^l(-[0-9]{1,2})?$' then
    n := coalesce(nullif(substr(item, 3), ''), '0')::int;
    if n > 30 then
      problem := 'is more than 30 days before the last';
    else
      last_days := 1::bigint << n;
    end if;
  elsif field = 6 and item ~ '^[a-z0-9]+#' then
    part := string_to_array(item, '#');
    n := weir.cron_number(part[1], 0, 7, day_names);
    if n is null then
      problem := 'is not from 0 to 7 or a name from sun to sat';
    elsif cardinality(part) <> 2 or part[2] !~ '^[1-5]$' then
      problem := 'has a number after # that is not from 1 to 5';
    else
      nth_weekdays := 1::bigint << (n % 7 * 5 + part[2]::int - 1);
    end if;
  elsif field = 6 and item ~ '^[a-z0-9]+l$' then
    n := weir.cron_number(left(item, -1), 0, 7, day_names);
    if n is null then
      problem := 'is not from 0 to 7 or a name from sun to sat, before the L';
    else
      last_weekdays := 1::bigint << n % 7;
    end if;
  elsif field = 6 and item = 'l' then
    problem := 'is L without a day: 5L is the last Friday of the month';
  elsif field <> 6 and strpos(item, '#') > 0 then
    problem := 'has a #, which only a day of the week may have';
  elsif field not in (4, 6) and item in ('l', '?') then
    problem := 'is L or ?, which only days may be';
  end if;
end $$;
comment on function weir.parse_cron_day(text, int) is
  'Internal. The bits of an item of a cron expression that only days have, or what is wrong with it.';

create or replace function weir.parse_cron(expression text, out fields weir.cron_fields, out problem text)
language plpgsql immutable as $$
declare
  words text := lower(btrim(expression, E' \t'));
  parts text[];
  labels constant text[] := '{"a second","a minute","an hour","a day of the month","a month","a day of the week"}';
  lows constant int[] := '{0,0,0,1,1,0}';
  highs constant int[] := '{59,59,23,31,12,7}';
  month_names constant text[] := '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}';
  day_names constant text[] := '{sun,mon,tue,wed,thu,fri,sat}';
  masks bigint[];
  field record;
  day record;
  item text;
  plain text[];
  last_days bigint := 0;
  nth_weekdays bigint := 0;
  last_weekdays bigint := 0;
begin
  words := case words
    when '@yearly' then '0 0 1 1 *' when '@annually' then '0 0 1 1 *' when '@monthly' then '0 0 1 * *'
    when '@weekly' then '0 0 * * 0' when '@daily' then '0 0 * * *' when '@midnight' then '0 0 * * *'
    when '@hourly' then '0 * * * *' else words end;
  if left(words, 1) = '@' then
    problem := 'has a name after @ that is none of yearly, annually, monthly, weekly, daily, midnight and hourly; '
      'for an interval use every_seconds';
    return;
  end if;
  parts := regexp_split_to_array(words, '[ \t]+');
  if cardinality(parts) not in (5, 6) then
    problem := format('has %s where 5 or 6 are needed: (second) minute hour day-of-month month day-of-week',
      case when words = '' then 'no fields' when cardinality(parts) = 1 then '1 field' else cardinality(parts)
        || ' fields' end);
    return;
  end if;
  if cardinality(parts) = 5 then
    parts := '{0}'::text[] || parts;
  end if;
  for i in 1..6 loop
    plain := '{}';
    foreach item in array string_to_array(parts[i], ',') loop
      day := weir.parse_cron_day(item, i);
      problem := day.problem;
      exit when problem is not null;
      last_days := last_days | coalesce(day.last_days, 0);
      nth_weekdays := nth_weekdays | coalesce(day.nth_weekdays, 0);
      last_weekdays := last_weekdays | coalesce(day.last_weekdays, 0);
      if coalesce(day.last_days, day.nth_weekdays, day.last_weekdays) is null then
        plain := plain || item;
      end if;
    end loop;
    if problem is null then
      field := weir.parse_cron_field(plain, lows[i], highs[i],
        case i when 5 then month_names when 6 then day_names end);
      masks[i] := field.mask;
      problem := field.problem;
    end if;
    if problem is not null then
      problem := format('has %s that %s', labels[i], problem);
      return;
    end if;
  end loop;
  fields := (masks[1], masks[2], masks[3], masks[4], last_days, masks[5], masks[6], nth_weekdays, last_weekdays,
    left(parts[4], 1) in ('*', '?') or left(parts[6], 1) in ('*', '?'))::weir.cron_fields;
end $$;
comment on function weir.parse_cron(text) is
  'Internal. A cron expression as masks, or what is wrong with it: the field and the reason.';

-- The days of one month on which it runs, as a mask with bits 1 to 31.
create or replace function weir.cron_days(f weir.cron_fields, first date) returns bigint
language plpgsql immutable as $$
declare
  length int := extract(day from first + interval '1 month - 1 day');
  whole bigint := (1::bigint << (length + 1)) - 2;
  days bigint := f.days & whole;
  by_week bigint := whole;
  weekday int;
  begins int;
  mask bigint;
begin
  if f.last_days <> 0 then
    for n in 0..length - 1 loop
      days := days | (((f.last_days >> n) & 1) << (length - n));
    end loop;
  end if;
  if f.weekdays <> 127 then
    by_week := 0;
    weekday := extract(dow from first);
    for k in 0..6 loop
      begins := 1 + (k - weekday + 7) % 7;
      mask := (270549121::bigint << begins) & whole;  -- five days, seven apart
      if (f.weekdays >> k) & 1 = 1 then
        by_week := by_week | mask;
      end if;
      for n in 0..case when f.nth_weekdays = 0 then -1 else 4 end loop
        by_week := by_week | (((f.nth_weekdays >> (k * 5 + n)) & 1) << (begins + n * 7)) & whole;
      end loop;
      if (f.last_weekdays >> k) & 1 = 1 then
        by_week := by_week | (1::bigint << case when begins + 28 <= length then begins + 28 else begins + 21 end);
      end if;
    end loop;
  end if;
  return case when f.both_days then days & by_week else days | by_week end;
end $$;
comment on function weir.cron_days(weir.cron_fields, date) is
  'Internal. The days of a month on which a cron expression runs, as bits 1 to 31.';

-- The first local time, in whole seconds, at or after another that the fields include; null: none within 45 years.
create or replace function weir.next_cron_time(f weir.cron_fields, from_wall timestamp) returns timestamp
language plpgsql immutable as $$
declare
  first date := date_trunc('month', from_wall);
  until date := first + interval '45 years';
  day int := extract(day from from_wall);
  h int := extract(hour from from_wall);
  m int := extract(minute from from_wall);
  s int := extract(second from from_wall);
  rest bigint;
begin
  loop
    rest := 0;
    if (f.months >> extract(month from first)::int) & 1 = 1 then
      rest := weir.cron_days(f, first) & (-1::bigint << day);
    end if;
    if rest = 0 then
      first := first + interval '1 month';
      if first > until then
        return null;
      end if;
      day := 1; h := 0; m := 0; s := 0;
      continue;
    end if;
    if (rest >> day) & 1 = 0 then
      day := weir.lowest_bit(rest); h := 0; m := 0; s := 0;
    end if;
    -- Seconds left in this minute, minutes left in this hour, hours left in this day; then the next day.
    if (f.hours >> h) & 1 = 0 then
      m := 0; s := 0;
    elsif (f.minutes >> m) & 1 = 0 then
      s := 0;
    elsif f.seconds >> s = 0 then
      m := m + 1; s := 0;
    end if;
    if f.minutes >> m = 0 and (f.hours >> h) & 1 = 1 then
      h := h + 1; m := 0; s := 0;
    end if;
    if f.hours >> h = 0 then
      day := day + 1; h := 0; m := 0; s := 0;
      continue;
    end if;
    if (f.hours >> h) & 1 = 0 then
      h := h + weir.lowest_bit(f.hours >> h); m := 0; s := 0;
    end if;
    if (f.minutes >> m) & 1 = 0 then
      m := m + weir.lowest_bit(f.minutes >> m); s := 0;
    end if;
    return first + make_interval(days => day - 1, hours => h, mins => m, secs => s + weir.lowest_bit(f.seconds >> s));
  end loop;
end $$;
comment on function weir.next_cron_time(weir.cron_fields, timestamp) is
  'Internal. The next local time that a cron expression includes; null: none within 45 years.';
