-- Runs: the job or workflow that one slot makes.

-- Placeholders stand for names and times, which need no escaping. One without a value becomes null, or an empty string
-- inside a longer text. A job has the tenant of its schedule, even one that looks like a placeholder; a workflow gets
-- it when it is stored.
create or replace function weir.fill_template(template jsonb, s weir.schedule, slot timestamptz, run int) returns jsonb
language plpgsql stable as $$
declare
  filled text := template::text;
  placeholder text;
  value text;
begin
  if strpos(filled, '{{') = 0 then
    return template;
  end if;
  foreach placeholder in array '{schedule,scheduled_at,scheduled_local,scheduled_date,previous_at,run}'::text[] loop
    continue when strpos(filled, '{{' || placeholder || '}}') = 0;
    value := case placeholder
      when 'schedule' then s.name
      when 'scheduled_at' then weir.iso(slot)
      when 'scheduled_local' then weir.local_iso(slot, weir.utc_offset(s.timezone, slot))
      when 'scheduled_date' then left(weir.local_iso(slot, weir.utc_offset(s.timezone, slot)), 10)
      when 'previous_at' then weir.iso(s.last_run_at)
      when 'run' then run::text
    end;
    if value is null then
      filled := replace(replace(filled, '"{{' || placeholder || '}}"', 'null'), '{{' || placeholder || '}}', '');
    else
      filled := replace(filled, '{{' || placeholder || '}}', value);
    end if;
  end loop;
  return filled::jsonb || case when s.tenant is null or s.job is null then '{}'
    else jsonb_build_object('tenant', s.tenant) end;
end $$;
comment on function weir.fill_template(jsonb, weir.schedule, timestamptz, int) is
  'Internal. The job or workflow of a slot, with its placeholders filled in.';

-- The facts of a workflow's steps are written a second time, to name the schedule. No other session can see them yet.
create or replace function weir.start_run(is_workflow boolean, definition jsonb, schedule text, slot timestamptz,
  tenant text, out job_id bigint, out workflow_id bigint, out duplicate boolean) language plpgsql
set jit = off set enable_seqscan = off as $$
begin
  if is_workflow then
    select w.workflow_id into workflow_id from weir.store_workflow(definition, tenant => start_run.tenant) w;
    duplicate := false;
    update weir.job j set schedule = start_run.schedule, slot = start_run.slot
    where j.id > start_run.workflow_id
      and j.id = any (array(select s.job_id from weir.workflow_step s where s.workflow_id = start_run.workflow_id));
  else
    select b.job_id, b.duplicate into job_id, duplicate
    from weir.enqueue_batch(jsonb_build_array(definition),
      schedules => array[start_run.schedule], slots => array[start_run.slot]) b;
  end if;
end $$;
comment on function weir.start_run(boolean, jsonb, text, timestamptz, text) is
  'Internal. Makes the job, or submits the workflow, of one slot.';

create or replace function weir.trigger_schedule(name text, tenant text default null) returns bigint
language plpgsql as $$
#variable_conflict use_column
declare
  s weir.schedule;
  slot timestamptz := clock_timestamp();
  run record;
begin
  select x.* into s from weir.schedule x where x.name = trigger_schedule.name and x.deleted_at is null
    and coalesce(x.tenant, '') = coalesce(weir.owner_of(weir.caller_bounds(), trigger_schedule.tenant), '');
  perform weir.require_schedule(s, trigger_schedule.name, trigger_schedule.tenant);
  select r.* into run
  from weir.start_run(s.job is null, weir.fill_template(coalesce(s.job, s.workflow), s, slot, s.runs), s.name, slot,
    s.tenant) r;
  insert into weir.schedule_slot (schedule_id, slot_at, manual, outcome, due_at, fired_at, job_id, workflow_id)
  values (s.id, slot, true, case when run.duplicate then 'duplicate' else 'enqueued' end, slot, slot,
    run.job_id, run.workflow_id);
  perform weir.record_change('triggerSchedule', weir.object_path('schedules', s.name, s.tenant), null,
    jsonb_strip_nulls(
    jsonb_build_object('job_id', run.job_id::text, 'workflow_id', run.workflow_id::text)));
  return coalesce(run.job_id, run.workflow_id);
end $$;
comment on function weir.trigger_schedule(text, text) is
  'Makes a schedule''s job, or submits its workflow, now, even if it is paused or finished or its last run is '
  'active. Its slots and max_runs are not affected. Returns the id of the job or workflow. Errors: WR010, WR013, '
  'WR030.';

-- Jobs and workflows draw their ids from one sequence, so one list can hold both.
create or replace function weir.active_runs(schedule_id bigint) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return array(
    select coalesce(r.job_id, r.workflow_id)
    from (
      select x.job_id, x.workflow_id from weir.schedule_slot x
      where x.schedule_id = active_runs.schedule_id and x.outcome in ('enqueued', 'duplicate')
      order by x.slot_at desc limit 10
    ) r
    where case when r.workflow_id is null
      then exists (select from weir.job j where j.id = r.job_id)
        and not exists (select from weir.job_outcome o where o.job_id = r.job_id)
      else exists (select from weir.workflow w where w.id = r.workflow_id and w.finished_at is null) end);
end $$;
comment on function weir.active_runs(bigint) is
  'Internal. Jobs and workflows of a schedule''s latest ten runs that have not ended, the newest first.';

-- A run that ends at the same moment needs no cancelling.
create or replace function weir.cancel_runs(ids bigint[]) returns void language plpgsql as $$
declare
  run_id bigint;
begin
  perform weir.act_as_engine();
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
comment on function weir.cancel_runs(bigint[]) is 'Internal. Cancels jobs and workflows, which may have ended.';
