-- Definitions: one JSON object, the same over SQL and REST. weir.parse_schedule is the only reader.

create or replace function weir.schedule_job_problem(job jsonb) returns text[] language plpgsql stable as $$
declare
  problem text[] := case when job is not null then weir.job_problem(job) end;
  single constant text[] := '{idempotency_key,run_at,parent_id,principal}';  -- meant for one job, not for each run
begin
  if problem is null and jsonb_typeof(job) = 'object' and job ?| single then
    problem := array[
      weir.first_key((select jsonb_object_agg(k, 0) from jsonb_object_keys(job) k where k = any (single))),
      'is not a field of a schedule''s job'];
  end if;
  return case when problem is not null then array[rtrim('job.' || problem[1], '.'), problem[2]] end;
end $$;
comment on function weir.schedule_job_problem(jsonb) is
  'Internal. What is wrong with the job of a schedule: its field and why, or null.';

-- The types and values of single fields. d: a definition without its null fields.
create or replace function weir.check_schedule_fields(d jsonb) returns void language plpgsql stable as $$
declare
  bad record;
begin
  select f.field, f.problem into bad from (
    select t.field, case when jsonb_typeof(d -> t.field) <> 'string' then 'must be a string' end as problem
      from unnest('{cron,timezone}'::text[]) t(field)
    union all
    select t.field, weir.time_problem(d -> t.field)
      from unnest('{anchor,at,starts_at,ends_at}'::text[]) t(field) where d ? t.field
    union all
    select t.field, weir.integer_problem(d -> t.field, t.lowest, t.highest)
      from (values ('every_seconds', 1, 31536000), ('jitter_seconds', 0, 86400), ('max_runs', 1, 1000000000),
        ('misfire_limit', 1, 1000)) t(field, lowest, highest)
    union all
    select t.field, 'must be ' || t.choice
      from (values ('dst_gap', '["run_after", "skip"]'::jsonb, 'run_after or skip'),
        ('dst_overlap', '["once", "twice"]', 'once or twice'),
        ('misfire', '["skip", "latest", "all"]', 'skip, latest or all'),
        ('overlap', '["allow", "skip", "wait", "cancel"]', 'allow, skip, wait or cancel')) t(field, allowed, choice)
      where not coalesce(d -> t.field <@ t.allowed, true) or jsonb_typeof(d -> t.field) <> 'string'
    union all
    select 'paused', 'must be true or false' where jsonb_typeof(d -> 'paused') <> 'boolean'
    union all
    select 'job', 'must be an object with at least a kind' where jsonb_typeof(d -> 'job') <> 'object'
    union all
    select 'workflow', 'must be an object' where jsonb_typeof(d -> 'workflow') <> 'object'
  ) f where f.problem is not null limit 1;
  if found then
    perform weir.refuse_argument(bad.field, bad.problem);
  end if;
  if (select count(*) from unnest('{cron,every_seconds,at}'::text[]) k where d ? k) <> 1 then
    perform weir.refuse_argument(
      case when d ? 'every_seconds' then 'every_seconds' when d ? 'at' then 'at' else 'cron' end,
      case when d ?| '{cron,every_seconds,at}' then 'excludes the other two of cron, every_seconds and at'
        else 'is required, or every_seconds, or at' end);
  end if;
end $$;
comment on function weir.check_schedule_fields(jsonb) is
  'Internal. Raises WR010 where a field of a schedule''s definition has a wrong type or value.';

-- What fields say together, and what they name. d: the definition; s: the schedule parsed from it; base: the one it
-- replaces. Returns the parsed cron expression.
create or replace function weir.check_schedule(s weir.schedule, d jsonb, base weir.schedule, needs_job boolean)
returns weir.cron_fields language plpgsql stable as $$
declare
  now_at timestamptz := clock_timestamp();
  parsed record;
  fields weir.cron_fields;
  bad record;
  similar_name text;
begin
  if not exists (select from weir.time_zone z where z.name = s.timezone) then
    select z.name into similar_name from weir.time_zone z where lower(z.name) = lower(replace(s.timezone, ' ', '_'))
      limit 1;
    perform weir.refuse_argument('timezone', 'must be a name of the IANA time zone database, such as Europe/Berlin'
      || coalesce('; did you mean ' || similar_name || '?', ''));
  elsif s.cron is not null then
    select * into parsed from weir.parse_cron(case when length(s.cron) <= 500 then s.cron else '' end);
    fields := parsed.fields;
    if parsed.problem is not null then
      perform weir.refuse_argument('cron', parsed.problem, 'docs/schedules.md describes the whole syntax.');
    elsif weir.next_cron_time(fields, date_trunc('second', now_at at time zone 'UTC')) is null then
      perform weir.refuse_argument('cron', 'never fires: no such day of a month exists in the next 45 years');
    end if;
  end if;
  select f.field, f.problem into bad from (values
    ('anchor', case when d ? 'anchor' and s.every_seconds is null then 'goes only with every_seconds' end),
    ('dst_gap', case when s.dst_gap is not null and s.cron is null then 'goes only with cron' end),
    ('dst_overlap', case when s.dst_overlap is not null and s.cron is null then 'goes only with cron' end),
    ('misfire_limit', case when d ? 'misfire_limit' and s.misfire <> 'all' then 'goes only with misfire all' end),
    ('ends_at', case when s.ends_at <= s.starts_at then 'must be after starts_at' end),
    ('jitter_seconds', case when s.jitter_seconds >= s.every_seconds then 'must be less than every_seconds' end),
    ('at', case when s.at <= now_at and s.at is distinct from base.at then 'must not be in the past'
      when s.at >= weir.last_slot_before() then 'must be before 9999-12-31 in UTC' end),
    ('job', case when needs_job and s.job is null and s.workflow is null then 'is required: what each slot makes' end),
    ('workflow', case when s.workflow is not null and s.job is not null then 'and job exclude each other'
      -- nodes alone write it
      when exists (select from weir.all_steps(s.workflow) a where jsonb_typeof(a) = 'object' and a ? 'principal')
        then 'has a step with a principal, which is no field of a step' end),
    ((weir.schedule_job_problem(s.job))[1], (weir.schedule_job_problem(s.job))[2])
  ) f(field, problem) where f.problem is not null limit 1;
  if found then
    perform weir.refuse_argument(bad.field, bad.problem);
  end if;
  return fields;
end $$;
comment on function weir.check_schedule(weir.schedule, jsonb, weir.schedule, boolean) is
  'Internal. Raises WR010 where the fields of a schedule contradict each other. Returns its cron expression, parsed.';

-- Parses a definition. `base` is the schedule that it replaces, or null fields. Its progress is kept, and so is its
-- anchor where the definition has none, so that applying one definition again does not shift the interval.
create or replace function weir.parse_schedule(name text, definition jsonb, base weir.schedule,
  needs_job boolean default true, tenant text default null)
returns weir.schedule language plpgsql stable as $$
#variable_conflict use_variable
declare
  now_at timestamptz := clock_timestamp();
  s weir.schedule := base;
  d jsonb;
  known constant text[] := '{cron,every_seconds,anchor,at,timezone,job,workflow,jitter_seconds,starts_at,'
    'ends_at,max_runs,dst_gap,dst_overlap,misfire,misfire_limit,overlap,paused}';
begin
  if weir.is_queue_name(name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif jsonb_typeof(definition) is distinct from 'object' then
    perform weir.refuse_argument('definition', 'must be a JSON object');
  elsif definition - known <> '{}' then
    perform weir.refuse_argument(weir.first_key(definition - known), 'is not a field of a schedule',
      'Fields: ' || array_to_string(known, ', ') || '.');
  end if;
  d := coalesce((select jsonb_object_agg(e.key, e.value) from jsonb_each(definition) e where e.value <> 'null'), '{}');
  perform weir.check_schedule_fields(d);

  s.name := name;
  s.tenant := coalesce(base.tenant, tenant);
  s.cron := d ->> 'cron';
  s.every_seconds := (d ->> 'every_seconds')::numeric::int;
  s.at := (d ->> 'at')::timestamptz;
  s.timezone := coalesce(d ->> 'timezone', 'UTC');
  s.job := (d -> 'job') || case when s.tenant is null then '{}' else jsonb_build_object('tenant', s.tenant) end;
  s.workflow := d -> 'workflow';
  s.queues := weir.schedule_queues(s.job, s.workflow);
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
  s.paused_at := case
    when (d ->> 'paused')::boolean then coalesce(s.paused_at, now_at)
    when d ? 'paused' then null
    else s.paused_at
  end;
  s.anchor := case when s.every_seconds is not null
    then coalesce((d ->> 'anchor')::timestamptz, s.starts_at, base.anchor, date_trunc('second', now_at)) end;
  s.fields := weir.check_schedule(s, d, base, needs_job);
  return s;
end $$;
comment on function weir.parse_schedule(text, jsonb, weir.schedule, boolean, text) is
  'Internal. The schedule that a definition describes, of a tenant. Raises WR010.';

create or replace function weir.all_steps(workflow jsonb) returns setof jsonb language sql immutable as $$
  with recursive step as (
    select s from jsonb_array_elements(case when jsonb_typeof(workflow -> 'steps') = 'array'
      then workflow -> 'steps' else '[]' end) s
    union all
    select n from step cross join jsonb_array_elements(case when jsonb_typeof(s #> '{workflow,steps}') = 'array'
      then s #> '{workflow,steps}' else '[]' end) n
  )
  select s from step
$$;
comment on function weir.all_steps(jsonb) is 'Internal. The steps of a workflow, and of the workflows in them.';

-- A step without a worker waits in no queue.
create or replace function weir.schedule_queues(job jsonb, workflow jsonb) returns text[] language sql immutable as $$
  select case when jsonb_typeof(job) = 'object' then array[coalesce(job ->> 'queue', 'default')]
    else array(select distinct coalesce(s ->> 'queue', 'default') from weir.all_steps(workflow) s
      where coalesce(s ->> 'kind', s ->> 'queue') is not null) end
$$;
comment on function weir.schedule_queues(jsonb, jsonb) is
  'Internal. The queues of the job of a schedule, or of all steps of its workflow.';

-- Raises the errors of weir.check_workflow, with the field's place in the schedule.
create or replace function weir.check_schedule_workflow(workflow jsonb) returns void language plpgsql stable as $$
declare
  field text;
  problem text;
begin
  perform weir.check_workflow(workflow);
exception
  when sqlstate 'WR010' then
    get stacked diagnostics field = column_name, problem = message_text;
    perform weir.refuse_argument(rtrim('workflow.' || case when field = 'definition' then '' else field end, '.'),
      regexp_replace(problem, '^[^ ]* ', ''));
end $$;
comment on function weir.check_schedule_workflow(jsonb) is
  'Internal. Raises WR010 if a workflow could not be submitted as it is.';

create or replace function weir.schedule_definition(s weir.schedule) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object(
      'cron', s.cron, 'every_seconds', s.every_seconds, 'anchor', weir.iso(s.anchor), 'at', weir.iso(s.at),
      'timezone', s.timezone, 'jitter_seconds', nullif(s.jitter_seconds, 0), 'starts_at', weir.iso(s.starts_at),
      'ends_at', weir.iso(s.ends_at), 'max_runs', s.max_runs, 'dst_gap', s.dst_gap, 'dst_overlap', s.dst_overlap,
      'misfire', s.misfire, 'misfire_limit', case when s.misfire = 'all' then s.misfire_limit end,
      'overlap', s.overlap))
    || case when s.job is not null then jsonb_build_object('job', s.job) else '{}' end
    || case when s.workflow is not null then jsonb_build_object('workflow', s.workflow) else '{}' end
$$;
comment on function weir.schedule_definition(weir.schedule) is
  'Internal. The definition of a schedule, as weir.set_schedule takes it.';

-- The next slot after a change. A slot that is due and has not fired stays due if the new times include it, but nothing
-- older becomes due.
create or replace function weir.plan_schedule(s weir.schedule, old weir.schedule) returns weir.schedule
language plpgsql stable as $$
declare
  now_at timestamptz := clock_timestamp();
  same_times boolean := (s.cron, s.every_seconds, s.anchor, s.at, s.timezone, s.starts_at, s.ends_at, s.dst_gap,
    s.dst_overlap)
    is not distinct from (old.cron, old.every_seconds, old.anchor, old.at, old.timezone, old.starts_at, old.ends_at,
      old.dst_gap, old.dst_overlap);
  planned timestamptz := case when same_times and old.paused_at is null then old.next_slot_at end;
begin
  if s.paused_at is not null or s.runs >= s.max_runs then
    planned := null;
  elsif planned is null then
    planned := (weir.next_slot(s, greatest(s.last_slot_at,
      case when old.paused_at is null and old.next_slot_at <= now_at
        then greatest(old.next_slot_at - interval '1 us', now_at - interval '1 minute') else now_at end))).slot_at;
  end if;
  if planned is distinct from old.next_slot_at or s.overlap <> old.overlap then
    s.waiting_for := null;
  end if;
  s.tries := 0;
  s.problem := null;
  s.next_slot_at := planned;
  s.due_at := weir.slot_due(s, planned);
  return s;
end $$;
comment on function weir.plan_schedule(weir.schedule, weir.schedule) is
  'Internal. A changed schedule with its next slot. old: the schedule before the change, or null fields.';
