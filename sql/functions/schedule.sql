-- Schedules: made and changed, and fired.
--
-- A definition is one JSON object, the same over SQL and REST; weir.schedule_of reads it, and nobody else does. Who writes a schedule takes the lock on
-- its name first, so that two who make the same one at once take turns. Firing takes rows that nobody else has and asks for no such lock.
--

-- The schedule of a name, locked. Everybody who writes one comes through here, so the lock on the name comes first.
create or replace function weir.hold_schedule(name text, must_exist boolean default true) returns weir.schedule language plpgsql as $$
#variable_conflict use_variable
declare
  s weir.schedule;
begin
  perform pg_advisory_xact_lock(hashtext('weir.schedule'), hashtext(name));
  lock table weir.job_ready in row exclusive mode;  -- the watermark then knows who may yet bring a time that is due: see weir.fire_due
  select x.* into s from weir.schedule x where x.name = hold_schedule.name and x.deleted_at is null for update;
  if not found and must_exist then
    perform weir.refuse_no_schedule(name);
  end if;
  return s;
end $$;

create or replace function weir.refuse_no_schedule(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR030', message = format('there is no schedule %L', name), hint = 'weir.schedules lists those that there are.';
end $$;

create or replace function weir.save_schedule(s weir.schedule) returns void language sql as $$
  insert into weir.schedule as x select s.*
  on conflict (id) do update set (cron, fields, every_seconds, anchor, at, timezone, job, workflow, jitter_seconds, starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap,
      updated_at, paused_at, next_slot_at, due_at, waiting_for, tries, problem)
    = (s.cron, s.fields, s.every_seconds, s.anchor, s.at, s.timezone, s.job, s.workflow, s.jitter_seconds, s.starts_at, s.ends_at, s.max_runs, s.dst_gap, s.dst_overlap, s.misfire, s.misfire_limit, s.overlap,
      s.updated_at, s.paused_at, s.next_slot_at, s.due_at, s.waiting_for, s.tries, s.problem)
$$;

create or replace function weir.set_schedule(name text, definition jsonb, replace boolean default true) returns timestamptz language plpgsql as $$
declare
  was weir.schedule;
  s weir.schedule := weir.schedule_of(set_schedule.name, set_schedule.definition, null);  -- what is wrong with it is said before anything is locked
begin
  was := weir.hold_schedule(set_schedule.name, must_exist => false);
  if was.id is not null then
    if not set_schedule.replace then
      raise exception using errcode = 'WR031', message = format('there is a schedule %L already', set_schedule.name),
        hint = 'Replace it, change it, or delete it first. Nothing was changed.';
    end if;
    s := weir.schedule_of(set_schedule.name, set_schedule.definition, was);
  else
    s.id := nextval('weir.schedule_id_seq');
  end if;
  if s.workflow is not null then
    perform weir.check_schedule_workflow(s.workflow);
  end if;
  s := weir.plan_schedule(s, was);
  perform weir.save_schedule(s);
  return s.next_slot_at;
end $$;

create or replace function weir.edit_schedule(name text, changes jsonb) returns timestamptz language plpgsql as $$
declare
  was weir.schedule := weir.hold_schedule(edit_schedule.name);
  s weir.schedule;
  old jsonb := weir.definition_of(was);
  timing constant text[] := '{cron,every_seconds,at}';
begin
  if jsonb_typeof(changes) is distinct from 'object' then
    perform weir.refuse_argument('changes', 'must be a JSON object');
  end if;
  if exists (select from unnest(timing) k where jsonb_typeof(changes -> k) <> 'null') then  -- a new kind of timing takes the place of the old
    old := old - timing - case when changes ? 'every_seconds' then '{dst_gap,dst_overlap}' when changes ? 'cron' then '{anchor}' else '{anchor,dst_gap,dst_overlap}' end::text[];
  end if;
  if exists (select from unnest('{job,workflow}'::text[]) k where jsonb_typeof(changes -> k) <> 'null') then
    old := old - '{job,workflow}'::text[];
  end if;
  if changes ? 'misfire' and changes ->> 'misfire' is distinct from 'all' then
    old := old - 'misfire_limit';
  end if;
  s := weir.plan_schedule(weir.schedule_of(edit_schedule.name, old || changes, was), was);
  if s.workflow is distinct from was.workflow and s.workflow is not null then
    perform weir.check_schedule_workflow(s.workflow);
  end if;
  perform weir.save_schedule(s);
  return s.next_slot_at;
end $$;

create or replace function weir.pause_schedule(name text) returns void language plpgsql as $$
begin
  perform weir.edit_schedule(pause_schedule.name, '{"paused": true}');
end $$;

create or replace function weir.resume_schedule(name text) returns timestamptz language plpgsql as $$
begin
  return weir.edit_schedule(resume_schedule.name, '{"paused": false}');
end $$;

create or replace function weir.delete_schedule(name text) returns void language plpgsql as $$
declare
  s weir.schedule := weir.hold_schedule(delete_schedule.name);
begin
  update weir.schedule x set deleted_at = clock_timestamp(), next_slot_at = null, due_at = null, waiting_for = null where x.id = s.id;
end $$;
comment on function weir.hold_schedule(text, boolean) is 'Internal. Locks a schedule for a change. Raises WR030.';
comment on function weir.refuse_no_schedule(text) is 'Internal. Raises WR030 schedule_not_found.';
comment on function weir.save_schedule(weir.schedule) is 'Internal. Writes a schedule, but for its progress where it is there already.';
comment on function weir.set_schedule(text, jsonb, boolean) is
  'Makes a schedule, or replaces the definition of the one that has the name; with replace => false that is an error. definition: exactly one of cron, every_seconds (with anchor) and at; '
  'job or workflow; timezone, jitter_seconds, starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap, paused. Returns its next slot. Errors: WR010, WR031.';
comment on function weir.edit_schedule(text, jsonb) is
  'Changes those fields of a schedule''s definition that are named; null puts one back to its default. It takes effect at once, and no slot fires twice for it. Returns its next slot. Errors: WR010, WR030.';
comment on function weir.pause_schedule(text) is 'Keeps a schedule from firing. Errors: WR030.';
comment on function weir.resume_schedule(text) is 'Ends a pause. What came due meanwhile does not run. Returns the next slot. Errors: WR030.';
comment on function weir.delete_schedule(text) is 'Deletes a schedule. The jobs that it made stay. Errors: WR030.';
