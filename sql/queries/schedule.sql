-- Definitions are passed on as they were sent, so that the functions can tell an absent field from null.

-- name: SetSchedule :exec
select weir.set_schedule(sqlc.arg(name)::text, sqlc.arg(definition)::jsonb - 'name', sqlc.arg(replace)::boolean,
  sqlc.narg(tenant)::text);

-- name: EditSchedule :exec
select weir.edit_schedule(sqlc.arg(name)::text, sqlc.arg(changes)::jsonb, sqlc.narg(tenant)::text);

-- name: DeleteSchedule :exec
select weir.delete_schedule(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: PauseSchedule :exec
select weir.pause_schedule(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: ResumeSchedule :exec
select weir.resume_schedule(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: TriggerSchedule :one
select weir.trigger_schedule(sqlc.arg(name)::text, sqlc.narg(tenant)::text)::bigint;

-- name: ListSchedules :many
select s.name::text as name, s.state::text as state, greatest(s.next_at) as next_at,
  coalesce(s.next_local, '')::text as next_local, greatest(s.due_at) as due_at, greatest(s.last_at) as last_at,
  s.runs::int as runs, coalesce(s.waiting_for, 0)::bigint as waiting_for, s.tries::int as tries,
  coalesce(s.problem, '')::text as problem, greatest(s.paused_at) as paused_at, s.created_at::timestamptz as created_at,
  s.updated_at::timestamptz as updated_at, s.definition::jsonb as definition, coalesce(s.tenant, '')::text as tenant
from weir.schedules s
where (coalesce(s.tenant, ''), s.name) > (sqlc.arg(after_tenant)::text, sqlc.arg(after)::text)
  and (sqlc.narg(tenant)::text is null or coalesce(s.tenant, '') = sqlc.narg(tenant))
  and (sqlc.narg(name)::text is null or s.name = sqlc.narg(name))
  and (sqlc.narg(state)::text is null or s.state = sqlc.narg(state))
  and weir.reaches(sqlc.narg(bounds)::jsonb, s.tenant, s.queues)
order by coalesce(s.tenant, ''), s.name limit sqlc.arg(max_schedules)::int;

-- name: PreviewSchedule :many
select p.slot_at::timestamptz as slot_at, p.local::text as local, greatest(p.due_at) as due_at,
  p.skipped::boolean as skipped, coalesce(p.note, '')::text as note
from weir.preview_schedule(sqlc.arg(name)::text, sqlc.arg(count)::int, sqlc.narg(since)::timestamptz,
    sqlc.narg(tenant)::text)
  with ordinality p(slot_at, local, due_at, skipped, note, n)
order by p.n;

-- name: PreviewDefinition :many
select p.slot_at::timestamptz as slot_at, p.local::text as local, greatest(p.due_at) as due_at,
  p.skipped::boolean as skipped, coalesce(p.note, '')::text as note
from weir.preview_definition(sqlc.arg(definition)::jsonb - '{name,from,count}'::text[], sqlc.arg(count)::int,
    sqlc.narg(since)::timestamptz, sqlc.arg(name)::text)
  with ordinality p(slot_at, local, due_at, skipped, note, n)
order by p.n;

-- name: ScheduleRuns :many
select r.slot::timestamptz as slot, r.manual::boolean as manual, r.outcome::text as outcome,
  coalesce(r.job_id, 0)::bigint as job_id, coalesce(r.job_state::text, '')::text as job_state,
  r.due_at::timestamptz as due_at, r.fired_at::timestamptz as fired_at, greatest(r.until_at) as until_at,
  coalesce(r.detail, '')::text as detail, coalesce(r.workflow_id, 0)::bigint as workflow_id
from weir.schedule_runs r
where r.schedule_id = (select s.id from weir.schedules s where s.name = sqlc.arg(name)::text
    and coalesce(s.tenant, '') = sqlc.arg(tenant)::text)
  and weir.reaches(sqlc.narg(bounds)::jsonb, r.tenant, r.queues)
  and (r.slot, r.manual) < (sqlc.arg(before)::timestamptz, sqlc.arg(before_manual)::boolean)
  and (sqlc.narg(outcome)::text is null or r.outcome = sqlc.narg(outcome))
  and (sqlc.narg(made_id)::bigint is null or r.manual and sqlc.narg(made_id) in (r.job_id, r.workflow_id))
order by r.slot desc, r.manual desc limit sqlc.arg(max_runs)::int;

-- name: FireDue :one
select f.handled::int as handled, f.fired::int as fired, f.looked_until::timestamptz as looked_until,
  f.lateness::float8[] as lateness,
  coalesce(extract(epoch from f.next_due_at - clock_timestamp()), 3600)::float8 as next_in_seconds
from weir.fire_due(sqlc.arg(max_schedules)::int, sqlc.arg(after)::timestamptz) f;

-- name: SweepScheduleSlots :one
select weir.sweep_schedule_slots(sqlc.arg(most)::int)::int;
