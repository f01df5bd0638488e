-- Schedules: rows that make jobs or submit workflows at set times. This file creates, changes and deletes them.
--
-- A session that writes a schedule locks its name first, so that two sessions that create the same one take turns.
-- Firing (schedule_fire.sql) takes rows that are not locked and needs no such lock.

-- Every write of a schedule but firing comes through here.
create or replace function weir.lock_schedule(name text, must_exist boolean default true) returns weir.schedule
language plpgsql as $$
#variable_conflict use_variable
declare
  s weir.schedule;
begin
  perform pg_advisory_xact_lock(hashtext('weir.schedule'), hashtext(name));
  -- So that the watermark knows which sessions may still commit a time that is due: see weir.fire_due.
  lock table weir.job_ready in row exclusive mode;
  select x.* into s from weir.schedule x where x.name = lock_schedule.name and x.deleted_at is null for update;
  if not found and must_exist then
    perform weir.refuse_unknown_schedule(name);
  end if;
  return s;
end $$;
comment on function weir.lock_schedule(text, boolean) is 'Internal. Locks a schedule for a change. Raises WR030.';

create or replace function weir.refuse_unknown_schedule(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR030', message = format('schedule %L does not exist', name),
    hint = 'The view weir.schedules lists all schedules.';
end $$;
comment on function weir.refuse_unknown_schedule(text) is 'Internal. Raises WR030 schedule_not_found.';

-- The progress of a schedule that exists stays as it is.
create or replace function weir.save_schedule(s weir.schedule) returns void language sql as $$
  insert into weir.schedule as x select s.*
  on conflict (id) do update set
    (cron, fields, every_seconds, anchor, at, timezone, job, workflow, jitter_seconds, starts_at, ends_at, max_runs,
      dst_gap, dst_overlap, misfire, misfire_limit, overlap, updated_at, paused_at, next_slot_at, due_at, waiting_for,
      tries, problem)
    = (s.cron, s.fields, s.every_seconds, s.anchor, s.at, s.timezone, s.job, s.workflow, s.jitter_seconds, s.starts_at,
      s.ends_at, s.max_runs, s.dst_gap, s.dst_overlap, s.misfire, s.misfire_limit, s.overlap, s.updated_at, s.paused_at,
      s.next_slot_at, s.due_at, s.waiting_for, s.tries, s.problem)
$$;
comment on function weir.save_schedule(weir.schedule) is
  'Internal. Writes the definition and the next slot of a schedule.';

create or replace function weir.set_schedule(name text, definition jsonb, replace boolean default true)
returns timestamptz
language plpgsql as $$
declare
  old weir.schedule;
  -- Parsed before anything is locked, so that a bad definition waits for no other session.
  s weir.schedule := weir.parse_schedule(set_schedule.name, set_schedule.definition, null);
begin
  old := weir.lock_schedule(set_schedule.name, must_exist => false);
  if old.id is not null then
    if not set_schedule.replace then
      raise exception using errcode = 'WR031', message = format('schedule %L exists already', set_schedule.name),
        hint = 'Replace it, change it, or delete it first. Nothing was changed.';
    end if;
    s := weir.parse_schedule(set_schedule.name, set_schedule.definition, old);
  else
    s.id := nextval('weir.schedule_id_seq');
  end if;
  if s.workflow is not null then
    perform weir.check_schedule_workflow(s.workflow);
  end if;
  s := weir.plan_schedule(s, old);
  perform weir.save_schedule(s);
  return s.next_slot_at;
end $$;
comment on function weir.set_schedule(text, jsonb, boolean) is
  'Creates a schedule, or replaces the definition of the one with this name; with replace => false that is an error. '
  'definition: exactly one of cron, every_seconds (with anchor) and at; job or workflow; timezone, jitter_seconds, '
  'starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap, paused. Returns its next slot. '
  'Errors: WR010, WR031.';

create or replace function weir.edit_schedule(name text, changes jsonb) returns timestamptz language plpgsql as $$
declare
  old weir.schedule := weir.lock_schedule(edit_schedule.name);
  s weir.schedule;
  definition jsonb := weir.schedule_definition(old);
  timing constant text[] := '{cron,every_seconds,at}';
begin
  if jsonb_typeof(changes) is distinct from 'object' then
    perform weir.refuse_argument('changes', 'must be a JSON object');
  end if;
  -- A new kind of timing replaces the old one, with the options that go only with it.
  if exists (select from unnest(timing) k where jsonb_typeof(changes -> k) <> 'null') then
    definition := definition - timing - case
      when changes ? 'every_seconds' then '{dst_gap,dst_overlap}'
      when changes ? 'cron' then '{anchor}'
      else '{anchor,dst_gap,dst_overlap}'
    end::text[];
  end if;
  if exists (select from unnest('{job,workflow}'::text[]) k where jsonb_typeof(changes -> k) <> 'null') then
    definition := definition - '{job,workflow}'::text[];
  end if;
  if changes ? 'misfire' and changes ->> 'misfire' is distinct from 'all' then
    definition := definition - 'misfire_limit';
  end if;
  s := weir.plan_schedule(weir.parse_schedule(edit_schedule.name, definition || changes, old), old);
  if s.workflow is distinct from old.workflow and s.workflow is not null then
    perform weir.check_schedule_workflow(s.workflow);
  end if;
  perform weir.save_schedule(s);
  return s.next_slot_at;
end $$;
comment on function weir.edit_schedule(text, jsonb) is
  'Changes the named fields of a schedule''s definition; null restores a field''s default. The change takes effect at '
  'once, and no slot fires twice because of it. Returns the next slot. Errors: WR010, WR030.';

create or replace function weir.pause_schedule(name text) returns void language plpgsql as $$
begin
  perform weir.edit_schedule(pause_schedule.name, '{"paused": true}');
end $$;
comment on function weir.pause_schedule(text) is 'Stops a schedule from firing until it is resumed. Errors: WR030.';

create or replace function weir.resume_schedule(name text) returns timestamptz language plpgsql as $$
begin
  return weir.edit_schedule(resume_schedule.name, '{"paused": false}');
end $$;
comment on function weir.resume_schedule(text) is
  'Ends a pause. Slots that came due during the pause do not run. Returns the next slot. Errors: WR030.';

create or replace function weir.delete_schedule(name text) returns void language plpgsql as $$
declare
  s weir.schedule := weir.lock_schedule(delete_schedule.name);
begin
  update weir.schedule x set deleted_at = clock_timestamp(), next_slot_at = null, due_at = null, waiting_for = null
  where x.id = s.id;
end $$;
comment on function weir.delete_schedule(text) is 'Deletes a schedule. The jobs that it made stay. Errors: WR030.';
