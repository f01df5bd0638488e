-- Views: job

-- One row a job. A look-up by id touches each place once, by its index.
create or replace view weir.jobs as
select
  j.id, j.kind, q.name as queue, j.args, coalesce(l.priority, s.priority, h.priority, r.priority, n.priority,
    j.priority) as priority,
  case
    when o.job_id is not null then o.state
    when l.job_id is not null then 'running'
    when s.job_id is not null then case when s.retryable then 'retryable'::weir.job_state else 'scheduled' end
    when h.job_id is not null then 'held'
    when n.seq is not null or r.seq is not null then case when q.governed and coalesce(r.queue_id, n.queue_id) = q.id
      then 'held' else 'available'::weir.job_state end
  end as state,
  h.reason as held_reason,
  coalesce(o.attempt, l.attempt, s.attempt, h.attempt, r.attempt, n.attempt, 0::smallint) as attempt,
  j.max_attempts, j.timeout_seconds, j.created_at, s.run_at,
  coalesce(l.leased_at, o.started_at) as started_at, o.finished_at, coalesce(l.worker, o.worker) as worker,
  l.expires_at as lease_expires_at, l.cancel_requested_at, l.progress, case when o.result_until <= clock_timestamp()
    then null else o.result end as result, o.error,
  (select jsonb_agg(coalesce(e.detail, '{}')
      || jsonb_build_object('attempt', e.attempt, 'at', e.at, 'worker', e.worker, 'kind', e.kind, 'started_at',
        e.started_at) order by e.at)
   from weir.job_event e where e.job_id = j.id and e.kind in ('failed', 'timed_out', 'lost')) as errors,
  coalesce(j.tags, '{}') as tags, coalesce(j.metadata, '{}') as metadata, j.retry, j.unique_key, j.tenant, j.queue_id,
  j.workflow_id, j.step, j.concurrency_key, j.breaker,
  j.parent_id, j.result_ttl_seconds, case when o.result_until > clock_timestamp()
    then o.result_until end as result_until,
  (select count(*) from weir.job_event e where e.job_id = j.id and e.kind = 'redriven')::int as redrives,
  (select e.detail ->> 'by' from weir.job_event e where e.job_id = j.id and e.kind = 'redriven' order by e.at desc
    limit 1) as redriven_by,
  j.schedule, j.slot,
  (select (e.detail ->> 'replay_of')::bigint from weir.job_event e where e.job_id = j.id and e.kind = 'replayed'
    and e.detail ? 'replay_of') as replay_of
from weir.job j
join weir.queue q on q.id = j.queue_id
left join weir.job_outcome o on o.job_id = j.id
left join weir.job_lease l on l.job_id = j.id
left join weir.job_scheduled s on s.job_id = j.id
left join weir.job_held h on h.job_id = j.id
left join weir.job_ready r on r.job_id = j.id
left join weir.job_ready n on n.queue_id = j.queue_id and n.priority = j.priority and n.seq = j.id and n.job_id is null;
comment on view weir.jobs is
  'One row a job: its facts and its state. Quick by id and by newest ids; for "all that run" start from '
  'weir.job_lease, for all that wait from weir.job_ready.';
comment on column weir.jobs.state is
  'scheduled, retryable, held, available, running, completed, cancelled, dead; null only for a job that moves at '
  'this moment in another snapshot.';
comment on column weir.jobs.attempt is 'Attempts made so far, the running one included.';
comment on column weir.jobs.run_at is 'When it becomes available, if it is scheduled or retryable.';
comment on column weir.jobs.started_at is 'When its last attempt began, if it is running or has ended.';
comment on column weir.jobs.result is 'What the worker gave as its result, until result_until.';
comment on column weir.jobs.result_until is 'When the result expires, if the job has a result_ttl_seconds.';
comment on column weir.jobs.redrives is
  'How many times it was a dead letter and was redriven; weir.job_event records each time.';
comment on column weir.jobs.redriven_by is 'Who did that last, if they said.';
comment on column weir.jobs.replay_of is 'The job that it is a copy of, if weir.replay made it.';
comment on column weir.jobs.errors is
  'Failed attempts, oldest first: [{attempt, at, started_at, worker, kind, message, type, stack}].';

create or replace view weir.running as
select l.worker, q.name as queue, l.job_id, j.kind, l.attempt, clock_timestamp() - l.leased_at as running_for,
  l.expires_at - clock_timestamp() as lease_left,
  l.progress, l.cancel_requested_at
from weir.job_lease l join weir.job j on j.id = l.job_id join weir.queue q on q.id = l.queue_id;
comment on view weir.running is 'Which worker runs which job: one row a running job.';
comment on column weir.running.lease_left is 'Time until the job is taken back unless a heartbeat comes.';
comment on column weir.jobs.queue is 'The name of its queue.';
comment on column weir.jobs.held_reason is
  'What kind of thing it waits for, if it is held; null: it is on its way into a line.';
comment on column weir.jobs.lease_expires_at is 'When it is taken back unless a heartbeat comes, if it is running.';
comment on column weir.running.queue is 'The name of the job''s queue.';
comment on column weir.running.running_for is 'How long this attempt has been running.';

select weir.describe_columns(v, 'weir.job', 'weir.job_lease', 'weir.job_outcome', 'weir.job_held', 'weir.job_event')
from unnest('{weir.jobs,weir.running}'::text[]) v;
