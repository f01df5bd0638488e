-- Firing: turning the slots of schedules that are due into jobs and workflows.
--
-- A slot, its job and the schedule's progress are written in one transaction. When a node dies, each slot has either
-- fired once or is still due for the next call, from any node.
--
-- The way of one call: fire_due takes the schedules that are due, prepare_firing decides for each what happens to its
-- slot, enqueue_firings makes the jobs of all of them in one batch, and record_firings writes what happened.

-- Called by every node several times a second.
-- Locks: weir.schedule rows, skip locked; then as enqueueing, and with overlap cancel as weir.cancel.
create or replace function weir.fire_due(max_schedules int default 200, after timestamptz default '-infinity',
  as_of timestamptz default null,
  out handled int, out fired int, out looked_until timestamptz, out next_due_at timestamptz, out lateness float8[])
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  now_at timestamptz;
  s weir.schedule;
  firing weir.firing;
  firings weir.firing[] := '{}';
begin
  select w.settled_at into looked_until from weir.watermark w order by w.tick desc limit 1;
  -- Read after settled_at, so that this call covers what is due in between.
  now_at := coalesce(as_of, clock_timestamp());
  handled := 0;
  for s in
    select x.* from weir.schedule x where x.due_at > after and x.due_at <= now_at
    order by x.due_at limit max_schedules for update skip locked
  loop
    handled := handled + 1;
    firing := weir.prepare_firing(s, now_at);
    if firing.schedule_id is not null then
      firings := firings || firing;
    end if;
  end loop;
  fired := 0;
  lateness := '{}';
  if firings <> '{}' then
    select r.fired, r.lateness into fired, lateness from weir.record_firings(firings, now_at, as_of) r;
  end if;
  -- The next call begins before what is still due: the rest of this call's schedules, or a row that another session has
  -- locked.
  next_due_at := (select x.due_at from weir.schedule x where x.due_at > after order by x.due_at limit 1);
  looked_until := least(looked_until, next_due_at - interval '1 us');
end $$;
comment on function weir.fire_due(int, timestamptz, timestamptz) is
  'Fires up to max_schedules schedules that are due later than `after`, one slot each. Every node calls it several '
  'times a second and passes looked_until of its last call; without a node, any session may call it. as_of stands '
  'for now, to try out the future in a separate database. Returns how many schedules it handled, how many slots made '
  'a job, how late each was in seconds, and when the next schedule is due.';

-- Decides what happens to the slot of one locked schedule. Returns the firing, or null fields when there is none now:
-- the slot is not due yet, it waits for the run before, or it is skipped. Then the schedule's progress is saved here.
create or replace function weir.prepare_firing(s weir.schedule, now_at timestamptz) returns weir.firing
language plpgsql as $$
declare
  active bigint[];
  f weir.firing;
begin
  s := weir.settle_overdue_slots(s, now_at);
  if s.next_slot_at is null or weir.slot_due(s, s.next_slot_at) > now_at then
    s.due_at := weir.slot_due(s, s.next_slot_at);
    perform weir.save_progress(s);
    return null;
  end if;
  -- A slot that comes again, because the clock went back, does not fire again. One that was missed before does.
  delete from weir.schedule_slot r
  where r.schedule_id = s.id and r.slot_at = s.next_slot_at and not r.manual and r.outcome = 'missed';
  if exists (select from weir.schedule_slot r where r.schedule_id = s.id and r.slot_at = s.next_slot_at
    and not r.manual) then
    s := weir.next_slot_of(s);
    s.waiting_for := null;
    perform weir.save_progress(s);
    return null;
  end if;

  active := case when s.overlap <> 'allow' then weir.active_runs(s.id) end;
  if cardinality(active) > 0 and s.overlap = 'wait' then
    s.waiting_for := active[1];
    s.due_at := now_at + greatest(interval '500 ms', least(interval '5 s', (now_at - s.next_slot_at) / 4));
    perform weir.save_progress(s);
    return null;
  elsif cardinality(active) > 0 and s.overlap = 'skip' then
    insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, detail)
    values (s.id, s.next_slot_at, 'skipped', weir.slot_due(s, s.next_slot_at), now_at,
      format('%s of the run before has not ended', active[1]));
    s := weir.next_slot_of(s);
    perform weir.save_progress(s);
    return null;
  elsif cardinality(active) > 0 then
    perform weir.cancel_runs(active);
  end if;

  f.schedule_id := s.id;
  f.name := s.name;
  f.slot_at := s.next_slot_at;
  f.due_at := weir.slot_due(s, s.next_slot_at);
  f.is_workflow := s.job is null;
  f.definition := weir.fill_template(coalesce(s.job, s.workflow), s, s.next_slot_at, s.runs + 1);
  f.tenant := s.tenant;
  f.punctual := s.tries = 0 and s.waiting_for is null;
  f.misfires_checked_at := s.misfires_checked_at;
  f.detail := case
    when cardinality(active) > 0 then 'cancelled ' || array_to_string(active, ', ')
    when s.waiting_for is not null then 'waited for ' || s.waiting_for
  end;
  if (s.runs + 1 >= s.max_runs) is not true then
    f.next_slot_at := (weir.next_slot(s, s.next_slot_at)).slot_at;
    f.next_due_at := weir.slot_due(s, f.next_slot_at);
  end if;
  return f;
end $$;
comment on function weir.prepare_firing(weir.schedule, timestamptz) is
  'Internal. What to fire for a locked schedule that is due, or a firing of nulls.';

-- Gives up a slot that was refused until its successor came or for an hour, and applies the misfire policy to slots
-- that no node fired within a minute. Returns the schedule with its next slot to fire; the caller saves it.
create or replace function weir.settle_overdue_slots(s weir.schedule, now_at timestamptz) returns weir.schedule
language plpgsql as $$
declare
  grace constant interval := '1 minute';
  slot timestamptz := s.next_slot_at;
  first_missed timestamptz := s.next_slot_at;
begin
  if s.tries > 0 then
    if now_at > slot + interval '1 hour' or (weir.next_slot(s, slot)).slot_at <= now_at then
      insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, detail)
      values (s.id, slot, 'refused', weir.slot_due(s, slot), now_at, s.problem)
      on conflict do nothing;
      s := weir.next_slot_of(s);
    end if;
    return s;
  end if;
  if s.waiting_for is not null or s.due_at >= now_at - grace or slot <= s.misfires_checked_at then
    return s;
  end if;

  slot := case s.misfire
    when 'skip' then (weir.next_slot(s, now_at - grace)).slot_at
    else (weir.latest_slots(s, slot, now_at, case s.misfire when 'all' then s.misfire_limit else 1 end))[1]
  end;
  if slot is distinct from first_missed then
    insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, until_at, detail)
    values (s.id, first_missed, 'missed', s.due_at, now_at, slot, 'no node fired it within a minute')
    on conflict do nothing;
    s.last_slot_at := greatest(first_missed, slot - interval '1 us');
  end if;
  s.next_slot_at := slot;
  s.misfires_checked_at := now_at;
  return s;
end $$;
comment on function weir.settle_overdue_slots(weir.schedule, timestamptz) is
  'Internal. A locked schedule after its refused or missed slots have been recorded.';

create or replace function weir.next_slot_of(s weir.schedule) returns weir.schedule language plpgsql stable as $$
begin
  s.last_slot_at := s.next_slot_at;
  s.next_slot_at := (weir.next_slot(s, s.next_slot_at)).slot_at;
  s.due_at := weir.slot_due(s, s.next_slot_at);
  s.tries := 0;
  s.problem := null;
  return s;
end $$;
comment on function weir.next_slot_of(weir.schedule) is 'Internal. A schedule that is done with its next slot.';

create or replace function weir.save_progress(s weir.schedule) returns void language sql as $$
  update weir.schedule x
  set (last_slot_at, next_slot_at, due_at, misfires_checked_at, waiting_for, tries, problem)
    = (s.last_slot_at, s.next_slot_at, s.due_at, s.misfires_checked_at, s.waiting_for, s.tries, s.problem)
  where x.id = s.id
$$;
comment on function weir.save_progress(weir.schedule) is 'Internal. Writes the progress of a locked schedule.';

-- All jobs go into one enqueue_batch. If that refuses, or if one of the firings is a workflow, each is made
-- separately, so that a full queue, a tenant at its quota or a lock that another transaction holds (of a unique key, or
-- of a tenant's quota) stops only its own schedules. Other errors of the moment rather than of the job (connections,
-- resources) go to the caller.
create or replace function weir.enqueue_firings(firings weir.firing[])
returns table (schedule_id bigint, job_id bigint, workflow_id bigint, duplicate boolean, error text)
language plpgsql set lock_timeout = '200ms' as $$
#variable_conflict use_column
declare
  ids bigint[];
  duplicates boolean[];
  f weir.firing;
begin
  if not exists (select from unnest(firings) x where x.is_workflow) then
    begin
      select array_agg(b.job_id order by b.n), array_agg(b.duplicate order by b.n) into ids, duplicates
      from (select e.job_id, e.duplicate, row_number() over () as n from weir.enqueue_batch(
        to_jsonb(array(select x.definition from unnest(firings) x)),
        schedules => array(select x.name from unnest(firings) x),
          slots => array(select x.slot_at from unnest(firings) x)) e) b;
    exception when others then
      if left(sqlstate, 2) in ('08', '25', '40', '53', '57') then
        raise;
      end if;
      ids := null;
    end;
  end if;
  if ids is not null then
    return query select x.schedule_id, ids[x.n], null::bigint, duplicates[x.n], null::text
      from (select y.schedule_id, row_number() over () as n from unnest(firings) y) x;
    return;
  end if;
  foreach f in array firings loop
    begin
      return query select f.schedule_id, r.job_id, r.workflow_id, r.duplicate, null::text
        from weir.start_run(f.is_workflow, f.definition, f.name, f.slot_at, f.tenant) r;
    exception when others then
      if left(sqlstate, 2) in ('08', '25', '40', '53', '57') then
        raise;
      end if;
      return query select f.schedule_id, null::bigint, null::bigint, false,
        regexp_replace(sqlerrm, '^jobs\[0\]', 'job');
    end;
  end loop;
end $$;
comment on function weir.enqueue_firings(weir.firing[]) is
  'Internal. Makes the jobs and workflows of firings; error says why one could not be made.';

-- A refused slot stays the schedule's next one and is tried again after 5, 10, … at most 60 seconds.
create or replace function weir.record_firings(firings weir.firing[], now_at timestamptz, as_of timestamptz,
  out fired int, out lateness float8[]) language plpgsql set jit = off set enable_seqscan = off as $$
begin
  with r as materialized (
    select * from weir.enqueue_firings(firings)
  ), slots as (
    insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, job_id, workflow_id, detail)
    select f.schedule_id, f.slot_at, case when r.duplicate then 'duplicate' else 'enqueued' end, f.due_at, now_at,
      r.job_id, r.workflow_id, f.detail
    from unnest(firings) f join r on r.schedule_id = f.schedule_id where r.error is null
  ), moved as (
    update weir.schedule x
    set last_slot_at = f.slot_at, last_run_at = f.slot_at, runs = x.runs + 1, next_slot_at = f.next_slot_at,
      due_at = f.next_due_at, misfires_checked_at = f.misfires_checked_at, waiting_for = null, tries = 0, problem = null
    from unnest(firings) f join r on r.schedule_id = f.schedule_id where x.id = f.schedule_id and r.error is null
  ), refused as (
    update weir.schedule x
    set next_slot_at = f.slot_at, waiting_for = null, tries = x.tries + 1, problem = r.error,
      due_at = now_at + make_interval(secs => least(60, 5 * (x.tries + 1)))
    from unnest(firings) f join r on r.schedule_id = f.schedule_id where x.id = f.schedule_id and r.error is not null
  )
  select count(*)::int,
    coalesce(array_agg(greatest(extract(epoch from coalesce(as_of, clock_timestamp()) - f.due_at), 0)::float8)
      filter (where f.punctual), '{}')
    into fired, lateness
  from unnest(firings) f join r on r.schedule_id = f.schedule_id where r.error is null;
end $$;
comment on function weir.record_firings(weir.firing[], timestamptz, timestamptz) is
  'Internal. Makes what schedules fire and writes their slots and progress. Returns how many fired and, of those that '
  'neither waited nor were tried again, how late.';

create or replace function weir.sweep_schedule_slots(most int default 1000) returns int language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  swept int;
begin
  delete from weir.schedule_slot r where r.ctid = any (array(
    select x.ctid from weir.schedule_slot x where x.fired_at < now() - interval '7 days'
      and (x.job_id is null or not exists (select from weir.job j where j.id = x.job_id))
      and (x.workflow_id is null or not exists (select from weir.workflow w where w.id = x.workflow_id))
    limit most for update skip locked));
  get diagnostics swept = row_count;
  delete from weir.schedule s where s.deleted_at < now() - interval '7 days'
    and not exists (select from weir.schedule_slot r where r.schedule_id = s.id);
  return swept;
end $$;
comment on function weir.sweep_schedule_slots(int) is
  'Removes up to `most` slots that are over a week old and whose jobs are gone. Returns how many.';
