-- Slots: the times at which a schedule is due.

-- JSON has times of the years 1 to 9999 only. A day more is left for jitter and for local time.
create or replace function weir.last_slot_before() returns timestamptz language sql immutable as $$
  select timestamptz '9999-12-31 00:00:00Z'
$$;
comment on function weir.last_slot_before() is 'Internal. The end of all schedules.';

-- The first slot after a time.
--
-- A cron expression names local times. Between two clock changes of a zone, local times follow one another as
-- instants do. A change skips local times (a gap) or repeats them (an overlap). Two policies decide:
--   make_up: a gap that skips a time which should run makes the moment of the change a slot, one slot for all times
--     that it skips. A moment is never two slots.
--   once: a local time that was shown before the change is not a slot again.
-- A schedule that runs in every hour needs neither, unless it says so: its next slot is never far.
create or replace function weir.next_slot(s weir.schedule, after timestamptz,
  out slot_at timestamptz, out note text, out local_time timestamp)
language plpgsql stable set enable_seqscan = off as $$
declare
  z weir.time_zone;
  every_hour boolean;
  make_up boolean;
  once boolean;
  i int;
  offset_now interval;
  offset_before interval;
  new_clock timestamp;  -- local time right after the change
  old_clock timestamp;  -- what the clocks would have shown without it
begin
  after := greatest(after, s.starts_at - interval '1 us', '0001-01-02 00:00:00Z');
  if s.every_seconds is not null then
    slot_at := s.anchor + make_interval(secs =>
      greatest(floor(extract(epoch from after - s.anchor) / s.every_seconds) + 1, 0)::float8 * s.every_seconds);
  elsif s.at is not null then
    slot_at := case when s.at > after then s.at end;
  elsif s.cron is not null then
    every_hour := (s.fields).hours = 16777215;
    make_up := coalesce(s.dst_gap = 'run_after', not every_hour);
    once := coalesce(s.dst_overlap = 'once', not every_hour);
    select * into z from weir.time_zone t where t.name = s.timezone;
    i := width_bucket(after, z.changes);
    loop
      offset_now := make_interval(secs => z.offsets[i]);
      offset_before := make_interval(secs => z.offsets[i - 1]);
      new_clock := (z.changes[i] at time zone 'UTC') + offset_now;
      old_clock := (z.changes[i] at time zone 'UTC') + offset_before;
      if z.changes[i] > after then
        if old_clock < new_clock and make_up then
          local_time := weir.next_cron_time(s.fields, old_clock);
          if local_time < new_clock then
            slot_at := z.changes[i];
            note := 'gap';
            exit;
          end if;
        end if;
        local_time := new_clock;
      else
        local_time := date_trunc('second', (after at time zone 'UTC') + offset_now) + interval '1 s';
      end if;
      if once then
        local_time := greatest(local_time, old_clock);
      end if;
      local_time := weir.next_cron_time(s.fields, local_time);
      exit when local_time is null;
      slot_at := (local_time - offset_now) at time zone 'UTC';
      if i = cardinality(z.changes) or slot_at < z.changes[i + 1] then
        if z.offsets[i + 1] < z.offsets[i]
          and local_time >= (z.changes[i + 1] at time zone 'UTC') + make_interval(secs => z.offsets[i + 1])
        then
          note := case when once then 'once' else 'first' end;
        elsif local_time < old_clock then
          note := 'second';
        end if;
        exit;
      end if;
      -- No slot before the next change. Skip the changes before the time that was found, less a day, by which clocks
      -- differ at most.
      i := greatest(i + 1, width_bucket(slot_at - interval '1 day', z.changes));
      slot_at := null;
    end loop;
  end if;
  if slot_at >= least(s.ends_at, weir.last_slot_before()) then
    slot_at := null;
  end if;
end $$;
comment on function weir.next_slot(weir.schedule, timestamptz) is
  'Internal. The first slot of a schedule after a time. note: gap (it makes up for local_time, which was skipped), '
  'once, first or second (its local time comes twice).';

create or replace function weir.slot_due(s weir.schedule, slot timestamptz) returns timestamptz
language sql immutable as $$
  select case when s.jitter_seconds = 0 then slot
    else slot + make_interval(secs => (hashtextextended(s.name || extract(epoch from slot)::text, 0) & 9007199254740991)
      % (s.jitter_seconds * 1000 + 1) / 1000.0) end
$$;
comment on function weir.slot_due(weir.schedule, timestamptz) is
  'Internal. When a slot fires. Its jitter is a hash of the schedule''s name and the slot, so it never changes.';

-- The last `most` slots from `first`, itself a slot, to `until`, in order. It searches backwards in growing steps, so
-- that a long outage costs no more than a short one.
create or replace function weir.latest_slots(s weir.schedule, first timestamptz, until timestamptz, most int)
returns timestamptz[] language plpgsql stable as $$
declare
  back interval := '1 minute';
  found_at timestamptz[];
  t timestamptz;
begin
  loop
    found_at := '{}';
    t := greatest(first - interval '1 us', until - back);
    loop
      t := (weir.next_slot(s, t)).slot_at;
      exit when t is null or t > until;
      found_at := found_at || t;
    end loop;
    exit when cardinality(found_at) >= most or until - back < first;
    back := back * 4;
  end loop;
  return found_at[greatest(cardinality(found_at) - most, 0) + 1:];
end $$;
comment on function weir.latest_slots(weir.schedule, timestamptz, timestamptz, int) is
  'Internal. The last slots of a schedule within a range of time.';

-- A preview shows what will fire, because both ask next_slot.
create or replace function weir.describe_slots(s weir.schedule, count int, after timestamptz)
returns table (slot_at timestamptz, local text, due_at timestamptz, skipped boolean, note text)
language plpgsql stable set enable_seqscan = off as $$
#variable_conflict use_column
declare
  z weir.time_zone;
  slot record;
  last_at timestamptz := describe_slots.after;
begin
  select * into z from weir.time_zone t where t.name = s.timezone;
  for n in 1..least(describe_slots.count, coalesce(s.max_runs - s.runs, describe_slots.count)) loop
    select x.slot_at, x.note, x.local_time into slot from weir.next_slot(s, last_at) x;
    if s.cron is not null and s.dst_gap = 'skip' then
      return query select g.changed_at, g.local, null::timestamptz, true, g.note
        from weir.skipped_times(s, z, last_at, coalesce(slot.slot_at, last_at + interval '2 years')) g;
    end if;
    exit when slot.slot_at is null;
    return query select slot.slot_at,
      weir.local_iso(slot.slot_at, z.offsets[width_bucket(slot.slot_at, z.changes)]), weir.slot_due(s, slot.slot_at),
        false,
      case slot.note
        when 'gap' then format('moved: DST skips %s', to_char(slot.local_time, 'YYYY-MM-DD HH24:MI:SS'))
        when 'once' then 'this local time comes twice and runs only the first time'
        when 'first' then 'this local time comes twice: the first time'
        when 'second' then 'this local time comes twice: the second time'
      end;
    last_at := slot.slot_at;
  end loop;
end $$;
comment on function weir.describe_slots(weir.schedule, int, timestamptz) is
  'Internal. The next slots of a schedule, and how clock changes affect them.';

create or replace function weir.skipped_times(s weir.schedule, z weir.time_zone, after timestamptz, until timestamptz)
returns table (changed_at timestamptz, local text, note text) language plpgsql stable as $$
declare
  gap_from timestamp;
  gap_to timestamp;
  skipped timestamp;
begin
  for i in width_bucket(skipped_times.after, z.changes) + 1..coalesce(width_bucket(skipped_times.until, z.changes),
    0) loop
    gap_from := (z.changes[i] at time zone 'UTC') + make_interval(secs => z.offsets[i - 1]);
    gap_to := (z.changes[i] at time zone 'UTC') + make_interval(secs => z.offsets[i]);
    skipped := weir.next_cron_time(s.fields, gap_from);
    if skipped < gap_to and z.changes[i] > skipped_times.after and z.changes[i] >= coalesce(s.starts_at, '-infinity')
      and z.changes[i] < coalesce(s.ends_at, 'infinity')
    then
      return query select z.changes[i], to_char(skipped, 'YYYY-MM-DD"T"HH24:MI:SS'),
        format('skipped: the clocks go from %s to %s, and this local time does not exist',
          to_char(gap_from, 'HH24:MI'), to_char(gap_to, 'HH24:MI'));
    end if;
  end loop;
end $$;
comment on function weir.skipped_times(weir.schedule, weir.time_zone, timestamptz, timestamptz) is
  'Internal. The local times of a schedule that clock changes skip within a range of time.';
