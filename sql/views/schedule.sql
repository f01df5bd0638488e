-- Views of schedules and of their slots.

create or replace view weir.schedules as
select
  s.name,
  case
    when s.paused_at is not null then 'paused'
    when s.next_slot_at is null then 'finished'
    when s.waiting_for is not null then 'waiting'
    else 'active'
  end as state,
  coalesce(s.cron, 'every ' || s.every_seconds || ' s', 'at ' || weir.iso(s.at)) as timing,
  s.timezone,
  s.next_slot_at as next_at,
  weir.local_iso(s.next_slot_at, weir.utc_offset(s.timezone, s.next_slot_at)) as next_local,
  s.due_at,
  s.last_run_at as last_at,
  s.runs,
  s.waiting_for,
  s.tries,
  s.problem,
  s.paused_at,
  s.created_at,
  s.updated_at,
  weir.schedule_definition(s) as definition,
  s.id,
  s.tenant,
  s.queues
from weir.schedule s
where s.deleted_at is null;
comment on view weir.schedules is 'One row a schedule: when it fires next, its progress, and what delays it.';
comment on column weir.schedules.name is 'Its name.';
comment on column weir.schedules.state is
  'active, waiting (for the run before), paused, or finished (no slot is left).';
comment on column weir.schedules.timing is 'Its cron expression, interval or time.';
comment on column weir.schedules.timezone is 'The zone of its cron expression.';
comment on column weir.schedules.next_at is 'Its next slot.';
comment on column weir.schedules.next_local is 'Its next slot in local time.';
comment on column weir.schedules.due_at is
  'When it is handled next: the slot plus its jitter, or later while the slot waits or is tried again.';
comment on column weir.schedules.last_at is 'The last slot that made a job.';
comment on column weir.schedules.runs is 'Slots that made a job.';
comment on column weir.schedules.waiting_for is 'The job or workflow that must end before the next slot fires.';
comment on column weir.schedules.tries is 'How many times the next slot was refused.';
comment on column weir.schedules.problem is 'Why it was refused the last time.';
comment on column weir.schedules.paused_at is 'When it was paused; null: it is not.';
comment on column weir.schedules.created_at is 'When it was created.';
comment on column weir.schedules.updated_at is 'When its definition last changed.';
comment on column weir.schedules.definition is 'The definition given to weir.set_schedule, with defaults.';
comment on column weir.schedules.id is 'weir.schedule.id';
comment on column weir.schedules.tenant is 'Whose it is, within whose names it has its name; null: no tenant''s.';
comment on column weir.schedules.queues is 'The queues of its job, or of the steps of its workflow.';

create or replace view weir.schedule_runs as
select
  s.name as schedule,
  r.slot_at as slot,
  r.manual,
  r.outcome,
  r.job_id,
  (select j.state from weir.jobs j where j.id = r.job_id) as job_state,
  r.due_at,
  r.fired_at,
  r.until_at,
  r.detail,
  r.workflow_id,
  r.schedule_id,
  s.tenant,
  s.queues
from weir.schedule_slot r
join weir.schedule s on s.id = r.schedule_id
where s.deleted_at is null;
comment on view weir.schedule_runs is
  'One row a slot that was handled: what it made, and the state of that. Kept for a week, and as long as the job.';
comment on column weir.schedule_runs.schedule is 'Name of the schedule.';
comment on column weir.schedule_runs.slot is 'The time of the slot, or of the manual trigger.';
comment on column weir.schedule_runs.manual is 'It was triggered by hand.';
comment on column weir.schedule_runs.outcome is
  'enqueued, duplicate (the unique key was taken), skipped (the run before was active), missed (no node fired it in '
  'time) or refused.';
comment on column weir.schedule_runs.job_id is 'The job that it made, or for a duplicate the job that has the key.';
comment on column weir.schedule_runs.job_state is 'State of that job; null once it is gone.';
comment on column weir.schedule_runs.due_at is 'When it should fire: the slot plus its jitter.';
comment on column weir.schedule_runs.fired_at is 'When it was handled.';
comment on column weir.schedule_runs.until_at is 'Of missed slots: the row stands for all of them before this time.';
comment on column weir.schedule_runs.detail is 'Why it made no job, or what else it did.';
comment on column weir.schedule_runs.workflow_id is 'The workflow that it submitted.';
comment on column weir.schedule_runs.schedule_id is 'weir.schedule.id';
comment on column weir.schedule_runs.tenant is 'Tenant of the schedule.';
comment on column weir.schedule_runs.queues is 'The queues of the schedule.';
