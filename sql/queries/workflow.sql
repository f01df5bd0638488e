-- name: SubmitWorkflow :one
select s.workflow_id::bigint as workflow_id, s.duplicate::boolean as duplicate
from weir.store_workflow(sqlc.arg(definition)::jsonb, tenant => sqlc.narg(tenant)::text,
  principal => sqlc.narg(principal)::int) s;

-- name: WorkflowIsWithin :one
-- Whether a caller with these bounds may see a workflow.
select exists (select from weir.workflow w where w.id = sqlc.arg(id)::bigint
  and weir.sees_workflow(sqlc.arg(bounds)::jsonb, w.id, w.tenant, w.principal))::boolean;

-- name: GetWorkflow :one
select * from weir.workflows where id = sqlc.arg(id)::bigint;

-- name: WorkflowIDs :many
select w.id from weir.workflow w
where w.id < sqlc.arg(before)::bigint and (sqlc.narg(state)::text is null or w.state = sqlc.narg(state))
  and (sqlc.narg(name)::text is null or w.name = sqlc.narg(name))
    and weir.sees_workflow(sqlc.narg(bounds)::jsonb, w.id, w.tenant, w.principal)
order by w.id desc limit sqlc.arg(max_ids)::int;

-- name: WorkflowIDsUnderWay :many
select w.id from weir.workflow w
where w.id < sqlc.arg(before)::bigint and w.finished_at is null and w.state = sqlc.arg(state)::text
  and (sqlc.narg(name)::text is null or w.name = sqlc.narg(name))
    and weir.sees_workflow(sqlc.narg(bounds)::jsonb, w.id, w.tenant, w.principal)
order by w.id desc limit sqlc.arg(max_ids)::int;

-- name: GetWorkflows :many
select * from weir.workflows where id = any (sqlc.arg(ids)::bigint[]) order by id desc;

-- name: WorkflowSteps :many
select * from weir.workflow_steps s
where s.workflow_id = sqlc.arg(workflow_id)::bigint
  and (s.number, s.job_id) > (sqlc.arg(after_number)::int, sqlc.arg(after_id)::bigint)
order by s.number, s.job_id limit sqlc.arg(max_steps)::int;

-- name: GraphSteps :many
select s.number, s.name, s.job_id, s.state, s.needs, s.depends_on, s.kind, s.started_at, s.finished_at, s.held_reason,
  s.compensates, s.child_workflow_id, s.copied_from
from weir.workflow_steps s where s.workflow_id = sqlc.arg(workflow_id)::bigint order by s.number, s.job_id;

-- name: AddSteps :many
select added::bigint
from weir.add_steps(sqlc.arg(job_id)::bigint, sqlc.arg(token)::bigint, sqlc.arg(steps)::jsonb) added;

-- name: StartWorkflow :one
select weir.start_workflow(sqlc.arg(job_id)::bigint, sqlc.arg(token)::bigint, sqlc.arg(definition)::jsonb)::bigint;

-- name: WorkflowOf :one
select s.workflow_id from weir.workflow_step s where s.job_id = sqlc.arg(job_id)::bigint;

-- name: CancelWorkflow :one
select weir.cancel_workflow(sqlc.arg(workflow_id)::bigint, sqlc.arg(compensate)::boolean)::text;

-- name: RetryWorkflow :one
select weir.retry_workflow(sqlc.arg(workflow_id)::bigint, sqlc.narg(by)::text)::text;

-- name: ForkWorkflow :one
select weir.fork_workflow(sqlc.arg(workflow_id)::bigint, sqlc.arg(from_steps)::text[], sqlc.narg(by)::text)::bigint;

-- name: SignalWorkflow :one
select weir.signal(sqlc.arg(workflow_id)::bigint, sqlc.arg(name)::text, sqlc.narg(payload)::jsonb)::int;

-- name: RunWorkflowTimers :one
select t.handled::int as handled, coalesce(t.next_in_seconds, -1)::float8 as next_in_seconds
from weir.run_workflow_timers(sqlc.arg(max_workflows)::int) t;

-- name: Dependencies :many
select d.step::text as step, d.id::bigint as id, d.state::text as state, d.result::jsonb as result,
  d.error::jsonb as error
from weir.dependencies(sqlc.arg(job_id)::bigint) with ordinality d(step, id, state, result, error, n)
where d.n > sqlc.arg(after)::bigint and (sqlc.narg(filter)::jsonb is null
  or exists (select from weir.filter_job_ids(array[d.id], sqlc.narg(filter)::jsonb)))
order by d.n limit sqlc.arg(max_steps)::int;

-- name: WorkflowTimeline :many
select t.at::timestamptz as at, t.event::text as event, coalesce(t.step, '')::text as step,
  coalesce(t.job_id, 0)::bigint as job_id, coalesce(t.attempt, 0)::smallint as attempt,
  coalesce(t.worker, '')::text as worker, coalesce(t.cause, '')::text as cause, greatest(t.run_at) as run_at,
  t.detail::jsonb as detail
from weir.workflow_timeline(sqlc.arg(workflow_id)::bigint) with ordinality
  t(at, event, step, job_id, attempt, worker, cause, run_at, detail, n)
where t.n > sqlc.arg(after)::bigint order by t.n limit sqlc.arg(max_moments)::int;
