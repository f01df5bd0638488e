-- Schedules: made and changed, and fired.
--
-- A definition is one JSON object, the same over SQL and REST; weir.schedule_of reads it, and nobody else does. Who writes a schedule takes the lock on
-- its name first, so that two who make the same one at once take turns. Firing takes rows that nobody else has and asks for no such lock.
--
-- +goose Up
-- +goose StatementBegin
create function weir.schedule_template_problem(job jsonb) returns text[] language plpgsql stable as $$
declare
  problem text[] := case when job is not null then weir.job_problem(job) end;
  own constant text[] := '{idempotency_key,run_at,parent_id}';  -- of one job, not of each that is to come
begin
  if problem is null and jsonb_typeof(job) = 'object' and job ?| own then
    problem := array[weir.first_key((select jsonb_object_agg(k, 0) from jsonb_object_keys(job) k where k = any (own))), 'is no field of a schedule''s job'];
  end if;
  return case when problem is not null then array[rtrim('job.' || problem[1], '.'), problem[2]] end;
end $$;

-- Reads a definition. `base` is the schedule that it is to be of: what is not of the definition (its progress) comes from there, and so does an anchor
-- that is not named, so that the same definition applied again and again does not put its interval off. Raises WR010.
create function weir.schedule_of(name text, definition jsonb, base weir.schedule, templated boolean default true) returns weir.schedule language plpgsql stable as $$
#variable_conflict use_variable
declare
  now_at timestamptz := clock_timestamp();
  s weir.schedule := base;
  d jsonb;
  known constant text[] := '{cron,every_seconds,anchor,at,timezone,job,workflow,jitter_seconds,starts_at,ends_at,max_runs,dst_gap,dst_overlap,misfire,misfire_limit,overlap,paused}';
  bad record;
  read record;
  near_name text;
begin
  if name is null or name !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$' then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif jsonb_typeof(definition) is distinct from 'object' then
    perform weir.refuse_argument('definition', 'must be a JSON object');
  elsif definition - known <> '{}' then
    perform weir.refuse_argument(weir.first_key(definition - known), 'is no field of a schedule', 'Fields: ' || array_to_string(known, ', ') || '.');
  end if;
  d := coalesce((select jsonb_object_agg(e.key, e.value) from jsonb_each(definition) e where e.value <> 'null'), '{}');
  select f.field, f.problem into bad from (
    select t.field, case when jsonb_typeof(d -> t.field) <> 'string' then 'must be a string' end as problem from unnest('{cron,timezone}'::text[]) t(field)
    union all select t.field, weir.time_problem(d -> t.field) from unnest('{anchor,at,starts_at,ends_at}'::text[]) t(field) where d ? t.field
    union all select t.field, weir.integer_problem(d -> t.field, t.lowest, t.highest) from (values ('every_seconds', 1, 31536000), ('jitter_seconds', 0, 86400),
      ('max_runs', 1, 1000000000), ('misfire_limit', 1, 1000)) t(field, lowest, highest)
    union all select t.field, case when not coalesce(d -> t.field <@ t.allowed, true) or jsonb_typeof(d -> t.field) <> 'string' then 'must be ' || t.choice end
      from (values ('dst_gap', '["run_after", "skip"]'::jsonb, 'run_after or skip'), ('dst_overlap', '["once", "twice"]', 'once or twice'),
        ('misfire', '["skip", "latest", "all"]', 'skip, latest or all'), ('overlap', '["allow", "skip", "wait", "cancel"]', 'allow, skip, wait or cancel')) t(field, allowed, choice)
    union all select 'paused', case when jsonb_typeof(d -> 'paused') <> 'boolean' then 'must be true or false' end
    union all select 'job', case when jsonb_typeof(d -> 'job') <> 'object' then 'must be an object with at least a kind' end
    union all select 'workflow', case when jsonb_typeof(d -> 'workflow') <> 'object' then 'must be an object' end
  ) f where f.problem is not null limit 1;
  if found then
    perform weir.refuse_argument(bad.field, bad.problem);
  end if;
  if (select count(*) from unnest('{cron,every_seconds,at}'::text[]) k where d ? k) <> 1 then
    perform weir.refuse_argument(case when d ?| '{cron,every_seconds,at}' then case when d ? 'every_seconds' then 'every_seconds' else 'at' end else 'cron' end,
      case when d ?| '{cron,every_seconds,at}' then 'cannot go with another of cron, every_seconds and at' else 'is needed, or every_seconds, or at' end);
  end if;

  s.name := name;
  s.cron := d ->> 'cron';
  s.every_seconds := (d ->> 'every_seconds')::numeric::int;
  s.at := (d ->> 'at')::timestamptz;
  s.timezone := coalesce(d ->> 'timezone', 'UTC');
  s.job := d -> 'job';
  s.workflow := d -> 'workflow';
  s.jitter_seconds := coalesce((d ->> 'jitter_seconds')::numeric::int, 0);
  s.starts_at := (d ->> 'starts_at')::timestamptz;
  s.ends_at := (d ->> 'ends_at')::timestamptz;
  s.max_runs := (d ->> 'max_runs')::numeric::int;
  s.dst_gap := d ->> 'dst_gap';
  s.dst_overlap := d ->> 'dst_overlap';
  s.misfire := coalesce(d ->> 'misfire', 'latest');
  s.misfire_limit := coalesce((d ->> 'misfire_limit')::numeric::int, 100);
  s.overlap := coalesce(d ->> 'overlap', 'allow');
  s.runs := coalesce(s.runs, 0);
  s.tries := coalesce(s.tries, 0);
  s.created_at := coalesce(s.created_at, now_at);
  s.updated_at := now_at;
  s.paused_at := case when (d ->> 'paused')::boolean then coalesce(s.paused_at, now_at) when d ? 'paused' then null else s.paused_at end;
  s.anchor := case when s.every_seconds is not null then coalesce((d ->> 'anchor')::timestamptz, s.starts_at, base.anchor, date_trunc('second', now_at)) end;
  s.fields := null;

  if not exists (select from weir.time_zone z where z.name = s.timezone) then
    select z.name into near_name from weir.time_zone z where lower(z.name) = lower(replace(s.timezone, ' ', '_')) limit 1;
    perform weir.refuse_argument('timezone', 'must be a name of the IANA time zone database, such as Europe/Berlin' || coalesce('; did you mean ' || near_name || '?', ''));
  elsif s.cron is not null then
    select r.fields, r.problem into read from weir.read_cron(case when length(s.cron) <= 500 then s.cron else '' end) r;
    if read.problem is not null then
      perform weir.refuse_argument('cron', read.problem, 'docs/schedules.md has the whole form.');
    end if;
    s.fields := read.fields;
    if weir.cron_match(s.fields, date_trunc('second', now_at at time zone 'UTC')) is null then
      perform weir.refuse_argument('cron', 'never comes about: no such day of a month is there in the next 45 years');
    end if;
  end if;
  select f.field, f.problem into bad from (values
    ('anchor', case when d ? 'anchor' and s.every_seconds is null then 'goes with every_seconds only' end),
    ('dst_gap', case when s.dst_gap is not null and s.cron is null then 'goes with cron only' end),
    ('dst_overlap', case when s.dst_overlap is not null and s.cron is null then 'goes with cron only' end),
    ('misfire_limit', case when d ? 'misfire_limit' and s.misfire <> 'all' then 'goes with misfire all only' end),
    ('ends_at', case when s.ends_at <= s.starts_at then 'must be after starts_at' end),
    ('jitter_seconds', case when s.jitter_seconds >= s.every_seconds then 'must be less than every_seconds' end),
    ('at', case when s.at <= now_at and s.at is distinct from base.at then 'must not lie in the past' end),
    ('job', case when templated and s.job is null and s.workflow is null then 'is needed: what the schedule is to make' end),
    ('workflow', case when s.workflow is not null and s.job is not null then 'and job exclude each other' end),
    ((weir.schedule_template_problem(s.job))[1], (weir.schedule_template_problem(s.job))[2])
  ) f(field, problem) where f.problem is not null limit 1;
  if found then
    perform weir.refuse_argument(bad.field, bad.problem);
  end if;
  return s;
end $$;

-- Submits a workflow and takes that back, because nothing but submitting it says all that may be wrong with it. That a queue is full just now is not about the definition.
create function weir.check_schedule_workflow(workflow jsonb) returns void language plpgsql as $$
declare
  field text;
  problem text;
begin
  perform weir.submit_workflow(workflow);
  raise exception using errcode = 'WR039', message = 'the workflow is well';
exception
  when sqlstate 'WR039' or sqlstate 'WR013' or sqlstate 'WR006' then null;
  when sqlstate 'WR010' then
    get stacked diagnostics field = column_name, problem = message_text;
    perform weir.refuse_argument(rtrim('workflow.' || case when field = 'definition' then '' else field end, '.'), regexp_replace(problem, '^[^ ]* ', ''));
end $$;

create function weir.definition_of(s weir.schedule) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('cron', s.cron, 'every_seconds', s.every_seconds, 'anchor', weir.iso(s.anchor), 'at', weir.iso(s.at), 'timezone', s.timezone,
      'jitter_seconds', nullif(s.jitter_seconds, 0), 'starts_at', weir.iso(s.starts_at), 'ends_at', weir.iso(s.ends_at), 'max_runs', s.max_runs, 'dst_gap', s.dst_gap,
      'dst_overlap', s.dst_overlap, 'misfire', s.misfire, 'misfire_limit', case when s.misfire = 'all' then s.misfire_limit end, 'overlap', s.overlap))
    || case when s.job is not null then jsonb_build_object('job', s.job) else '{}' end
    || case when s.workflow is not null then jsonb_build_object('workflow', s.workflow) else '{}' end
$$;

-- The schedule of a name, locked. Everybody who writes one comes through here, so the lock on the name comes first.
create function weir.hold_schedule(name text, must_exist boolean default true) returns weir.schedule language plpgsql as $$
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

create function weir.refuse_no_schedule(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR030', message = format('there is no schedule %L', name), hint = 'weir.schedules lists those that there are.';
end $$;

-- What is next after a change. A slot that is due but not fired yet stays due, if the new times have it too; nothing further back comes in.
create function weir.plan_schedule(s weir.schedule, was weir.schedule) returns weir.schedule language plpgsql stable as $$
declare
  now_at timestamptz := clock_timestamp();
  same boolean := (s.cron, s.every_seconds, s.anchor, s.at, s.timezone, s.starts_at, s.ends_at, s.dst_gap, s.dst_overlap)
    is not distinct from (was.cron, was.every_seconds, was.anchor, was.at, was.timezone, was.starts_at, was.ends_at, was.dst_gap, was.dst_overlap);
  planned timestamptz := case when same and was.paused_at is null then was.next_slot_at end;
begin
  if s.paused_at is not null or s.runs >= s.max_runs then
    planned := null;
  elsif planned is null then
    planned := (weir.next_slot(s, greatest(s.last_slot_at, case when was.paused_at is null and was.next_slot_at <= now_at
      then greatest(was.next_slot_at - interval '1 us', now_at - interval '1 minute') else now_at end))).slot_at;
  end if;
  if planned is distinct from was.next_slot_at or s.overlap <> was.overlap then
    s.waiting_for := null;
  end if;
  s.tries := 0;
  s.problem := null;
  s.next_slot_at := planned;
  s.due_at := weir.slot_due(s, planned);
  return s;
end $$;

create function weir.save_schedule(s weir.schedule) returns void language sql as $$
  insert into weir.schedule as x select s.*
  on conflict (id) do update set (cron, fields, every_seconds, anchor, at, timezone, job, workflow, jitter_seconds, starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap,
      updated_at, paused_at, next_slot_at, due_at, waiting_for, tries, problem)
    = (s.cron, s.fields, s.every_seconds, s.anchor, s.at, s.timezone, s.job, s.workflow, s.jitter_seconds, s.starts_at, s.ends_at, s.max_runs, s.dst_gap, s.dst_overlap, s.misfire, s.misfire_limit, s.overlap,
      s.updated_at, s.paused_at, s.next_slot_at, s.due_at, s.waiting_for, s.tries, s.problem)
$$;

create function weir.set_schedule(name text, definition jsonb, replace boolean default true) returns timestamptz language plpgsql as $$
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

create function weir.edit_schedule(name text, changes jsonb) returns timestamptz language plpgsql as $$
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

create function weir.pause_schedule(name text) returns void language plpgsql as $$
begin
  perform weir.edit_schedule(pause_schedule.name, '{"paused": true}');
end $$;

create function weir.resume_schedule(name text) returns timestamptz language plpgsql as $$
begin
  return weir.edit_schedule(resume_schedule.name, '{"paused": false}');
end $$;

create function weir.delete_schedule(name text) returns void language plpgsql as $$
declare
  s weir.schedule := weir.hold_schedule(delete_schedule.name);
begin
  update weir.schedule x set deleted_at = clock_timestamp(), next_slot_at = null, due_at = null, waiting_for = null where x.id = s.id;
end $$;

create function weir.check_preview(count int) returns void language plpgsql immutable as $$
begin
  if check_preview.count is null or check_preview.count not between 1 and 1000 then
    perform weir.refuse_argument('count', 'must be from 1 to 1000');
  end if;
end $$;

create function weir.preview_schedule(name text, count int default 20, "from" timestamptz default null)
returns table (slot_at timestamptz, local text, due_at timestamptz, skipped boolean, note text) language plpgsql stable as $$
declare
  s weir.schedule;
begin
  perform weir.check_preview(preview_schedule.count);
  select x.* into s from weir.schedule x where x.name = preview_schedule.name and x.deleted_at is null;
  if not found then
    perform weir.refuse_no_schedule(preview_schedule.name);
  end if;
  return query select * from weir.show_slots(s, preview_schedule.count, coalesce(preview_schedule.from, s.next_slot_at, clock_timestamp()) - interval '1 us');
end $$;

create function weir.preview_definition(definition jsonb, count int default 20, "from" timestamptz default null, name text default '_')
returns table (slot_at timestamptz, local text, due_at timestamptz, skipped boolean, note text) language plpgsql stable as $$
declare
  s weir.schedule;
begin
  perform weir.check_preview(preview_definition.count);
  s := weir.schedule_of(preview_definition.name, preview_definition.definition, null, templated => false);
  return query select * from weir.show_slots(s, preview_definition.count, coalesce(preview_definition.from - interval '1 us', clock_timestamp()));
end $$;

-- The job of one slot. What is filled in are names and times, which need no escapes; a value that is not there leaves null, or nothing within a longer text.
create function weir.fill_template(template jsonb, s weir.schedule, slot timestamptz, run int) returns jsonb language plpgsql stable as $$
declare
  written text := template::text;
  place text;
  value text;
begin
  if strpos(written, '{{') = 0 then
    return template;
  end if;
  foreach place in array '{schedule,scheduled_at,scheduled_local,scheduled_date,previous_at,run}'::text[] loop
    continue when strpos(written, '{{' || place || '}}') = 0;
    value := case place
      when 'schedule' then s.name
      when 'scheduled_at' then weir.iso(slot)
      when 'scheduled_local' then weir.local_iso(slot, weir.utc_offset(s.timezone, slot))
      when 'scheduled_date' then left(weir.local_iso(slot, weir.utc_offset(s.timezone, slot)), 10)
      when 'previous_at' then weir.iso(s.last_run_at)
      when 'run' then run::text
    end;
    if value is null then
      written := replace(replace(written, '"{{' || place || '}}"', 'null'), '{{' || place || '}}', '');
    else
      written := replace(written, '{{' || place || '}}', value);
    end if;
  end loop;
  return written::jsonb;
end $$;

-- Makes one job, or submits one workflow. Of a workflow the facts of the steps are written once more, to say what made them: nothing else can know of them yet.
create function weir.make_run(is_workflow boolean, filled jsonb, schedule text, slot timestamptz, out job_id bigint, out workflow_id bigint, out duplicate boolean) language plpgsql
set jit = off set enable_seqscan = off as $$
begin
  if is_workflow then
    workflow_id := weir.submit_workflow(filled);
    duplicate := false;
    update weir.job j set schedule = make_run.schedule, slot = make_run.slot
    where j.id = any (array(select s.job_id from weir.workflow_step s where s.workflow_id = make_run.workflow_id)) and j.id > make_run.workflow_id;
  else
    select b.job_id, b.duplicate into job_id, duplicate from weir.enqueue_batch(jsonb_build_array(filled), schedules => array[make_run.schedule], slots => array[make_run.slot]) b;
  end if;
end $$;

create function weir.trigger_schedule(name text) returns bigint language plpgsql as $$
#variable_conflict use_column
declare
  s weir.schedule;
  slot timestamptz := clock_timestamp();
  made record;
begin
  select x.* into s from weir.schedule x where x.name = trigger_schedule.name and x.deleted_at is null;
  if not found then
    perform weir.refuse_no_schedule(trigger_schedule.name);
  end if;
  select m.* into made from weir.make_run(s.job is null, weir.fill_template(coalesce(s.job, s.workflow), s, slot, s.runs), s.name, slot) m;
  insert into weir.schedule_slot (schedule_id, slot_at, manual, outcome, due_at, fired_at, job_id, workflow_id)
  values (s.id, slot, true, case when made.duplicate then 'duplicate' else 'enqueued' end, slot, slot, made.job_id, made.workflow_id);
  return coalesce(made.job_id, made.workflow_id);
end $$;

-- The jobs and workflows of a schedule's latest runs that have not ended. Their ids are of one sequence.
create function weir.active_runs(schedule_id bigint) returns bigint[] language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return array(
    select coalesce(r.job_id, r.workflow_id) from (select x.job_id, x.workflow_id from weir.schedule_slot x where x.schedule_id = active_runs.schedule_id and x.outcome in ('enqueued', 'duplicate') order by x.slot_at desc limit 10) r
    where case when r.workflow_id is null then exists (select from weir.job j where j.id = r.job_id) and not exists (select from weir.job_outcome o where o.job_id = r.job_id)
      else exists (select from weir.workflow w where w.id = r.workflow_id and w.finished_at is null) end);
end $$;

-- Cancels them. One that ends at this very moment needs it no more.
create function weir.cancel_runs(ids bigint[]) returns void language plpgsql as $$
declare
  run_id bigint;
begin
  foreach run_id in array ids loop
    begin
      if exists (select from weir.workflow w where w.id = run_id) then
        perform weir.cancel_workflow(run_id);
      else
        perform weir.cancel(run_id);
      end if;
    exception when sqlstate 'WR002' or sqlstate 'WR003' or sqlstate 'WR050' or sqlstate 'WR051' then null;
    end;
  end loop;
end $$;

-- Fires what is due: one slot a schedule, and then its next one is due, at once or later. A slot, its job and the schedule's progress are one transaction,
-- so whatever becomes of a node, a slot has fired once or is still there for the next look, of whomever.
--
-- All jobs go into one enqueue_batch. If that refuses, they are enqueued one by one, so that a full queue stops only its own, and so are workflows submitted;
-- errors that are about the moment and not about the job (locks, connections) go to the caller.
--
-- Locks: weir.schedule rows, skip locked; then as enqueueing, and with overlap cancel as weir.cancel.
create function weir.fire_due(max_schedules int default 200, after timestamptz default '-infinity', as_of timestamptz default null,
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
        from weir.enqueue_batch(to_jsonb(jobs), schedules => names, slots => slots) with ordinality b(job_id, duplicate, priority, max_attempts, timeout_seconds, run_at, created_at, n);
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

create function weir.sweep_schedule_slots(most int default 1000) returns int language plpgsql set jit = off set enable_seqscan = off as $$
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
-- +goose StatementEnd

create view weir.schedules as
select s.name, case when s.paused_at is not null then 'paused' when s.next_slot_at is null then 'finished' when s.waiting_for is not null then 'waiting' else 'active' end as state,
  coalesce(s.cron, 'every ' || s.every_seconds || ' s', 'at ' || weir.iso(s.at)) as timing, s.timezone, s.next_slot_at as next_at,
  weir.local_iso(s.next_slot_at, weir.utc_offset(s.timezone, s.next_slot_at)) as next_local, s.due_at, s.last_run_at as last_at, s.runs, s.waiting_for, s.tries, s.problem, s.paused_at,
  s.created_at, s.updated_at, weir.definition_of(s) as definition, s.id
from weir.schedule s where s.deleted_at is null;
comment on view weir.schedules is 'One row a schedule: when it fires next, how far it is, and what keeps it.';
comment on column weir.schedules.name is 'Its name.';
comment on column weir.schedules.state is 'active, waiting (for the run before), paused, or finished: no slot is left.';
comment on column weir.schedules.timing is 'Its cron expression, interval or time.';
comment on column weir.schedules.timezone is 'The zone whose clocks it goes by.';
comment on column weir.schedules.next_at is 'Its next slot.';
comment on column weir.schedules.next_local is 'The same by the clocks of its zone.';
comment on column weir.schedules.due_at is 'When it is looked at next: the slot plus its jitter, or later where it waits or is tried again.';
comment on column weir.schedules.last_at is 'The last slot that made a job.';
comment on column weir.schedules.runs is 'Slots that made a job.';
comment on column weir.schedules.waiting_for is 'The job or workflow that must end before the next slot fires.';
comment on column weir.schedules.tries is 'How often the next slot was refused.';
comment on column weir.schedules.problem is 'Why it was, the last time.';
comment on column weir.schedules.paused_at is 'Since when it is paused.';
comment on column weir.schedules.created_at is 'When it was made.';
comment on column weir.schedules.updated_at is 'When its definition was last changed.';
comment on column weir.schedules.definition is 'What weir.set_schedule was given, defaults included.';
comment on column weir.schedules.id is 'weir.schedule.id';

create view weir.schedule_runs as
select s.name as schedule, r.slot_at as slot, r.manual, r.outcome, r.job_id, (select j.state from weir.jobs j where j.id = r.job_id) as job_state, r.due_at, r.fired_at, r.until_at, r.detail,
  r.workflow_id, r.schedule_id
from weir.schedule_slot r join weir.schedule s on s.id = r.schedule_id where s.deleted_at is null;
comment on view weir.schedule_runs is 'One row a slot that was dealt with: what it made, and what became of that. Kept for a week, and as long as the job.';
comment on column weir.schedule_runs.schedule is 'The name of its schedule.';
comment on column weir.schedule_runs.slot is 'The time that the schedule names; of a trigger by hand, when that was.';
comment on column weir.schedule_runs.manual is 'Somebody triggered it.';
comment on column weir.schedule_runs.outcome is 'enqueued, duplicate (the unique key was taken), skipped (the run before was active), missed (nobody fired it in time) or refused.';
comment on column weir.schedule_runs.job_id is 'The job that it made, or of a duplicate the one that has the key.';
comment on column weir.schedule_runs.job_state is 'What that is now; null once it is gone.';
comment on column weir.schedule_runs.due_at is 'When it was to fire: the slot plus its jitter.';
comment on column weir.schedule_runs.fired_at is 'When it was dealt with.';
comment on column weir.schedule_runs.until_at is 'Of missed slots: the row is about all of them before then.';
comment on column weir.schedule_runs.detail is 'Why it made no job, or what else it did.';
comment on column weir.schedule_runs.workflow_id is 'The workflow that it submitted.';
comment on column weir.schedule_runs.schedule_id is 'weir.schedule.id';

comment on function weir.schedule_template_problem(jsonb) is 'Internal. What is wrong with the job that a schedule is to make: its field and why, or null.';
comment on function weir.schedule_of(text, jsonb, weir.schedule, boolean) is 'Internal. The schedule that a definition describes. Raises WR010.';
comment on function weir.definition_of(weir.schedule) is 'Internal. The definition of a schedule, as weir.set_schedule takes it.';
comment on function weir.hold_schedule(text, boolean) is 'Internal. Locks a schedule for a change. Raises WR030.';
comment on function weir.refuse_no_schedule(text) is 'Internal. Raises WR030 schedule_not_found.';
comment on function weir.plan_schedule(weir.schedule, weir.schedule) is 'Internal. A changed schedule with its next slot.';
comment on function weir.save_schedule(weir.schedule) is 'Internal. Writes a schedule, but for its progress where it is there already.';
comment on function weir.set_schedule(text, jsonb, boolean) is
  'Makes a schedule, or replaces the definition of the one that has the name; with replace => false that is an error. definition: exactly one of cron, every_seconds (with anchor) and at; '
  'job or workflow; timezone, jitter_seconds, starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap, paused. Returns its next slot. Errors: WR010, WR031.';
comment on function weir.edit_schedule(text, jsonb) is
  'Changes those fields of a schedule''s definition that are named; null puts one back to its default. It takes effect at once, and no slot fires twice for it. Returns its next slot. Errors: WR010, WR030.';
comment on function weir.pause_schedule(text) is 'Keeps a schedule from firing. Errors: WR030.';
comment on function weir.resume_schedule(text) is 'Ends a pause. What came due meanwhile does not run. Returns the next slot. Errors: WR030.';
comment on function weir.delete_schedule(text) is 'Deletes a schedule. The jobs that it made stay. Errors: WR030.';
comment on function weir.check_preview(int) is 'Internal. Raises WR010 unless so many slots may be shown.';
comment on function weir.preview_schedule(text, int, timestamptz) is
  'The next slots of a schedule, from its next one or from a time: by UTC and by its own clocks, when each fires (jitter), and a note where one is moved or skipped (skipped: it does not fire). Errors: WR010, WR030.';
comment on function weir.preview_definition(jsonb, int, timestamptz, text) is
  'The same for a definition that is not saved, which needs no job. Errors: WR010.';
comment on function weir.fill_template(jsonb, weir.schedule, timestamptz, int) is 'Internal. The job of a slot, placeholders filled in.';
comment on function weir.trigger_schedule(text) is
  'Makes a schedule''s job, or submits its workflow, now, whether it is paused, finished or its last run is active. Its slots and max_runs are not touched. Returns the id of the job or workflow. Errors: WR010, WR013, WR030.';
comment on function weir.make_run(boolean, jsonb, text, timestamptz) is 'Internal. Makes the job, or submits the workflow, of one slot.';
comment on function weir.check_schedule_workflow(jsonb) is 'Internal. Raises WR010 if a workflow could not be submitted as it is.';
comment on function weir.active_runs(bigint) is 'Internal. Jobs and workflows of a schedule''s latest ten runs that have not ended, the newest first.';
comment on function weir.cancel_runs(bigint[]) is 'Internal. Cancels jobs and workflows that may have ended.';
comment on function weir.fire_due(int, timestamptz, timestamptz) is
  'Fires up to max_schedules schedules whose time has come and lies after `after`, one slot each. Every node calls it several times a second, passing looked_until of the last call; without a '
  'service, anybody may. as_of stands for now: with it, what is to come can be tried out in a database of its own. Returns how many it looked at, how many slots made a job and how late, and what is due next.';
comment on function weir.sweep_schedule_slots(int) is 'Removes up to `most` slots that were dealt with over a week ago and whose jobs are gone. Returns how many.';

-- +goose Down
drop view weir.schedule_runs, weir.schedules;
drop function weir.sweep_schedule_slots(int), weir.fire_due(int, timestamptz, timestamptz), weir.cancel_runs(bigint[]), weir.active_runs(bigint), weir.trigger_schedule(text), weir.make_run(boolean, jsonb, text, timestamptz),
  weir.fill_template(jsonb, weir.schedule, timestamptz, int), weir.preview_definition(jsonb, int, timestamptz, text), weir.preview_schedule(text, int, timestamptz), weir.check_preview(int),
  weir.delete_schedule(text), weir.resume_schedule(text), weir.pause_schedule(text), weir.edit_schedule(text, jsonb), weir.set_schedule(text, jsonb, boolean), weir.save_schedule(weir.schedule),
  weir.plan_schedule(weir.schedule, weir.schedule), weir.refuse_no_schedule(text), weir.hold_schedule(text, boolean), weir.check_schedule_workflow(jsonb), weir.definition_of(weir.schedule), weir.schedule_of(text, jsonb, weir.schedule, boolean),
  weir.schedule_template_problem(jsonb);
