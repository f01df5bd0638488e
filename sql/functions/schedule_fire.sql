-- schedule_fire

-- Fires what is due: one slot a schedule, and then its next one is due, at once or later. A slot, its job and the schedule's progress are one transaction,
-- so whatever becomes of a node, a slot has fired once or is still there for the next look, of whomever.
--
-- All jobs go into one enqueue_batch. If that refuses, they are enqueued one by one, so that a full queue stops only its own, and so are workflows submitted;
-- errors that are about the moment and not about the job (locks, connections) go to the caller.
--
-- Locks: weir.schedule rows, skip locked; then as enqueueing, and with overlap cancel as weir.cancel.
create or replace function weir.fire_due(max_schedules int default 200, after timestamptz default '-infinity', as_of timestamptz default null,
  out handled int, out fired int, out looked_until timestamptz, out next_due_at timestamptz, out lateness float8[])
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  now_at timestamptz;
  grace constant interval := '1 minute';
  s weir.schedule;
  slot timestamptz;
  keep timestamptz[];
  active bigint[];
  jobs jsonb[] := '{}';
  names text[] := '{}';
  slots timestamptz[] := '{}';
  ids bigint[] := '{}';
  dues timestamptz[] := '{}';
  nexts timestamptz[] := '{}';
  next_dues timestamptz[] := '{}';
  details text[] := '{}';
  punctual boolean[] := '{}';
  judged timestamptz[] := '{}';
  workflows boolean[] := '{}';
  job_ids bigint[];
  workflow_ids bigint[];
  duplicates boolean[];
  errors text[];
  made record;
begin
  select w.settled_at into looked_until from weir.watermark w order by w.tick desc limit 1;
  now_at := coalesce(as_of, clock_timestamp());  -- after settled_at: what is due in between is for this look
  handled := 0;
  for s in select x.* from weir.schedule x where x.due_at > after and x.due_at <= now_at order by x.due_at limit max_schedules for update skip locked loop
    handled := handled + 1;
    slot := s.next_slot_at;
    if s.tries > 0 and (now_at > slot + interval '1 hour' or (weir.next_slot(s, slot)).slot_at <= now_at) then
      -- It was refused until its successor came, or for an hour.
      insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, detail) values (s.id, slot, 'refused', weir.slot_due(s, slot), now_at, s.problem);
      s.last_slot_at := slot;
      slot := (weir.next_slot(s, slot)).slot_at;
      s.tries := 0;
      s.problem := null;
    elsif s.tries = 0 and s.waiting_for is null and s.due_at < now_at - grace and (slot > s.judged_at) is not false then
      if s.misfire = 'skip' then
        slot := (weir.next_slot(s, now_at - grace)).slot_at;
      else
        keep := weir.latest_slots(s, slot, now_at, case s.misfire when 'all' then s.misfire_limit else 1 end);
        slot := keep[1];
      end if;
      if slot is distinct from s.next_slot_at then
        insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, until_at, detail) values (s.id, s.next_slot_at, 'missed', s.due_at, now_at, slot, 'nobody fired it within a minute');
        s.last_slot_at := greatest(s.next_slot_at, slot - interval '1 us');
      end if;
      s.judged_at := now_at;
    end if;
    if slot is null or weir.slot_due(s, slot) > now_at then
      update weir.schedule x set (last_slot_at, next_slot_at, due_at, judged_at, tries, problem) = (s.last_slot_at, slot, weir.slot_due(s, slot), s.judged_at, 0, null) where x.id = s.id;
      continue;
    end if;

    active := case when s.overlap <> 'allow' then weir.active_runs(s.id) end;
    if cardinality(active) > 0 and s.overlap = 'wait' then
      update weir.schedule x set (last_slot_at, next_slot_at, judged_at, waiting_for, due_at) = (s.last_slot_at, slot, s.judged_at, active[1], now_at + greatest(interval '500 ms', least(interval '5 s', (now_at - slot) / 4))) where x.id = s.id;
      continue;
    elsif cardinality(active) > 0 and s.overlap = 'skip' then
      insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, detail) values (s.id, slot, 'skipped', weir.slot_due(s, slot), now_at, format('%s of the run before has not ended', active[1]));
      s.last_slot_at := slot;
      slot := (weir.next_slot(s, slot)).slot_at;
      update weir.schedule x set (last_slot_at, next_slot_at, due_at, judged_at, tries, problem) = (s.last_slot_at, slot, weir.slot_due(s, slot), s.judged_at, 0, null) where x.id = s.id;
      continue;
    elsif cardinality(active) > 0 then
      perform weir.cancel_runs(active);
    end if;

    ids := ids || s.id;
    names := names || s.name;
    slots := slots || slot;
    workflows := workflows || (s.job is null);
    jobs := jobs || weir.fill_template(coalesce(s.job, s.workflow), s, slot, s.runs + 1);
    dues := dues || weir.slot_due(s, slot);
    judged := judged || s.judged_at;
    punctual := punctual || (s.tries = 0 and s.waiting_for is null);
    details := details || case when cardinality(active) > 0 then 'cancelled ' || array_to_string(active, ', ') when s.waiting_for is not null then 'waited for ' || s.waiting_for end;
    slot := case when (s.runs + 1 >= s.max_runs) is not true then (weir.next_slot(s, slot)).slot_at end;
    nexts := nexts || slot;
    next_dues := next_dues || weir.slot_due(s, slot);
  end loop;

  if cardinality(jobs) > 0 then
    begin
      if true <> all (workflows) then
        select array_agg(b.job_id order by b.n), array_agg(b.duplicate order by b.n) into job_ids, duplicates
        from weir.enqueue_batch(to_jsonb(jobs), schedules => names, slots => slots) with ordinality b(job_id, duplicate, priority, max_attempts, timeout_seconds, run_at, created_at, state, n);
      end if;
    exception when others then
      if left(sqlstate, 2) in ('08', '25', '40', '53', '55', '57') then
        raise;
      end if;
      job_ids := null;
    end;
    if job_ids is null then
      job_ids := array_fill(null::bigint, array[cardinality(jobs)]);
      workflow_ids := job_ids;
      duplicates := array_fill(false, array[cardinality(jobs)]);
      errors := array_fill(null::text, array[cardinality(jobs)]);
      for k in 1..cardinality(jobs) loop
        begin
          select m.* into made from weir.make_run(workflows[k], jobs[k], names[k], slots[k]) m;
          job_ids[k] := made.job_id;
          workflow_ids[k] := made.workflow_id;
          duplicates[k] := made.duplicate;
        exception when others then
          if left(sqlstate, 2) in ('08', '25', '40', '53', '55', '57') then
            raise;
          end if;
          errors[k] := regexp_replace(sqlerrm, '^jobs\[0\]', 'job');
        end;
      end loop;
    end if;
    insert into weir.schedule_slot (schedule_id, slot_at, outcome, due_at, fired_at, job_id, workflow_id, detail)
    select u.id, u.slot_at, case when u.duplicate then 'duplicate' else 'enqueued' end, u.due_at, now_at, u.job_id, u.workflow_id, u.detail
    from unnest(ids, slots, dues, job_ids, workflow_ids, duplicates, errors, details) u(id, slot_at, due_at, job_id, workflow_id, duplicate, error, detail) where u.error is null;
    get diagnostics fired = row_count;
    update weir.schedule x set last_slot_at = u.slot_at, last_run_at = u.slot_at, runs = x.runs + 1, next_slot_at = u.next_at, due_at = u.next_due, judged_at = u.judged_at, waiting_for = null, tries = 0, problem = null
    from unnest(ids, slots, errors, nexts, next_dues, judged) u(id, slot_at, error, next_at, next_due, judged_at) where x.id = u.id and u.error is null;
    if fired < cardinality(ids) then
      update weir.schedule x set next_slot_at = u.slot_at, waiting_for = null, tries = x.tries + 1, problem = u.error, due_at = now_at + make_interval(secs => least(60, 5 * (x.tries + 1)))
      from unnest(ids, slots, errors) u(id, slot_at, error) where x.id = u.id and u.error is not null;
    end if;
    lateness := array(select greatest(extract(epoch from coalesce(as_of, clock_timestamp()) - u.due_at), 0)::float8 from unnest(dues, errors, punctual) u(due_at, error, punctual)
      where u.error is null and u.punctual);
  end if;
  fired := coalesce(fired, 0);
  lateness := coalesce(lateness, '{}');
  -- The next look begins before what is due and still there: a part of it was left for the next call, or somebody has it locked.
  next_due_at := (select x.due_at from weir.schedule x where x.due_at > after order by x.due_at limit 1);
  looked_until := least(looked_until, next_due_at - interval '1 us');
end $$;

create or replace function weir.sweep_schedule_slots(most int default 1000) returns int language plpgsql set jit = off set enable_seqscan = off as $$
declare
  swept int;
begin
  delete from weir.schedule_slot r where r.ctid = any (array(
    select x.ctid from weir.schedule_slot x where x.fired_at < now() - interval '7 days' and (x.job_id is null or not exists (select from weir.job j where j.id = x.job_id))
      and (x.workflow_id is null or not exists (select from weir.workflow w where w.id = x.workflow_id))
    limit most for update skip locked));
  get diagnostics swept = row_count;
  delete from weir.schedule s where s.deleted_at < now() - interval '7 days' and not exists (select from weir.schedule_slot r where r.schedule_id = s.id);
  return swept;
end $$;
comment on function weir.fire_due(int, timestamptz, timestamptz) is
  'Fires up to max_schedules schedules whose time has come and lies after `after`, one slot each. Every node calls it several times a second, passing looked_until of the last call; without a '
  'service, anybody may. as_of stands for now: with it, what is to come can be tried out in a database of its own. Returns how many it looked at, how many slots made a job and how late, and what is due next.';
comment on function weir.sweep_schedule_slots(int) is 'Removes up to `most` slots that were dealt with over a week ago and whose jobs are gone. Returns how many.';
