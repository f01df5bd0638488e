-- Schedules: rows that make jobs or submit workflows at set times. This file creates, changes and deletes them.
--
-- A session that writes a schedule locks its row. One that creates a schedule inserts its row; where another session
-- was first, it waits for that one and begins again. Firing (schedule_fire.sql) takes rows that are not locked.

-- Every write of a schedule but firing comes through here.
create or replace function weir.lock_schedule(name text, tenant text, must_exist boolean default true)
returns weir.schedule language plpgsql as $$
#variable_conflict use_variable
declare
  owner text := weir.owner_of(weir.caller_bounds(), tenant);
  s weir.schedule;
begin
  -- So that the watermark knows which sessions may still commit a time that is due: see weir.fire_due.
  lock table weir.job_ready in row exclusive mode;
  select x.* into s from weir.schedule x where x.name = lock_schedule.name
    and coalesce(x.tenant, '') = coalesce(owner, '') and x.deleted_at is null for update;
  if must_exist then
    perform weir.require_schedule(s, name, tenant);
  end if;
  return s;
end $$;
comment on function weir.lock_schedule(text, text, boolean) is
  'Internal. Locks a schedule for a change. Raises WR030.';

-- s: the one of that name; all null if there is none.
create or replace function weir.require_schedule(s weir.schedule, name text, tenant text,
  wanted text[] default '{operator}') returns void language plpgsql stable as $$
begin
  if s.id is null or s.tenant <> require_schedule.tenant
    or not weir.reaches(weir.caller_bounds(wanted), s.tenant, s.queues) then
    perform weir.refuse_unknown_schedule(require_schedule.name);
  end if;
end $$;
comment on function weir.require_schedule(weir.schedule, text, text, text[]) is
  'Internal. Raises WR030 unless a schedule is there and within the bounds of the caller.';

create or replace function weir.refuse_unknown_schedule(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR030', message = format('schedule %L does not exist', name),
    hint = 'The view weir.schedules lists all schedules.';
end $$;
comment on function weir.refuse_unknown_schedule(text) is 'Internal. Raises WR030 schedule_not_found.';

-- The progress of a schedule stays as it is.
create or replace function weir.save_schedule(s weir.schedule) returns void language sql as $$
  update weir.schedule x set
    (cron, fields, every_seconds, anchor, at, timezone, job, workflow, queues, jitter_seconds, starts_at, ends_at,
      max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap, updated_at, paused_at, next_slot_at, due_at,
      waiting_for, tries, problem)
    = (s.cron, s.fields, s.every_seconds, s.anchor, s.at, s.timezone, s.job, s.workflow, s.queues, s.jitter_seconds,
      s.starts_at, s.ends_at, s.max_runs, s.dst_gap, s.dst_overlap, s.misfire, s.misfire_limit, s.overlap,
      s.updated_at, s.paused_at, s.next_slot_at, s.due_at, s.waiting_for, s.tries, s.problem)
  where x.id = s.id
$$;
comment on function weir.save_schedule(weir.schedule) is
  'Internal. Writes the definition and the next slot of a schedule.';

create or replace function weir.set_schedule(name text, definition jsonb, replace boolean default true,
  tenant text default null) returns timestamptz
language plpgsql as $$
declare
  bounds jsonb := weir.caller_bounds();
  owner text := weir.owner_of(bounds, set_schedule.tenant);
  old weir.schedule;
  made jsonb := weir.own_definition(bounds ->> 'tenant', set_schedule.definition);
  -- Parsed before anything is locked, so that a bad definition waits for no other session.
  s weir.schedule := weir.parse_schedule(set_schedule.name, made, null, tenant => owner);
begin
  perform weir.refuse_queues_beyond(bounds, s.queues);
  loop
    old := weir.lock_schedule(set_schedule.name, owner, must_exist => false);
    if old.id is not null then
      if not set_schedule.replace or not weir.reaches(bounds, old.tenant, old.queues) then
        raise exception using errcode = 'WR031', message = format('schedule %L exists already', set_schedule.name),
          hint = 'Replace it, change it, or delete it first. Nothing was changed.';
      end if;
      s := weir.parse_schedule(set_schedule.name, made, old);
    else
      s.id := nextval('weir.schedule_id_seq');
    end if;
    if s.workflow is not null then
      perform weir.check_schedule_workflow(s.workflow);
    end if;
    perform weir.refuse_readable_schedule(s);
    s := weir.plan_schedule(s, old);
    if old.id is not null then
      perform weir.save_schedule(s);
      return s.next_slot_at;
    end if;
    insert into weir.schedule select s.* on conflict do nothing;
    if found then
      return s.next_slot_at;
    end if;
  end loop;  -- another session has just created it
end $$;
comment on function weir.set_schedule(text, jsonb, boolean, text) is
  'Creates a schedule, or replaces the definition of the one with this name; with replace => false that is an error. '
  'tenant: whose schedule it is, and all its jobs; null: no tenant''s. A tenant has names of its own. '
  'definition: exactly one of cron, every_seconds (with anchor) and at; job or workflow; timezone, jitter_seconds, '
  'starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap, paused. Returns its next slot. '
  'Errors: WR010, WR011 for a queue that the caller may not use, WR023, WR031.';

create or replace function weir.edit_schedule(name text, changes jsonb, tenant text default null) returns timestamptz
language plpgsql as $$
declare
  old weir.schedule := weir.lock_schedule(edit_schedule.name, edit_schedule.tenant);
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
  s := weir.plan_schedule(weir.parse_schedule(edit_schedule.name,
    definition || weir.own_definition(weir.caller_bounds() ->> 'tenant', changes), old), old);
  if s.workflow is distinct from old.workflow and s.workflow is not null then
    perform weir.check_schedule_workflow(s.workflow);
  end if;
  perform weir.refuse_queues_beyond(weir.caller_bounds(), s.queues);
  if s.job is distinct from old.job or s.workflow is distinct from old.workflow then
    perform weir.refuse_readable_schedule(s);
  end if;
  perform weir.save_schedule(s);
  return s.next_slot_at;
end $$;
comment on function weir.edit_schedule(text, jsonb, text) is
  'Changes the named fields of a schedule''s definition; null restores a field''s default. The change takes effect at '
  'once, and no slot fires twice because of it. Returns the next slot. Errors: WR010, WR011, WR023, WR030.';

create or replace function weir.pause_schedule(name text, tenant text default null) returns void language plpgsql as $$
begin
  perform weir.edit_schedule(pause_schedule.name, '{"paused": true}', pause_schedule.tenant);
end $$;
comment on function weir.pause_schedule(text, text) is
  'Stops a schedule from firing until it is resumed. Errors: WR030.';

create or replace function weir.resume_schedule(name text, tenant text default null) returns timestamptz
language plpgsql as $$
begin
  return weir.edit_schedule(resume_schedule.name, '{"paused": false}', resume_schedule.tenant);
end $$;
comment on function weir.resume_schedule(text, text) is
  'Ends a pause. Slots that came due during the pause do not run. Returns the next slot. Errors: WR030.';

create or replace function weir.delete_schedule(name text, tenant text default null) returns void language plpgsql as $$
declare
  s weir.schedule := weir.lock_schedule(delete_schedule.name, delete_schedule.tenant);
begin
  update weir.schedule x set deleted_at = clock_timestamp(), next_slot_at = null, due_at = null, waiting_for = null
  where x.id = s.id;
end $$;
comment on function weir.delete_schedule(text, text) is
  'Deletes a schedule. The jobs that it made stay. Errors: WR030.';
