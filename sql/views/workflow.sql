-- Workflows and their steps, with their states.

create or replace view weir.workflows as
select w.id, w.name, w.state, w.on_failure, w.created_at, w.deadline_at, w.finished_at, w.steps,
  coalesce(w.completed, c.completed) as completed, coalesce(w.dead, c.dead) as dead,
  coalesce(w.cancelled, c.cancelled) as cancelled,
  coalesce(c.running, 0) as running, coalesce(c.waiting, 0) as waiting,
  (case when w.finished_at is not null then 100
    else floor(1000.0 * (c.completed + c.dead + c.cancelled) / greatest(w.steps, 1)) / 10 end)::float8 as progress,
  w.failure, coalesce(w.metadata, '{}') as metadata, w.parent_job_id,
  case when w.ancestors is not null then w.ancestors[cardinality(w.ancestors)] end as parent_workflow_id, w.forked_from,
  w.tenant
from weir.workflow w
left join lateral (
  select count(*) filter (where o.state = 'completed')::int as completed,
    count(*) filter (where o.state = 'dead')::int as dead,
    count(*) filter (where o.state = 'cancelled')::int as cancelled, count(l.job_id)::int as running,
    count(*) filter (where o.job_id is null and l.job_id is null)::int as waiting
  from weir.workflow_step s
  left join weir.job_outcome o on o.job_id = s.job_id
  left join weir.job_lease l on l.job_id = s.job_id
  where s.workflow_id = w.id and s.compensates is null
) c on w.finished_at is null;
comment on view weir.workflows is
  'One row a workflow, with its progress. The steps of a workflow that has not ended are counted at each read, so '
  'read few of those at a time.';
comment on column weir.workflows.state is
  'running; stopping: waiting steps are cancelled and workers are told to stop; compensating; then completed, failed '
  'or cancelled.';
comment on column weir.workflows.tenant is 'The tenant of all its steps; null: they may have several, or none.';
comment on column weir.workflows.steps is
  'How many steps it has, compensations not counted. The counts by state do not count them either.';
comment on column weir.workflows.progress is 'How many of its steps have ended, in percent.';
comment on column weir.workflows.failure is
  'Why it failed or was stopped: {type: step, deadline or cancelled; step; message}.';
comment on column weir.workflows.parent_job_id is 'The step that started it and waits for it.';
comment on column weir.workflows.parent_workflow_id is 'The workflow of that step.';

create or replace view weir.workflow_steps as
select s.workflow_id, s.number, s.name, s.job_id, j.state, j.held_reason, s.needs,
  coalesce((select array_agg(p.name order by d.n) from unnest(s.depends_on) with ordinality d(id, n)
    join weir.workflow_step p on p.job_id = d.id), '{}') as depends_on,
  j.kind, j.queue, j.attempt, j.max_attempts, j.run_at, j.created_at, j.started_at, j.finished_at, j.worker, j.progress,
  j.result, j.error, s.on_failure,
  (select p.name from weir.workflow_step p where p.job_id = s.compensated_by) as compensation,
  (select p.name from weir.workflow_step p where p.job_id = s.compensates) as compensates,
  (select p.name from weir.workflow_step p where p.job_id = s.added_by) as added_by,
  s.wait_for, (select max(c.id) from weir.workflow c where c.parent_job_id = s.job_id) as child_workflow_id,
  s.copied_from
from weir.workflow_step s
-- OFFSET 0: with this many tables to join, the planner would read all jobs for the steps of one workflow.
cross join lateral (select x.* from weir.jobs x where x.id = s.job_id offset 0) j;
comment on view weir.workflow_steps is
  'One row a step, with the state of its job. Read the steps of one workflow, in the order of number.';
comment on column weir.workflow_steps.state is
  'The state of its job. A step that was skipped is cancelled, and its error says why (type skipped; stopped: the '
  'workflow was).';
comment on column weir.workflow_steps.needs is 'What its dependencies must do before it runs: completed, ended or any.';
comment on column weir.workflow_steps.depends_on is 'The names of the steps that it depends on.';
comment on column weir.workflow_steps.compensation is 'The name of the step that undoes it.';
comment on column weir.workflow_steps.compensates is 'It is the compensation of the step of this name.';
comment on column weir.workflow_steps.added_by is 'The name of the step that added it while it ran.';
comment on column weir.workflow_steps.child_workflow_id is 'The last child workflow that it started.';
comment on column weir.workflow_steps.copied_from is 'In a fork: the job whose result it has.';
