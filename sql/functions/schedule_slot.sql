-- schedule_slot

-- The first slot after a time. A cron expression names times on the wall. Between two changes of a zone's clocks these follow one another as instants do;
-- where a stretch begins, its clocks have left times out (a gap), or show again what they showed before (an overlap), and the policies say what of that:
--   run_after: if the gap takes in a time that was to run, the stretch's first moment is a slot; once, for however many. The same moment never is two slots.
--   once: what the stretch before has shown already is passed over.
-- A schedule of every hour needs neither, unless it says so: its next slot is never far, and each comes once an hour of real time.
create or replace function weir.next_slot(s weir.schedule, after timestamptz, out slot_at timestamptz, out note text, out wall timestamp) language plpgsql stable
set enable_seqscan = off as $$
declare
  f weir.cron_fields := s.fields;
  z weir.time_zone;
  every_hour boolean;
  make_up boolean;
  once boolean;
  i int;
  offset_now interval;
  offset_before interval;
  begins timestamp;
  shown timestamp;
begin
  after := greatest(after, s.starts_at - interval '1 us');
  if s.every_seconds is not null then
    slot_at := s.anchor + make_interval(secs => greatest(floor(extract(epoch from after - s.anchor) / s.every_seconds) + 1, 0)::float8 * s.every_seconds);
  elsif s.at is not null then
    slot_at := case when s.at > after then s.at end;
  elsif s.cron is not null then
    every_hour := f.hours = 16777215;
    make_up := coalesce(s.dst_gap = 'run_after', not every_hour);
    once := coalesce(s.dst_overlap = 'once', not every_hour);
    select * into z from weir.time_zone t where t.name = s.timezone;
    i := width_bucket(after, z.changes);
    loop
      offset_now := make_interval(secs => z.offsets[i]);
      offset_before := make_interval(secs => z.offsets[i - 1]);
      begins := (z.changes[i] at time zone 'UTC') + offset_now;
      shown := (z.changes[i] at time zone 'UTC') + offset_before;
      if z.changes[i] > after then
        if shown < begins and make_up then
          wall := weir.cron_match(f, shown);
          if wall < begins then
            slot_at := z.changes[i];
            note := 'gap';
            exit;
          end if;
        end if;
        wall := begins;
      else
        wall := date_trunc('second', (after at time zone 'UTC') + offset_now) + interval '1 s';
      end if;
      if once then
        wall := greatest(wall, shown);
      end if;
      wall := weir.cron_match(f, wall);
      exit when wall is null;
      slot_at := (wall - offset_now) at time zone 'UTC';
      if i = cardinality(z.changes) or slot_at < z.changes[i + 1] then
        if z.offsets[i + 1] < z.offsets[i] and wall >= (z.changes[i + 1] at time zone 'UTC') + make_interval(secs => z.offsets[i + 1]) then
          note := case when once then 'once' else 'first' end;
        elsif wall < shown then
          note := 'second';
        end if;
        exit;
      end if;
      -- Nothing in this stretch. Those that end before the time that was found need no look, but for a day, by which clocks may differ.
      i := greatest(i + 1, width_bucket(slot_at - interval '1 day', z.changes));
      slot_at := null;
    end loop;
  end if;
  if slot_at >= s.ends_at then
    slot_at := null;
  end if;
end $$;

create or replace function weir.slot_due(s weir.schedule, slot timestamptz) returns timestamptz language sql immutable as $$
  select case when s.jitter_seconds = 0 then slot
    else slot + make_interval(secs => (hashtextextended(s.name || extract(epoch from slot)::text, 0) & 9007199254740991) % (s.jitter_seconds * 1000 + 1) / 1000.0) end
$$;

-- The last `most` slots from `first` (itself one) to `until`, in order. It looks back in longer and longer steps, so that a long absence costs no more than a short one.
create or replace function weir.latest_slots(s weir.schedule, first timestamptz, until timestamptz, most int) returns timestamptz[] language plpgsql stable as $$
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

-- What is to come, as people are shown it. What it shows of slots is what fires, because both ask next_slot.
create or replace function weir.show_slots(s weir.schedule, count int, after timestamptz) returns table (slot_at timestamptz, local text, due_at timestamptz, skipped boolean, note text)
language plpgsql stable set enable_seqscan = off as $$
#variable_conflict use_column
declare
  z weir.time_zone;
  slot record;
  last_at timestamptz := show_slots.after;
  gap_from timestamp;
  gap_to timestamp;
  w timestamp;
begin
  select * into z from weir.time_zone t where t.name = s.timezone;
  for n in 1..least(show_slots.count, coalesce(s.max_runs - s.runs, show_slots.count)) loop
    select x.slot_at, x.note, x.wall into slot from weir.next_slot(s, last_at) x;
    -- Times that a gap swallows, if the definition asks for that.
    if s.cron is not null and s.dst_gap = 'skip' then
      for i in width_bucket(last_at, z.changes) + 1..coalesce(width_bucket(coalesce(slot.slot_at, last_at + interval '2 years'), z.changes), 0) loop
        gap_from := (z.changes[i] at time zone 'UTC') + make_interval(secs => z.offsets[i - 1]);
        gap_to := (z.changes[i] at time zone 'UTC') + make_interval(secs => z.offsets[i]);
        w := weir.cron_match(s.fields, gap_from);
        if w < gap_to and z.changes[i] > last_at and z.changes[i] >= coalesce(s.starts_at, '-infinity') and z.changes[i] < coalesce(s.ends_at, 'infinity') then
          return query select z.changes[i], to_char(w, 'YYYY-MM-DD"T"HH24:MI:SS'), null::timestamptz, true,
            format('skipped: the clocks go from %s to %s, and this time does not exist', to_char(gap_from, 'HH24:MI'), to_char(gap_to, 'HH24:MI'));
        end if;
      end loop;
    end if;
    exit when slot.slot_at is null;
    return query select slot.slot_at, weir.local_iso(slot.slot_at, z.offsets[width_bucket(slot.slot_at, z.changes)]), weir.slot_due(s, slot.slot_at), false,
      case slot.note
        when 'gap' then format('moved: the clocks leave out %s', to_char(slot.wall, 'YYYY-MM-DD HH24:MI:SS'))
        when 'once' then 'this time comes twice, and runs the first time only'
        when 'first' then 'this time comes twice: the first time'
        when 'second' then 'this time comes twice: the second time'
      end;
    last_at := slot.slot_at;
  end loop;
end $$;
comment on function weir.next_slot(weir.schedule, timestamptz) is
  'Internal. The first slot of a schedule after a time. note: gap (it stands for a time that the clocks left out: wall), once, first or second (its time comes twice).';
comment on function weir.slot_due(weir.schedule, timestamptz) is 'Internal. When a slot fires: its jitter is drawn from the names of the schedule and the slot, so it is always the same.';
comment on function weir.latest_slots(weir.schedule, timestamptz, timestamptz, int) is 'Internal. The last slots of a schedule in a stretch of time.';
comment on function weir.show_slots(weir.schedule, int, timestamptz) is 'Internal. The next slots of a schedule, and what the clocks do to them.';
