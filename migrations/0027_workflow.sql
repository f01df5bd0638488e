-- Workflows: jobs that wait for other jobs. Each step of a workflow is a job from the start: those that depend on nothing are available, the
-- others are held (job_held, reason dependency) until their condition holds.
--
--   submit_workflow ─▶ job_ready ─▶ job_lease ─▶ job_outcome ──▶ weir.steps_left: which steps may go now? is the workflow over?
--                  └─▶ job_held ──▲ ◀──────────────────────────────┘
--
-- Locks, in this order: leases (job_lease), dead letters, outcomes, each in the order of the job ids; then the workflow's row and those of the workflows
-- that it belongs to, in the order of their ids; then the places where steps wait (job_held, job_scheduled, job_ready). Whoever has a workflow takes leases,
-- letters and outcomes only with SKIP LOCKED: who has one of those waits for the workflow, and does what is to be done with the step itself. Nobody but who has the
-- workflow takes a step out of job_held. So all that happens to the steps of one workflow happens one after the other and exactly once, and nothing
-- deadlocks. The row is only locked, not written, when a step completes in the middle of a workflow: no row is updated by every job.
--
-- +goose Up
create table weir.workflow (
  id bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  state text not null default 'running'
    constraint workflow_state_is_known check (state in ('running', 'stopping', 'compensating', 'completed', 'failed', 'cancelled')),
  on_failure text not null default 'fail_fast' constraint workflow_on_failure_is_known check (on_failure in ('fail_fast', 'continue', 'compensate')),
  name text not null,
  steps int not null,
  last_id bigint not null,
  waits_for int not null,
  exact boolean not null default false,
  compensable boolean not null default false,
  compensates boolean not null default false,
  stop_as text,
  stopped_at timestamptz,
  deadline_seconds float8,
  deadline_at timestamptz,
  finished_at timestamptz,
  completed int,
  dead int,
  cancelled int,
  failure jsonb,
  metadata jsonb,
  parent_job_id bigint,
  ancestors bigint[],
  forked_from bigint,
  constraint workflow_pkey primary key (id),
  constraint workflow_is_over_or_not check ((finished_at is not null) = (state in ('completed', 'failed', 'cancelled')))
) partition by range (id);
create index workflow_under_way on weir.workflow (id) where finished_at is null;
create index workflow_stopping on weir.workflow (stopped_at) where state in ('stopping', 'compensating');
create index workflow_deadline_at on weir.workflow (deadline_at) where deadline_at is not null and finished_at is null;
create index workflow_finished_at on weir.workflow (finished_at) where finished_at is not null;
create index workflow_parent on weir.workflow (parent_job_id) where parent_job_id is not null;
create index workflow_forked_from on weir.workflow (forked_from) where forked_from is not null;
comment on table weir.workflow is 'One row a workflow, in partitions by id; weir.workflows is for reading. Its lock is what everything that happens to its steps takes turns by.';
comment on column weir.workflow.id is 'Names it; drawn from job_id_seq before the ids of its steps.';
comment on column weir.workflow.created_at is 'When it was submitted.';
comment on column weir.workflow.state is 'running; stopping: what waits is cancelled and what runs is told to stop; compensating; then completed, failed or cancelled.';
comment on column weir.workflow.on_failure is 'What a dead step leads to: fail_fast, continue or compensate. A step may say otherwise.';
comment on column weir.workflow.name is 'What people call it, 1 to 200 characters.';
comment on column weir.workflow.steps is 'How many steps it has, those that compensate not counted.';
comment on column weir.workflow.last_id is 'No step has a higher id.';
comment on column weir.workflow.waits_for is 'Until exact: how many of its last steps (workflow_step.is_last) have not ended. Then: how many steps have not ended. At 0 it is over.';
comment on column weir.workflow.exact is 'Some step did not complete, so all are counted.';
comment on column weir.workflow.compensable is 'Some step has a compensation.';
comment on column weir.workflow.compensates is 'When all that runs has ended, the compensations of what completed are run.';
comment on column weir.workflow.stop_as is 'What it will be when all has ended: failed or cancelled; null: as its steps say.';
comment on column weir.workflow.stopped_at is 'When it was cancelled, or failed and had to stop.';
comment on column weir.workflow.deadline_seconds is 'How long it may take in all.';
comment on column weir.workflow.deadline_at is 'It fails then if it is not over, by the database''s clock.';
comment on column weir.workflow.finished_at is 'When it was over.';
comment on column weir.workflow.completed is 'Once over: how many steps completed.';
comment on column weir.workflow.dead is 'Once over: how many steps died.';
comment on column weir.workflow.cancelled is 'Once over: how many steps were cancelled or skipped.';
comment on column weir.workflow.failure is 'Why it had to stop: {type: step, deadline or cancelled; step; message}.';
comment on column weir.workflow.metadata is 'Anything its submitter wants to keep with it, never read by weir.';
comment on column weir.workflow.parent_job_id is 'The step of another workflow, or the job, that started it and waits for it.';
comment on column weir.workflow.ancestors is 'The workflows it belongs to in that way, the outermost first; null: none.';
comment on column weir.workflow.forked_from is 'The workflow that it was forked from.';

create table weir.workflow_step (
  job_id bigint not null,
  workflow_id bigint not null,
  number int not null,
  dependencies int not null,
  is_last boolean not null,
  plain boolean not null,
  needs text not null constraint needs_is_known check (needs in ('completed', 'ended', 'any')),
  name text not null,
  depends_on bigint[] not null default '{}',
  children bigint[] not null default '{}',
  on_failure text constraint step_on_failure_is_known check (on_failure in ('fail_fast', 'continue', 'compensate')),
  compensated_by bigint,
  compensates bigint,
  delay_seconds float8,
  run_at timestamptz,
  wait_for jsonb,
  workflow jsonb,
  added_by bigint,
  copied_from bigint,
  constraint workflow_step_pkey primary key (job_id)
) partition by range (job_id);
create index workflow_step_of_workflow on weir.workflow_step (workflow_id, name);
comment on table weir.workflow_step is
  'One row a step, in partitions by job id; weir.workflow_steps is for reading. Written once, but for the children and is_last of a step that others are added to. A step''s id is above those of the steps it depends on.';
comment on column weir.workflow_step.job_id is 'weir.job.id';
comment on column weir.workflow_step.workflow_id is 'weir.workflow.id';
comment on column weir.workflow_step.number is 'Its place in the definition, from 0; steps that were added come after.';
comment on column weir.workflow_step.dependencies is 'How many steps it depends on. With more than one it has a row in workflow_join while it waits for them.';
comment on column weir.workflow_step.is_last is 'No other step waits for its end: none depends on it, or only steps that need any of several.';
comment on column weir.workflow_step.plain is 'Once its condition holds a worker may have it at once: it waits for no time, signal or workflow.';
comment on column weir.workflow_step.needs is 'completed: it runs when all it depends on completed. ended: when all ended in any way. any: when one of them completed.';
comment on column weir.workflow_step.name is 'Its name, unique in the workflow.';
comment on column weir.workflow_step.depends_on is 'The ids of the steps it depends on, in the order of the definition.';
comment on column weir.workflow_step.children is 'The ids of the steps that depend on it.';
comment on column weir.workflow_step.on_failure is 'What its death leads to; null: as the workflow says.';
comment on column weir.workflow_step.compensated_by is 'The step that undoes it.';
comment on column weir.workflow_step.compensates is 'It is a compensation and undoes this step. It runs only when the workflow compensates.';
comment on column weir.workflow_step.delay_seconds is 'It is scheduled for so long after its condition holds.';
comment on column weir.workflow_step.run_at is 'It is scheduled for this time, once its condition holds.';
comment on column weir.workflow_step.wait_for is 'No worker gets it. It ends by itself: {signal, timeout_seconds, on_timeout} or {seconds} or {until}.';
comment on column weir.workflow_step.workflow is 'No worker gets it. It submits this workflow and ends as that ends.';
comment on column weir.workflow_step.added_by is 'The step that added it while it ran.';
comment on column weir.workflow_step.copied_from is 'In a fork: the job of the same step whose result it has.';

create table weir.workflow_join (
  job_id bigint not null constraint workflow_join_pkey primary key,
  waits_for int not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
comment on table weir.workflow_join is 'One row a held step with several dependencies. One with a single dependency needs none: the end of that one decides.';
comment on column weir.workflow_join.job_id is 'weir.workflow_step.job_id';
comment on column weir.workflow_join.waits_for is 'How many of its dependencies have not ended yet; the call that brings it to 0 decides. Where one decides before (any, or completed), the row goes then.';

create table weir.workflow_wait (
  job_id bigint not null constraint workflow_wait_pkey primary key,
  workflow_id bigint not null,
  signal text,
  until timestamptz
);
create index workflow_wait_for_signal on weir.workflow_wait (workflow_id, signal) where signal is not null;
create index workflow_wait_until on weir.workflow_wait (until) where until is not null;
comment on table weir.workflow_wait is 'Steps whose dependencies are done and that wait for a signal or a time now.';
comment on column weir.workflow_wait.job_id is 'weir.workflow_step.job_id';
comment on column weir.workflow_wait.workflow_id is 'weir.workflow.id';
comment on column weir.workflow_wait.signal is 'The name of the signal; null: it waits only for the time.';
comment on column weir.workflow_wait.until is 'When the wait is over, by the database''s clock; null: there is no limit.';

create table weir.workflow_event (
  workflow_id bigint not null,
  at timestamptz not null default clock_timestamp(),
  event text not null constraint workflow_event_is_known check (event in
    ('signal', 'steps_added', 'stopping', 'compensating', 'cancel_requested', 'deadline', 'retried', 'forked', 'step_retried', 'child_started', 'child_ended')),
  name text,
  detail jsonb
) partition by range (workflow_id);
create index workflow_event_of_workflow on weir.workflow_event (workflow_id, event, name);
create index workflow_event_at on weir.workflow_event using brin (at) with (pages_per_range = 16, autosummarize = on);
comment on table weir.workflow_event is 'The exceptional moments of a workflow, in partitions by its id. Signals are kept here for the steps that wait for them later.';
comment on column weir.workflow_event.workflow_id is 'weir.workflow.id';
comment on column weir.workflow_event.at is 'When it happened.';
comment on column weir.workflow_event.event is 'What happened.';
comment on column weir.workflow_event.name is 'Of a signal its name, else of the step that it is about.';
comment on column weir.workflow_event.detail is 'Of a signal its payload; of a retry how the workflow had ended; of others what more there is to say.';

select weir.make_partition(p.number) from weir.job_partition p order by p.number;

-- +goose Down
drop table weir.workflow_event, weir.workflow_wait, weir.workflow_join, weir.workflow_step, weir.workflow;
