-- schedule_run

-- The job of one slot. What is filled in are names and times, which need no escapes; a value that is not there leaves null, or nothing within a longer text.
create or replace function weir.fill_template(template jsonb, s weir.schedule, slot timestamptz, run int) returns jsonb language plpgsql stable as $$
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
create or replace function weir.make_run(is_workflow boolean, filled jsonb, schedule text, slot timestamptz, out job_id bigint, out workflow_id bigint, out duplicate boolean) language plpgsql
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

create or replace function weir.trigger_schedule(name text) returns bigint language plpgsql as $$
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
create or replace function weir.active_runs(schedule_id bigint) returns bigint[] language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return array(
    select coalesce(r.job_id, r.workflow_id) from (select x.job_id, x.workflow_id from weir.schedule_slot x where x.schedule_id = active_runs.schedule_id and x.outcome in ('enqueued', 'duplicate') order by x.slot_at desc limit 10) r
    where case when r.workflow_id is null then exists (select from weir.job j where j.id = r.job_id) and not exists (select from weir.job_outcome o where o.job_id = r.job_id)
      else exists (select from weir.workflow w where w.id = r.workflow_id and w.finished_at is null) end);
end $$;

-- Cancels them. One that ends at this very moment needs it no more.
create or replace function weir.cancel_runs(ids bigint[]) returns void language plpgsql as $$
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
comment on function weir.fill_template(jsonb, weir.schedule, timestamptz, int) is 'Internal. The job of a slot, placeholders filled in.';
comment on function weir.trigger_schedule(text) is
  'Makes a schedule''s job, or submits its workflow, now, whether it is paused, finished or its last run is active. Its slots and max_runs are not touched. Returns the id of the job or workflow. Errors: WR010, WR013, WR030.';
comment on function weir.make_run(boolean, jsonb, text, timestamptz) is 'Internal. Makes the job, or submits the workflow, of one slot.';
comment on function weir.active_runs(bigint) is 'Internal. Jobs and workflows of a schedule''s latest ten runs that have not ended, the newest first.';
comment on function weir.cancel_runs(bigint[]) is 'Internal. Cancels jobs and workflows that may have ended.';
